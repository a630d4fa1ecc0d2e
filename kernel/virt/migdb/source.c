// SPDX-License-Identifier: GPL-2.0
/*
 * Source side: the construct set while the guest runs.
 *
 * Every writer of guest memory must end in migdb_source_drop() before the page
 * that it wrote is copied for the stream:
 *	vCPUs		MIGDB_HARVEST (ring bound here) or the VMM's bitmap
 *	VMM, vhost, vhost-user, VFIO DMA	MIGDB_DIRTY, the VMM's merged bitmap
 *	balloon, unplug, discard		MIGDB_INVALIDATE
 * A write that lands between hash and drop is in a log that was armed before the
 * hash, so the next round's drop sees it; a write before the hash is in the hash.
 */
#include <linux/bitmap.h>
#include <linux/find.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "alloc.h"
#include "kvm_shim.h"
#include "source.h"
#include "trace.h"

#define MIGDB_BITMAP_CHUNK_BITS		(8 * PAGE_SIZE)

static size_t migdb_bitmap_bytes(u64 nr_pages)
{
	return BITS_TO_LONGS(nr_pages) * sizeof(long);
}

/* What a source of @nr_pages allocates; the window array grows with the set. */
u64 migdb_source_need_bytes(u64 nr_pages)
{
	u64 window = min_t(u64, nr_pages, MIGDB_WINDOW_ENTRIES);

	return sizeof(struct migdb_source) + PAGE_ALIGN(migdb_bitmap_bytes(nr_pages)) +
	       3 * migdb_bitmap_bytes(nr_pages) + 3 * migdb_hbitmap_bytes(nr_pages) +
	       window * sizeof(struct migdb_cand) + MIGDB_WINDOW_BUCKETS * sizeof(u32) +
	       MIGDB_DEQUEUE_RUNS * sizeof(struct migdb_run) +
	       sizeof(struct migdb_table_walk) + PAGE_SIZE + MIGDB_TX_MAX_BYTES +
	       MIGDB_MAX_FRAME_BYTES;
}

int migdb_source_create(struct migdb_session *s)
{
	u64 n = s->regions.nr_pages;
	u64 need = migdb_source_need_bytes(n), tables;
	struct migdb_source *src;

	src = kzalloc(sizeof(*src), MIGDB_GFP);
	if (!src)
		return -ENOMEM;
	s->src = src;
	/* the bitmap may outlive the session, and has its own part */
	tables = need - PAGE_ALIGN(migdb_bitmap_bytes(n));
	if (migdb_budget_get(tables))
		goto undo;
	s->budget_bytes = tables;
	mutex_init(&src->hash_lock);
	mutex_init(&src->set_lock);
	mutex_init(&src->dequeue_lock);
	s->map = migdb_map_create(migdb_bitmap_bytes(n), false);
	src->armed = migdb_zalloc(migdb_bitmap_bytes(n));
	src->recorded = migdb_zalloc(migdb_bitmap_bytes(n));
	src->confirmed = migdb_zalloc(migdb_bitmap_bytes(n));
	src->walk = migdb_zalloc(sizeof(*src->walk));
	src->page = migdb_zalloc(PAGE_SIZE);
	src->runs = migdb_zalloc(MIGDB_DEQUEUE_RUNS * sizeof(*src->runs));
	src->cand_max = min_t(u64, n, MIGDB_WINDOW_ENTRIES);
	src->cand = migdb_zalloc(src->cand_max * sizeof(*src->cand));
	if (!s->map || !src->armed || !src->recorded || !src->confirmed || !src->walk ||
	    !src->page || !src->cand || !src->runs || migdb_hbitmap_init(&src->send, n) ||
	    migdb_hbitmap_init(&src->revoke, n) || migdb_hbitmap_init(&src->revoke_taken, n))
		goto undo;
	src->set = s->map->mem;
	s->memory_bytes = need;
	return 0;
undo:
	migdb_source_destroy(s);
	return -ENOMEM;
}

void migdb_source_destroy(struct migdb_session *s)
{
	struct migdb_source *src = s->src;

	if (!src)
		return;
	migdb_free(src->armed);
	migdb_free(src->recorded);
	migdb_free(src->confirmed);
	migdb_free(src->walk);
	migdb_free(src->page);
	migdb_free(src->runs);
	migdb_free(src->cand);
	migdb_windows_destroy(&src->windows);
	migdb_hbitmap_destroy(&src->send);
	migdb_hbitmap_destroy(&src->revoke);
	migdb_hbitmap_destroy(&src->revoke_taken);
	migdb_map_put(s->map);
	s->map = NULL;
	migdb_budget_put(s->budget_bytes);
	s->budget_bytes = 0;
	kfree(src);
	s->src = NULL;
}

/*
 * The session is aborted: the VMM reads the bitmap and the queue, in whatever order,
 * and sends what is in either.  No page may go from the one to the other meanwhile,
 * and none may enter the queue when the VMM has looked at it for the last time.
 * Whoever holds set_lock now has done when this returns; who comes later sees the
 * flag.  Before the state says ABORTED, so that nobody can know of it earlier.
 */
void migdb_source_freeze(struct migdb_session *s)
{
	mutex_lock(&s->src->set_lock);
	s->src->frozen = true;
	/* no harvest any more: what is in the rings is the VMM's */
	if (s->kvm)
		migdb_kvm_leave_ring(s->kvm);
	mutex_unlock(&s->src->set_lock);
}

/*
 * Take a page out of the set.  False if it was not in it: then it is, or was,
 * somebody else's to send; or if it stays there for good.  Under set_lock.
 */
bool migdb_source_take(struct migdb_session *s, u64 index, u32 reason, bool queue, bool by_dest)
{
	struct migdb_source *src = s->src;

	lockdep_assert_held(&src->set_lock);
	if (src->frozen || !test_bit(index, src->set))
		return false;
	/* the VMM reads the map without a lock: order against what it sends later
	 * comes from the ioctl's return
	 */
	clear_bit(index, src->set);
	if (test_bit(index, src->recorded)) {
		if (__test_and_clear_bit(index, src->confirmed))
			atomic64_dec(&s->n.built);
		else
			src->nr_unconfirmed--;
		if (reason == MIGDB_REASON_DIRTY || reason == MIGDB_REASON_INVALIDATED ||
		    reason == MIGDB_REASON_UNCOVERED)
			atomic64_inc(&s->n.revoked);
		else
			atomic64_inc(&s->n.returned);
		/* what the destination gave back it does not build */
		if (!by_dest)
			migdb_hbitmap_set(reason == MIGDB_REASON_TAKEN && src->says_taken ?
					  &src->revoke_taken : &src->revoke, index);
	} else {
		atomic64_inc(&s->n.dropped);
	}
	migdb_count_reason(s, reason, 1);
	trace_migdb_return(s->label, MIGDB_ROLE_SOURCE, index, reason);
	if (queue)
		migdb_hbitmap_set(&src->send, index);
	return true;
}

bool migdb_source_drop(struct migdb_session *s, u64 index, u32 reason, bool queue)
{
	return migdb_source_take(s, index, reason, queue, false);
}

static int migdb_check_range(struct migdb_session *s, u64 first, u64 count)
{
	u64 n = s->regions.nr_pages;

	return !count || first >= n || count > n - first ? -EINVAL : 0;
}

int migdb_source_armed(struct migdb_session *s, struct migdb_armed *arg)
{
	struct migdb_source *src = s->src;
	u64 i, end, batch;
	int ret;

	ret = migdb_check_range(s, arg->first, arg->count);
	if (ret)
		return ret;
	if (s->kvm) {
		ret = migdb_kvm_check_slots(s->kvm);
		if (ret)
			return ret;
	}
	end = arg->first + arg->count;
	for (i = arg->first; i < end; i += batch) {
		batch = min_t(u64, end - i, MIGDB_BITMAP_CHUNK_BITS);
		mutex_lock(&src->set_lock);
		bitmap_set(src->armed, i, batch);
		src->nr_armed += batch;
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	return 0;
}

/*
 * The VMM's bitmap, a page of it at a time.  Words that are zero cost a load; the
 * bitmap is the VMM's, and so is its size.
 */
int migdb_source_dirty(struct migdb_session *s, struct migdb_dirty *arg)
{
	struct migdb_source *src = s->src;
	u64 done, bits, dropped = 0;
	unsigned long *buf, bit;
	void __user *uptr;
	int ret;

	ret = migdb_check_range(s, arg->first, arg->count);
	if (ret)
		return ret;
	if (arg->first % 64)
		return -EINVAL;
	buf = (unsigned long *)__get_free_page(MIGDB_GFP);
	if (!buf)
		return -ENOMEM;
	for (done = 0; done < arg->count; done += bits) {
		bits = min_t(u64, arg->count - done, MIGDB_BITMAP_CHUNK_BITS);
		uptr = u64_to_user_ptr(arg->bitmap_uptr + done / 8);
		/* user space may have rounded its bitmap to bytes, not to longs */
		buf[BITS_TO_LONGS(bits) - 1] = 0;
		if (copy_from_user(buf, uptr, DIV_ROUND_UP(bits, 8))) {
			ret = -EFAULT;
			break;
		}
		cond_resched();
		/* most of memory is clean, and the hasher is busy with set_lock */
		if (bitmap_empty(buf, bits))
			continue;
		mutex_lock(&src->set_lock);
		for_each_set_bit(bit, buf, bits)
			dropped += migdb_source_drop(s, arg->first + done + bit,
						     MIGDB_REASON_DIRTY, false);
		mutex_unlock(&src->set_lock);
	}
	free_page((unsigned long)buf);
	arg->out_dropped = dropped;
	if (dropped)
		migdb_tx_wake(s);
	return ret;
}

struct migdb_harvest_ctx {
	struct migdb_session *s;
	u64 queued;
};

static bool migdb_harvest_page(void *data, u64 hva)
{
	struct migdb_harvest_ctx *ctx = data;
	struct migdb_source *src = ctx->s->src;
	const struct migdb_region *r;
	u64 index;

	r = migdb_region_of_hva(&ctx->s->regions, hva);
	if (!r)
		return false;
	index = r->base + ((hva - r->hva) >> MIGDB_PAGE_SHIFT);
	migdb_source_drop(ctx->s, index, MIGDB_REASON_DIRTY, false);
	/* dirty is dirty, in the set or not: the VMM has no other log */
	ctx->queued += migdb_hbitmap_set(&src->send, index);
	return true;
}

/*
 * Subtract, queue, reset and flush are one critical section under set_lock: the
 * hasher, which adds to the set, is never in between.  All that is in the rings at
 * the call is consumed, and no more than fits them: a guest that writes faster than
 * we reset does not keep the caller here.
 */
int migdb_source_harvest(struct migdb_session *s, u64 *harvested, u64 *queued)
{
	struct migdb_harvest_ctx ctx = { .s = s };
	struct migdb_source *src = s->src;
	struct migdb_kvm_pass pass = {};
	unsigned int n = 0;
	int ret;

	*harvested = 0;
	if (!s->kvm)
		return -EOPNOTSUPP;
	do {
		mutex_lock(&src->set_lock);
		/* aborted: what is still in the rings is the VMM's */
		ret = src->frozen ? -ECANCELED :
		      migdb_kvm_harvest(s->kvm, &pass, MIGDB_HARVEST_BATCH,
					migdb_harvest_page, &ctx, &n);
		mutex_unlock(&src->set_lock);
		if (ret != -ECANCELED)
			*harvested += n;
		cond_resched();
		/* not a success: who seals relies on empty rings */
		if (!ret && n == MIGDB_HARVEST_BATCH && fatal_signal_pending(current))
			ret = -EINTR;
	} while (!ret && n == MIGDB_HARVEST_BATCH);

	atomic64_add(*harvested, &s->n.harvested);
	trace_migdb_harvest(s->label, *harvested, ctx.queued, ret);
	*queued = ctx.queued;
	if (ret == -ESTALE)
		migdb_session_abort(s, MIGDB_REASON_FOREIGN_REAPER);
	if (ret == -EIO) {
		/* some page is or may be dirty, and nobody can say which: give up the set */
		migdb_session_abort(s, MIGDB_REASON_UNCOVERED);
		ret = -ECANCELED;
	}
	/* also for a page that was queued before, and is to be revoked since now */
	if (*harvested)
		migdb_tx_wake(s);
	return ret;
}

int migdb_source_invalidate(struct migdb_session *s, u64 first, u64 count)
{
	struct migdb_source *src = s->src;
	u64 i, end;
	int ret;

	ret = migdb_check_range(s, first, count);
	if (ret)
		return ret;
	end = first + count;
	while (first < end && !ret) {
		mutex_lock(&src->set_lock);
		if (src->frozen)
			ret = -ECANCELED;
		for (i = 0; !ret && i < MIGDB_SET_BATCH_PAGES && first < end; i++, first++) {
			migdb_source_drop(s, first, MIGDB_REASON_INVALIDATED, false);
			migdb_hbitmap_set(&src->send, first);
		}
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	migdb_tx_wake(s);
	return ret;
}

/* What did not reach the caller, back into the queue. */
static void migdb_requeue(struct migdb_session *s, const struct migdb_run *runs, u32 n)
{
	struct migdb_source *src = s->src;
	u64 i;

	for (; n--; runs++) {
		mutex_lock(&src->set_lock);
		for (i = 0; i < runs->count; i++)
			migdb_hbitmap_set(&src->send, runs->first + i);
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
}

/*
 * Copies out by itself: a page that left the queue and did not reach the caller
 * would never be sent.  What could not be copied goes back.  Allocates nothing:
 * pages that were taken from the set and cannot be handed out are lost to a VMM
 * that is just about to go on without us.
 */
int migdb_source_dequeue(struct migdb_session *s, struct migdb_dequeue *arg,
			 struct migdb_dequeue __user *uarg)
{
	u32 n = 0, hold = 0, max = min(arg->max_runs, MIGDB_DEQUEUE_RUNS);
	struct migdb_source *src = s->src;
	struct migdb_run *runs = src->runs;
	u64 left = arg->max_pages;
	int ret = 0;

	mutex_lock(&src->dequeue_lock);
	mutex_lock(&src->set_lock);
	for (; n < max && left; n++) {
		if (hold++ == MIGDB_DEQUEUE_HOLD_RUNS) {
			mutex_unlock(&src->set_lock);
			cond_resched();
			hold = 1;
			mutex_lock(&src->set_lock);
		}
		runs[n].count = migdb_hbitmap_pop_run(&src->send, 0,
						      min_t(u64, left, MIGDB_HARVEST_BATCH),
						      &runs[n].first);
		if (!runs[n].count)
			break;
		left -= runs[n].count;
	}
	arg->out_nr_runs = n;
	arg->out_left_pages = src->send.nr_set;
	mutex_unlock(&src->set_lock);

	if (copy_to_user(u64_to_user_ptr(arg->runs_uptr), runs, n * sizeof(*runs)) ||
	    copy_to_user(uarg, arg, sizeof(*arg))) {
		migdb_requeue(s, runs, n);
		ret = -EFAULT;
	} else {
		atomic64_add(arg->max_pages - left, &s->n.sent);
	}
	mutex_unlock(&src->dequeue_lock);
	return ret;
}

/* Everything that the destination has not confirmed: into the send queue. */
u64 migdb_source_reclaim(struct migdb_session *s, u32 reason)
{
	u64 n = s->regions.nr_pages, i, end, moved = 0;
	struct migdb_source *src = s->src;

	for (i = 0; i < n; i = end) {
		end = min_t(u64, n, i + MIGDB_BITMAP_CHUNK_BITS);
		mutex_lock(&src->set_lock);
		for (i = find_next_bit(src->set, end, i); i < end;
		     i = find_next_bit(src->set, end, i + 1)) {
			if (!test_bit(i, src->recorded) || test_bit(i, src->confirmed))
				continue;
			moved += migdb_source_drop(s, i, reason, true);
		}
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	if (moved)
		migdb_tx_wake(s);
	return moved;
}

/*
 * The destination's guest waits for these pages, and the VMM sends them at once.  It
 * has given up building them: nothing is revoked.
 */
int migdb_source_request(struct migdb_session *s, struct migdb_request *arg)
{
	u64 i = arg->first, end, stop, taken = 0;
	struct migdb_source *src = s->src;
	int ret;

	ret = migdb_check_range(s, arg->first, arg->count);
	if (ret)
		return ret;
	end = arg->first + arg->count;
	while (i < end && !ret) {
		stop = min(end, i + MIGDB_HARVEST_BATCH);
		mutex_lock(&src->set_lock);
		if (src->frozen)	/* the VMM has the bitmap, as it is */
			ret = -ECANCELED;
		for (; !ret && i < stop; i++)
			taken += migdb_source_take(s, i, MIGDB_REASON_LATE, false, true) ||
				 migdb_hbitmap_clear(&src->send, i);
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	atomic64_add(taken, &s->n.requested);
	arg->out_taken = taken;
	return ret;
}

int migdb_source_seal(struct migdb_session *s, struct migdb_seal *arg)
{
	struct migdb_source *src = s->src;
	u64 harvested, queued;
	int ret;

	if (s->kvm) {
		if (!migdb_kvm_vcpus_out(s->kvm))
			return -EBUSY;
		ret = migdb_source_harvest(s, &harvested, &queued);
		if (ret)
			return ret;
	}
	mutex_lock(&src->hash_lock);
	ret = migdb_session_transit(s, MIGDB_EV_SEAL);
	if (!ret)
		migdb_source_unhash(s, MIGDB_REASON_LATE);
	mutex_unlock(&src->hash_lock);
	if (ret)
		return ret;
	mutex_lock(&src->set_lock);
	src->finish_due = true;
	arg->out_unconfirmed = src->nr_unconfirmed;
	arg->out_queued = src->send.nr_set;
	mutex_unlock(&src->set_lock);
	migdb_tx_wake(s);
	return 0;
}

int migdb_source_complete(struct migdb_session *s)
{
	struct migdb_source *src = s->src;
	int ret;

	/* rx_lock: nothing comes back between the look and the end */
	if (mutex_lock_killable(&s->rx_lock))
		return -EINTR;
	mutex_lock(&src->set_lock);
	ret = src->send.nr_set || src->nr_unconfirmed ? -EBUSY : 0;
	mutex_unlock(&src->set_lock);
	if (!ret)
		ret = migdb_session_transit(s, MIGDB_EV_COMPLETE);
	mutex_unlock(&s->rx_lock);
	return ret;
}
