// SPDX-License-Identifier: GPL-2.0
/* Windows of disk blocks for the snapshot, and their sort, see window.h. */
#include <linux/types.h>
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/string.h>
#include "alloc.h"
#include "window.h"

/* Disk numbers have 7 bits in the hint table. */
#define MAX_DISKS	128u

static u64 buckets_of(u64 nr_blocks, u32 shift)
{
	return (nr_blocks + (1ULL << shift) - 1) >> shift;
}

static u64 all_buckets(const u64 *nr_blocks, u32 nr_disks, u32 shift)
{
	u64 sum = 0;
	u32 d;

	for (d = 0; d < nr_disks; d++)
		sum += buckets_of(nr_blocks[d], shift);
	return sum;
}

int migdb_windows_init(struct migdb_windows *w, const u64 *nr_blocks, u32 nr_disks,
		       u32 max_entries)
{
	u32 d, shift = 0;

	memset(w, 0, sizeof(*w));
	if (!nr_disks || nr_disks > MAX_DISKS || !max_entries)
		return -EINVAL;
	for (d = 0; d < nr_disks; d++) {
		if (nr_blocks[d] > MIGDB_MAX_BLOCK)
			return -EINVAL;
	}
	/* ends at the latest with one bucket per disk */
	while (all_buckets(nr_blocks, nr_disks, shift) > MIGDB_WINDOW_BUCKETS)
		shift++;

	w->nr_disks = nr_disks;
	w->shift = shift;
	w->max_entries = max_entries;
	w->nr_buckets = all_buckets(nr_blocks, nr_disks, shift);
	w->first_bucket = migdb_zalloc(migdb_windows_bytes(w));
	if (!w->first_bucket) {
		memset(w, 0, sizeof(*w));
		return -ENOMEM;
	}
	w->count = w->first_bucket + nr_disks + 1;
	for (d = 0; d < nr_disks; d++)
		w->first_bucket[d + 1] = w->first_bucket[d] + buckets_of(nr_blocks[d], shift);
	return 0;
}

void migdb_windows_destroy(struct migdb_windows *w)
{
	migdb_free(w->first_bucket);
	memset(w, 0, sizeof(*w));
}

u64 migdb_windows_bytes(const struct migdb_windows *w)
{
	return w->nr_disks ? ((u64)w->nr_disks + 1 + w->nr_buckets) * sizeof(u32) : 0;
}

void migdb_windows_note(struct migdb_windows *w, u32 disk, u64 block)
{
	u64 bucket;

	if (disk >= w->nr_disks || block >= MIGDB_MAX_BLOCK)
		return;
	bucket = w->first_bucket[disk] + (block >> w->shift);
	if (bucket < w->first_bucket[disk + 1] && w->count[bucket] != U32_MAX)
		w->count[bucket]++;
}

/* Where the bucket begins. */
static u64 bucket_where(const struct migdb_windows *w, u32 disk, u32 bucket)
{
	return migdb_where(disk, 0) + ((u64)(bucket - w->first_bucket[disk]) << w->shift);
}

static u32 bucket_disk(const struct migdb_windows *w, u32 bucket)
{
	u32 d = 0;

	while (bucket >= w->first_bucket[d + 1])
		d++;
	return d;
}

bool migdb_windows_next(struct migdb_windows *w, u64 *first, u64 *end, u64 *expected)
{
	u32 b = w->next, start = w->nr_buckets, last = 0;
	u64 sum = 0;

	for (; b < w->nr_buckets; b++) {
		if (!w->count[b])
			continue;
		if (sum && sum + w->count[b] > w->max_entries)
			break;
		if (!sum)
			start = b;
		sum += w->count[b];
		last = b;
	}
	w->next = b;
	if (!sum)
		return false;
	w->start = start;
	*first = bucket_where(w, bucket_disk(w, start), start);
	/* behind a disk's last block is the next disk: add, do not or */
	*end = bucket_where(w, bucket_disk(w, last), last) + (1ULL << w->shift);
	*expected = sum;
	return true;
}

bool migdb_windows_prev(struct migdb_windows *w, u64 *first, u64 *end, u64 *expected)
{
	u32 b = w->start, start = 0, last = 0;
	u64 sum = 0;

	while (b--) {
		if (!w->count[b])
			continue;
		if (sum && sum + w->count[b] > w->max_entries)
			break;
		if (!sum)
			last = b;
		sum += w->count[b];
		start = b;
	}
	w->start = start;
	if (!sum)
		return false;
	*first = bucket_where(w, bucket_disk(w, start), start);
	*end = bucket_where(w, bucket_disk(w, last), last) + (1ULL << w->shift);
	*expected = sum;
	return true;
}

/*
 * The sort is by bits from the top (binary quicksort): in place, bounded by the
 * number of bits whatever the guest chose as keys, and easy to interrupt, which
 * sort() is not: a full window keeps a CPU busy for a second.
 */
#define SORT_SMALL	24u
#define SORT_RESCHED	(64u << 10)

static bool cand_before(const struct migdb_cand *a, const struct migdb_cand *b)
{
	return a->where != b->where ? a->where < b->where : a->index < b->index;
}

static void sort_small(struct migdb_cand *c, u64 nr)
{
	u64 i, j;

	for (i = 1; i < nr; i++) {
		struct migdb_cand x = c[i];

		for (j = i; j && cand_before(&x, &c[j - 1]); j--)
			c[j] = c[j - 1];
		c[j] = x;
	}
}

/* Highest bit in which two of them differ: >= 64 one of where, else one of index; -1: none. */
static int highest_difference(const struct migdb_cand *c, u64 nr)
{
	u64 where = 0, index = 0, i;

	for (i = 1; i < nr; i++) {
		where |= c[i].where ^ c[0].where;
		index |= c[i].index ^ c[0].index;
	}
	if (where)
		return 64 + fls64(where) - 1;
	return fls64(index) - 1;
}

static bool cand_bit(const struct migdb_cand *c, int bit)
{
	return bit < 64 ? c->index >> bit & 1 : c->where >> (bit - 64) & 1;
}

/* Those with a 0 to the front; returns how many. */
static u64 partition_by(struct migdb_cand *c, u64 nr, int bit)
{
	u64 lo = 0, hi = nr;

	for (;;) {
		while (lo < hi && !cand_bit(&c[lo], bit))
			lo++;
		while (lo < hi && cand_bit(&c[hi - 1], bit))
			hi--;
		if (lo == hi)
			return lo;
		swap(c[lo], c[hi - 1]);
	}
}

void migdb_cand_sort(struct migdb_cand *c, u64 nr)
{
	/* The smaller part is done first: no more than log2(nr) wait here. */
	struct {
		struct migdb_cand *c;
		u64 nr;
	} stack[64];
	u64 work = 0, low;
	int depth = 0, bit;

	for (;;) {
		work += nr;
		if (work >= SORT_RESCHED) {
			work = 0;
			cond_resched();
		}
		bit = -1;
		if (nr <= SORT_SMALL)
			sort_small(c, nr);
		else
			bit = highest_difference(c, nr);
		if (bit < 0) {
			if (!depth)
				return;
			depth--;
			c = stack[depth].c;
			nr = stack[depth].nr;
			continue;
		}
		low = partition_by(c, nr, bit);
		if (low < nr - low) {
			stack[depth].c = c + low;
			stack[depth++].nr = nr - low;
			nr = low;
		} else {
			stack[depth].c = c;
			stack[depth++].nr = low;
			c += low;
			nr -= low;
		}
	}
}
