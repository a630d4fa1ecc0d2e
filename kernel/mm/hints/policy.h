/* SPDX-License-Identifier: GPL-2.0 */
/* What the rest of the module asks of policies. */
#ifndef MM_HINTS_POLICY_H
#define MM_HINTS_POLICY_H

#include <linux/types.h>

/* @nr_expelled: since the module was loaded; the rest: in the last migration. */
struct mhint_policy_stats {
	u64 nr_runs;
	u64 ns;
	u64 max_ns;
	u64 nr_expelled;
};

int mhint_policy_init(void);
bool mhint_policy_start(u64 generation, u64 nr_valid, u64 classes);
int mhint_policy_leaf(void *ctx, u64 leaf_frame, __le64 *leaf);
bool mhint_policy_complete(void);
int mhint_policy_reset_leaf(void *ctx, u64 leaf_frame, __le64 *leaf);
ssize_t mhint_policy_show_name(char *buf);
ssize_t mhint_policy_show_state(char *buf);
void mhint_policy_get_stats(struct mhint_policy_stats *stats);

#endif
