// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of throttle.c. */
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include "../throttle.h"
#include "test_util.h"

#define MIB	BIT_ULL(20)
#define SEC	1000000000ull

/* Only if they may be used at once; the wait if not. */
static u64 take(struct migdb_bucket *b, u64 bytes, u64 now)
{
	struct migdb_bucket try = *b;
	u64 wait = migdb_bucket_reserve(&try, bytes, now);

	if (!wait)
		*b = try;
	return wait;
}

static void throttle_no_limit(struct kunit *test)
{
	struct migdb_bucket b;
	int i;

	migdb_bucket_init(&b, 0, 100);
	for (i = 0; i < 100; i++)
		KUNIT_EXPECT_EQ(test, take(&b, U64_MAX, 0), 0ULL);
}

static void throttle_burst(struct kunit *test)
{
	struct migdb_bucket b, early;
	u64 wait;

	/* 100 ms worth */
	migdb_bucket_init(&b, 100 * MIB, 0);
	KUNIT_EXPECT_EQ(test, take(&b, 10 * MIB, 0), 0ULL);
	wait = take(&b, MIB, 0);
	KUNIT_EXPECT_EQ(test, wait, SEC / 100);
	/* a refusal takes nothing */
	KUNIT_EXPECT_EQ(test, take(&b, MIB, 0), wait);
	early = b;
	KUNIT_EXPECT_NE(test, take(&early, MIB, wait - 1), 0ULL);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, wait), 0ULL);
	/* credit does not grow beyond the burst */
	KUNIT_EXPECT_EQ(test, take(&b, 10 * MIB, 1000 * SEC), 0ULL);
	KUNIT_EXPECT_NE(test, take(&b, 1, 1000 * SEC), 0ULL);
	/* at least 1 MiB, however slow */
	migdb_bucket_init(&b, 1, 0);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, 0), 0ULL);
	KUNIT_EXPECT_EQ(test, take(&b, 1, 0), SEC);
}

static const u64 rates[] = {
	1, 999, 4096, MIB, 123456789, SEC - 1, SEC, SEC + 1, 20 * SEC + 7, 1ull << 50, U64_MAX,
};

static void rate_desc(const u64 *rate, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%llu bytes/s", (unsigned long long)*rate);
}

KUNIT_ARRAY_PARAM(rate, rates, rate_desc);

/*
 * After the time that it names, the same request is granted, and what came
 * through in all that time is the rate and one burst.
 */
static void throttle_wait_is_enough(struct kunit *test)
{
	u64 rate = *(const u64 *)test->param_value, now = 12345, start = now, total = 0;
	struct test_rng rng = { .state = 11 };
	struct migdb_bucket b;
	int i;

	migdb_bucket_init(&b, rate, now);
	rate = b.bytes_per_s;
	for (i = 0; i < 2000; i++) {
		u64 bytes = 1 + test_rng_below(&rng, MIB), wait;

		wait = take(&b, bytes, now);
		if (wait) {
			now += wait;
			KUNIT_ASSERT_EQ(test, take(&b, bytes, now), 0ULL);
		}
		total += bytes;
		now += test_rng_below(&rng, 1000);
	}
	KUNIT_EXPECT_LE(test, total, max(rate / 10, MIB) +
			div64_u64(now - start, SEC) * rate +
			div64_u64((now - start) % SEC, 1000) * (rate / 1000000 + 1));
}

/* Asked often, it loses no fraction of a byte that matters. */
static void throttle_polling(struct kunit *test)
{
	u64 now, total = 0;
	struct migdb_bucket b;

	migdb_bucket_init(&b, 1000, 0);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, 0), 0ULL);
	/* a byte per millisecond, asked for every 7 us */
	for (now = 0; now < SEC; now += 7000)
		total += !take(&b, 1, now);
	KUNIT_EXPECT_GE(test, total, 990ULL);
	KUNIT_EXPECT_LE(test, total, 1000ULL);
}

static void throttle_set_rate(struct kunit *test)
{
	struct migdb_bucket b;

	migdb_bucket_init(&b, 1000 * MIB, 0);
	/* credit shrinks with the burst */
	migdb_bucket_set_rate(&b, 50 * MIB, 0);
	KUNIT_EXPECT_EQ(test, b.tokens_bytes, (s64)(5 * MIB));
	/* what was earned until now was earned at the old rate */
	KUNIT_EXPECT_EQ(test, take(&b, 5 * MIB, 0), 0ULL);
	migdb_bucket_set_rate(&b, 1000 * MIB, SEC / 50);
	KUNIT_EXPECT_EQ(test, b.tokens_bytes, (s64)MIB);
	/* off, and on again */
	migdb_bucket_set_rate(&b, 0, SEC);
	KUNIT_EXPECT_EQ(test, take(&b, 1000 * MIB, SEC), 0ULL);
	migdb_bucket_set_rate(&b, 10 * MIB, SEC);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, SEC), 0ULL);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, SEC), SEC / 10);
}

static void throttle_clock_goes_back(struct kunit *test)
{
	struct migdb_bucket b;

	migdb_bucket_init(&b, 10 * MIB, 5 * SEC);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, 5 * SEC), 0ULL);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, SEC), SEC / 10);
	KUNIT_EXPECT_EQ(test, take(&b, MIB, 5 * SEC + SEC / 10), 0ULL);
}

/* The corners of every number: no overflow, no negative wait, no division by 0. */
static void throttle_extremes(struct kunit *test)
{
	static const u64 bytes[] = { 0, 1, MIB, 1ull << 61, 1ull << 62, 1ull << 63, U64_MAX };
	static const u64 clock[] = { 0, 1, SEC, 1ull << 40, 1ull << 63, U64_MAX };
	unsigned int r, i, k;

	for (r = 0; r < ARRAY_SIZE(rates); r++) {
		for (i = 0; i < ARRAY_SIZE(bytes); i++) {
			struct migdb_bucket b;

			migdb_bucket_init(&b, rates[r], 0);
			for (k = 0; k < ARRAY_SIZE(clock); k++) {
				u64 wait = migdb_bucket_reserve(&b, bytes[i], clock[k]);
				s64 burst = max(b.bytes_per_s / 10, MIB);

				KUNIT_EXPECT_LE(test, b.tokens_bytes, burst);
				KUNIT_EXPECT_GE(test, b.tokens_bytes, -(s64)(1ull << 62));
				if (!bytes[i] && b.tokens_bytes >= 0)
					KUNIT_EXPECT_EQ(test, wait, 0ULL);
			}
		}
	}
}

/* Who waits does so at the rate that is now, and for those before it only. */
static void throttle_turns(struct kunit *test)
{
	struct migdb_bucket b;
	u64 first, second;

	migdb_bucket_init(&b, 10 * MIB, 0);
	migdb_bucket_reserve(&b, 6 * MIB, 0);
	first = b.taken_bytes;
	migdb_bucket_reserve(&b, 5 * MIB, 0);
	second = b.taken_bytes;
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, first, 0), SEC / 2);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, second, 0), SEC);
	migdb_bucket_set_rate(&b, 5 * MIB, SEC / 10);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, first, SEC / 10), SEC * 8 / 10);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, second, SEC / 10), SEC * 18 / 10);
	migdb_bucket_set_rate(&b, 40 * MIB, SEC / 10);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, first, SEC / 10), SEC / 10);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, first, SEC / 5), 0ULL);
	/* asking takes nothing, and one that comes later does not hold up the others */
	migdb_bucket_reserve(&b, 100 * MIB, SEC / 5);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, second, SEC / 5), SEC / 8);
	migdb_bucket_set_rate(&b, 0, SEC / 5);
	KUNIT_EXPECT_EQ(test, migdb_bucket_wait(&b, second, SEC / 5), 0ULL);
}

static void throttle_reserve(struct kunit *test)
{
	struct migdb_bucket b;

	migdb_bucket_init(&b, 10 * MIB, 0);
	KUNIT_EXPECT_EQ(test, migdb_bucket_reserve(&b, MIB, 0), 0ULL);
	/* taken for good, and in the order of asking */
	KUNIT_EXPECT_EQ(test, migdb_bucket_reserve(&b, 5 * MIB, 0), SEC / 2);
	KUNIT_EXPECT_EQ(test, migdb_bucket_reserve(&b, 1, 0), SEC / 2 + 96);
	KUNIT_EXPECT_EQ(test, b.tokens_bytes, -(s64)(5 * MIB) - 1);
	KUNIT_EXPECT_EQ(test, migdb_bucket_reserve(&b, MIB, SEC), 0ULL);
	/* however much is asked for: a long wait, and no wrap */
	while (b.tokens_bytes > -(s64)(1ull << 62))
		KUNIT_EXPECT_GT(test, migdb_bucket_reserve(&b, U64_MAX, SEC), SEC);
	KUNIT_EXPECT_GT(test, migdb_bucket_reserve(&b, U64_MAX, SEC), SEC);
	KUNIT_EXPECT_EQ(test, b.tokens_bytes, -(s64)(1ull << 62));
	migdb_bucket_init(&b, 0, 0);
	KUNIT_EXPECT_EQ(test, migdb_bucket_reserve(&b, U64_MAX, 0), 0ULL);

	KUNIT_EXPECT_EQ(test, migdb_rate_share(0, 3), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate_share(30, 3), 10ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate_share(30, 0), 30ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate_share(1, 16), 1ULL);
}

/*
 * Two VMs under one limit, four lanes each: one with reads of 512 KiB, the other
 * with reads of 4 KiB.  As in fetch.c, a lane holds one read that waits, looks
 * again at the end of a jiffy, and then reads until the next one has to wait.
 */
#define SIM_JIFFY	4000000ull	/* HZ 250 */
#define SIM_LANES	4

struct sim_vm {
	struct migdb_bucket rate;
	u64 read_bytes, got;
	u64 due[SIM_LANES];
	bool held[SIM_LANES];
};

static void sim_look(struct sim_vm *vm, u64 now)
{
	u32 i;

	for (i = 0; i < SIM_LANES; i++) {
		while (!vm->held[i] || vm->due[i] <= now) {
			vm->got += vm->held[i] ? vm->read_bytes : 0;
			vm->held[i] = true;
			vm->due[i] = now + migdb_bucket_reserve(&vm->rate, vm->read_bytes, now);
		}
	}
}

static void throttle_two_vms(struct kunit *test)
{
	static const u64 limits[] = { 4 * MIB, 20 * MIB, 100 * MIB };
	u32 i, k;
	u64 now;

	for (i = 0; i < 2 * ARRAY_SIZE(limits); i++) {
		u64 limit = limits[i / 2], share = migdb_rate_share(limit, 2);
		struct sim_vm vm[2] = {};

		vm[i % 2].read_bytes = 4096;
		vm[!(i % 2)].read_bytes = 524288;
		migdb_bucket_init(&vm[0].rate, share, 0);
		migdb_bucket_init(&vm[1].rate, share, 0);
		for (now = 0; now < 10 * SEC; now += SIM_JIFFY)
			for (k = 0; k < 2; k++)
				sim_look(&vm[k], now);
		/* half of the limit each, and the burst at the beginning */
		for (k = 0; k < 2; k++) {
			KUNIT_EXPECT_GE(test, vm[k].got, limit * 9 / 2);
			KUNIT_EXPECT_LE(test, vm[k].got, limit * 11 / 2);
		}
	}
}

static struct kunit_case throttle_cases[] = {
	KUNIT_CASE(throttle_no_limit),
	KUNIT_CASE(throttle_burst),
	KUNIT_CASE_PARAM(throttle_wait_is_enough, rate_gen_params),
	KUNIT_CASE(throttle_polling),
	KUNIT_CASE(throttle_set_rate),
	KUNIT_CASE(throttle_clock_goes_back),
	KUNIT_CASE(throttle_extremes),
	KUNIT_CASE(throttle_reserve),
	KUNIT_CASE(throttle_turns),
	KUNIT_CASE(throttle_two_vms),
	{}
};

static struct kunit_suite throttle_suite = {
	.name = "migdb_throttle",
	.test_cases = throttle_cases,
};

kunit_test_suite(throttle_suite);
