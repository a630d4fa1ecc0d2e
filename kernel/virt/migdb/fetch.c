// SPDX-License-Identifier: GPL-2.0
/*
 * Destination side: from records to verified blocks.
 *
 * A lane is a queue of reads that are in flight.  Its work runs on a vhost worker,
 * in the VMM's process: it takes finished reads, verifies and places their pages,
 * then plans and submits new ones until its depth or a limit is reached.
 *
 *	chunks (disk order) --plan--> io: one large direct read into bounce pages
 *	io --ki_complete (any context)--> lane.done --worker--> verify, place, reuse
 *
 * Bounce pages, not guest pages: what fails or comes late has touched nothing.
 * Records come sorted, so neighbouring runs make one read, and two pages that
 * want the same block share it.
 *
 * End of life: ->dying stops planning; a read whose worker is gone (a killed VMM)
 * is reaped by a work item of the module.  A completion handler still touches the
 * session when its read is over: it is an RCU read-side section.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "alloc.h"
#include "fetch.h"
#include "postcopy.h"
#include "trace.h"
#include "vhost_glue.h"
#include "window.h"

/*
 * Host-wide limits, and how many destinations share them: those that have records
 * to work off.
 */
u64 migdb_max_inflight_bytes = MIGDB_DEFAULT_INFLIGHT_BYTES;
atomic_t migdb_nr_fetchers = ATOMIC_INIT(0);
static u64 migdb_rate;
static u32 migdb_rate_gen;		/* changes with migdb_rate */
static struct workqueue_struct *migdb_wq;

u64 migdb_fetch_need_bytes(void)
{
	return sizeof(struct migdb_fetch) + MIGDB_NR_LANES * MIGDB_LANE_DEPTH *
	       (sizeof(struct migdb_io) + MIGDB_IO_MAX_PAGES * (u64)PAGE_SIZE);
}

/* Who writes to the rates: each makes a number of its own. */
static DEFINE_MUTEX(migdb_rate_lock);

void migdb_fetch_set_rate(u64 bytes_per_s)
{
	mutex_lock(&migdb_rate_lock);
	WRITE_ONCE(migdb_rate, bytes_per_s);
	/* pairs with migdb_io_turn_ns(): who sees the number sees the rate */
	smp_store_release(&migdb_rate_gen, migdb_rate_gen + 1);
	mutex_unlock(&migdb_rate_lock);
}

/* Of one session; it never gets more than its share of the host's rate. */
void migdb_fetch_limit_rate(struct migdb_session *s, u64 bytes_per_s)
{
	mutex_lock(&migdb_rate_lock);
	WRITE_ONCE(s->limits.fetch_bytes_per_s, bytes_per_s);
	smp_store_release(&s->limits.gen, s->limits.gen + 1);	/* as above */
	mutex_unlock(&migdb_rate_lock);
}

u64 migdb_fetch_rate(void)
{
	return READ_ONCE(migdb_rate);
}

static void migdb_io_trim(struct migdb_io *io)
{
	while (io->nr_pages)
		__free_page(io->bvec[--io->nr_pages].bv_page);
}

static void migdb_io_free(struct migdb_io *io)
{
	migdb_io_trim(io);
	kvfree(io);
}

/* Reads that are over: give up their targets, count them out. */
static void migdb_io_reset(struct migdb_session *s, struct migdb_io *io)
{
	u32 i;

	for (i = 0; i < io->nr_targets; i++)
		migdb_chunk_put(s->dst, io->target[i].chunk);
	if (io->fault)
		migdb_fault_over(s, io);
	io->nr_targets = 0;
	io->shape.nr_blocks = 0;
}

static void migdb_io_over(struct migdb_session *s, struct migdb_io *io)
{
	struct migdb_fetch *f = s->dst->fetch;

	atomic64_sub((u64)io->shape.nr_blocks * MIGDB_PAGE_BYTES, &s->n.inflight_bytes);
	migdb_io_reset(s, io);
	list_add(&io->free, &io->lane->free);
	io->lane->inflight--;
	if (atomic_dec_and_test(&f->nr_inflight))
		wake_up(&f->idle_wait);
}

/* The lane's worker is gone: nothing can be placed, only be over. */
static void migdb_lane_reap(struct work_struct *work)
{
	struct migdb_fetch_lane *lane = container_of(work, struct migdb_fetch_lane, reap);
	struct migdb_io *io, *next;

	mutex_lock(&lane->lock);
	llist_for_each_entry_safe(io, next, llist_del_all(&lane->done), done)
		migdb_io_over(lane->s, io);
	mutex_unlock(&lane->lock);
}

static void migdb_lane_retry(struct work_struct *work)
{
	struct migdb_fetch_lane *lane = container_of(to_delayed_work(work),
						     struct migdb_fetch_lane, retry);

	if (!READ_ONCE(lane->s->dst->fetch->dying))
		migdb_vhost_kick(lane->s->vhost, lane->nr);
}

/* Any context: hard IRQ for most block devices. */
static void migdb_io_complete(struct kiocb *iocb, long ret)
{
	struct migdb_io *io = container_of(iocb, struct migdb_io, iocb);
	struct migdb_fetch_lane *lane = io->lane;

	rcu_read_lock();
	io->ret = ret;
	llist_add(&io->done, &lane->done);
	/* io is not ours any more */
	if (!migdb_vhost_kick(lane->s->vhost, lane->nr))
		queue_work(migdb_wq, &lane->reap);
	rcu_read_unlock();
}

/* Bounce pages for the whole read, charged to the VMM. */
static bool migdb_io_pages(struct migdb_io *io)
{
	struct page *page;

	while (io->nr_pages < io->shape.nr_blocks) {
		page = alloc_page(MIGDB_GFP);
		if (!page)
			return false;
		bvec_set_page(&io->bvec[io->nr_pages++], page, PAGE_SIZE, 0);
	}
	return true;
}

/* Pages of a run that somebody still wants built? */
static bool migdb_run_wanted(struct migdb_session *s, const struct migdb_fetch_run *run)
{
	bool postcopy = migdb_place_how(s->dst) == MIGDB_PLACE_ATOMIC, wanted = false;
	u32 i;

	for (i = 0; i < run->nr && !wanted; i++)
		wanted = migdb_dest_wanted(s->dst, run->index + i) &&
			 /* the source sends, too, and much of it is here already */
			 !(postcopy && migdb_place_settled(s, run->index + i));
	return wanted;
}

/*
 * Take runs off the list, in order, while they fit into one read.  Runs that
 * nobody wants any more are stepped over, a batch of pages per hold of the lock.
 */
static bool migdb_io_plan(struct migdb_session *s, struct migdb_io *io, u32 max)
{
	struct migdb_dest *d = s->dst;
	struct migdb_fetch_run *run;
	struct migdb_chunk *c;
	u32 gap, seen = 0;

	mutex_lock(&d->lock);
	while (io->nr_targets < MIGDB_IO_MAX_PAGES) {
		if (seen > MIGDB_HARVEST_BATCH) {
			seen = 0;
			mutex_unlock(&d->lock);
			cond_resched();
			mutex_lock(&d->lock);
		}
		c = list_first_entry_or_null(&d->chunks, struct migdb_chunk, node);
		if (!c)
			break;
		run = &c->runs[c->next_run];
		seen += run->nr;
		if (migdb_run_wanted(s, run)) {
			gap = io->shape.nr_blocks < MIGDB_IO_SHORT_PAGES ? MIGDB_IO_GAP_PAGES : 0;
			if (!migdb_io_add(&io->shape, migdb_where_disk(run->where),
					  migdb_where_block(run->where), run->nr,
					  max(max, (u32)run->nr), gap))
				break;
			io->target[io->nr_targets++] = (struct migdb_target) {
				.chunk = c, .run = run, .nr = run->nr,
			};
			c->nr_users++;
		}
		if (++c->next_run == c->nr_runs) {
			list_del(&c->node);
			if (!--c->nr_users) {
				list_del(&c->alive);
				migdb_chunk_free(d, c);
			}
		}
	}
	mutex_unlock(&d->lock);
	return io->nr_targets;
}

/*
 * How long the read has to wait for its turn at this session's share of the rate.  It
 * takes its bytes once.  A share that has become smaller or larger, because another
 * session came or went, makes the same turn later or sooner; when the operator has
 * changed the rate, what was owed is forgotten.
 */
static u64 migdb_io_turn_ns(struct migdb_fetch_lane *lane, u64 bytes)
{
	struct migdb_fetch *f = lane->s->dst->fetch;
	struct migdb_session *s = lane->s;
	u64 share, now, wait;
	u32 gen;

	spin_lock(&f->rate_lock);
	/* Both only grow, so each change makes another sum; see who writes them. */
	gen = smp_load_acquire(&migdb_rate_gen) + smp_load_acquire(&s->limits.gen);
	share = migdb_rate_share(migdb_fetch_rate(), atomic_read(&migdb_nr_fetchers));
	share = min_not_zero(share, READ_ONCE(s->limits.fetch_bytes_per_s));
	now = ktime_get_ns();
	if (f->rate_gen != gen) {
		f->rate_gen = gen;
		migdb_bucket_init(&f->rate, share, now);
	} else if (f->rate.bytes_per_s != share) {
		migdb_bucket_set_rate(&f->rate, share, now);
	}
	if (lane->held_turn && lane->held_gen == gen) {
		wait = migdb_bucket_wait(&f->rate, lane->held_taken, now);
	} else {
		wait = migdb_bucket_reserve(&f->rate, bytes, now);
		lane->held_taken = f->rate.taken_bytes;
		lane->held_gen = gen;
		lane->held_turn = true;
	}
	spin_unlock(&f->rate_lock);
	return wait;
}

/* Jiffies to wait for the host-wide limits, 0: go. */
static unsigned long migdb_io_limited(struct migdb_fetch_lane *lane, struct migdb_io *io)
{
	u64 bytes = (u64)io->shape.nr_blocks * MIGDB_PAGE_BYTES, share, own, wait_ns;
	struct migdb_fetch *f = lane->s->dst->fetch;
	struct migdb_session *s = lane->s;

	wait_ns = migdb_io_turn_ns(lane, bytes);
	if (wait_ns)	/* not for long: the rate may change */
		return min_t(u64, nsecs_to_jiffies64(wait_ns) + 1, MIGDB_RATE_LOOK_JIFFIES);
	share = div_u64(READ_ONCE(migdb_max_inflight_bytes),
			max(atomic_read(&migdb_nr_fetchers), 1));
	own = READ_ONCE(s->limits.inflight_bytes);
	if (own)
		share = min(share, own);
	/* one read is always allowed, or a small limit would be a stop */
	if (atomic_read(&f->nr_inflight) && atomic64_read(&s->n.inflight_bytes) + bytes > share)
		return 1;
	return 0;
}

static void migdb_io_submit(struct migdb_session *s, struct migdb_io *io)
{
	struct migdb_disk *disk = &s->disk[io->shape.disk];
	u64 bytes = (u64)io->shape.nr_blocks * MIGDB_PAGE_BYTES;
	struct migdb_fetch *f = s->dst->fetch;
	struct iov_iter iter;
	ssize_t ret;

	io->submit_ns = ktime_get_ns();
	io->lane->inflight++;
	atomic_inc(&f->nr_inflight);
	atomic64_add(bytes, &s->n.inflight_bytes);
	atomic64_inc(&s->n.reads);
	atomic64_add(bytes, &s->n.read_bytes);
	migdb_span_begin(&s->n.fetching);
	init_sync_kiocb(&io->iocb, disk->file);
	io->iocb.ki_pos = io->shape.first_block << MIGDB_PAGE_SHIFT;
	io->iocb.ki_flags |= IOCB_DIRECT;
	io->iocb.ki_complete = migdb_io_complete;
	iov_iter_bvec(&iter, ITER_DEST, io->bvec, io->shape.nr_blocks, bytes);
	ret = vfs_iocb_iter_read(disk->file, &io->iocb, &iter);
	if (ret != -EIOCBQUEUED)
		migdb_io_complete(&io->iocb, ret);
}

/* A read that will not be made: its pages go back. */
static void migdb_io_refuse(struct migdb_session *s, struct migdb_io *io, u32 reason)
{
	const struct migdb_fetch_run *run;
	u32 t, i;

	for (t = 0; t < io->nr_targets; t++) {
		run = io->target[t].run;
		for (i = 0; i < io->target[t].nr; i++)
			migdb_dest_return(s, run->index + io->target[t].from + i, reason);
	}
	migdb_io_reset(s, io);
	list_add(&io->free, &io->lane->free);
	migdb_tx_wake(s);
}

static struct migdb_io *migdb_lane_io(struct migdb_fetch_lane *lane)
{
	struct migdb_io *io;

	io = list_first_entry_or_null(&lane->free, struct migdb_io, free);
	if (io) {
		list_del(&io->free);
		return io;
	}
	if (lane->depth == MIGDB_LANE_DEPTH)
		return NULL;
	io = kvzalloc(sizeof(*io), MIGDB_GFP);
	if (io) {
		io->lane = lane;
		lane->depth++;
	}
	return io;
}

/*
 * The next read of the lane.  In post-copy one lane makes those that the guest waits
 * for and one the others, of which there are few and short ones: the guest's turn comes
 * soon, both at the worker and at the device.
 */
static bool migdb_lane_plan(struct migdb_fetch_lane *lane, struct migdb_io *io)
{
	u32 place = migdb_place_how(lane->s->dst);

	if (place == MIGDB_PLACE_HELD)
		return false;
	/* when it is over, nothing is left to build, and this lets go of what is read */
	if (place != MIGDB_PLACE_ATOMIC)
		return migdb_io_plan(lane->s, io, MIGDB_IO_MAX_PAGES);
	switch (lane->nr) {
	case MIGDB_FAULT_LANE:
		return migdb_fault_plan(lane->s, io);
	case MIGDB_BULK_LANE:
		return lane->inflight < READ_ONCE(migdb_postcopy_bulk_reads) &&
		       migdb_io_plan(lane->s, io, MIGDB_POSTCOPY_IO_PAGES);
	default:
		return false;
	}
}

/* Plan and submit until the lane is deep enough, or a limit or the list says stop. */
static void migdb_lane_submit(struct migdb_fetch_lane *lane)
{
	struct migdb_session *s = lane->s;
	struct migdb_fetch *f = s->dst->fetch;
	struct migdb_io *io;
	unsigned long wait;

	while (!READ_ONCE(f->dying)) {
		io = lane->held;
		lane->held = NULL;
		if (!io) {
			io = migdb_lane_io(lane);
			if (!io) {
				/* full, or no memory: then nothing else wakes us */
				if (!lane->depth)
					queue_delayed_work(migdb_wq, &lane->retry, HZ / 10);
				break;
			}
			if (!migdb_lane_plan(lane, io)) {
				/* nothing to read: keep no bounce pages for it */
				list_add(&io->free, &lane->free);
				list_for_each_entry(io, &lane->free, free)
					migdb_io_trim(io);
				break;
			}
			if (!migdb_io_pages(io)) {
				/* it must be said, too, and that needs a little */
				migdb_io_trim(io);
				migdb_io_refuse(s, io, MIGDB_REASON_NO_MEMORY);
				cond_resched();
				continue;
			}
		}
		wait = migdb_io_limited(lane, io);
		/* what the guest waits for takes its share, and what is in bulk waits for it */
		if (lane->nr == MIGDB_FAULT_LANE &&
		    migdb_place_how(s->dst) == MIGDB_PLACE_ATOMIC)
			wait = 0;
		if (wait) {
			lane->held = io;
			queue_delayed_work(migdb_wq, &lane->retry, wait);
			break;
		}
		lane->held_turn = false;
		migdb_io_submit(s, io);
		cond_resched();
	}
	/* the stream had the last page that was to be read */
	if (READ_ONCE(s->dst->drained_due))
		migdb_tx_wake(s);
}

/* All targets of a finished read.  False: not now. */
static bool migdb_io_place(struct migdb_io *io)
{
	u32 t;

	for (t = 0; t < io->nr_targets; t++) {
		if (!migdb_place_target(io, &io->target[t]))
			return false;
		cond_resched();
	}
	return true;
}

static void migdb_io_measure(struct migdb_session *s, struct migdb_io *io)
{
	struct migdb_dest *d = s->dst;
	u64 ns = ktime_get_ns() - io->submit_ns;

	if (migdb_place_how(d) != MIGDB_PLACE_ATOMIC)
		return;
	mutex_lock(&d->lock);
	migdb_latency_add(&d->placer->latency, ns);
	mutex_unlock(&d->lock);
}

/*
 * Finished reads, at most MIGDB_PLACE_BATCH_PAGES pages; in post-copy one read.  True:
 * there are more.
 */
static bool migdb_lane_finish(struct migdb_fetch_lane *lane)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&lane->done));
	bool postcopy = migdb_place_how(lane->s->dst) == MIGDB_PLACE_ATOMIC;
	bool dying = READ_ONCE(lane->s->dst->fetch->dying), stop = false, held = false;
	struct migdb_session *s = lane->s;
	ktime_t start = ktime_get();
	struct migdb_io *io, *next;
	u32 pages = 0, t;

	if (!list)
		return false;
	llist_for_each_entry_safe(io, next, list, done) {
		if (stop) {
			/* back for the next turn; order does not matter */
			llist_add(&io->done, &lane->done);
			continue;
		}
		if (dying) {		/* the session is closing: nobody looks any more */
			migdb_io_over(s, io);
			continue;
		}
		migdb_io_measure(s, io);
		if (!migdb_io_place(io)) {
			/* held: who ends that kicks us */
			llist_add(&io->done, &lane->done);
			stop = true;
			held = true;
			continue;
		}
		trace_migdb_fetch(s->label, io->shape.disk, io->shape.first_block,
				  io->shape.nr_blocks, io->ret);
		for (t = 0; t < io->nr_targets; t++)
			pages += io->target[t].nr;
		migdb_io_over(s, io);
		stop = postcopy || pages >= MIGDB_PLACE_BATCH_PAGES;
	}
	migdb_span_end(&s->n.fetching);
	atomic64_add(ktime_to_ns(ktime_sub(ktime_get(), start)), &s->n.hash_ns);
	migdb_tx_wake(s);
	return !held && !llist_empty(&lane->done);
}

/* The lane's work, on its vhost worker. */
void migdb_fetch_lane(void *ctx, unsigned int nr)
{
	struct migdb_session *s = ctx;
	struct migdb_fetch_lane *lane;
	bool more;

	if (!s->dst || !s->dst->fetch)
		return;
	lane = &s->dst->fetch->lane[nr];
	/* what has come home waits; who ends this state kicks us */
	if (migdb_state(s) == MIGDB_STATE_HELD && !READ_ONCE(s->dst->fetch->dying))
		return;
	mutex_lock(&lane->lock);
	more = migdb_lane_finish(lane);
	migdb_lane_submit(lane);
	mutex_unlock(&lane->lock);
	if (more && !migdb_vhost_kick(s->vhost, nr))
		queue_work(migdb_wq, &lane->reap);
}

void migdb_fetch_kick(struct migdb_session *s)
{
	unsigned int i;

	for (i = 0; i < MIGDB_NR_LANES; i++)
		migdb_vhost_kick(s->vhost, i);
}

int migdb_fetch_create(struct migdb_session *s)
{
	struct migdb_fetch *f;
	unsigned int i;

	f = kvzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	init_waitqueue_head(&f->idle_wait);
	spin_lock_init(&f->rate_lock);
	/* any rate but the present one: the first read sets up the share */
	f->rate_gen = READ_ONCE(migdb_rate_gen) - 1;
	for (i = 0; i < MIGDB_NR_LANES; i++) {
		f->lane[i].s = s;
		f->lane[i].nr = i;
		init_llist_head(&f->lane[i].done);
		mutex_init(&f->lane[i].lock);
		INIT_LIST_HEAD(&f->lane[i].free);
		INIT_WORK(&f->lane[i].reap, migdb_lane_reap);
		INIT_DELAYED_WORK(&f->lane[i].retry, migdb_lane_retry);
	}
	s->dst->fetch = f;
	return 0;
}

/*
 * No more reads.  Waits for those in flight, however long storage takes: their
 * pages are ours.  The device file is closing: nobody adds records any more.
 */
void migdb_fetch_stop(struct migdb_session *s)
{
	struct migdb_fetch *f = s->dst->fetch;
	unsigned int i;

	WRITE_ONCE(f->dying, true);
	for (i = 0; i < MIGDB_NR_LANES; i++)
		cancel_delayed_work_sync(&f->lane[i].retry);
	/* a lane that was planning before it could see dying */
	for (i = 0; i < MIGDB_NR_LANES; i++) {
		mutex_lock(&f->lane[i].lock);
		mutex_unlock(&f->lane[i].lock);
		/* reads that came home and were held: nobody else puts them away */
		queue_work(migdb_wq, &f->lane[i].reap);
	}
	wait_event(f->idle_wait, !atomic_read(&f->nr_inflight));
	/* completion handlers that are still on their way out */
	synchronize_rcu();
}

/* After migdb_fetch_stop() and the end of the vhost workers. */
void migdb_fetch_free(struct migdb_session *s)
{
	struct migdb_fetch *f = s->dst->fetch;
	struct migdb_io *io, *next;
	struct migdb_fetch_lane *lane;
	unsigned int i;

	if (!f)
		return;
	for (i = 0; i < MIGDB_NR_LANES; i++) {
		lane = &f->lane[i];
		flush_work(&lane->reap);
		cancel_delayed_work_sync(&lane->retry);
		if (lane->held) {
			migdb_io_reset(s, lane->held);
			migdb_io_free(lane->held);
		}
		list_for_each_entry_safe(io, next, &lane->free, free)
			migdb_io_free(io);
	}
	s->dst->fetch = NULL;
	kvfree(f);
}

bool migdb_queue_work(struct work_struct *work)
{
	return queue_work(migdb_wq, work);
}

int migdb_fetch_init(void)
{
	migdb_wq = alloc_workqueue("migdb", WQ_UNBOUND, 0);
	return migdb_wq ? 0 : -ENOMEM;
}

void migdb_fetch_exit(void)
{
	destroy_workqueue(migdb_wq);
}
