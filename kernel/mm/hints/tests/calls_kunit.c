// SPDX-License-Identifier: GPL-2.0
/* KUnit: descriptors, ranges and pools that calls name, maps of virtual disks. */
#include <kunit/test.h>

#include "../desc.h"
#include "../segs.h"

#define LIMIT BIT_ULL(47)

static u64 desc(u32 file, u64 block)
{
	return MEM_HINT_DESC_VALID | (u64)file << MEM_HINT_DESC_FILE_SHIFT | block;
}

static void desc_decodes(struct kunit *test)
{
	u32 file = 77;
	u64 block = 77;

	KUNIT_EXPECT_EQ(test, mhint_desc_decode(0, 4, &file, &block),
			MHINT_DESC_NOTHING);
	/* Without the valid bit nothing else counts. */
	KUNIT_EXPECT_EQ(test, mhint_desc_decode(~MEM_HINT_DESC_VALID, 4, &file, &block),
			MHINT_DESC_NOTHING);
	KUNIT_EXPECT_EQ(test,
			mhint_desc_decode(MEM_HINT_DESC_VALID | MEM_HINT_DESC_EMPTY,
					  4, &file, &block), MHINT_DESC_EMPTY);
	KUNIT_EXPECT_EQ(test, file, 77);
	KUNIT_EXPECT_EQ(test, mhint_desc_decode(desc(9, 12), 4, &file, &block),
			MHINT_DESC_BLOCK);
	KUNIT_EXPECT_EQ(test, file, 9);
	KUNIT_EXPECT_EQ(test, block, 12);
	KUNIT_EXPECT_EQ(test, mhint_desc_decode(desc(0xffff, 0), 1, &file, &block),
			MHINT_DESC_BLOCK);
	KUNIT_EXPECT_EQ(test, file, 0xffff);
}

static void desc_refuses(struct kunit *test)
{
	u32 file, bit;
	u64 block;

	for (bit = 60; bit < 62; bit++)
		KUNIT_EXPECT_EQ(test, mhint_desc_decode(desc(1, 1) | 1ULL << bit, 1,
							&file, &block),
				MHINT_DESC_BAD);
	KUNIT_EXPECT_EQ(test, mhint_desc_decode(desc(1, MEM_HINT_DESC_BLOCK_MASK),
						1, &file, &block),
			MHINT_DESC_BLOCK);
	KUNIT_EXPECT_EQ(test, mhint_desc_decode(desc(1, MEM_HINT_DESC_BLOCK_MASK),
						2, &file, &block),
			MHINT_DESC_BAD);
}

static void ranges(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_range_check(0, 4096, LIMIT), 0);
	KUNIT_EXPECT_EQ(test, mhint_range_check(LIMIT - 4096, 4096, LIMIT), 0);
	KUNIT_EXPECT_EQ(test, mhint_range_check(0, LIMIT, LIMIT), 0);
	KUNIT_EXPECT_EQ(test, mhint_range_check(4096, 0, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(4097, 4096, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(4096, 4095, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(4096, LIMIT, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(LIMIT, 4096, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(-4096ULL, 8192, LIMIT), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_range_check(8192, -4096ULL, LIMIT), -EINVAL);
}

static void pools(struct kunit *test)
{
	const struct mem_hint_pool good = {
		.frame_shift = 14, .addr = 0x10000, .nr_frames = 100,
		.desc_uptr = 0x1008,
	};
	struct mem_hint_pool p = good;

	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), 0);
	p.frame_shift = 11;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p.frame_shift = 22;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p = good;
	p.nr_frames = 0;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p.nr_frames = 1ULL << 50;	/* shifted it is 0 */
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p = good;
	p.desc_uptr += 4;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p.desc_uptr = LIMIT - 8;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p.desc_uptr = -8ULL;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
	p = good;
	p.addr = LIMIT - (100 << 14) + 4096;
	KUNIT_EXPECT_EQ(test, mhint_pool_check(&p, LIMIT), -EINVAL);
}

static struct mem_hint_segment seg(u64 start, u64 nr, u32 stripes, u32 stripe,
				   u32 chunk)
{
	return (struct mem_hint_segment) {
		.start = start, .nr_sectors = nr, .nr_stripes = stripes,
		.stripe = stripe, .chunk_sectors = chunk,
	};
}

static void segs_linear(struct kunit *test)
{
	struct mem_hint_segment in[2] = { seg(0, 100, 1, 0, 0), seg(200, 50, 1, 0, 0) };
	struct mhint_seg v[2] = { { in[0], .base = 5000 }, { in[1], .base = 9000 } };
	u64 at = 0;

	KUNIT_EXPECT_EQ(test, mhint_segs_check(in, 2, 250), 0);
	KUNIT_EXPECT_PTR_EQ(test, mhint_segs_map(v, 2, 0, 8, &at), &v[0]);
	KUNIT_EXPECT_EQ(test, at, 5000);
	KUNIT_EXPECT_PTR_EQ(test, mhint_segs_map(v, 2, 92, 8, &at), &v[0]);
	KUNIT_EXPECT_EQ(test, at, 5092);
	KUNIT_EXPECT_PTR_EQ(test, mhint_segs_map(v, 2, 242, 8, &at), &v[1]);
	KUNIT_EXPECT_EQ(test, at, 9042);
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 2, 93, 8, &at));
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 2, 100, 8, &at));
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 2, 199, 8, &at));
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 2, 250, 8, &at));
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 0, 0, 8, &at));
}

/* As dm-stripe does it. */
static void segs_striped(struct kunit *test)
{
	struct mem_hint_segment in[4] = {
		seg(0, 64, 1, 0, 0),
		seg(64, 96, 3, 0, 16), seg(64, 96, 3, 1, 16), seg(64, 96, 3, 2, 16),
	};
	struct mhint_seg v[4];
	u64 at = 0, s;
	u32 i;

	for (i = 0; i < 4; i++)
		v[i] = (struct mhint_seg) { .s = in[i], .base = 1000 * i };
	KUNIT_EXPECT_EQ(test, mhint_segs_check(in, 4, 160), 0);
	for (s = 0; s < 96; s += 8) {
		u64 chunk = s / 16, leg = chunk % 3;

		KUNIT_EXPECT_PTR_EQ(test, mhint_segs_map(v, 4, 64 + s, 8, &at),
				    &v[1 + leg]);
		KUNIT_EXPECT_EQ(test, at, 1000 * (1 + leg) + chunk / 3 * 16 + s % 16);
	}
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 4, 64 + 12, 8, &at));
	KUNIT_EXPECT_NULL(test, mhint_segs_map(v, 4, 60, 8, &at));
}

static void segs_refused(struct kunit *test)
{
	struct mem_hint_segment s[3] = {
		seg(0, 64, 2, 0, 8), seg(0, 64, 2, 1, 8), seg(64, 64, 1, 0, 0),
	}, bad[3];

	KUNIT_EXPECT_EQ(test, mhint_segs_check(s, 3, 128), 0);
	KUNIT_EXPECT_EQ(test, mhint_segs_check(s, 3, 127), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_segs_check(s, 1, 128), -EINVAL);
	KUNIT_EXPECT_EQ(test, mhint_segs_check(s + 1, 2, 128), -EINVAL);
#define BAD(_i, _field, _value) do {					\
	memcpy(bad, s, sizeof(s));					\
	bad[_i]._field = (_value);					\
	KUNIT_EXPECT_EQ(test, mhint_segs_check(bad, 3, 128), -EINVAL);	\
} while (0)
	BAD(0, nr_sectors, 0);
	BAD(0, nr_stripes, 0);
	BAD(0, nr_stripes, ~0U);
	BAD(0, stripe, 1);
	BAD(0, chunk_sectors, 0);
	BAD(0, chunk_sectors, 12);
	BAD(0, chunk_sectors, 64);
	BAD(0, __reserved, 1);
	BAD(1, stripe, 0);
	BAD(1, start, 8);
	BAD(1, chunk_sectors, 16);
	BAD(2, start, 63);
	BAD(2, start, ~0ULL);
	BAD(2, nr_sectors, ~0ULL);
	BAD(2, chunk_sectors, 8);
#undef BAD
	KUNIT_EXPECT_EQ(test, mhint_segs_check(s, 0, 128), 0);
}

static struct kunit_case calls_cases[] = {
	KUNIT_CASE(desc_decodes),
	KUNIT_CASE(desc_refuses),
	KUNIT_CASE(ranges),
	KUNIT_CASE(pools),
	KUNIT_CASE(segs_linear),
	KUNIT_CASE(segs_striped),
	KUNIT_CASE(segs_refused),
	{}
};

static struct kunit_suite calls_suite = {
	.name = "mem_hints_calls",
	.test_cases = calls_cases,
};

kunit_test_suite(calls_suite);
