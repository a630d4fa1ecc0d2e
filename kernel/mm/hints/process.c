// SPDX-License-Identifier: GPL-2.0
/*
 * Address spaces about which something was said.
 *
 * An mmu notifier ties each to its address space without keeping that alive: its
 * release callback, at exec and exit, drops everything.  So what is found for
 * the caller's own mm stays for the call, and what is found for an mm of which
 * a user is held (mmget) stays until that is put.  A child after fork() has
 * another mm, and nothing said of it.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/hashtable.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "internal.h"
#include "process.h"
#include "users.h"

static DEFINE_SPINLOCK(list_lock);
static LIST_HEAD(processes);
static DEFINE_HASHTABLE(by_mm, 8);
static u32 nr_processes;
static atomic_t nr_pools = ATOMIC_INIT(0);
/* Notifiers whose memory is not freed yet, by a callback of ours. */
static atomic_t nr_notifiers = ATOMIC_INIT(0);
static atomic64_t nr_taken_back = ATOMIC64_INIT(0);
/* Of processes that are gone; under list_lock. */
static LIST_HEAD(held_shared);

static struct mmu_notifier *process_alloc(struct mm_struct *mm)
{
	struct mhint_process *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&p->node);
	INIT_LIST_HEAD(&p->held);
	mutex_init(&p->lock);
	spin_lock_init(&p->spin);
	xa_init_flags(&p->files, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
	p->binds.moving = true;
	atomic_inc(&nr_notifiers);
	return &p->mn;
}

static void process_free(struct mmu_notifier *mn)
{
	kfree(container_of(mn, struct mhint_process, mn));
	if (atomic_dec_and_test(&nr_notifiers))
		wake_up_var(&nr_notifiers);
}

/* Let go of pages; @held is empty afterwards. */
void mhint_held_free(struct list_head *held)
{
	struct mhint_held *h, *next;
	u32 i;

	list_for_each_entry_safe(h, next, held, list) {
		for (i = 0; i < h->nr; i++)
			put_page(h->pages[i]);
		list_del(&h->list);
		free_page((unsigned long)h);
		cond_resched();
	}
}

/*
 * Of a process that goes: pages that a child has too, since a fork, stay held
 * until the migration is over.  @held is empty afterwards.
 */
static void held_orphan(struct list_head *held)
{
	struct mhint_held *h, *next;
	u32 i, kept;

	list_for_each_entry_safe(h, next, held, list) {
		for (i = 0, kept = 0; i < h->nr; i++) {
			if (mhint_page_exclusive(h->pages[i]))
				put_page(h->pages[i]);
			else
				h->pages[kept++] = h->pages[i];
		}
		h->nr = kept;
		cond_resched();
	}
	spin_lock(&list_lock);
	list_splice_tail_init(held, &held_shared);
	spin_unlock(&list_lock);
}

/*
 * Pages that are about to be another process's, too, are not discardable any
 * more: write to each what is there, so that the host's dirty log has it like any
 * page that was written to since START.  Then it need not be held: whatever
 * becomes of the frame, the host sends it.  @held is empty afterwards.
 */
static void held_take_back(struct list_head *held, bool may_sleep)
{
	struct mhint_held *h, *next;
	u32 i, nr;

	list_for_each_entry_safe(h, next, held, list) {
		for (i = 0, nr = 0; i < h->nr; i++) {
			struct page *page = h->pages[i];
			atomic_t *word;

			/* What is poisoned may be mapped nowhere, and is lost anyway. */
			if (!PageHWPoison(page)) {
				word = kmap_local_page(page);
				/* Others may be writing: atomic.  A write, if of nothing. */
				atomic_or(0, word);
				kunmap_local(word);
				nr++;
			}
			put_page(page);
		}
		atomic64_add(nr, &nr_taken_back);
		list_del(&h->list);
		free_page((unsigned long)h);
		if (may_sleep)
			cond_resched();
	}
}

/* For sysfs. */
u64 mhint_processes_taken_back(void)
{
	return atomic64_read(&nr_taken_back);
}

static void drop_spans(struct mhint_process *p, struct mhint_spans *s)
{
	struct mhint_span *v;

	spin_lock(&p->spin);
	v = s->v;
	mhint_uncharge(p->user, MHINT_BUDGET_SPANS, s->size);
	s->v = NULL;
	s->nr = 0;
	s->size = 0;
	spin_unlock(&p->spin);
	kvfree(v);
}

/* Nobody calls for it and no snapshot looks at it any more. */
static void process_drop(struct mhint_process *p)
{
	LIST_HEAD(held);
	int i;

	drop_spans(p, &p->binds);
	drop_spans(p, &p->hot);
	drop_spans(p, &p->discard);
	spin_lock(&p->spin);
	for (i = 0; i < MHINT_MAX_POOLS; i++) {
		if (p->pools[i].id)
			atomic_dec(&nr_pools);
		p->pools[i].id = 0;
	}
	list_splice_init(&p->held, &held);
	spin_unlock(&p->spin);
	held_orphan(&held);
	mhint_files_drop(p);
	mhint_uncharge(p->user, MHINT_BUDGET_PROCESSES, 1);
	mhint_user_put(p->user);
	put_pid(p->pid);
	mmu_notifier_put(&p->mn);
}

static void unlist(struct mhint_process *p)
{
	lockdep_assert_held(&list_lock);
	list_del_init(&p->node);
	hash_del(&p->by_mm);
	nr_processes--;
}

/* True for one caller: drops it. */
static bool process_unlist(struct mhint_process *p)
{
	bool listed;

	spin_lock(&list_lock);
	listed = !list_empty(&p->node);
	if (listed)
		unlist(p);
	spin_unlock(&list_lock);
	return listed;
}

static void process_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct mhint_process *p = container_of(mn, struct mhint_process, mn);

	if (process_unlist(p))
		process_drop(p);
}

static bool spans_meet(const struct mhint_spans *s, u64 start, u64 end)
{
	u32 i = mhint_spans_find(s, start);

	return i < s->nr && s->v[i].start < end;
}

/*
 * What is unmapped or moved is not what the process meant to be discardable any
 * more: something else may soon be at these addresses.  Other hints may stay:
 * the host finds out what is wrong.
 *
 * A fork, which makes the parent's private memory read-only (PROTECTION_PAGE),
 * takes back what the host may drop in this migration: the child has not agreed.
 * It has the address space locked for writing, and a snapshot from finding a page
 * until it is in @held for reading, so that no page falls between the two.  Pages
 * can leave the ranges in which they were found (mremap(), UFFDIO_MOVE): once
 * anything has gone from there, any fork takes all back.
 */
static int process_invalidate(struct mmu_notifier *mn,
			      const struct mmu_notifier_range *range)
{
	struct mhint_process *p = container_of(mn, struct mhint_process, mn);
	LIST_HEAD(held);

	if (!READ_ONCE(p->discard.nr) && list_empty_careful(&p->held))
		return 0;
	spin_lock(&p->spin);
	switch (range->event) {
	case MMU_NOTIFY_UNMAP:
		p->strayed |= spans_meet(&p->discard, range->start, range->end);
		mhint_spans_cut(&p->discard, range->start, range->end);
		break;
	case MMU_NOTIFY_CLEAR:
		p->strayed |= spans_meet(&p->discard, range->start, range->end);
		break;
	case MMU_NOTIFY_PROTECTION_PAGE:
		/* Writeback of files says this, too, in whatever task; a fork does not. */
		if (current->mm == mn->mm &&
		    (p->strayed || spans_meet(&p->discard, range->start, range->end)))
			list_splice_init(&p->held, &held);
		break;
	default:
		break;
	}
	spin_unlock(&p->spin);
	held_take_back(&held, mmu_notifier_range_blockable(range));
	return 0;
}

static const struct mmu_notifier_ops process_ops = {
	.alloc_notifier		= process_alloc,
	.free_notifier		= process_free,
	.release		= process_release,
	.invalidate_range_start	= process_invalidate,
};

/**
 * mhint_process_of - what was said of an address space
 * @mm: the caller's own, or one of which the caller holds a user
 *
 * Return: NULL if nothing was.  Stays as long as @mm has users.
 */
struct mhint_process *mhint_process_of(struct mm_struct *mm)
{
	struct mhint_process *p, *found = NULL;

	spin_lock(&list_lock);
	hash_for_each_possible(by_mm, p, by_mm, (unsigned long)mm)
		if (p->mn.mm == mm) {
			found = p;
			break;
		}
	spin_unlock(&list_lock);
	return found;
}

/* The first that is said of @mm, by @user: 0; -EEXIST: another thread was faster. */
static int process_new(struct mm_struct *mm, struct mhint_user *user,
		       struct mhint_process **process)
{
	struct mmu_notifier *mn = mmu_notifier_get(&process_ops, mm);
	struct mhint_process *p;
	bool listed;

	if (IS_ERR(mn))
		return PTR_ERR(mn);
	p = container_of(mn, struct mhint_process, mn);
	spin_lock(&list_lock);
	listed = !list_empty(&p->node);
	if (!listed) {
		p->user = user;
		p->pid = get_pid(task_tgid(current));
		list_add_tail(&p->node, &processes);
		hash_add(by_mm, &p->by_mm, (unsigned long)mm);
		nr_processes++;
	}
	spin_unlock(&list_lock);
	/* The list has one reference of the notifier. */
	if (listed)
		mmu_notifier_put(mn);
	*process = p;
	return listed ? -EEXIST : 0;
}

/**
 * mhint_process_current - what the calling process has said
 * @create: it is about to say something
 *
 * Return: for the rest of the call; NULL: nothing was said and !@create;
 * -EDQUOT, -ENOSPC: too many processes have said something; -ENOMEM; -EINVAL: a
 * kernel thread.
 */
struct mhint_process *mhint_process_current(bool create)
{
	struct mm_struct *mm = current->mm;
	struct mhint_process *p;
	struct mhint_user *user;
	int err;

	if (!mm)
		return ERR_PTR(-EINVAL);
	p = mhint_process_of(mm);
	if (p || !create)
		return p;

	user = mhint_user_current();
	if (!user)
		return ERR_PTR(-ENOMEM);
	/* Before it is in the list, which is so never longer than there is budget. */
	err = mhint_charge(user, MHINT_BUDGET_PROCESSES, 1);
	if (err)
		goto out;
	err = process_new(mm, user, &p);
	if (!err)
		return p;	/* which has the reference and what was charged */
	mhint_uncharge(user, MHINT_BUDGET_PROCESSES, 1);
out:
	mhint_user_put(user);
	return err == -EEXIST ? p : ERR_PTR(err);
}

/**
 * mhint_process_mms - the address spaces about which something was said
 * @nr: how many
 *
 * Return: an array, to be freed by mhint_process_mms_free(); NULL: no memory.
 */
struct mhint_mm *mhint_process_mms(u32 *nr)
{
	struct mhint_process *p;
	struct mhint_mm *mms;

	*nr = 0;
	mms = kvmalloc_array(MHINT_MAX_PROCESSES, sizeof(*mms), GFP_KERNEL);
	if (!mms)
		return NULL;
	spin_lock(&list_lock);
	list_for_each_entry(p, &processes, node) {
		mmgrab(p->mn.mm);
		mms[*nr].mm = p->mn.mm;
		mms[*nr].user = mhint_user_id(p->user);
		++*nr;
	}
	spin_unlock(&list_lock);
	return mms;
}

void mhint_process_mms_free(struct mhint_mm *mms, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		mmdrop(mms[i].mm);
	kvfree(mms);
}

/* Let go of the pages that the host might have dropped. */
void mhint_processes_unhold(void)
{
	struct mhint_process *p;
	LIST_HEAD(held);

	spin_lock(&list_lock);
	list_for_each_entry(p, &processes, node) {
		spin_lock(&p->spin);
		list_splice_tail_init(&p->held, &held);
		p->strayed = false;
		spin_unlock(&p->spin);
	}
	list_splice_tail_init(&held_shared, &held);
	spin_unlock(&list_lock);
	mhint_held_free(&held);
}

/**
 * mhint_process_room - see to it that a set can be changed once
 * @p: the process; its lock is held
 * @s: one of its sets
 *
 * Return: 0, also where the set is as large as it may be and a change may fail
 * by -ENOSPC; -EDQUOT, -ENOSPC: the user, or all together, have too many; -ENOMEM.
 */
int mhint_process_room(struct mhint_process *p, struct mhint_spans *s)
{
	struct mhint_span *v, *old;
	u32 size;
	int err;

	lockdep_assert_held(&p->lock);
	if (s->nr + MHINT_SPANS_ROOM <= s->size || s->size == MHINT_MAX_SPANS)
		return 0;
	size = clamp(s->size * 2, MHINT_MIN_SPANS, MHINT_MAX_SPANS);
	err = mhint_charge(p->user, MHINT_BUDGET_SPANS, size - s->size);
	if (err)
		return err;
	v = kvmalloc_array(size, sizeof(*v), GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
			   __GFP_RETRY_MAYFAIL);
	if (!v) {
		mhint_uncharge(p->user, MHINT_BUDGET_SPANS, size - s->size);
		return -ENOMEM;
	}
	spin_lock(&p->spin);
	memcpy(v, s->v, s->nr * sizeof(*v));
	old = s->v;
	s->v = v;
	s->size = size;
	spin_unlock(&p->spin);
	kvfree(old);
	return 0;
}

void mhint_process_count_pools(int more)
{
	atomic_add(more, &nr_pools);
}

/* For sysfs. */
void mhint_processes_count(u32 *procs, u32 *files, u32 *pools)
{
	*procs = READ_ONCE(nr_processes);
	*files = mhint_files_count();
	*pools = atomic_read(&nr_pools);
}

/* No call and no snapshot is under way; exiting processes may be. */
void mhint_processes_exit(void)
{
	struct mhint_process *p;

	for (;;) {
		spin_lock(&list_lock);
		p = list_first_entry_or_null(&processes, struct mhint_process, node);
		if (p)
			unlist(p);
		spin_unlock(&list_lock);
		if (!p)
			break;
		process_drop(p);
	}
	mhint_processes_unhold();
	/*
	 * Those that have released themselves may have asked for their callback only
	 * now.  When the last has counted itself out it is about to return; that is
	 * what the grace period is for.
	 */
	wait_var_event(&nr_notifiers, !atomic_read(&nr_notifiers));
	mmu_notifier_synchronize();
}
