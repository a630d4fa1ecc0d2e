// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite of fsm.c.  The tables here say the same as enum migdb_state, in
 * another form: a letter per state, in the order of the enum.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include "../fsm.h"
#include "test_util.h"

static const char letters[] = "?IATSFDXOHP";	/* X: done, O: aborted */

#define NR_STATES	11

struct cmd_case {
	const char *name;
	unsigned int cmd;
	const char *allowed;
};

#define CMD(_cmd, _allowed)	{ #_cmd, MIGDB_CMD_##_cmd, _allowed }

static const struct cmd_case cmd_cases[] = {
	CMD(GET_INFO, "IATSFDXOHP"),
	CMD(SET_DISK, "I"),
	CMD(SET_GUEST_TABLE, "I"),
	CMD(BIND_KVM, "I"),
	CMD(START, "I"),
	CMD(ARMED, "AT"),
	CMD(SNAPSHOT, "A"),
	CMD(HASH, "T"),
	CMD(DIRTY, "AT"),
	CMD(HARVEST, "AT"),
	CMD(INVALIDATE, "ATFDHP"),
	CMD(DEQUEUE, "ATSXO"),
	CMD(RECLAIM, "TS"),
	CMD(SEAL, "T"),
	CMD(CLAIM, "FDXOHP"),
	CMD(DRAIN, "FH"),
	CMD(COMPLETE, "SDOP"),
	CMD(ABORT, "ATSFDOHP"),
	CMD(STATS, "IATSFDXOHP"),
	CMD(TAKE, "TS"),
	CMD(HOLD, "FH"),
	CMD(POSTCOPY, "H"),
	CMD(FAULT, "XOP"),
	CMD(REQUEST, "S"),
};

static void cmd_desc(const struct cmd_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(cmd, cmd_cases, cmd_desc);

static bool is_in(const char *set, unsigned int state)
{
	return strchr(set, letters[state]);
}

static void fsm_allows(struct kunit *test)
{
	const struct cmd_case *c = test->param_value;
	unsigned int state;

	for (state = 0; state < NR_STATES; state++) {
		int want = -EBUSY;

		if (is_in(c->allowed, state))
			want = 0;
		else if (state == MIGDB_STATE_ABORTED && strpbrk(c->allowed, "ATSFDHP"))
			want = -ECANCELED;
		KUNIT_EXPECT_EQ_MSG(test, migdb_fsm_allows(state, c->cmd), want, "in state %s",
				    migdb_state_str(state));
	}
	KUNIT_EXPECT_EQ(test, migdb_fsm_allows(NR_STATES, c->cmd), -EBUSY);
	KUNIT_EXPECT_EQ(test, migdb_fsm_allows(-1, c->cmd), -EBUSY);
}

static void fsm_all_commands(struct kunit *test)
{
	unsigned int i;

	/* none forgotten above, and their order is the ABI's */
	KUNIT_ASSERT_EQ(test, ARRAY_SIZE(cmd_cases), (size_t)(MIGDB_CMD_END - MIGDB_CMD_BASE));
	for (i = 0; i < ARRAY_SIZE(cmd_cases); i++)
		KUNIT_EXPECT_EQ(test, cmd_cases[i].cmd, MIGDB_CMD_BASE + i);
	for (i = 0; i < NR_STATES + 1; i++) {
		KUNIT_EXPECT_EQ(test, migdb_fsm_allows(i, MIGDB_CMD_BASE - 1), -ENOTTY);
		KUNIT_EXPECT_EQ(test, migdb_fsm_allows(i, MIGDB_CMD_END), -ENOTTY);
		KUNIT_EXPECT_EQ(test, migdb_fsm_allows(i, ~0u), -ENOTTY);
	}
}

struct arc {
	const char *name;
	enum migdb_event ev;
	const char *from, *to;
};

static const struct arc arcs[] = {
	{ "start source", MIGDB_EV_START_SOURCE, "I", "A" },
	{ "start dest", MIGDB_EV_START_DEST, "I", "F" },
	{ "snapshot", MIGDB_EV_SNAPSHOT, "A", "T" },
	{ "seal", MIGDB_EV_SEAL, "T", "S" },
	{ "drain", MIGDB_EV_DRAIN, "FH", "DD" },
	{ "hold", MIGDB_EV_HOLD, "FH", "HH" },
	{ "postcopy", MIGDB_EV_POSTCOPY, "H", "P" },
	{ "complete", MIGDB_EV_COMPLETE, "SDOP", "XXOX" },
	{ "abort", MIGDB_EV_ABORT, "ATSFDOHP", "OOOOOOOO" },
};

static void arc_desc(const struct arc *a, char *desc)
{
	strscpy(desc, a->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(arc, arcs, arc_desc);

static void fsm_next(struct kunit *test)
{
	const struct arc *a = test->param_value;
	unsigned int state;

	for (state = 0; state < NR_STATES; state++) {
		const char *at = strchr(a->from, letters[state]);
		int next = migdb_fsm_next(state, a->ev);

		if (!at) {
			KUNIT_EXPECT_EQ_MSG(test, next, -EBUSY, "from %s", migdb_state_str(state));
			continue;
		}
		KUNIT_ASSERT_GT(test, next, 0);
		KUNIT_EXPECT_EQ_MSG(test, letters[next], a->to[at - a->from], "from %s",
				    migdb_state_str(state));
	}
	KUNIT_EXPECT_EQ(test, migdb_fsm_next(NR_STATES, a->ev), -EBUSY);
}

static void fsm_bad_event(struct kunit *test)
{
	unsigned int state;

	KUNIT_EXPECT_EQ(test, ARRAY_SIZE(arcs), (size_t)MIGDB_NR_EVENTS);
	for (state = 0; state < NR_STATES; state++) {
		KUNIT_EXPECT_EQ(test, migdb_fsm_next(state, MIGDB_NR_EVENTS), -EBUSY);
		KUNIT_EXPECT_EQ(test, migdb_fsm_next(state, -1), -EBUSY);
	}
}

/* Nothing leads out of an end, and every state but INVALID can be reached. */
static void fsm_reach(struct kunit *test)
{
	u32 seen = BIT(MIGDB_STATE_IDLE), before;
	unsigned int state, ev;

	do {
		before = seen;
		for (state = 0; state < NR_STATES; state++) {
			for (ev = 0; ev < MIGDB_NR_EVENTS && seen & BIT(state); ev++) {
				int next = migdb_fsm_next(state, ev);

				if (next > 0)
					seen |= BIT(next);
			}
		}
	} while (seen != before);
	KUNIT_EXPECT_EQ(test, seen, GENMASK(MIGDB_STATE_POSTCOPY, MIGDB_STATE_IDLE));
	for (ev = 0; ev < MIGDB_NR_EVENTS; ev++) {
		int next = migdb_fsm_next(MIGDB_STATE_ABORTED, ev);

		KUNIT_EXPECT_EQ(test, migdb_fsm_next(MIGDB_STATE_DONE, ev), -EBUSY);
		KUNIT_EXPECT_TRUE(test, next == -EBUSY || next == MIGDB_STATE_ABORTED);
	}
}

static void check_names(struct kunit *test, const char *(*name)(unsigned int), unsigned int nr)
{
	unsigned int i, k;

	for (i = 0; i < nr; i++) {
		KUNIT_ASSERT_NOT_NULL(test, name(i));
		KUNIT_EXPECT_GT(test, strlen(name(i)), (size_t)0);
		/* they are part of sysfs, of JSON and of trace output */
		KUNIT_EXPECT_EQ(test, strspn(name(i), "abcdefghijklmnopqrstuvwxyz_"),
				strlen(name(i)));
		for (k = 0; k < i; k++)
			KUNIT_EXPECT_STRNEQ(test, name(i), name(k));
	}
	KUNIT_EXPECT_STREQ(test, name(nr), "unknown");
	KUNIT_EXPECT_STREQ(test, name(~0u), "unknown");
}

static void fsm_names(struct kunit *test)
{
	check_names(test, migdb_state_str, NR_STATES);
	check_names(test, migdb_reason_str, MIGDB_NR_REASONS);
}

static struct kunit_case fsm_cases[] = {
	KUNIT_CASE_PARAM(fsm_allows, cmd_gen_params),
	KUNIT_CASE(fsm_all_commands),
	KUNIT_CASE_PARAM(fsm_next, arc_gen_params),
	KUNIT_CASE(fsm_bad_event),
	KUNIT_CASE(fsm_reach),
	KUNIT_CASE(fsm_names),
	{}
};

static struct kunit_suite fsm_suite = {
	.name = "migdb_fsm",
	.test_cases = fsm_cases,
};

kunit_test_suite(fsm_suite);
