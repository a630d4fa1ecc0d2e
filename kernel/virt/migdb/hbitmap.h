/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Bitmap with summary levels: a bit of level n+1 says that a word of level n is
 * not zero.  Finding the next set bit costs O(levels), whatever the size of the
 * guest; that makes it the send queue, the revoke queue and the return list:
 * each page is in it at most once, and taking pages out costs O(taken).
 *
 * No lock inside: callers hold the one of the structure that the bitmap is in.
 */
#ifndef _MIGDB_HBITMAP_H
#define _MIGDB_HBITMAP_H

#include <linux/types.h>

/* 64^6 bits is more than MIGDB_MAX_PAGES */
#define MIGDB_HBITMAP_LEVELS	6

struct migdb_hbitmap {
	u64 nr_bits;
	u64 nr_set;
	unsigned int nr_levels;
	u64 *level[MIGDB_HBITMAP_LEVELS];	/* [0]: the bits themselves */
	void *mem;				/* one allocation for all levels */
};

/* Bytes that a bitmap of @nr_bits allocates. */
u64 migdb_hbitmap_bytes(u64 nr_bits);
/* 0, -EINVAL (no bits, or too many) or -ENOMEM. */
int migdb_hbitmap_init(struct migdb_hbitmap *b, u64 nr_bits);
void migdb_hbitmap_destroy(struct migdb_hbitmap *b);	/* also of a zeroed one */

/* @bit must be below nr_bits.  set: true if it was clear; clear: if it was set. */
bool migdb_hbitmap_set(struct migdb_hbitmap *b, u64 bit);
bool migdb_hbitmap_clear(struct migdb_hbitmap *b, u64 bit);
bool migdb_hbitmap_test(const struct migdb_hbitmap *b, u64 bit);
/* First set bit at or after @from; nr_bits if there is none. */
u64 migdb_hbitmap_next(const struct migdb_hbitmap *b, u64 from);
/*
 * Take out the first run at or after @from, at most @max bits of it.
 * Returns its length, 0 if there is none.
 */
u64 migdb_hbitmap_pop_run(struct migdb_hbitmap *b, u64 from, u64 max, u64 *first);

#endif /* _MIGDB_HBITMAP_H */
