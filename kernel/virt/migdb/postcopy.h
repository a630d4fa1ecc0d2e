/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Post-copy at the destination: the guest runs while pages are missing, and a page
 * comes into being whole, by UFFDIO_COPY, or not at all.
 *
 * Made by MIGDB_HOLD under session.rx_lock, and there until the session is closed.
 */
#ifndef _MIGDB_POSTCOPY_H
#define _MIGDB_POSTCOPY_H

#include <linux/hrtimer.h>

#include "dest.h"
#include "latency.h"
#include "window.h"

/* A page that the guest waits for.  All of it: dest.lock. */
enum migdb_slot_state {
	MIGDB_SLOT_FREE,
	MIGDB_SLOT_QUEUED,	/* a read of its own is to be made */
	MIGDB_SLOT_READING,	/* is being made: kept until it is over, then FREE or QUEUED */
	MIGDB_SLOT_WAITING,	/* a read in bulk will bring it: nobody knows its block */
};

struct migdb_fault_slot {
	u32 index;
	u8 state;
	bool late;		/* the deadline was over before the read */
	u64 since_ns;
	u64 due_ns;		/* 0: never */
};

struct migdb_placer {
	struct migdb_session *s;
	struct file *uffd;		/* dest.fill_sem */
	/*
	 * What UFFDIO_COPY reads from: for each lane MIGDB_PLACE_ATOMIC_PAGES pages, and
	 * one for its argument.  Of its lane.lock.
	 */
	struct migdb_map *window;
	unsigned long window_uaddr;	/* set before uffd is */

	/* dest.lock: */
	bool pinned;			/* chunks stay: @runs points into them */
	struct migdb_fault_slot slot[MIGDB_FAULT_SLOTS];
	struct migdb_latency latency;

	/*
	 * First page of a run -> its chunk, sorted by @index_work; read when @indexed.
	 * Until then, and if there was no memory for it, bulk reads serve faults.
	 */
	struct migdb_cand *runs;
	u64 max_runs, nr_runs;
	bool indexed;
	struct work_struct index_work;

	struct hrtimer timer;		/* the next deadline */
	struct work_struct late_work;
};

#define MIGDB_WINDOW_PAGES	(MIGDB_PLACE_ATOMIC_PAGES + 1)

/* postcopy.c */
extern unsigned int migdb_postcopy_bulk_reads;
extern u64 migdb_postcopy_floor_us;
bool migdb_run_of_page(struct migdb_placer *pc, u64 index, struct migdb_chunk **chunk,
		       struct migdb_fetch_run **run);

/* fault.c */
void migdb_fault_init(struct migdb_placer *pc);
void migdb_fault_indexed(struct migdb_placer *pc);
void migdb_fault_stop(struct migdb_placer *pc);

#endif /* _MIGDB_POSTCOPY_H */
