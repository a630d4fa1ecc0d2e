// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of io_shape.c. */
#include <linux/string.h>
#include "../io_shape.h"
#include "test_util.h"

#define MOST		128u
#define MOST_GAP	4u
#define LAST_BLOCK	(MIGDB_MAX_BLOCK - 1)

struct add_case {
	const char *name;
	struct migdb_io_shape io;	/* disk, nr, first */
	u32 disk;
	u64 block;
	u32 nr;
	bool ok;
	u64 first;			/* after it */
	u32 after;
};

static const struct add_case add_cases[] = {
	{ "empty takes one", { 0, 0, 0 }, 3, 50, 1, true, 50, 1 },
	{ "empty takes block 0", { 9, 0, 99 }, 0, 0, 4, true, 0, 4 },
	{ "empty takes the most", { 0, 0, 0 }, 3, 50, MOST, true, 50, MOST },
	{ "empty refuses more", { 0, 0, 7 }, 3, 50, MOST + 1, false, 7, 0 },
	{ "nothing to add", { 0, 4, 7 }, 0, 7, 0, false, 7, 4 },
	{ "neighbour", { 1, 4, 100 }, 1, 104, 4, true, 100, 8 },
	{ "other disk", { 1, 4, 100 }, 2, 104, 4, false, 100, 4 },
	{ "smallest gap", { 1, 4, 100 }, 1, 105, 1, true, 100, 6 },
	{ "largest gap", { 1, 4, 100 }, 1, 104 + MOST_GAP, 1, true, 100, 4 + MOST_GAP + 1 },
	{ "gap too large", { 1, 4, 100 }, 1, 105 + MOST_GAP, 1, false, 100, 4 },
	{ "before it", { 1, 4, 100 }, 1, 99, 1, false, 100, 4 },
	{ "before, and reaching into it", { 1, 4, 100 }, 1, 99, 3, false, 100, 4 },
	{ "the same", { 1, 4, 100 }, 1, 100, 4, true, 100, 4 },
	{ "inside", { 1, 4, 100 }, 1, 101, 2, true, 100, 4 },
	{ "last block", { 1, 4, 100 }, 1, 103, 1, true, 100, 4 },
	{ "over the end", { 1, 4, 100 }, 1, 103, 2, true, 100, 5 },
	{ "just fits", { 1, MOST - 1, 100 }, 1, 100 + MOST - 1, 1, true, 100, MOST },
	{ "too long", { 1, MOST, 100 }, 1, 100 + MOST, 1, false, 100, MOST },
	{ "too long by the gap", { 1, MOST - 1, 100 }, 1, 100 + MOST, 1, false, 100, MOST - 1 },
	{ "inside when full", { 1, MOST, 100 }, 1, 100 + MOST - 1, 1, true, 100, MOST },
	{ "last block of all", { 0, 0, 0 }, 1, LAST_BLOCK, 1, true, LAST_BLOCK, 1 },
	{ "past the last block", { 0, 0, 0 }, 1, LAST_BLOCK, 2, false, 0, 0 },
	{ "block out of range", { 0, 0, 0 }, 1, MIGDB_MAX_BLOCK, 1, false, 0, 0 },
	{ "block wraps", { 1, 4, 100 }, 1, ~0ULL, 2, false, 100, 4 },
	{ "number wraps", { 1, 4, 100 }, 1, 100, ~0u, false, 100, 4 },
};

static void add_desc(const struct add_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(add, add_cases, add_desc);

static void io_shape_add(struct kunit *test)
{
	const struct add_case *c = test->param_value;
	struct migdb_io_shape io = c->io;

	KUNIT_EXPECT_EQ(test, migdb_io_add(&io, c->disk, c->block, c->nr, MOST, MOST_GAP), c->ok);
	KUNIT_EXPECT_EQ(test, io.first_block, c->first);
	KUNIT_EXPECT_EQ(test, io.nr_blocks, c->after);
	KUNIT_EXPECT_EQ(test, io.disk, c->ok ? c->disk : c->io.disk);
}

/* A gap or a maximum of nothing, and of everything. */
static void io_shape_parameters(struct kunit *test)
{
	struct migdb_io_shape io = {};

	KUNIT_EXPECT_TRUE(test, migdb_io_add(&io, 0, 5, 1, 1, 0));
	KUNIT_EXPECT_FALSE(test, migdb_io_add(&io, 0, 6, 1, 1, 0));
	KUNIT_EXPECT_TRUE(test, migdb_io_add(&io, 0, 6, 1, 2, 0));
	KUNIT_EXPECT_FALSE(test, migdb_io_add(&io, 0, 8, 1, 9, 0));
	KUNIT_EXPECT_TRUE(test, migdb_io_add(&io, 0, 1000000, 1, ~0u, ~0u));
	KUNIT_EXPECT_EQ(test, io.nr_blocks, 1000000 - 5 + 1);
	KUNIT_EXPECT_FALSE(test, migdb_io_add(&io, 0, 5, 1, 0, 0));
}

/*
 * Sorted runs as a lane sees them: every block that is wanted is
 * read, no read is too long, and what is read in vain is gaps only.
 */
static void io_shape_lane(struct kunit *test)
{
	u32 nr_blocks = 3000, round, i;
	u8 *wanted = kunit_kzalloc(test, nr_blocks, GFP_KERNEL);
	u8 *reads = kunit_kzalloc(test, nr_blocks, GFP_KERNEL);
	struct test_rng rng = { .state = 12 };

	KUNIT_ASSERT_NOT_NULL(test, wanted);
	KUNIT_ASSERT_NOT_NULL(test, reads);
	for (round = 0; round < 50; round++) {
		u32 max = 1 + test_rng_below(&rng, 40), gap = test_rng_below(&rng, 6);
		u32 bad = 0, run = 0;
		u64 block = 0;
		struct migdb_io_shape io = {};

		memset(wanted, 0, nr_blocks);
		memset(reads, 0, nr_blocks);
		while (block < nr_blocks - 50) {
			/* sorted by first block; may overlap the one before */
			u32 nr = 1 + test_rng_below(&rng, min(max, 8u));

			block += test_rng_below(&rng, 12);
			memset(wanted + block, 1, nr);
			if (migdb_io_add(&io, 0, block, nr, max, gap))
				continue;
			for (i = 0; i < io.nr_blocks; i++)
				reads[io.first_block + i]++;
			bad += io.nr_blocks > max;
			io.nr_blocks = 0;
			KUNIT_ASSERT_TRUE(test, migdb_io_add(&io, 0, block, nr, max, gap));
		}
		for (i = 0; i < io.nr_blocks; i++)
			reads[io.first_block + i]++;
		for (i = 0; i < nr_blocks; i++) {
			bad += wanted[i] && !reads[i];
			run = reads[i] && !wanted[i] ? run + 1 : 0;
			bad += run > gap;
		}
		KUNIT_ASSERT_EQ(test, bad, 0);
	}
}

static struct kunit_case io_shape_cases[] = {
	KUNIT_CASE_PARAM(io_shape_add, add_gen_params),
	KUNIT_CASE(io_shape_parameters),
	KUNIT_CASE(io_shape_lane),
	{}
};

static struct kunit_suite io_shape_suite = {
	.name = "migdb_io_shape",
	.test_cases = io_shape_cases,
};

kunit_test_suite(io_shape_suite);
