/* SPDX-License-Identifier: GPL-2.0 */
/* What the suites share: numbers that look random and are the same every time. */
#ifndef _MIGDB_TEST_UTIL_H
#define _MIGDB_TEST_UTIL_H

#include <kunit/test.h>
#include <linux/types.h>

struct test_rng {
	u64 state;
};

/* xorshift64*; @seed must not be 0 */
static inline u64 test_rng_next(struct test_rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dULL;
}

/* Below @n, which is below 2^32. */
static inline u32 test_rng_below(struct test_rng *r, u32 n)
{
	return ((test_rng_next(r) >> 32) * n) >> 32;
}

static inline void test_rng_bytes(struct test_rng *r, void *p, size_t n)
{
	u8 *b = p;

	while (n--)
		*b++ = test_rng_next(r) >> 56;
}

#endif /* _MIGDB_TEST_UTIL_H */
