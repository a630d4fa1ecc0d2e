/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: where the sectors of a linear or striped virtual disk are. */
#ifndef MM_HINTS_SEGS_H
#define MM_HINTS_SEGS_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

/**
 * struct mhint_seg - a segment whose device below was found
 * @s: as it was given, checked.
 * @base: first sector of @s.target on the whole disk below.
 * @diskseq: of that disk.
 */
struct mhint_seg {
	struct mem_hint_segment s;
	u64 base;
	u64 diskseq;
};

int mhint_segs_check(const struct mem_hint_segment *s, u32 nr, u64 nr_sectors);
u64 mhint_seg_below(const struct mem_hint_segment *s);
const struct mhint_seg *mhint_segs_map(const struct mhint_seg *v, u32 nr,
				       u64 sector, u32 len, u64 *below);

#endif
