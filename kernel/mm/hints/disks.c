// SPDX-License-Identifier: GPL-2.0
/*
 * Disks and their ids.
 *
 * A completion finds its disk by the sequence number that the block layer
 * gives each disk once in a boot, so that no reference is held and a device
 * number that is used again is not mistaken for the old disk.  A disk seen for
 * the first time takes a slot, whose index is its id in entries; a worker then
 * asks the driver for an identity.  What has none, or one that another disk has
 * too, is refused, and said once.
 *
 * Asking opens the disk and may read from it, so it takes as long as the disk
 * likes, and depends on who asks (device cgroups).  So a work item of the slot
 * does it, with the kernel's credentials and without any lock of ours; it takes
 * mhint_drain_lock to enter the answer.  A disk that hangs holds up nothing but
 * its own slot: whoever waits for an answer does so for a bounded time, and not
 * at all for one that is overdue.  Until it answers the module cannot be unloaded.
 *
 * Disks without a parent device (loop, device-mapper, md, zram, nbd) are no
 * disks to us: what backs them is.  Nor are the hidden ones that are the paths
 * of an NVMe multipath disk: they cannot be opened to be asked.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/atomic.h>
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/kdev_t.h>
#include <linux/lockdep.h>
#include <linux/major.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "ident.h"
#include "internal.h"
#include "limits.h"

/*
 * @seq: of the disk; 0: free.  Taken by cmpxchg() from any context; given
 *	back under mhint_drain_lock.
 * @state: enum mhint_disk_state; published after @devt, read by completions.
 * The rest belongs to mhint_drain_lock.
 * @purge: entries in the table name the slot although they should not.
 * @asked: the disk has not answered yet; also looked at by those who wait.
 *	Meanwhile the slot stays the disk's: only an answer makes it GONE.
 * @asked_at: since when, in jiffies.
 */
struct mhint_slot {
	u64 seq;
	dev_t devt;
	int state;
	bool purge;
	bool asked;
	unsigned long asked_at;
	struct work_struct work;
	u64 nr_sectors;
	struct mhint_ident ident;
	char name[DISK_NAME_LEN];
};

static struct mhint_slot slots[MEM_HINT_MAX_DISKS];
static atomic_t nr_new = ATOMIC_INIT(0);
static bool crowded;
static struct workqueue_struct *ask_wq;
static DECLARE_WAIT_QUEUE_HEAD(answers);

/* What a disk says of itself. */
struct answer {
	u64 nr_sectors;
	struct mhint_ident ident;
	char name[DISK_NAME_LEN];
};

/**
 * mhint_disk_find - the id of a request's disk
 * @disk: of a request in flight
 * @known: set to whether entries may name it
 *
 * A disk that was not seen before gets an id; until it is known to be refused
 * it counts as known, and the worker sorts the notes out.
 *
 * Context: any, under RCU.
 *
 * Return: the id; -ENODEV: a virtual or hidden disk; -ENOSPC: no id is free near by.
 */
int mhint_disk_find(struct gendisk *disk, bool *known)
{
	u64 seq = READ_ONCE(disk->diskseq);
	u32 i, id, empty = MEM_HINT_MAX_DISKS;
	int state;

	if (!disk_to_dev(disk)->parent || disk->flags & GENHD_FL_HIDDEN || !seq)
		return -ENODEV;
again:
	for (i = 0; i < MHINT_DISK_PROBES; i++) {
		u64 there;

		id = (u32)(seq + i) % MEM_HINT_MAX_DISKS;
		there = READ_ONCE(slots[id].seq);
		if (there == seq) {
			/* Pairs with smp_store_release() below. */
			state = smp_load_acquire(&slots[id].state);
			if (state == MHINT_DISK_GONE)
				return -ENODEV;
			*known = state != MHINT_DISK_REFUSED;
			return id;
		}
		if (!there && empty == MEM_HINT_MAX_DISKS)
			empty = id;
	}
	if (empty == MEM_HINT_MAX_DISKS) {
		WRITE_ONCE(crowded, true);
		return -ENOSPC;
	}
	if (cmpxchg(&slots[empty].seq, 0, seq)) {
		empty = MEM_HINT_MAX_DISKS;
		goto again;
	}
	slots[empty].devt = disk_devt(disk);
	atomic_inc(&nr_new);	/* whoever sees the state sees this, too */
	/* Pairs with mhint_disks_resolve(). */
	smp_store_release(&slots[empty].state, MHINT_DISK_NEW);
	*known = true;
	return empty;
}

/**
 * mhint_disk_settle - wait until a slot is taken that is just being taken
 * @id: from mhint_disk_find(); mhint_disks_resolve() asks its disk after this
 *
 * Another CPU may have come as far as the slot's @seq.  It is under RCU.
 *
 * Context: may sleep.
 */
void mhint_disk_settle(u32 id)
{
	if (READ_ONCE(slots[id].state) == MHINT_DISK_FREE)
		synchronize_rcu();
}

/**
 * mhint_disk_id - the id of a disk that was asked who it is
 * @diskseq: its sequence number
 * @id: its id
 *
 * Context: any.  The answer may be out of date; see mhint_disk_usable().
 *
 * Return: whether entries may name it.
 */
bool mhint_disk_id(u64 diskseq, u32 *id)
{
	u32 i;

	for (i = 0; i < MHINT_DISK_PROBES; i++) {
		*id = (u32)(diskseq + i) % MEM_HINT_MAX_DISKS;
		if (READ_ONCE(slots[*id].seq) == diskseq &&
		    READ_ONCE(slots[*id].state) == MHINT_DISK_KNOWN)
			return true;
	}
	return false;
}

/*
 * May entries that name @id go into the table?  Also before the disk has
 * answered: the host is not told of it until then, and ignores them; if it is
 * refused, they go.
 */
bool mhint_disk_usable(u32 id)
{
	switch (slots[id].state) {
	case MHINT_DISK_NEW:
	case MHINT_DISK_ASKED:
	case MHINT_DISK_KNOWN:
		return true;
	default:
		return false;
	}
}

/* For who only wants to tell disks from each other: the slot may be given up. */
u32 mhint_disk_dev(u32 id)
{
	return READ_ONCE(slots[id].devt);
}

static void refuse(struct mhint_slot *s, const char *why)
{
	pr_notice("disk %s is not hinted: %s\n", s->name, why);
	s->purge = true;
	WRITE_ONCE(s->state, MHINT_DISK_REFUSED);
	mhint_drain_soon();
}

static void gone(struct mhint_slot *s)
{
	WRITE_ONCE(s->state, MHINT_DISK_GONE);
	mhint_drain_soon();
}

/*
 * -ENODEV: the disk is not there any more.  Opening keeps the driver's module
 * and the gendisk in place while they are asked.  @a: NULL: is it there?
 */
static int open_and_ask(dev_t devt, u64 seq, bool identify, struct answer *a)
{
	struct gendisk *disk;
	struct file *file;
	int err = 0;

	file = bdev_file_open_by_dev(devt, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		return err == -ENXIO ? -ENODEV : err;
	}
	disk = file_bdev(file)->bd_disk;
	if (disk->diskseq != seq) {
		err = -ENODEV;
	} else if (a) {
		strscpy(a->name, disk->disk_name);
		a->nr_sectors = get_capacity(disk);
		if (identify)
			err = mhint_disk_identify(disk, &a->ident);
	}
	/* At once: who hears the answer may want to remove the disk. */
	__fput_sync(file);
	return err;
}

/* In a work item of mhint_ask(): gives back its reference of the module. */
static int ask_disk(dev_t devt, u64 seq, bool identify, struct answer *a)
{
	int err = open_and_ask(devt, seq, identify, a);

	/*
	 * Who hears the answer may want to unload us.  The rest of the work item
	 * does not take long; mhint_disks_exit() waits for it.
	 */
	module_put(THIS_MODULE);
	return err;
}

/**
 * mhint_disk_there - is this still the same disk?
 * @devt: its device number
 * @diskseq: its sequence number
 *
 * Context: a work item of mhint_ask(), once: it may take as long as a disk does.
 */
bool mhint_disk_there(dev_t devt, u64 diskseq)
{
	return ask_disk(devt, diskseq, false, NULL) != -ENODEV;
}

/**
 * mhint_ask - have a disk asked
 * @work: asks one disk, once; not queued yet
 *
 * Holds a reference of the module until the disk has answered: unloading is
 * refused meanwhile, instead of hanging with the disk.
 *
 * Return: false: the module is going; nothing is asked.
 */
bool mhint_ask(struct work_struct *work)
{
	if (!try_module_get(THIS_MODULE))
		return false;
	queue_work(ask_wq, work);
	return true;
}

static void ask_slot(struct mhint_slot *s)
{
	if (s->asked)
		return;
	WRITE_ONCE(s->asked_at, jiffies);
	WRITE_ONCE(s->asked, true);
	if (!mhint_ask(&s->work))
		WRITE_ONCE(s->asked, false);
}

static void check_duplicate(struct mhint_slot *s)
{
	struct mhint_slot *o;

	for (o = slots; o < slots + MEM_HINT_MAX_DISKS; o++) {
		if (o == s || !mhint_ident_same(&o->ident, &s->ident) ||
		    (o->state != MHINT_DISK_KNOWN &&
		     o->state != MHINT_DISK_REFUSED))
			continue;
		if (o->seq == s->seq) {	/* two CPUs saw it first at once */
			gone(s);
			return;
		}
		if (o->state == MHINT_DISK_KNOWN)
			refuse(o, "another disk has the same identity");
		refuse(s, "another disk has the same identity");
		return;
	}
	WRITE_ONCE(s->state, MHINT_DISK_KNOWN);
	pr_info("disk %ld is %s: %s %.*s\n", (long)(s - slots), s->name,
		mhint_ident_type_name(s->ident.type),
		(int)sizeof(s->ident.id), (const char *)s->ident.id);
}

static void identified(struct mhint_slot *s, const struct answer *a, int err)
{
	if (a->name[0])
		strscpy(s->name, a->name);
	s->nr_sectors = a->nr_sectors;
	s->ident = a->ident;
	if (err == -ENODEV)
		gone(s);
	else if (err == -ENODATA)
		refuse(s, "it has no serial or other identity");
	else if (err == -E2BIG)
		refuse(s, "its identity is too long");
	else if (err)
		refuse(s, "it cannot be asked for its identity");
	else
		check_duplicate(s);
}

static void looked_at(struct mhint_slot *s, const struct answer *a, int err)
{
	if (err == -ENODEV) {
		gone(s);
	} else if (!err) {
		strscpy(s->name, a->name);
		s->nr_sectors = a->nr_sectors;
	}
}

/* @s->asked keeps @s->seq and @s->devt as they are. */
static void ask_fn(struct work_struct *work)
{
	struct mhint_slot *s = container_of(work, struct mhint_slot, work);
	bool identify = READ_ONCE(s->state) == MHINT_DISK_ASKED;
	struct answer a = {};
	int err;

	err = ask_disk(s->devt, s->seq, identify, &a);
	mutex_lock(&mhint_drain_lock);
	if (identify)
		identified(s, &a, err);
	else
		looked_at(s, &a, err);
	/* Pairs with awaited(): the state says what the answer was. */
	smp_store_release(&s->asked, false);
	mutex_unlock(&mhint_drain_lock);
	wake_up_all(&answers);
}

/* Ask disks that were seen for the first time who they are.  Does not wait. */
void mhint_disks_resolve(void)
{
	struct mhint_slot *s;

	lockdep_assert_held(&mhint_drain_lock);
	if (!atomic_read(&nr_new))
		return;
	for (s = slots; s < slots + MEM_HINT_MAX_DISKS; s++) {
		/* Pairs with mhint_disk_find(). */
		if (smp_load_acquire(&s->state) != MHINT_DISK_NEW)
			continue;
		atomic_dec(&nr_new);
		scnprintf(s->name, sizeof(s->name), "%u:%u", MAJOR(s->devt),
			  MINOR(s->devt));
		memset(&s->ident, 0, sizeof(s->ident));
		WRITE_ONCE(s->state, MHINT_DISK_ASKED);
		ask_slot(s);
	}
}

/*
 * Ask for disks that have gone since, and sizes that have changed.  Does not
 * wait.  What was refused as a duplicate stays refused until it goes itself: an
 * identity that was ambiguous once is not to be trusted with the entries of
 * before.
 */
void mhint_disks_recheck(void)
{
	struct mhint_slot *s;

	lockdep_assert_held(&mhint_drain_lock);
	for (s = slots; s < slots + MEM_HINT_MAX_DISKS; s++)
		if (s->state == MHINT_DISK_KNOWN || s->state == MHINT_DISK_REFUSED)
			ask_slot(s);
	WRITE_ONCE(crowded, false);
}

/* Is an answer to be expected soon? */
static bool awaited(const struct mhint_slot *s)
{
	/* Pairs with ask_fn(). */
	return smp_load_acquire(&s->asked) &&
	       time_before(jiffies, READ_ONCE(s->asked_at) +
			   msecs_to_jiffies(MHINT_ASK_MS));
}

static bool any_awaited(void)
{
	struct mhint_slot *s;

	for (s = slots; s < slots + MEM_HINT_MAX_DISKS; s++)
		if (awaited(s))
			return true;
	return false;
}

/**
 * mhint_disks_wait - wait until the disks that were asked have answered
 *
 * MHINT_ASK_MS at most; without mhint_drain_lock.
 *
 * Return: 0, also where some have not answered; -EINTR: killed.
 */
int mhint_disks_wait(void)
{
	long left = wait_event_killable_timeout(answers, !any_awaited(),
						msecs_to_jiffies(MHINT_ASK_MS));

	return left < 0 ? -EINTR : 0;
}

/* As of mhint_disk_wait(), without waiting; @soon: an answer may come. */
static int disk_answer(u64 diskseq, bool *soon)
{
	const struct mhint_slot *s;
	int i, ret = -EOPNOTSUPP;
	bool waits;

	*soon = false;
	for (i = 0; i < MHINT_DISK_PROBES; i++) {
		s = &slots[(u32)(diskseq + i) % MEM_HINT_MAX_DISKS];
		if (READ_ONCE(s->seq) != diskseq)
			continue;
		waits = awaited(s);	/* first: then the state is not an older one */
		switch (READ_ONCE(s->state)) {
		case MHINT_DISK_KNOWN:
			*soon = false;
			return 0;
		case MHINT_DISK_NEW:
		case MHINT_DISK_ASKED:
			*soon |= waits;
			ret = -EAGAIN;
			break;
		}
	}
	return ret;
}

static bool answered(u64 diskseq, int *ret)
{
	bool soon;

	*ret = disk_answer(diskseq, &soon);
	return !soon;
}

/**
 * mhint_disk_wait - wait until it is known whether entries may name a disk
 * @diskseq: its sequence number; mhint_disks_resolve() was called
 *
 * MHINT_ASK_MS at most; without mhint_drain_lock.
 *
 * Return: 0; -EOPNOTSUPP: they may not; -EAGAIN: it has not answered;
 * -EINTR: killed.
 */
int mhint_disk_wait(u64 diskseq)
{
	int ret;

	if (wait_event_killable_timeout(answers, answered(diskseq, &ret),
					msecs_to_jiffies(MHINT_ASK_MS)) < 0)
		return -EINTR;
	return ret;
}

int mhint_disks_init(void)
{
	struct mhint_slot *s;

	for (s = slots; s < slots + MEM_HINT_MAX_DISKS; s++)
		INIT_WORK(&s->work, ask_fn);
	/* As many at a time as there are disks and volumes: one may hang. */
	ask_wq = alloc_workqueue("mem_hints_ask", WQ_UNBOUND,
				 MEM_HINT_MAX_DISKS + MHINT_MAX_VOLUMES);
	return ask_wq ? 0 : -ENOMEM;
}

/* Nobody asks any more, and all have answered.  Waits until that is entered. */
void mhint_disks_exit(void)
{
	destroy_workqueue(ask_wq);
}

/**
 * mhint_disk_next_stale - find a slot whose entries must go
 * @id: where to look from; the slot found
 * @gone: set to whether the slot is to be released afterwards
 *
 * Return: false when there is none.
 */
bool mhint_disk_next_stale(u32 *id, bool *gone)
{
	static unsigned long next_recheck = INITIAL_JIFFIES;

	if (READ_ONCE(crowded) && time_after_eq(jiffies, next_recheck)) {
		mhint_disks_recheck();
		next_recheck = jiffies + MHINT_CROWDED_RECHECK_MS * HZ / 1000;
	}
	for (; *id < MEM_HINT_MAX_DISKS; ++*id) {
		struct mhint_slot *s = &slots[*id];

		*gone = s->state == MHINT_DISK_GONE;
		if (!*gone && !s->purge)
			continue;
		s->purge = false;
		return true;
	}
	return false;
}

/*
 * Free the slot of a disk that is gone.  The caller has waited for the
 * completions that may have found it, and thrown their notes away.
 */
void mhint_disks_release(u32 id)
{
	struct mhint_slot *s = &slots[id];

	memset(&s->ident, 0, sizeof(s->ident));
	s->state = MHINT_DISK_FREE;
	smp_store_release(&s->seq, 0);	/* pairs with the cmpxchg() */
}

/* The disks that entries may name, in the order of their ids. */
u32 mhint_disks_fill(struct mem_hint_disk *disks, u32 max)
{
	u32 id, nr = 0;

	for (id = 0; id < MEM_HINT_MAX_DISKS && nr < max; id++) {
		const struct mhint_slot *s = &slots[id];
		struct mem_hint_disk *d = &disks[nr];

		if (s->state != MHINT_DISK_KNOWN)
			continue;
		memset(d, 0, sizeof(*d));
		d->id = cpu_to_le32(id);
		d->type = cpu_to_le32(s->ident.type);
		d->nr_sectors = cpu_to_le64(s->nr_sectors);
		memcpy(d->identity, s->ident.id, sizeof(d->identity));
		strscpy((char *)d->name, s->name, sizeof(d->name));
		nr++;
	}
	return nr;
}

/* One line a disk: id, type, name, sectors, identity if it has one. */
ssize_t mhint_disks_text(char *buf)
{
	ssize_t at = 0;
	u32 id;

	for (id = 0; id < MEM_HINT_MAX_DISKS; id++) {
		const struct mhint_slot *s = &slots[id];

		if (s->state != MHINT_DISK_KNOWN && s->state != MHINT_DISK_REFUSED)
			continue;
		at += sysfs_emit_at(buf, at, "%u %s %s %llu", id,
				    s->state == MHINT_DISK_KNOWN ?
				    mhint_ident_type_name(s->ident.type) :
				    "refused", s->name, s->nr_sectors);
		if (s->state == MHINT_DISK_KNOWN)
			at += sysfs_emit_at(buf, at, " %.*s",
					    (int)sizeof(s->ident.id),
					    (const char *)s->ident.id);
		at += sysfs_emit_at(buf, at, "\n");
	}
	return at;
}
