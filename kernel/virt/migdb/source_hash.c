// SPDX-License-Identifier: GPL-2.0
/*
 * Source side: from the guest's hint table to records.
 *
 * SNAPSHOT walks the table once and puts every armed page that it names into the
 * set: from then on the VMM skips it.  HASH walks it again, a window of disk
 * blocks at a time, hashes the pages that are still in the set and emits their
 * records in disk order.  A page is hashed only while it is armed and in the set,
 * under set_lock; whatever writes to it later drops it.  A candidate that was
 * skipped but never hashed has no record: it ends in the send queue.
 *
 * The guest is asked to leave the table alone meanwhile.  If it does not, the
 * walks differ: pages seen only by the first are sent at the end, pages seen only
 * by the second are not in the set and are stepped over.
 */
#include <linux/bitmap.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <uapi/linux/mem_hints.h>
#include "alloc.h"
#include "source.h"

struct migdb_walk_ctx {
	struct migdb_session *s;
	bool locked;			/* set_lock is held: from entry() to yield() */
	u64 exclude_uptr;
	u64 exclude_first;		/* first bit of the chunk in exclude[] */
	unsigned long *exclude;		/* one page, or NULL */
	u64 nr;				/* candidates found */
};

static int migdb_read_guest_page(void *data, u64 gpa, void *page)
{
	struct migdb_walk_ctx *ctx = data;
	struct migdb_session *s = ctx->s;
	const struct migdb_region *r;
	u64 gfn = gpa >> MIGDB_PAGE_SHIFT, hva;

	if (gpa & (MIGDB_PAGE_BYTES - 1))
		return -EINVAL;
	r = migdb_region_of_gfn(&s->regions, gfn);
	if (!r)
		return -EFAULT;
	hva = migdb_region_hva(r, migdb_region_index(r, gfn));
	s->src->table_bytes += MIGDB_PAGE_BYTES;
	return copy_from_user(page, u64_to_user_ptr(hva), MIGDB_PAGE_BYTES) ? -EFAULT : 0;
}

static int migdb_walk_yield(void *data)
{
	struct migdb_walk_ctx *ctx = data;

	if (ctx->locked) {
		mutex_unlock(&ctx->s->src->set_lock);
		ctx->locked = false;
	}
	cond_resched();
	if (fatal_signal_pending(current))
		return -EINTR;
	/* whoever aborts need not wait for the rest of the table */
	return migdb_state(ctx->s) == MIGDB_STATE_ABORTED ? -ECANCELED : 0;
}

/* Index and disk position of an entry; false if it names nothing of ours. */
static bool migdb_entry_where(struct migdb_session *s, u64 gfn, u32 disk, u64 block,
			      u64 *index, u64 *where)
{
	const struct migdb_region *r = migdb_region_of_gfn(&s->regions, gfn);
	unsigned int d;

	if (!r || disk >= MIGDB_MAX_DISKS)
		return false;
	disk = array_index_nospec(disk, MIGDB_MAX_DISKS);
	if (!s->guest_disk[disk])
		return false;
	d = s->guest_disk[disk] - 1;
	if (block >= s->disk[d].nr_blocks)
		return false;
	*index = migdb_region_index(r, gfn);
	*where = migdb_where(d, block);
	return true;
}

/* 1: the VMM has sent it already; 0: not; negative: its bitmap is unreadable. */
static int migdb_walk_excluded(struct migdb_walk_ctx *ctx, u64 index)
{
	u64 first = round_down(index, 8 * PAGE_SIZE);
	u64 bits = min_t(u64, ctx->s->regions.nr_pages - first, 8 * PAGE_SIZE);

	if (!ctx->exclude)
		return 0;
	if (first != ctx->exclude_first) {
		ctx->exclude[BITS_TO_LONGS(bits) - 1] = 0;
		if (copy_from_user(ctx->exclude, u64_to_user_ptr(ctx->exclude_uptr + first / 8),
				   DIV_ROUND_UP(bits, 8)))
			return -EFAULT;
		ctx->exclude_first = first;
	}
	return test_bit(index - first, ctx->exclude);
}

/* First walk: into the set. */
static int migdb_snapshot_entry(void *data, u64 gfn, u32 disk, u64 block, u32 class)
{
	struct migdb_walk_ctx *ctx = data;
	struct migdb_session *s = ctx->s;
	struct migdb_source *src = s->src;
	u64 index, where;
	int ret;

	/* hot pages are wanted at once, discardable ones hold no block */
	if (class != MEM_HINT_CLASS_BACKED)
		return 0;
	if (!migdb_entry_where(s, gfn, disk, block, &index, &where)) {
		src->nr_bad_entries++;
		return 0;
	}
	if (!ctx->locked) {
		mutex_lock(&src->set_lock);
		ctx->locked = true;
	}
	/* one that was written to since it was armed is the queue's: never both */
	if (!test_bit(index, src->armed) || migdb_hbitmap_test(&src->send, index))
		return 0;
	ret = migdb_walk_excluded(ctx, index);
	if (ret)
		return ret < 0 ? ret : 0;
	if (!test_and_set_bit(index, src->set)) {
		ctx->nr++;
		atomic64_inc(&s->n.candidates);
		migdb_windows_note(&src->windows, migdb_where_disk(where), block);
	}
	return 0;
}

/* Later walks: candidates of this window that are still wanted. */
static int migdb_window_entry(void *data, u64 gfn, u32 disk, u64 block, u32 class)
{
	struct migdb_walk_ctx *ctx = data;
	struct migdb_source *src = ctx->s->src;
	u64 index, where;

	if (class != MEM_HINT_CLASS_BACKED)
		return 0;
	if (!migdb_entry_where(ctx->s, gfn, disk, block, &index, &where))
		return 0;
	if (where < src->window_first || where >= src->window_end)
		return 0;
	/* unlocked: the hasher looks again */
	if (!test_bit(index, src->set) || src->nr_cand == src->cand_max)
		return 0;
	src->cand[src->nr_cand].where = where;
	src->cand[src->nr_cand].index = index;
	src->nr_cand++;
	return 0;
}

static int migdb_walk_regions(struct migdb_walk_ctx *ctx, const struct migdb_table_ops *ops)
{
	struct migdb_session *s = ctx->s;
	const struct migdb_region *r;
	u64 end;
	int ret = 0;
	u32 i;

	for (i = 0; i < s->regions.nr && !ret; i++) {
		r = &s->regions.r[i];
		end = min(r->first_gfn + r->nr_pages, s->src->table.nr_frames);
		if (r->first_gfn < end)
			ret = migdb_table_walk(&s->src->table, s->src->walk, r->first_gfn,
					       end, ops, ctx);
	}
	if (ctx->locked)
		mutex_unlock(&s->src->set_lock);
	ctx->locked = false;
	return ret;
}

static const struct migdb_table_ops migdb_snapshot_ops = {
	.read_page = migdb_read_guest_page,
	.entry = migdb_snapshot_entry,
	.yield = migdb_walk_yield,
};

static const struct migdb_table_ops migdb_window_ops = {
	.read_page = migdb_read_guest_page,
	.entry = migdb_window_entry,
	.yield = migdb_walk_yield,
};

/*
 * As if it had not been called: nothing is in the set, and nothing has left it.
 * The bitmap of much memory is long, so in pieces.  Nobody has skipped a page yet:
 * whether a write meanwhile finds its page in the set or not makes no difference.
 */
static void migdb_snapshot_undo(struct migdb_session *s)
{
	struct migdb_source *src = s->src;
	u64 n = s->regions.nr_pages, i, nr;
	u32 r;

	for (i = 0; i < n; i += nr) {
		nr = min_t(u64, n - i, 8 * PAGE_SIZE);
		mutex_lock(&src->set_lock);
		bitmap_clear(src->set, i, nr);
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	mutex_lock(&src->set_lock);
	atomic64_set(&s->n.candidates, 0);
	atomic64_set(&s->n.dropped, 0);
	for (r = 0; r < MIGDB_NR_REASONS; r++)
		atomic64_set(&s->n.by_reason[r], 0);
	mutex_unlock(&src->set_lock);
}

static int migdb_snapshot_locked(struct migdb_session *s, struct migdb_walk_ctx *ctx)
{
	struct migdb_source *src = s->src;
	u64 nr_blocks[MIGDB_MAX_DISKS];
	unsigned int i;
	int ret;

	if (migdb_state(s) != MIGDB_STATE_ARMING)
		return -EBUSY;
	if (!s->has_table)
		return -ENOENT;
	if (!src->nr_armed)
		return -EBUSY;
	ret = migdb_read_guest_page(ctx, s->root_gpa, src->page);
	if (!ret)
		ret = migdb_table_parse_root(src->page, &src->table);
	if (ret)
		return -ENOENT;
	for (i = 0; i < MIGDB_MAX_DISKS; i++)
		nr_blocks[i] = s->disk[i].file ? s->disk[i].nr_blocks : 0;
	migdb_windows_destroy(&src->windows);
	ret = migdb_windows_init(&src->windows, nr_blocks, MIGDB_MAX_DISKS, src->cand_max);
	if (ret)
		return ret;
	ret = migdb_walk_regions(ctx, &migdb_snapshot_ops);
	if (!ret)
		ret = migdb_session_transit(s, MIGDB_EV_SNAPSHOT);
	if (ret) {
		migdb_snapshot_undo(s);
		return ret;
	}
	WRITE_ONCE(src->nr_left, ctx->nr);
	return 0;
}

int migdb_source_snapshot(struct migdb_session *s, struct migdb_snapshot *arg)
{
	struct migdb_walk_ctx ctx = { .s = s, .exclude_first = U64_MAX };
	struct migdb_source *src = s->src;
	int ret;

	if (arg->exclude_uptr) {
		ctx.exclude_uptr = arg->exclude_uptr;
		ctx.exclude = (unsigned long *)__get_free_page(MIGDB_GFP);
		if (!ctx.exclude)
			return -ENOMEM;
	}
	mutex_lock(&src->hash_lock);
	src->nr_bad_entries = 0;
	src->table_bytes = 0;
	ret = migdb_snapshot_locked(s, &ctx);
	arg->out_candidates = ctx.nr;
	arg->out_bad_entries = src->nr_bad_entries;
	arg->out_table_bytes = src->table_bytes;
	mutex_unlock(&src->hash_lock);
	free_page((unsigned long)ctx.exclude);
	return ret;
}

/* Candidates without a record: the VMM sends them.  Under hash_lock. */
void migdb_source_unhash(struct migdb_session *s, u32 reason)
{
	struct migdb_source *src = s->src;
	u64 n = s->regions.nr_pages, i, end;

	lockdep_assert_held(&src->hash_lock);
	if (!src->nr_left)
		return;
	for (i = 0; i < n; i = end) {
		end = min_t(u64, n, i + 8 * PAGE_SIZE);
		mutex_lock(&src->set_lock);
		for (i = find_next_bit(src->set, end, i); i < end;
		     i = find_next_bit(src->set, end, i + 1))
			if (!test_bit(i, src->recorded))
				migdb_source_drop(s, i, reason, true);
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	WRITE_ONCE(src->nr_left, 0);
	src->ends.head = src->ends.tail;	/* TAKE has nothing to count here */
	migdb_tx_wake(s);
}

/* Choose the next window; false if there is none, and the last one is still there. */
static bool migdb_next_window(struct migdb_session *s)
{
	struct migdb_source *src = s->src;
	u64 expected;

	if (!src->window_due)
		src->window_due = migdb_windows_next(&src->windows, &src->window_first,
						     &src->window_end, &expected);
	return src->window_due;
}

/* Its candidates into cand[].  Interrupted: there are none, and the window is still due. */
int migdb_source_collect(struct migdb_session *s)
{
	struct migdb_walk_ctx ctx = { .s = s };
	struct migdb_source *src = s->src;
	int ret;

	lockdep_assert_held(&src->hash_lock);
	src->nr_cand = 0;
	migdb_ends_init(&src->ends, 0);
	ret = migdb_walk_regions(&ctx, &migdb_window_ops);
	if (ret)
		return ret;
	migdb_cand_sort(src->cand, src->nr_cand);
	migdb_ends_init(&src->ends, src->nr_cand);
	src->window_due = false;
	return 0;
}

/* Frame under construction: at most MIGDB_SET_BATCH_PAGES pages. */
struct migdb_batch {
	struct migdb_wire_run runs[MIGDB_SET_BATCH_PAGES];
	__le64 tags[MIGDB_SET_BATCH_PAGES];
	u32 nr_runs;
	u32 nr_pages;
	u64 last_gfn;
	u64 last_where;
	const struct migdb_region *region;	/* of the last run: a run is of one */
};

static void migdb_batch_add(struct migdb_batch *b, const struct migdb_region *r, u64 gfn,
			    u64 where, u64 tag)
{
	struct migdb_wire_run *run;

	if (b->nr_runs && r == b->region && gfn == b->last_gfn + 1 &&
	    where == b->last_where + 1) {
		run = &b->runs[b->nr_runs - 1];
		le32_add_cpu(&run->nr_pages, 1);
	} else {
		run = &b->runs[b->nr_runs++];
		run->gfn = cpu_to_le64(gfn);
		run->where = cpu_to_le64(where);
		run->nr_pages = cpu_to_le32(1);
		run->reserved = 0;
	}
	b->tags[b->nr_pages++] = cpu_to_le64(tag);
	b->region = r;
	b->last_gfn = gfn;
	b->last_where = where;
}

/*
 * Bring the memory of the next @n candidates in, before set_lock: with it held a log
 * that is handed in, by a VMM that holds locks of its own, would wait for swap.
 */
static void migdb_fault_in(struct migdb_session *s, u32 n)
{
	const struct migdb_cand *c = &s->src->cand[s->src->ends.head];
	const struct migdb_region *r;
	char __user *uptr;

	for (; n--; c++) {
		/* unlocked: only a hint */
		if (!test_bit(c->index, s->src->set))
			continue;
		r = migdb_region_of_index(&s->regions, c->index);
		uptr = u64_to_user_ptr(migdb_region_hva(r, c->index));
		fault_in_readable(uptr, MIGDB_PAGE_BYTES);
		if (fatal_signal_pending(current))
			return;
	}
}

/*
 * One candidate, under set_lock.  The order is the point: armed, then read and
 * hashed, then recorded; a write after the arming is in a log that the VMM hands
 * in later, and drops the page then.  False: its memory has gone again, bring it in;
 * the @first of a batch is waited for here instead, or there might be no end.
 */
static bool migdb_hash_one(struct migdb_session *s, const struct migdb_cand *c,
			   struct migdb_batch *b, bool first)
{
	void __user *uptr;
	const struct migdb_region *r = migdb_region_of_index(&s->regions, c->index);
	struct migdb_source *src = s->src;

	lockdep_assert_held(&src->set_lock);
	if (src->frozen)
		return true;
	if (!test_bit(c->index, src->set) || test_bit(c->index, src->recorded))
		return true;
	if (!test_bit(c->index, src->armed)) {
		migdb_source_drop(s, c->index, MIGDB_REASON_UNARMED, true);
		return true;
	}
	uptr = u64_to_user_ptr(migdb_region_hva(r, c->index));
	if (copy_from_user_nofault(src->page, uptr, MIGDB_PAGE_BYTES)) {
		if (!first)
			return false;
		if (copy_from_user(src->page, uptr, MIGDB_PAGE_BYTES)) {
			migdb_source_drop(s, c->index, MIGDB_REASON_FAULT, true);
			return true;
		}
	}
	if (!memchr_inv(src->page, 0, MIGDB_PAGE_BYTES)) {
		migdb_source_drop(s, c->index, MIGDB_REASON_ZERO, true);
		return true;
	}
	migdb_batch_add(b, r, migdb_region_gfn(r, c->index), c->where,
			migdb_tag_page(s->tag_alg, &s->key, src->page));
	__set_bit(c->index, src->recorded);
	src->nr_unconfirmed++;
	atomic64_inc(&s->n.recorded);
	atomic64_inc(&s->n.hashed);
	return true;
}

/* Hash at most @max candidates into one frame.  Number looked at, or -ENOMEM. */
static int migdb_hash_batch(struct migdb_session *s, struct migdb_batch *b, u32 max)
{
	struct migdb_source *src = s->src;
	struct migdb_wire_records *rec;
	struct migdb_tx_frame *f;
	u32 i, n;

	n = min3((u64)max, (u64)MIGDB_SET_BATCH_PAGES, migdb_ends_unhashed(&src->ends));
	f = migdb_tx_alloc(migdb_records_bytes(MIGDB_SET_BATCH_PAGES, MIGDB_SET_BATCH_PAGES));
	if (!f)
		return -ENOMEM;
	b->nr_runs = 0;
	b->nr_pages = 0;

	migdb_span_begin(&s->n.recording);
	migdb_fault_in(s, n);
	mutex_lock(&src->set_lock);
	for (i = 0; i < n; i++)
		if (!migdb_hash_one(s, &src->cand[src->ends.head + i], b, !i))
			break;
	n = i;
	if (b->nr_pages) {
		/* into the stream before set_lock is let go: no revoke overtakes it */
		rec = (struct migdb_wire_records *)f->data;
		rec->nr_runs = cpu_to_le32(b->nr_runs);
		rec->nr_pages = cpu_to_le32(b->nr_pages);
		memcpy(migdb_records_runs(rec), b->runs, b->nr_runs * sizeof(b->runs[0]));
		memcpy(migdb_records_tags(rec, b->nr_runs), b->tags,
		       b->nr_pages * sizeof(b->tags[0]));
		migdb_tx_append(s, f, MIGDB_FRAME_RECORDS,
				migdb_records_bytes(b->nr_runs, b->nr_pages));
		f = NULL;
	}
	mutex_unlock(&src->set_lock);
	migdb_span_end(&s->n.recording);
	kvfree(f);
	src->ends.head += n;
	return n;
}

static int migdb_hash_locked(struct migdb_session *s, struct migdb_hash *arg)
{
	struct migdb_source *src = s->src;
	struct migdb_batch *b;
	u64 hashed = 0, left;
	bool walked = false;
	int ret = 0;

	arg->out_hashed = 0;
	arg->out_left = 0;
	if (READ_ONCE(s->ordinary)) {
		migdb_source_unhash(s, MIGDB_REASON_DISABLED);
		return 0;
	}
	/* all is hashed: cand[] is MIGDB_TAKE's from now on */
	if (!src->nr_left)
		return 0;
	b = kmalloc(sizeof(*b), MIGDB_GFP);
	if (!b)
		return -ENOMEM;
	while (hashed < arg->max_pages && migdb_state(s) == MIGDB_STATE_TRACKING) {
		if (!migdb_tx_has_room(s))
			break;
		if (!migdb_ends_unhashed(&src->ends)) {
			if (!migdb_next_window(s)) {
				/* what the later walks did not find again */
				migdb_source_unhash(s, MIGDB_REASON_BAD_RANGE);
				break;
			}
			/* one walk of the table per call, however little it yields */
			if (walked)
				break;
			walked = true;
			ret = migdb_source_collect(s);
			if (ret)
				break;
			continue;
		}
		ret = migdb_hash_batch(s, b, min_t(u64, arg->max_pages - hashed, U32_MAX));
		if (ret < 0)
			break;
		hashed += ret;
		left = src->nr_left;
		/* 0 only when the last window is through */
		WRITE_ONCE(src->nr_left, left > ret ? left - ret : 1);
		cond_resched();
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
	}
	kfree(b);
	arg->out_hashed = hashed;
	arg->out_left = src->nr_left;
	return ret < 0 ? ret : 0;
}

int migdb_source_hash(struct migdb_session *s, struct migdb_hash *arg)
{
	struct migdb_source *src = s->src;
	ktime_t start = ktime_get();
	int ret;

	mutex_lock(&src->hash_lock);
	if (migdb_state(s) != MIGDB_STATE_TRACKING)
		ret = migdb_fsm_allows(migdb_state(s), MIGDB_CMD_HASH);
	else
		ret = migdb_hash_locked(s, arg);
	mutex_unlock(&src->hash_lock);
	atomic64_add(ktime_to_ns(ktime_sub(ktime_get(), start)), &s->n.hash_ns);
	if (arg->out_hashed)
		migdb_tx_wake(s);
	return ret;
}
