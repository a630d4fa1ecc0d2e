// SPDX-License-Identifier: GPL-2.0
/*
 * Destination side: what happens to a page; what the stream says is in dest_stream.c.
 *
 * Writers of a page here, and who keeps them apart:
 *	fetch worker	fill_sem (read), state TODO, claim TODO -> BUSY
 *	stream		the VMM sets SENT first and waits while it sees BUSY
 *	revoke, drain	fill_sem (write): no fill is in flight
 * A stream page is newer than any record that came before it, and a record for a
 * page that the stream has written is never built: stream writes win, for ever.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "alloc.h"
#include "claim.h"
#include "dest.h"
#include "trace.h"

/* What a destination of @nr_pages needs when every page is recorded, by itself. */
u64 migdb_dest_need_bytes(u64 nr_pages)
{
	return sizeof(struct migdb_dest) + PAGE_ALIGN(nr_pages) + nr_pages +
	       3 * migdb_hbitmap_bytes(nr_pages) + nr_pages * MIGDB_RECORD_PAGE_BYTES +
	       MIGDB_RECORD_SLACK_BYTES + migdb_fetch_need_bytes() + MIGDB_TX_MAX_BYTES +
	       MIGDB_MAX_FRAME_BYTES;
}

int migdb_dest_create(struct migdb_session *s)
{
	u64 n = s->regions.nr_pages, tables;
	struct migdb_dest *d;

	BUILD_BUG_ON(MIGDB_NR_REASONS > 32);	/* page state: 5 bits of reason */
	/* struct migdb_fetch_run */
	BUILD_BUG_ON(MIGDB_MAX_PAGES > 1ULL << 32 || MIGDB_RECORD_FRAME_PAGES > U16_MAX);
	BUILD_BUG_ON(sizeof(struct migdb_chunk) + MIGDB_SET_BATCH_PAGES *
		     (sizeof(struct migdb_fetch_run) + sizeof(__le64)) > 2048);
	BUILD_BUG_ON(MIGDB_SET_BATCH_PAGES * MIGDB_RECORD_PAGE_BYTES < 2048);
	d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);
	if (!d)
		return -ENOMEM;
	s->dst = d;
	tables = sizeof(*d) + n + 3 * migdb_hbitmap_bytes(n) + MIGDB_MAX_FRAME_BYTES;
	init_rwsem(&d->fill_sem);
	mutex_init(&d->lock);
	d->place = MIGDB_PLACE_COPY;
	INIT_LIST_HEAD(&d->chunks);
	INIT_LIST_HEAD(&d->alive);
	init_waitqueue_head(&d->todo_wait);
	/* claims may outlive the session, and have their own part, as records have */
	if (migdb_budget_get(tables))
		goto undo;
	s->budget_bytes = tables;
	s->map = migdb_map_create(n, true);
	d->page = migdb_zalloc(n);
	if (!s->map || !d->page || migdb_hbitmap_init(&d->todo, n) ||
	    migdb_hbitmap_init(&d->built, n) || migdb_hbitmap_init(&d->returned, n) ||
	    migdb_fetch_create(s))
		goto undo;
	d->claims = s->map->mem;
	s->memory_bytes = tables + s->map->bytes;
	return 0;
undo:
	migdb_dest_destroy(s);
	return -ENOMEM;
}

/* Fetches are over (migdb_fetch_stop, vhost workers gone), or never began. */
void migdb_dest_destroy(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;
	struct migdb_chunk *c, *next;

	if (!d)
		return;
	migdb_fetch_free(s);
	migdb_postcopy_free(s);
	list_for_each_entry_safe(c, next, &d->chunks, node) {
		migdb_chunk_free(d, c);
		cond_resched();		/* one for each frame of records */
	}
	migdb_free(d->page);
	migdb_hbitmap_destroy(&d->todo);
	migdb_hbitmap_destroy(&d->built);
	migdb_hbitmap_destroy(&d->returned);
	migdb_map_put(s->map);
	s->map = NULL;
	migdb_budget_put(s->budget_bytes);
	s->budget_bytes = 0;
	kfree(d);
	s->dst = NULL;
}

bool migdb_dest_wanted(struct migdb_dest *d, u64 index)
{
	/* unlocked: a worker looks again before it writes */
	return (READ_ONCE(d->page[index]) & 7) == MIGDB_PAGE_TODO;
}

/* The page is decided: under dest.lock; who calls it wakes the stream afterwards. */
void migdb_dest_todo_clear(struct migdb_dest *d, u64 index)
{
	lockdep_assert_held(&d->lock);
	migdb_hbitmap_clear(&d->todo, index);
	if (d->todo.nr_set)
		return;
	wake_up(&d->todo_wait);
	/* in post-copy nobody drains: the source is told when the last one is decided */
	if (migdb_place_how(d) == MIGDB_PLACE_ATOMIC)
		d->drained_due = true;
}

/*
 * How a page that is given back can be tried again when there is no source any more.
 * After the switch the source's page has stopped changing.  Before it the source may have
 * changed the page after it got it back, without a word; and what does not match, or
 * was there already, will not be right the next time.
 */
static u32 migdb_dest_returned_state(struct migdb_dest *d, u32 reason)
{
	/* once ATOMIC it never is what was before: no fill_sem is needed to believe it */
	if (migdb_place_how(d) != MIGDB_PLACE_ATOMIC)
		return MIGDB_PAGE_RETURNED;
	switch (reason) {
	case MIGDB_REASON_LATE:
	case MIGDB_REASON_IO_ERROR:
	case MIGDB_REASON_NO_MEMORY:
	case MIGDB_REASON_FAULT:
		return MIGDB_PAGE_RETURNED_LATELY;
	default:
		return MIGDB_PAGE_RETURNED;
	}
}

/*
 * The page will not be built.  From NONE, TODO or DONE, or from BUSY by who has made the
 * claim; under dest.lock.
 */
void migdb_dest_return_locked(struct migdb_session *s, u64 index, u32 reason)
{
	struct migdb_dest *d = s->dst;
	u32 state = migdb_page_state(d, index);

	lockdep_assert_held(&d->lock);
	if (state == MIGDB_PAGE_RETURNED && reason != MIGDB_REASON_TAKEN)
		/* discarded, or changed after all: it is not tried again */
		migdb_page_set(d, index, state, d->page[index] >> 3);
	if (state == MIGDB_PAGE_RETURNED || state == MIGDB_PAGE_SENT)
		return;
	if (state == MIGDB_PAGE_DONE) {
		d->nr_done--;
		atomic64_dec(&s->n.built);
		migdb_hbitmap_clear(&d->built, index);
	}
	if (state == MIGDB_PAGE_TODO || state == MIGDB_PAGE_BUSY)
		migdb_dest_todo_clear(d, index);
	migdb_page_set(d, index, migdb_dest_returned_state(d, reason), reason);
	migdb_claim_return(&d->claims[index]);
	migdb_count_reason(s, reason, 1);
	trace_migdb_return(s->label, MIGDB_ROLE_DEST, index, reason);
	if (reason == MIGDB_REASON_DIRTY || reason == MIGDB_REASON_TAKEN) {
		/* the source knows: it revoked the page */
		atomic64_inc(&s->n.revoked);
		return;
	}
	atomic64_inc(&s->n.returned);
	migdb_hbitmap_set(&d->returned, index);
}

void migdb_dest_return(struct migdb_session *s, u64 index, u32 reason)
{
	struct migdb_dest *d = s->dst;

	mutex_lock(&d->lock);
	if (migdb_page_state(d, index) == MIGDB_PAGE_TODO)
		migdb_dest_return_locked(s, index, reason);
	mutex_unlock(&d->lock);
}

/* MIGDB_CLAIM (@sent) and MIGDB_INVALIDATE. */
int migdb_dest_range(struct migdb_session *s, u64 first, u64 count, bool sent)
{
	u64 n = s->regions.nr_pages, i, batch;
	struct migdb_dest *d = s->dst;

	if (!count || first >= n || count > n - first)
		return -EINVAL;
	for (; count; first += batch, count -= batch) {
		batch = min_t(u64, count, MIGDB_HARVEST_BATCH);
		if (down_write_killable(&d->fill_sem))
			return -EINTR;
		mutex_lock(&d->lock);
		for (i = first; i < first + batch; i++) {
			if (sent)
				migdb_claim_sent(&d->claims[i]);
			else if (migdb_page_state(d, i) != MIGDB_PAGE_NONE)
				migdb_dest_return_locked(s, i, MIGDB_REASON_INVALIDATED);
			else	/* no record may build it later */
				migdb_page_set(d, i, MIGDB_PAGE_SENT, MIGDB_REASON_INVALIDATED);
		}
		mutex_unlock(&d->lock);
		up_write(&d->fill_sem);
		cond_resched();
	}
	if (!sent)
		migdb_tx_wake(s);
	return 0;
}

/* All that is not built goes back; no fill is in flight afterwards. */
void migdb_dest_give_up(struct migdb_session *s, u32 reason)
{
	struct migdb_dest *d = s->dst;
	u64 n = s->regions.nr_pages, index;
	u32 i;

	down_write(&d->fill_sem);
	mutex_lock(&d->lock);
	if (!d->given_up)
		d->given_up = reason;
	mutex_unlock(&d->lock);
	for (index = 0; index < n; ) {
		mutex_lock(&d->lock);
		for (i = 0; i < MIGDB_HARVEST_BATCH; i++) {
			index = migdb_hbitmap_next(&d->todo, index);
			if (index >= n)
				break;
			migdb_dest_return_locked(s, index, reason);
		}
		mutex_unlock(&d->lock);
		cond_resched();
	}
	up_write(&d->fill_sem);
	migdb_tx_wake(s);
}

int migdb_dest_drain(struct migdb_session *s, struct migdb_drain *arg)
{
	struct migdb_dest *d = s->dst;
	long left;
	int ret;

	if (arg->grace_ns > MIGDB_MAX_GRACE_NS)
		return -EINVAL;
	if (arg->grace_ns) {
		left = wait_event_interruptible_timeout(d->todo_wait,
							!READ_ONCE(d->todo.nr_set) ||
							migdb_state(s) != MIGDB_STATE_FILLING,
							nsecs_to_jiffies(arg->grace_ns) + 1);
		if (left < 0)
			return -EINTR;
	}
	/* rx_lock: a record that came before us is counted, none comes after */
	mutex_lock(&s->rx_lock);
	ret = migdb_session_transit(s, MIGDB_EV_DRAIN);
	mutex_unlock(&s->rx_lock);
	if (ret)
		return ret;
	migdb_dest_give_up(s, MIGDB_REASON_LATE);
	migdb_postcopy_over(s);
	mutex_lock(&d->lock);
	d->drained_due = true;
	arg->out_recorded = d->nr_recorded;
	arg->out_built = d->nr_done;
	arg->out_returned = atomic64_read(&s->n.returned);
	mutex_unlock(&d->lock);
	migdb_tx_wake(s);
	return 0;
}

/*
 * The last word before the guest may run: every page that was recorded was built
 * and not revoked, or the stream has written it.  Without the source's end mark
 * nobody knows what else was revoked: then only the stream's pages count.  (After
 * an abort the source sends all that it ever left out.)
 */
static int migdb_dest_missing(struct migdb_session *s, u64 *missing)
{
	u64 n = s->regions.nr_pages, i, end, gone = 0;
	struct migdb_dest *d = s->dst;
	const u8 *p;
	bool whole;

	whole = READ_ONCE(d->finish_seen) || migdb_state(s) == MIGDB_STATE_ABORTED;
	if (down_write_killable(&d->fill_sem))
		return -EINTR;
	for (i = 0; i < n; i = end) {
		end = min_t(u64, n, i + 8 * PAGE_SIZE);
		mutex_lock(&d->lock);
		for (; i < end; i++) {
			/* the VM stands still meanwhile: what has no record is passed over */
			p = memchr_inv(d->page + i, MIGDB_PAGE_NONE, end - i);
			if (!p)
				break;
			i = p - d->page;
			switch (migdb_page_state(d, i)) {
			case MIGDB_PAGE_DONE:
				if (whole)
					break;
				fallthrough;
			case MIGDB_PAGE_TODO:
			case MIGDB_PAGE_RETURNED:
				gone += !migdb_claim_is_sent(&d->claims[i]);
				break;
			default:
				break;
			}
		}
		mutex_unlock(&d->lock);
		cond_resched();
		if (fatal_signal_pending(current)) {
			up_write(&d->fill_sem);
			return -EINTR;
		}
	}
	up_write(&d->fill_sem);
	*missing = gone;
	return gone ? -EUCLEAN : 0;
}

/*
 * What the stream has brought is not to be built: a read that waits for a limit need not
 * find that out.  The number of pages that are.
 */
static u64 migdb_dest_settle(struct migdb_session *s)
{
	u64 n = s->regions.nr_pages, index = 0, left;
	struct migdb_dest *d = s->dst;
	u32 i;

	do {
		mutex_lock(&d->lock);
		for (i = 0; i < MIGDB_HARVEST_BATCH; i++, index++) {
			index = migdb_hbitmap_next(&d->todo, index);
			if (index >= n)
				break;
			migdb_place_settled(s, index);
		}
		left = d->todo.nr_set;
		mutex_unlock(&d->lock);
		cond_resched();
	} while (index < n);
	return left;
}

int migdb_dest_complete(struct migdb_session *s, u64 *missing)
{
	int ret;

	/* rx_lock: a record that is being taken in is counted, none comes after */
	if (mutex_lock_killable(&s->rx_lock))
		return -EINTR;
	/* the guest runs: do not look at all of memory before it is worth it */
	*missing = migdb_state(s) == MIGDB_STATE_POSTCOPY ? migdb_dest_settle(s) : 0;
	ret = *missing ? -EUCLEAN : migdb_dest_missing(s, missing);
	if (!ret && migdb_state(s) != MIGDB_STATE_ABORTED)
		ret = migdb_session_transit(s, MIGDB_EV_COMPLETE);
	if (!ret)
		migdb_postcopy_over(s);
	mutex_unlock(&s->rx_lock);
	return ret;
}
