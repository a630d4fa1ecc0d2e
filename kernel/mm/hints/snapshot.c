// SPDX-License-Identifier: GPL-2.0
/*
 * At START: what processes have said becomes entries of the table.
 *
 * A worker goes round the address spaces, some frames of each at a time.  It
 * borrows the address space and looks only at what is in memory: descriptors
 * are copied without page faults, pages are found by the lock-free walk.  So
 * neither a userfaultfd nor FUSE nor swap can make it wait.  File systems can
 * (see files.c); whoever waits for the snapshot gives up after a time and goes
 * on with what is there, and a worker that comes late is told so under the
 * table's lock before it enters anything.
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
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "desc.h"
#include "entry.h"
#include "internal.h"
#include "process.h"
#include "snapshot.h"

#define DESCS_PER_PAGE	(PAGE_SIZE / sizeof(u64))

enum stage {
	STAGE_BINDS,
	STAGE_POOLS,
	STAGE_DISCARD,
	STAGE_DONE,
};

/* How far an address space has been looked at. */
struct cursor {
	struct mm_struct *mm;
	enum stage stage;
	u64 addr;	/* of ranges */
	u32 pool;	/* index */
	u64 frame;	/* of the pool */
	u32 tries;	/* in a row that found the address space locked */
};

/*
 * @refs: the worker, and whoever waits for it.
 * @cancelled: nobody waits any more; set and looked at under the table's lock
 *	where it matters.
 * @at, @nr_pages, @pages: present pages that follow each other from @at on, each
 *	with a reference.
 * @file, @file_id: that was asked for last, with a reference.
 * @nr_locked: processes of this round whose address space was locked.
 * @held: pages of @notes that are discardable, not the process's yet.
 */
struct walk {
	struct work_struct work;
	refcount_t refs;
	struct completion done;
	bool cancelled;
	u64 classes;
	ktime_t begin, deadline;
	struct mhint_snapshot_stats stats;

	struct mhint_process *p;
	u64 at;
	u32 nr_pages;
	struct page *pages[MHINT_WALK_PAGES];
	struct mhint_file *file;
	u32 file_id;
	struct list_head held;
	u64 descs[DESCS_PER_PAGE];
	u32 steps;
	u32 nr;
	u32 nr_discard;
	u32 nr_locked;
	struct mhint_note notes[MHINT_SNAPSHOT_BATCH];
};

static struct workqueue_struct *walk_wq;
static atomic_t nr_walks = ATOMIC_INIT(0);
static unsigned int walk_ms;
static DEFINE_MUTEX(stats_lock);
static struct mhint_snapshot_stats last_stats;

static void walk_put(struct walk *w)
{
	if (refcount_dec_and_test(&w->refs))
		kvfree(w);
}

static void skip(struct walk *w, int why, u64 nr)
{
	w->stats.skipped[why] += nr;
}

/* ---- pages ---------------------------------------------------------------- */

static void put_pages(struct walk *w)
{
	u32 i;

	for (i = 0; i < w->nr_pages; i++)
		put_page(w->pages[i]);
	w->nr_pages = 0;
}

/* The page at @addr, or NULL; @end: no more than that is wanted. */
static struct page *page_at(struct walk *w, u64 addr, u64 end)
{
	int nr;

	if (w->nr_pages && addr >= w->at &&
	    addr < w->at + w->nr_pages * MEM_HINT_FRAME_SIZE)
		return w->pages[(addr - w->at) >> MEM_HINT_FRAME_SHIFT];
	put_pages(w);
	nr = min_t(u64, MHINT_WALK_PAGES, (end - addr) >> MEM_HINT_FRAME_SHIFT);
	nr = get_user_pages_fast_only(addr, nr, 0, w->pages);
	if (nr <= 0)
		return NULL;
	w->at = addr;
	w->nr_pages = nr;
	return w->pages[0];
}

/*
 * Anonymous, shared or huge pages, but nothing of a file system: its pages
 * belong to everybody.  Swap-backed is what is either anonymous or shmem; the
 * zero page is neither.
 */
static bool may_name(struct page *page)
{
	struct folio *folio = page_folio(page);

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
static bool hold(struct walk *w, struct page *page)
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
	struct walk *w = ctx;

	spin_lock(&w->p->spin);
	list_splice_init(&w->held, &w->p->held);
	spin_unlock(&w->p->spin);
}

/* False: stop, nothing more can be entered. */
static bool flush(struct walk *w)
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

static bool note(struct walk *w, struct page *page, u64 entry)
{
	w->notes[w->nr].frame = page_to_pfn(page);
	w->notes[w->nr].entry = entry;
	w->nr++;
	return w->nr < MHINT_SNAPSHOT_BATCH || flush(w);
}

/* Much of nothing takes its time, too. */
static bool step(struct walk *w)
{
	return ++w->steps % MHINT_SNAPSHOT_BATCH || flush(w);
}

static struct mhint_file *get_file_of(struct walk *w, u32 id)
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

static u64 with_class(struct walk *w, u64 addr, u64 entry)
{
	struct mhint_process *p = w->p;

	if (!(w->classes & 1ULL << MEM_HINT_CLASS_HOT) || !READ_ONCE(p->hot.nr))
		return entry;
	if (in_span(p, &p->hot, addr))
		entry |= (u64)MEM_HINT_CLASS_HOT << MEM_HINT_CLASS_SHIFT;
	return entry;
}

/*
 * The pages of [addr, end) hold the file from @block on; @limit: pages up to it
 * may be looked up at once.
 */
static bool walk_blocks(struct walk *w, u64 addr, u64 end, u64 limit, u32 id,
			u64 block)
{
	struct mhint_file *file = get_file_of(w, id);
	u64 entry;
	int why;

	if (!file) {
		skip(w, MHINT_SKIP_FILE, (end - addr) >> MEM_HINT_FRAME_SHIFT);
		return true;
	}
	for (; addr < end; addr += MEM_HINT_FRAME_SIZE, block++) {
		struct page *page = page_at(w, addr, limit);

		if (!page)
			why = MHINT_SKIP_ABSENT;
		else if (!may_name(page))
			why = MHINT_SKIP_MEMORY;
		else
			why = mhint_file_entry(file, block, &entry);
		if (why)
			skip(w, why, 1);
		else if (!note(w, page, with_class(w, addr, entry)))
			return false;
		if (!step(w))
			return false;
	}
	return true;
}

/* The pages of [addr, end) hold no block. */
static bool walk_empty(struct walk *w, u64 addr, u64 end, u64 limit)
{
	for (; addr < end; addr += MEM_HINT_FRAME_SIZE) {
		struct page *page = page_at(w, addr, limit);

		if (page && may_name(page) && !note(w, page, 0))
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
static bool walk_discard(struct walk *w, u64 addr, u64 end)
{
	const u64 entry = mhint_entry(MEM_HINT_DISK_MASK,	/* none */
				      MEM_HINT_CLASS_DISCARDABLE, 0);

	for (; addr < end; addr += MEM_HINT_FRAME_SIZE) {
		struct page *page = page_at(w, addr, end);

		if (!page) {
			skip(w, MHINT_SKIP_ABSENT, 1);
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
static bool walk_discard_vmas(struct walk *w, struct mm_struct *mm, u64 addr,
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

		skip(w, MHINT_SKIP_ABSENT, (from - addr) >> MEM_HINT_FRAME_SHIFT);
		if (mhint_vma_discardable(vma))
			ok = walk_discard(w, from, to);
		else
			skip(w, MHINT_SKIP_MEMORY,
			     (to - from) >> MEM_HINT_FRAME_SHIFT);
		put_pages(w);
		addr = to;
		if (!ok)
			return false;
	}
	skip(w, MHINT_SKIP_ABSENT, (end - addr) >> MEM_HINT_FRAME_SHIFT);
	return flush(w);
}

/* ---- what was said -------------------------------------------------------- */

/* A turn's part of the next range of @s; false: there is none. */
static bool next_span(struct mhint_process *p, const struct mhint_spans *s,
		      struct cursor *c, struct mhint_span *part)
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
		part->end = min(part->end, part->start +
				(u64)MHINT_SNAPSHOT_TURN * MEM_HINT_FRAME_SIZE);
	}
	spin_unlock(&p->spin);
	return found;
}

static void next_stage(struct cursor *c)
{
	c->stage++;
	c->addr = 0;
}

static bool turn_binds(struct walk *w, struct cursor *c, u64 *left)
{
	struct mhint_span part;

	if (!next_span(w->p, &w->p->binds, c, &part)) {
		next_stage(c);
		return true;
	}
	c->addr = part.end;
	*left -= min(*left, (part.end - part.start) >> MEM_HINT_FRAME_SHIFT);
	return walk_blocks(w, part.start, part.end, part.end, part.key,
			   part.value >> MEM_HINT_FRAME_SHIFT);
}

/*
 * A batch for each hold of the address space's lock.  Under it a page is found,
 * held, entered and handed to the process, so that a fork comes before or after
 * all of that (see process_invalidate()).  Order: this lock, mhint_drain_lock.
 *
 * A process may keep its address space locked for as long as it likes, by a page
 * fault that does not end.  That costs it its turn, and at last what it has said
 * here, but nobody else's time: see walk_all().
 */
static bool turn_discard(struct walk *w, struct cursor *c, u64 *left)
{
	struct mm_struct *mm = c->mm;
	struct mhint_span part;
	bool ok;

	if (!(w->classes & 1ULL << MEM_HINT_CLASS_DISCARDABLE) ||
	    !next_span(w->p, &w->p->discard, c, &part)) {
		next_stage(c);
		return true;
	}
	part.end = min(part.end, part.start +
		       (u64)MHINT_SNAPSHOT_BATCH * MEM_HINT_FRAME_SIZE);
	if (!flush(w))	/* what needs no lock */
		return false;
	if (!mmap_read_trylock(mm)) {
		*left = 0;
		w->nr_locked++;
		if (++c->tries == MHINT_MM_TRIES) {
			skip(w, MHINT_SKIP_MEMORY,
			     (part.end - part.start) >> MEM_HINT_FRAME_SHIFT);
			c->stage = STAGE_DONE;
		}
		return true;
	}
	c->tries = 0;
	c->addr = part.end;
	*left -= min(*left, (part.end - part.start) >> MEM_HINT_FRAME_SHIFT);
	ok = walk_discard_vmas(w, mm, part.start, part.end);
	mmap_read_unlock(mm);
	return ok;
}

/* Descriptors of one page of them: what cannot be read is no more than that. */
static bool turn_pool(struct walk *w, struct cursor *c, u64 *left)
{
	struct mhint_process *p = w->p;
	struct mhint_pool pool = {};
	u64 from, block, addr, end;
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
		return true;
	}

	from = pool.desc + c->frame * sizeof(u64);
	nr = min_t(u64, pool.nr_frames - c->frame,
		   (PAGE_SIZE - offset_in_page(from)) / sizeof(u64));
	pages = 1U << (pool.frame_shift - MEM_HINT_FRAME_SHIFT);
	addr = pool.addr + (c->frame << pool.frame_shift);
	end = pool.addr + (pool.nr_frames << pool.frame_shift);
	c->frame += nr;
	*left -= min_t(u64, *left, nr);
	if (copy_from_user_nofault(w->descs, u64_to_user_ptr(from),
				   nr * sizeof(u64))) {
		skip(w, MHINT_SKIP_DESC, (u64)nr * pages);
		return flush(w);
	}
	for (i = 0; i < nr && ok; i++, addr += 1ULL << pool.frame_shift) {
		u64 next = addr + (1ULL << pool.frame_shift);

		switch (mhint_desc_decode(w->descs[i], pages, &file, &block)) {
		case MHINT_DESC_BLOCK:
			*left -= min_t(u64, *left, pages);
			ok = walk_blocks(w, addr, next, end, file, block);
			break;
		case MHINT_DESC_EMPTY:
			*left -= min_t(u64, *left, pages);
			ok = walk_empty(w, addr, next, end);
			break;
		case MHINT_DESC_BAD:
			skip(w, MHINT_SKIP_DESC, pages);
			break;
		}
	}
	return ok;
}

/* Some of an address space, which the worker has borrowed.  False: stop. */
static bool walk_turn(struct walk *w, struct cursor *c)
{
	u64 left = MHINT_SNAPSHOT_TURN;
	bool ok = true;

	while (ok && left && c->stage != STAGE_DONE) {
		switch (c->stage) {
		case STAGE_BINDS:
			ok = turn_binds(w, c, &left);
			break;
		case STAGE_POOLS:
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

static bool walk_mm(struct walk *w, struct cursor *c)
{
	bool ok = true;

	if (!mmget_not_zero(c->mm)) {
		c->stage = STAGE_DONE;
		return true;
	}
	w->p = mhint_process_of(c->mm);
	if (w->p) {
		kthread_use_mm(c->mm);
		ok = walk_turn(w, c);
		kthread_unuse_mm(c->mm);
	} else {
		c->stage = STAGE_DONE;
	}
	/* The last user?  What follows is not for a snapshot to wait for. */
	mmput_async(c->mm);
	return ok;
}

static void walk_all(struct walk *w)
{
	struct cursor *cursors;
	struct mm_struct **mms;
	u32 i, nr, more;

	mms = mhint_process_mms(&nr);
	if (!mms)
		return;
	cursors = kvcalloc(nr ?: 1, sizeof(*cursors), GFP_KERNEL);
	if (cursors) {
		bool ok = true;

		for (i = 0; i < nr; i++)
			cursors[i].mm = mms[i];
		do {
			more = 0;
			w->nr_locked = 0;
			for (i = 0; i < nr && ok; i++) {
				if (cursors[i].stage == STAGE_DONE)
					continue;
				ok = walk_mm(w, &cursors[i]);
				more += cursors[i].stage != STAGE_DONE;
			}
			/* one wait for all of them, when there is no other work */
			if (more && ok && w->nr_locked >= more)
				usleep_range(MHINT_MM_RETRY_US, 2 * MHINT_MM_RETRY_US);
		} while (more && ok);
	}
	for (i = 0; i < nr; i++)
		mmdrop(mms[i]);
	kvfree(cursors);
	kvfree(mms);
}

static void walk_fn(struct work_struct *work)
{
	struct walk *w = container_of(work, struct walk, work);

	walk_all(w);
	w->stats.us = ktime_us_delta(ktime_get(), w->begin);
	complete(&w->done);
	atomic_dec(&nr_walks);
	walk_put(w);
	/* mhint_snapshot_exit() waits for the rest of this function. */
	module_put(THIS_MODULE);
}

static struct walk *walk_start(u64 classes)
{
	struct walk *w;

	if (atomic_inc_return(&nr_walks) > MHINT_MAX_WALKS) {
		pr_warn_ratelimited("what processes say is left out: %u snapshots are stuck\n",
				    MHINT_MAX_WALKS);
		goto err;
	}
	if (!try_module_get(THIS_MODULE))
		goto err;
	w = kvzalloc(sizeof(*w), GFP_KERNEL);
	if (!w) {
		module_put(THIS_MODULE);
		goto err;
	}
	INIT_WORK(&w->work, walk_fn);
	INIT_LIST_HEAD(&w->held);
	init_completion(&w->done);
	refcount_set(&w->refs, 2);
	w->classes = classes;
	w->begin = ktime_get();
	w->deadline = ktime_add_ms(w->begin, walk_ms);
	queue_work(walk_wq, &w->work);
	return w;

err:
	atomic_dec(&nr_walks);
	return NULL;
}

/**
 * mhint_snapshot_run - enter what processes have said, as far as time allows
 * @classes: that the host has agreed to, as bits
 *
 * Nothing is entered any more when it returns.
 */
void mhint_snapshot_run(u64 classes)
{
	struct mhint_snapshot_stats stats = {};
	u32 processes, files, pools;
	unsigned long left;
	struct walk *w;

	mhint_processes_count(&processes, &files, &pools);
	w = processes ? walk_start(classes) : NULL;
	if (w) {
		/* It looks at the clock itself; this is for when it is stuck. */
		left = wait_for_completion_timeout(&w->done,
						   msecs_to_jiffies(walk_ms +
								    MHINT_WALK_GRACE_MS));
		mhint_enter_cancel(&w->cancelled);
		if (left) {
			stats = w->stats;
		} else {
			stats.cut = true;
			stats.us = ktime_us_delta(ktime_get(), w->begin);
		}
		walk_put(w);
	} else if (processes) {
		stats.cut = true;
	}
	if (stats.cut)
		pr_info_ratelimited("not all that processes say is in this snapshot\n");
	mutex_lock(&stats_lock);
	last_stats = stats;
	mutex_unlock(&stats_lock);
}

void mhint_snapshot_get_stats(struct mhint_snapshot_stats *stats)
{
	mutex_lock(&stats_lock);
	*stats = last_stats;
	mutex_unlock(&stats_lock);
}

int mhint_snapshot_init(unsigned int ms)
{
	walk_ms = ms;
	walk_wq = alloc_workqueue("mem_hints_walk", WQ_UNBOUND, MHINT_MAX_WALKS);
	return walk_wq ? 0 : -ENOMEM;
}

/* No walk is under way: each holds a reference of the module. */
void mhint_snapshot_exit(void)
{
	destroy_workqueue(walk_wq);
}
