// SPDX-License-Identifier: GPL-2.0
/*
 * Destination side: from a block that was read to a page of the guest.
 *
 * A page is written by who has made its claim (TODO -> BUSY), with fill_sem held for
 * reading, in the way that dest.place says:
 *	COPY	nobody sees the page: copied to the owner's address
 *	HELD	not at all: nobody knows who will see it
 *	ATOMIC	the guest may see it: UFFDIO_COPY, which never writes to a page that is
 *		there, wakes who waits, and shows nothing of a page that is half written
 * dest.place changes with fill_sem held for writing, so that no page is ever written in
 * the way of before.
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd.h>

#include "claim.h"
#include "fetch.h"
#include "postcopy.h"
#include "trace.h"

/* EAGAIN is another thread that changes mappings: not for ever. */
#define UFFD_TRIES	1000

/* The page is somebody else's: the stream was first.  From TODO or BUSY; dest.lock. */
static void migdb_place_sent(struct migdb_session *s, u64 index)
{
	struct migdb_dest *d = s->dst;

	migdb_dest_todo_clear(d, index);
	migdb_page_set(d, index, MIGDB_PAGE_SENT, 0);
	atomic64_inc(&s->n.sent);
	trace_migdb_place(s->label, index, MIGDB_CLAIM_SENT);
}

/* The last look at the state: true if the page is ours to write now. */
static bool migdb_place_begin(struct migdb_session *s, u64 index)
{
	struct migdb_dest *d = s->dst;

	lockdep_assert_held_read(&d->fill_sem);
	lockdep_assert_held(&d->lock);
	if (migdb_page_state(d, index) != MIGDB_PAGE_TODO)
		return false;
	if (!migdb_claim_busy(&d->claims[index])) {
		migdb_place_sent(s, index);
		return false;
	}
	/* another read of the same page keeps its hands off, and so does a deadline */
	migdb_page_set(d, index, MIGDB_PAGE_BUSY, 0);
	return true;
}

/* It was written, or @reason says why not. */
static void migdb_place_end(struct migdb_session *s, u64 index, u32 reason)
{
	struct migdb_dest *d = s->dst;

	lockdep_assert_held(&d->lock);
	if (reason) {
		migdb_dest_return_locked(s, index, reason);
		trace_migdb_place(s->label, index, MIGDB_CLAIM_RETURNED);
		return;
	}
	if (!migdb_claim_done(&d->claims[index])) {
		/* the VMM did not wait for BUSY: its page, its word */
		migdb_place_sent(s, index);
		return;
	}
	migdb_dest_todo_clear(d, index);
	migdb_page_set(d, index, MIGDB_PAGE_DONE, 0);
	migdb_hbitmap_set(&d->built, index);
	d->nr_done++;
	atomic64_inc(&s->n.built);
	if (d->place == MIGDB_PLACE_ATOMIC)
		atomic64_inc(&s->n.postcopy_built);
	trace_migdb_place(s->label, index, MIGDB_CLAIM_DONE);
}

/* The stream has it already: no read for it.  Under dest.lock. */
bool migdb_place_settled(struct migdb_session *s, u64 index)
{
	struct migdb_dest *d = s->dst;

	lockdep_assert_held(&d->lock);
	if (migdb_page_state(d, index) != MIGDB_PAGE_TODO ||
	    !migdb_claim_is_sent(&d->claims[index]))
		return false;
	migdb_place_sent(s, index);
	return true;
}

/*
 * One page by copying.  The claim is made after the last look at the state and given
 * up after the copy: BUSY lasts as long as the copy.  False: not in this way.
 */
static bool migdb_place_copy(struct migdb_session *s, u64 index, const void *page)
{
	const struct migdb_region *r = migdb_region_of_index(&s->regions, index);
	struct migdb_dest *d = s->dst;
	bool mine, failed;

	down_read(&d->fill_sem);
	if (d->place != MIGDB_PLACE_COPY) {
		up_read(&d->fill_sem);
		return d->place == MIGDB_PLACE_OVER;
	}
	mutex_lock(&d->lock);
	mine = migdb_place_begin(s, index);
	mutex_unlock(&d->lock);
	if (mine) {
		failed = copy_to_user(u64_to_user_ptr(migdb_region_hva(r, index)), page,
				      MIGDB_PAGE_BYTES);
		mutex_lock(&d->lock);
		migdb_place_end(s, index, failed ? MIGDB_REASON_FAULT : 0);
		mutex_unlock(&d->lock);
	}
	up_read(&d->fill_sem);
	return true;
}

/* What an error of UFFDIO_COPY means for a page; 0: ask again. */
static u32 migdb_uffd_reason(long ret)
{
	switch (ret) {
	case -EAGAIN:
		return 0;
	case -EEXIST:
		return MIGDB_REASON_PRESENT;
	case -ENOMEM:
		return MIGDB_REASON_NO_MEMORY;
	default:
		return MIGDB_REASON_FAULT;
	}
}

/*
 * Pages [@first, @first + @nr) of the batch: one UFFDIO_COPY for as many as will go.
 * What is there already is stepped over; what makes the whole fail, as a change of
 * mappings in the middle does, is found page by page.
 */
static void migdb_uffd_copy(struct migdb_io *io, u64 hva, u32 first, u32 nr, u8 *reason)
{
	struct migdb_placer *pc = io->lane->s->dst->placer;
	size_t at = (size_t)io->lane->nr * MIGDB_WINDOW_PAGES * PAGE_SIZE;
	unsigned long uaddr = pc->window_uaddr + at;
	struct uffdio_copy *arg = pc->window->mem + at + MIGDB_PLACE_ATOMIC_PAGES * PAGE_SIZE;
	u32 end = first + nr, span = nr, tries = 0, done;
	long ret;

	while (first < end) {
		span = min(span, end - first);
		*arg = (struct uffdio_copy) {
			.dst = hva + first * (u64)PAGE_SIZE,
			.src = uaddr + first * PAGE_SIZE,
			.len = span * (u64)PAGE_SIZE,
		};
		ret = vfs_ioctl(pc->uffd, UFFDIO_COPY,
				uaddr + MIGDB_PLACE_ATOMIC_PAGES * PAGE_SIZE);
		if (!ret) {
			first += span;
			continue;
		}
		/* the VMM can write there: not more than was asked for */
		done = ret == -EAGAIN ? clamp_t(s64, READ_ONCE(arg->copy), 0,
						(span - 1) * (s64)PAGE_SIZE) / PAGE_SIZE : 0;
		if (done) {
			first += done;
			continue;
		}
		if (ret == -EAGAIN && tries++ < UFFD_TRIES) {
			cond_resched();
			continue;
		}
		if (span > 1 && ret != -EEXIST) {
			span = 1;
			continue;
		}
		reason[first++] = migdb_uffd_reason(ret) ?: MIGDB_REASON_FAULT;
	}
}

/* Verified pages that stand in the lane's window.  False: not in this way. */
static bool migdb_place_batch(struct migdb_io *io, u64 first, unsigned long mask)
{
	u8 reason[MIGDB_PLACE_ATOMIC_PAGES] = {};
	struct migdb_session *s = io->lane->s;
	struct migdb_dest *d = s->dst;
	const struct migdb_region *r;
	unsigned int bit, end;

	down_read(&d->fill_sem);
	if (d->place != MIGDB_PLACE_ATOMIC) {
		up_read(&d->fill_sem);
		return d->place == MIGDB_PLACE_OVER;
	}
	mutex_lock(&d->lock);
	for_each_set_bit(bit, &mask, MIGDB_PLACE_ATOMIC_PAGES)
		if (!migdb_place_begin(s, first + bit))
			__clear_bit(bit, &mask);
	mutex_unlock(&d->lock);

	r = migdb_region_of_index(&s->regions, first);
	for (bit = find_first_bit(&mask, MIGDB_PLACE_ATOMIC_PAGES);
	     bit < MIGDB_PLACE_ATOMIC_PAGES;
	     bit = find_next_bit(&mask, MIGDB_PLACE_ATOMIC_PAGES, end)) {
		end = find_next_zero_bit(&mask, MIGDB_PLACE_ATOMIC_PAGES, bit);
		migdb_uffd_copy(io, migdb_region_hva(r, first), bit, end - bit, reason);
	}

	mutex_lock(&d->lock);
	for_each_set_bit(bit, &mask, MIGDB_PLACE_ATOMIC_PAGES)
		migdb_place_end(s, first + bit, reason[bit]);
	mutex_unlock(&d->lock);
	up_read(&d->fill_sem);
	return true;
}

/*
 * Page @i of the target's run, if it is wanted and what the source had.  What is not
 * goes back: also a block that this side's guest has written to since.
 */
static const void *migdb_block_verified(struct migdb_io *io, const struct migdb_target *t, u32 i)
{
	u32 nr = migdb_where_block(t->run->where) - io->shape.first_block + i;
	struct migdb_session *s = io->lane->s;
	u64 index = t->run->index + i, tag;
	const void *page;

	if (!migdb_dest_wanted(s->dst, index))
		return NULL;
	if (io->ret < 0 || io->ret < (u64)(nr + 1) * MIGDB_PAGE_BYTES) {
		migdb_dest_return(s, index, MIGDB_REASON_IO_ERROR);
		return NULL;
	}
	page = kmap_local_page(io->bvec[nr].bv_page);
	tag = migdb_tag_page(s->tag_alg, &s->key, page);
	atomic64_inc(&s->n.hashed);
	if (cpu_to_le64(tag) == t->chunk->tags[t->run->tag + i])
		return page;
	kunmap_local(page);
	migdb_dest_return(s, index, MIGDB_REASON_MISMATCH);
	return NULL;
}

static bool migdb_place_copies(struct migdb_io *io, const struct migdb_target *t)
{
	const void *page;
	bool ok = true;
	u32 i;

	for (i = t->from; ok && i < t->from + t->nr; i++) {
		page = migdb_block_verified(io, t, i);
		if (!page)
			continue;
		ok = migdb_place_copy(io->lane->s, t->run->index + i, page);
		kunmap_local(page);
	}
	return ok;
}

static bool migdb_place_atomic(struct migdb_io *io, const struct migdb_target *t)
{
	void *window = io->lane->s->dst->placer->window->mem +
		       (size_t)io->lane->nr * MIGDB_WINDOW_PAGES * PAGE_SIZE;
	u32 i, n, k, end = t->from + t->nr;
	unsigned long mask;
	const void *page;

	for (i = t->from; i < end; i += n) {
		n = min(end - i, MIGDB_PLACE_ATOMIC_PAGES);
		for (k = 0, mask = 0; k < n; k++) {
			page = migdb_block_verified(io, t, i + k);
			if (!page)
				continue;
			memcpy(window + k * PAGE_SIZE, page, PAGE_SIZE);
			kunmap_local(page);
			__set_bit(k, &mask);
		}
		if (mask && !migdb_place_batch(io, t->run->index + i, mask))
			return false;
		cond_resched();
	}
	return true;
}

bool migdb_place_target(struct migdb_io *io, const struct migdb_target *t)
{
	/* unlocked: whoever writes a page looks again under fill_sem */
	switch (migdb_place_how(io->lane->s->dst)) {
	case MIGDB_PLACE_COPY:
		return migdb_place_copies(io, t);
	case MIGDB_PLACE_ATOMIC:
		return migdb_place_atomic(io, t);
	case MIGDB_PLACE_HELD:
		return false;
	default:	/* all was given back, or is there */
		return true;
	}
}
