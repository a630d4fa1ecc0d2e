// SPDX-License-Identifier: MIT
/*
 * The levels are laid out from the top down, each one contiguous and complete:
 *
 *	root page | level n-1 (1 page) | ... | level 1 | level 0 (entries)
 */
#include <string.h>
#include "hints.h"

static u64 level_pages(u64 nr_frames, u32 level)
{
	u64 per_page = 1ULL << (MEM_HINT_LEVEL_BITS * (level + 1));

	return (nr_frames + per_page - 1) / per_page;
}

static u32 nr_levels(u64 nr_frames)
{
	u32 levels = 1;

	while (nr_frames > 1ULL << (MEM_HINT_LEVEL_BITS * levels))
		levels++;
	return levels;
}

u64 hints_bytes(u64 nr_frames)
{
	u64 pages = 1;
	u32 level;

	for (level = 0; level < nr_levels(nr_frames); level++)
		pages += level_pages(nr_frames, level);
	return pages * MEM_HINT_FRAME_SIZE;
}

void hints_init(struct hint_table *t, u8 *ram, u64 gpa, u64 nr_frames)
{
	struct mem_hint_root *root = (void *)(ram + gpa);
	u64 at = gpa + MEM_HINT_FRAME_SIZE, next;
	u32 level;

	*t = (struct hint_table){
		.ram = ram, .nr_frames = nr_frames, .root_gpa = gpa,
		.table_gpa = at, .levels = nr_levels(nr_frames),
		.end_gpa = gpa + hints_bytes(nr_frames),
	};
	memset(ram + gpa, 0, hints_bytes(nr_frames));
	for (level = t->levels - 1; level > 0; level--) {
		u64 *slots = (void *)(ram + at);
		u64 children = level_pages(nr_frames, level - 1), i;

		next = at + level_pages(nr_frames, level) * MEM_HINT_FRAME_SIZE;
		for (i = 0; i < children; i++)
			slots[i] = next + i * MEM_HINT_FRAME_SIZE;
		at = next;
	}
	root->version = MEM_HINT_ABI_VERSION;
	root->levels = t->levels;
	root->nr_frames = nr_frames;
	root->generation = 1;
	root->table = t->table_gpa;
	root->flags = 0;
	root->magic = MEM_HINT_ROOT_MAGIC;
}

u64 hints_entries(const struct hint_table *t)
{
	return t->end_gpa - level_pages(t->nr_frames, 0) * MEM_HINT_FRAME_SIZE;
}

void hints_set(struct hint_table *t, u64 frame, u64 entry)
{
	u64 *entries = (void *)(t->ram + hints_entries(t));

	__atomic_store_n(&entries[frame], entry, __ATOMIC_RELAXED);
}

u64 hints_get(const struct hint_table *t, u64 frame)
{
	const u64 *entries = (const void *)(t->ram + hints_entries(t));

	return __atomic_load_n(&entries[frame], __ATOMIC_RELAXED);
}

struct mem_hint_root *hints_root(struct hint_table *t)
{
	return (void *)(t->ram + t->root_gpa);
}
