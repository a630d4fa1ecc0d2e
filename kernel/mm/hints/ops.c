// SPDX-License-Identifier: GPL-2.0
/*
 * Calls about memory.  They keep what the process said and do nothing else: what
 * it means is looked up when a migration starts.
 *
 * Memory is checked here so that a mistake is told at once; it can change
 * afterwards, so the snapshot looks at each page again.
 */
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/userfaultfd_k.h>

#include "call.h"
#include "desc.h"
#include "internal.h"
#include "process.h"

/**
 * mhint_vma_discardable - can pages of a mapping be discardable?
 * @vma: its address space is locked for reading
 *
 * Only private anonymous memory.  Not where a userfaultfd can move pages to
 * (UFFDIO_MOVE), which would not be those that the process spoke of, and which
 * nobody hears of: as long as the lock is held none can be moved to what this
 * allows.  Nor where KSM gives pages to others.
 */
bool mhint_vma_discardable(struct vm_area_struct *vma)
{
	return vma_is_anonymous(vma) && !is_vm_hugetlb_page(vma) &&
	       !userfaultfd_armed(vma) &&
	       !(vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP | VM_IO |
				  VM_MAYSHARE | VM_MERGEABLE));
}

static int check_vma(struct vm_area_struct *vma, bool private_only)
{
	/* VM_SHARED is not set where the file is open for reading only. */
	bool shared = vma->vm_flags & VM_MAYSHARE;

	if (private_only)
		return mhint_vma_discardable(vma) ? 0 : -EOPNOTSUPP;
	if (vma->vm_flags & (VM_PFNMAP | VM_MIXEDMAP | VM_IO))
		return -EOPNOTSUPP;
	if (!is_vm_hugetlb_page(vma)) {
		if (vma_is_anonymous(vma))
			return 0;
		/* A private mapping of a file has pages that are the file's. */
		if (!shared || !vma->vm_file ||
		    !shmem_mapping(vma->vm_file->f_mapping))
			return -EOPNOTSUPP;
	}
	if (shared && !(vma->vm_flags & VM_MAYWRITE))
		return -EACCES;
	return 0;
}

/* Is all of the range mapped, and of a kind that may be named? */
static int check_memory(u64 addr, u64 len, bool private_only)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	u64 at = addr, end = addr + len;
	struct vma_iterator vmi;
	int err = 0;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	vma_iter_init(&vmi, mm, addr);
	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_start > at)
			break;
		err = check_vma(vma, private_only);
		if (err)
			break;
		at = vma->vm_end;
	}
	mmap_read_unlock(mm);
	if (!err && at < end)
		err = -ENOMEM;
	return err;
}

/* MEM_HINT_OP_FILE */
int mhint_op_file(struct mem_hint_file *arg)
{
	struct mhint_process *p;
	int err;

	if (arg->__reserved)
		return -EINVAL;
	p = mhint_process_current(true);
	if (IS_ERR(p))
		return PTR_ERR(p);
	mutex_lock(&p->lock);
	err = mhint_file_add(p, arg->fd, &arg->out_file);
	mutex_unlock(&p->lock);
	return err;
}

/* MEM_HINT_OP_UNFILE */
int mhint_op_unfile(struct mem_hint_unfile *arg)
{
	struct mhint_process *p = mhint_process_current(false);
	int err;

	if (IS_ERR_OR_NULL(p))
		return p ? PTR_ERR(p) : -ENOENT;
	mutex_lock(&p->lock);
	err = mhint_file_remove(p, arg->file);
	mutex_unlock(&p->lock);
	return err;
}

/*
 * Not every change takes room: whoever cannot have any more, because of what others
 * of the user's processes have said, can still take back or replace what was said.
 */
static int set_span(struct mhint_process *p, struct mhint_spans *s, u64 addr,
		    u64 len, u64 value, u32 key)
{
	int no_room = mhint_process_room(p, s), err;

	spin_lock(&p->spin);
	err = mhint_spans_set(s, addr, addr + len, value, key);
	spin_unlock(&p->spin);
	return err && no_room ? no_room : err;
}

static int clear_span(struct mhint_process *p, struct mhint_spans *s, u64 addr,
		      u64 len)
{
	int no_room, err;

	if (!s->nr)
		return 0;
	no_room = mhint_process_room(p, s);
	spin_lock(&p->spin);
	err = mhint_spans_clear(s, addr, addr + len);
	spin_unlock(&p->spin);
	return err && no_room ? no_room : err;
}

/* MEM_HINT_OP_BIND */
int mhint_op_bind(struct mem_hint_bind *arg)
{
	struct mhint_process *p;
	u32 files;
	int err;

	if (arg->__reserved || arg->offset % MEM_HINT_FRAME_SIZE)
		return -EINVAL;
	err = mhint_range_check(arg->addr, arg->len, TASK_SIZE);
	if (err)
		return err;
	if (arg->offset > MAX_LFS_FILESIZE - arg->len ||
	    (arg->offset + arg->len) >> MEM_HINT_FRAME_SHIFT > MEM_HINT_DESC_BLOCK_MASK)
		return -EINVAL;
	err = check_memory(arg->addr, arg->len, false);
	if (err)
		return err;
	p = mhint_process_current(true);
	if (IS_ERR(p))
		return PTR_ERR(p);
	mutex_lock(&p->lock);
	files = p->nr_files;
	err = mhint_file_add(p, arg->fd, &arg->out_file);
	if (!err) {
		err = set_span(p, &p->binds, arg->addr, arg->len, arg->offset,
			       arg->out_file);
		if (err && p->nr_files != files)
			mhint_file_remove(p, arg->out_file);
	}
	mutex_unlock(&p->lock);
	return err;
}

/* MEM_HINT_OP_UNBIND */
int mhint_op_unbind(struct mem_hint_unbind *arg)
{
	struct mhint_process *p;
	int err;

	if (arg->__reserved)
		return -EINVAL;
	err = mhint_range_check(arg->addr, arg->len, TASK_SIZE);
	if (err)
		return err;
	p = mhint_process_current(false);
	if (IS_ERR_OR_NULL(p))
		return PTR_ERR_OR_ZERO(p);
	mutex_lock(&p->lock);
	err = clear_span(p, &p->binds, arg->addr, arg->len);
	mutex_unlock(&p->lock);
	return err;
}

static bool pools_overlap(const struct mhint_pool *p, u64 addr, u64 len)
{
	return p->id && addr < p->addr + (p->nr_frames << p->frame_shift) &&
	       p->addr < addr + len;
}

/* MEM_HINT_OP_POOL */
int mhint_op_pool(struct mem_hint_pool *arg)
{
	struct mhint_pool *slot = NULL;
	struct mhint_process *p;
	int err, i;
	u64 len;

	if (arg->__reserved)
		return -EINVAL;
	err = mhint_pool_check(arg, TASK_SIZE);
	if (err)
		return err;
	len = arg->nr_frames << arg->frame_shift;
	p = mhint_process_current(true);
	if (IS_ERR(p))
		return PTR_ERR(p);
	mutex_lock(&p->lock);
	for (i = 0; i < MHINT_MAX_POOLS; i++) {
		if (pools_overlap(&p->pools[i], arg->addr, len)) {
			err = -EEXIST;
			goto out;
		}
		if (!slot && !p->pools[i].id)
			slot = &p->pools[i];
	}
	if (!slot) {
		err = -ENOSPC;
		goto out;
	}
	if (!++p->next_pool)
		p->next_pool++;
	spin_lock(&p->spin);
	*slot = (struct mhint_pool) {
		.id = p->next_pool,
		.frame_shift = arg->frame_shift,
		.addr = arg->addr,
		.nr_frames = arg->nr_frames,
		.desc = arg->desc_uptr,
	};
	spin_unlock(&p->spin);
	mhint_process_count_pools(1);
	arg->out_pool = p->next_pool;
out:
	mutex_unlock(&p->lock);
	return err;
}

/* MEM_HINT_OP_UNPOOL */
int mhint_op_unpool(struct mem_hint_unpool *arg)
{
	struct mhint_process *p = mhint_process_current(false);
	int err = -ENOENT, i;

	if (IS_ERR_OR_NULL(p) || !arg->pool)
		return IS_ERR(p) ? PTR_ERR(p) : -ENOENT;
	mutex_lock(&p->lock);
	for (i = 0; i < MHINT_MAX_POOLS; i++) {
		if (p->pools[i].id != arg->pool)
			continue;
		spin_lock(&p->spin);
		p->pools[i].id = 0;
		spin_unlock(&p->spin);
		mhint_process_count_pools(-1);
		err = 0;
		break;
	}
	mutex_unlock(&p->lock);
	return err;
}

/*
 * What was said before of the range's class gives way.  Taking back does not
 * fail: where there is no room to split a range, all of it loses its class.
 */
static int set_class(struct mhint_process *p, u32 class, u64 addr, u64 len)
{
	int err = 0;

	if (class == MEM_HINT_CLASS_DISCARDABLE)
		err = set_span(p, &p->discard, addr, len, 0, class);
	else if (class == MEM_HINT_CLASS_HOT)
		err = set_span(p, &p->hot, addr, len, 0, class);
	if (err)
		return err;
	spin_lock(&p->spin);
	if (class != MEM_HINT_CLASS_DISCARDABLE) {
		mhint_spans_cut(&p->discard, addr, addr + len);
		p->strayed = true;
	}
	if (class != MEM_HINT_CLASS_HOT)
		mhint_spans_cut(&p->hot, addr, addr + len);
	spin_unlock(&p->spin);
	return 0;
}

/* MEM_HINT_OP_CLASS */
int mhint_op_class(struct mem_hint_set_class *arg)
{
	bool set = arg->class != MEM_HINT_CLASS_BACKED;
	struct mhint_process *p;
	int err;

	if (arg->class > MEM_HINT_CLASS_HOT)
		return -EOPNOTSUPP;
	err = mhint_range_check(arg->addr, arg->len, TASK_SIZE);
	if (!err && set)
		err = check_memory(arg->addr, arg->len,
				   arg->class == MEM_HINT_CLASS_DISCARDABLE);
	if (err)
		return err;
	p = mhint_process_current(set);
	if (IS_ERR_OR_NULL(p))
		return PTR_ERR_OR_ZERO(p);
	mutex_lock(&p->lock);
	err = set_class(p, arg->class, arg->addr, arg->len);
	mutex_unlock(&p->lock);
	return err;
}

/* MEM_HINT_OP_TRANSLATE */
int mhint_op_translate(struct mem_hint_translate *arg)
{
	u64 __user *to = u64_to_user_ptr(arg->frames_uptr);
	struct page *pages[32];
	u64 frames[32], addr = arg->addr, left = arg->nr;
	int nr, want, i, err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (arg->__reserved || !arg->nr || arg->nr > MEM_HINT_TRANSLATE_MAX)
		return -EINVAL;
	err = mhint_range_check(arg->addr, arg->nr << MEM_HINT_FRAME_SHIFT,
				TASK_SIZE);
	while (!err && left) {
		want = min_t(u64, left, ARRAY_SIZE(pages));
		nr = get_user_pages_fast_only(addr, want, 0, pages);
		for (i = 0; i < nr; i++) {
			frames[i] = page_to_pfn(pages[i]);
			put_page(pages[i]);
		}
		if (nr <= 0) {	/* the first one is not there; then go on */
			frames[0] = MEM_HINT_NO_FRAME;
			nr = 1;
		}
		if (copy_to_user(to, frames, nr * sizeof(*to)))
			err = -EFAULT;
		to += nr;
		left -= nr;
		addr += (u64)nr << MEM_HINT_FRAME_SHIFT;
		if (fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
	}
	return err;
}

/* What the caller uses, for QUERY. */
void mhint_op_usage(struct mem_hint_query *q)
{
	struct mhint_process *p = mhint_process_current(false);
	int i;

	if (IS_ERR_OR_NULL(p))
		return;
	mutex_lock(&p->lock);
	q->out_nr_files = p->nr_files;
	spin_lock(&p->spin);
	q->out_nr_binds = p->binds.nr + p->hot.nr + p->discard.nr;
	for (i = 0; i < MHINT_MAX_POOLS; i++)
		q->out_nr_pools += p->pools[i].id != 0;
	spin_unlock(&p->spin);
	mutex_unlock(&p->lock);
}
