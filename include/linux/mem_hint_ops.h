/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory hints: what a BPF program may decide when a migration starts.
 * See Documentation/mm/mem_hints.rst, "Policy".
 */
#ifndef _LINUX_MEM_HINT_OPS_H
#define _LINUX_MEM_HINT_OPS_H

#include <linux/types.h>

#define MEM_HINT_OPS_NAME_LEN	16

/**
 * struct mem_hint_run - neighbours in memory that are neighbours on a disk
 * @frame: first guest frame.
 * @block: what it holds, sector / 8 on the whole disk; the next frames hold
 *	the next blocks.
 * @nr: frames; 1 to 512.
 * @disk: the disk's id, as in the table's entries.
 * @dev: its device number as the kernel has it, major << 20 | minor.
 * @class: enum mem_hint_class without a policy; always
 *	MEM_HINT_CLASS_BACKED so far.
 */
struct mem_hint_run {
	__u64 frame;
	__u64 block;
	__u32 nr;
	__u32 disk;
	__u32 dev;
	__u32 class;
};

/**
 * enum mem_hint_decision - what becomes of a run in this migration
 * @MEM_HINT_DECIDE_DEFAULT: what would without a policy.
 * @MEM_HINT_DECIDE_BUILD: built from storage at the destination.
 * @MEM_HINT_DECIDE_HOT: wanted there first: sent, and at once.  Where the host
 *	has not agreed to hot pages in START, the same as BUILD.
 * @MEM_HINT_DECIDE_OMIT: the host does not hear of it: sent in its turn.
 *
 * There is none that lets content be dropped: that is for its owner to say.
 */
enum mem_hint_decision {
	MEM_HINT_DECIDE_DEFAULT	= 0,
	MEM_HINT_DECIDE_BUILD	= 1,
	MEM_HINT_DECIDE_HOT	= 2,
	MEM_HINT_DECIDE_OMIT	= 3,
};

/**
 * struct mem_hint_migration - the migration that starts or is over
 * @generation: as in the table's root; tells one from another.
 * @nr_valid: entries when it started.
 * @classes: bit (1 << class) for each enum mem_hint_class that the host agreed
 *	to.
 */
struct mem_hint_migration {
	__u64 generation;
	__u64 nr_valid;
	__u64 classes;
};

/**
 * struct mem_hint_ops - a policy, implemented by BPF programs
 * @start: a migration has begun; before the first @decide.
 * @decide: asked for each run of class backed; returns enum
 *	mem_hint_decision.
 * @complete: the migration is over, here or at the destination.
 * @name: for messages and /sys/kernel/mm/hints/policy; not empty; letters,
 *	digits, ".", "_" and "-".
 *
 * At least one of the callbacks is there, none may sleep.  They are called
 * from one thread, never two at a time, under RCU.  All reads of the
 * arguments are checked; nothing of them can be written.
 *
 * The time of all calls of a migration is added up after each return.  A
 * policy that has used more than policy_slack_us, and policy_run_ns for each
 * run so far, is not called again until it is attached anew, and neither is
 * one that returns no enum mem_hint_decision; all further runs are as without
 * a policy.
 *
 * One policy at a time: attaching a second one is EBUSY, replacing one by
 * updating its link is not.  What is attached or put in place between START
 * and COMPLETE is first called at the next START.
 */
struct mem_hint_ops {
	void (*start)(const struct mem_hint_migration *migration);
	int (*decide)(const struct mem_hint_run *run);
	void (*complete)(const struct mem_hint_migration *migration);
	char name[MEM_HINT_OPS_NAME_LEN];
};

#endif /* _LINUX_MEM_HINT_OPS_H */
