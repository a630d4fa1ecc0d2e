// SPDX-License-Identifier: GPL-2.0
/* Reader of the guest's hint table, see table.h. */
#include <linux/types.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/mem_hints.h>
#include <linux/minmax.h>
#include <asm/byteorder.h>
#include "table.h"

/* Never the address of a page: not aligned. */
#define NO_GPA		(~0ULL)
#define SLOT_MASK	(MEM_HINT_SLOTS - 1)

static bool gpa_aligned(u64 gpa)
{
	return !(gpa & (MIGDB_PAGE_BYTES - 1));
}

/* Frames below one slot of a page at @level; level 0 holds the entries. */
static u64 slot_frames(u32 level)
{
	return 1ULL << (MEM_HINT_LEVEL_BITS * level);
}

int migdb_table_parse_root(const void *page, struct migdb_table *t)
{
	const struct mem_hint_root *root = page;

	if (le32_to_cpu(root->magic) != MEM_HINT_ROOT_MAGIC)
		return -ENOENT;
	if (le32_to_cpu(root->version) != MEM_HINT_ABI_VERSION)
		return -EPROTO;

	t->levels = le32_to_cpu(root->levels);
	t->nr_frames = le64_to_cpu(root->nr_frames);
	t->top_gpa = le64_to_cpu(root->table);
	if (!t->levels || t->levels > MIGDB_TABLE_MAX_LEVELS)
		return -EPROTO;
	if (t->nr_frames > slot_frames(t->levels) || !gpa_aligned(t->top_gpa))
		return -EPROTO;
	return 0;
}

/*
 * The page at @gpa, from the copy if it is the one that was read last at this
 * level.  NULL: not to be had.
 */
static const __le64 *load(struct migdb_table_walk *w, u32 level, u64 gpa,
			  const struct migdb_table_ops *ops, void *ctx)
{
	bool ok;

	if (w->cached_gpa[level] == gpa)
		return (const __le64 *)w->page[level];

	ok = !ops->read_page(ctx, gpa, w->page[level]);
	w->cached_gpa[level] = ok ? gpa : NO_GPA;
	return ok ? (const __le64 *)w->page[level] : NULL;
}

static int walk_leaf(const __le64 *slots, u64 gfn, u64 end,
		     const struct migdb_table_ops *ops, void *ctx)
{
	for (; gfn < end; gfn++) {
		u64 e = le64_to_cpu(slots[gfn & SLOT_MASK]);
		u32 class;
		int rc;

		if (!(e & MEM_HINT_VALID))
			continue;
		class = e >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK;
		if (class > MEM_HINT_CLASS_HOT)
			continue;
		rc = ops->entry(ctx, gfn, e >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK,
				e & MEM_HINT_BLOCK_MASK, class);
		if (rc)
			return rc;
	}
	return 0;
}

int migdb_table_walk(const struct migdb_table *t, struct migdb_table_walk *w,
		     u64 first_gfn, u64 end_gfn,
		     const struct migdb_table_ops *ops, void *ctx)
{
	u64 gfn = first_gfn, end = min(end_gfn, t->nr_frames);
	u32 level;
	int rc;

	BUILD_BUG_ON(MEM_HINT_MAX_LEVELS != MIGDB_TABLE_MAX_LEVELS);
	BUILD_BUG_ON(MEM_HINT_SLOTS * sizeof(__le64) != MIGDB_PAGE_BYTES);
	BUILD_BUG_ON(MEM_HINT_BLOCK_MASK + 1 != MIGDB_MAX_BLOCK);

	for (level = 0; level < MIGDB_TABLE_MAX_LEVELS; level++)
		w->cached_gpa[level] = NO_GPA;

	while (t->top_gpa && gfn < end) {
		const __le64 *slots;
		u64 gpa = t->top_gpa, next;

		for (level = t->levels - 1; ; level--) {
			slots = load(w, level, gpa, ops, ctx);
			/* a missing page hides all of its slots */
			next = (gfn | (slot_frames(level + 1) - 1)) + 1;
			if (!slots || !level)
				break;
			gpa = le64_to_cpu(slots[gfn >> (MEM_HINT_LEVEL_BITS * level) & SLOT_MASK]);
			if (!gpa || !gpa_aligned(gpa)) {
				next = (gfn | (slot_frames(level) - 1)) + 1;
				slots = NULL;
				break;
			}
		}
		if (slots) {
			rc = walk_leaf(slots, gfn, min(next, end), ops, ctx);
			if (rc)
				return rc;
		}
		/*
		 * Also when nothing was read: a radix whose slots all name one page
		 * is all copies, and may stand for all of a guest's memory.
		 */
		rc = ops->yield(ctx);
		if (rc)
			return rc;
		gfn = next;
	}
	return 0;
}
