// SPDX-License-Identifier: GPL-2.0
/*
 * Pure: maps of virtual disks, as a privileged agent gives them.  What is wrong
 * with a map is found when it is loaded; what is wrong in spite of that makes
 * hints that never match.
 */
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/math64.h>

#include "segs.h"

/* Sectors that a segment takes on the device below, striped or not. */
u64 mhint_seg_below(const struct mem_hint_segment *s)
{
	return div_u64(s->nr_sectors, s->nr_stripes);
}

static int check_one(const struct mem_hint_segment *s, u64 nr_sectors)
{
	u32 rest;

	if (s->__reserved || !s->nr_sectors || !s->nr_stripes ||
	    s->stripe >= s->nr_stripes)
		return -EINVAL;
	if (s->start > nr_sectors || s->nr_sectors > nr_sectors - s->start)
		return -EINVAL;
	if (s->nr_stripes == 1)
		return s->chunk_sectors ? -EINVAL : 0;
	if (!s->chunk_sectors ||
	    s->chunk_sectors > div_u64(s->nr_sectors, s->nr_stripes))
		return -EINVAL;
	/* Whole rows of chunks, so that all legs are of one length. */
	if (mhint_seg_below(s) * s->nr_stripes != s->nr_sectors)
		return -EINVAL;
	div_u64_rem(mhint_seg_below(s), s->chunk_sectors, &rest);
	return rest ? -EINVAL : 0;
}

/**
 * mhint_segs_check - do these segments make a disk?
 * @s: the segments
 * @nr: how many
 * @nr_sectors: of the virtual disk
 *
 * Return: 0; -EINVAL: not sorted, overlapping, beyond the disk, or a striped
 * run that does not have each of its stripes once.
 */
int mhint_segs_check(const struct mem_hint_segment *s, u32 nr, u64 nr_sectors)
{
	u64 end = 0;
	u32 i, leg;

	for (i = 0; i < nr; i += s[i].nr_stripes) {
		if (check_one(&s[i], nr_sectors) || s[i].start < end)
			return -EINVAL;
		if (s[i].nr_stripes > nr - i)
			return -EINVAL;
		for (leg = 0; leg < s[i].nr_stripes; leg++) {
			const struct mem_hint_segment *l = &s[i + leg];

			if (check_one(l, nr_sectors) || l->stripe != leg ||
			    l->start != s[i].start ||
			    l->nr_sectors != s[i].nr_sectors ||
			    l->nr_stripes != s[i].nr_stripes ||
			    l->chunk_sectors != s[i].chunk_sectors)
				return -EINVAL;
		}
		end = s[i].start + s[i].nr_sectors;
	}
	return 0;
}

/**
 * mhint_segs_map - where a run of sectors is
 * @v: segments that mhint_segs_check() has found good
 * @nr: how many
 * @sector: first sector on the virtual disk
 * @len: sectors, not 0
 * @below: the first sector on the whole disk below
 *
 * Return: the segment; NULL: nothing is known of the run, or it is not in one
 * piece below.
 */
const struct mhint_seg *mhint_segs_map(const struct mhint_seg *v, u32 nr,
				       u64 sector, u32 len, u64 *below)
{
	u32 low = 0, high = nr, in_chunk, leg;
	const struct mem_hint_segment *s;
	u64 at, chunk;

	/* The first segment that ends after the sector; stripe 0 of its run. */
	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (v[mid].s.start + v[mid].s.nr_sectors > sector)
			high = mid;
		else
			low = mid + 1;
	}
	if (low == nr || v[low].s.start > sector)
		return NULL;
	s = &v[low].s;
	at = sector - s->start;
	if (len > s->nr_sectors - at)
		return NULL;
	if (s->nr_stripes == 1) {
		*below = v[low].base + at;
		return &v[low];
	}
	chunk = div_u64_rem(at, s->chunk_sectors, &in_chunk);
	if (len > s->chunk_sectors - in_chunk)
		return NULL;
	chunk = div_u64_rem(chunk, s->nr_stripes, &leg);
	*below = v[low + leg].base + chunk * s->chunk_sectors + in_chunk;
	return &v[low + leg];
}
