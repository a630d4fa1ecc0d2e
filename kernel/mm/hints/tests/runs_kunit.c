// SPDX-License-Identifier: GPL-2.0
/* KUnit: runs of a leaf page, and what a policy may do to them. */
#include <kunit/test.h>
#include <linux/bits.h>
#include <linux/errno.h>

#include "../entry.h"
#include "../runs.h"

#define FRAME	0x4000ULL
#define ALL	(BIT_ULL(MEM_HINT_CLASS_BACKED) | BIT_ULL(MEM_HINT_CLASS_HOT))

static __le64 *leaf_page(struct kunit *test)
{
	__le64 *leaf = kunit_kzalloc(test, MEM_HINT_FRAME_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, leaf);
	return leaf;
}

static void fill(__le64 *leaf, u32 slot, u32 nr, u32 disk, u32 class, u64 block)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		u64 entry = mhint_entry(disk, class, block + i);

		leaf[slot + i] = cpu_to_le64(mhint_entry_stamp(entry, 300));
	}
}

static void expect_run(struct kunit *test, const __le64 *leaf, u32 from,
		       u32 slot, u32 nr, u32 disk, u64 block)
{
	struct mem_hint_run run;

	KUNIT_ASSERT_EQ(test, mhint_run_next(leaf, FRAME, from, &run), slot);
	KUNIT_EXPECT_EQ(test, run.frame, FRAME + slot);
	KUNIT_EXPECT_EQ(test, run.nr, nr);
	KUNIT_EXPECT_EQ(test, run.disk, disk);
	KUNIT_EXPECT_EQ(test, run.block, block);
	KUNIT_EXPECT_EQ(test, run.dev, 0);
	KUNIT_EXPECT_EQ(test, run.class, MEM_HINT_CLASS_BACKED);
}

static void no_run(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);
	struct mem_hint_run run;

	KUNIT_EXPECT_EQ(test, mhint_run_next(leaf, FRAME, 0, &run), MEM_HINT_SLOTS);
	fill(leaf, 511, 1, 1, MEM_HINT_CLASS_BACKED, 9);
	expect_run(test, leaf, 0, 511, 1, 1, 9);
	KUNIT_EXPECT_EQ(test, mhint_run_next(leaf, FRAME, 512, &run), MEM_HINT_SLOTS);
}

static void whole_leaf(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);

	fill(leaf, 0, 512, 127, MEM_HINT_CLASS_BACKED, MEM_HINT_BLOCK_MASK - 511);
	expect_run(test, leaf, 0, 0, 512, 127, MEM_HINT_BLOCK_MASK - 511);
	expect_run(test, leaf, 500, 500, 12, 127, MEM_HINT_BLOCK_MASK - 11);
}

/* A run ends at another disk, another block, a hole and another class. */
static void run_ends(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);
	struct mem_hint_run run;

	fill(leaf, 2, 4, 1, MEM_HINT_CLASS_BACKED, 100);
	fill(leaf, 6, 4, 2, MEM_HINT_CLASS_BACKED, 104);
	fill(leaf, 10, 4, 2, MEM_HINT_CLASS_BACKED, 109);
	fill(leaf, 15, 2, 2, MEM_HINT_CLASS_BACKED, 114);
	fill(leaf, 17, 2, 2, MEM_HINT_CLASS_HOT, 116);
	fill(leaf, 19, 2, 2, MEM_HINT_CLASS_DISCARDABLE, 118);
	fill(leaf, 21, 1, 2, MHINT_CLASS_OMITTED, 120);
	expect_run(test, leaf, 0, 2, 4, 1, 100);
	expect_run(test, leaf, 6, 6, 4, 2, 104);
	expect_run(test, leaf, 10, 10, 4, 2, 109);
	expect_run(test, leaf, 14, 15, 2, 2, 114);
	KUNIT_EXPECT_EQ(test, mhint_run_next(leaf, FRAME, 17, &run), MEM_HINT_SLOTS);
}

/* Blocks that go down are no run, nor is one block many times. */
static void not_ascending(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);

	fill(leaf, 0, 1, 1, MEM_HINT_CLASS_BACKED, 7);
	fill(leaf, 1, 1, 1, MEM_HINT_CLASS_BACKED, 6);
	fill(leaf, 2, 1, 1, MEM_HINT_CLASS_BACKED, 6);
	expect_run(test, leaf, 0, 0, 1, 1, 7);
	expect_run(test, leaf, 1, 1, 1, 1, 6);
	expect_run(test, leaf, 2, 2, 1, 1, 6);
}

static void apply(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);
	__le64 before;

	fill(leaf, 0, 8, 5, MEM_HINT_CLASS_BACKED, 64);
	before = leaf[3];
	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 0, 8, MEM_HINT_DECIDE_DEFAULT, ALL), 0);
	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 0, 8, MEM_HINT_DECIDE_BUILD, ALL), 0);
	KUNIT_EXPECT_EQ(test, leaf[3], before);

	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 2, 2, MEM_HINT_DECIDE_HOT, ALL), 2);
	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 4, 4, MEM_HINT_DECIDE_OMIT, ALL), 4);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(leaf[3]),
			mhint_entry_stamp(mhint_entry(5, MEM_HINT_CLASS_HOT, 67), 300));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(leaf[7]),
			mhint_entry_stamp(mhint_entry(5, MHINT_CLASS_OMITTED, 71), 300));
	KUNIT_EXPECT_EQ(test, mhint_entry_class(le64_to_cpu(leaf[1])), MEM_HINT_CLASS_BACKED);
	KUNIT_EXPECT_EQ(test, leaf[8], 0);
}

/* A host that has not agreed to hot pages has them as backed ones. */
static void hot_not_agreed(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);
	__le64 before;

	fill(leaf, 0, 8, 5, MEM_HINT_CLASS_BACKED, 64);
	before = leaf[3];
	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 0, 8, MEM_HINT_DECIDE_HOT,
					      1ULL << MEM_HINT_CLASS_BACKED), 0);
	KUNIT_EXPECT_EQ(test, leaf[3], before);
	/* Leaving out needs nobody's consent. */
	KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 0, 8, MEM_HINT_DECIDE_OMIT,
					      1ULL << MEM_HINT_CLASS_BACKED), 8);
}

/* No reader of version 1 may know this class. */
static void omitted_class(struct kunit *test)
{
	KUNIT_EXPECT_GT(test, MHINT_CLASS_OMITTED, MEM_HINT_CLASS_HOT);
}

static void garbage(struct kunit *test)
{
	static const int bad[] = { -1, 4, 5, 255, 0x7fffffff, -0x7fffffff - 1 };
	__le64 *leaf = leaf_page(test);
	__le64 before;
	u32 i;

	fill(leaf, 0, 2, 5, MEM_HINT_CLASS_BACKED, 64);
	before = leaf[0];
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test, mhint_run_apply(leaf, 0, 2, bad[i], ALL), -EINVAL);
	KUNIT_EXPECT_EQ(test, leaf[0], before);
}

static void reset(struct kunit *test)
{
	__le64 *leaf = leaf_page(test);

	fill(leaf, 0, 8, 5, MEM_HINT_CLASS_BACKED, 64);
	fill(leaf, 8, 1, 5, MEM_HINT_CLASS_DISCARDABLE, 0);
	mhint_run_apply(leaf, 2, 2, MEM_HINT_DECIDE_HOT, ALL);
	mhint_run_apply(leaf, 4, 4, MEM_HINT_DECIDE_OMIT, ALL);
	KUNIT_EXPECT_EQ(test, mhint_leaf_reset(leaf), 6);
	expect_run(test, leaf, 0, 0, 8, 5, 64);
	KUNIT_EXPECT_EQ(test, mhint_entry_class(le64_to_cpu(leaf[8])),
			MEM_HINT_CLASS_DISCARDABLE);
	KUNIT_EXPECT_EQ(test, leaf[9], 0);
	KUNIT_EXPECT_EQ(test, mhint_leaf_reset(leaf), 0);
}

static void spend(struct kunit *test)
{
	struct mhint_spent s = {};

	KUNIT_EXPECT_TRUE(test, mhint_spend(&s, 1000, 1000, 10));
	KUNIT_EXPECT_FALSE(test, mhint_spend(&s, 1, 1000, 10));
	s.runs++;
	KUNIT_EXPECT_TRUE(test, mhint_spend(&s, 9, 1000, 10));
	KUNIT_EXPECT_EQ(test, s.ns, 1010);
	KUNIT_EXPECT_EQ(test, s.max_ns, 1000);
	s.runs = 1ULL << 32;
	KUNIT_EXPECT_TRUE(test, mhint_spend(&s, 1ULL << 33, 0, 10));
	KUNIT_EXPECT_EQ(test, s.max_ns, 1ULL << 33);
	memset(&s, 0, sizeof(s));
	KUNIT_EXPECT_FALSE(test, mhint_spend(&s, 1, 0, 0));
}

static struct kunit_case runs_cases[] = {
	KUNIT_CASE(no_run),
	KUNIT_CASE(whole_leaf),
	KUNIT_CASE(run_ends),
	KUNIT_CASE(not_ascending),
	KUNIT_CASE(apply),
	KUNIT_CASE(hot_not_agreed),
	KUNIT_CASE(omitted_class),
	KUNIT_CASE(garbage),
	KUNIT_CASE(reset),
	KUNIT_CASE(spend),
	{}
};

static struct kunit_suite runs_suite = {
	.name = "mem_hints_runs",
	.test_cases = runs_cases,
};

kunit_test_suite(runs_suite);
