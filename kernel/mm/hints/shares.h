/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pure: what is there once for the whole guest is shared between users, and how
 * the time of a snapshot is.
 */
#ifndef MM_HINTS_SHARES_H
#define MM_HINTS_SHARES_H

#include <linux/types.h>

/* What there is a bounded number of for all users together. */
enum mhint_budget {
	MHINT_BUDGET_PROCESSES,
	MHINT_BUDGET_FILES,
	MHINT_BUDGET_SPANS,
	MHINT_BUDGET_READERS,	/* that START waits for */
	MHINT_NR_BUDGETS,
};

int mhint_share_check(u32 max, u32 used, u32 mine, u32 more, bool privileged);

/**
 * struct mhint_turns - members of one user, which take turns
 * @first: number of the first one; the others follow it.
 * @nr: of them.
 * @next: offset of whose turn it is.
 * @left: how many have something left to do.
 * @asked: of the members, in this round.
 */
struct mhint_turns {
	u32 first;
	u32 nr;
	u32 next;
	u32 left;
	u32 asked;
};

u32 mhint_turns_group(struct mhint_turns *turns, const u32 *users, u32 nr);
bool mhint_turns_next(struct mhint_turns *t, u32 *member);

#endif
