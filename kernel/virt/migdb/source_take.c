// SPDX-License-Identifier: GPL-2.0
/*
 * Source side: a link with nothing to send takes pages from the far end of the list,
 * which the destination reads last, until both ends meet.  How many is decided by
 * split.c; why it is safe, and in this order, is in
 * Documentation/virt/migdb/adaptive.rst.
 *
 * The list is the window of candidates in disk order, in which they are hashed,
 * recorded and read.  When all are hashed and the last window is used up, the windows
 * before it are collected again, backwards.
 *
 * To the rest of this side a page that is taken is one that was reclaimed: it leaves
 * the set under set_lock, is revoked if it was recorded, and enters the send queue.
 */
#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>

#include "source.h"
#include "trace.h"

bool migdb_adaptive = true;

/* Pages of the set of which nobody has said that they are built, roughly. */
static u64 migdb_take_left(const struct migdb_source *src)
{
	lockdep_assert_held(&src->set_lock);
	return src->nr_unconfirmed + src->nr_left;
}

/*
 * The list's end, a batch of entries.  What was confirmed, or has left the set, is
 * passed over for ever: the page that comes back by RETURN enters the send queue by
 * itself.
 */
static int migdb_take_batch(struct migdb_session *s, u64 max, u64 *taken)
{
	struct migdb_source *src = s->src;
	struct migdb_ends *e = &src->ends;
	u64 index, unhashed = 0;
	u32 i;

	lockdep_assert_held(&src->hash_lock);
	mutex_lock(&src->set_lock);
	if (src->frozen) {
		mutex_unlock(&src->set_lock);
		return -ECANCELED;
	}
	for (i = 0; i < MIGDB_HARVEST_BATCH && e->tail && *taken < max; i++) {
		unhashed += e->tail > e->head;
		index = src->cand[--e->tail].index;
		/* set only together with recorded, and cleared when it leaves the set */
		if (test_bit(index, src->confirmed))
			continue;
		*taken += migdb_source_take(s, index, MIGDB_REASON_TAKEN, true, false);
	}
	mutex_unlock(&src->set_lock);
	/* as in HASH: 0 only when that has found nothing more */
	if (unhashed)
		WRITE_ONCE(src->nr_left, src->nr_left > unhashed ? src->nr_left - unhashed : 1);
	return 0;
}

/* The window before; 1: it is there, 0: there is none. */
static int migdb_take_window(struct migdb_session *s)
{
	struct migdb_source *src = s->src;
	u64 expected;
	int ret;

	if (!src->window_due)
		src->window_due = migdb_windows_prev(&src->windows, &src->window_first,
						     &src->window_end, &expected);
	if (!src->window_due)
		return 0;
	ret = migdb_source_collect(s);
	if (ret)
		return ret;
	src->ends.head = src->ends.tail;	/* all of it is hashed */
	return 1;
}

/* Takes @nr pages, or fewer, and says why. */
static int migdb_take_pages(struct migdb_session *s, u64 nr, struct migdb_take *arg)
{
	struct migdb_source *src = s->src;
	bool walked = false;
	int ret = 0;

	while (!ret && arg->out_taken < nr) {
		if (!src->ends.tail) {
			/* while HASH goes on, it chooses the windows; one walk per call */
			if (src->nr_left || walked) {
				arg->out_result = MIGDB_TAKE_AGAIN;
				break;
			}
			/* the guest stands still: no time for a walk of the hint table */
			ret = READ_ONCE(s->state) == MIGDB_STATE_SEALED ? 0 : migdb_take_window(s);
			if (!ret)
				arg->out_result = MIGDB_TAKE_LOST;
			if (ret <= 0)
				break;
			walked = true;
		}
		ret = migdb_take_batch(s, nr, &arg->out_taken);
		cond_resched();
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
	}
	if (arg->out_taken) {
		arg->out_result = MIGDB_TAKE_DONE;
		migdb_tx_wake(s);
	}
	return ret;
}

static int migdb_take_locked(struct migdb_session *s, struct migdb_take *arg)
{
	struct migdb_source *src = s->src;
	u64 left, nr = 0;
	int ret = 0;

	mutex_lock(&src->set_lock);
	left = migdb_take_left(src);
	if (!READ_ONCE(migdb_adaptive) || READ_ONCE(src->no_take))
		arg->out_result = MIGDB_TAKE_OFF;
	else if (!src->welcomed)
		arg->out_result = MIGDB_TAKE_NO_PEER;
	else if (!left)
		arg->out_result = MIGDB_TAKE_MET;
	else
		nr = migdb_split_share(&src->split, left, arg->max_pages, ktime_get_ns());
	mutex_unlock(&src->set_lock);
	if (nr)
		ret = migdb_take_pages(s, nr, arg);
	else if (arg->out_result == MIGDB_TAKE_DONE)
		arg->out_result = MIGDB_TAKE_SOONER;

	mutex_lock(&src->set_lock);
	migdb_split_taken(&src->split, arg->out_taken, ktime_get_ns());
	arg->out_left = migdb_take_left(src);
	arg->out_build_bytes_per_s = src->split.build.per_s * MIGDB_PAGE_BYTES;
	arg->out_send_bytes_per_s = src->split.send.per_s * MIGDB_PAGE_BYTES;
	mutex_unlock(&src->set_lock);
	return ret;
}

/* MIGDB_TAKE. */
int migdb_source_take_tail(struct migdb_session *s, struct migdb_take *arg)
{
	struct migdb_source *src = s->src;
	u32 state;
	int ret;

	*arg = (struct migdb_take) { .size = arg->size, .max_pages = arg->max_pages };
	mutex_lock(&src->hash_lock);
	state = migdb_state(s);
	if (state == MIGDB_STATE_TRACKING || state == MIGDB_STATE_SEALED)
		ret = migdb_take_locked(s, arg);
	else
		ret = migdb_fsm_allows(state, MIGDB_CMD_TAKE);
	mutex_unlock(&src->hash_lock);
	trace_migdb_take(s->label, arg);
	return ret;
}
