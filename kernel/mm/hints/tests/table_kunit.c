// SPDX-License-Identifier: GPL-2.0
/* KUnit: entries and the radix that holds them. */
#include <kunit/test.h>

#include "../entry.h"
#include "../table.h"
#include "fake_pages.h"

struct fake {
	struct mhint_table t;
	struct mem_hint_root root;
	struct fake_pages pages;
};

static struct fake *fake_table(struct kunit *test, u32 levels, u64 frames)
{
	struct fake *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, f);
	f->pages.budget = 1000;
	mhint_table_init(&f->t, &f->root, &fake_ops, &f->pages, levels);
	mhint_table_limit(&f->t, frames, 1000);
	return f;
}

static void entry_fields(struct kunit *test)
{
	u64 e = mhint_entry(127, MEM_HINT_CLASS_HOT, MEM_HINT_BLOCK_MASK);

	KUNIT_EXPECT_TRUE(test, mhint_entry_valid(e));
	KUNIT_EXPECT_EQ(test, mhint_entry_disk(e), 127);
	KUNIT_EXPECT_EQ(test, mhint_entry_class(e), MEM_HINT_CLASS_HOT);
	KUNIT_EXPECT_EQ(test, mhint_entry_block(e), MEM_HINT_BLOCK_MASK);
	KUNIT_EXPECT_EQ(test, mhint_entry_generation(e), 0);
	e = mhint_entry_stamp(e, 511 + 512);
	KUNIT_EXPECT_EQ(test, mhint_entry_generation(e), 511);
	KUNIT_EXPECT_EQ(test, mhint_entry_disk(e), 127);
	KUNIT_EXPECT_EQ(test, mhint_entry_block(e), MEM_HINT_BLOCK_MASK);
}

/* The layout is ABI: bits, not only round trips. */
static void entry_bits(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_entry(0, 0, 0), 1ULL << 63);
	KUNIT_EXPECT_EQ(test, mhint_entry(1, 0, 0), 1ULL << 63 | 1ULL << 56);
	KUNIT_EXPECT_EQ(test, mhint_entry(0, 1, 0), 1ULL << 63 | 1ULL << 53);
	KUNIT_EXPECT_EQ(test, mhint_entry_stamp(mhint_entry(0, 0, 5), 1),
			1ULL << 63 | 1ULL << 44 | 5);
	KUNIT_EXPECT_EQ(test, mhint_entry(128, 8, 1ULL << 44), 1ULL << 63);
}

static void levels(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_table_levels(0), 1);
	KUNIT_EXPECT_EQ(test, mhint_table_levels(512), 1);
	KUNIT_EXPECT_EQ(test, mhint_table_levels(513), 2);
	KUNIT_EXPECT_EQ(test, mhint_table_levels(1ULL << 27), 3);
	KUNIT_EXPECT_EQ(test, mhint_table_levels((1ULL << 27) + 1), 4);
	KUNIT_EXPECT_EQ(test, mhint_table_levels(~0ULL), MEM_HINT_MAX_LEVELS);
}

static void root_layout(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1000);

	f->t.generation = 7;
	mhint_table_publish(&f->t, MEM_HINT_ROOT_FROZEN);
	KUNIT_EXPECT_EQ(test, sizeof(f->root), 128);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(f->root.magic), MEM_HINT_ROOT_MAGIC);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(f->root.version), MEM_HINT_ABI_VERSION);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(f->root.levels), 3);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(f->root.nr_frames), 1000);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(f->root.generation), 7);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(f->root.flags), MEM_HINT_ROOT_FROZEN);
	KUNIT_EXPECT_EQ(test, f->root.table, 0);
}

static void set_get(struct kunit *test)
{
	static const u64 frames[] = { 0, 511, 512, 262143, 262144, 134217727 };
	u32 lv;
	int i;

	for (lv = 1; lv <= MEM_HINT_MAX_LEVELS; lv++) {
		struct fake *f = fake_table(test, lv, ~0ULL);
		int in = 0;

		for (i = 0; i < ARRAY_SIZE(frames); i++) {
			int want = frames[i] < 1ULL << (9 * lv) ? 0 : -ERANGE;

			KUNIT_EXPECT_EQ(test, want,
					mhint_table_set(&f->t, frames[i],
							mhint_entry(1, 0, i)));
			in += !want;
		}
		for (i = 0; i < in; i++)
			KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, frames[i]),
					mhint_entry_stamp(mhint_entry(1, 0, i), 1));
		KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 3), 0);
		KUNIT_EXPECT_EQ(test, f->t.nr_valid, in);
		KUNIT_EXPECT_EQ(test, f->t.nr_pages, f->pages.out);
		mhint_table_clear(&f->t);
		KUNIT_EXPECT_EQ(test, f->pages.out, 0);
		KUNIT_EXPECT_EQ(test, f->root.table, 0);
	}
}

/* Walk as the host does: from the root, by gpa, little-endian. */
static void host_view(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);
	u64 frame = 3 << 18 | 5 << 9 | 7;
	__le64 *page;

	KUNIT_ASSERT_EQ(test, 0, mhint_table_set(&f->t, frame, mhint_entry(2, 0, 9)));
	page = fake_at(f, le64_to_cpu(f->root.table));
	page = fake_at(f, le64_to_cpu(page[3]));
	page = fake_at(f, le64_to_cpu(page[5]));
	KUNIT_EXPECT_EQ(test, le64_to_cpu(page[7]),
			mhint_entry_stamp(mhint_entry(2, 0, 9), 1));
	mhint_table_clear(&f->t);
}

static void clear_needs_no_memory(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);

	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 5, 0));
	KUNIT_EXPECT_EQ(test, f->pages.out, 0);
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 5, mhint_entry(0, 0, 1)));
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 5, mhint_entry(0, 0, 2)));
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 1);
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 5, 0));
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 0);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 5), 0);
	mhint_table_clear(&f->t);
}

static void bounded(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);
	u64 e = mhint_entry(0, 0, 1);

	f->t.max_pages = 4;	/* three levels, and one more leaf */
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 0, e));
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 512, e));
	KUNIT_EXPECT_EQ(test, -ENOSPC, mhint_table_set(&f->t, 1024, e));
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 2);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 1024), 0);
	mhint_table_limit(&f->t, 0, 5);
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 1024, e));
	f->pages.budget = 0;
	mhint_table_limit(&f->t, 0, 100);
	KUNIT_EXPECT_EQ(test, -ENOMEM, mhint_table_set(&f->t, 2048, e));
	mhint_table_clear(&f->t);
	KUNIT_EXPECT_EQ(test, f->pages.out, 0);
}

static void limits_only_grow(struct kunit *test)
{
	struct fake *f = fake_table(test, 2, 1000);

	mhint_table_limit(&f->t, 10, 10);
	KUNIT_EXPECT_EQ(test, f->t.nr_frames, 1000);
	KUNIT_EXPECT_EQ(test, f->t.max_pages, 1000);
	mhint_table_limit(&f->t, ~0ULL, 10);
	KUNIT_EXPECT_EQ(test, f->t.nr_frames, 1 << 18);
	KUNIT_EXPECT_EQ(test, -ERANGE,
			mhint_table_set(&f->t, 1 << 18, mhint_entry(0, 0, 0)));
}

static void purge_disk(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);
	u64 i;

	for (i = 0; i < 1000; i++)
		KUNIT_ASSERT_EQ(test, 0, mhint_table_set(&f->t, i * 300,
							 mhint_entry(i % 4, 0, i)));
	KUNIT_EXPECT_EQ(test, mhint_table_purge_disk(&f->t, 2), 250);
	KUNIT_EXPECT_EQ(test, mhint_table_purge_disk(&f->t, 5), 0);
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 750);
	for (i = 0; i < 1000; i++)
		KUNIT_EXPECT_EQ(test, mhint_entry_valid(mhint_table_get(&f->t, i * 300)),
				i % 4 != 2);
	mhint_table_clear(&f->t);
	KUNIT_EXPECT_EQ(test, mhint_table_purge_disk(&f->t, 1), 0);
}

static void purge_class(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);
	u64 i;

	for (i = 0; i < 900; i++)
		KUNIT_ASSERT_EQ(test, 0, mhint_table_set(&f->t, i * 300,
							 mhint_entry(i % 7, i % 3, i)));
	KUNIT_EXPECT_EQ(test, mhint_table_purge_class(&f->t, 1), 300);
	KUNIT_EXPECT_EQ(test, mhint_table_purge_class(&f->t, 1), 0);
	KUNIT_EXPECT_EQ(test, f->t.nr_valid, 600);
	for (i = 0; i < 900; i++)
		KUNIT_EXPECT_EQ(test, mhint_entry_valid(mhint_table_get(&f->t, i * 300)),
				i % 3 != 1);
	mhint_table_clear(&f->t);
}

static void usable_after_clear(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1 << 20);

	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 9, mhint_entry(0, 0, 1)));
	mhint_table_clear(&f->t);
	KUNIT_EXPECT_EQ(test, mhint_table_get(&f->t, 9), 0);
	KUNIT_EXPECT_EQ(test, 0, mhint_table_set(&f->t, 9, mhint_entry(0, 0, 2)));
	KUNIT_EXPECT_EQ(test, mhint_entry_block(mhint_table_get(&f->t, 9)), 2);
	mhint_table_clear(&f->t);
}

struct seen {
	u64 frames[8];
	u32 nr, stop_at;
};

static int see_leaf(void *ctx, u64 leaf_frame, __le64 *slots)
{
	struct seen *s = ctx;

	s->frames[s->nr++] = leaf_frame;
	slots[0] ^= cpu_to_le64(1);
	return s->nr == s->stop_at ? -EINTR : 0;
}

/* Every leaf once, in order, with the frame that its first entry is of. */
static void walk_leaves(struct kunit *test)
{
	struct fake *f = fake_table(test, 3, 1ULL << 27);
	const u64 middle = (1 << 18) + 1024;
	struct seen s = {};

	KUNIT_EXPECT_EQ(test, mhint_table_walk(&f->t, see_leaf, &s), 0);
	KUNIT_EXPECT_EQ(test, s.nr, 0);
	KUNIT_ASSERT_EQ(test, mhint_table_set(&f->t, (1ULL << 27) - 1, mhint_entry(1, 0, 8)), 0);
	KUNIT_ASSERT_EQ(test, mhint_table_set(&f->t, 512, mhint_entry(1, 0, 6)), 0);
	KUNIT_ASSERT_EQ(test, mhint_table_set(&f->t, middle + 3, mhint_entry(1, 0, 4)), 0);
	KUNIT_EXPECT_EQ(test, mhint_table_walk(&f->t, see_leaf, &s), 0);
	KUNIT_ASSERT_EQ(test, s.nr, 3);
	KUNIT_EXPECT_EQ(test, s.frames[0], 512);
	KUNIT_EXPECT_EQ(test, s.frames[1], middle);
	KUNIT_EXPECT_EQ(test, s.frames[2], (1ULL << 27) - 512);
	KUNIT_EXPECT_EQ(test, mhint_entry_block(mhint_table_get(&f->t, 512)), 7);
	memset(&s, 0, sizeof(s));
	s.stop_at = 2;
	KUNIT_EXPECT_EQ(test, mhint_table_walk(&f->t, see_leaf, &s), -EINTR);
	KUNIT_EXPECT_EQ(test, s.nr, 2);
	mhint_table_clear(&f->t);
	KUNIT_EXPECT_EQ(test, f->pages.out, 0);
}

static struct kunit_case table_cases[] = {
	KUNIT_CASE(entry_fields),
	KUNIT_CASE(entry_bits),
	KUNIT_CASE(levels),
	KUNIT_CASE(root_layout),
	KUNIT_CASE(set_get),
	KUNIT_CASE(host_view),
	KUNIT_CASE(clear_needs_no_memory),
	KUNIT_CASE(bounded),
	KUNIT_CASE(limits_only_grow),
	KUNIT_CASE(purge_disk),
	KUNIT_CASE(purge_class),
	KUNIT_CASE(usable_after_clear),
	KUNIT_CASE(walk_leaves),
	{}
};

static struct kunit_suite table_suite = {
	.name = "mem_hints_table",
	.test_cases = table_cases,
};

kunit_test_suite(table_suite);

MODULE_DESCRIPTION("KUnit tests of memory hints");
MODULE_LICENSE("GPL");
