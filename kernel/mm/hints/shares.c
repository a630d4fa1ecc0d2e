// SPDX-License-Identifier: GPL-2.0
/* Pure: shares of what there is once, and turns. */
#include <linux/types.h>
#include <linux/errno.h>

#include "limits.h"
#include "shares.h"

/**
 * mhint_share_check - may a user have more of something?
 * @max: how much there is
 * @used: of it by all
 * @mine: of that by the user
 * @more: that the user wants
 * @privileged: may have all that is left
 *
 * Return: 0; -EDQUOT: it would be more than a user's share; -ENOSPC: there is not
 * so much left, or only what is kept for who is privileged.
 */
int mhint_share_check(u32 max, u32 used, u32 mine, u32 more, bool privileged)
{
	u32 most = max;

	if (!privileged) {
		if (more > max / MHINT_USER_SHARE ||
		    mine > max / MHINT_USER_SHARE - more)
			return -EDQUOT;
		most -= max / MHINT_RESERVED_SHARE;
	}
	return more > most || used > most - more ? -ENOSPC : 0;
}

/**
 * mhint_turns_group - put members of a user together
 * @turns: room for @nr
 * @users: of each member, sorted
 * @nr: of members
 *
 * Return: how many users there are.
 */
u32 mhint_turns_group(struct mhint_turns *turns, const u32 *users, u32 nr)
{
	u32 i, n = 0;

	for (i = 0; i < nr; i++) {
		if (!i || users[i] != users[i - 1])
			turns[n++] = (struct mhint_turns){ .first = i };
		turns[n - 1].nr++;
		turns[n - 1].left++;
	}
	return n;
}

/**
 * mhint_turns_next - whose turn it is
 * @t: of a user; @t->asked is set to 0 when a round begins
 * @member: its number
 *
 * Return: false: all have had a turn in this round.
 */
bool mhint_turns_next(struct mhint_turns *t, u32 *member)
{
	if (t->asked == t->nr)
		return false;
	t->asked++;
	*member = t->first + t->next;
	t->next = (t->next + 1) % t->nr;
	return true;
}
