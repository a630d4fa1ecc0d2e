// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of hbitmap.c. */
#include <linux/errno.h>
#include <linux/string.h>
#include "../hbitmap.h"
#include "../limits.h"
#include "test_util.h"

/* Every edge between words and between levels. */
static const u64 sizes[] = {
	1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8192, 262143, 262144, 262145, 300000,
};

static void size_desc(const u64 *nr, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%llu bits", (unsigned long long)*nr);
}

KUNIT_ARRAY_PARAM(size, sizes, size_desc);

static void make(struct kunit *test, struct migdb_hbitmap *b, u64 nr)
{
	KUNIT_ASSERT_EQ(test, migdb_hbitmap_init(b, nr), 0);
}

/* A summary bit is set exactly if its word is not zero; no bit is past the end. */
static void check_levels(struct kunit *test, const struct migdb_hbitmap *b)
{
	u64 nr = b->nr_bits, i, bit, set = 0;
	unsigned int l;

	for (i = 0; i < nr; i++)
		set += migdb_hbitmap_test(b, i);
	KUNIT_EXPECT_EQ(test, set, b->nr_set);

	for (l = 0; l < b->nr_levels; l++) {
		u64 words = (nr + 63) / 64;

		if (nr % 64)
			KUNIT_EXPECT_EQ(test, b->level[l][words - 1] >> (nr % 64), 0ULL);
		for (i = 0; l + 1 < b->nr_levels && i < words; i++) {
			bit = b->level[l + 1][i / 64] >> (i % 64) & 1;
			if (bit != !!b->level[l][i])
				KUNIT_FAIL(test, "level %u, word %llu: summary is %llu", l,
					   (unsigned long long)i, (unsigned long long)bit);
		}
		nr = words;
	}
	KUNIT_EXPECT_EQ(test, nr, 1ULL);
}

static void hbitmap_bytes(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_bytes(1), 8ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_bytes(64), 8ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_bytes(65), 3 * 8ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_bytes(4096), 65 * 8ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_bytes(4097), (65 + 2 + 1) * 8ULL);
	/* 1/63 more than a flat bitmap, and a word per level */
	KUNIT_EXPECT_LE(test, migdb_hbitmap_bytes(MIGDB_MAX_PAGES),
			MIGDB_MAX_PAGES / 8 + MIGDB_MAX_PAGES / 8 / 63 + 64);
}

static void hbitmap_init_refuses(struct kunit *test)
{
	struct migdb_hbitmap b;

	KUNIT_EXPECT_EQ(test, migdb_hbitmap_init(&b, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_init(&b, MIGDB_MAX_PAGES + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_init(&b, ~0ULL), -EINVAL);
	KUNIT_EXPECT_NULL(test, b.mem);
}

static void hbitmap_destroy_twice(struct kunit *test)
{
	struct migdb_hbitmap b = {};

	migdb_hbitmap_destroy(&b);
	make(test, &b, 100);
	migdb_hbitmap_destroy(&b);
	KUNIT_EXPECT_NULL(test, b.mem);
	migdb_hbitmap_destroy(&b);
}

static void hbitmap_empty(struct kunit *test)
{
	u64 nr = *(const u64 *)test->param_value, first = 0;
	struct migdb_hbitmap b;

	make(test, &b, nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, 0), nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, nr - 1), nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, nr), nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, ~0ULL), nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, ~0ULL, &first), 0ULL);
	KUNIT_EXPECT_FALSE(test, migdb_hbitmap_clear(&b, nr - 1));
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

static void hbitmap_full(struct kunit *test)
{
	u64 nr = *(const u64 *)test->param_value, i, first = 0, bad = 0;
	struct migdb_hbitmap b;

	make(test, &b, nr);
	for (i = 0; i < nr; i++)
		bad += !migdb_hbitmap_set(&b, i);
	for (i = 0; i < nr; i++)
		bad += migdb_hbitmap_next(&b, i) != i;
	KUNIT_EXPECT_EQ(test, bad, 0ULL);
	KUNIT_EXPECT_EQ(test, b.nr_set, nr);
	check_levels(test, &b);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, ~0ULL, &first), nr);
	KUNIT_EXPECT_EQ(test, first, 0ULL);
	KUNIT_EXPECT_EQ(test, b.nr_set, 0ULL);
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

/* Single bits at all edges: found from everywhere before, from nowhere behind. */
static void hbitmap_single(struct kunit *test)
{
	u64 nr = *(const u64 *)test->param_value;
	static const u64 at[] = { 0, 1, 62, 63, 64, 65, 4095, 4096, 262143, 262144 };
	struct migdb_hbitmap b;
	unsigned int i;

	make(test, &b, nr);
	for (i = 0; i <= ARRAY_SIZE(at); i++) {
		u64 bit = i < ARRAY_SIZE(at) ? at[i] : nr - 1;

		if (bit >= nr)
			continue;
		KUNIT_EXPECT_TRUE(test, migdb_hbitmap_set(&b, bit));
		KUNIT_EXPECT_FALSE(test, migdb_hbitmap_set(&b, bit));
		KUNIT_EXPECT_TRUE(test, migdb_hbitmap_test(&b, bit));
		KUNIT_EXPECT_EQ(test, b.nr_set, 1ULL);
		KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, 0), bit);
		KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, bit / 2), bit);
		KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, bit), bit);
		KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, bit + 1), nr);
		check_levels(test, &b);
		KUNIT_EXPECT_TRUE(test, migdb_hbitmap_clear(&b, bit));
		KUNIT_EXPECT_FALSE(test, migdb_hbitmap_clear(&b, bit));
		KUNIT_EXPECT_EQ(test, migdb_hbitmap_next(&b, 0), nr);
	}
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

static void set_range(struct migdb_hbitmap *b, u64 from, u64 end)
{
	for (; from < end; from++)
		migdb_hbitmap_set(b, from);
}

static void hbitmap_pop_limits(struct kunit *test)
{
	struct migdb_hbitmap b;
	u64 first;

	make(test, &b, 1000);
	set_range(&b, 60, 200);
	set_range(&b, 201, 300);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, 0, &first), 0ULL);
	KUNIT_EXPECT_EQ(test, b.nr_set, 239ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, 3, &first), 3ULL);
	KUNIT_EXPECT_EQ(test, first, 60ULL);
	/* ends with a word, and goes on behind it */
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, 1, &first), 1ULL);
	KUNIT_EXPECT_EQ(test, first, 63ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, 64, &first), 64ULL);
	KUNIT_EXPECT_EQ(test, first, 64ULL);
	/* from the middle: what is before stays */
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 150, 1000, &first), 50ULL);
	KUNIT_EXPECT_EQ(test, first, 150ULL);
	/* never across a hole */
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 150, 1000, &first), 99ULL);
	KUNIT_EXPECT_EQ(test, first, 201ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 150, 1000, &first), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, 1000, &first), 22ULL);
	KUNIT_EXPECT_EQ(test, first, 128ULL);
	KUNIT_EXPECT_EQ(test, b.nr_set, 0ULL);
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

static void hbitmap_pop_at_end(struct kunit *test)
{
	u64 nr = *(const u64 *)test->param_value, from = nr > 70 ? nr - 70 : 0, first;
	struct migdb_hbitmap b;

	make(test, &b, nr);
	set_range(&b, from, nr);
	KUNIT_EXPECT_EQ(test, migdb_hbitmap_pop_run(&b, 0, ~0ULL, &first), nr - from);
	KUNIT_EXPECT_EQ(test, first, from);
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

/* Taking out everything run by run yields each bit once, in order. */
static void hbitmap_pop_all(struct kunit *test)
{
	struct test_rng rng = { .state = 77 };
	u64 nr = 20000, i, first, n, last = 0, taken = 0, set;
	struct migdb_hbitmap b;

	make(test, &b, nr);
	for (i = 0; i < 9000; i++)
		migdb_hbitmap_set(&b, test_rng_below(&rng, nr));
	set = b.nr_set;
	while ((n = migdb_hbitmap_pop_run(&b, last, 1 + test_rng_below(&rng, 9), &first))) {
		KUNIT_ASSERT_GE(test, first, last);
		last = first + n;
		taken += n;
	}
	KUNIT_EXPECT_EQ(test, taken, set);
	KUNIT_EXPECT_EQ(test, b.nr_set, 0ULL);
	migdb_hbitmap_destroy(&b);
}

static u64 model_next(const u8 *model, u64 nr, u64 from)
{
	while (from < nr && !model[from])
		from++;
	return from < nr ? from : nr;
}

static void hbitmap_random(struct kunit *test)
{
	u64 nr = *(const u64 *)test->param_value, bit, first, n, want, i, mfirst;
	struct test_rng rng = { .state = nr };
	struct migdb_hbitmap b;
	int step;
	u8 *model;

	model = kunit_kzalloc(test, nr, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	make(test, &b, nr);
	for (step = 0; step < 3000; step++) {
		u64 max = 1 + test_rng_below(&rng, 200);

		bit = test_rng_below(&rng, nr);
		switch (test_rng_below(&rng, 8)) {
		case 0 ... 3:
			/* runs, so that there is something to take out */
			for (i = bit; i < nr && i < bit + max; i++) {
				KUNIT_ASSERT_EQ(test, migdb_hbitmap_set(&b, i), !model[i]);
				model[i] = 1;
			}
			break;
		case 4:
			KUNIT_ASSERT_EQ(test, migdb_hbitmap_clear(&b, bit), !!model[bit]);
			model[bit] = 0;
			break;
		case 5:
			KUNIT_ASSERT_EQ(test, migdb_hbitmap_next(&b, bit),
					model_next(model, nr, bit));
			break;
		default:
			mfirst = model_next(model, nr, bit);
			for (want = 0; want < max && mfirst + want < nr; want++) {
				if (!model[mfirst + want])
					break;
				model[mfirst + want] = 0;
			}
			n = migdb_hbitmap_pop_run(&b, bit, max, &first);
			KUNIT_ASSERT_EQ(test, n, want);
			KUNIT_ASSERT_EQ(test, first, mfirst);
		}
	}
	for (i = 0; i < nr; i++) {
		if (migdb_hbitmap_test(&b, i) != model[i])
			KUNIT_FAIL(test, "bit %llu differs", (unsigned long long)i);
	}
	check_levels(test, &b);
	migdb_hbitmap_destroy(&b);
}

static struct kunit_case hbitmap_cases[] = {
	KUNIT_CASE(hbitmap_bytes),
	KUNIT_CASE(hbitmap_init_refuses),
	KUNIT_CASE(hbitmap_destroy_twice),
	KUNIT_CASE_PARAM(hbitmap_empty, size_gen_params),
	KUNIT_CASE_PARAM(hbitmap_full, size_gen_params),
	KUNIT_CASE_PARAM(hbitmap_single, size_gen_params),
	KUNIT_CASE(hbitmap_pop_limits),
	KUNIT_CASE_PARAM(hbitmap_pop_at_end, size_gen_params),
	KUNIT_CASE(hbitmap_pop_all),
	KUNIT_CASE_PARAM(hbitmap_random, size_gen_params),
	{}
};

static struct kunit_suite hbitmap_suite = {
	.name = "migdb_hbitmap",
	.test_cases = hbitmap_cases,
};

kunit_test_suite(hbitmap_suite);

MODULE_DESCRIPTION("KUnit suites of migdb");
MODULE_LICENSE("GPL");
