/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: how a table entry is put together and taken apart. */
#ifndef MM_HINTS_ENTRY_H
#define MM_HINTS_ENTRY_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

/* Classes that are known, as bits. */
#define MHINT_CLASSES	((1ULL << MEM_HINT_CLASS_BACKED) |		\
			 (1ULL << MEM_HINT_CLASS_DISCARDABLE) |		\
			 (1ULL << MEM_HINT_CLASS_HOT))

/* Entry of generation 0; mhint_entry_stamp() gives it the real one. */
static inline u64 mhint_entry(u32 disk, u32 class, u64 block)
{
	return MEM_HINT_VALID |
	       (disk & MEM_HINT_DISK_MASK) << MEM_HINT_DISK_SHIFT |
	       (class & MEM_HINT_CLASS_MASK) << MEM_HINT_CLASS_SHIFT |
	       (block & MEM_HINT_BLOCK_MASK);
}

static inline u64 mhint_entry_stamp(u64 entry, u64 generation)
{
	entry &= ~(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);
	return entry | (generation & MEM_HINT_GEN_MASK) << MEM_HINT_GEN_SHIFT;
}

static inline bool mhint_entry_valid(u64 entry)
{
	return entry & MEM_HINT_VALID;
}

static inline u32 mhint_entry_disk(u64 entry)
{
	return entry >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK;
}

static inline u32 mhint_entry_class(u64 entry)
{
	return entry >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK;
}

static inline u32 mhint_entry_generation(u64 entry)
{
	return entry >> MEM_HINT_GEN_SHIFT & MEM_HINT_GEN_MASK;
}

static inline u64 mhint_entry_block(u64 entry)
{
	return entry & MEM_HINT_BLOCK_MASK;
}

#endif
