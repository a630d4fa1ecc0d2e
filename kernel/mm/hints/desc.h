/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: descriptors of pools, and which ranges a call may name. */
#ifndef MM_HINTS_DESC_H
#define MM_HINTS_DESC_H

#include <linux/types.h>
#include <linux/errno.h>
#include <uapi/linux/mem_hints.h>

enum mhint_desc_kind {
	MHINT_DESC_NOTHING,	/* nothing is said of the frame */
	MHINT_DESC_EMPTY,	/* it holds no block */
	MHINT_DESC_BLOCK,	/* it holds these blocks */
	MHINT_DESC_BAD,		/* not of the form */
};

#define MHINT_DESC_RESERVED						\
	(~(MEM_HINT_DESC_VALID | MEM_HINT_DESC_EMPTY |			\
	   MEM_HINT_DESC_FILE_MASK << MEM_HINT_DESC_FILE_SHIFT |	\
	   MEM_HINT_DESC_BLOCK_MASK))

/**
 * mhint_desc_decode - what a descriptor says
 * @desc: read from the memory of a process, once
 * @pages: 4 KiB pages of a frame
 * @file: the file's number
 * @block: the first page's offset in it, in 4 KiB
 *
 * Return: enum mhint_desc_kind; @file and @block are set for a BLOCK only, and
 * no page of the frame is beyond what an offset can be.
 */
static inline int mhint_desc_decode(u64 desc, u32 pages, u32 *file, u64 *block)
{
	if (!(desc & MEM_HINT_DESC_VALID))
		return MHINT_DESC_NOTHING;
	if (desc & MHINT_DESC_RESERVED)
		return MHINT_DESC_BAD;
	if (desc & MEM_HINT_DESC_EMPTY)
		return MHINT_DESC_EMPTY;
	*file = desc >> MEM_HINT_DESC_FILE_SHIFT & MEM_HINT_DESC_FILE_MASK;
	*block = desc & MEM_HINT_DESC_BLOCK_MASK;
	if (*block + pages - 1 > MEM_HINT_DESC_BLOCK_MASK)
		return MHINT_DESC_BAD;
	return MHINT_DESC_BLOCK;
}

/**
 * mhint_range_check - may a call name this range?
 * @addr: its first byte
 * @len: its bytes
 * @limit: end of what a process can have
 *
 * Return: 0; -EINVAL: empty, not of whole 4 KiB pages, or beyond @limit.
 */
static inline int mhint_range_check(u64 addr, u64 len, u64 limit)
{
	const u64 in_page = MEM_HINT_FRAME_SIZE - 1;

	if (!len || (addr & in_page) || (len & in_page))
		return -EINVAL;
	if (len > limit || addr > limit - len)
		return -EINVAL;
	return 0;
}

#define MHINT_FRAME_SHIFT_MAX	21

/**
 * mhint_pool_check - may a pool look like this?
 * @pool: as the caller gave it
 * @limit: end of what a process can have
 *
 * Return: 0 or -EINVAL.
 */
static inline int mhint_pool_check(const struct mem_hint_pool *pool, u64 limit)
{
	if (pool->frame_shift < MEM_HINT_FRAME_SHIFT ||
	    pool->frame_shift > MHINT_FRAME_SHIFT_MAX)
		return -EINVAL;
	if (!pool->nr_frames || pool->nr_frames > limit >> pool->frame_shift)
		return -EINVAL;
	if (pool->desc_uptr % sizeof(u64) || pool->desc_uptr > limit ||
	    pool->nr_frames > (limit - pool->desc_uptr) / sizeof(u64))
		return -EINVAL;
	return mhint_range_check(pool->addr, pool->nr_frames << pool->frame_shift,
				 limit);
}

#endif
