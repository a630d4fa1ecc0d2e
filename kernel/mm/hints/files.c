// SPDX-License-Identifier: GPL-2.0
/*
 * Files that processes name, and where their blocks are.
 *
 * A block is asked for by bmap(), one at a time: it says nothing of holes and of
 * extents that are unwritten, delayed, inline, or shared (XFS: none of a file
 * that may have shared ones).  bmap() writes a file back and waits if any of it
 * is dirty, and takes the inode's lock, which a writer may hold for as long as it
 * likes (its buffer may be on FUSE, or wait for a userfaultfd).  So a file that
 * is dirty or locked is left out, and who asks is a worker that nobody needs to
 * wait for.
 */
#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "entry.h"
#include "internal.h"
#include "process.h"
#include "snapshot.h"
#include "users.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC	0x58465342	/* "XFSB"; private to XFS so far */
#endif

static atomic_t nr_files = ATOMIC_INIT(0);

u32 mhint_files_count(void)
{
	return atomic_read(&nr_files);
}

/* Can blocks of this file be named?  0 or a negative errno. */
static int check_file(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct super_block *sb = inode->i_sb;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (!S_ISREG(inode->i_mode))
		return -EOPNOTSUPP;
	if (sb->s_magic != EXT4_SUPER_MAGIC && sb->s_magic != XFS_SUPER_MAGIC)
		return -EOPNOTSUPP;
	if (!sb->s_bdev || !inode->i_mapping->a_ops->bmap)
		return -EOPNOTSUPP;
	if (IS_ENCRYPTED(inode) || IS_DAX(inode))
		return -EOPNOTSUPP;
	return mhint_volume_hinted(sb->s_bdev);
}

static bool same_file(struct mhint_file *f, struct file *file)
{
	return f && file_inode(f->file) == file_inode(file);
}

static bool find_file(struct mhint_process *p, struct file *file, u32 *id)
{
	struct mhint_file *f;
	unsigned long i;

	if (same_file(xa_load(&p->files, p->last_file), file)) {
		*id = p->last_file;
		return true;
	}
	xa_for_each(&p->files, i, f)
		if (same_file(f, file)) {
			p->last_file = i;
			*id = i;
			return true;
		}
	return false;
}

static int add_file(struct mhint_process *p, struct file *file, u32 *id)
{
	struct mhint_file *f;
	int err;

	/* Named files are open ones that have no descriptor. */
	if (p->nr_files >= rlimit(RLIMIT_NOFILE))
		return -EMFILE;
	err = mhint_charge(p->user, MHINT_BUDGET_FILES, 1);
	if (err)
		return err;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f) {
		err = -ENOMEM;
		goto err_charge;
	}
	atomic_inc(&nr_files);
	refcount_set(&f->refs, 1);
	f->file = get_file(file);
	err = xa_alloc(&p->files, id, f, XA_LIMIT(0, MHINT_MAX_FILES - 1),
		       GFP_KERNEL_ACCOUNT);
	if (err) {
		mhint_file_put(f);
		if (err == -EBUSY)
			err = -ENOSPC;
		goto err_charge;
	}
	p->last_file = *id;
	p->nr_files++;
	return 0;

err_charge:
	mhint_uncharge(p->user, MHINT_BUDGET_FILES, 1);
	return err;
}

/**
 * mhint_file_add - a process names a file
 * @p: the process; its lock is held
 * @fd: of the current process
 * @id: the file's number, which it may have had before
 *
 * Return: 0 or an errno of MEM_HINT_OP_FILE.
 */
int mhint_file_add(struct mhint_process *p, int fd, u32 *id)
{
	struct file *file = fget(fd);
	int err;

	lockdep_assert_held(&p->lock);
	if (!file)
		return -EBADF;
	err = check_file(file);
	if (!err && !find_file(p, file, id))
		err = add_file(p, file, id);
	fput(file);
	return err;
}

/* Return: 0; -ENOENT: there is no such file.  @p's lock is held. */
int mhint_file_remove(struct mhint_process *p, u32 id)
{
	struct mhint_file *f;

	lockdep_assert_held(&p->lock);
	f = xa_erase(&p->files, id);
	if (!f)
		return -ENOENT;
	p->nr_files--;
	mhint_uncharge(p->user, MHINT_BUDGET_FILES, 1);
	spin_lock(&p->spin);
	mhint_spans_drop_key(&p->binds, id);
	spin_unlock(&p->spin);
	mhint_file_put(f);
	return 0;
}

/* A snapshot wants to look at a file; NULL: there is no such file. */
struct mhint_file *mhint_file_get(struct mhint_process *p, u32 id)
{
	struct mhint_file *f;

	xa_lock(&p->files);
	f = xa_load(&p->files, id);
	if (f)
		refcount_inc(&f->refs);
	xa_unlock(&p->files);
	return f;
}

void mhint_file_put(struct mhint_file *f)
{
	if (!f || !refcount_dec_and_test(&f->refs))
		return;
	fput(f->file);
	kfree(f);
	atomic_dec(&nr_files);
}

/* All of a process that is going. */
void mhint_files_drop(struct mhint_process *p)
{
	struct mhint_file *f;
	unsigned long i;

	xa_for_each(&p->files, i, f)
		mhint_file_put(f);
	xa_destroy(&p->files);
	mhint_uncharge(p->user, MHINT_BUDGET_FILES, p->nr_files);
	p->nr_files = 0;
}

/* The first 512-byte sector on the device; 0: there is none, or it is not known. */
static u64 block_sector(struct inode *inode, u64 pos)
{
	u32 bits = inode->i_blkbits, i, nr;
	sector_t first = 0, at;

	if (bits >= MEM_HINT_FRAME_SHIFT) {
		at = pos >> bits;
		if (bmap(inode, &at) || !at)
			return 0;
		return (at << (bits - SECTOR_SHIFT)) +
		       ((pos & ((1ULL << bits) - 1)) >> SECTOR_SHIFT);
	}
	nr = 1U << (MEM_HINT_FRAME_SHIFT - bits);
	for (i = 0; i < nr; i++) {
		at = (pos >> bits) + i;
		if (bmap(inode, &at) || !at)
			return 0;
		if (!i)
			first = at;
		else if (at != first + i)
			return 0;
	}
	return first << (bits - SECTOR_SHIFT);
}

/**
 * mhint_file_entry - what an entry for a page of a file is
 * @f: the file, of which the caller has a reference
 * @block: offset in it / 4096
 * @entry: of class backed
 *
 * May be stuck for as long as the file system is.
 *
 * Return: 0; MHINT_SKIP_*: there is none.
 */
int mhint_file_entry(struct mhint_file *f, u64 block, u64 *entry)
{
	struct inode *inode = file_inode(f->file);
	u64 pos = block << MEM_HINT_FRAME_SHIFT, sector;

	if (pos >= i_size_read(inode))
		return MHINT_SKIP_HOLE;
	if (mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY) ||
	    mapping_tagged(inode->i_mapping, PAGECACHE_TAG_WRITEBACK))
		return MHINT_SKIP_DIRTY;
	/* Held by a writer?  Then bmap() would wait for it. */
	if (!inode_trylock_shared(inode))
		return MHINT_SKIP_DIRTY;
	inode_unlock_shared(inode);
	if (test_and_set_bit(MHINT_FILE_BUSY, &f->busy))
		return MHINT_SKIP_DIRTY;	/* another snapshot is stuck in it */
	sector = block_sector(inode, pos);
	clear_bit(MHINT_FILE_BUSY, &f->busy);
	if (!sector)
		return MHINT_SKIP_HOLE;
	return mhint_volume_entry(inode->i_sb->s_bdev, sector, entry);
}
