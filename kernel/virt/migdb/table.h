/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reads the guest's hint table (include/uapi/linux/mem_hints.h), of which no
 * byte is trusted.  Every page is copied before it is looked at; the walk visits
 * each leaf slot of the frames asked for once, so its cost is bounded by the
 * guest's memory whatever the table says (cycles, shared pages, random bytes).
 */
#ifndef _MIGDB_TABLE_H
#define _MIGDB_TABLE_H

#include <linux/types.h>
#include "limits.h"

#define MIGDB_TABLE_MAX_LEVELS	5

struct migdb_table {
	u64 top_gpa;
	u64 nr_frames;
	u32 levels;
};

struct migdb_table_ops {
	/* Copy the 4 KiB guest page at @gpa (aligned) to @page; 0 or -errno. */
	int (*read_page)(void *ctx, u64 gpa, void *page);
	/* One valid entry; not 0 ends the walk with that value. */
	int (*entry)(void *ctx, u64 gfn, u32 disk, u64 block, u32 class);
	/*
	 * Called after each step, be it a leaf, read or copied before, or a hole: that
	 * is after at most 512 entries and one read_page per level.  Reschedule, look
	 * for signals; not 0 ends the walk.
	 */
	int (*yield)(void *ctx);
};

/* Scratch of a walk: one page per level.  Caller allocates, 20 KiB, aligned to 8. */
struct migdb_table_walk {
	u64 cached_gpa[MIGDB_TABLE_MAX_LEVELS];
	u8 page[MIGDB_TABLE_MAX_LEVELS][MIGDB_PAGE_BYTES] __aligned(8);
};

/* Check a copy of the root page (aligned to 8).  0; -ENOENT (no magic); -EPROTO (nonsense). */
int migdb_table_parse_root(const void *page, struct migdb_table *t);

/*
 * Walk the entries of frames [first_gfn, end_gfn).  Unreadable or absent pages of
 * the radix are stepped over (a hint that cannot be read is no hint), and so are
 * entries of an unknown class.  Nothing is kept from an earlier walk.
 * Returns 0 or what a callback returned.
 */
int migdb_table_walk(const struct migdb_table *t, struct migdb_table_walk *w,
		     u64 first_gfn, u64 end_gfn,
		     const struct migdb_table_ops *ops, void *ctx);

#endif /* _MIGDB_TABLE_H */
