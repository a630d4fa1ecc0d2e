// SPDX-License-Identifier: GPL-2.0
/* Tables of device-mapper as migdb-hintd takes them: what becomes of each target. */
#include <kunit/test.h>
#include <stdio.h>
#include <string.h>

#include <linux/dm-ioctl.h>

#include "dmtable.h"

struct given {
	unsigned long long start, length;
	const char *type, *params;
};

struct parsed {
	struct dmtable t;
	char why[160], types_why[160];
	bool ok, types_ok;
};

/* As retrieve_status() of the kernel lays targets out; the buffer ends where they do. */
static struct parsed *parse_cut(struct kunit *test, const struct given *g, int nr, size_t cut)
{
	struct parsed *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	size_t size = 0, at = 0, len;
	char *data;
	int i;

	for (i = 0; i < nr; i++)
		size += sizeof(struct dm_target_spec) + (strlen(g[i].params) + 8) / 8 * 8;
	data = kunit_kzalloc(test, size, GFP_KERNEL);
	for (i = 0; i < nr; i++, at += len) {
		struct dm_target_spec s = { .sector_start = g[i].start, .length = g[i].length };

		len = sizeof(s) + (strlen(g[i].params) + 8) / 8 * 8;
		s.next = at + len;
		snprintf(s.target_type, sizeof(s.target_type), "%s", g[i].type);
		memcpy(data + at, &s, sizeof(s));
		memcpy(data + at + sizeof(s), g[i].params, strlen(g[i].params) + 1);
	}
	if (cut) {	/* so that ASan sees reads beyond the end */
		char *less = kunit_kzalloc(test, size - cut, GFP_KERNEL);

		memcpy(less, data, size - cut);
		data = less;
		size -= cut;
	}
	p->types_ok = dmtable_types(data, size, nr, p->types_why, sizeof(p->types_why));
	p->ok = dmtable_parse(&p->t, data, size, nr, p->why, sizeof(p->why));
	return p;
}

static struct parsed *parse(struct kunit *test, const struct given *g, int nr)
{
	return parse_cut(test, g, nr, 0);
}

static void expect_segment(struct kunit *test, const struct mem_hint_segment *is,
			   struct mem_hint_segment want)
{
	KUNIT_EXPECT_EQ(test, memcmp(is, &want, sizeof(want)), 0);
}

/* Without the lines: they are not looked at, and those of others never asked for. */
static void types(struct kunit *test)
{
	static const struct given known[] = {
		{ 0, 8192, "linear", "" },
		{ 8192, 100, "striped", "2 8:0 8:16 1 AA" },
	};
	static const struct given crypt[] = {
		{ 0, 8192, "linear", "" },
		{ 8192, 100, "crypt", "" },
	};
	struct parsed *p = parse(test, known, 2);

	KUNIT_EXPECT_TRUE(test, p->types_ok);
	KUNIT_EXPECT_FALSE(test, p->ok);
	p = parse(test, crypt, 2);
	KUNIT_EXPECT_FALSE(test, p->types_ok);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->types_why, "\"crypt\""));
}

static void linear(struct kunit *test)
{
	static const struct given g[] = {
		{ 0, 8192, "linear", "254:16 2048" },
		{ 8192, 100, "linear", "8:1 18446744073709551615" },
	};
	struct parsed *p = parse(test, g, 2);

	KUNIT_ASSERT_TRUE(test, p->ok);
	KUNIT_ASSERT_EQ(test, p->t.nr, 2);
	KUNIT_EXPECT_EQ(test, p->t.nr_sectors, 8292);
	expect_segment(test, &p->t.segs[0], (struct mem_hint_segment) {
		.nr_sectors = 8192, .target = 2048, .major = 254, .minor = 16, .nr_stripes = 1 });
	expect_segment(test, &p->t.segs[1], (struct mem_hint_segment) {
		.start = 8192, .nr_sectors = 100, .target = ~0ULL, .major = 8, .minor = 1, .nr_stripes = 1 });
}

static void striped(struct kunit *test)
{
	static const struct given g[] = {
		{ 0, 16, "linear", "8:0 0" },
		{ 16, 384, "striped", "3 128 254:0 10 254:16 20 8:32 30" },
		{ 400, 64, "striped", "1 8 8:48 7" },
	};
	struct parsed *p = parse(test, g, 3);
	struct mem_hint_segment want = {
		.start = 16, .nr_sectors = 384, .target = 10, .major = 254,
		.nr_stripes = 3, .chunk_sectors = 128,
	};

	KUNIT_ASSERT_TRUE(test, p->ok);
	KUNIT_ASSERT_EQ(test, p->t.nr, 5);
	KUNIT_EXPECT_EQ(test, p->t.nr_sectors, 464);
	expect_segment(test, &p->t.segs[1], want);
	want.stripe = 1;
	want.minor = 16;
	want.target = 20;
	expect_segment(test, &p->t.segs[2], want);
	want.stripe = 2;
	want.major = 8;
	want.minor = 32;
	want.target = 30;
	expect_segment(test, &p->t.segs[3], want);
	/* the kernel takes no chunks of a run that is in one piece */
	expect_segment(test, &p->t.segs[4], (struct mem_hint_segment) {
		.start = 400, .nr_sectors = 64, .target = 7, .major = 8, .minor = 48, .nr_stripes = 1 });
}

static void refused(struct kunit *test)
{
	static const struct {
		struct given g[2];
		int nr;
		const char *why;
	} bad[] = {
		{ { { 0, 8, "thin", "254:3 1" } }, 1, "a target is \"thin\"" },
		{ { { 0, 8, "thin-pool", "254:1 254:2 128 0 0" } }, 1, "\"thin-pool\"" },
		{ { { 0, 8, "crypt", "aes 00 0 8:0 0" } }, 1, "\"crypt\"" },
		{ { { 0, 8, "snapshot-origin", "254:3" } }, 1, "\"snapshot-origin\"" },
		{ { { 0, 8, "error", "" } }, 1, "\"error\"" },
		{ { { 0, 8, "linearx", "8:0 0" } }, 1, "\"linearx\"" },
		{ { { 0, 8, "", "8:0 0" } }, 1, "\"\"" },
		/* as a whole, though a part of it could be described */
		{ { { 0, 8, "linear", "8:0 0" }, { 8, 8, "error", "" } }, 2, "\"error\"" },
		{ { { 0, 8, "linear", "8:0 0" }, { 16, 8, "linear", "8:0 8" } }, 2, "follow" },
		{ { { 8, 8, "linear", "8:0 0" } }, 1, "follow" },
		{ { { 0, 0, "linear", "8:0 0" } }, 1, "follow" },
		{ { { 0, 8, "linear", "8:0 0" }, { 8, ~0ULL, "linear", "8:0 0" } }, 2, "follow" },
		{ { { 0, 8, "linear", "" } }, 1, "linear target is not understood" },
		{ { { 0, 8, "linear", "8:0" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "8:0 " } }, 1, "linear target" },
		{ { { 0, 8, "linear", "8:0 1 2" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "sda 1" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "-8:0 1" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "4294967296:0 1" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "8:4294967296 1" } }, 1, "linear target" },
		{ { { 0, 8, "linear", "8:0 18446744073709551616" } }, 1, "linear target" },
		{ { { 0, 8, "striped", "0 8" } }, 1, "striped target is not understood" },
		{ { { 0, 8, "striped", "0 8 8:0 0" } }, 1, "striped target" },
		{ { { 0, 8, "striped", "2 8 8:0 0" } }, 1, "striped target" },
		{ { { 0, 8, "striped", "2 8 8:0 0 8:16 0 8:32 0" } }, 1, "striped target" },
		{ { { 0, 8, "striped", "2 x 8:0 0 8:16 0" } }, 1, "striped target" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct parsed *p = parse(test, bad[i].g, bad[i].nr);

		if (p->ok || !strstr(p->why, bad[i].why))
			printf("# %s %s: %s\n", bad[i].g[0].type, bad[i].g[0].params, p->why);
		KUNIT_EXPECT_FALSE(test, p->ok);
		KUNIT_EXPECT_EQ(test, p->t.nr, 0);
		KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, bad[i].why));
	}
}

/* A buffer that ends anywhere is found out, and not read beyond. */
static void cut_off(struct kunit *test)
{
	static const struct given g[] = {
		{ 0, 8, "linear", "8:0 0" }, { 8, 8, "linear", "8:16 1234" },
	};
	size_t cut, size = 2 * sizeof(struct dm_target_spec) + 8 + 16;
	struct parsed *p;

	KUNIT_EXPECT_TRUE(test, parse_cut(test, g, 2, 6)->ok);	/* padding */
	for (cut = 7; cut < size; cut++) {
		p = parse_cut(test, g, 2, cut);
		KUNIT_EXPECT_FALSE(test, p->ok);
		KUNIT_EXPECT_EQ(test, p->t.nr, 0);
	}
	p = parse(test, g, 0);
	KUNIT_EXPECT_FALSE(test, p->ok);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "no table"));
}

static void backwards(struct kunit *test)
{
	struct {
		struct dm_target_spec spec;
		char params[8];
	} d[2] = {
		{ { .length = 8, .next = 0, .target_type = "linear" }, "8:0 0" },
	};
	struct parsed *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);

	p->ok = dmtable_parse(&p->t, d, sizeof(d), 1000000000, p->why, sizeof(p->why));
	KUNIT_EXPECT_FALSE(test, p->ok);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "backwards"));
}

static void bounds(struct kunit *test)
{
	struct given *g = kunit_kzalloc(test, (MEM_HINT_MAX_SEGMENTS + 1) * sizeof(*g), GFP_KERNEL);
	struct parsed *p;
	unsigned int i;

	for (i = 0; i <= MEM_HINT_MAX_SEGMENTS; i++)
		g[i] = (struct given) { 8 * i, 8, "linear", "8:0 0" };
	p = parse(test, g, MEM_HINT_MAX_SEGMENTS);
	KUNIT_EXPECT_TRUE(test, p->ok);
	KUNIT_EXPECT_EQ(test, p->t.nr, MEM_HINT_MAX_SEGMENTS);
	p = parse(test, g, MEM_HINT_MAX_SEGMENTS + 1);
	KUNIT_EXPECT_FALSE(test, p->ok);
	KUNIT_EXPECT_EQ(test, p->t.nr, 0);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "more than 4096"));
}

static struct kunit_case dmtable_cases[] = {
	KUNIT_CASE(types),
	KUNIT_CASE(linear),
	KUNIT_CASE(striped),
	KUNIT_CASE(refused),
	KUNIT_CASE(cut_off),
	KUNIT_CASE(backwards),
	KUNIT_CASE(bounds),
	{}
};

static struct kunit_suite dmtable_suite = {
	.name = "hintd_dmtable",
	.test_cases = dmtable_cases,
};

kunit_test_suite(dmtable_suite);
