// SPDX-License-Identifier: GPL-2.0
/* Pure: sets of ranges. */
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "spans.h"

/**
 * mhint_spans_find - where an address is, or would be
 * @s: the set
 * @addr: an address
 *
 * Return: index of the first range that ends after @addr, @s->nr if none does.
 */
u32 mhint_spans_find(const struct mhint_spans *s, u64 addr)
{
	u32 low = 0, high = s->nr;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (s->v[mid].end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/**
 * mhint_spans_at - the range that an address is in
 * @s: the set
 * @addr: an address
 *
 * Return: NULL if it is in none.
 */
const struct mhint_span *mhint_spans_at(const struct mhint_spans *s, u64 addr)
{
	u32 i = mhint_spans_find(s, addr);

	return i < s->nr && s->v[i].start <= addr ? &s->v[i] : NULL;
}

/* Make @add entries of the @remove ones at @at. */
static void splice(struct mhint_spans *s, u32 at, u32 remove, u32 add)
{
	memmove(&s->v[at + add], &s->v[at + remove],
		(s->nr - at - remove) * sizeof(s->v[0]));
	s->nr += add;
	s->nr -= remove;
}

static u64 value_at(const struct mhint_spans *s, const struct mhint_span *e,
		    u64 addr)
{
	return s->moving ? e->value + (addr - e->start) : e->value;
}

static bool continues(const struct mhint_spans *s, const struct mhint_span *a,
		      const struct mhint_span *b)
{
	return a->end == b->start && a->key == b->key &&
	       value_at(s, a, b->start) == b->value;
}

/* Entries that overlap [start, end): the first and how many. */
static u32 overlap(const struct mhint_spans *s, u64 start, u64 end, u32 *nr)
{
	u32 first = mhint_spans_find(s, start), i = first;

	while (i < s->nr && s->v[i].start < end)
		i++;
	*nr = i - first;
	return first;
}

/*
 * Put at most one range, @new, in place of [start, end).  What sticks out of it
 * on both sides stays; at most MHINT_SPANS_ROOM entries more than before.
 */
static int replace(struct mhint_spans *s, u64 start, u64 end,
		   const struct mhint_span *new)
{
	struct mhint_span put[3], left, right;
	u32 first, nr, n = 0, i;

	first = overlap(s, start, end, &nr);
	if (nr) {
		left = s->v[first];
		right = s->v[first + nr - 1];
		if (left.start < start) {
			left.end = start;
			put[n++] = left;
		}
	}
	if (new)
		put[n++] = *new;
	if (nr && right.end > end) {
		right.value = value_at(s, &right, end);
		right.start = end;
		put[n++] = right;
	}
	if (s->nr - nr + n > s->size)
		return -ENOSPC;
	splice(s, first, nr, n);
	for (i = 0; i < n; i++)
		s->v[first + i] = put[i];
	return 0;
}

/**
 * mhint_spans_set - say something of a range, instead of what was said before
 * @s: the set
 * @start: first byte
 * @end: byte after the last; above @start
 * @value: of @start
 * @key: of the range
 *
 * Ranges that continue each other become one.
 *
 * Return: 0; -ENOSPC: no room, nothing was changed.  Cannot happen where
 * MHINT_SPANS_ROOM entries are free.
 */
int mhint_spans_set(struct mhint_spans *s, u64 start, u64 end, u64 value,
		    u32 key)
{
	const struct mhint_span new = {
		.start = start, .end = end, .value = value, .key = key,
	};
	u32 i;

	/* The common case of a set that grows, one page after the other. */
	i = mhint_spans_find(s, start);
	if (i && continues(s, &s->v[i - 1], &new) &&
	    (i == s->nr || s->v[i].start > end)) {
		s->v[i - 1].end = end;
		return 0;
	}

	if (replace(s, start, end, &new))
		return -ENOSPC;
	i = mhint_spans_find(s, start);
	if (i + 1 < s->nr && continues(s, &s->v[i], &s->v[i + 1])) {
		s->v[i].end = s->v[i + 1].end;
		splice(s, i + 1, 1, 0);
	}
	if (i && continues(s, &s->v[i - 1], &s->v[i])) {
		s->v[i - 1].end = s->v[i].end;
		splice(s, i, 1, 0);
	}
	return 0;
}

/**
 * mhint_spans_clear - take back what was said of a range
 * @s: the set
 * @start: first byte
 * @end: byte after the last; above @start
 *
 * Return: 0; -ENOSPC: no room to split, nothing was changed.  Cannot happen
 * where one entry is free.
 */
int mhint_spans_clear(struct mhint_spans *s, u64 start, u64 end)
{
	return replace(s, start, end, NULL);
}

/**
 * mhint_spans_cut - take back what was said of a range, and more if need be
 * @s: the set
 * @start: first byte
 * @end: byte after the last; above @start
 *
 * Never fails: where there is no room to split a range, all of it goes.
 *
 * Return: whether anything was taken back.
 */
bool mhint_spans_cut(struct mhint_spans *s, u64 start, u64 end)
{
	u32 first, nr;

	first = overlap(s, start, end, &nr);
	if (!nr)
		return false;
	if (replace(s, start, end, NULL))
		splice(s, first, nr, 0);
	return true;
}

/**
 * mhint_spans_drop_key - forget all ranges of a key
 * @s: the set
 * @key: as given to mhint_spans_set()
 *
 * Return: how many there were.
 */
u32 mhint_spans_drop_key(struct mhint_spans *s, u32 key)
{
	u32 i, kept = 0, nr = s->nr;

	for (i = 0; i < nr; i++)
		if (s->v[i].key != key)
			s->v[kept++] = s->v[i];
	s->nr = kept;
	return nr - kept;
}
