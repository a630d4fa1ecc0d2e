// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of window.c. */
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/string.h>
#include "../window.h"
#include "test_util.h"

static void window_where(struct kunit *test)
{
	u64 w = migdb_where(126, MIGDB_MAX_BLOCK - 1);

	KUNIT_EXPECT_EQ(test, migdb_where_disk(w), 126);
	KUNIT_EXPECT_EQ(test, migdb_where_block(w), MIGDB_MAX_BLOCK - 1);
	KUNIT_EXPECT_LT(test, w, migdb_where(127, 0));
}

static void window_refuses(struct kunit *test)
{
	u64 blocks[2] = { 100, MIGDB_MAX_BLOCK + 1 };
	struct migdb_windows w;

	KUNIT_EXPECT_EQ(test, migdb_windows_init(&w, blocks, 0, 10), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_windows_init(&w, blocks, 129, 10), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_windows_init(&w, blocks, 1, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_windows_init(&w, blocks, 2, 10), -EINVAL);
	KUNIT_EXPECT_EQ(test, migdb_windows_bytes(&w), 0ULL);
	migdb_windows_destroy(&w);
}

static void window_no_blocks(struct kunit *test)
{
	u64 blocks[3] = {}, first, end, nr;
	struct migdb_windows w;

	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 3, 10), 0);
	migdb_windows_note(&w, 0, 0);
	migdb_windows_note(&w, 2, 0);
	KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
	migdb_windows_destroy(&w);
	migdb_windows_destroy(&w);
}

/* However large the disks are, the histogram is not. */
static void window_bounded(struct kunit *test)
{
	u64 *blocks = kunit_kcalloc(test, 128, sizeof(*blocks), GFP_KERNEL), first, end, nr;
	struct migdb_windows w;
	u32 d;

	KUNIT_ASSERT_NOT_NULL(test, blocks);
	for (d = 0; d < 128; d++)
		blocks[d] = MIGDB_MAX_BLOCK;
	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 128, 10), 0);
	KUNIT_EXPECT_LE(test, w.nr_buckets, MIGDB_WINDOW_BUCKETS);
	KUNIT_EXPECT_LE(test, migdb_windows_bytes(&w), (MIGDB_WINDOW_BUCKETS + 129ULL) * 4);
	/* the very last bucket ends where the next disk would begin */
	migdb_windows_note(&w, 127, MIGDB_MAX_BLOCK - 1);
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, end, migdb_where(127, 0) + MIGDB_MAX_BLOCK);
	KUNIT_EXPECT_LT(test, first, migdb_where(127, MIGDB_MAX_BLOCK - 1));
	KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
	migdb_windows_destroy(&w);
	/* an odd disk: its end must not run into its own number */
	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 2, 10), 0);
	migdb_windows_note(&w, 1, MIGDB_MAX_BLOCK - 1);
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, end, migdb_where(2, 0));
	migdb_windows_destroy(&w);
}

static void window_foreign_notes(struct kunit *test)
{
	u64 blocks[3] = { 64, 0, 64 }, first, end, nr;
	struct migdb_windows w;

	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 3, 10), 0);
	KUNIT_EXPECT_EQ(test, w.shift, 0);
	migdb_windows_note(&w, 0, 64);
	migdb_windows_note(&w, 0, MIGDB_MAX_BLOCK);
	migdb_windows_note(&w, 0, ~0ULL);
	migdb_windows_note(&w, 1, 0);
	migdb_windows_note(&w, 3, 0);
	migdb_windows_note(&w, ~0u, 0);
	KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
	migdb_windows_destroy(&w);
}

static void window_limits(struct kunit *test)
{
	u64 blocks[2] = { 100, 100 }, first, end, nr;
	struct migdb_windows w;
	int i;

	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 2, 10), 0);
	for (i = 0; i < 4; i++)
		migdb_windows_note(&w, 0, 7);
	for (i = 0; i < 6; i++)
		migdb_windows_note(&w, 1, 5);
	migdb_windows_note(&w, 1, 6);
	for (i = 0; i < 25; i++)
		migdb_windows_note(&w, 1, 8);
	/* as many as fit, over the border of two disks */
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, first, migdb_where(0, 7));
	KUNIT_EXPECT_EQ(test, end, migdb_where(1, 6));
	KUNIT_EXPECT_EQ(test, nr, 10ULL);
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, first, migdb_where(1, 6));
	KUNIT_EXPECT_EQ(test, nr, 1ULL);
	/* one bucket with more than fit stands alone and says so */
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, first, migdb_where(1, 8));
	KUNIT_EXPECT_EQ(test, end, migdb_where(1, 9));
	KUNIT_EXPECT_EQ(test, nr, 25ULL);
	KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
	migdb_windows_destroy(&w);
}

static void window_saturates(struct kunit *test)
{
	u64 blocks[1] = { 10 }, first, end, nr;
	struct migdb_windows w;

	KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 1, 10), 0);
	w.count[3] = U32_MAX - 1;
	w.count[4] = U32_MAX;
	migdb_windows_note(&w, 0, 3);
	migdb_windows_note(&w, 0, 3);
	migdb_windows_note(&w, 0, 3);
	KUNIT_EXPECT_EQ(test, w.count[3], U32_MAX);
	/* sums of full buckets do not wrap either */
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, end, migdb_where(0, 4));
	w.next = 0;
	w.max_entries = U32_MAX;
	KUNIT_ASSERT_TRUE(test, migdb_windows_next(&w, &first, &end, &nr));
	KUNIT_EXPECT_EQ(test, end, migdb_where(0, 4));
	migdb_windows_destroy(&w);
}

/* All candidates, each in exactly one window, windows and contents in order. */
static void window_covers(struct kunit *test)
{
	struct test_rng rng = { .state = 31 };
	u32 nr_cand = 5000, round, i;
	struct migdb_cand *cand = kunit_kcalloc(test, nr_cand, sizeof(*cand), GFP_KERNEL);
	struct migdb_cand *got = kunit_kcalloc(test, nr_cand, sizeof(*got), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cand);
	KUNIT_ASSERT_NOT_NULL(test, got);
	for (round = 0; round < 30; round++) {
		u32 nr_disks = 1 + test_rng_below(&rng, 5), max = 1 + test_rng_below(&rng, 900);
		u64 blocks[5], first, end, nr, last_end = 0, delivered = 0, bad = 0;
		struct migdb_windows w;

		for (i = 0; i < nr_disks; i++)
			blocks[i] = (1 + (test_rng_next(&rng) >> 20)) >> test_rng_below(&rng, 40);
		blocks[0] = blocks[0] ?: 5;
		KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, nr_disks, max), 0);
		for (i = 0; i < nr_cand; i++) {
			u32 disk = test_rng_below(&rng, nr_disks);

			if (!blocks[disk])
				disk = 0;
			cand[i].where = migdb_where(disk, test_rng_next(&rng) % blocks[disk]);
			cand[i].index = i;
			migdb_windows_note(&w, disk, migdb_where_block(cand[i].where));
		}
		while (migdb_windows_next(&w, &first, &end, &nr)) {
			u64 in = 0;

			KUNIT_ASSERT_LE(test, last_end, first);
			KUNIT_ASSERT_LT(test, first, end);
			last_end = end;
			for (i = 0; i < nr_cand; i++) {
				if (cand[i].where >= first && cand[i].where < end)
					got[in++] = cand[i];
			}
			KUNIT_ASSERT_EQ(test, in, nr);
			if (in > max)
				KUNIT_ASSERT_LE(test, end - first, 1ULL << w.shift);
			migdb_cand_sort(got, in);
			for (i = 1; i < in; i++)
				bad += got[i - 1].where > got[i].where ||
				       (got[i - 1].where == got[i].where &&
					got[i - 1].index >= got[i].index);
			delivered += in;
		}
		KUNIT_ASSERT_EQ(test, bad, 0ULL);
		KUNIT_ASSERT_EQ(test, delivered, (u64)nr_cand);
		migdb_windows_destroy(&w);
	}
}

/* Back again: each candidate that was before the last window, once, and in order. */
static void window_back(struct kunit *test)
{
	struct test_rng rng = { .state = 32 };
	u32 nr_cand = 3000, round, i, tail;
	u64 *where = kunit_kcalloc(test, nr_cand, sizeof(*where), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, where);
	for (round = 0; round < 30; round++) {
		u64 blocks[2] = { 1 + test_rng_below(&rng, 100000), 5000 };
		u32 max = 1 + test_rng_below(&rng, 900);
		u64 first = 0, end, nr, in, border, delivered = 0;
		struct migdb_windows w;

		KUNIT_ASSERT_EQ(test, migdb_windows_init(&w, blocks, 2, max), 0);
		/* nothing is before the first */
		KUNIT_EXPECT_FALSE(test, migdb_windows_prev(&w, &first, &end, &nr));
		for (i = 0; i < nr_cand; i++) {
			u32 disk = test_rng_below(&rng, 2);

			where[i] = migdb_where(disk, test_rng_below(&rng, blocks[disk]));
			migdb_windows_note(&w, disk, migdb_where_block(where[i]));
		}
		while (migdb_windows_next(&w, &first, &end, &nr))
			;
		border = first;
		for (i = 0, tail = 0; i < nr_cand; i++)
			tail += where[i] >= border;
		while (migdb_windows_prev(&w, &first, &end, &nr)) {
			KUNIT_ASSERT_LT(test, first, end);
			KUNIT_ASSERT_LE(test, end, border);
			border = first;
			for (i = 0, in = 0; i < nr_cand; i++)
				in += where[i] >= first && where[i] < end;
			KUNIT_ASSERT_EQ(test, in, nr);
			if (in > max)
				KUNIT_ASSERT_LE(test, end - first, 1ULL << w.shift);
			delivered += in;
		}
		KUNIT_ASSERT_EQ(test, delivered + tail, (u64)nr_cand);
		KUNIT_EXPECT_FALSE(test, migdb_windows_prev(&w, &first, &end, &nr));
		KUNIT_EXPECT_FALSE(test, migdb_windows_next(&w, &first, &end, &nr));
		migdb_windows_destroy(&w);
	}
}

enum order { RANDOM, SORTED, REVERSED, EQUAL, ONE_BLOCK, TWO_VALUES, HIGH_BITS, RUNS, NR_ORDERS };

static const char * const order_str[NR_ORDERS] = {
	"random", "sorted", "reversed", "all equal", "one block", "two values",
	"powers of two", "runs of four",
};

static const enum order orders[] = {
	RANDOM, SORTED, REVERSED, EQUAL, ONE_BLOCK, TWO_VALUES, HIGH_BITS, RUNS,
};

static void order_desc(const enum order *o, char *desc)
{
	strscpy(desc, order_str[*o], KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(order, orders, order_desc);

static void fill(struct migdb_cand *c, u32 nr, enum order order)
{
	struct test_rng rng = { .state = 5 + nr };
	u32 i;

	for (i = 0; i < nr; i++) {
		c[i].index = test_rng_next(&rng) >> 32;
		switch (order) {
		case RANDOM:
			c[i].where = test_rng_next(&rng) >> 13;
			break;
		case SORTED:
			c[i].where = i;
			c[i].index = i;
			break;
		case REVERSED:
			c[i].where = nr - i;
			c[i].index = i;
			break;
		case EQUAL:
			c[i].where = 9;
			c[i].index = 9;
			break;
		case ONE_BLOCK:
			c[i].where = 9;
			break;
		case TWO_VALUES:
			c[i].where = test_rng_below(&rng, 2) ? 1ULL << 50 : 0;
			break;
		case HIGH_BITS:
			c[i].where = 1ULL << test_rng_below(&rng, 51);
			c[i].index = 1ULL << test_rng_below(&rng, 32);
			break;
		default:
			c[i].where = (test_rng_next(&rng) >> 40 << 2) + i % 4;
		}
	}
}

/* Sorted, and the same elements: the sums over them do not change. */
static void window_sort(struct kunit *test)
{
	static const u32 sizes[] = { 0, 1, 2, 3, 23, 24, 25, 26, 100, 1000, 20000 };
	enum order order = *(const enum order *)test->param_value;
	struct migdb_cand *c = kunit_kcalloc(test, 20002, sizeof(*c), GFP_KERNEL);
	u32 k, i;

	KUNIT_ASSERT_NOT_NULL(test, c);
	for (k = 0; k < ARRAY_SIZE(sizes); k++) {
		u64 sum = 0, mix = 0, bad = 0;
		u32 nr = sizes[k];

		/* guards at both ends */
		c[0].where = ~0ULL;
		c[nr + 1].where = 0;
		fill(c + 1, nr, order);
		for (i = 1; i <= nr; i++) {
			sum += c[i].where;
			mix += (c[i].where ^ 0x5555) * (2 * c[i].index + 1);
		}
		migdb_cand_sort(c + 1, nr);
		for (i = 1; i <= nr; i++) {
			sum -= c[i].where;
			mix -= (c[i].where ^ 0x5555) * (2 * c[i].index + 1);
			if (i > 1)
				bad += c[i - 1].where > c[i].where ||
				       (c[i - 1].where == c[i].where &&
					c[i - 1].index > c[i].index);
		}
		KUNIT_EXPECT_EQ(test, bad, 0ULL);
		KUNIT_EXPECT_EQ(test, sum, 0ULL);
		KUNIT_EXPECT_EQ(test, mix, 0ULL);
		KUNIT_EXPECT_EQ(test, c[0].where, ~0ULL);
		KUNIT_EXPECT_EQ(test, c[nr + 1].where, 0ULL);
	}
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(window_where),
	KUNIT_CASE(window_refuses),
	KUNIT_CASE(window_no_blocks),
	KUNIT_CASE(window_bounded),
	KUNIT_CASE(window_foreign_notes),
	KUNIT_CASE(window_limits),
	KUNIT_CASE(window_saturates),
	KUNIT_CASE(window_covers),
	KUNIT_CASE(window_back),
	KUNIT_CASE_PARAM(window_sort, order_gen_params),
	{}
};

static struct kunit_suite window_suite = {
	.name = "migdb_window",
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);
