// SPDX-License-Identifier: GPL-2.0
/*
 * Start and completion of migrations, told to processes: by read() and poll() on
 * an open of /dev/mem_hints or on what EVENTS gives, or by WAIT.
 *
 * The last MHINT_EVENTS are kept; each reader has its place.  A reader may ask
 * to be waited for at START.  All of them together are waited for no longer
 * than ready_ms, and one that has gone is not.
 */
#include <linux/anon_inodes.h>
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "call.h"
#include "internal.h"
#include "limits.h"
#include "users.h"

/*
 * @seen: number of the event that was read last.
 * @node: in the list of those that START waits for, or empty.
 * @user: for whom it counts as one of those; else NULL.
 * @ready: number of the START that it was ready for last.
 */
struct mhint_reader {
	u64 seen;
	struct list_head node;
	struct mhint_user *user;
	u64 ready;
};

static DEFINE_SPINLOCK(lock);	/* guards all of this */
static struct mem_hint_event ring[MHINT_EVENTS];
static u64 newest;
static LIST_HEAD(waited_for);
static u32 nr_waited_for;
static u64 waiting_start;	/* number of the START whose snapshot waits; 0: none */
static DECLARE_WAIT_QUEUE_HEAD(news);
static DECLARE_WAIT_QUEUE_HEAD(readiness);
static unsigned int ready_ms;

void mhint_events_init(unsigned int ms)
{
	ready_ms = ms;
}

u64 mhint_events_newest(void)
{
	u64 seq;

	spin_lock(&lock);
	seq = newest;
	spin_unlock(&lock);
	return seq;
}

/* The first event after @seen that is still known; false: there is none. */
static bool next_event(u64 seen, struct mem_hint_event *e)
{
	u64 oldest, seq;

	spin_lock(&lock);
	if (seen >= newest) {
		spin_unlock(&lock);
		return false;
	}
	oldest = newest > MHINT_EVENTS ? newest - MHINT_EVENTS + 1 : 1;
	seq = max(seen + 1, oldest);
	*e = ring[seq % MHINT_EVENTS];
	spin_unlock(&lock);
	e->nr_lost = min_t(u64, seq - seen - 1, U32_MAX);
	return true;
}

static bool all_ready(void)
{
	struct mhint_reader *r;
	bool ready = true;

	spin_lock(&lock);
	list_for_each_entry(r, &waited_for, node)
		ready &= r->ready == waiting_start;
	spin_unlock(&lock);
	return ready;
}

static void publish(u32 type, u32 outcome, u64 generation, u64 classes)
{
	struct mem_hint_event *e;

	spin_lock(&lock);
	e = &ring[++newest % MHINT_EVENTS];
	*e = (struct mem_hint_event) {
		.type = type,
		.outcome = outcome,
		.seq = newest,
		.generation = generation,
		.classes = classes,
		.time_ns = ktime_get_boottime_ns(),
	};
	if (type == MEM_HINT_EVENT_START && nr_waited_for) {
		e->wait_ms = ready_ms;
		waiting_start = newest;
	}
	spin_unlock(&lock);
	wake_up_all(&news);
}

/**
 * mhint_events_start - say that a migration starts, and wait for those ready
 * @classes: that the host agrees to, as bits
 *
 * Waits for readers that have asked for it, ready_ms at most.
 */
void mhint_events_start(u64 classes)
{
	publish(MEM_HINT_EVENT_START, 0, mhint_generation() + 1, classes);
	wait_event_timeout(readiness, all_ready(), msecs_to_jiffies(ready_ms));
	spin_lock(&lock);
	waiting_start = 0;
	spin_unlock(&lock);
}

/* Say that it is over.  @classes: as said at its start. */
void mhint_events_complete(u32 outcome, u64 classes)
{
	publish(MEM_HINT_EVENT_COMPLETE, outcome, mhint_generation(), classes);
}

/* ---- readers -------------------------------------------------------------- */

/* START is to wait for @r: 0; -EDQUOT; -EBUSY: it waits for too many; -ENOMEM. */
static int reader_charge(struct mhint_reader *r)
{
	struct mhint_user *user = mhint_user_current();
	int err;

	if (!user)
		return -ENOMEM;
	err = mhint_charge(user, MHINT_BUDGET_READERS, 1);
	if (err) {
		mhint_user_put(user);
		return err == -ENOSPC ? -EBUSY : err;
	}
	r->user = user;
	return 0;
}

static struct mhint_reader *reader_new(bool wait_for)
{
	struct mhint_reader *r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	int err;

	if (!r)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&r->node);
	err = wait_for ? reader_charge(r) : 0;
	if (err) {
		kfree(r);
		return ERR_PTR(err);
	}
	spin_lock(&lock);
	r->seen = newest;
	r->ready = waiting_start;	/* it does not hear of that one */
	if (wait_for) {
		list_add(&r->node, &waited_for);
		nr_waited_for++;
	}
	spin_unlock(&lock);
	return r;
}

static void reader_free(struct mhint_reader *r)
{
	spin_lock(&lock);
	if (!list_empty(&r->node)) {
		list_del(&r->node);
		nr_waited_for--;
	}
	spin_unlock(&lock);
	wake_up(&readiness);
	if (r->user) {
		mhint_uncharge(r->user, MHINT_BUDGET_READERS, 1);
		mhint_user_put(r->user);
	}
	kfree(r);
}

int mhint_events_open(struct inode *inode, struct file *file)
{
	struct mhint_reader *r = reader_new(false);

	if (IS_ERR(r))
		return PTR_ERR(r);
	file->private_data = r;
	return nonseekable_open(inode, file);
}

int mhint_events_release(struct inode *inode, struct file *file)
{
	reader_free(file->private_data);
	return 0;
}

ssize_t mhint_events_read(struct file *file, char __user *buf, size_t len,
			  loff_t *pos)
{
	struct mhint_reader *r = file->private_data;
	struct mem_hint_event e;
	size_t done = 0;

	if (len < sizeof(e))
		return -EINVAL;
	while (len - done >= sizeof(e)) {
		u64 seen = READ_ONCE(r->seen);

		if (!next_event(seen, &e)) {
			if (done)
				break;
			if (file->f_flags & O_NONBLOCK)
				return -EAGAIN;
			if (wait_event_interruptible(news, mhint_events_newest() >
							   READ_ONCE(r->seen)))
				return -ERESTARTSYS;
			continue;
		}
		if (copy_to_user(buf + done, &e, sizeof(e)))
			return done ?: -EFAULT;
		/* Two threads may read the same event; none is passed over. */
		WRITE_ONCE(r->seen, e.seq);
		done += sizeof(e);
	}
	return done;
}

__poll_t mhint_events_poll(struct file *file, poll_table *wait)
{
	struct mhint_reader *r = file->private_data;

	poll_wait(file, &news, wait);
	return mhint_events_newest() > READ_ONCE(r->seen) ?
	       EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations events_fops = {
	.owner		= THIS_MODULE,
	.release	= mhint_events_release,
	.read		= mhint_events_read,
	.poll		= mhint_events_poll,
	.llseek		= noop_llseek,
};

/* ---- calls ---------------------------------------------------------------- */

/* MEM_HINT_OP_EVENTS */
int mhint_op_events(struct mem_hint_events *arg)
{
	int flags = O_RDONLY | O_CLOEXEC, fd;
	struct mhint_reader *r;

	if (arg->flags & MEM_HINT_EVENTS_NONBLOCK)
		flags |= O_NONBLOCK;
	r = reader_new(arg->flags & MEM_HINT_EVENTS_READY);
	if (IS_ERR(r))
		return PTR_ERR(r);
	fd = anon_inode_getfd("[mem_hints]", &events_fops, r, flags);
	if (fd < 0) {
		reader_free(r);
		return fd;
	}
	arg->out_fd = fd;
	return 0;
}

/* MEM_HINT_OP_WAIT */
int mhint_op_wait(struct mem_hint_wait *arg)
{
	long timeout = MAX_SCHEDULE_TIMEOUT;

	if (arg->seq > mhint_events_newest())
		return -EINVAL;
	if (arg->timeout_ms != MEM_HINT_WAIT_FOREVER)
		timeout = msecs_to_jiffies(arg->timeout_ms);
	if (!next_event(arg->seq, &arg->out_event)) {
		timeout = wait_event_interruptible_timeout(news,
							   mhint_events_newest() >
							   arg->seq, timeout);
		if (timeout < 0)
			return -EINTR;
		if (!next_event(arg->seq, &arg->out_event))
			return -ETIMEDOUT;
	}
	return 0;
}

/* MEM_HINT_OP_READY */
int mhint_op_ready(struct mem_hint_ready *arg)
{
	struct file *file = fget(arg->fd);
	struct mhint_reader *r;
	int err = 0;

	if (!file)
		return -EBADF;
	if (file->f_op != &events_fops) {
		fput(file);
		return -EBADF;
	}
	r = file->private_data;
	spin_lock(&lock);
	if (list_empty(&r->node))
		err = -EINVAL;
	else if (!arg->seq || arg->seq != waiting_start)
		err = -ESTALE;
	else
		r->ready = arg->seq;
	spin_unlock(&lock);
	wake_up(&readiness);
	fput(file);
	return err;
}
