// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs mem_hints/files: which files are kept open because processes have named
 * them.  They have no descriptor, so nothing else says why a file system cannot be
 * unmounted.
 */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kdev_t.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "internal.h"
#include "process.h"
#include "users.h"

struct held_file {
	pid_t pid;
	u32 user;
	dev_t dev;
	unsigned long ino;
};

/* What was there at open(). */
struct held_list {
	u32 nr;
	u32 size;
	struct held_file files[] __counted_by(size);
};

static struct dentry *dir;

/* Of one address space, whose user the caller holds. */
static void list_files(struct held_list *l, struct mhint_process *p)
{
	struct mhint_file *f;
	unsigned long i;

	xa_for_each(&p->files, i, f) {
		f = mhint_file_get(p, i);	/* it may have gone meanwhile */
		if (!f)
			continue;
		if (l->nr < l->size)
			l->files[l->nr++] = (struct held_file) {
				.pid = pid_nr(p->pid),
				.user = mhint_user_id(p->user),
				.dev = file_inode(f->file)->i_sb->s_dev,
				.ino = file_inode(f->file)->i_ino,
			};
		mhint_file_put(f);
		cond_resched();
	}
}

static struct held_list *list_all(void)
{
	struct mhint_process *p;
	struct held_list *l;
	struct mhint_mm *mms;
	u32 i, nr, size = mhint_files_count();

	l = kvzalloc(struct_size(l, files, size), GFP_KERNEL);
	if (!l)
		return ERR_PTR(-ENOMEM);
	mms = mhint_process_mms(&nr);
	if (!mms) {
		kvfree(l);
		return ERR_PTR(-ENOMEM);
	}
	l->size = size;
	for (i = 0; i < nr; i++) {
		/* Its user keeps what it has said. */
		if (!mmget_not_zero(mms[i].mm))
			continue;
		p = mhint_process_of(mms[i].mm);
		if (p)
			list_files(l, p);
		mmput_async(mms[i].mm);
	}
	mhint_process_mms_free(mms, nr);
	return l;
}

static void *held_start(struct seq_file *m, loff_t *pos)
{
	struct held_list *l = m->private;

	return *pos < l->nr ? &l->files[*pos] : NULL;
}

static void *held_next(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return held_start(m, pos);
}

static void held_stop(struct seq_file *m, void *v)
{
}

static int held_show(struct seq_file *m, void *v)
{
	const struct held_file *f = v;

	seq_printf(m, "%d %u %u:%u %lu\n", f->pid, f->user, MAJOR(f->dev),
		   MINOR(f->dev), f->ino);
	return 0;
}

static const struct seq_operations held_seq = {
	.start	= held_start,
	.next	= held_next,
	.stop	= held_stop,
	.show	= held_show,
};

static int held_open(struct inode *inode, struct file *file)
{
	struct held_list *l = list_all();
	int err;

	if (IS_ERR(l))
		return PTR_ERR(l);
	err = seq_open(file, &held_seq);
	if (err)
		kvfree(l);
	else
		((struct seq_file *)file->private_data)->private = l;
	return err;
}

static int held_release(struct inode *inode, struct file *file)
{
	kvfree(((struct seq_file *)file->private_data)->private);
	return seq_release(inode, file);
}

static const struct file_operations held_fops = {
	.owner		= THIS_MODULE,
	.open		= held_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= held_release,
};

/* Where there is no debugfs, there is no list. */
void mhint_held_init(void)
{
	dir = debugfs_create_dir("mem_hints", NULL);
	debugfs_create_file("files", 0400, dir, NULL, &held_fops);
}

void mhint_held_exit(void)
{
	debugfs_remove(dir);
}
