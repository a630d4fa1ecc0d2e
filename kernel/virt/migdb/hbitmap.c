// SPDX-License-Identifier: GPL-2.0
/*
 * Bitmap with summary levels, see hbitmap.h.
 *
 * Bits past nr_bits are never set, on any level, so that searches need no mask
 * at the end.  The last level is a single word.
 */
#include <linux/types.h>
#include <linux/bitops.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include "alloc.h"
#include "hbitmap.h"
#include "limits.h"

#define WORD_SHIFT	6
#define WORD_BITS	64u

static u64 words_of(u64 nr_bits)
{
	return (nr_bits + WORD_BITS - 1) >> WORD_SHIFT;
}

static unsigned int bit_of(u64 bit)
{
	return bit & (WORD_BITS - 1);
}

u64 migdb_hbitmap_bytes(u64 nr_bits)
{
	u64 words = words_of(nr_bits), sum = words;

	while (words > 1) {
		words = words_of(words);
		sum += words;
	}
	return sum * sizeof(u64);
}

int migdb_hbitmap_init(struct migdb_hbitmap *b, u64 nr_bits)
{
	u64 words, *p;

	memset(b, 0, sizeof(*b));
	if (!nr_bits || nr_bits > MIGDB_MAX_PAGES)
		return -EINVAL;
	p = migdb_zalloc(migdb_hbitmap_bytes(nr_bits));
	if (!p)
		return -ENOMEM;

	b->mem = p;
	b->nr_bits = nr_bits;
	words = nr_bits;
	do {
		words = words_of(words);
		b->level[b->nr_levels++] = p;
		p += words;
	} while (words > 1);
	return 0;
}

void migdb_hbitmap_destroy(struct migdb_hbitmap *b)
{
	migdb_free(b->mem);
	memset(b, 0, sizeof(*b));
}

bool migdb_hbitmap_set(struct migdb_hbitmap *b, u64 bit)
{
	unsigned int l;
	u64 old;

	if (migdb_hbitmap_test(b, bit))
		return false;
	b->nr_set++;
	for (l = 0; l < b->nr_levels; l++) {
		u64 *word = &b->level[l][bit >> WORD_SHIFT];

		old = *word;
		*word = old | BIT_ULL(bit_of(bit));
		if (old)
			break;
		bit >>= WORD_SHIFT;
	}
	return true;
}

/* Clear @mask in word @idx of level 0, and the summary bits of what is empty now. */
static void clear_mask(struct migdb_hbitmap *b, u64 idx, u64 mask)
{
	unsigned int l;

	for (l = 0; l < b->nr_levels; l++) {
		u64 *word = &b->level[l][idx];

		*word &= ~mask;
		if (*word)
			break;
		mask = BIT_ULL(bit_of(idx));
		idx >>= WORD_SHIFT;
	}
}

bool migdb_hbitmap_clear(struct migdb_hbitmap *b, u64 bit)
{
	if (!migdb_hbitmap_test(b, bit))
		return false;
	b->nr_set--;
	clear_mask(b, bit >> WORD_SHIFT, BIT_ULL(bit_of(bit)));
	return true;
}

bool migdb_hbitmap_test(const struct migdb_hbitmap *b, u64 bit)
{
	return b->level[0][bit >> WORD_SHIFT] >> bit_of(bit) & 1;
}

u64 migdb_hbitmap_next(const struct migdb_hbitmap *b, u64 from)
{
	u64 pos = from, nr = b->nr_bits;
	unsigned int l;

	/* Up, until a word has something at or after our place ... */
	for (l = 0; l < b->nr_levels; l++) {
		u64 word;

		if (pos >= nr)
			return b->nr_bits;
		word = b->level[l][pos >> WORD_SHIFT] & (~0ULL << bit_of(pos));
		if (word) {
			pos = (pos & ~(u64)(WORD_BITS - 1)) + __ffs64(word);
			break;
		}
		pos = (pos >> WORD_SHIFT) + 1;
		nr = words_of(nr);
	}
	if (l == b->nr_levels)
		return b->nr_bits;
	/* ... and down again to the first bit below it. */
	while (l--)
		pos = (pos << WORD_SHIFT) + __ffs64(b->level[l][pos]);
	return pos;
}

u64 migdb_hbitmap_pop_run(struct migdb_hbitmap *b, u64 from, u64 max, u64 *first)
{
	u64 pos = migdb_hbitmap_next(b, from), taken = 0;

	*first = pos;
	while (pos < b->nr_bits && taken < max) {
		unsigned int off = bit_of(pos);
		u64 rest = ~(b->level[0][pos >> WORD_SHIFT] >> off);
		u64 n = rest ? __ffs64(rest) : WORD_BITS;

		n = min(n, max - taken);
		if (!n)
			break;		/* the run ended with the last round */
		clear_mask(b, pos >> WORD_SHIFT, (~0ULL >> (WORD_BITS - n)) << off);
		b->nr_set -= n;
		taken += n;
		pos += n;
	}
	return taken;
}
