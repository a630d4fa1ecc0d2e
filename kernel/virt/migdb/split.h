/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who brings what is left of the construct set: storage, from the front of the
 * list, or the link, from its end.  Arithmetic on a clock that is handed in; why it
 * is so is in Documentation/virt/migdb/adaptive.rst.
 */
#ifndef _MIGDB_SPLIT_H
#define _MIGDB_SPLIT_H

#include <linux/types.h>
#include "limits.h"

/* Pages per second, as of the last MIGDB_METER_NS or so. */
struct migdb_meter {
	u64 per_s;
	u64 seen_ns;		/* measured so far, at most MIGDB_METER_NS */
	u64 last_ns;		/* what comes next counts from here on; 0: not begun */
};

/* What follows is measured from @now_ns on: time before it does not count. */
void migdb_meter_begin(struct migdb_meter *m, u64 now_ns);
/* @pages since the last call; 0 says that time has passed and nothing came. */
void migdb_meter_add(struct migdb_meter *m, u64 pages, u64 now_ns);

/*
 * A list with two ends: the hasher goes from the front, the taker from the back,
 * until they meet; then the taker goes on among what is hashed.
 */
struct migdb_ends {
	u64 head;		/* next to be hashed */
	u64 tail;		/* one behind the last that was not taken, nor passed over */
};

static inline void migdb_ends_init(struct migdb_ends *e, u64 nr)
{
	e->head = 0;
	e->tail = nr;
}

/* What the hasher still has to look at. */
static inline u64 migdb_ends_unhashed(const struct migdb_ends *e)
{
	return e->tail > e->head ? e->tail - e->head : 0;
}

struct migdb_split {
	struct migdb_meter build;	/* the destination's, by what it confirms */
	struct migdb_meter send;	/* what the link has to spare */
	u64 last;			/* pages that were taken last, and are on their way */
	u64 most;			/* no more than that next; see migdb_split_taken() */
};

/* The destination has confirmed @pages. */
void migdb_split_built(struct migdb_split *s, u64 pages, u64 now_ns);
/*
 * The sender has nothing to send: how many of the @left pages it shall take, at
 * most @max.  As many as the link carries until storage has brought the others;
 * never so many that the rates may be others when they are through.  0: storage
 * has all of them sooner than the link has one.
 */
u64 migdb_split_share(struct migdb_split *s, u64 left, u64 max, u64 now_ns);
/*
 * @pages of them were taken, and are on their way from now on.  The next time it may
 * be twice as many: buffers on the way swallow the first ones at any rate.
 */
void migdb_split_taken(struct migdb_split *s, u64 pages, u64 now_ns);

#endif /* _MIGDB_SPLIT_H */
