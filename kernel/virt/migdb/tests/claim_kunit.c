// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of claim.c: every step from every value that a byte can have. */
#include <linux/migdb.h>
#include <linux/string.h>
#include "../claim.h"
#include "test_util.h"

struct step {
	const char *name;
	bool (*fn)(u8 *claim);
	u8 from, to;
};

static const struct step steps[] = {
	{ "todo", migdb_claim_todo, MIGDB_CLAIM_NONE, MIGDB_CLAIM_TODO },
	{ "busy", migdb_claim_busy, MIGDB_CLAIM_TODO, MIGDB_CLAIM_BUSY },
	{ "done", migdb_claim_done, MIGDB_CLAIM_BUSY, MIGDB_CLAIM_DONE },
};

static void step_desc(const struct step *s, char *desc)
{
	strscpy(desc, s->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(step, steps, step_desc);

/* A byte between two others that must not be touched. */
static void claim_step(struct kunit *test)
{
	const struct step *s = test->param_value;
	u8 around[3] = { 0xa5, 0, 0x5a };
	unsigned int v;

	for (v = 0; v < 256; v++) {
		around[1] = v;
		KUNIT_EXPECT_EQ(test, s->fn(&around[1]), v == s->from);
		KUNIT_EXPECT_EQ(test, around[1], v == s->from ? s->to : v);
	}
	KUNIT_EXPECT_EQ(test, around[0], 0xa5);
	KUNIT_EXPECT_EQ(test, around[2], 0x5a);
}

static bool known(unsigned int v)
{
	return v == MIGDB_CLAIM_NONE || v == MIGDB_CLAIM_TODO || v == MIGDB_CLAIM_BUSY ||
	       v == MIGDB_CLAIM_DONE || v == MIGDB_CLAIM_RETURNED;
}

static void claim_return(struct kunit *test)
{
	unsigned int v;
	u8 c;

	for (v = 0; v < 256; v++) {
		c = v;
		KUNIT_EXPECT_EQ(test, migdb_claim_return(&c), known(v));
		KUNIT_EXPECT_EQ(test, c, known(v) ? MIGDB_CLAIM_RETURNED : v);
	}
}

static void claim_sent(struct kunit *test)
{
	unsigned int v;
	u8 c;

	for (v = 0; v < 256; v++) {
		c = v;
		KUNIT_EXPECT_EQ(test, migdb_claim_is_sent(&c), !known(v));
		KUNIT_EXPECT_EQ(test, c, v);
		migdb_claim_sent(&c);
		KUNIT_EXPECT_EQ(test, c, MIGDB_CLAIM_SENT);
		KUNIT_EXPECT_TRUE(test, migdb_claim_is_sent(&c));
	}
}

/* HOLD alone takes a page from the stream again, which can claim it anew. */
static void claim_revert(struct kunit *test)
{
	unsigned int v;
	u8 c;

	for (v = 0; v < 256; v++) {
		c = v;
		migdb_claim_revert(&c);
		KUNIT_EXPECT_EQ(test, c, MIGDB_CLAIM_RETURNED);
		KUNIT_EXPECT_FALSE(test, migdb_claim_is_sent(&c));
		migdb_claim_sent(&c);
		KUNIT_EXPECT_TRUE(test, migdb_claim_is_sent(&c));
	}
}

/* Whatever is tried on a page of the stream, it stays the stream's. */
static void claim_sticky(struct kunit *test)
{
	struct test_rng rng = { .state = 3 };
	u8 c = MIGDB_CLAIM_SENT;
	int i;

	for (i = 0; i < 1000; i++) {
		bool moved;

		switch (test_rng_below(&rng, 4)) {
		case 0:
			moved = migdb_claim_todo(&c);
			break;
		case 1:
			moved = migdb_claim_busy(&c);
			break;
		case 2:
			moved = migdb_claim_done(&c);
			break;
		default:
			moved = migdb_claim_return(&c);
		}
		KUNIT_ASSERT_FALSE(test, moved);
		KUNIT_ASSERT_EQ(test, c, MIGDB_CLAIM_SENT);
	}
}

static void claim_life(struct kunit *test)
{
	u8 c = MIGDB_CLAIM_NONE;

	KUNIT_EXPECT_TRUE(test, migdb_claim_todo(&c));
	/* a second record for it */
	KUNIT_EXPECT_FALSE(test, migdb_claim_todo(&c));
	KUNIT_EXPECT_TRUE(test, migdb_claim_busy(&c));
	/* a second fill of it */
	KUNIT_EXPECT_FALSE(test, migdb_claim_busy(&c));
	KUNIT_EXPECT_TRUE(test, migdb_claim_done(&c));
	/* revoked after it was built: not built again */
	KUNIT_EXPECT_TRUE(test, migdb_claim_return(&c));
	KUNIT_EXPECT_FALSE(test, migdb_claim_todo(&c));
	KUNIT_EXPECT_FALSE(test, migdb_claim_busy(&c));
	KUNIT_EXPECT_TRUE(test, migdb_claim_return(&c));
	KUNIT_EXPECT_EQ(test, c, MIGDB_CLAIM_RETURNED);
}

static struct kunit_case claim_cases[] = {
	KUNIT_CASE_PARAM(claim_step, step_gen_params),
	KUNIT_CASE(claim_return),
	KUNIT_CASE(claim_sent),
	KUNIT_CASE(claim_revert),
	KUNIT_CASE(claim_sticky),
	KUNIT_CASE(claim_life),
	{}
};

static struct kunit_suite claim_suite = {
	.name = "migdb_claim",
	.test_cases = claim_cases,
};

kunit_test_suite(claim_suite);
