// SPDX-License-Identifier: GPL-2.0
/* Pure: cutting leaf pages into runs, for a policy to decide on. */
#include <linux/types.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "entry.h"
#include "runs.h"

static bool backed(u64 entry)
{
	return mhint_entry_valid(entry) &&
	       mhint_entry_class(entry) == MEM_HINT_CLASS_BACKED;
}

/**
 * mhint_run_next - the next run of a leaf page
 * @leaf: its 512 entries
 * @leaf_frame: frame of the first one
 * @from: slot to begin at
 * @run: filled in, but for @run->dev
 *
 * Only entries of class backed are in runs, so that what was decided once is
 * not asked again.
 *
 * Return: slot of the run's first entry; MEM_HINT_SLOTS: there is none.
 */
u32 mhint_run_next(const __le64 *leaf, u64 leaf_frame, u32 from,
		   struct mem_hint_run *run)
{
	u32 i, first = from;
	u64 entry = 0;

	for (; first < MEM_HINT_SLOTS; first++) {
		entry = le64_to_cpu(leaf[first]);
		if (backed(entry))
			break;
	}
	if (first == MEM_HINT_SLOTS)
		return first;

	memset(run, 0, sizeof(*run));
	run->frame = leaf_frame + first;
	run->block = mhint_entry_block(entry);
	run->disk = mhint_entry_disk(entry);
	run->class = mhint_entry_class(entry);
	for (i = first + 1; i < MEM_HINT_SLOTS; i++) {
		entry = le64_to_cpu(leaf[i]);
		if (!backed(entry) || mhint_entry_disk(entry) != run->disk ||
		    mhint_entry_block(entry) != run->block + (i - first))
			break;
	}
	run->nr = i - first;
	return first;
}

static void set_class(__le64 *slot, u32 class)
{
	u64 entry = le64_to_cpu(*slot);

	entry &= ~(MEM_HINT_CLASS_MASK << MEM_HINT_CLASS_SHIFT);
	entry |= (u64)class << MEM_HINT_CLASS_SHIFT;
	WRITE_ONCE(*slot, cpu_to_le64(entry));
}

/**
 * mhint_run_apply - do as was decided
 * @leaf: the page that the run is in
 * @slot: first entry of the run
 * @nr: entries
 * @decision: enum mem_hint_decision, or whatever a program returned
 * @classes: that the host agrees to, as bits
 *
 * What is hot is backed for a host that does not know better, as for processes.
 *
 * Return: entries changed, or -EINVAL: that is no decision, nothing is done.
 */
int mhint_run_apply(__le64 *leaf, u32 slot, u32 nr, int decision, u64 classes)
{
	u32 i, class;

	switch (decision) {
	case MEM_HINT_DECIDE_DEFAULT:
	case MEM_HINT_DECIDE_BUILD:
		return 0;
	case MEM_HINT_DECIDE_HOT:
		if (!(classes & 1ULL << MEM_HINT_CLASS_HOT))
			return 0;
		class = MEM_HINT_CLASS_HOT;
		break;
	case MEM_HINT_DECIDE_OMIT:
		class = MHINT_CLASS_OMITTED;
		break;
	default:
		return -EINVAL;
	}
	for (i = slot; i < slot + nr; i++)
		set_class(&leaf[i], class);
	return nr;
}

/**
 * mhint_leaf_reset - forget what was decided
 * @leaf: a leaf page
 *
 * Return: entries changed.
 */
u32 mhint_leaf_reset(__le64 *leaf)
{
	u32 i, nr = 0;

	for (i = 0; i < MEM_HINT_SLOTS; i++) {
		u64 entry = le64_to_cpu(leaf[i]);
		u32 class = mhint_entry_class(entry);

		if (!mhint_entry_valid(entry) ||
		    (class != MEM_HINT_CLASS_HOT && class != MHINT_CLASS_OMITTED))
			continue;
		set_class(&leaf[i], MEM_HINT_CLASS_BACKED);
		nr++;
	}
	return nr;
}

/**
 * mhint_spend - account a call
 * @spent: added to
 * @ns: how long it took
 * @slack_ns: what a policy may use in any case
 * @run_ns: and for each run that it was asked about
 *
 * Return: false if that is more than it may.
 */
bool mhint_spend(struct mhint_spent *spent, u64 ns, u64 slack_ns, u64 run_ns)
{
	spent->ns += ns;
	if (ns > spent->max_ns)
		spent->max_ns = ns;
	return spent->ns <= slack_ns + spent->runs * run_ns;
}
