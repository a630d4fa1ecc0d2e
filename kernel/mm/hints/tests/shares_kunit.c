// SPDX-License-Identifier: GPL-2.0
/* KUnit: shares of what there is once, and turns. */
#include <kunit/test.h>

#include "../limits.h"
#include "../shares.h"

#define MAX 1000

static void share_of_user(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 0, 0, 250, false), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 0, 0, 251, false), -EDQUOT);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 249, 1, false), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 250, 1, false), -EDQUOT);
	/* One who had a privilege has more than a share: */
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 400, 0, false), -EDQUOT);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 400, 1, false), -EDQUOT);
	/* Nothing wraps around. */
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 1, U32_MAX, false), -EDQUOT);
}

static void share_of_all(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 700, 0, 50, false), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 700, 0, 51, false), -ENOSPC);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 750, 0, 1, false), -ENOSPC);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, MAX, 0, 1, false), -ENOSPC);
	/* Three users with their shares leave what is kept. */
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 500, 0, 250, false), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 750, 0, 250, true), 0);
}

static void share_of_privileged(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 0, 0, MAX, true), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 0, 0, MAX + 1, true), -ENOSPC);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 999, 999, 1, true), 0);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, MAX, 0, 1, true), -ENOSPC);
	KUNIT_EXPECT_EQ(test, mhint_share_check(MAX, 1, 1, U32_MAX, true), -ENOSPC);
}

/* As it is used: what one process may say is within the share of its user. */
static void share_fits_limits(struct kunit *test)
{
	KUNIT_EXPECT_LE(test, MHINT_MAX_FILES, MHINT_MAX_FILES_ALL / MHINT_USER_SHARE);
	KUNIT_EXPECT_LE(test, 3 * MHINT_MAX_SPANS, MHINT_MAX_SPANS_ALL / MHINT_USER_SHARE);
	KUNIT_EXPECT_LT(test, MHINT_MAX_READY / MHINT_USER_SHARE,
			MHINT_MAX_READY - MHINT_MAX_READY / MHINT_RESERVED_SHARE);
}

static void turns_group(struct kunit *test)
{
	static const u32 users[] = { 0, 0, 0, 7, 9, 9 };
	struct mhint_turns t[6];

	KUNIT_EXPECT_EQ(test, mhint_turns_group(t, users, 0), 0);
	KUNIT_ASSERT_EQ(test, mhint_turns_group(t, users, 6), 3);
	KUNIT_EXPECT_EQ(test, t[0].first, 0);
	KUNIT_EXPECT_EQ(test, t[0].nr, 3);
	KUNIT_EXPECT_EQ(test, t[0].left, 3);
	KUNIT_EXPECT_EQ(test, t[1].first, 3);
	KUNIT_EXPECT_EQ(test, t[1].nr, 1);
	KUNIT_EXPECT_EQ(test, t[2].first, 4);
	KUNIT_EXPECT_EQ(test, t[2].nr, 2);
}

/* A turn that was cut short goes on where it stopped; nobody is passed over. */
static void turns_go_round(struct kunit *test)
{
	static const u32 users[] = { 5, 6, 6, 6 };
	struct mhint_turns t[4];
	u32 member = 77, i;

	KUNIT_ASSERT_EQ(test, mhint_turns_group(t, users, 4), 2);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_TRUE(test, mhint_turns_next(&t[1], &member));
		KUNIT_EXPECT_EQ(test, member, 1 + i);
	}
	KUNIT_EXPECT_FALSE(test, mhint_turns_next(&t[1], &member));
	t[1].asked = 0;
	KUNIT_EXPECT_TRUE(test, mhint_turns_next(&t[1], &member));
	KUNIT_EXPECT_EQ(test, member, 1);
	t[1].asked = 0;
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_TRUE(test, mhint_turns_next(&t[1], &member));
		KUNIT_EXPECT_EQ(test, member, 1 + (1 + i) % 3);
	}
	KUNIT_EXPECT_FALSE(test, mhint_turns_next(&t[1], &member));
}

static struct kunit_case shares_cases[] = {
	KUNIT_CASE(share_of_user),
	KUNIT_CASE(share_of_all),
	KUNIT_CASE(share_of_privileged),
	KUNIT_CASE(share_fits_limits),
	KUNIT_CASE(turns_group),
	KUNIT_CASE(turns_go_round),
	{}
};

static struct kunit_suite shares_suite = {
	.name = "mem_hints_shares",
	.test_cases = shares_cases,
};

kunit_test_suite(shares_suite);
