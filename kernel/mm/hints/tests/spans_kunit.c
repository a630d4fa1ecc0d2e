// SPDX-License-Identifier: GPL-2.0
/* KUnit: sets of ranges, against a plain array of bytes. */
#include <kunit/test.h>

#include "../spans.h"

#define ROOM	32
#define BYTES	64

struct set {
	struct mhint_span v[ROOM];
	struct mhint_spans s;
};

/* What was said of each byte; key 0: nothing. */
struct model {
	u32 key[BYTES];
	u64 value[BYTES];
};

static void set_init(struct set *set, u32 size, bool moving)
{
	memset(set, 0, sizeof(*set));
	set->s.v = set->v;
	set->s.size = size;
	set->s.moving = moving;
}

static void expect(struct kunit *test, struct set *set, u32 i, u64 start,
		   u64 end, u64 value, u32 key)
{
	KUNIT_ASSERT_LT(test, i, set->s.nr);
	KUNIT_EXPECT_EQ(test, set->v[i].start, start);
	KUNIT_EXPECT_EQ(test, set->v[i].end, end);
	KUNIT_EXPECT_EQ(test, set->v[i].value, value);
	KUNIT_EXPECT_EQ(test, set->v[i].key, key);
}

static void one_range(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, true);
	KUNIT_EXPECT_NULL(test, mhint_spans_at(&set.s, 0));
	KUNIT_EXPECT_EQ(test, mhint_spans_set(&set.s, 10, 20, 100, 1), 0);
	KUNIT_EXPECT_EQ(test, set.s.nr, 1);
	expect(test, &set, 0, 10, 20, 100, 1);
	KUNIT_EXPECT_NULL(test, mhint_spans_at(&set.s, 9));
	KUNIT_EXPECT_NOT_NULL(test, mhint_spans_at(&set.s, 10));
	KUNIT_EXPECT_NOT_NULL(test, mhint_spans_at(&set.s, 19));
	KUNIT_EXPECT_NULL(test, mhint_spans_at(&set.s, 20));
	KUNIT_EXPECT_EQ(test, mhint_spans_clear(&set.s, 0, BYTES), 0);
	KUNIT_EXPECT_EQ(test, set.s.nr, 0);
}

static void joins(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, true);
	mhint_spans_set(&set.s, 10, 20, 100, 1);
	mhint_spans_set(&set.s, 30, 40, 120, 1);
	KUNIT_EXPECT_EQ(test, set.s.nr, 2);
	mhint_spans_set(&set.s, 20, 30, 110, 1);
	KUNIT_EXPECT_EQ(test, set.s.nr, 1);
	expect(test, &set, 0, 10, 40, 100, 1);

	/* The same file elsewhere, or another file, is no continuation. */
	mhint_spans_set(&set.s, 40, 50, 131, 1);
	mhint_spans_set(&set.s, 50, 60, 141, 2);
	KUNIT_EXPECT_EQ(test, set.s.nr, 3);
}

static void does_not_join_classes(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, false);
	mhint_spans_set(&set.s, 10, 20, 0, 1);
	mhint_spans_set(&set.s, 20, 30, 0, 1);
	KUNIT_EXPECT_EQ(test, set.s.nr, 1);
	mhint_spans_set(&set.s, 30, 40, 0, 2);
	KUNIT_EXPECT_EQ(test, set.s.nr, 2);
}

static void splits(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, true);
	mhint_spans_set(&set.s, 0, 60, 0, 1);
	mhint_spans_set(&set.s, 20, 30, 7, 2);
	KUNIT_EXPECT_EQ(test, set.s.nr, 3);
	expect(test, &set, 0, 0, 20, 0, 1);
	expect(test, &set, 1, 20, 30, 7, 2);
	expect(test, &set, 2, 30, 60, 30, 1);
	KUNIT_EXPECT_EQ(test, mhint_spans_clear(&set.s, 10, 25), 0);
	expect(test, &set, 0, 0, 10, 0, 1);
	expect(test, &set, 1, 25, 30, 12, 2);
}

/* Without room nothing is changed; a cut takes all of it instead. */
static void full(struct kunit *test)
{
	struct set set;

	set_init(&set, 2, true);
	mhint_spans_set(&set.s, 0, 20, 0, 1);
	mhint_spans_set(&set.s, 30, 50, 30, 1);
	KUNIT_EXPECT_EQ(test, mhint_spans_set(&set.s, 55, 60, 0, 2), -ENOSPC);
	KUNIT_EXPECT_EQ(test, mhint_spans_clear(&set.s, 5, 10), -ENOSPC);
	KUNIT_EXPECT_EQ(test, set.s.nr, 2);
	expect(test, &set, 0, 0, 20, 0, 1);
	expect(test, &set, 1, 30, 50, 30, 1);
	KUNIT_EXPECT_TRUE(test, mhint_spans_cut(&set.s, 5, 10));
	KUNIT_EXPECT_EQ(test, set.s.nr, 1);
	expect(test, &set, 0, 30, 50, 30, 1);
	KUNIT_EXPECT_FALSE(test, mhint_spans_cut(&set.s, 5, 10));
	/* There is room to split now. */
	KUNIT_EXPECT_TRUE(test, mhint_spans_cut(&set.s, 35, 40));
	KUNIT_EXPECT_EQ(test, set.s.nr, 2);
	expect(test, &set, 0, 30, 35, 30, 1);
	expect(test, &set, 1, 40, 50, 40, 1);
}

static void drop_key(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, false);
	mhint_spans_set(&set.s, 0, 10, 0, 1);
	mhint_spans_set(&set.s, 10, 20, 0, 2);
	mhint_spans_set(&set.s, 20, 30, 0, 1);
	KUNIT_EXPECT_EQ(test, mhint_spans_drop_key(&set.s, 3), 0);
	KUNIT_EXPECT_EQ(test, mhint_spans_drop_key(&set.s, 1), 2);
	KUNIT_EXPECT_EQ(test, set.s.nr, 1);
	expect(test, &set, 0, 10, 20, 0, 2);
}

static void check_model(struct kunit *test, struct set *set, struct model *m)
{
	u32 i;

	for (i = 0; i < set->s.nr; i++) {
		KUNIT_ASSERT_LT(test, set->v[i].start, set->v[i].end);
		if (i)
			KUNIT_ASSERT_LE(test, set->v[i - 1].end, set->v[i].start);
	}
	for (i = 0; i < BYTES; i++) {
		const struct mhint_span *at = mhint_spans_at(&set->s, i);
		u64 value = at ? at->value : 0;

		if (at && set->s.moving)
			value += i - at->start;
		KUNIT_ASSERT_EQ(test, at ? at->key : 0, m->key[i]);
		KUNIT_ASSERT_EQ(test, value, m->value[i]);
	}
}

/* Numerical Recipes' generator: the same sequence on every machine. */
static u32 next(u32 *rnd)
{
	*rnd = *rnd * 1664525 + 1013904223;
	return *rnd >> 8;
}

static void run_random(struct kunit *test, bool moving, u32 rnd)
{
	struct model m = {};
	struct set set;
	int round;

	set_init(&set, ROOM, moving);
	for (round = 0; round < 2000; round++) {
		u64 start = next(&rnd) % BYTES;
		u64 end = start + 1 + next(&rnd) % (BYTES - start);
		u32 key = next(&rnd) % 4, i;
		u64 value = key ? 1000 + (moving ? start : 0) : 0;
		u32 before = set.s.nr;
		int err;

		if (key)
			err = mhint_spans_set(&set.s, start, end, value, key);
		else
			err = mhint_spans_clear(&set.s, start, end);
		if (err) {
			KUNIT_ASSERT_GT(test, before + MHINT_SPANS_ROOM, ROOM);
			KUNIT_ASSERT_EQ(test, set.s.nr, before);
			continue;
		}
		for (i = start; i < end; i++) {
			m.key[i] = key;
			m.value[i] = value + (key && moving ? i - start : 0);
		}
		check_model(test, &set, &m);
	}
}

static void random_moving(struct kunit *test)
{
	run_random(test, true, 1);
	run_random(test, true, 2);
}

static void random_still(struct kunit *test)
{
	run_random(test, false, 3);
}

/* The end of the address space is no range's end by accident. */
static void high(struct kunit *test)
{
	struct set set;

	set_init(&set, ROOM, true);
	KUNIT_EXPECT_EQ(test, mhint_spans_set(&set.s, ~0ULL - 10, ~0ULL, 5, 1), 0);
	KUNIT_EXPECT_NOT_NULL(test, mhint_spans_at(&set.s, ~0ULL - 1));
	KUNIT_EXPECT_NULL(test, mhint_spans_at(&set.s, ~0ULL));
}

static struct kunit_case spans_cases[] = {
	KUNIT_CASE(one_range),
	KUNIT_CASE(joins),
	KUNIT_CASE(does_not_join_classes),
	KUNIT_CASE(splits),
	KUNIT_CASE(full),
	KUNIT_CASE(drop_key),
	KUNIT_CASE(random_moving),
	KUNIT_CASE(random_still),
	KUNIT_CASE(high),
	{}
};

static struct kunit_suite spans_suite = {
	.name = "mem_hints_spans",
	.test_cases = spans_cases,
};

kunit_test_suite(spans_suite);
