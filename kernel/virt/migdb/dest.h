/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Destination side.  The kernel's own state of a page (the claim bytes belong to
 * the VMM as much as to us):
 *
 *	NONE --record--> TODO --block verified, written--> DONE
 *	TODO --error, late, dropped--> RETURNED		DONE --revoke--> RETURNED
 *	TODO --stream was first--> SENT
 *	TODO --claim--> BUSY --written--> DONE		while fill_sem is held for reading
 *	RETURNED --there is no source any more--> TODO	post-copy: MIGDB_DEADLINE_NEVER,
 *							if it was RETURNED after the switch
 *
 * TODO and BUSY pages are also in @todo, pages to report in @built and @returned; all
 * under dest.lock.  A page is written only by a worker that holds fill_sem for
 * reading and has made the claim; holding it for writing means that no fill is in
 * flight.  Verification happens before, outside of both.
 */
#ifndef _MIGDB_DEST_H
#define _MIGDB_DEST_H

#include <linux/llist.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "hbitmap.h"
#include "internal.h"
#include "io_shape.h"

struct file;
struct migdb_fetch;
struct migdb_placer;

enum migdb_page_state {
	MIGDB_PAGE_NONE,
	MIGDB_PAGE_TODO,
	MIGDB_PAGE_DONE,
	MIGDB_PAGE_SENT,
	MIGDB_PAGE_RETURNED,
	MIGDB_PAGE_BUSY,
	/*
	 * RETURNED, and told apart by nobody but migdb_fault_again(): after the switch,
	 * because of storage or memory, which can be better the next time.
	 */
	MIGDB_PAGE_RETURNED_LATELY,
};

/* How pages are written, see fetch_place.c. */
enum migdb_place_how {
	MIGDB_PLACE_COPY,
	MIGDB_PLACE_HELD,
	MIGDB_PLACE_ATOMIC,
	MIGDB_PLACE_OVER,	/* none is wanted any more */
};

/*
 * A run of a RECORDS frame.  Small, because with scattered guest memory there is
 * one for each recorded page: see MIGDB_SET_BATCH_PAGES.
 */
struct migdb_fetch_run {
	u64 where;
	u32 index;	/* below MIGDB_MAX_PAGES */
	u16 nr;
	u16 tag;	/* first of its tags in the chunk */
};

/* One RECORDS frame; freed when its last run is through.  nr_users: dest.lock. */
struct migdb_chunk {
	struct list_head node;
	struct list_head alive;	/* until it is freed */
	u32 bytes;
	u32 nr_users;
	u32 nr_runs;
	u32 next_run;
	__le64 *tags;
	struct migdb_fetch_run runs[];
};

struct migdb_dest {
	struct rw_semaphore fill_sem;
	u32 place;			/* fill_sem: enum migdb_place_how */
	struct mutex lock;		/* guards what follows */
	/* lock: */
	u8 *page;			/* state | reason << 3 */
	struct list_head chunks;	/* still to be read, in disk order */
	struct list_head alive;		/* these, and those that reads refer to */
	struct migdb_hbitmap todo;
	struct migdb_hbitmap built;
	struct migdb_hbitmap returned;
	bool drained_due;
	bool finish_seen;
	u32 given_up;			/* reason: nothing more is to be built */
	u32 nr_disks_missing;
	u8 disk[MIGDB_MAX_DISKS];	/* source's disk -> ours + 1 */
	u64 nr_recorded, nr_done;
	atomic64_t chunk_bytes;		/* records that are not through */
	atomic_t nr_chunks;
	wait_queue_head_t todo_wait;	/* todo became empty */

	u8 *claims;			/* in the session's map */
	struct migdb_fetch *fetch;
	struct migdb_placer *placer;	/* rx_lock: made by HOLD, there until the end */
};

/* Both under dest.lock, or unlocked by who looks again under it. */
static inline u32 migdb_page_state(const struct migdb_dest *d, u64 index)
{
	u32 state = d->page[index] & 7;

	return state == MIGDB_PAGE_RETURNED_LATELY ? MIGDB_PAGE_RETURNED : state;
}

static inline bool migdb_page_returned_lately(const struct migdb_dest *d, u64 index)
{
	return (d->page[index] & 7) == MIGDB_PAGE_RETURNED_LATELY;
}

/* With fill_sem or without: who writes a page looks again under it. */
static inline u32 migdb_place_how(const struct migdb_dest *d)
{
	return smp_load_acquire(&d->place);	/* ATOMIC: there is a placer */
}

static inline void migdb_page_set(struct migdb_dest *d, u64 index, u32 state, u32 reason)
{
	d->page[index] = state | reason << 3;
}

/* dest.c */
u64 migdb_dest_need_bytes(u64 nr_pages);
int migdb_dest_create(struct migdb_session *s);
void migdb_dest_destroy(struct migdb_session *s);
void migdb_dest_return_locked(struct migdb_session *s, u64 index, u32 reason);
int migdb_dest_range(struct migdb_session *s, u64 first, u64 count, bool sent);
void migdb_dest_give_up(struct migdb_session *s, u32 reason);
int migdb_dest_drain(struct migdb_session *s, struct migdb_drain *arg);
int migdb_dest_complete(struct migdb_session *s, u64 *missing);

/* dest_stream.c */
int migdb_dest_hello(struct migdb_session *s, const struct migdb_frame *f);
int migdb_dest_rx(struct migdb_session *s, const struct migdb_frame *f);
int migdb_dest_tx(struct migdb_session *s);
bool migdb_dest_tx_pending(struct migdb_session *s);

/* What fetch.c does to pages. */
bool migdb_dest_wanted(struct migdb_dest *d, u64 index);
void migdb_dest_return(struct migdb_session *s, u64 index, u32 reason);
void migdb_dest_todo_clear(struct migdb_dest *d, u64 index);
void migdb_chunk_free(struct migdb_dest *d, struct migdb_chunk *c);
void migdb_chunk_put(struct migdb_dest *d, struct migdb_chunk *c);

/* fetch_place.c */
bool migdb_place_settled(struct migdb_session *s, u64 index);

/* postcopy.c */
int migdb_dest_hold(struct migdb_session *s, struct migdb_hold *arg,
		    struct migdb_hold __user *uarg);
int migdb_dest_postcopy(struct migdb_session *s, struct migdb_postcopy *arg);
void migdb_postcopy_over(struct migdb_session *s);
void migdb_postcopy_stop(struct migdb_session *s);
void migdb_postcopy_free(struct migdb_session *s);
bool migdb_postcopy_supported(void);

/* fault.c */
int migdb_dest_fault(struct migdb_session *s, struct migdb_fault *arg);
void migdb_fault_stats(struct migdb_session *s, struct migdb_stats *out);

/* fetch.c */
u64 migdb_fetch_need_bytes(void);
int migdb_fetch_create(struct migdb_session *s);
void migdb_fetch_stop(struct migdb_session *s);
void migdb_fetch_free(struct migdb_session *s);
void migdb_fetch_kick(struct migdb_session *s);
void migdb_fetch_lane(void *ctx, unsigned int lane);
void migdb_fetch_set_rate(u64 bytes_per_s);
u64 migdb_fetch_rate(void);
void migdb_fetch_limit_rate(struct migdb_session *s, u64 bytes_per_s);
extern u64 migdb_max_inflight_bytes;
extern atomic_t migdb_nr_fetchers;
int migdb_fetch_init(void);
void migdb_fetch_exit(void);

#endif /* _MIGDB_DEST_H */
