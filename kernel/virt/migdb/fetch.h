/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reads and the lanes that make them: what fetch.c (bulk), fault.c (pages that the
 * guest waits for) and fetch_place.c (what becomes of a block) have in common.
 */
#ifndef _MIGDB_FETCH_H
#define _MIGDB_FETCH_H

#include <linux/fs.h>
#include <linux/bvec.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include "dest.h"
#include "throttle.h"

/* In post-copy this lane reads what the guest waits for and nothing else. */
#define MIGDB_FAULT_LANE	(MIGDB_NR_LANES - 1)
/* And this one everything else: little at a time. */
#define MIGDB_BULK_LANE		0

/* Pages of a run that a read is for. */
struct migdb_target {
	struct migdb_chunk *chunk;
	const struct migdb_fetch_run *run;
	u16 from, nr;
};

struct migdb_io {
	struct kiocb iocb;
	struct llist_node done;
	struct list_head free;
	struct migdb_fetch_lane *lane;
	struct migdb_io_shape shape;
	long ret;
	u64 submit_ns;
	u32 fault;		/* slot + 1 of the page that is waited for; 0: none is */
	u32 nr_targets;
	u32 nr_pages;		/* bounce pages that are there */
	struct migdb_target target[MIGDB_IO_MAX_PAGES];
	struct bio_vec bvec[MIGDB_IO_MAX_PAGES];
};

struct migdb_fetch_lane {
	struct migdb_session *s;
	unsigned int nr;
	struct llist_head done;
	/*
	 * One run of the lane at a time: while a virtqueue changes workers, or
	 * a killed worker ends, two contexts can have its work.
	 */
	struct mutex lock;
	struct list_head free;		/* lock */
	struct migdb_io *held;		/* lock: planned, waits for a limit */
	bool held_turn;			/* lock: @held has taken its bytes from the rate */
	u32 held_gen;			/* lock: the operator's rate that it waits for */
	u64 held_taken;			/* lock: its turn, see migdb_bucket_wait() */
	struct work_struct reap;	/* worker gone */
	struct delayed_work retry;	/* a limit may allow it now */
	u32 depth;			/* lock: ios there are, at most MIGDB_LANE_DEPTH */
	u32 inflight;			/* lock: of them, being read */
};

struct migdb_fetch {
	bool dying;
	spinlock_t rate_lock;		/* lanes share a bucket */
	struct migdb_bucket rate;	/* rate_lock: this session's share */
	u32 rate_gen;			/* rate_lock */
	atomic_t nr_inflight;
	wait_queue_head_t idle_wait;
	struct migdb_fetch_lane lane[MIGDB_NR_LANES];
};

/*
 * fetch_place.c: verify the pages of one target and write them, or give them back.
 * False: not now (MIGDB_PLACE_HELD); come again with the same target when kicked.
 */
bool migdb_place_target(struct migdb_io *io, const struct migdb_target *t);

/* fault.c: under lane.lock of the fault lane. */
bool migdb_fault_plan(struct migdb_session *s, struct migdb_io *io);
void migdb_fault_over(struct migdb_session *s, struct migdb_io *io);

#endif /* _MIGDB_FETCH_H */
