/* SPDX-License-Identifier: MIT */
/*
 * Builds a hint table (<linux/mem_hints.h>) in guest RAM: what the guest
 * kernel's registry does, for guests that have none.
 */
#ifndef HINTS_H
#define HINTS_H

#include <linux/mem_hints.h>
#include "mdb.h"

struct hint_table {
	u8 *ram;		/* guest address 0 */
	u64 nr_frames;
	u64 root_gpa, table_gpa;
	u64 end_gpa;		/* first guest address behind the table */
	u32 levels;
};

static inline u64 hint_entry(u32 disk, u64 block)
{
	return MEM_HINT_VALID | (u64)disk << MEM_HINT_DISK_SHIFT |
	       (u64)MEM_HINT_CLASS_BACKED << MEM_HINT_CLASS_SHIFT |
	       1ULL << MEM_HINT_GEN_SHIFT | (block & MEM_HINT_BLOCK_MASK);
}

/* The guest can do without the frame's content. */
static inline u64 hint_discardable(void)
{
	return MEM_HINT_VALID | (u64)MEM_HINT_MAX_DISKS << MEM_HINT_DISK_SHIFT |
	       (u64)MEM_HINT_CLASS_DISCARDABLE << MEM_HINT_CLASS_SHIFT |
	       1ULL << MEM_HINT_GEN_SHIFT;
}

static inline bool hint_is_discardable(u64 entry)
{
	return entry & MEM_HINT_VALID &&
	       (entry >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK) == MEM_HINT_CLASS_DISCARDABLE;
}

/* hints_bytes: guest RAM that a table for @nr_frames takes. */
u64 hints_bytes(u64 nr_frames);

/*
 * hints_init: an empty table at @gpa, all its pages linked.  With that, the
 * entries of all frames form one flat array, so a guest needs only its start.
 */
void hints_init(struct hint_table *t, u8 *ram, u64 gpa, u64 nr_frames);

/* hints_entries: guest address of the entry of frame 0. */
u64 hints_entries(const struct hint_table *t);

void hints_set(struct hint_table *t, u64 frame, u64 entry);
u64 hints_get(const struct hint_table *t, u64 frame);
struct mem_hint_root *hints_root(struct hint_table *t);

#endif /* HINTS_H */
