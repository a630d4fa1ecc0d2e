/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: which frames name a block of a disk; see index.c. */
#ifndef MM_HINTS_INDEX_H
#define MM_HINTS_INDEX_H

#include <linux/types.h>

#include "table.h"

#define MHINT_BUCKET_SLOTS	12
#define MHINT_INDEX_BUCKETS	64	/* in a page */

/* A page of the index gets company when there are so many slots for each. */
#define MHINT_INDEX_FILL	320

/* @tag: 0: free; else some of the hash, so that most misses cost nothing. */
struct mhint_bucket {
	u32 frame[MHINT_BUCKET_SLOTS];
	u8 tag[MHINT_BUCKET_SLOTS];
	u8 unused[4];
};

/**
 * struct mhint_index - slots that say "this frame may name that block"
 * @table: what the frames really name.
 * @top: pages of pointers to pages of buckets; @max_pages / 512 of them.
 * @nr_pages: pages of buckets, 0 before the first slot.
 * @max_pages: bound of @nr_pages.
 * @nr_bytes: memory of all pages.
 * @nr: slots in use, those included that have become wrong.
 * @nr_lost: frames that found no slot.
 *
 * Serialised by the table's writer.
 */
struct mhint_index {
	struct mhint_table *table;
	void ***top;
	u32 nr_pages;
	u32 max_pages;
	u64 nr_bytes;
	u64 nr;
	u64 nr_lost;
};

#define MHINT_NO_FRAME		(~0ULL)

void mhint_index_init(struct mhint_index *ix, struct mhint_table *table,
		      void ***top, u32 max_pages);
u32 mhint_index_max_pages(u64 nr_frames);
u32 mhint_index_top_slots(u32 max_pages);
void mhint_index_add(struct mhint_index *ix, u64 frame, u64 entry);
void mhint_index_del(struct mhint_index *ix, u64 frame, u64 entry);
u32 mhint_index_take(struct mhint_index *ix, u64 frame, u64 entry);
void mhint_index_clear(struct mhint_index *ix);

int mhint_enter(struct mhint_index *ix, u64 frame, u64 note, u64 *nr_stale);

#endif
