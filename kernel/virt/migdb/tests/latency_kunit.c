// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of latency.c. */
#include <linux/limits.h>
#include <linux/string.h>
#include "../latency.h"
#include "test_util.h"

#define MS	1000000ull
#define FLOOR	(2 * MS)

static void latency_empty(struct kunit *test)
{
	struct migdb_latency l = {};

	KUNIT_EXPECT_EQ(test, migdb_latency_median(&l), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_latency_deadline(&l, FLOOR), FLOOR);
}

static void latency_median(struct kunit *test)
{
	static const u64 in[] = { 50, 10, 40, 20, 30 };
	/* the lower one of two */
	static const u64 median[] = { 50, 10, 40, 20, 30 };
	struct migdb_latency l = {};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(in); i++) {
		migdb_latency_add(&l, in[i]);
		KUNIT_EXPECT_EQ_MSG(test, migdb_latency_median(&l), median[i], "of %u", i + 1);
	}
}

static void latency_equal(struct kunit *test)
{
	struct migdb_latency l = {};
	unsigned int i;

	for (i = 0; i < 2 * MIGDB_LATENCY_SAMPLES; i++) {
		migdb_latency_add(&l, 7);
		KUNIT_EXPECT_EQ(test, migdb_latency_median(&l), 7ULL);
	}
}

/* Some that hang do not change what is usual; when most are slow, that is usual. */
static void latency_outliers(struct kunit *test)
{
	struct migdb_latency l = {};
	unsigned int i;

	for (i = 0; i < MIGDB_LATENCY_SAMPLES; i++)
		migdb_latency_add(&l, MS);
	for (i = 0; i < MIGDB_LATENCY_SAMPLES / 2; i++)
		migdb_latency_add(&l, 3600 * 1000 * MS);
	KUNIT_EXPECT_EQ(test, migdb_latency_median(&l), MS);
	migdb_latency_add(&l, 3600 * 1000 * MS);
	KUNIT_EXPECT_EQ(test, migdb_latency_median(&l), 3600 * 1000 * MS);
}

/* Only the last ones count. */
static void latency_forgets(struct kunit *test)
{
	struct migdb_latency l = {};
	unsigned int i;

	for (i = 0; i < 1000; i++)
		migdb_latency_add(&l, 100 * MS);
	for (i = 0; i < MIGDB_LATENCY_SAMPLES; i++)
		migdb_latency_add(&l, 5 * MS);
	KUNIT_EXPECT_EQ(test, migdb_latency_median(&l), 5 * MS);
	KUNIT_EXPECT_EQ(test, l.nr, MIGDB_LATENCY_SAMPLES);
}

static u64 deadline(u64 median_ns, u64 floor_ns)
{
	struct migdb_latency l = {};

	migdb_latency_add(&l, median_ns);
	return migdb_latency_deadline(&l, floor_ns);
}

static void latency_deadline(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, deadline(0, FLOOR), FLOOR);
	KUNIT_EXPECT_EQ(test, deadline(MS / 2, FLOOR), FLOOR);
	KUNIT_EXPECT_EQ(test, deadline(MS / 2 + 1, FLOOR), FLOOR + 4);
	KUNIT_EXPECT_EQ(test, deadline(3 * MS, FLOOR), 12 * MS);
	KUNIT_EXPECT_EQ(test, deadline(3 * MS, 0), 12 * MS);
	/* bounded, and no number wraps */
	KUNIT_EXPECT_EQ(test, deadline(300 * MS, FLOOR), MIGDB_MAX_ADAPTIVE_NS);
	KUNIT_EXPECT_EQ(test, deadline(U64_MAX, FLOOR), MIGDB_MAX_ADAPTIVE_NS);
	KUNIT_EXPECT_EQ(test, deadline(U64_MAX / 4 + 1, FLOOR), MIGDB_MAX_ADAPTIVE_NS);
	/* who wants more than that gets it */
	KUNIT_EXPECT_EQ(test, deadline(MS, 5 * MIGDB_MAX_ADAPTIVE_NS), 5 * MIGDB_MAX_ADAPTIVE_NS);
}

static struct kunit_case latency_cases[] = {
	KUNIT_CASE(latency_empty),
	KUNIT_CASE(latency_median),
	KUNIT_CASE(latency_equal),
	KUNIT_CASE(latency_outliers),
	KUNIT_CASE(latency_forgets),
	KUNIT_CASE(latency_deadline),
	{}
};

static struct kunit_suite latency_suite = {
	.name = "migdb_latency",
	.test_cases = latency_cases,
};

kunit_test_suite(latency_suite);
