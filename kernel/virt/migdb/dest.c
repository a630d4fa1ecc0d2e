// SPDX-License-Identifier: GPL-2.0
/*
 * Destination side: what happens to a page.
 *
 * Writers of a page here, and who keeps them apart:
 *	fetch worker	fill_sem (read), state TODO, claim TODO -> BUSY
 *	stream		the VMM sets SENT first and waits while it sees BUSY
 *	revoke, drain	fill_sem (write): no fill is in flight
 * A stream page is newer than any record that came before it, and a record for a
 * page that the stream has written is never built: stream writes win, for ever.
 */
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "alloc.h"
#include "claim.h"
#include "dest.h"
#include "window.h"

static u32 migdb_page_state(const struct migdb_dest *d, u64 index)
{
	return d->page[index] & 7;
}

static void migdb_page_set(struct migdb_dest *d, u64 index, u32 state, u32 reason)
{
	d->page[index] = state | reason << 3;
}

/* What a destination of @nr_pages needs when every page is recorded, by itself. */
u64 migdb_dest_need_bytes(u64 nr_pages)
{
	return sizeof(struct migdb_dest) + PAGE_ALIGN(nr_pages) + nr_pages +
	       3 * migdb_hbitmap_bytes(nr_pages) + nr_pages * MIGDB_RECORD_PAGE_BYTES +
	       MIGDB_RECORD_SLACK_BYTES + migdb_fetch_need_bytes() + MIGDB_TX_MAX_BYTES;
}

int migdb_dest_create(struct migdb_session *s)
{
	u64 n = s->regions.nr_pages;
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
	init_rwsem(&d->fill_sem);
	mutex_init(&d->lock);
	INIT_LIST_HEAD(&d->chunks);
	init_waitqueue_head(&d->todo_wait);
	s->map = migdb_map_create(n, true);
	d->page = migdb_zalloc(n);
	if (!s->map || !d->page || migdb_hbitmap_init(&d->todo, n) ||
	    migdb_hbitmap_init(&d->built, n) || migdb_hbitmap_init(&d->returned, n) ||
	    migdb_fetch_create(s)) {
		migdb_dest_destroy(s);
		return -ENOMEM;
	}
	d->claims = s->map->mem;
	s->memory_bytes = sizeof(*d) + s->map->bytes + n + 3 * migdb_hbitmap_bytes(n);
	return 0;
}

/* Fetches are over (migdb_fetch_stop, vhost workers gone), or never began. */
void migdb_dest_destroy(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;
	struct migdb_chunk *c, *next;

	if (!d)
		return;
	migdb_fetch_free(s);
	list_for_each_entry_safe(c, next, &d->chunks, node)
		migdb_chunk_free(d, c);
	migdb_free(d->page);
	migdb_hbitmap_destroy(&d->todo);
	migdb_hbitmap_destroy(&d->built);
	migdb_hbitmap_destroy(&d->returned);
	migdb_map_put(s->map);
	s->map = NULL;
	kfree(d);
	s->dst = NULL;
}

/* First frame: identity, key, disks.  Refusals are -EBADMSG: an ordinary send. */
int migdb_dest_hello(struct migdb_session *s, const struct migdb_frame *f)
{
	const struct migdb_wire_hello *h = f->data;
	struct migdb_dest *d = s->dst;
	u32 i, n, id, alg;
	int mine;

	if (f->type != MIGDB_FRAME_HELLO || !migdb_frame_authentic(f, &h->key) ||
	    migdb_session_id(h->uuid) != f->session)
		return -EBADMSG;
	alg = le32_to_cpu(h->tag_alg);
	if (le32_to_cpu(h->page_bytes) != MIGDB_PAGE_BYTES || h->features || alg >= 64 ||
	    !alg || !(migdb_tag_algs() & BIT_ULL(alg)))
		return -EBADMSG;
	memcpy(s->uuid, h->uuid, sizeof(s->uuid));
	s->key = h->key;
	s->tag_alg = alg;
	n = le32_to_cpu(h->nr_disks);
	d->nr_disks_missing = 0;	/* no memory for an answer: it comes again */
	for (i = 0; i < n; i++) {
		id = le32_to_cpu(h->disks[i].disk);
		if (id >= MIGDB_MAX_DISKS)
			return -EBADMSG;
		mine = migdb_disk_find(s, le32_to_cpu(h->disks[i].type), h->disks[i].identity);
		d->disk[id] = mine < 0 ? 0 : mine + 1;
		d->nr_disks_missing += mine < 0;
	}
	if (migdb_tx_end(s, MIGDB_FRAME_WELCOME, d->nr_disks_missing ? MIGDB_REASON_NO_DISK : 0))
		return -ENOMEM;
	migdb_tx_wake(s);
	return 0;
}

bool migdb_dest_wanted(struct migdb_dest *d, u64 index)
{
	/* unlocked: a worker looks again before it writes */
	return (READ_ONCE(d->page[index]) & 7) == MIGDB_PAGE_TODO;
}

static void migdb_todo_clear(struct migdb_dest *d, u64 index)
{
	migdb_hbitmap_clear(&d->todo, index);
	if (!d->todo.nr_set)
		wake_up(&d->todo_wait);
}

/* The page will not be built.  From NONE, TODO or DONE; under dest.lock. */
static void migdb_dest_return_locked(struct migdb_session *s, u64 index, u32 reason)
{
	struct migdb_dest *d = s->dst;
	u32 state = migdb_page_state(d, index);

	lockdep_assert_held(&d->lock);
	if (state == MIGDB_PAGE_RETURNED || state == MIGDB_PAGE_SENT)
		return;
	if (state == MIGDB_PAGE_DONE) {
		d->nr_done--;
		atomic64_dec(&s->n.built);
		migdb_hbitmap_clear(&d->built, index);
	}
	if (state == MIGDB_PAGE_TODO)
		migdb_todo_clear(d, index);
	migdb_page_set(d, index, MIGDB_PAGE_RETURNED, reason);
	migdb_claim_return(&d->claims[index]);
	migdb_count_reason(s, reason, 1);
	if (reason == MIGDB_REASON_DIRTY) {
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

/*
 * Write one verified page.  The claim is made after the last look at the state
 * and given up after the copy: BUSY lasts as long as the copy.
 */
void migdb_dest_place(struct migdb_session *s, u64 index, const void *page)
{
	const struct migdb_region *r = migdb_region_of_index(&s->regions, index);
	struct migdb_dest *d = s->dst;
	u8 *claim = &d->claims[index];
	bool failed;

	lockdep_assert_held_read(&d->fill_sem);
	mutex_lock(&d->lock);
	if (migdb_page_state(d, index) != MIGDB_PAGE_TODO) {
		mutex_unlock(&d->lock);
		return;
	}
	if (!migdb_claim_busy(claim)) {
		migdb_todo_clear(d, index);
		migdb_page_set(d, index, MIGDB_PAGE_SENT, 0);
		mutex_unlock(&d->lock);
		return;
	}
	mutex_unlock(&d->lock);

	failed = copy_to_user(u64_to_user_ptr(migdb_region_hva(r, index)), page, MIGDB_PAGE_BYTES);

	mutex_lock(&d->lock);
	if (failed) {
		migdb_dest_return_locked(s, index, MIGDB_REASON_FAULT);
	} else {
		migdb_todo_clear(d, index);
		if (migdb_claim_done(claim)) {
			migdb_page_set(d, index, MIGDB_PAGE_DONE, 0);
			migdb_hbitmap_set(&d->built, index);
			d->nr_done++;
			atomic64_inc(&s->n.built);
		} else {
			/* the VMM did not wait for BUSY: its page, its word */
			migdb_page_set(d, index, MIGDB_PAGE_SENT, 0);
		}
	}
	mutex_unlock(&d->lock);
}

void migdb_chunk_free(struct migdb_dest *d, struct migdb_chunk *c)
{
	atomic64_sub(c->bytes, &d->chunk_bytes);
	if (atomic_dec_and_test(&d->nr_chunks))
		atomic_dec(&migdb_nr_fetchers);
	kvfree(c);
}

/* Room for that many runs and tags, or NULL: no memory, or enough was had. */
static struct migdb_chunk *migdb_chunk_alloc(struct migdb_session *s, u32 nr_runs, u32 nr_tags)
{
	u64 budget = s->regions.nr_pages * MIGDB_RECORD_PAGE_BYTES + MIGDB_RECORD_SLACK_BYTES;
	struct migdb_dest *d = s->dst;
	struct migdb_chunk *c;
	u32 bytes;

	bytes = kmalloc_size_roundup(struct_size(c, runs, nr_runs) + nr_tags * sizeof(__le64));
	if (atomic64_read(&d->chunk_bytes) + bytes > budget)
		return NULL;
	c = kvmalloc(bytes, MIGDB_GFP);
	if (!c)
		return NULL;
	atomic64_add(bytes, &d->chunk_bytes);
	if (atomic_inc_return(&d->nr_chunks) == 1)
		atomic_inc(&migdb_nr_fetchers);
	c->bytes = bytes;
	c->nr_users = 1;
	c->nr_runs = 0;
	c->next_run = 0;
	c->tags = (__le64 *)&c->runs[nr_runs];
	return c;
}

void migdb_chunk_put(struct migdb_dest *d, struct migdb_chunk *c)
{
	bool last;

	mutex_lock(&d->lock);
	last = !--c->nr_users;
	mutex_unlock(&d->lock);
	if (last)
		migdb_chunk_free(d, c);
}

/* A page that a record names, under dest.lock.  True: it is to be built. */
static bool migdb_dest_record_page(struct migdb_session *s, u64 index, u32 reason)
{
	struct migdb_dest *d = s->dst;
	u32 state = migdb_page_state(d, index);

	if (state == MIGDB_PAGE_NONE) {
		d->nr_recorded++;
		atomic64_inc(&s->n.recorded);
		if (!reason && migdb_claim_todo(&d->claims[index])) {
			migdb_page_set(d, index, MIGDB_PAGE_TODO, 0);
			migdb_hbitmap_set(&d->todo, index);
			return true;
		}
		migdb_dest_return_locked(s, index, reason ? reason : MIGDB_REASON_TWICE);
		return false;
	}
	/* recorded before: nobody can tell which of the two is right */
	if (state == MIGDB_PAGE_SENT) {
		if (d->page[index] >> 3) {	/* by MIGDB_INVALIDATE, not by a record */
			d->nr_recorded++;
			atomic64_inc(&s->n.recorded);
		}
		migdb_page_set(d, index, MIGDB_PAGE_RETURNED, MIGDB_REASON_TWICE);
		migdb_count_reason(s, MIGDB_REASON_TWICE, 1);
		atomic64_inc(&s->n.returned);
		migdb_hbitmap_set(&d->returned, index);
	} else if (state == MIGDB_PAGE_RETURNED) {
		migdb_hbitmap_set(&d->returned, index);
	}
	return false;
}

/* Second record for pages that may be under way: needs fill_sem. */
static void migdb_dest_twice(struct migdb_session *s, u64 index, const unsigned long *twice)
{
	struct migdb_dest *d = s->dst;
	unsigned int i;

	down_write(&d->fill_sem);
	mutex_lock(&d->lock);
	for_each_set_bit(i, twice, MIGDB_IO_MAX_PAGES)
		migdb_dest_return_locked(s, index + i, MIGDB_REASON_TWICE);
	mutex_unlock(&d->lock);
	up_write(&d->fill_sem);
}

/*
 * Disk position on our side, and how many of the run's pages are on the disk: ours
 * may be shorter.  Or why none is.
 */
static u32 migdb_dest_where(struct migdb_session *s, u64 where, u64 *mine, u64 *nr)
{
	u32 disk = migdb_where_disk(where), id;
	u64 block = migdb_where_block(where);
	struct migdb_dest *d = s->dst;

	if (disk >= MIGDB_MAX_DISKS || !d->disk[disk])
		return MIGDB_REASON_NO_DISK;
	id = d->disk[disk] - 1;
	if (block >= s->disk[id].nr_blocks)
		return MIGDB_REASON_NO_DISK;
	*mine = migdb_where(id, block);
	*nr = min(*nr, s->disk[id].nr_blocks - block);
	return MIGDB_REASON_NONE;
}

/*
 * One run of a record.  A page that this side does not have at all means that the
 * two memory tables differ: nothing of this source can be believed.
 */
static int migdb_dest_record_run(struct migdb_session *s, const struct migdb_wire_run *run,
				 const __le64 *tags, u32 *tag, struct migdb_chunk *c)
{
	u64 gfn = le64_to_cpu(run->gfn), index, where = 0, on_disk;
	u32 nr = le32_to_cpu(run->nr_pages), i, reason, todo = 0;
	struct migdb_dest *d = s->dst;
	DECLARE_BITMAP(twice, MIGDB_IO_MAX_PAGES) = {};
	const struct migdb_region *r;

	r = migdb_region_of_gfn(&s->regions, gfn);
	if (!r || nr > MIGDB_IO_MAX_PAGES || nr > migdb_region_left(r, migdb_region_index(r, gfn)))
		return -EBADMSG;
	index = migdb_region_index(r, gfn);
	on_disk = nr;
	reason = migdb_dest_where(s, le64_to_cpu(run->where), &where, &on_disk);
	if (READ_ONCE(s->ordinary))
		reason = MIGDB_REASON_DISABLED;
	if (!c && !reason)
		reason = MIGDB_REASON_NO_MEMORY;

	mutex_lock(&d->lock);
	/* it may have been given up since the frame's first run */
	if (d->given_up)
		reason = d->given_up;
	for (i = 0; i < nr; i++) {
		if (migdb_page_state(d, index + i) != MIGDB_PAGE_NONE)
			__set_bit(i, twice);
		todo += migdb_dest_record_page(s, index + i, !reason && i >= on_disk ?
					       MIGDB_REASON_NO_DISK : reason);
	}
	if (todo) {
		c->runs[c->nr_runs++] = (struct migdb_fetch_run) {
			.where = where, .index = index, .nr = on_disk, .tag = *tag,
		};
		memcpy(&c->tags[*tag], tags, on_disk * sizeof(*tags));
		*tag += on_disk;
	}
	mutex_unlock(&d->lock);
	if (!bitmap_empty(twice, MIGDB_IO_MAX_PAGES))
		migdb_dest_twice(s, index, twice);
	return 0;
}

/* Room for what a frame may ask to build: runs that have a page without a record. */
static struct migdb_chunk *migdb_dest_chunk(struct migdb_session *s,
					    const struct migdb_wire_run *runs, u32 nr_runs)
{
	u32 i, nr, need_runs = 0, need_tags = 0;
	const struct migdb_region *r;
	u64 gfn, index;

	/* unlocked: rx_lock keeps other records away, and pages only leave NONE */
	for (i = 0; i < nr_runs; i++) {
		gfn = le64_to_cpu(runs[i].gfn);
		nr = le32_to_cpu(runs[i].nr_pages);
		r = migdb_region_of_gfn(&s->regions, gfn);
		if (!r)
			continue;	/* the frame ends there */
		index = migdb_region_index(r, gfn);
		nr = min_t(u64, nr, migdb_region_left(r, index));
		if (!memchr(s->dst->page + index, MIGDB_PAGE_NONE, nr))
			continue;
		need_runs++;
		need_tags += nr;
	}
	return need_runs ? migdb_chunk_alloc(s, need_runs, need_tags) : NULL;
}

static int migdb_dest_records(struct migdb_session *s, const struct migdb_frame *f)
{
	const struct migdb_wire_records *rec = f->data;
	const struct migdb_wire_run *runs = migdb_records_runs(rec);
	u32 nr_runs = le32_to_cpu(rec->nr_runs), i, tag = 0;
	const __le64 *tags = migdb_records_tags(rec, nr_runs);
	struct migdb_dest *d = s->dst;
	struct migdb_chunk *c;
	int ret = 0;

	/* no memory: the pages go back */
	c = migdb_dest_chunk(s, runs, nr_runs);
	for (i = 0; i < nr_runs && !ret; i++) {
		ret = migdb_dest_record_run(s, &runs[i], tags, &tag, c);
		tags += le32_to_cpu(runs[i].nr_pages);
		cond_resched();
	}
	if (c && c->nr_runs) {
		mutex_lock(&d->lock);
		list_add_tail(&c->node, &d->chunks);
		mutex_unlock(&d->lock);
		migdb_fetch_kick(s);
	} else if (c) {
		migdb_chunk_free(d, c);
	}
	if (READ_ONCE(d->returned.nr_set))
		migdb_tx_wake(s);
	return ret;
}

static void migdb_dest_revoke(struct migdb_session *s, const struct migdb_wire_range *range)
{
	u64 gfn = le64_to_cpu(range->gfn), end = gfn + le32_to_cpu(range->nr_pages);
	struct migdb_dest *d = s->dst;
	u64 index;
	u32 nr, i;

	while ((nr = migdb_regions_next(&s->regions, &gfn, end, MIGDB_HARVEST_BATCH, &index))) {
		cond_resched();
		/* unlocked: only records, which rx_lock keeps away, end this state */
		if (!memchr_inv(d->page + index, MIGDB_PAGE_NONE, nr))
			continue;
		/* a fill under way ends first: what the stream brings comes after it */
		down_write(&d->fill_sem);
		mutex_lock(&d->lock);
		for (i = 0; i < nr; i++)
			if (migdb_page_state(d, index + i) != MIGDB_PAGE_NONE)
				migdb_dest_return_locked(s, index + i, MIGDB_REASON_DIRTY);
		mutex_unlock(&d->lock);
		up_write(&d->fill_sem);
	}
}

int migdb_dest_rx(struct migdb_session *s, const struct migdb_frame *f)
{
	const struct migdb_wire_list *list = f->data;
	u32 i, n;

	switch (f->type) {
	case MIGDB_FRAME_RECORDS:
		/* none follows the end mark; a revoke may */
		if (s->dst->finish_seen || migdb_state(s) != MIGDB_STATE_FILLING)
			return -EBADMSG;
		return migdb_dest_records(s, f);
	case MIGDB_FRAME_REVOKE:
		n = le32_to_cpu(list->nr_runs);
		for (i = 0; i < n; i++)
			migdb_dest_revoke(s, &migdb_list_ranges(list)[i]);
		return 0;
	case MIGDB_FRAME_FINISH:
		WRITE_ONCE(s->dst->finish_seen, true);
		migdb_tx_wake(s);
		return 0;
	case MIGDB_FRAME_ABORT:
		migdb_session_abort(s, MIGDB_REASON_ABORTED);
		return 0;
	default:
		return -EBADMSG;
	}
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
int migdb_dest_complete(struct migdb_session *s, u64 *missing)
{
	u64 n = s->regions.nr_pages, i, end, gone = 0;
	struct migdb_dest *d = s->dst;
	bool whole;

	whole = READ_ONCE(d->finish_seen) || migdb_state(s) == MIGDB_STATE_ABORTED;
	if (down_write_killable(&d->fill_sem))
		return -EINTR;
	for (i = 0; i < n; i = end) {
		end = min_t(u64, n, i + 8 * PAGE_SIZE);
		mutex_lock(&d->lock);
		for (; i < end; i++) {
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
	}
	up_write(&d->fill_sem);
	*missing = gone;
	if (gone)
		return -EUCLEAN;
	return migdb_state(s) == MIGDB_STATE_ABORTED ? 0 :
	       migdb_session_transit(s, MIGDB_EV_COMPLETE);
}

bool migdb_dest_tx_pending(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;

	return READ_ONCE(d->built.nr_set) || READ_ONCE(d->returned.nr_set) ||
	       READ_ONCE(d->drained_due);
}

/*
 * The next range of a list at or after @from, at most a batch of pages: as far as
 * the region and the reason are the same.  False: none.
 */
static bool migdb_dest_range_pop(struct migdb_session *s, struct migdb_hbitmap *b, u64 from,
				 struct migdb_wire_range *range, u64 *end)
{
	struct migdb_dest *d = s->dst;
	const struct migdb_region *r;
	u64 first, max;
	u8 *differs;

	lockdep_assert_held(&d->lock);
	first = migdb_hbitmap_next(b, from);
	if (first >= b->nr_bits)
		return false;
	r = migdb_region_of_index(&s->regions, first);
	max = min_t(u64, migdb_region_left(r, first), MIGDB_HARVEST_BATCH);
	differs = memchr_inv(d->page + first, d->page[first], max);
	if (differs)
		max = differs - (d->page + first);
	max = migdb_hbitmap_pop_run(b, first, max, &first);
	range->gfn = cpu_to_le64(migdb_region_gfn(r, first));
	range->nr_pages = cpu_to_le32(max);
	range->reason = cpu_to_le32(d->page[first] >> 3);
	*end = first + max;
	return true;
}

/*
 * Ranges of one list into frames, until the stream is full.  A frame's ranges
 * ascend, and the lock is held for a batch of pages or ranges at a time: what is
 * set behind our back, below or above, comes with a later frame, as does whatever
 * becomes of a page that is in this one.
 */
static int migdb_dest_report(struct migdb_session *s, struct migdb_hbitmap *b, u32 type)
{
	struct migdb_dest *d = s->dst;
	struct migdb_wire_range *ranges;
	struct migdb_wire_list *list;
	struct migdb_tx_frame *f;
	u64 next, end, pages;
	u32 n, max;
	bool more;

	while ((max = min_t(u64, READ_ONCE(b->nr_set), MIGDB_LIST_FRAME_RUNS)) &&
	       migdb_tx_has_room(s)) {
		f = migdb_tx_alloc(migdb_list_bytes(max));
		if (!f)
			return -ENOMEM;
		list = (struct migdb_wire_list *)f->data;
		ranges = migdb_list_ranges(list);
		for (n = 0, next = 0, more = true; more && n < max; ) {
			mutex_lock(&d->lock);
			for (pages = 0; more && n < max && pages < MIGDB_HARVEST_BATCH; ) {
				more = migdb_dest_range_pop(s, b, next, &ranges[n], &end);
				if (!more)
					break;
				pages += le32_to_cpu(ranges[n].nr_pages);
				next = end;
				n++;
			}
			mutex_unlock(&d->lock);
			cond_resched();
		}
		if (!n) {	/* what was to be said is no longer true */
			kvfree(f);
			continue;
		}
		list->nr_runs = cpu_to_le32(n);
		migdb_tx_append(s, f, type, migdb_list_bytes(n));
	}
	return 0;
}

/* 0, or -ENOMEM: something was left unsaid, and not because there was no room. */
int migdb_dest_tx(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;
	int ret;

	ret = migdb_dest_report(s, &d->returned, MIGDB_FRAME_RETURN);
	if (!ret)
		ret = migdb_dest_report(s, &d->built, MIGDB_FRAME_BUILT);
	mutex_lock(&d->lock);
	if (d->drained_due && !d->returned.nr_set && !d->built.nr_set) {
		ret = migdb_tx_end(s, MIGDB_FRAME_DRAINED, 0);
		d->drained_due = ret;
	}
	mutex_unlock(&d->lock);
	return ret;
}
