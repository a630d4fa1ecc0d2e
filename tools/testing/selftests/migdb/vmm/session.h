/* SPDX-License-Identifier: MIT */
/*
 * The source's session: all that a VMM with pre-copy of its own adds to it.
 *
 * The VMM's part is one bitmap, @todo: pages that it has to send.  Each
 * function below takes pages out of it or puts pages back; whatever goes
 * wrong, session_lose() puts back everything that was left out, and the
 * migration goes on as an ordinary one.
 */
#ifndef SESSION_H
#define SESSION_H

#include "refvmm.h"

struct session {
	struct mdb mdb;
	bool live;		/* false: this is an ordinary migration */
	bool ring;		/* migdb empties the VM's dirty rings */
	bool snapshotted;
	struct vm *vm;
	struct channel *chan;
	u64 left;		/* candidates not hashed yet */
	u64 skipped;		/* pages of the construct set at snapshot */
	const char *why;	/* why not (or no longer) live */
	struct migdb_stats stats;	/* as of session_lose() or _complete() */
};

/*
 * Either side, first of all: is it the ABI that we speak, can it what we want, and
 * may the session have as much memory as it needs?  0 or -errno.
 */
int session_ask(struct mdb *m, const struct vm *vm, const struct options *o, u32 role);

/* Before logging is on.  False: ordinary, @why says why. */
bool session_setup(struct session *s, struct vm *vm, struct workload *w, const struct options *o,
		   struct channel *chan, const u8 uuid[MIGDB_UUID_BYTES]);

/* Logging is on, and on its way: takes the construct set out of @todo. */
int session_arm(struct session *s, u64 *todo);

/* Ring only: instead of reading the rings.  Also from a vCPU's thread. */
int session_harvest(struct session *s);

/* @dirty: what the VMM's own logs found in this round. */
int session_dirty(struct session *s, const u64 *dirty);

/*
 * The guest has given these pages back: before the VMM discards them.  They go into
 * the send queue, for a discard sets no dirty bit.
 */
int session_discard(struct session *s, u64 first, u64 count);

/* Puts what migdb wants sent (harvested, returned, unusable) into @todo. */
int session_take(struct session *s, u64 *todo);

/* Hashes some more pages and sends records and revokes. */
int session_advance(struct session *s);

/*
 * The link has room for @room pages more: takes them off storage, if it would bring
 * them later.  @more: or may in a moment.
 */
int session_spare(struct session *s, u64 room, bool *more);

/* Guest and devices are stopped, logs are handed in. */
int session_seal(struct session *s);

/* Post-copy: the destination waits for this page, and it is sent now.  1: of the set. */
int session_request(struct session *s, u64 page);

/* After the destination's DRAINED, or in its stead. */
int session_reclaim(struct session *s);

/* The destination is ready: nothing may be left to send. */
int session_complete(struct session *s);

/* Ordinary from here on: all that was skipped goes back into @todo. */
void session_lose(struct session *s, u64 *todo, int error);

/* Migration failed: nothing to put back, the guest stays here. */
void session_close(struct session *s);

#endif /* SESSION_H */
