// SPDX-License-Identifier: GPL-2.0
/*
 * From a sector of a block device to an entry.
 *
 * A hinted disk and its partitions need nothing for this.  A virtual disk (LVM)
 * needs a map, which a privileged agent loads: what device-mapper does with a
 * sector cannot be asked from outside of it.  A map that is out of date makes
 * hints that never match.
 *
 * Nobody says when a virtual disk goes.  Its map is not used any more then, and
 * is forgotten when there would be too many.  For that each disk is opened, by a
 * work item of its own: one that hangs keeps its map, and no other's.
 */
#include <linux/blkdev.h>
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "call.h"
#include "entry.h"
#include "internal.h"
#include "limits.h"
#include "segs.h"
#include "snapshot.h"

/*
 * @node: in the list of all; empty: forgotten, and freed by @work.
 * @work: looks whether the disk is still there.
 * @asked: it has not found out yet.
 * @round: of prune() that has asked last.
 * @diskseq: of the virtual disk: the same device number may be another one's
 *	later.
 */
struct mhint_volume {
	struct list_head node;
	struct work_struct work;
	bool asked;
	u32 round;
	dev_t devt;
	u64 diskseq;
	u32 nr;
	struct mhint_seg segs[] __counted_by(nr);
};

/* A device below, as long as segments that name it follow each other. */
struct below {
	dev_t devt;
	struct file *file;
	u64 base;
	u64 nr_sectors;
	u64 diskseq;
};

static DECLARE_RWSEM(volumes_lock);
static LIST_HEAD(volumes);
static u32 nr_volumes, nr_segments;

static DEFINE_MUTEX(prune_lock);	/* one round at a time; before volumes_lock */
static u32 prune_round;		/* this and the next under volumes_lock */
static u32 nr_awaited;		/* disks asked in this round that have not answered */
static DECLARE_WAIT_QUEUE_HEAD(pruned);

/* Devices that sit on others have no parent; see disks.c. */
static bool is_virtual(struct gendisk *disk)
{
	return !disk_to_dev(disk)->parent;
}

static struct mhint_volume *find_volume(dev_t devt)
{
	struct mhint_volume *v;

	list_for_each_entry(v, &volumes, node)
		if (v->devt == devt)
			return v;
	return NULL;
}

static struct mhint_volume *volume_of(struct gendisk *disk)
{
	struct mhint_volume *v = find_volume(disk_devt(disk));

	return v && v->diskseq == disk->diskseq ? v : NULL;
}

/* Can entries name blocks of this device?  As of mhint_disk_wait(). */
int mhint_volume_hinted(struct block_device *bdev)
{
	struct gendisk *disk = bdev->bd_disk;
	bool hinted;

	if (!is_virtual(disk))
		return mhint_disk_hinted(disk);
	down_read(&volumes_lock);
	hinted = volume_of(disk);
	up_read(&volumes_lock);
	return hinted ? 0 : -EOPNOTSUPP;
}

static int make_entry(u32 id, u64 sector, u64 *entry)
{
	u64 block = sector / MEM_HINT_SECTORS_PER_BLOCK;

	if (sector % MEM_HINT_SECTORS_PER_BLOCK || block > MEM_HINT_BLOCK_MASK)
		return MHINT_SKIP_DISK;
	*entry = mhint_entry(id, MEM_HINT_CLASS_BACKED, block);
	return MHINT_SKIP_NONE;
}

/**
 * mhint_volume_entry - the entry for 4 KiB of a block device
 * @bdev: a disk, a partition, or a virtual disk
 * @sector: the first one, on @bdev
 * @entry: of class backed
 *
 * Return: MHINT_SKIP_NONE or MHINT_SKIP_DISK.
 */
int mhint_volume_entry(struct block_device *bdev, u64 sector, u64 *entry)
{
	struct gendisk *disk = bdev->bd_disk;
	const struct mhint_seg *seg;
	struct mhint_volume *v;
	int skip = MHINT_SKIP_DISK;
	u64 below;
	u32 id;

	sector += bdev->bd_start_sect;
	if (!is_virtual(disk)) {
		if (!mhint_disk_id(disk->diskseq, &id))
			return skip;
		return make_entry(id, sector, entry);
	}
	down_read(&volumes_lock);
	v = volume_of(disk);
	if (v) {
		seg = mhint_segs_map(v->segs, v->nr, sector,
				     MEM_HINT_SECTORS_PER_BLOCK, &below);
		if (seg && mhint_disk_id(seg->diskseq, &id))
			skip = make_entry(id, below, entry);
	}
	up_read(&volumes_lock);
	return skip;
}

static void close_below(struct below *b)
{
	if (b->file)
		bdev_fput(b->file);
	b->file = NULL;
}

static int open_below(struct below *b, dev_t devt)
{
	struct block_device *bdev;
	struct file *file;
	int err;

	if (b->file && b->devt == devt)
		return 0;
	close_below(b);
	file = bdev_file_open_by_dev(devt, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file))
		return -ENODEV;
	bdev = file_bdev(file);
	err = is_virtual(bdev->bd_disk) ? -EOPNOTSUPP :
					  mhint_disk_hinted(bdev->bd_disk);
	if (err) {
		bdev_fput(file);
		return err;
	}
	b->devt = devt;
	b->file = file;
	b->base = bdev->bd_start_sect;
	b->nr_sectors = bdev_nr_sectors(bdev);
	b->diskseq = bdev->bd_disk->diskseq;
	return 0;
}

/* MKDEV() would take what does not fit for another device. */
static int make_devt(u32 major, u32 minor, dev_t *devt)
{
	if (major >= 1U << (32 - MINORBITS) || minor >= 1U << MINORBITS)
		return -ENODEV;
	*devt = MKDEV(major, minor);
	return 0;
}

static int fill_segs(struct mhint_volume *v, const struct mem_hint_segment *in)
{
	struct below b = {};
	dev_t devt;
	int err = 0;
	u64 len;
	u32 i;

	for (i = 0; i < v->nr && !err; i++) {
		err = make_devt(in[i].major, in[i].minor, &devt);
		if (!err)
			err = open_below(&b, devt);
		if (err)
			break;
		len = mhint_seg_below(&in[i]);
		if (len > b.nr_sectors || in[i].target > b.nr_sectors - len)
			err = -EINVAL;
		v->segs[i].s = in[i];
		v->segs[i].base = b.base + in[i].target;
		v->segs[i].diskseq = b.diskseq;
	}
	close_below(&b);
	return err;
}

static void forget(struct mhint_volume *v)
{
	list_del_init(&v->node);
	nr_volumes--;
	nr_segments -= v->nr;
	if (!v->asked)
		kvfree(v);
}

/* Opens the disk, so without the lock; the map may have been replaced meanwhile. */
static void ask_volume(struct work_struct *work)
{
	struct mhint_volume *v = container_of(work, struct mhint_volume, work);
	bool there = mhint_disk_there(v->devt, v->diskseq);

	down_write(&volumes_lock);
	v->asked = false;
	if (v->round == prune_round)
		WRITE_ONCE(nr_awaited, nr_awaited - 1);
	if (list_empty(&v->node))
		kvfree(v);
	else if (!there)
		forget(v);
	up_write(&volumes_lock);
	wake_up_all(&pruned);
}

/*
 * Forget the maps of disks that have gone.  Waits, but not for long, and not again
 * for a disk that has not answered an earlier time.
 */
static int prune(void)
{
	struct mhint_volume *v;
	long left;

	if (mutex_lock_killable(&prune_lock))
		return -EINTR;
	down_write(&volumes_lock);
	prune_round++;
	WRITE_ONCE(nr_awaited, 0);
	list_for_each_entry(v, &volumes, node) {
		if (v->asked || !mhint_ask(&v->work))
			continue;
		v->asked = true;
		v->round = prune_round;
		WRITE_ONCE(nr_awaited, nr_awaited + 1);
	}
	up_write(&volumes_lock);
	left = wait_event_killable_timeout(pruned, !READ_ONCE(nr_awaited),
					   msecs_to_jiffies(MHINT_ASK_MS));
	mutex_unlock(&prune_lock);
	return left < 0 ? -EINTR : 0;
}

/*
 * @v in place of what was known of @devt; @v: NULL: nothing.  -ENOENT: nothing
 * was known to begin with.
 */
static int put_volume(dev_t devt, struct mhint_volume *v)
{
	struct mhint_volume *old;
	u32 freed;
	int err = 0;

	down_write(&volumes_lock);
	old = find_volume(devt);
	if (!v && !old)
		err = -ENOENT;
	freed = old ? old->nr : 0;
	if (v && ((!old && nr_volumes == MHINT_MAX_VOLUMES) ||
		  nr_segments - freed + v->nr > MHINT_MAX_SEGMENTS_ALL)) {
		err = -ENOSPC;
		goto out;
	}
	if (old)
		forget(old);
	if (v) {
		list_add(&v->node, &volumes);
		nr_volumes++;
		nr_segments += v->nr;
	}
out:
	up_write(&volumes_lock);
	return err;
}

static int load(struct file *file, const struct mem_hint_segments *arg,
		const struct mem_hint_segment *in)
{
	struct gendisk *disk = file_bdev(file)->bd_disk;
	struct mhint_volume *v;
	int err;

	if (!is_virtual(disk) || bdev_is_partition(file_bdev(file)))
		return -EOPNOTSUPP;
	err = mhint_segs_check(in, arg->nr, get_capacity(disk));
	if (err)
		return err;
	v = kvzalloc(struct_size(v, segs, arg->nr), GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	v->nr = arg->nr;
	INIT_WORK(&v->work, ask_volume);
	v->devt = disk_devt(disk);
	v->diskseq = disk->diskseq;
	err = fill_segs(v, in);
	if (!err)
		err = put_volume(v->devt, v);
	if (err == -ENOSPC) {
		err = prune();
		if (!err)
			err = put_volume(v->devt, v);
	}
	if (err)
		kvfree(v);
	return err;
}

/* MEM_HINT_OP_SEGMENTS */
int mhint_op_segments(struct mem_hint_segments *arg)
{
	struct mem_hint_segment *in;
	struct file *file;
	dev_t devt;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (arg->nr > MEM_HINT_MAX_SEGMENTS)
		return -E2BIG;
	err = make_devt(arg->major, arg->minor, &devt);
	if (err)
		return err;
	if (!arg->nr)
		return put_volume(devt, NULL);

	in = vmemdup_array_user(u64_to_user_ptr(arg->segments_uptr), arg->nr,
				sizeof(*in));
	if (IS_ERR(in))
		return PTR_ERR(in);
	file = bdev_file_open_by_dev(devt, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file)) {
		err = -ENODEV;
	} else {
		err = load(file, arg, in);
		bdev_fput(file);
	}
	kvfree(in);
	return err;
}

/* After mhint_disks_exit(): no disk is asked any more. */
void mhint_volumes_exit(void)
{
	struct mhint_volume *v, *next;

	list_for_each_entry_safe(v, next, &volumes, node)
		forget(v);
}
