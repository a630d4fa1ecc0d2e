// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy at the destination: the switch, and what it needs.  Pages that the guest
 * waits for are in fault.c, placement in fetch_place.c.
 *
 * The orders, and what each is for (Documentation/virt/migdb/postcopy.rst):
 *	end mark, then HOLD	no page that is built has changed since
 *	HOLD, then punch	nobody writes a page behind the VMM's back by copying
 *	punch, then POSTCOPY	whatever UFFDIO_COPY finds there is somebody's mistake
 *	POSTCOPY, then run	who touches a missing page waits for it
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

#include "alloc.h"
#include "claim.h"
#include "fetch.h"
#include "postcopy.h"

#define BITMAP_CHUNK_BITS	(8 * PAGE_SIZE)

unsigned int migdb_postcopy_bulk_reads = MIGDB_DEFAULT_BULK_READS;
u64 migdb_postcopy_floor_us = MIGDB_DEFAULT_FLOOR_US;

bool migdb_postcopy_supported(void)
{
	return IS_ENABLED(CONFIG_USERFAULTFD);
}

/* First page of a run -> chunk, for all that may still be asked for. */
static void migdb_index_work(struct work_struct *work)
{
	struct migdb_placer *pc = container_of(work, struct migdb_placer, index_work);
	struct migdb_dest *d = pc->s->dst;
	struct migdb_chunk *c;
	u32 i;

	/* unlocked: POSTCOPY holds each of them, and no record comes any more */
	list_for_each_entry(c, &d->alive, alive) {
		if (READ_ONCE(d->fetch->dying))
			return;
		for (i = 0; i < c->nr_runs && pc->nr_runs < pc->max_runs; i++)
			pc->runs[pc->nr_runs++] = (struct migdb_cand) {
				.where = c->runs[i].index, .index = (uintptr_t)c,
			};
		cond_resched();
	}
	migdb_cand_sort(pc->runs, pc->nr_runs);
	/* pairs with migdb_run_of_page() */
	smp_store_release(&pc->indexed, true);
	migdb_fault_indexed(pc);
}

/*
 * The run that holds the page, if it is known.  Runs of an honest source do not overlap;
 * of one that is not, some are not found, and their pages are waited for or sent.
 */
bool migdb_run_of_page(struct migdb_placer *pc, u64 index, struct migdb_chunk **chunk,
		       struct migdb_fetch_run **run)
{
	u64 lo = 0, hi, mid;
	struct migdb_chunk *c;
	u32 i;

	/* pairs with migdb_index_work() */
	if (!smp_load_acquire(&pc->indexed))
		return false;
	hi = pc->nr_runs;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (pc->runs[mid].where <= index)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	c = (struct migdb_chunk *)(uintptr_t)pc->runs[lo - 1].index;
	for (i = 0; i < c->nr_runs; i++) {
		if (index - c->runs[i].index >= c->runs[i].nr || index < c->runs[i].index)
			continue;
		*chunk = c;
		*run = &c->runs[i];
		return true;
	}
	return false;
}

/*
 * Keep what is still to be read, so that it can be looked up: also what is planned and
 * waits for a limit, or is being read.  Under dest.lock.
 */
static void migdb_postcopy_pin(struct migdb_dest *d, struct migdb_placer *pc)
{
	struct migdb_chunk *c;

	lockdep_assert_held(&d->lock);
	pc->pinned = true;
	list_for_each_entry(c, &d->alive, alive) {
		c->nr_users++;
		pc->max_runs += c->nr_runs;
		cond_resched();
	}
}

static struct migdb_placer *migdb_placer_create(struct migdb_session *s)
{
	size_t bytes = MIGDB_NR_LANES * MIGDB_WINDOW_PAGES * PAGE_SIZE;
	struct migdb_placer *pc;

	pc = kzalloc(sizeof(*pc), MIGDB_GFP);
	if (!pc)
		return NULL;
	pc->window = migdb_map_create(bytes, true);
	if (!pc->window) {
		kfree(pc);
		return NULL;
	}
	pc->s = s;
	INIT_WORK(&pc->index_work, migdb_index_work);
	migdb_fault_init(pc);
	s->memory_bytes += sizeof(*pc) + bytes;
	return pc;
}

/* Recorded, and what is in memory is not what the source has, or nobody knows. */
static bool migdb_page_missing(struct migdb_dest *d, u64 index)
{
	switch (migdb_page_state(d, index)) {
	case MIGDB_PAGE_TODO:
	case MIGDB_PAGE_RETURNED:
		return !migdb_claim_is_sent(&d->claims[index]);
	default:
		return false;
	}
}

static int migdb_missing_bitmap(struct migdb_session *s, struct migdb_hold *arg)
{
	u64 n = s->regions.nr_pages, first, bits, missing = 0, i;
	struct migdb_dest *d = s->dst;
	unsigned long *buf;
	void __user *uptr;
	int ret = 0;

	buf = (unsigned long *)__get_free_page(MIGDB_GFP);
	if (!buf)
		return -ENOMEM;
	for (first = 0; first < n && !ret; first += bits) {
		bits = min_t(u64, n - first, BITMAP_CHUNK_BITS);
		memset(buf, 0, PAGE_SIZE);
		mutex_lock(&d->lock);
		for (i = 0; i < bits; i++)
			if (migdb_page_missing(d, first + i)) {
				__set_bit(i, buf);
				missing++;
			}
		mutex_unlock(&d->lock);
		uptr = u64_to_user_ptr(arg->missing_uptr + first / 8);
		if (arg->missing_uptr && copy_to_user(uptr, buf, DIV_ROUND_UP(bits, 8)))
			ret = -EFAULT;
		cond_resched();
	}
	free_page((unsigned long)buf);
	arg->out_missing = missing;
	return ret;
}

/*
 * Claimed before the record came: the stream has brought the page once, and the source
 * may have left out what it became later.  So it is missing, whatever its claim says, and
 * the VMM takes it out of memory.  Its claim is taken back, once: who claims it from here
 * on has placed it since, and until somebody does, nobody says that it is here.
 *
 * With fill_sem held for writing: no page is being written.  No record comes any more.
 */
static void migdb_hold_mistrust(struct migdb_session *s)
{
	u64 n = s->regions.nr_pages, first, end, i;
	struct migdb_dest *d = s->dst;

	lockdep_assert_held_write(&d->fill_sem);
	if (!atomic64_read(&s->n.by_reason[MIGDB_REASON_TWICE]))
		return;
	for (first = 0; first < n; first = end) {
		end = min_t(u64, n, first + BITMAP_CHUNK_BITS);
		mutex_lock(&d->lock);
		for (i = first; i < end; i++)
			if (migdb_page_state(d, i) == MIGDB_PAGE_RETURNED &&
			    d->page[i] >> 3 == MIGDB_REASON_TWICE)
				migdb_claim_revert(&d->claims[i]);
		mutex_unlock(&d->lock);
		cond_resched();
	}
}

/* Under rx_lock: no frame comes in between, and no other call of this file. */
static int migdb_dest_hold_locked(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;
	struct migdb_placer *pc;
	int ret;

	lockdep_assert_held(&s->rx_lock);
	/* a page that is built may be revoked until then */
	if (!d->finish_seen)
		return -EAGAIN;
	pc = d->placer ? d->placer : migdb_placer_create(s);
	if (!pc)
		return -ENOMEM;
	/* pairs with migdb_fault_stats(), which has no lock of ours */
	smp_store_release(&d->placer, pc);
	ret = migdb_session_transit(s, MIGDB_EV_HOLD);
	if (ret)
		return ret;
	/* and those that are being written end first */
	if (down_write_killable(&d->fill_sem))
		return -EINTR;
	if (d->place == MIGDB_PLACE_COPY) {
		migdb_hold_mistrust(s);
		smp_store_release(&d->place, MIGDB_PLACE_HELD);	/* see migdb_place_how() */
	}
	up_write(&d->fill_sem);
	return 0;
}

int migdb_dest_hold(struct migdb_session *s, struct migdb_hold *arg,
		    struct migdb_hold __user *uarg)
{
	struct file *file;
	int ret, fd;

	if (arg->__reserved)
		return -EINVAL;
	if (!migdb_postcopy_supported())
		return -EOPNOTSUPP;
	if (mutex_lock_killable(&s->rx_lock))
		return -EINTR;
	ret = migdb_dest_hold_locked(s);
	mutex_unlock(&s->rx_lock);
	/* without it: the VMM's memory is written to */
	if (!ret)
		ret = migdb_missing_bitmap(s, arg);
	if (ret)
		return ret;
	file = migdb_map_file(s->dst->placer->window);
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		fput(file);
		return fd;
	}
	arg->out_copy_fd = fd;
	arg->out_copy_bytes = s->dst->placer->window->bytes;
	if (copy_to_user(uarg, arg, sizeof(*arg))) {
		put_unused_fd(fd);
		fput(file);
		return -EFAULT;
	}
	fd_install(fd, file);
	return 0;
}

#ifdef CONFIG_USERFAULTFD
/* The name of an anonymous inode is the kernel's choice; nobody else makes this one. */
static bool migdb_is_uffd(struct file *file)
{
	return file_inode(file)->i_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(file->f_path.dentry->d_name.name, "[userfaultfd]") &&
	       file->f_op->unlocked_ioctl;
}

static int migdb_check_vma(const struct vm_area_struct *vma, const struct file *uffd)
{
	/* whole huge pages only, and placement is by pages of 4 KiB */
	if (is_vm_hugetlb_page(vma))
		return -EOPNOTSUPP;
	if (vma->vm_userfaultfd_ctx.ctx != uffd->private_data ||
	    !(vma->vm_flags & VM_UFFD_MISSING))
		return -ENOENT;
	return 0;
}

/* All of the memory table: a fault that this uffd does not hear is nobody's. */
static int migdb_check_memory(struct migdb_session *s, const struct file *uffd)
{
	struct vm_area_struct *vma;
	unsigned long at, end;
	u32 i;
	int ret;

	mmap_assert_locked(current->mm);
	for (i = 0; i < s->regions.nr; i++) {
		at = s->regions.r[i].hva;
		end = at + s->regions.r[i].nr_pages * MIGDB_PAGE_BYTES;
		while (at < end) {
			vma = find_vma(current->mm, at);
			if (!vma || vma->vm_start > at)
				return -ENOENT;
			ret = migdb_check_vma(vma, uffd);
			if (ret)
				return ret;
			at = vma->vm_end;
		}
	}
	return 0;
}

static int migdb_check_uffd(struct migdb_session *s, struct file *uffd, unsigned long window)
{
	struct userfaultfd_ctx *ctx = uffd->private_data;
	int ret;

	if (!migdb_is_uffd(uffd))
		return -EOPNOTSUPP;
	if (ctx->mm != current->mm)
		return -EPERM;
	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	ret = migdb_check_memory(s, uffd);
	if (!ret && !migdb_map_is_at(s->dst->placer->window, window))
		ret = -EINVAL;
	mmap_read_unlock(current->mm);
	return ret;
}
#else
static int migdb_check_uffd(struct migdb_session *s, struct file *uffd, unsigned long window)
{
	return -EOPNOTSUPP;
}
#endif

/*
 * The switch itself.  What is looked up for faults is sorted beside it; a session that
 * has no memory for that serves them by its reads in bulk, and late ones by the source.
 */
static int migdb_dest_switch(struct migdb_session *s, struct file *uffd, unsigned long window,
			     u64 *todo)
{
	struct migdb_dest *d = s->dst;
	struct migdb_placer *pc = d->placer;
	u64 bytes;
	int ret;

	lockdep_assert_held(&s->rx_lock);
	ret = migdb_session_transit(s, MIGDB_EV_POSTCOPY);
	if (ret)
		return ret;
	down_write(&d->fill_sem);
	if (d->place == MIGDB_PLACE_HELD) {	/* not aborted since */
		pc->window_uaddr = window;
		pc->uffd = get_file(uffd);
		/* with the placer, for who reads it without the lock */
		smp_store_release(&d->place, MIGDB_PLACE_ATOMIC);
	}
	up_write(&d->fill_sem);

	mutex_lock(&d->lock);
	migdb_postcopy_pin(d, pc);
	*todo = d->todo.nr_set;
	if (!*todo)
		d->drained_due = true;
	mutex_unlock(&d->lock);
	bytes = pc->max_runs * sizeof(*pc->runs);
	if (bytes && !migdb_budget_get(bytes)) {
		pc->runs = __vmalloc(bytes, MIGDB_GFP);
		if (!pc->runs)
			migdb_budget_put(bytes);
	}
	if (pc->runs) {
		s->budget_bytes += bytes;
		s->memory_bytes += bytes;
		migdb_queue_work(&pc->index_work);
	}
	migdb_tx_wake(s);
	migdb_fetch_kick(s);
	return 0;
}

int migdb_dest_postcopy(struct migdb_session *s, struct migdb_postcopy *arg)
{
	struct file *uffd;
	int ret;

	if (arg->__reserved)
		return -EINVAL;
	uffd = fget(arg->uffd);
	if (!uffd)
		return -EBADF;
	if (mutex_lock_killable(&s->rx_lock)) {
		fput(uffd);
		return -EINTR;
	}
	/* HELD, and nobody leaves it but with rx_lock or for good: there is a placer */
	ret = migdb_state(s) == MIGDB_STATE_HELD ? 0 :
	      migdb_state(s) == MIGDB_STATE_ABORTED ? -ECANCELED : -EBUSY;
	if (!ret)
		ret = migdb_check_uffd(s, uffd, arg->copy_uptr);
	if (!ret)
		ret = migdb_dest_switch(s, uffd, arg->copy_uptr, &arg->out_todo);
	mutex_unlock(&s->rx_lock);
	fput(uffd);
	return ret;
}

/*
 * DONE, DRAINED or ABORTED: nothing is written any more, and the VMM's userfaultfd is
 * its own again.  Reads that came home while pages were held are put away.
 */
void migdb_postcopy_over(struct migdb_session *s)
{
	struct migdb_dest *d = s->dst;
	struct file *uffd = NULL;

	down_write(&d->fill_sem);
	smp_store_release(&d->place, MIGDB_PLACE_OVER);	/* as above */
	if (d->placer)
		swap(uffd, d->placer->uffd);
	up_write(&d->fill_sem);
	if (uffd)
		fput(uffd);
	migdb_fetch_kick(s);
}

/* The session is closing: no ioctl, no frame; lanes may still be at it. */
void migdb_postcopy_stop(struct migdb_session *s)
{
	struct migdb_placer *pc = s->dst->placer;

	if (!pc)
		return;
	cancel_work_sync(&pc->index_work);
	migdb_fault_stop(pc);
}

/* After the end of the vhost workers. */
void migdb_postcopy_free(struct migdb_session *s)
{
	struct migdb_placer *pc = s->dst->placer;
	struct migdb_chunk *c, *next;

	if (!pc)
		return;
	list_for_each_entry_safe(c, next, &s->dst->alive, alive) {
		if (!pc->pinned)
			break;
		migdb_chunk_put(s->dst, c);
		cond_resched();
	}
	if (pc->uffd)
		fput(pc->uffd);
	migdb_free(pc->runs);
	migdb_map_put(pc->window);
	kfree(pc);
	s->dst->placer = NULL;
}
