// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of tag.c, against a second implementation of SipHash-2-4. */
#include <linux/migdb.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include "../limits.h"
#include "../tag.h"
#include "../wire.h"
#include "test_util.h"

static u64 turn(u64 v, int by)
{
	return v << by | v >> (64 - by);
}

static void rounds(u64 v[4], int nr)
{
	while (nr--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = turn(v[1], 13) ^ v[0];
		v[3] = turn(v[3], 16) ^ v[2];
		v[0] = turn(v[0], 32) + v[3];
		v[2] += v[1];
		v[1] = turn(v[1], 17) ^ v[2];
		v[3] = turn(v[3], 21) ^ v[0];
		v[2] = turn(v[2], 32);
	}
}

/* As the paper defines it, a byte at a time. */
static u64 model(u64 k0, u64 k1, const u8 *p, size_t len)
{
	/* "somepseudorandomlygeneratedbytes" */
	u64 v[4] = { k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL,
		     k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL };
	u64 m = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		m |= (u64)p[i] << (i % 8 * 8);
		if (i % 8 == 7) {
			v[3] ^= m;
			rounds(v, 2);
			v[0] ^= m;
			m = 0;
		}
	}
	m |= (u64)len << 56;
	v[3] ^= m;
	rounds(v, 2);
	v[0] ^= m;
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void *noise(struct kunit *test, size_t bytes, u64 seed)
{
	struct test_rng rng = { .state = seed };
	u8 *p = kunit_kzalloc(test, bytes, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	test_rng_bytes(&rng, p, bytes);
	return p;
}

/* The model itself: the example in the paper's appendix. */
static void tag_model(struct kunit *test)
{
	u8 in[15];
	int i;

	for (i = 0; i < 15; i++)
		in[i] = i;
	KUNIT_EXPECT_EQ(test, model(0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL, in, 15),
			0xa129ca6149be45e5ULL);
}

static void tag_algs(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, migdb_tag_algs() & (1ULL << MIGDB_TAG_SIPHASH24));
	/* "default" is no algorithm: it never goes over the wire */
	KUNIT_EXPECT_FALSE(test, migdb_tag_algs() & (1ULL << MIGDB_TAG_DEFAULT));
}

static void tag_page(struct kunit *test)
{
	struct test_rng rng = { .state = 8 };
	struct migdb_key key;
	int i;

	for (i = 0; i < 20; i++) {
		u8 *page = noise(test, MIGDB_PAGE_BYTES, i + 1);

		test_rng_bytes(&rng, &key, sizeof(key));
		KUNIT_EXPECT_EQ(test, migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page),
				model(get_unaligned_le64(key.bytes),
				      get_unaligned_le64(key.bytes + 8), page, MIGDB_PAGE_BYTES));
	}
}

/* No bit of a page may be left out. */
static void tag_page_every_bit(struct kunit *test)
{
	struct migdb_key key = { { 1, 2, 3 } };
	u8 *page = noise(test, MIGDB_PAGE_BYTES, 6);
	u64 tag = migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page);
	u32 bit, same = 0;

	for (bit = 0; bit < MIGDB_PAGE_BYTES * 8; bit++) {
		page[bit / 8] ^= 1 << bit % 8;
		same += migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page) == tag;
		page[bit / 8] ^= 1 << bit % 8;
	}
	KUNIT_EXPECT_EQ(test, same, 0);
	KUNIT_EXPECT_EQ(test, migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page), tag);
}

static void tag_key_every_bit(struct kunit *test)
{
	u8 *page = noise(test, MIGDB_PAGE_BYTES, 6);
	struct migdb_key key = { { 9 } };
	u64 tag = migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page);
	u32 bit;

	for (bit = 0; bit < 128; bit++) {
		key.bytes[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_NE(test, migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, page), tag);
		key.bytes[bit / 8] ^= 1 << bit % 8;
	}
}

/* The mac field is the only part of a frame that does not matter. */
static void tag_frame_every_bit(struct kunit *test)
{
	u32 bytes = sizeof(struct migdb_wire_end), bit;
	u32 mac = offsetof(struct migdb_wire_hdr, mac);
	u8 *frame = noise(test, bytes, 3);
	struct migdb_key key = { { 4 } };
	u64 tag = migdb_tag_frame(&key, frame, bytes);

	for (bit = 0; bit < bytes * 8; bit++) {
		bool in_mac = bit / 8 >= mac && bit / 8 < mac + 8;

		frame[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_EQ(test, migdb_tag_frame(&key, frame, bytes) == tag, in_mac);
		frame[bit / 8] ^= 1 << bit % 8;
	}
	/* nor may its length be left out */
	KUNIT_EXPECT_NE(test, migdb_tag_frame(&key, frame, bytes - 8), tag);
}

/* The composition that the header describes, from the model. */
static void tag_frame(struct kunit *test)
{
	u32 bytes = 4096, head = sizeof(struct migdb_wire_hdr);
	u8 *frame = noise(test, bytes, 30), outer[32];
	struct migdb_key key = { { 7, 7, 7 } };
	u64 k0, k1, body;

	k0 = get_unaligned_le64(key.bytes) ^ 0x656d6172666dULL;
	k1 = get_unaligned_le64(key.bytes + 8);
	body = model(k0, k1, frame + head, bytes - head);
	memcpy(outer, frame, 24);
	put_unaligned_le64(body, outer + 24);
	KUNIT_EXPECT_EQ(test, migdb_tag_frame(&key, frame, bytes), model(k0, k1, outer, 32));
	/* a page is no frame, though the session has one key */
	KUNIT_EXPECT_NE(test, migdb_tag_frame(&key, frame, bytes),
			migdb_tag_page(MIGDB_TAG_SIPHASH24, &key, frame));
}

static struct kunit_case tag_cases[] = {
	KUNIT_CASE(tag_model),
	KUNIT_CASE(tag_algs),
	KUNIT_CASE(tag_page),
	KUNIT_CASE(tag_page_every_bit),
	KUNIT_CASE(tag_key_every_bit),
	KUNIT_CASE(tag_frame_every_bit),
	KUNIT_CASE(tag_frame),
	{}
};

static struct kunit_suite tag_suite = {
	.name = "migdb_tag",
	.test_cases = tag_cases,
};

kunit_test_suite(tag_suite);
