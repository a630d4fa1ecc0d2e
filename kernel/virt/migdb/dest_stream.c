// SPDX-License-Identifier: GPL-2.0
/*
 * Destination side: what the stream says of pages (records, revokes), and what it
 * is told of them (built, returned).  What becomes of a page is in dest.c.
 *
 * Frames come in one at a time, under session.rx_lock.
 */
#include <linux/bitmap.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "alloc.h"
#include "claim.h"
#include "dest.h"
#include "trace.h"
#include "window.h"

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

void migdb_chunk_free(struct migdb_dest *d, struct migdb_chunk *c)
{
	atomic64_sub(c->bytes, &d->chunk_bytes);
	migdb_budget_put(c->bytes);
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
	if (atomic64_read(&d->chunk_bytes) + bytes > budget || migdb_budget_get(bytes))
		return NULL;
	/* only a foreign source fills frames so far: do not look for a free order 4 */
	c = bytes > PAGE_SIZE << PAGE_ALLOC_COSTLY_ORDER ? __vmalloc(bytes, MIGDB_GFP) :
	    kvmalloc(bytes, MIGDB_GFP);
	if (!c) {
		migdb_budget_put(bytes);
		return NULL;
	}
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
	if (last)
		list_del(&c->alive);
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
		/* before any other reason: HOLD finds what came before its record by this */
		if (migdb_claim_is_sent(&d->claims[index]))
			reason = MIGDB_REASON_TWICE;
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
		} else {
			atomic64_dec(&s->n.sent);
		}
		migdb_page_set(d, index, MIGDB_PAGE_RETURNED, MIGDB_REASON_TWICE);
		migdb_count_reason(s, MIGDB_REASON_TWICE, 1);
		trace_migdb_return(s->label, MIGDB_ROLE_DEST, index, MIGDB_REASON_TWICE);
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

	if (disk >= MIGDB_MAX_DISKS)
		return MIGDB_REASON_NO_DISK;
	disk = array_index_nospec(disk, MIGDB_MAX_DISKS);
	if (!d->disk[disk])
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
	u32 nr = le32_to_cpu(run->nr_pages), i, reason, state, todo = 0;
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
		state = migdb_page_state(d, index + i);
		if (state == MIGDB_PAGE_TODO || state == MIGDB_PAGE_BUSY ||
		    state == MIGDB_PAGE_DONE)
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

	migdb_span_begin(&s->n.recording);
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
		list_add_tail(&c->alive, &d->alive);
		mutex_unlock(&d->lock);
		migdb_fetch_kick(s);
	} else if (c) {
		migdb_chunk_free(d, c);
	}
	migdb_span_end(&s->n.recording);
	if (READ_ONCE(d->returned.nr_set))
		migdb_tx_wake(s);
	return ret;
}

/*
 * HOLD has the end mark, so no page has changed that is revoked later: the source takes
 * pages back for which it does not want to wait.  What is built by then stays: it is
 * what the source would send, and the guest may be using it.
 */
static bool migdb_dest_revocable(struct migdb_dest *d, u64 index)
{
	switch (migdb_page_state(d, index)) {
	case MIGDB_PAGE_NONE:
		return false;
	case MIGDB_PAGE_DONE:
		/* also after DRAIN: the guest does not run before COMPLETE */
		return d->place == MIGDB_PLACE_COPY || d->place == MIGDB_PLACE_OVER;
	default:
		return true;
	}
}

static void migdb_dest_revoke(struct migdb_session *s, const struct migdb_wire_range *range)
{
	u64 gfn = le64_to_cpu(range->gfn), end = gfn + le32_to_cpu(range->nr_pages);
	u32 reason = le32_to_cpu(range->reason) == MIGDB_REASON_TAKEN ? MIGDB_REASON_TAKEN :
		     MIGDB_REASON_DIRTY;
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
			if (migdb_dest_revocable(d, index + i))
				migdb_dest_return_locked(s, index + i, reason);
		mutex_unlock(&d->lock);
		up_write(&d->fill_sem);
	}
	/* in post-copy somebody may wait for one of them: he asks the source now */
	if (READ_ONCE(d->drained_due) || migdb_place_how(d) == MIGDB_PLACE_ATOMIC)
		migdb_tx_wake(s);
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
		migdb_session_peer_abort(s, f);
		return 0;
	default:
		return -EBADMSG;
	}
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
