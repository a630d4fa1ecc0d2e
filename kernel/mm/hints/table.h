/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: the radix of 4 KiB pages that holds one entry per guest frame. */
#ifndef MM_HINTS_TABLE_H
#define MM_HINTS_TABLE_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

/**
 * struct mhint_table_ops - where the pages of a table come from
 * @alloc: a zeroed page and its gpa (4 KiB-aligned, not 0), or NULL.
 * @free: gives back what @alloc gave.
 * @at: the page that has this gpa.
 * @relax: called once per leaf page in long walks; may be NULL.
 */
struct mhint_table_ops {
	void *(*alloc)(void *ctx, u64 *gpa);
	void (*free)(void *ctx, void *page, u64 gpa);
	void *(*at)(void *ctx, u64 gpa);
	void (*relax)(void *ctx);
};

/**
 * struct mhint_table - writer's view of a table
 * @root: the page that the host reads; what it says of numbers is brought up
 *	to date by mhint_table_publish().
 * @ops: page memory.
 * @ctx: passed to @ops.
 * @levels: as in the root.
 * @nr_frames: as in the root.
 * @generation: as in the root; stamped into what is set.
 * @nr_valid: valid entries.
 * @nr_pages: pages linked, the root not included.
 * @max_pages: bound of @nr_pages.
 * @leaf: the leaf that was used last, or NULL.
 * @leaf_nr: its number: frame / 512.
 *
 * There is one writer at a time; the caller sees to that.  The host reads at
 * any time.
 */
struct mhint_table {
	struct mem_hint_root *root;
	const struct mhint_table_ops *ops;
	void *ctx;
	u32 levels;
	u64 nr_frames;
	u64 generation;
	u64 nr_valid;
	u64 nr_pages;
	u64 max_pages;
	__le64 *leaf;
	u64 leaf_nr;
};

u32 mhint_table_levels(u64 nr_frames);
void mhint_table_init(struct mhint_table *t, struct mem_hint_root *root,
		      const struct mhint_table_ops *ops, void *ctx, u32 levels);
void mhint_table_limit(struct mhint_table *t, u64 nr_frames, u64 max_pages);
int mhint_table_set(struct mhint_table *t, u64 frame, u64 entry);
u64 mhint_table_get(struct mhint_table *t, u64 frame);
u64 mhint_table_purge_disk(struct mhint_table *t, u32 disk);
u64 mhint_table_purge_class(struct mhint_table *t, u32 class);
void mhint_table_clear(struct mhint_table *t);
void mhint_table_publish(struct mhint_table *t, u64 flags);

#endif
