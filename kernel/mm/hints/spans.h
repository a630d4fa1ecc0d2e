/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pure: ranges of addresses that do not overlap, sorted, each with what was said
 * of it.  The memory is the caller's, so that ranges can be cut and dropped
 * where nothing can be allocated.
 */
#ifndef MM_HINTS_SPANS_H
#define MM_HINTS_SPANS_H

#include <linux/types.h>

/**
 * struct mhint_span - a range
 * @start: its first byte.
 * @end: the byte after its last one.
 * @value: of @start; where it is in the file.
 * @key: the file, or the class.
 */
struct mhint_span {
	u64 start;
	u64 end;
	u64 value;
	u32 key;
};

/* More that a change can need than there were before. */
#define MHINT_SPANS_ROOM	2

/**
 * struct mhint_spans - a set of ranges
 * @v: sorted by address.
 * @nr: used entries of @v.
 * @size: entries of @v.
 * @moving: the value of a byte is @value of its range plus its distance from
 *	@start; else it is that of the range.
 */
struct mhint_spans {
	struct mhint_span *v;
	u32 nr;
	u32 size;
	bool moving;
};

int mhint_spans_set(struct mhint_spans *s, u64 start, u64 end, u64 value,
		    u32 key);
int mhint_spans_clear(struct mhint_spans *s, u64 start, u64 end);
bool mhint_spans_cut(struct mhint_spans *s, u64 start, u64 end);
u32 mhint_spans_drop_key(struct mhint_spans *s, u32 key);
u32 mhint_spans_find(const struct mhint_spans *s, u64 addr);
const struct mhint_span *mhint_spans_at(const struct mhint_spans *s, u64 addr);

#endif
