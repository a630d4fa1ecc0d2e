// SPDX-License-Identifier: GPL-2.0
/* KUnit: the index by block, and what a note does to the entries of others. */
#include <kunit/test.h>

#include "../entry.h"
#include "../index.h"
#include "../notes.h"
#include "fake_pages.h"

#define FRAMES		262144

struct fake {
	struct mhint_table t;
	struct mem_hint_root root;
	struct mhint_index ix;
	void **top[4];
	struct fake_pages pages;
	u64 stale;
};

static struct fake *fake_index(struct kunit *test)
{
	struct fake *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	u32 max = mhint_index_max_pages(FRAMES);

	KUNIT_ASSERT_NOT_NULL(test, f);
	KUNIT_ASSERT_LE(test, mhint_index_top_slots(max), ARRAY_SIZE(f->top));
	f->pages.budget = 100000;
	mhint_table_init(&f->t, &f->root, &fake_ops, &f->pages, 3);
	mhint_table_limit(&f->t, 1ULL << 27, 100000);
	mhint_index_init(&f->ix, &f->t, f->top, max);
	return f;
}

static void drop(struct kunit *test, struct fake *f)
{
	mhint_index_clear(&f->ix);
	mhint_table_clear(&f->t);
	KUNIT_EXPECT_EQ(test, f->pages.out, 0);
	KUNIT_EXPECT_EQ(test, f->ix.nr_bytes, 0);
}

static void rd(struct kunit *test, struct fake *f, u64 frame, u32 disk, u64 block)
{
	u64 note = mhint_entry(disk, 0, block);

	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, frame, note, &f->stale), 0);
}

static void wr(struct kunit *test, struct fake *f, u64 frame, u32 disk, u64 block)
{
	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, frame, mhint_entry(disk, 0, block) |
					  MHINT_NOTE_WRITTEN, &f->stale), 0);
}

static void part(struct kunit *test, struct fake *f, u64 frame, u32 disk, u64 block)
{
	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, frame, mhint_entry(disk, 0, block) |
					  MHINT_NOTE_WRITTEN | MHINT_NOTE_PARTIAL, &f->stale), 0);
}

static bool says(struct fake *f, u64 frame, u32 disk, u64 block)
{
	return mhint_table_get(&f->t, frame) ==
	       mhint_entry_stamp(mhint_entry(disk, 0, block), f->t.generation);
}

/* Written from one page: what others were said to hold is old. */
static void written_elsewhere(struct kunit *test)
{
	struct fake *f = fake_index(test);

	rd(test, f, 10, 1, 500);
	rd(test, f, 11, 1, 500);
	rd(test, f, 12, 2, 500);
	rd(test, f, 13, 1, 501);
	KUNIT_EXPECT_TRUE(test, says(f, 10, 1, 500) && says(f, 11, 1, 500));
	wr(test, f, 20, 1, 500);
	KUNIT_EXPECT_EQ(test, f->stale, 2);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 10), 0);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 11), 0);
	KUNIT_EXPECT_TRUE(test, says(f, 12, 2, 500) && says(f, 13, 1, 501) && says(f, 20, 1, 500));
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 3);

	/* Again from the same page, and read by another: both hold it. */
	wr(test, f, 20, 1, 500);
	rd(test, f, 10, 1, 500);
	KUNIT_EXPECT_EQ(test, f->stale, 2);
	KUNIT_EXPECT_TRUE(test, says(f, 10, 1, 500) && says(f, 20, 1, 500));
	KUNIT_EXPECT_EQ(test, f->ix.nr, 4);
	drop(test, f);
}

/* A page that has been used for something else since is not touched. */
static void moved_on(struct kunit *test)
{
	struct fake *f = fake_index(test);

	rd(test, f, 10, 1, 500);
	rd(test, f, 10, 1, 600);
	KUNIT_EXPECT_EQ(test, f->ix.nr, 1);
	wr(test, f, 20, 1, 500);
	KUNIT_EXPECT_EQ(test, f->stale, 0);
	KUNIT_EXPECT_TRUE(test, says(f, 10, 1, 600));

	/* Nor one whose entry was changed without the index. */
	mhint_table_set(&f->t, 10, mhint_entry(1, 0, 700));
	wr(test, f, 21, 1, 600);
	KUNIT_EXPECT_EQ(test, f->stale, 0);
	KUNIT_EXPECT_TRUE(test, says(f, 10, 1, 700));

	/* Cleared, and read again. */
	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, 21, 0, &f->stale), 0);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 21), 0);
	rd(test, f, 21, 1, 600);
	wr(test, f, 22, 1, 600);
	KUNIT_EXPECT_EQ(test, f->stale, 1);
	drop(test, f);
}

static void partly_written(struct kunit *test)
{
	struct fake *f = fake_index(test);

	rd(test, f, 10, 1, 500);
	rd(test, f, 11, 1, 500);
	rd(test, f, 12, 1, 600);
	part(test, f, 10, 1, 500);	/* the same part of a page that has it */
	KUNIT_EXPECT_EQ(test, f->stale, 1);
	KUNIT_EXPECT_TRUE(test, says(f, 10, 1, 500));
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 11), 0);
	part(test, f, 12, 1, 500);	/* its own entry says something else */
	KUNIT_EXPECT_EQ(test, f->stale, 2);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 10), 0);
	KUNIT_EXPECT_TRUE(test, says(f, 12, 1, 600));
	part(test, f, MHINT_NO_FRAME, 1, 600);
	KUNIT_EXPECT_EQ(test, f->stale, 3);
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 0);
	drop(test, f);
}

/* Discardable pages hold no block: writing block 0 does not concern them. */
static void discardable(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 entry = mhint_entry(0, MEM_HINT_CLASS_DISCARDABLE, 0);

	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, 10, entry, &f->stale), 0);
	rd(test, f, 11, 0, 0);
	KUNIT_EXPECT_EQ(test, mhint_enter(&f->ix, 11, entry, &f->stale), 0);
	KUNIT_EXPECT_EQ(test, f->ix.nr, 0);
	wr(test, f, 20, 0, 0);
	KUNIT_EXPECT_EQ(test, f->stale, 0);
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 3);
	rd(test, f, 10, 0, 0);
	wr(test, f, 20, 0, 0);
	KUNIT_EXPECT_EQ(test, f->stale, 1);
	KUNIT_EXPECT_EQ(test, mhint_entry_class(mhint_table_get(&f->t, 11)),
			MEM_HINT_CLASS_DISCARDABLE);
	drop(test, f);
}

static u64 rnd(u64 *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

#define MODEL_FRAMES	700
#define MODEL_BLOCKS	600

/* Random notes against a list that is searched from end to end. */
static void model(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 *want = kunit_kzalloc(test, MODEL_FRAMES * sizeof(*want), GFP_KERNEL);
	u64 seed = 1, stale = 0;
	u32 i, j;

	KUNIT_ASSERT_NOT_NULL(test, want);
	for (i = 0; i < 6000; i++) {
		u64 frame = rnd(&seed) % MODEL_FRAMES, block = rnd(&seed) % MODEL_BLOCKS;
		u64 key = mhint_entry(block & 1, 0, block << 20);
		u32 kind = rnd(&seed) % 8;

		for (j = 0; kind < 3 && j < MODEL_FRAMES; j++) {
			if (j == frame || want[j] != key)
				continue;
			want[j] = 0;
			stale++;
		}
		if (kind == 0)
			part(test, f, frame, block & 1, block << 20);
		else if (kind < 3)
			wr(test, f, frame, block & 1, block << 20);
		else if (kind < 7)
			rd(test, f, frame, block & 1, block << 20);
		else
			mhint_enter(&f->ix, frame, 0, &f->stale);
		if (kind)
			want[frame] = kind < 7 ? key : 0;
		KUNIT_ASSERT_EQ(test, f->stale, stale);
	}
	for (i = 0; i < MODEL_FRAMES; i++)
		KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, i),
				want[i] ? mhint_entry_stamp(want[i], 1) : 0);
	KUNIT_EXPECT_EQ(test, f->ix.nr_lost, 0);
	KUNIT_EXPECT_EQ(test, f->ix.nr, f->t.nr_valid);
	drop(test, f);
}

/* Each one is found at every size; memory follows. */
static void grows(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 seed = 7, nr = 60000, i, lost;

	for (i = 0; i < nr; i++) {
		rd(test, f, i, i % 5, rnd(&seed) & 0xffffff);
		if (i % 1000 == 999)
			KUNIT_EXPECT_LE(test, f->ix.nr_bytes, 3 * MEM_HINT_FRAME_SIZE + i * 13);
	}
	KUNIT_EXPECT_EQ(test, f->ix.nr + f->ix.nr_lost, nr);
	KUNIT_EXPECT_LE(test, f->ix.nr_lost, nr / 1000);
	kunit_info(test, "%llu of %llu found no slot, %llu bytes\n",
		   f->ix.nr_lost, nr, f->ix.nr_bytes);
	lost = f->ix.nr_lost;
	seed = 7;
	for (i = 0; i < nr; i++)
		f->stale += mhint_index_take(&f->ix, MHINT_NO_FRAME,
					     mhint_entry(i % 5, 0, rnd(&seed) & 0xffffff));
	KUNIT_EXPECT_EQ(test, f->stale, nr - lost);
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, lost);
	KUNIT_EXPECT_EQ(test, f->ix.nr, 0);
	drop(test, f);
}

/* Slots whose entries have gone without a word make room. */
static void sweeps(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 i;

	f->ix.max_pages = 1;
	for (i = 0; i < 5000; i++) {
		rd(test, f, i, 1, i);
		mhint_table_set(&f->t, i, 0);
	}
	KUNIT_EXPECT_EQ(test, f->ix.nr_pages, 1);
	KUNIT_EXPECT_EQ(test, f->ix.nr_lost, 0);
	drop(test, f);
}

/* One block in very many pages fills its buckets, and nothing else. */
static void crowd(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 i;

	for (i = 0; i < 1000; i++)
		rd(test, f, i, 1, 77);
	KUNIT_EXPECT_GE(test, f->ix.nr, MHINT_BUCKET_SLOTS);
	KUNIT_EXPECT_EQ(test, f->ix.nr + f->ix.nr_lost, 1000);
	wr(test, f, 2000, 1, 77);
	KUNIT_EXPECT_EQ(test, f->stale, 1000 - f->ix.nr_lost);
	KUNIT_EXPECT_TRUE(test, says(f, 2000, 1, 77));
	drop(test, f);
}

static void no_memory(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 i;

	f->pages.budget = 4;		/* three levels and a leaf */
	f->t.levels = 3;
	for (i = 0; i < 10; i++)
		rd(test, f, i, 1, i);
	KUNIT_EXPECT_LE(test, f->ix.nr_pages, 1);
	wr(test, f, 11, 1, 3);
	KUNIT_EXPECT_TRUE(test, says(f, 11, 1, 3));
	f->pages.budget = 0;
	for (i = 0; i < 400; i++)
		rd(test, f, i, 1, 1000 + i);
	KUNIT_EXPECT_TRUE(test, says(f, 399, 1, 1399));
	drop(test, f);
}

/* A frame that 32 bits do not hold has an entry all the same. */
static void far_frame(struct kunit *test)
{
	struct fake *f = fake_index(test);
	u64 far = (1ULL << 32) + 5;

	drop(test, f);
	mhint_table_init(&f->t, &f->root, &fake_ops, &f->pages, 4);
	mhint_table_limit(&f->t, 1ULL << 36, 1000);
	rd(test, f, 5, 1, 9);
	rd(test, f, far, 1, 8);
	KUNIT_EXPECT_EQ(test, f->ix.nr_lost, 1);
	wr(test, f, far, 1, 9);
	KUNIT_EXPECT_EQ(test, f->stale, 1);
	KUNIT_EXPECT_TRUE(test, says(f, far, 1, 9));
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 5), 0);
	drop(test, f);
}

static struct kunit_case index_cases[] = {
	KUNIT_CASE(written_elsewhere),
	KUNIT_CASE(moved_on),
	KUNIT_CASE(partly_written),
	KUNIT_CASE(discardable),
	KUNIT_CASE(model),
	KUNIT_CASE(grows),
	KUNIT_CASE(sweeps),
	KUNIT_CASE(crowd),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(far_frame),
	{}
};

static struct kunit_suite index_suite = {
	.name = "mem_hints_index",
	.test_cases = index_cases,
};

kunit_test_suite(index_suite);
