// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of regions.c. */
#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/string.h>
#include "../regions.h"
#include "test_util.h"

#define PG	((u64)MIGDB_PAGE_BYTES)
#define TOP_GFN	BIT_ULL(52)

struct bad_case {
	const char *name;
	u32 nr;
	int rc;
	struct migdb_region r[3];
};

static const struct bad_case bad_cases[] = {
	{ "none", 0, -EINVAL },
	{ "too many", MIGDB_MAX_REGIONS + 1, -E2BIG },
	{ "empty", 1, -EINVAL, { { 0, 0, PG } } },
	{ "unaligned address", 1, -EINVAL, { { 0, 1, PG + 8 } } },
	{ "frame number without an address", 1, -EINVAL, { { TOP_GFN, 1, PG } } },
	{ "wraps in frames", 1, -EINVAL, { { TOP_GFN - 1, 2, PG } } },
	{ "wraps far in frames", 1, -EINVAL, { { ~0ULL, 2, PG } } },
	{ "wraps in addresses", 1, -EINVAL, { { 0, 2, 0 - PG } } },
	{ "ends at the last address", 1, -EINVAL, { { 0, 1, 0 - PG } } },
	{ "too large", 1, -EINVAL, { { 0, MIGDB_MAX_PAGES + 1, PG } } },
	{ "length wraps in bytes", 1, -EINVAL, { { 0, TOP_GFN, PG } } },
	{ "too large together", 2, -EINVAL,
	  { { 0, MIGDB_MAX_PAGES, PG }, { MIGDB_MAX_PAGES, 1, PG * (MIGDB_MAX_PAGES + 1) } } },
	{ "same frames", 2, -EINVAL, { { 8, 4, PG * 100 }, { 8, 4, PG * 200 } } },
	{ "frames overlap by one", 2, -EINVAL, { { 8, 4, PG * 100 }, { 11, 4, PG * 200 } } },
	{ "frames inside", 2, -EINVAL, { { 8, 400, PG * 1000 }, { 11, 4, PG * 200 } } },
	{ "same addresses", 2, -EINVAL, { { 8, 4, PG * 100 }, { 80, 4, PG * 100 } } },
	{ "addresses overlap by one", 2, -EINVAL, { { 8, 4, PG * 100 }, { 80, 4, PG * 97 } } },
	{ "third overlaps first in addresses", 3, -EINVAL,
	  { { 8, 40, PG * 100 }, { 80, 4, PG * 500 }, { 90, 1, PG * 139 } } },
};

static void bad_desc(const struct bad_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(bad, bad_cases, bad_desc);

static void regions_refuse(struct kunit *test)
{
	const struct bad_case *c = test->param_value;
	struct migdb_regions *rs = kunit_kzalloc(test, sizeof(*rs), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rs);
	memset(rs, 0xff, sizeof(*rs));
	KUNIT_EXPECT_EQ(test, migdb_regions_build(rs, c->r, c->nr), c->rc);
	/* and nothing is found in what was refused */
	KUNIT_EXPECT_EQ(test, rs->nr, 0);
	KUNIT_EXPECT_EQ(test, rs->nr_pages, 0ULL);
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, 8));
	KUNIT_EXPECT_NULL(test, migdb_region_of_hva(rs, PG * 100));
	KUNIT_EXPECT_NULL(test, migdb_region_of_index(rs, 0));
}

/* Three regions, given out of order, two of them neighbours in both spaces. */
static void regions_lookup(struct kunit *test)
{
	static const struct migdb_region in[] = {
		{ 0x100000, 0x800, 0x7000000000 },
		{ 0, 0xa0, 0x7f0000000000 },
		{ 0xa0, 0x60, 0x7f0000000000 + 0xa0 * PG },
	};
	struct migdb_regions *rs = kunit_kzalloc(test, sizeof(*rs), GFP_KERNEL);
	const struct migdb_region *r;

	KUNIT_ASSERT_NOT_NULL(test, rs);
	KUNIT_ASSERT_EQ(test, migdb_regions_build(rs, in, 3), 0);
	KUNIT_EXPECT_EQ(test, rs->nr, 3);
	KUNIT_EXPECT_EQ(test, rs->nr_pages, 0x900ULL);

	r = migdb_region_of_gfn(rs, 0x9f);
	KUNIT_EXPECT_PTR_EQ(test, r, &rs->r[0]);
	KUNIT_EXPECT_EQ(test, migdb_region_left(r, 0x9f), 1ULL);
	r = migdb_region_of_gfn(rs, 0xa0);
	KUNIT_EXPECT_PTR_EQ(test, r, &rs->r[1]);
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, 0x100));
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, 0xfffff));
	r = migdb_region_of_gfn(rs, 0x100000);
	KUNIT_ASSERT_PTR_EQ(test, r, &rs->r[2]);
	KUNIT_EXPECT_EQ(test, migdb_region_index(r, 0x100001), 0x101ULL);
	KUNIT_EXPECT_EQ(test, migdb_region_gfn(r, 0x101), 0x100001ULL);
	KUNIT_EXPECT_EQ(test, migdb_region_hva(r, 0x101), 0x7000000000ULL + PG);
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, 0x100800));
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, ~0ULL));

	KUNIT_EXPECT_NULL(test, migdb_region_of_hva(rs, 0x7000000000 - 1));
	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_hva(rs, 0x7000000000 + PG * 0x800 - 1),
			    &rs->r[2]);
	KUNIT_EXPECT_NULL(test, migdb_region_of_hva(rs, 0x7000000000 + PG * 0x800));
	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_hva(rs, 0x7f0000000000), &rs->r[0]);
	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_hva(rs, 0x7f0000000000 + PG * 0xa0), &rs->r[1]);
	KUNIT_EXPECT_NULL(test, migdb_region_of_hva(rs, ~0ULL));

	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_index(rs, 0xff), &rs->r[1]);
	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_index(rs, 0x100), &rs->r[2]);
	KUNIT_EXPECT_NULL(test, migdb_region_of_index(rs, 0x900));
	KUNIT_EXPECT_NULL(test, migdb_region_of_index(rs, ~0ULL));
}

static void regions_largest(struct kunit *test)
{
	static const struct migdb_region in = { TOP_GFN - MIGDB_MAX_PAGES, MIGDB_MAX_PAGES, PG };
	struct migdb_regions *rs = kunit_kzalloc(test, sizeof(*rs), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rs);
	KUNIT_ASSERT_EQ(test, migdb_regions_build(rs, &in, 1), 0);
	KUNIT_EXPECT_PTR_EQ(test, migdb_region_of_gfn(rs, TOP_GFN - 1), &rs->r[0]);
	KUNIT_EXPECT_NULL(test, migdb_region_of_gfn(rs, TOP_GFN));
	KUNIT_EXPECT_EQ(test, migdb_region_hva(&rs->r[0], MIGDB_MAX_PAGES - 1),
			MIGDB_MAX_PAGES * PG);
}

/*
 * As many regions as there may be, shuffled, with and without holes; every
 * lookup on and beside each edge against a search through all of them.
 */
static void regions_random(struct kunit *test)
{
	struct migdb_region *in = kunit_kcalloc(test, MIGDB_MAX_REGIONS, sizeof(*in), GFP_KERNEL);
	struct migdb_regions *rs = kunit_kzalloc(test, sizeof(*rs), GFP_KERNEL);
	struct test_rng rng = { .state = 4711 };
	u32 round, i, k, nr;

	KUNIT_ASSERT_NOT_NULL(test, in);
	KUNIT_ASSERT_NOT_NULL(test, rs);
	for (round = 0; round < 50; round++) {
		u64 gfn = 0, hva = PG * 16, base = 0;

		nr = 1 + test_rng_below(&rng, MIGDB_MAX_REGIONS);
		for (i = 0; i < nr; i++) {
			gfn += test_rng_below(&rng, 3);
			in[i].first_gfn = gfn;
			in[i].nr_pages = 1 + test_rng_below(&rng, 9);
			gfn += in[i].nr_pages;
		}
		/* addresses in another order than frames */
		for (i = nr; i-- > 0;) {
			k = (i + round) % nr;
			hva += PG * test_rng_below(&rng, 3);
			in[k].hva = hva;
			hva += PG * in[k].nr_pages;
		}
		for (i = nr - 1; i > 0; i--) {
			k = test_rng_below(&rng, i + 1);
			swap(in[i], in[k]);
		}

		KUNIT_ASSERT_EQ(test, migdb_regions_build(rs, in, nr), 0);
		for (i = 0; i < nr; i++) {
			KUNIT_ASSERT_EQ(test, rs->r[i].base, base);
			base += rs->r[i].nr_pages;
			if (i)
				KUNIT_ASSERT_GT(test, rs->r[i].first_gfn, rs->r[i - 1].first_gfn);
		}
		KUNIT_ASSERT_EQ(test, rs->nr_pages, base);

		for (k = 0; k <= gfn; k++) {
			const struct migdb_region *want = NULL;

			for (i = 0; i < nr; i++) {
				if (k >= rs->r[i].first_gfn &&
				    k < rs->r[i].first_gfn + rs->r[i].nr_pages)
					want = &rs->r[i];
			}
			KUNIT_ASSERT_PTR_EQ(test, migdb_region_of_gfn(rs, k), want);
			if (!want)
				continue;
			KUNIT_ASSERT_PTR_EQ(test, want,
					    migdb_region_of_index(rs, migdb_region_index(want, k)));
		}
		for (; hva >= PG; hva -= PG) {
			const struct migdb_region *want = NULL;

			for (i = 0; i < nr; i++) {
				if (hva >= rs->r[i].hva &&
				    hva < rs->r[i].hva + rs->r[i].nr_pages * PG)
					want = &rs->r[i];
			}
			KUNIT_ASSERT_PTR_EQ(test, migdb_region_of_hva(rs, hva), want);
		}
	}
}

static struct kunit_case regions_cases[] = {
	KUNIT_CASE_PARAM(regions_refuse, bad_gen_params),
	KUNIT_CASE(regions_lookup),
	KUNIT_CASE(regions_largest),
	KUNIT_CASE(regions_random),
	{}
};

static struct kunit_suite regions_suite = {
	.name = "migdb_regions",
	.test_cases = regions_cases,
};

kunit_test_suite(regions_suite);
