/* SPDX-License-Identifier: GPL-2.0 */
/* A snapshot under way: what walk.c and snapshot.c share. */
#ifndef MM_HINTS_WALK_H
#define MM_HINTS_WALK_H

#include <linux/completion.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "limits.h"
#include "notes.h"
#include "snapshot.h"

struct mhint_file;
struct mhint_process;

#define MHINT_DESCS_PER_PAGE	(PAGE_SIZE / sizeof(u64))

enum mhint_stage {
	MHINT_STAGE_BINDS,
	MHINT_STAGE_POOLS,
	MHINT_STAGE_DISCARD,
	MHINT_STAGE_DONE,
};

/* How far an address space has been looked at; @user: as in struct mhint_mm. */
struct mhint_cursor {
	struct mm_struct *mm;
	u32 user;
	enum mhint_stage stage;
	u64 addr;	/* of ranges */
	u32 pool;	/* index */
	u64 frame;	/* of the pool */
	u32 page;	/* of the frame */
	u32 tries;	/* in a row that found the address space locked */
};

/*
 * @refs: the worker, and whoever waits for it.
 * @cancelled: nobody waits any more; set and looked at under the table's lock
 *	where it matters.
 * @late: in the list of those that nobody waits for; @ended: it has come to its end.
 *	Both under the list's lock.
 * @user: mhint_user_id() of whose turn it is.
 * @at, @nr_pages, @pages: present pages that follow each other from @at on, each
 *	with a reference.
 * @slice: until when it is this user's turn.
 * @over: it is not any more.
 * @slept: how many times the worker has, when it looked at the clock last.
 * @file, @file_id: that was asked for last, with a reference.
 * @nr_locked: processes of this round whose address space was locked.
 * @held: pages of @notes that are discardable, not the process's yet.
 */
struct mhint_walk {
	struct work_struct work;
	refcount_t refs;
	struct completion done;
	bool cancelled;
	struct list_head late;
	bool ended;
	u32 user;
	u64 classes;
	ktime_t begin, deadline, slice;
	bool over;
	unsigned long slept;
	struct mhint_snapshot_stats stats;

	struct mhint_process *p;
	u64 at;
	u32 nr_pages;
	struct page *pages[MHINT_WALK_PAGES];
	struct mhint_file *file;
	u32 file_id;
	struct list_head held;
	u64 descs[MHINT_DESCS_PER_PAGE];
	u32 steps;
	u32 nr;
	u32 nr_discard;
	u32 nr_locked;
	struct mhint_note notes[MHINT_SNAPSHOT_BATCH];
};

bool mhint_walk_mm(struct mhint_walk *w, struct mhint_cursor *c);
void mhint_walk_clock(struct mhint_walk *w);

#endif
