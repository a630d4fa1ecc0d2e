/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Source side.  A page of the index is in one of these conditions:
 *
 *	set	recorded confirmed
 *	0	-	-	the VMM's: it sends it by its own bitmap, or has
 *	1	0	0	candidate: skipped, to be hashed
 *	1	1	0	record is in the stream
 *	1	1	1	the destination has built it
 *
 * Whoever takes a page out of the set (migdb_source_drop) decides who sends it:
 * the VMM, which brought the dirty bit, or the send queue.  If it was recorded, a
 * revoke follows in the stream, always behind the record: records enter the
 * stream under set_lock, revokes are collected under it and enter later.
 */
#ifndef _MIGDB_SOURCE_H
#define _MIGDB_SOURCE_H

#include "hbitmap.h"
#include "internal.h"
#include "split.h"
#include "table.h"
#include "window.h"

struct migdb_source {
	struct mutex hash_lock;		/* guards what follows, up to set_lock */
	/* hash_lock: */
	struct migdb_table table;
	struct migdb_table_walk *walk;
	struct migdb_windows windows;
	struct migdb_cand *cand;	/* of the present window, sorted */
	u64 cand_max;
	u64 nr_cand;
	struct migdb_ends ends;		/* of cand[]: HASH from the front, TAKE from the back */
	u64 window_first, window_end;
	bool window_due;		/* it is chosen and not in cand[] yet */
	u64 nr_left;			/* candidates not looked at yet; READ_ONCE elsewhere */
	u64 nr_bad_entries;
	u64 table_bytes;
	u8 *page;			/* copy of the page being hashed */

	struct mutex set_lock;		/* guards what follows */
	/* set_lock: */
	unsigned long *set;		/* construct-target bitmap, in the session's map */
	unsigned long *armed;
	unsigned long *recorded;
	unsigned long *confirmed;
	u64 nr_armed;
	u64 nr_unconfirmed;		/* set, recorded, not confirmed */
	struct migdb_hbitmap send;
	struct migdb_hbitmap revoke;
	struct migdb_hbitmap revoke_taken;	/* likewise, and the peer is told why */
	struct migdb_split split;	/* what MIGDB_TAKE goes by */
	bool welcomed;			/* the destination has answered */
	bool says_taken;		/* and knows MIGDB_REASON_TAKEN */
	bool finish_due;		/* SEAL: end mark follows the last revoke */
	u64 nr_named;			/* rx_lock: our pages in all lists of the destination */
	bool frozen;			/* aborted: set and queue take no more, see freeze() */

	bool no_take;			/* the operator's: READ_ONCE, WRITE_ONCE */

	struct mutex dequeue_lock;	/* outside set_lock: guards runs */
	struct migdb_run *runs;		/* MIGDB_DEQUEUE_RUNS: on their way to user space */
};

u64 migdb_source_need_bytes(u64 nr_pages);
int migdb_source_create(struct migdb_session *s);
void migdb_source_destroy(struct migdb_session *s);
void migdb_source_freeze(struct migdb_session *s);

/* source.c */
bool migdb_source_take(struct migdb_session *s, u64 index, u32 reason, bool queue, bool by_dest);
bool migdb_source_drop(struct migdb_session *s, u64 index, u32 reason, bool queue);
int migdb_source_armed(struct migdb_session *s, struct migdb_armed *arg);
int migdb_source_dirty(struct migdb_session *s, struct migdb_dirty *arg);
int migdb_source_harvest(struct migdb_session *s, u64 *harvested, u64 *queued);
int migdb_source_invalidate(struct migdb_session *s, u64 first, u64 count);
int migdb_source_dequeue(struct migdb_session *s, struct migdb_dequeue *arg,
			 struct migdb_dequeue __user *uarg);
u64 migdb_source_reclaim(struct migdb_session *s, u32 reason);
int migdb_source_request(struct migdb_session *s, struct migdb_request *arg);
int migdb_source_seal(struct migdb_session *s, struct migdb_seal *arg);
int migdb_source_complete(struct migdb_session *s);

/* source_stream.c */
int migdb_source_hello(struct migdb_session *s);
int migdb_source_rx(struct migdb_session *s, const struct migdb_frame *f);
int migdb_source_tx(struct migdb_session *s);	/* queued revokes into the stream */
bool migdb_source_tx_pending(struct migdb_session *s);

/* source_hash.c */
int migdb_source_snapshot(struct migdb_session *s, struct migdb_snapshot *arg);
int migdb_source_hash(struct migdb_session *s, struct migdb_hash *arg);
void migdb_source_unhash(struct migdb_session *s, u32 reason);
int migdb_source_collect(struct migdb_session *s);

/* source_take.c */
extern bool migdb_adaptive;
int migdb_source_take_tail(struct migdb_session *s, struct migdb_take *arg);

#endif /* _MIGDB_SOURCE_H */
