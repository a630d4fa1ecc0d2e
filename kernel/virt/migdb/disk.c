// SPDX-License-Identifier: GPL-2.0
/*
 * Disks of a session: the VMM's own open files.  migdb opens nothing by name, so
 * a session can read nothing that its VMM cannot.
 *
 * Only real direct I/O will do: the other host writes the same storage, and a
 * page cache of ours would answer with what was there some time ago.
 */
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>

#include "internal.h"

/* A disk name is printable, not empty and padded with zeros. */
bool migdb_identity_ok(u32 type, const u8 *identity)
{
	unsigned int i = 0;

	if (type == MIGDB_DISK_INVALID || type > MIGDB_DISK_PCI_ADDRESS)
		return false;
	while (i < MIGDB_IDENTITY_BYTES && identity[i])
		i++;
	if (!i)
		return false;
	return !memchr_inv(identity + i, 0, MIGDB_IDENTITY_BYTES - i);
}

int migdb_disk_find(struct migdb_session *s, u32 type, const u8 *identity)
{
	unsigned int i;

	for (i = 0; i < MIGDB_MAX_DISKS; i++)
		if (s->disk[i].file && s->disk[i].type == type &&
		    !memcmp(s->disk[i].identity, identity, MIGDB_IDENTITY_BYTES))
			return i;
	return -ENOENT;
}

static int migdb_check_bdev(struct file *file, u64 *bytes)
{
	struct block_device *bdev = I_BDEV(file->f_mapping->host);

	if (bdev_logical_block_size(bdev) > MIGDB_PAGE_BYTES)
		return -EOPNOTSUPP;
	*bytes = bdev_nr_bytes(bdev);
	return 0;
}

static int migdb_check_regular(struct file *file, u64 *bytes)
{
	struct kstat stat;
	int ret;

	ret = vfs_getattr(&file->f_path, &stat, STATX_SIZE | STATX_DIOALIGN,
			  AT_STATX_SYNC_AS_STAT);
	if (ret)
		return ret;
	if (stat.result_mask & STATX_DIOALIGN) {
		/* 0: this file falls back to the page cache */
		if (!stat.dio_offset_align || stat.dio_offset_align > MIGDB_PAGE_BYTES ||
		    stat.dio_mem_align > MIGDB_PAGE_BYTES)
			return -EOPNOTSUPP;
	} else if (file_inode(file)->i_sb->s_magic != NFS_SUPER_MAGIC) {
		/* NFS does direct I/O at any alignment but does not say so */
		return -EOPNOTSUPP;
	}
	*bytes = stat.size;
	return 0;
}

static int migdb_check_disk_file(struct file *file, u64 *bytes)
{
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode) && !S_ISBLK(inode->i_mode))
		return -EOPNOTSUPP;
	if (inode->i_sb->s_magic == FUSE_SUPER_MAGIC)
		return -EOPNOTSUPP;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	if (!(file->f_flags & O_DIRECT))
		return -EINVAL;
	if (!(file->f_mode & FMODE_CAN_ODIRECT) || !file->f_op->read_iter)
		return -EOPNOTSUPP;
	return S_ISBLK(inode->i_mode) ? migdb_check_bdev(file, bytes) :
					migdb_check_regular(file, bytes);
}

/* Under s->lock, state IDLE. */
int migdb_disk_set(struct migdb_session *s, struct migdb_set_disk *arg)
{
	struct migdb_disk *d;
	struct file *file;
	u64 bytes = 0;
	int ret;

	if (arg->disk >= MIGDB_MAX_DISKS || arg->__reserved)
		return -EINVAL;
	d = &s->disk[arg->disk];
	if (arg->fd == -1) {
		if (d->file)
			fput(d->file);
		memset(d, 0, sizeof(*d));
		arg->out_capacity_bytes = 0;
		return 0;
	}

	file = fget(arg->fd);
	if (!file)
		return -EBADF;
	ret = migdb_check_disk_file(file, &bytes);
	if (ret)
		goto out;
	ret = -EOPNOTSUPP;
	if (arg->type > MIGDB_DISK_PCI_ADDRESS)
		goto out;
	ret = -EINVAL;
	if (!migdb_identity_ok(arg->type, arg->identity))
		goto out;
	ret = migdb_disk_find(s, arg->type, arg->identity);
	if (ret >= 0 && ret != arg->disk) {
		ret = -EEXIST;
		goto out;
	}
	if (d->file)
		fput(d->file);
	d->file = file;
	d->type = arg->type;
	memcpy(d->identity, arg->identity, MIGDB_IDENTITY_BYTES);
	d->nr_blocks = min_t(u64, bytes >> MIGDB_PAGE_SHIFT, MIGDB_MAX_BLOCK);
	arg->out_capacity_bytes = bytes;
	return 0;
out:
	fput(file);
	return ret;
}

void migdb_disks_put(struct migdb_session *s)
{
	unsigned int i;

	for (i = 0; i < MIGDB_MAX_DISKS; i++) {
		if (s->disk[i].file)
			fput(s->disk[i].file);
		s->disk[i].file = NULL;
	}
}
