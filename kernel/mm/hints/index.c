// SPDX-License-Identifier: GPL-2.0
/*
 * From blocks to frames: when a block is written from one page, what other
 * pages were said to hold of it is old.
 *
 * A hash of slots.  A slot has the frame only; the block that it stands for is
 * what the table says that the frame holds.  So a slot can become wrong
 * without being told, when the table is changed behind its back, and is
 * dropped where it is met.
 *
 * Linear hashing by pages: one page is split at a time, so that no note pays
 * for more than 768 slots and memory follows the number of hints.  A key may be
 * in either of two buckets of its page.  A frame that finds no slot is not
 * indexed; then a hint may stay that is stale, which the host finds out.
 */
#include <linux/types.h>
#include <linux/build_bug.h>
#include <linux/string.h>

#include "entry.h"
#include "index.h"
#include "notes.h"

#define POINTERS	(MEM_HINT_FRAME_SIZE / sizeof(void *))

/* What is compared: the disk and the block. */
static u64 key_of(u64 entry)
{
	return entry & (MEM_HINT_DISK_MASK << MEM_HINT_DISK_SHIFT |
			MEM_HINT_BLOCK_MASK);
}

/* What is discardable holds no block, whatever is in the field. */
static bool has_block(u64 entry)
{
	return mhint_entry_valid(entry) &&
	       mhint_entry_class(entry) != MEM_HINT_CLASS_DISCARDABLE;
}

static bool names(u64 entry, u64 key)
{
	return has_block(entry) && key_of(entry) == key;
}

static u64 hash(u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static u8 tag_of(u64 h)
{
	u8 tag = h >> 48;

	return tag ? tag : 1;
}

static u32 page_of(const struct mhint_index *ix, u64 h)
{
	u32 mask = 1, nr;

	while (mask < ix->nr_pages)
		mask <<= 1;
	nr = (u32)h & (mask - 1);
	return nr < ix->nr_pages ? nr : nr & (mask / 2 - 1);
}

static struct mhint_bucket *page_at(const struct mhint_index *ix, u32 nr)
{
	return ix->top[nr / POINTERS][nr % POINTERS];
}

static struct mhint_bucket *bucket_of(struct mhint_bucket *page, u64 h, int which)
{
	return &page[h >> (which ? 38 : 32) & (MHINT_INDEX_BUCKETS - 1)];
}

static void free_slot(struct mhint_index *ix, struct mhint_bucket *b, u32 i)
{
	b->tag[i] = 0;
	ix->nr--;
}

/* Two choices: the bucket with more room. */
static bool put(struct mhint_index *ix, struct mhint_bucket *page, u64 h, u32 frame)
{
	struct mhint_bucket *best = NULL;
	u32 best_free = 0, best_slot = 0;
	int which;

	for (which = 0; which < 2; which++) {
		struct mhint_bucket *b = bucket_of(page, h, which);
		u32 i, free = 0, slot = 0;

		for (i = 0; i < MHINT_BUCKET_SLOTS; i++) {
			if (b->tag[i])
				continue;
			free++;
			slot = i;
		}
		if (free > best_free) {
			best = b;
			best_free = free;
			best_slot = slot;
		}
	}
	if (!best)
		return false;
	best->frame[best_slot] = frame;
	best->tag[best_slot] = tag_of(h);
	ix->nr++;
	return true;
}

static u64 entry_of(struct mhint_index *ix, u32 frame)
{
	return mhint_table_get(ix->table, frame);
}

/* Drop the slots of both buckets whose frames name something else by now. */
static bool sweep(struct mhint_index *ix, struct mhint_bucket *page, u64 h)
{
	bool found = false;
	int which;
	u32 i;

	for (which = 0; which < 2; which++) {
		struct mhint_bucket *b = bucket_of(page, h, which);

		for (i = 0; i < MHINT_BUCKET_SLOTS; i++) {
			u64 entry, of;

			if (!b->tag[i])
				continue;
			entry = entry_of(ix, b->frame[i]);
			of = hash(key_of(entry));
			if (has_block(entry) && tag_of(of) == b->tag[i] &&
			    (bucket_of(page, of, 0) == b || bucket_of(page, of, 1) == b))
				continue;
			free_slot(ix, b, i);
			found = true;
		}
	}
	return found;
}

static void *new_page(struct mhint_index *ix)
{
	const struct mhint_table *t = ix->table;
	void *page;
	u64 gpa;

	page = t->ops->alloc(t->ctx, &gpa);
	if (page)
		ix->nr_bytes += MEM_HINT_FRAME_SIZE;
	return page;
}

/* Distribute the slots of page @from, whose number lacks a bit, over both. */
static void split(struct mhint_index *ix, u32 from, u32 to)
{
	struct mhint_bucket *old = page_at(ix, from), *new = page_at(ix, to);
	u32 b, i;

	for (b = 0; b < MHINT_INDEX_BUCKETS; b++) {
		for (i = 0; i < MHINT_BUCKET_SLOTS; i++) {
			u32 frame = old[b].frame[i];
			u64 entry, h;

			if (!old[b].tag[i])
				continue;
			entry = entry_of(ix, frame);
			h = hash(key_of(entry));
			if (has_block(entry) && tag_of(h) == old[b].tag[i] &&
			    page_of(ix, h) == from)
				continue;
			free_slot(ix, &old[b], i);
			if (has_block(entry) && page_of(ix, h) == to)
				put(ix, new, h, frame);
		}
	}
}

/* One page more, if it can be had; else the pages just get fuller. */
static void grow(struct mhint_index *ix)
{
	u32 nr = ix->nr_pages, half = 1;
	void ***chunk = (void ***)&ix->top[nr / POINTERS];

	if (nr >= ix->max_pages)
		return;
	if (!*chunk)
		*chunk = new_page(ix);
	if (!*chunk)
		return;
	(*chunk)[nr % POINTERS] = new_page(ix);
	if (!(*chunk)[nr % POINTERS])
		return;
	ix->nr_pages++;
	if (!nr)
		return;
	while (half * 2 <= nr)
		half *= 2;
	split(ix, nr - half, nr);
}

/**
 * mhint_index_max_pages - how many pages of buckets so many frames may need
 * @nr_frames: of the table
 */
u32 mhint_index_max_pages(u64 nr_frames)
{
	u64 nr = nr_frames / MHINT_INDEX_FILL + 1;

	/* frames are kept as 32 bits */
	return nr < 1 << 24 ? nr : 1 << 24;
}

/**
 * mhint_index_top_slots - how many pointers @top of mhint_index_init() has
 * @max_pages: as from mhint_index_max_pages()
 */
u32 mhint_index_top_slots(u32 max_pages)
{
	return (max_pages + POINTERS - 1) / POINTERS;
}

/**
 * mhint_index_init - an empty index
 * @ix: the index
 * @table: the table; its page memory is used
 * @top: pointers, all NULL
 * @max_pages: bound of the pages of buckets
 */
void mhint_index_init(struct mhint_index *ix, struct mhint_table *table,
		      void ***top, u32 max_pages)
{
	BUILD_BUG_ON(sizeof(struct mhint_bucket) * MHINT_INDEX_BUCKETS !=
		     MEM_HINT_FRAME_SIZE);
	memset(ix, 0, sizeof(*ix));
	ix->table = table;
	ix->top = top;
	ix->max_pages = max_pages;
}

/**
 * mhint_index_add - remember what a frame names
 * @ix: the index
 * @frame: the frame; the table has @entry for it
 * @entry: a valid entry
 */
void mhint_index_add(struct mhint_index *ix, u64 frame, u64 entry)
{
	u64 h = hash(key_of(entry));
	struct mhint_bucket *page;
	int which;
	u32 i;

	if (ix->nr >= (u64)ix->nr_pages * MHINT_INDEX_FILL)
		grow(ix);
	if (!ix->nr_pages || frame != (u32)frame) {
		ix->nr_lost++;
		return;
	}
	page = page_at(ix, page_of(ix, h));
	for (which = 0; which < 2; which++) {
		struct mhint_bucket *b = bucket_of(page, h, which);

		for (i = 0; i < MHINT_BUCKET_SLOTS; i++)
			if (b->tag[i] == tag_of(h) && b->frame[i] == frame)
				return;
	}
	if (put(ix, page, h, frame))
		return;
	if (!sweep(ix, page, h) || !put(ix, page, h, frame))
		ix->nr_lost++;
}

/**
 * mhint_index_del - forget what a frame named
 * @ix: the index
 * @frame: the frame
 * @entry: what the table had for it
 */
void mhint_index_del(struct mhint_index *ix, u64 frame, u64 entry)
{
	u64 h = hash(key_of(entry));
	struct mhint_bucket *page;
	int which;
	u32 i;

	if (!ix->nr_pages)
		return;
	page = page_at(ix, page_of(ix, h));
	for (which = 0; which < 2; which++) {
		struct mhint_bucket *b = bucket_of(page, h, which);

		for (i = 0; i < MHINT_BUCKET_SLOTS; i++)
			if (b->tag[i] == tag_of(h) && b->frame[i] == frame)
				free_slot(ix, b, i);
	}
}

/**
 * mhint_index_take - a block is written: clear what other frames named it
 * @ix: the index
 * @frame: the frame that it was written from, or MHINT_NO_FRAME
 * @entry: any entry that names the block
 *
 * Return: entries of the table that were cleared.
 */
u32 mhint_index_take(struct mhint_index *ix, u64 frame, u64 entry)
{
	u64 key = key_of(entry), h = hash(key);
	struct mhint_bucket *page;
	u32 i, nr = 0;
	int which;

	if (!ix->nr_pages)
		return 0;
	page = page_at(ix, page_of(ix, h));
	for (which = 0; which < 2; which++) {
		struct mhint_bucket *b = bucket_of(page, h, which);

		for (i = 0; i < MHINT_BUCKET_SLOTS; i++) {
			if (b->tag[i] != tag_of(h) || b->frame[i] == frame)
				continue;
			if (!names(entry_of(ix, b->frame[i]), key))
				continue;	/* only the tag is the same */
			mhint_table_set(ix->table, b->frame[i], 0);
			free_slot(ix, b, i);
			nr++;
		}
	}
	return nr;
}

/**
 * mhint_index_clear - forget all, and give the memory back
 * @ix: the index; usable afterwards
 */
void mhint_index_clear(struct mhint_index *ix)
{
	const struct mhint_table *t = ix->table;
	u32 nr, i;

	for (nr = 0; nr < mhint_index_top_slots(ix->max_pages); nr++) {
		void **chunk = ix->top[nr];

		for (i = 0; chunk && i < POINTERS; i++)
			if (chunk[i])
				t->ops->free(t->ctx, chunk[i], 0);
		if (chunk)
			t->ops->free(t->ctx, chunk, 0);
		ix->top[nr] = NULL;
		if (t->ops->relax)
			t->ops->relax(t->ctx);
	}
	ix->nr_pages = 0;
	ix->nr = 0;
	ix->nr_bytes = 0;
}

/**
 * mhint_enter - take a note into the table
 * @ix: the index, and the table with it
 * @frame: of the note
 * @note: entry of the note, with MHINT_NOTE_* in place of the generation
 * @nr_stale: added to for each entry that the note has made old
 *
 * Return: as mhint_table_set().
 */
int mhint_enter(struct mhint_index *ix, u64 frame, u64 note, u64 *nr_stale)
{
	u64 old;
	int err;

	if (note & MHINT_NOTE_WRITTEN)
		*nr_stale += mhint_index_take(ix, frame, note);
	if (note & MHINT_NOTE_PARTIAL)
		return 0;
	old = mhint_table_get(ix->table, frame);
	err = mhint_table_set(ix->table, frame, note);
	if (err)
		return err;
	if (has_block(old) && !names(note, key_of(old)))
		mhint_index_del(ix, frame, old);
	if (has_block(note))
		mhint_index_add(ix, frame, note);
	return 0;
}
