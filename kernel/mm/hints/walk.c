// SPDX-License-Identifier: GPL-2.0
/*
 * At START: from what one process has said to entries of the table.
 *
 * The worker has borrowed the address space and looks only at what is in memory:
 * descriptors are copied without page faults, pages are found by the lock-free
 * walk.  So neither a userfaultfd nor FUSE nor swap can make it wait.  File systems
 * can (see files.c).
 *
 * Discardable pages are the one hint that the host does not verify:
 *
 * - Only where the host has agreed to it by this START, before which it has
 *   turned every dirty log on: whatever is written to the page from then on, by
 *   whomever, takes it back.
 * - Only anonymous pages that are exclusively this process's when looked at,
 *   after START, and not where a userfaultfd or KSM may move them behind our back.
 * - A reference is held until the migration is over.  Until then the frame is
 *   not given to anybody else, and KSM, which would let another process have
 *   it without a write, does not take pages with references that it does not
 *   know.  An exiting process lets go of those that are still its alone: nothing
 *   maps them any more then.
 * - A child that is forked in between has said nothing of the pages: they are
 *   written to before it has them, which takes them back.
 * - At the end all these entries are cleared before anything else is.
 */
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "desc.h"
#include "entry.h"
#include "internal.h"
#include "process.h"
#include "walk.h"

static void skip(struct mhint_walk *w, int why, u64 nr)
{
	w->stats.skipped[why] += nr;
}

/* ---- pages ---------------------------------------------------------------- */

static void put_pages(struct mhint_walk *w)
{
	u32 i;

	for (i = 0; i < w->nr_pages; i++)
		put_page(w->pages[i]);
	w->nr_pages = 0;
}

/*
 * Pages from @addr on, up to @end: those that the process may write to.  Where it may
 * not write to the first one, it is either anonymous, shared with nobody but by a fork
 * and for a time, and so are those that follow; or it is alone and @foreign: a file's,
 * shared memory of somebody else, or such as the process itself has made read-only.
 * What is mapped decides, not the mapping's flags: they are behind the lock that a
 * process may keep.  Shared memory that may be written to is mapped so even by a read.
 */
static int find_pages(struct mhint_walk *w, u64 addr, u64 end)
{
	int nr, i, want = min_t(u64, MHINT_WALK_PAGES, (end - addr) >> MEM_HINT_FRAME_SHIFT);

	w->foreign = false;
	nr = get_user_pages_fast_only(addr, want, FOLL_WRITE, w->pages);
	if (nr > 0)
		return nr;
	nr = get_user_pages_fast_only(addr, want, 0, w->pages);
	if (nr <= 0)
		return 0;
	for (i = 0; i < nr; i++)
		if (!folio_test_anon(page_folio(w->pages[i])))
			break;
	w->foreign = !i;
	i = max(i, 1);
	while (nr > i)
		put_page(w->pages[--nr]);
	return nr;
}

/* The page at @addr, or NULL; @end: no more than that is wanted. */
static struct page *page_at(struct mhint_walk *w, u64 addr, u64 end)
{
	if (w->nr_pages && addr >= w->at &&
	    addr < w->at + w->nr_pages * MEM_HINT_FRAME_SIZE)
		return w->pages[(addr - w->at) >> MEM_HINT_FRAME_SHIFT];
	put_pages(w);
	w->at = addr;
	w->nr_pages = find_pages(w, addr, end);
	return w->nr_pages ? w->pages[0] : NULL;
}

static u64 frames(u64 addr, u64 end)
{
	return (end - addr) >> MEM_HINT_FRAME_SHIFT;
}

/* There is no page at @addr; the next address where there may be one. */
static u64 absent(u64 addr, u64 end)
{
	return max(mhint_absent(addr, end), addr + MEM_HINT_FRAME_SIZE);
}

/*
 * Anonymous, shared or huge pages, but nothing of a file system: its pages
 * belong to everybody.  Nor what is another's, which the process may only read.
 * Swap-backed is what is either anonymous or shmem; the zero page is neither.
 * @page: that page_at() has found.
 */
static bool may_name(const struct mhint_walk *w, struct page *page)
{
	struct folio *folio = page_folio(page);

	if (w->foreign)
		return false;
	if (folio_test_hugetlb(folio))
		return true;
	return folio_test_swapbacked(folio) && !folio_test_ksm(folio);
}

/* Anonymous memory of one process.  A page mapped as a huge one says it once. */
bool mhint_page_exclusive(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (folio_test_hugetlb(folio) || !folio_test_anon(folio) ||
	    folio_test_ksm(folio))
		return false;
	if (PageAnonExclusive(page))
		return true;
	return folio_test_large(folio) && folio_entire_mapcount(folio) == 1 &&
	       folio_mapcount(folio) == 1 && PageAnonExclusive(&folio->page);
}

/* Keep a reference of @page with the notes that are being collected. */
static bool hold(struct mhint_walk *w, struct page *page)
{
	struct mhint_held *h = list_first_entry_or_null(&w->held, struct mhint_held,
							list);

	if (!h || h->nr == MHINT_HELD_PAGES) {
		h = (void *)__get_free_page(GFP_KERNEL | __GFP_NOWARN |
					    __GFP_RETRY_MAYFAIL);
		if (!h)
			return false;
		h->nr = 0;
		list_add(&h->list, &w->held);
	}
	get_page(page);
	h->pages[h->nr++] = page;
	return true;
}

/* ---- entries -------------------------------------------------------------- */

/* Under the table's lock: the notes are in, and their pages the process's. */
static void entered(void *ctx)
{
	struct mhint_walk *w = ctx;

	spin_lock(&w->p->spin);
	list_splice_init(&w->held, &w->p->held);
	spin_unlock(&w->p->spin);
}

/* False: stop, nothing more can be entered. */
static bool flush(struct mhint_walk *w)
{
	bool ok = true;

	if (w->nr) {
		ok = !mhint_enter_notes(w->notes, w->nr, &w->cancelled, entered, w);
		if (ok) {
			w->stats.frames += w->nr;
			w->stats.discardable += w->nr_discard;
			w->stats.max_batch = max(w->stats.max_batch, w->nr);
		}
	}
	w->nr = 0;
	w->nr_discard = 0;
	mhint_held_free(&w->held);
	cond_resched();
	if (ktime_after(ktime_get(), w->deadline)) {
		w->stats.cut = true;
		ok = false;
	}
	return ok && !READ_ONCE(w->cancelled);
}

static bool note(struct mhint_walk *w, struct page *page, u64 entry)
{
	w->notes[w->nr].frame = page_to_pfn(page);
	w->notes[w->nr].entry = entry;
	w->nr++;
	return w->nr < MHINT_SNAPSHOT_BATCH || flush(w);
}

/* Is it still the user's turn? */
void mhint_walk_clock(struct mhint_walk *w)
{
	if (ktime_after(ktime_get(), w->slice))
		w->over = true;
}

/* Much of nothing takes its time, too. */
static bool step(struct mhint_walk *w)
{
	w->steps++;
	/* Did it sleep?  Then it may have been for a read of a slow disk. */
	if (!(w->steps % MHINT_CLOCK_PAGES) || w->slept != current->nvcsw) {
		w->slept = current->nvcsw;
		mhint_walk_clock(w);
	}
	return w->steps % MHINT_SNAPSHOT_BATCH || flush(w);
}

static struct mhint_file *get_file_of(struct mhint_walk *w, u32 id)
{
	if (w->file && w->file_id == id)
		return w->file;
	mhint_file_put(w->file);
	w->file = mhint_file_get(w->p, id);
	w->file_id = id;
	return w->file;
}

/* Is @addr in @s now? */
static bool in_span(struct mhint_process *p, const struct mhint_spans *s, u64 addr)
{
	bool ret;

	spin_lock(&p->spin);
	ret = mhint_spans_at(s, addr);
	spin_unlock(&p->spin);
	return ret;
}

static u64 with_class(struct mhint_walk *w, u64 addr, u64 entry)
{
	struct mhint_process *p = w->p;

	if (!(w->classes & 1ULL << MEM_HINT_CLASS_HOT) || !READ_ONCE(p->hot.nr))
		return entry;
	if (in_span(p, &p->hot, addr))
		entry |= (u64)MEM_HINT_CLASS_HOT << MEM_HINT_CLASS_SHIFT;
	return entry;
}

/*
 * The pages of [@at, end) hold the file from @block on; @limit: pages up to it
 * may be looked up at once.  Stops when the turn is over; @at: where.
 */
static bool walk_blocks(struct mhint_walk *w, u64 *at, u64 end, u64 limit, u32 id,
			u64 block)
{
	struct mhint_file *file = get_file_of(w, id);
	u64 next, entry, addr;
	struct page *page;
	int why;

	if (!file) {
		skip(w, MHINT_SKIP_FILE, frames(*at, end));
		*at = end;
		return true;
	}
	for (addr = *at; addr < end && !w->over; addr = next) {
		page = page_at(w, addr, limit);
		next = page ? addr + MEM_HINT_FRAME_SIZE : absent(addr, end);
		if (!page)
			why = MHINT_SKIP_ABSENT;
		else if (!may_name(w, page))
			why = MHINT_SKIP_MEMORY;
		else
			why = mhint_file_entry(file, block, &entry);
		if (why)
			skip(w, why, frames(addr, next));
		else if (!note(w, page, with_class(w, addr, entry)))
			return false;
		if (!step(w))
			return false;
		block += frames(addr, next);
	}
	*at = addr;
	return true;
}

/* The pages of [addr, end) hold no block. */
static bool walk_empty(struct mhint_walk *w, u64 addr, u64 end, u64 limit)
{
	u64 next;

	for (; addr < end; addr = next) {
		struct page *page = page_at(w, addr, limit);

		next = page ? addr + MEM_HINT_FRAME_SIZE : absent(addr, end);
		if (page && may_name(w, page) && !note(w, page, 0))
			return false;
		if (!step(w))
			return false;
	}
	return true;
}

/*
 * The address space is locked.  Each address is looked up once more after its page
 * was found: what moves a page to an address cuts the address out of the set first,
 * so a page that was moved in is not taken for the one that the process spoke of.
 */
static bool walk_discard(struct mhint_walk *w, u64 addr, u64 end)
{
	const u64 entry = mhint_entry(MEM_HINT_DISK_MASK,	/* none */
				      MEM_HINT_CLASS_DISCARDABLE, 0);
	u64 next;

	for (; addr < end; addr = next) {
		struct page *page = page_at(w, addr, end);

		next = page ? addr + MEM_HINT_FRAME_SIZE : absent(addr, end);
		if (!page) {
			skip(w, MHINT_SKIP_ABSENT, frames(addr, next));
		} else if (!in_span(w->p, &w->p->discard, addr) ||
			   !mhint_page_exclusive(page) || !hold(w, page)) {
			skip(w, MHINT_SKIP_MEMORY, 1);
		} else {
			w->nr_discard++;
			if (!note(w, page, entry))
				return false;
		}
		if (!step(w))
			return false;
	}
	return true;
}

/* The same of whatever is mapped from @addr to @end. */
static bool walk_discard_vmas(struct mhint_walk *w, struct mm_struct *mm, u64 addr,
			      u64 end)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	bool ok = true;

	put_pages(w);	/* found without the lock */
	vma_iter_init(&vmi, mm, addr);
	for_each_vma_range(vmi, vma, end) {
		u64 from = max_t(u64, addr, vma->vm_start);
		u64 to = min_t(u64, end, vma->vm_end);

		skip(w, MHINT_SKIP_ABSENT, frames(addr, from));
		if (mhint_vma_discardable(vma))
			ok = walk_discard(w, from, to);
		else
			skip(w, MHINT_SKIP_MEMORY, frames(from, to));
		put_pages(w);
		addr = to;
		if (!ok)
			return false;
	}
	skip(w, MHINT_SKIP_ABSENT, frames(addr, end));
	return flush(w);
}

/* ---- what was said -------------------------------------------------------- */

/* What is left of the next range of @s; false: there is none. */
static bool next_span(struct mhint_process *p, const struct mhint_spans *s,
		      struct mhint_cursor *c, struct mhint_span *part)
{
	bool found = false;
	u32 i;

	spin_lock(&p->spin);
	i = mhint_spans_find(s, c->addr);
	if (i < s->nr) {
		found = true;
		*part = s->v[i];
		if (part->start < c->addr) {
			part->value += c->addr - part->start;
			part->start = c->addr;
		}
	}
	spin_unlock(&p->spin);
	return found;
}

static void next_stage(struct mhint_cursor *c)
{
	c->stage++;
	c->addr = 0;
}

/* Where @part begins with what is not in memory: step over that alone. */
static bool skip_absent(struct mhint_walk *w, struct mhint_cursor *c,
			const struct mhint_span *part, u64 *left, bool *ok)
{
	u64 next = mhint_absent(part->start, part->end);

	if (next == part->start)
		return false;
	skip(w, MHINT_SKIP_ABSENT, frames(part->start, next));
	c->addr = next;
	--*left;
	*ok = step(w);
	return true;
}

static void cut_part(struct mhint_span *part, u32 nr)
{
	part->end = min(part->end, part->start + (u64)nr * MEM_HINT_FRAME_SIZE);
}

static bool turn_binds(struct mhint_walk *w, struct mhint_cursor *c, u64 *left)
{
	struct mhint_span part;
	bool ok;

	if (!next_span(w->p, &w->p->binds, c, &part)) {
		next_stage(c);
		return true;
	}
	if (skip_absent(w, c, &part, left, &ok))
		return ok;
	cut_part(&part, MHINT_SNAPSHOT_TURN);
	c->addr = part.start;
	ok = walk_blocks(w, &c->addr, part.end, part.end, part.key,
			 part.value >> MEM_HINT_FRAME_SHIFT);
	*left -= min(*left, frames(part.start, c->addr));
	return ok;
}

/*
 * A batch for each hold of the address space's lock.  Under it a page is found,
 * held, entered and handed to the process, so that a fork comes before or after
 * all of that (see process_invalidate()).  Order: this lock, mhint_drain_lock.
 *
 * A process may keep its address space locked for as long as it likes, by a page
 * fault that does not end.  That costs it its turn, and at last what it has said
 * here, but nobody else's time: see go_round().
 */
static bool turn_discard(struct mhint_walk *w, struct mhint_cursor *c, u64 *left)
{
	struct mm_struct *mm = c->mm;
	struct mhint_span part;
	bool ok;

	if (!(w->classes & 1ULL << MEM_HINT_CLASS_DISCARDABLE) ||
	    !next_span(w->p, &w->p->discard, c, &part)) {
		next_stage(c);
		return true;
	}
	if (skip_absent(w, c, &part, left, &ok))
		return ok;
	cut_part(&part, MHINT_SNAPSHOT_BATCH);
	if (!flush(w))	/* what needs no lock */
		return false;
	if (!mmap_read_trylock(mm)) {
		*left = 0;
		w->nr_locked++;
		if (++c->tries == MHINT_MM_TRIES) {
			skip(w, MHINT_SKIP_MEMORY, frames(part.start, part.end));
			c->stage = MHINT_STAGE_DONE;
		}
		return true;
	}
	c->tries = 0;
	c->addr = part.end;
	*left -= min(*left, frames(part.start, part.end));
	ok = walk_discard_vmas(w, mm, part.start, part.end);
	mmap_read_unlock(mm);
	return ok;
}

/*
 * Descriptors of a page of them cannot be read, nor those of pages after it that
 * are not there: @nr or more.
 */
static bool skip_descs(struct mhint_walk *w, struct mhint_cursor *c,
		       const struct mhint_pool *pool, u64 nr)
{
	u64 from = pool->desc + (c->frame + nr) * sizeof(u64);
	u64 end = PAGE_ALIGN(pool->desc + pool->nr_frames * sizeof(u64));

	if (IS_ALIGNED(from, PAGE_SIZE))
		nr += (mhint_absent(from, end) - from) / sizeof(u64);
	nr = min(nr, pool->nr_frames - c->frame);
	skip(w, MHINT_SKIP_DESC, nr << (pool->frame_shift - MEM_HINT_FRAME_SHIFT));
	c->frame += nr;
	return step(w);
}

/* Descriptors of one page of them: what cannot be read is no more than that. */
static bool turn_pool(struct mhint_walk *w, struct mhint_cursor *c, u64 *left)
{
	struct mhint_process *p = w->p;
	struct mhint_pool pool = {};
	u64 from, block, addr, at, end;
	u32 i, nr, pages, file;
	bool ok = true;

	spin_lock(&p->spin);
	if (c->pool < MHINT_MAX_POOLS)
		pool = p->pools[c->pool];
	spin_unlock(&p->spin);
	if (c->pool == MHINT_MAX_POOLS) {
		next_stage(c);
		return true;
	}
	if (!pool.id || c->frame >= pool.nr_frames) {
		c->pool++;
		c->frame = 0;
		c->page = 0;
		return true;
	}

	from = pool.desc + c->frame * sizeof(u64);
	nr = min_t(u64, pool.nr_frames - c->frame,
		   (PAGE_SIZE - offset_in_page(from)) / sizeof(u64));
	pages = 1U << (pool.frame_shift - MEM_HINT_FRAME_SHIFT);
	addr = pool.addr + (c->frame << pool.frame_shift);
	end = pool.addr + (pool.nr_frames << pool.frame_shift);
	*left -= min_t(u64, *left, nr);
	if (copy_from_user_nofault(w->descs, u64_to_user_ptr(from),
				   nr * sizeof(u64)))
		return skip_descs(w, c, &pool, nr);
	for (i = 0; i < nr && ok && !w->over; i++, addr += 1ULL << pool.frame_shift) {
		u64 next = addr + (1ULL << pool.frame_shift);

		at = next;
		switch (mhint_desc_decode(w->descs[i], pages, &file, &block)) {
		case MHINT_DESC_BLOCK:
			at = min(addr + c->page * MEM_HINT_FRAME_SIZE, next);
			*left -= min_t(u64, *left, pages);
			ok = walk_blocks(w, &at, next, end, file, block + c->page);
			break;
		case MHINT_DESC_EMPTY:
			*left -= min_t(u64, *left, pages);
			ok = walk_empty(w, addr, next, end);
			break;
		case MHINT_DESC_BAD:
			skip(w, MHINT_SKIP_DESC, pages);
			break;
		}
		c->page = at < next ? frames(addr, at) : 0;
		c->frame += !c->page;
	}
	return ok;
}

/* Some of an address space, which the worker has borrowed.  False: stop. */
static bool walk_turn(struct mhint_walk *w, struct mhint_cursor *c)
{
	u64 left = MHINT_SNAPSHOT_TURN;
	bool ok = true;

	while (ok && left && !w->over && c->stage != MHINT_STAGE_DONE) {
		switch (c->stage) {
		case MHINT_STAGE_BINDS:
			ok = turn_binds(w, c, &left);
			break;
		case MHINT_STAGE_POOLS:
			ok = turn_pool(w, c, &left);
			break;
		default:
			ok = turn_discard(w, c, &left);
			break;
		}
	}
	ok = flush(w) && ok;
	put_pages(w);
	mhint_file_put(w->file);
	w->file = NULL;
	return ok;
}

/**
 * mhint_walk_mm - one turn of an address space
 * @w: the snapshot
 * @c: how far it has come
 *
 * Return: false: the snapshot is to end.
 */
bool mhint_walk_mm(struct mhint_walk *w, struct mhint_cursor *c)
{
	bool ok = true;

	if (!mmget_not_zero(c->mm)) {
		c->stage = MHINT_STAGE_DONE;
		return true;
	}
	w->p = mhint_process_of(c->mm);
	if (w->p) {
		kthread_use_mm(c->mm);
		ok = walk_turn(w, c);
		kthread_unuse_mm(c->mm);
	} else {
		c->stage = MHINT_STAGE_DONE;
	}
	/* The last user?  What follows is not for a snapshot to wait for. */
	mmput_async(c->mm);
	return ok;
}

