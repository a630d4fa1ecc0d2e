/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: runs of a leaf page, and what a policy makes of them. */
#ifndef MM_HINTS_RUNS_H
#define MM_HINTS_RUNS_H

#include <linux/types.h>
#include <linux/mem_hint_ops.h>

/*
 * Class of a backed entry that the host is not to use in this migration: no
 * enum mem_hint_class, and what is none is ignored by readers.
 */
#define MHINT_CLASS_OMITTED	MEM_HINT_CLASS_MASK

/**
 * struct mhint_spent - what a policy has used of its time in a migration
 * @ns: so far.
 * @runs: that it was asked about.
 * @max_ns: of one call.
 */
struct mhint_spent {
	u64 ns;
	u64 runs;
	u64 max_ns;
};

u32 mhint_run_next(const __le64 *leaf, u64 leaf_frame, u32 from,
		   struct mem_hint_run *run);
int mhint_run_apply(__le64 *leaf, u32 slot, u32 nr, int decision, u64 classes);
u32 mhint_leaf_reset(__le64 *leaf);
bool mhint_spend(struct mhint_spent *spent, u64 ns, u64 slack_ns, u64 run_ns);

#endif
