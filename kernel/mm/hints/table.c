// SPDX-License-Identifier: GPL-2.0
/*
 * The hint table: a radix of 4 KiB pages in guest RAM, filled as frames are
 * noted.  Pure: page memory comes through struct mhint_table_ops.
 */
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/compiler.h>
#include <asm/byteorder.h>
#include <asm/barrier.h>

#include "entry.h"
#include "table.h"

static u32 slot_of(u64 frame, u32 level)
{
	return frame >> (MEM_HINT_LEVEL_BITS * level) & (MEM_HINT_SLOTS - 1);
}

/**
 * mhint_table_levels - how many levels so many frames need
 * @nr_frames: frames to cover
 *
 * Return: 1 to MEM_HINT_MAX_LEVELS, which covers more than 44 bits.
 */
u32 mhint_table_levels(u64 nr_frames)
{
	u32 levels = 1;

	while (levels < MEM_HINT_MAX_LEVELS &&
	       nr_frames > 1ULL << (MEM_HINT_LEVEL_BITS * levels))
		levels++;
	return levels;
}

/**
 * mhint_table_init - an empty table that covers no frame yet
 * @t: the table
 * @root: a zeroed page that the host may be shown after this call
 * @ops: page memory
 * @ctx: passed to @ops
 * @levels: of the radix, for good
 */
void mhint_table_init(struct mhint_table *t, struct mem_hint_root *root,
		      const struct mhint_table_ops *ops, void *ctx, u32 levels)
{
	memset(t, 0, sizeof(*t));
	t->root = root;
	t->ops = ops;
	t->ctx = ctx;
	t->levels = levels;
	t->generation = 1;
	root->version = cpu_to_le32(MEM_HINT_ABI_VERSION);
	root->levels = cpu_to_le32(levels);
	mhint_table_publish(t, 0);
	smp_wmb();	/* a root with the magic is a whole one */
	root->magic = cpu_to_le32(MEM_HINT_ROOT_MAGIC);
}

/**
 * mhint_table_limit - what the table covers and how large it may grow
 * @t: the table
 * @nr_frames: first frame not covered; cut to what @t->levels can address
 * @max_pages: bound of @t->nr_pages
 *
 * Both only grow: memory that was once there may still have entries.
 */
void mhint_table_limit(struct mhint_table *t, u64 nr_frames, u64 max_pages)
{
	u64 reach = 1ULL << (MEM_HINT_LEVEL_BITS * t->levels);

	if (nr_frames > reach)
		nr_frames = reach;
	if (nr_frames > t->nr_frames)
		t->nr_frames = nr_frames;
	if (max_pages > t->max_pages)
		t->max_pages = max_pages;
}

static __le64 *new_page(struct mhint_table *t, __le64 *link, int *err)
{
	void *page;
	u64 gpa;

	if (t->nr_pages >= t->max_pages) {
		*err = -ENOSPC;
		return NULL;
	}
	page = t->ops->alloc(t->ctx, &gpa);
	if (!page) {
		*err = -ENOMEM;
		return NULL;
	}
	t->nr_pages++;
	smp_wmb();	/* the host finds a linked page zeroed */
	WRITE_ONCE(*link, cpu_to_le64(gpa));
	return page;
}

/* The leaf of @frame; NULL and *err = 0: there is none and none was wanted. */
static __le64 *leaf_of(struct mhint_table *t, u64 frame, bool create, int *err)
{
	u64 leaf_nr = frame >> MEM_HINT_LEVEL_BITS;
	__le64 *link = &t->root->table, *page = NULL;
	u32 level = t->levels;

	*err = 0;
	if (t->leaf && t->leaf_nr == leaf_nr)
		return t->leaf;

	while (level--) {
		u64 gpa = le64_to_cpu(*link);

		if (gpa)
			page = t->ops->at(t->ctx, gpa);
		else if (create)
			page = new_page(t, link, err);
		else
			page = NULL;
		if (!page)
			return NULL;
		link = &page[slot_of(frame, level)];
	}
	t->leaf = page;
	t->leaf_nr = leaf_nr;
	return page;
}

/**
 * mhint_table_set - enter what a frame holds
 * @t: the table
 * @frame: guest frame number
 * @entry: as from mhint_entry(), its generation is filled in here; 0 clears
 *
 * Return: 0; -ERANGE: the frame is not covered; -ENOSPC: the table is as
 * large as it may be; -ENOMEM.  Clearing does not fail for want of memory.
 */
int mhint_table_set(struct mhint_table *t, u64 frame, u64 entry)
{
	__le64 *leaf, *slot;
	bool was, is;
	int err;

	if (frame >= t->nr_frames)
		return -ERANGE;
	leaf = leaf_of(t, frame, entry, &err);
	if (!leaf)
		return err;

	slot = &leaf[slot_of(frame, 0)];
	was = mhint_entry_valid(le64_to_cpu(*slot));
	is = mhint_entry_valid(entry);
	if (!was && !is)
		return 0;
	entry = is ? mhint_entry_stamp(entry, t->generation) : 0;
	WRITE_ONCE(*slot, cpu_to_le64(entry));
	t->nr_valid += is;
	t->nr_valid -= was;
	return 0;
}

/**
 * mhint_table_get - what a frame's entry is
 * @t: the table
 * @frame: guest frame number
 *
 * Return: the entry, 0 where there is none.
 */
u64 mhint_table_get(struct mhint_table *t, u64 frame)
{
	__le64 *leaf;
	int err;

	if (frame >= t->nr_frames)
		return 0;
	leaf = leaf_of(t, frame, false, &err);
	return leaf ? le64_to_cpu(leaf[slot_of(frame, 0)]) : 0;
}

/* Depth is bounded by MEM_HINT_MAX_LEVELS. */
static u64 purge(struct mhint_table *t, u64 gpa, u32 level, u64 mask, u64 what)
{
	__le64 *page = t->ops->at(t->ctx, gpa);
	u64 nr = 0;
	u32 i;

	for (i = 0; i < MEM_HINT_SLOTS; i++) {
		u64 v = le64_to_cpu(page[i]);

		if (level) {
			if (v)
				nr += purge(t, v, level - 1, mask, what);
		} else if ((v & mask) == what) {
			WRITE_ONCE(page[i], 0);
			nr++;
		}
	}
	if (!level && t->ops->relax)
		t->ops->relax(t->ctx);
	return nr;
}

/* Clear the valid entries that are as @what in the bits of @mask. */
static u64 purge_all(struct mhint_table *t, u64 mask, u64 what)
{
	u64 gpa = le64_to_cpu(t->root->table), nr = 0;

	if (gpa)
		nr = purge(t, gpa, t->levels - 1, mask | MEM_HINT_VALID,
			   what | MEM_HINT_VALID);
	t->nr_valid -= nr;
	return nr;
}

/**
 * mhint_table_purge_disk - clear all entries that name a disk
 * @t: the table
 * @disk: its id
 *
 * Return: how many there were.
 */
u64 mhint_table_purge_disk(struct mhint_table *t, u32 disk)
{
	return purge_all(t, MEM_HINT_DISK_MASK << MEM_HINT_DISK_SHIFT,
			 mhint_entry(disk, 0, 0));
}

/**
 * mhint_table_purge_class - clear all entries of a class
 * @t: the table
 * @class: enum mem_hint_class
 *
 * Return: how many there were.
 */
u64 mhint_table_purge_class(struct mhint_table *t, u32 class)
{
	return purge_all(t, MEM_HINT_CLASS_MASK << MEM_HINT_CLASS_SHIFT,
			 mhint_entry(0, class, 0));
}

static void free_pages_below(struct mhint_table *t, u64 gpa, u32 level)
{
	__le64 *page = t->ops->at(t->ctx, gpa);
	u32 i;

	for (i = 0; level && i < MEM_HINT_SLOTS; i++) {
		u64 v = le64_to_cpu(page[i]);

		if (v)
			free_pages_below(t, v, level - 1);
	}
	if (!level && t->ops->relax)
		t->ops->relax(t->ctx);
	t->ops->free(t->ctx, page, gpa);
	t->nr_pages--;
}

/**
 * mhint_table_clear - drop all entries and give their pages back
 * @t: the table; usable afterwards
 */
void mhint_table_clear(struct mhint_table *t)
{
	u64 gpa = le64_to_cpu(t->root->table);

	WRITE_ONCE(t->root->table, 0);
	t->leaf = NULL;
	t->nr_valid = 0;
	if (gpa)
		free_pages_below(t, gpa, t->levels - 1);
}

/**
 * mhint_table_publish - bring the root page up to date
 * @t: the table
 * @flags: MEM_HINT_ROOT_*
 */
void mhint_table_publish(struct mhint_table *t, u64 flags)
{
	struct mem_hint_root *r = t->root;

	WRITE_ONCE(r->nr_frames, cpu_to_le64(t->nr_frames));
	WRITE_ONCE(r->generation, cpu_to_le64(t->generation));
	WRITE_ONCE(r->nr_valid, cpu_to_le64(t->nr_valid));
	WRITE_ONCE(r->flags, cpu_to_le64(flags));
}
