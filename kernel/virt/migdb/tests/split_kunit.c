// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite of split.c: the arithmetic, and whole migrations on a clock of their
 * own, compared with what the best static split would have made of the same rates.
 */
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include "../split.h"
#include "test_util.h"

#define MS	1000000ull
#define SEC	(1000 * MS)

static void split_meter(struct kunit *test)
{
	struct migdb_meter m = {};
	u64 t = 7 * SEC;
	int i;

	/* nothing is known before the first step; what came with it is not counted */
	migdb_meter_add(&m, 1000, t);
	KUNIT_EXPECT_EQ(test, m.seen_ns, 0ULL);
	/* then the first step is all that there is */
	t += 10 * MS;
	migdb_meter_add(&m, 50, t);
	KUNIT_EXPECT_EQ(test, m.per_s, 5000ULL);
	for (i = 0; i < 1000; i++) {
		t += 3 * MS;
		migdb_meter_add(&m, 15, t);
	}
	KUNIT_EXPECT_GE(test, m.per_s, 4900ULL);
	KUNIT_EXPECT_LE(test, m.per_s, 5000ULL);
	/* it has forgotten a tenfold rate after a few of its times */
	for (i = 0; i < 100; i++) {
		t += 20 * MS;
		migdb_meter_add(&m, 10, t);
	}
	KUNIT_EXPECT_LE(test, m.per_s, 600ULL);
	KUNIT_EXPECT_GE(test, m.per_s, 450ULL);
	/* silence, however it is looked at */
	for (i = 0; i < 100; i++) {
		t += 50 * MS;
		migdb_meter_add(&m, 0, t);
	}
	KUNIT_EXPECT_EQ(test, m.per_s, 0ULL);
}

/* In one piece or in many: the same mean, as long as it is no longer than its time. */
static void split_meter_regularity(struct kunit *test)
{
	struct migdb_meter one = {}, many = {};
	u64 t;

	migdb_meter_begin(&one, SEC);
	migdb_meter_begin(&many, SEC);
	for (t = 1; t <= 400; t++)
		migdb_meter_add(&many, t % 4 ? 0 : 40, SEC + t * MS);
	migdb_meter_add(&one, 4000, SEC + 400 * MS);
	KUNIT_EXPECT_EQ(test, one.per_s, 10000ULL);
	KUNIT_EXPECT_GE(test, many.per_s, 9700ULL);
	KUNIT_EXPECT_LE(test, many.per_s, 10000ULL);
}

/* Any numbers: no division by zero, no wrap, rates stay sane. */
static void split_any_numbers(struct kunit *test)
{
	static const u64 v[] = {
		0, 1, 2, 255, 4096, SEC, U32_MAX, MIGDB_MAX_PAGES, BIT_ULL(62), U64_MAX,
	};
	struct test_rng rng = { .state = 77 };
	struct migdb_split s = {};
	u64 left, max, nr;
	int i;

	for (i = 0; i < 200000; i++) {
		u64 now = v[test_rng_below(&rng, ARRAY_SIZE(v))] + test_rng_below(&rng, 1000);

		left = v[test_rng_below(&rng, ARRAY_SIZE(v))];
		max = v[test_rng_below(&rng, ARRAY_SIZE(v))];
		switch (test_rng_below(&rng, 3)) {
		case 0:
			migdb_split_built(&s, left, now);
			break;
		case 1:
			migdb_split_taken(&s, left, now);
			break;
		default:
			nr = migdb_split_share(&s, left, max, now);
			KUNIT_ASSERT_LE(test, nr, min(left, max));
		}
		KUNIT_ASSERT_LE(test, s.build.per_s, BIT_ULL(30));
		KUNIT_ASSERT_LE(test, s.send.per_s, BIT_ULL(30));
		KUNIT_ASSERT_LE(test, s.build.seen_ns, MIGDB_METER_NS);
		KUNIT_ASSERT_LE(test, s.send.seen_ns, MIGDB_METER_NS);
	}
}

static void split_share(struct kunit *test)
{
	struct migdb_split s = {};
	u64 t = SEC;
	int i;

	/* a probe first, whatever is asked for */
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 100000, 50000, t),
			(u64)MIGDB_TAKE_PROBE_PAGES);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 10, 50000, t), 10ULL);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 100000, 3, t), 3ULL);
	migdb_split_taken(&s, 256, t);
	migdb_split_built(&s, 256, t);
	t += 100 * MS;
	/* 2560 pages/s each way: half of what is left, in batches of a quarter second */
	migdb_split_built(&s, 256, t);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 400, 50000, t), 200ULL);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 100000, 50000, t), 512ULL);
	migdb_split_taken(&s, 512, t);
	t += 200 * MS;
	migdb_split_built(&s, 512, t);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 100000, 50000, t), 640ULL);
	/* the last one is the faster one's */
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 0, 50000, t), 0ULL);
	s.build.per_s = 9 * s.send.per_s;
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 1, 50000, t), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 4, 50000, t), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 10, 50000, t), 1ULL);
	/* and storage that stands still gets nothing, in the end */
	for (i = 0; i < 2000; i++)
		migdb_split_share(&s, 1, 1, t += 10 * MS);
	KUNIT_EXPECT_EQ(test, s.build.per_s, 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_split_share(&s, 300, 50000, t), 300ULL);
}

/* Buffers swallow what is taken first: that must not be taken for the link. */
static void split_buffers(struct kunit *test)
{
	struct migdb_split s = {};
	u64 t = SEC, taken = 0, nr;
	int i;

	for (i = 0; i < 4; i++) {
		nr = migdb_split_share(&s, 1000000, U64_MAX, t);
		taken += nr;
		migdb_split_taken(&s, nr, t);
		t += 1000;
	}
	KUNIT_EXPECT_LE(test, taken, 15ULL * MIGDB_TAKE_PROBE_PAGES);
}

struct rates {
	u32 from_ms;
	u32 build, send;	/* pages/s */
};

struct sim {
	const char *name;
	u32 pages;		/* of the set */
	u32 others;		/* that the link has to carry first */
	u32 inflight;		/* reads under way at the destination, in pages */
	u32 way_ms;		/* from one side to the other */
	u32 max;		/* that the VMM asks for */
	struct rates r[8];	/* ends with from_ms == 0 */
};

#define FOREVER_MS	(10 * 60 * 1000)
#define PAST_MS		256	/* a power of two above any way_ms */

static const struct rates *sim_rates(const struct sim *c, u32 ms)
{
	const struct rates *r = c->r;

	while (r[1].from_ms && r[1].from_ms <= ms)
		r++;
	return r;
}

/*
 * The end of the best static split: each side has its share from the start and both
 * are through at once.  No split, static or not, is through earlier.  In ms.
 */
static u32 sim_best(const struct sim *c)
{
	u64 build = 0, send = 0, all = c->pages * 1000ull, first = c->others * 1000ull;
	u32 ms;

	for (ms = 0; ms < FOREVER_MS; ms++) {
		build += sim_rates(c, ms)->build;
		send += sim_rates(c, ms)->send;
		if (send >= first && min(build, all) + send - first >= all)
			break;
	}
	return ms;
}

/* The end of one static split. */
static u32 sim_static(const struct sim *c, u64 by_link)
{
	u64 build = 0, send = 0;
	u32 ms;

	for (ms = 0; ms < FOREVER_MS; ms++) {
		build += sim_rates(c, ms)->build;
		send += sim_rates(c, ms)->send;
		if (build >= (c->pages - by_link) * 1000 && send >= (c->others + by_link) * 1000)
			break;
	}
	return ms;
}

struct sim_out {
	u32 ms;
	u64 taken, twice;	/* pages; twice: also read at the destination */
};

/*
 * In steps of a ms and thousandths of a page.  The destination reads from the front
 * what was not taken as far as it knows, and what it has planned it reads; the source
 * learns of it way_ms later.
 */
static void sim_run(const struct sim *c, struct sim_out *out)
{
	u64 tail = c->pages, planned = 0, queue = c->others * 1000ull, built = 0;
	static u32 known_tail[PAST_MS], known_built[PAST_MS];
	u32 ms, left, confirmed = 0, was;
	struct migdb_split s = {};
	u64 nr, now;

	*out = (struct sim_out){};
	for (ms = 0; ms < PAST_MS; ms++) {
		known_tail[ms] = c->pages;
		known_built[ms] = 0;
	}
	for (ms = 0; ms < FOREVER_MS; ms++) {
		const struct rates *r = sim_rates(c, ms);

		now = SEC + ms * MS;
		/* destination */
		planned = max(planned, min((built / 1000) + c->inflight,
					   (u64)known_tail[(ms - c->way_ms) % PAST_MS]));
		built = min(built + r->build, planned * 1000);
		known_built[ms % PAST_MS] = built / 1000;
		/* what it says of pages that were taken does not count */
		was = confirmed;
		confirmed = min_t(u64, tail, known_built[(ms - c->way_ms) % PAST_MS]);
		if (confirmed > was)
			migdb_split_built(&s, confirmed - was, now);
		/* source */
		queue -= min_t(u64, queue, r->send);
		left = tail - confirmed;
		if (!queue && !left)
			break;
		if (!queue) {
			nr = migdb_split_share(&s, left, c->max, now);
			tail -= nr;
			queue = nr * 1000;
			migdb_split_taken(&s, nr, now);
		}
		known_tail[ms % PAST_MS] = tail;
	}
	out->ms = ms;
	out->taken = c->pages - tail;
	out->twice = planned > tail ? planned - tail : 0;
}

static const struct sim sims[] = {
	{ "storage as fast as the link", 100000, 20000, 2048, 5, 1024, { { 0, 5000, 5000 } } },
	{ "storage ten times as fast", 300000, 20000, 8192, 5, 1024, { { 0, 20000, 2000 } } },
	{ "link ten times as fast", 100000, 20000, 2048, 5, 1024, { { 0, 800, 8000 } } },
	{ "nothing but the set", 100000, 0, 2048, 5, 1024, { { 0, 5000, 5000 } } },
	{ "storage slower, then", 100000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 5000 }, { 6000, 500, 5000 } } },
	{ "storage faster, then", 100000, 20000, 2048, 5, 1024,
	  { { 0, 500, 5000 }, { 6000, 5000, 5000 } } },
	{ "link slower, then", 100000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 5000 }, { 6000, 5000, 500 } } },
	{ "link faster, then", 100000, 2000, 2048, 5, 1024,
	  { { 0, 5000, 500 }, { 6000, 5000, 5000 } } },
	{ "storage stands still", 100000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 5000 }, { 6000, 0, 5000 } } },
	{ "link stands still", 100000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 5000 }, { 6000, 5000, 0 }, { 9000, 5000, 5000 } } },
	{ "storage comes and goes", 200000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 5000 }, { 4000, 500, 5000 }, { 8000, 5000, 5000 }, { 11000, 500, 5000 },
	    { 15000, 5000, 5000 }, { 18000, 500, 5000 } } },
	{ "both come and go", 200000, 20000, 2048, 5, 1024,
	  { { 0, 5000, 500 }, { 4000, 500, 5000 }, { 8000, 5000, 500 }, { 11000, 500, 5000 },
	    { 15000, 5000, 500 }, { 18000, 500, 5000 } } },
	{ "far away", 100000, 20000, 8192, 100, 1024,
	  { { 0, 5000, 5000 }, { 6000, 500, 5000 } } },
	{ "a VMM that takes all it can get", 100000, 20000, 8192, 50, 4000000,
	  { { 0, 5000, 5000 }, { 6000, 5000, 500 } } },
	{ "a VMM that takes little at a time", 100000, 20000, 2048, 5, 64,
	  { { 0, 5000, 5000 }, { 6000, 500, 5000 } } },
	{ "large", 4000000, 500000, 8192, 5, 16384,
	  { { 0, 250000, 250000 }, { 4000, 25000, 250000 } } },
};

static void sim_desc(const struct sim *c, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s", c->name);
}

KUNIT_ARRAY_PARAM(sim, sims, sim_desc);

/* Within 10 % of what nobody can do better who knows the rates beforehand. */
static void split_as_good_as_static(struct kunit *test)
{
	const struct sim *c = test->param_value;
	struct sim_out out;
	u32 best = sim_best(c);

	sim_run(c, &out);
	kunit_info(test, "%u ms, best static split %u ms; %llu of %u pages taken, %llu read in vain",
		   out.ms, best, out.taken, c->pages, out.twice);
	KUNIT_EXPECT_LE(test, out.ms * 10ull, best * 11ull);
	KUNIT_EXPECT_GE(test, out.ms + 1, best);
}

/*
 * The yardstick itself: no static split is better than "best", one is as good, and
 * the one that was right at the beginning is far off when rates change tenfold.
 */
static void split_yardstick(struct kunit *test)
{
	u32 i, k, best, least, ms;
	u64 early;

	for (i = 0; i < ARRAY_SIZE(sims) - 1; i++) {
		best = sim_best(&sims[i]);
		for (k = 0, least = U32_MAX; k <= 50; k++) {
			ms = sim_static(&sims[i], sims[i].pages * (u64)k / 50);
			least = min(least, ms);
			KUNIT_ASSERT_GE(test, ms + 1, best);
		}
		KUNIT_EXPECT_TRUE_MSG(test, least * 100ull <= best * 108ull, "%s", sims[i].name);
	}
	early = 40000;		/* of "storage slower, then": 60000 and 20000 + 40000 */
	KUNIT_EXPECT_GE(test, sim_static(&sims[4], early), sim_best(&sims[4]) * 2);
}

static struct kunit_case split_cases[] = {
	KUNIT_CASE(split_meter),
	KUNIT_CASE(split_meter_regularity),
	KUNIT_CASE(split_any_numbers),
	KUNIT_CASE(split_share),
	KUNIT_CASE(split_buffers),
	KUNIT_CASE_PARAM(split_as_good_as_static, sim_gen_params),
	KUNIT_CASE(split_yardstick),
	{}
};

static struct kunit_suite split_suite = {
	.name = "migdb_split",
	.test_cases = split_cases,
};

kunit_test_suite(split_suite);
