/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Records leave sorted by (disk, block) although the hint table is sorted by
 * frame, and nobody ever holds all of them: the first walk of the table counts
 * candidates in buckets of disk blocks; later walks collect one window (some
 * neighbouring buckets, at most MIGDB_WINDOW_ENTRIES candidates) each.
 */
#ifndef _MIGDB_WINDOW_H
#define _MIGDB_WINDOW_H

#include <linux/types.h>
#include "limits.h"

/* (disk, block) in one number: the order in which the destination reads. */
static inline u64 migdb_where(u32 disk, u64 block)
{
	return (u64)disk << 44 | block;
}

static inline u32 migdb_where_disk(u64 where)
{
	return where >> 44;
}

static inline u64 migdb_where_block(u64 where)
{
	return where & (MIGDB_MAX_BLOCK - 1);
}

struct migdb_cand {
	u64 where;
	u64 index;
};

struct migdb_windows {
	u32 nr_disks;
	u32 shift;		/* blocks per bucket, log2 */
	u32 next;		/* first bucket of the next window */
	u32 start;		/* first bucket of this window: where prev() goes on */
	u32 nr_buckets;
	u32 max_entries;
	u32 *first_bucket;	/* per disk, and one more: nr_buckets */
	u32 *count;		/* per bucket, saturating */
};

/* @nr_blocks[disk] may be 0 (no such disk).  0, -EINVAL or -ENOMEM. */
int migdb_windows_init(struct migdb_windows *w, const u64 *nr_blocks, u32 nr_disks,
		       u32 max_entries);
void migdb_windows_destroy(struct migdb_windows *w);	/* also of a zeroed one */
u64 migdb_windows_bytes(const struct migdb_windows *w);
/* A candidate of the first walk; one behind the last bucket of its disk is ignored. */
void migdb_windows_note(struct migdb_windows *w, u32 disk, u64 block);
/*
 * Next window that has candidates: [*first, *end) in migdb_where() terms, and how
 * many to expect (at most max_entries unless a single bucket has more, which a
 * hostile table can do: the collector takes max_entries and leaves the rest).
 * False when there is none left.
 */
bool migdb_windows_next(struct migdb_windows *w, u64 *first, u64 *end, u64 *expected);
/*
 * The window before the last one that next() or prev() gave: its end is not behind
 * that one's beginning, and none of its candidates was in a later one.  False when
 * there is none.  It does not move next().
 */
bool migdb_windows_prev(struct migdb_windows *w, u64 *first, u64 *end, u64 *expected);
/* Sort by (where, index). May sleep in between. */
void migdb_cand_sort(struct migdb_cand *c, u64 nr);

#endif /* _MIGDB_WINDOW_H */
