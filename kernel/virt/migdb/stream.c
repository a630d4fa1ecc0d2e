// SPDX-License-Identifier: GPL-2.0
/*
 * The two stream files.  read(2) on tx yields frames for the other side, write(2)
 * on rx takes frames from it; the VMM carries them without looking inside.
 *
 * Frames are numbered and authenticated when they enter the queue, so queue order
 * is wire order.  Lists that can wait (revokes, built, returned pages) become
 * frames only when somebody reads: the queue stays short whatever the guest does.
 */
#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "alloc.h"
#include "dest.h"
#include "internal.h"
#include "source.h"

struct migdb_tx_frame *migdb_tx_alloc(u32 bytes)
{
	struct migdb_tx_frame *f;
	size_t held = kmalloc_size_roundup(struct_size(f, data, round_up(bytes, 8)));

	/* not what is used of it in the end: one page's record is in room for many */
	f = kvzalloc(held, MIGDB_GFP);
	if (f)
		f->held_bytes = held;
	return f;
}

/* HELLO has the key in it. */
static void migdb_tx_free(struct migdb_tx_frame *f)
{
	if (f->type == MIGDB_FRAME_HELLO)
		kvfree_sensitive(f, struct_size(f, data, f->bytes));
	else
		kvfree(f);
}

/* Number, authenticate and queue a frame; cannot fail. */
void migdb_tx_append(struct migdb_session *s, struct migdb_tx_frame *f, u32 type, u32 bytes)
{
	mutex_lock(&s->tx_lock);
	f->type = type;
	f->bytes = bytes;
	migdb_frame_seal(f->data, type, bytes, s->tx_seq++, migdb_session_id(s->uuid), &s->key);
	list_add_tail(&f->node, &s->tx_frames);
	s->tx_held_bytes += f->held_bytes;
	mutex_unlock(&s->tx_lock);
	atomic64_add(bytes, &s->n.tx_bytes);
}

bool migdb_tx_has_room(struct migdb_session *s)
{
	return READ_ONCE(s->tx_held_bytes) < MIGDB_TX_MAX_BYTES;
}

/* The stream became readable, or the state changed: tell who waits. */
void migdb_tx_wake(struct migdb_session *s)
{
	struct eventfd_ctx *ctx = READ_ONCE(s->eventfd);

	/* after what there is to say: it is looked for without a lock */
	smp_store_release(&s->tx_hint, true);
	wake_up_interruptible(&s->tx_wait);
	if (ctx)
		eventfd_signal(ctx);
}

void migdb_tx_purge(struct migdb_session *s)
{
	struct migdb_tx_frame *f, *next;

	mutex_lock(&s->tx_lock);
	list_for_each_entry_safe(f, next, &s->tx_frames, node)
		migdb_tx_free(f);
	INIT_LIST_HEAD(&s->tx_frames);
	s->tx_held_bytes = 0;
	mutex_unlock(&s->tx_lock);
}

/* A frame of a few numbers: end marks, aborts.  0 or -ENOMEM. */
int migdb_tx_end(struct migdb_session *s, u32 type, u32 reason)
{
	struct migdb_wire_end *end;
	struct migdb_tx_frame *f;

	/* a destination without HELLO has no key, and nobody to tell */
	if (s->role == MIGDB_ROLE_DEST && !READ_ONCE(s->rx_seq) && type != MIGDB_FRAME_WELCOME)
		return 0;
	f = migdb_tx_alloc(sizeof(*end));
	if (!f)
		return -ENOMEM;
	end = (struct migdb_wire_end *)f->data;
	end->recorded = cpu_to_le64(type == MIGDB_FRAME_WELCOME ? MIGDB_OFFER_TAKEN :
				    atomic64_read(&s->n.recorded));
	end->built = cpu_to_le64(atomic64_read(&s->n.built));
	end->returned = cpu_to_le64(atomic64_read(&s->n.returned));
	end->reason = cpu_to_le32(reason);
	migdb_tx_append(s, f, type, sizeof(*end));
	return 0;
}

/*
 * Lists into frames.  The session's parts are there as long as it is not closed.
 * 0, or -ENOMEM: there is something to say and no memory to say it in.
 */
static int migdb_tx_fill(struct migdb_session *s)
{
	bool more = false;
	int ret = 0;

	mutex_lock(&s->tx_fill_lock);
	/* before looking: what is added behind our back sets it again */
	smp_store_mb(s->tx_hint, false);
	if (!s->closed) {
		/* others go on: more may be there without a failure */
		if (s->role == MIGDB_ROLE_SOURCE) {
			ret = migdb_source_tx(s);
			more = migdb_source_tx_pending(s);
		} else {
			ret = migdb_dest_tx(s);
			more = migdb_dest_tx_pending(s);
		}
		if (more)	/* no room, or no memory: look again */
			WRITE_ONCE(s->tx_hint, true);
		if (READ_ONCE(s->tx_held_bytes))
			ret = 0;
	}
	mutex_unlock(&s->tx_fill_lock);
	return ret;
}

static bool migdb_tx_readable(struct migdb_session *s)
{
	return READ_ONCE(s->tx_held_bytes) || READ_ONCE(s->tx_hint) || READ_ONCE(s->closed);
}

/*
 * Only a reader takes frames out, and tx_read_lock lets one of them in: what is
 * copied stays first meanwhile, without tx_lock, under which others append.
 */
static ssize_t migdb_tx_copy(struct migdb_session *s, char __user *buf, size_t count)
{
	struct migdb_tx_frame *f;
	ssize_t done = 0;

	if (mutex_lock_interruptible(&s->tx_read_lock))
		return -ERESTARTSYS;
	for (;;) {
		mutex_lock(&s->tx_lock);
		f = list_first_entry_or_null(&s->tx_frames, struct migdb_tx_frame, node);
		mutex_unlock(&s->tx_lock);
		if (!f)
			break;
		if (f->bytes > count - done) {
			if (!done)
				done = -EMSGSIZE;
			break;
		}
		if (copy_to_user(buf + done, f->data, f->bytes)) {
			if (!done)
				done = -EFAULT;
			break;
		}
		done += f->bytes;
		mutex_lock(&s->tx_lock);
		s->tx_held_bytes -= f->held_bytes;
		list_del(&f->node);
		mutex_unlock(&s->tx_lock);
		migdb_tx_free(f);
	}
	mutex_unlock(&s->tx_read_lock);
	return done;
}

static ssize_t migdb_tx_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct migdb_session *s = file->private_data;
	ssize_t ret;
	int full;

	count = min_t(size_t, count, INT_MAX);
	for (;;) {
		full = migdb_tx_fill(s);
		ret = migdb_tx_copy(s, buf, count);
		if (ret)
			return ret;
		if (READ_ONCE(s->closed))
			return 0;
		if (full)
			return full;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(s->tx_wait, migdb_tx_readable(s));
		if (ret)
			return ret;
	}
}

static __poll_t migdb_tx_poll(struct file *file, poll_table *wait)
{
	struct migdb_session *s = file->private_data;

	poll_wait(file, &s->tx_wait, wait);
	if (READ_ONCE(s->closed))
		return EPOLLIN | EPOLLHUP;
	return migdb_tx_readable(s) ? EPOLLIN | EPOLLRDNORM : 0;
}

/*
 * What lists may cost.  Their pages are ours, so one of them is at most a walk
 * over memory; and a peer that says more than there is to say is not believed.
 */
static bool migdb_rx_list_ok(struct migdb_session *s, const struct migdb_frame *f)
{
	u64 pages = migdb_list_pages(f->data, &s->regions);

	s->rx_named += pages;
	return pages && s->rx_named <= MIGDB_MAX_NAMED * s->regions.nr_pages;
}

static int migdb_rx_frame(struct migdb_session *s, const void *data, u32 bytes)
{
	struct migdb_frame f;
	int ret;

	lockdep_assert_held(&s->rx_lock);
	ret = migdb_frame_parse(data, bytes, &f);
	if (ret)
		return ret;
	if (f.bytes != bytes || !migdb_seq_next(s->rx_seq, f.seq))
		return -EBADMSG;
	/* the key of a destination comes with the first frame */
	if (s->role == MIGDB_ROLE_DEST && !s->rx_seq) {
		ret = migdb_dest_hello(s, &f);
		if (!ret)
			s->rx_seq++;
		return ret;
	}
	if (f.session != migdb_session_id(s->uuid) || !migdb_frame_authentic(&f, &s->key))
		return -EBADMSG;
	s->rx_seq++;
	if (migdb_frame_is_list(f.type) && !migdb_rx_list_ok(s, &f))
		return -EBADMSG;
	return s->role == MIGDB_ROLE_SOURCE ? migdb_source_rx(s, &f) : migdb_dest_rx(s, &f);
}

/*
 * The frame at @ubuf.  Its length is checked before the copy and again in the
 * copy: user space may change its buffer meanwhile.
 */
static int migdb_rx_copy(void *buf, const char __user *ubuf, size_t left, u32 *bytes)
{
	struct migdb_wire_hdr hdr;

	*bytes = 0;
	if (left < sizeof(hdr))
		return -EBADMSG;
	if (copy_from_user(&hdr, ubuf, sizeof(hdr)))
		return -EFAULT;
	*bytes = le32_to_cpu(hdr.bytes);
	if (*bytes < sizeof(hdr) || *bytes > MIGDB_MAX_FRAME_BYTES || *bytes > left)
		return -EBADMSG;
	return copy_from_user(buf, ubuf, *bytes) ? -EFAULT : 0;
}

/* One frame, if copying it gave @ret == 0.  1: it is not needed any more. */
static int migdb_rx_take(struct migdb_session *s, const void *buf, u32 bytes, int ret)
{
	u32 state;

	mutex_lock(&s->rx_lock);
	state = migdb_state(s);
	if (READ_ONCE(s->closed)) {
		ret = -EPIPE;
	} else if (state == MIGDB_STATE_ABORTED || state == MIGDB_STATE_DONE) {
		/* an aborted session believes nothing and needs nothing */
		ret = 1;
	} else {
		if (!ret)
			ret = migdb_rx_frame(s, buf, bytes);
		if (!ret)
			atomic64_add(bytes, &s->n.rx_bytes);
		/* under rx_lock, which keeps close away */
		if (ret == -EBADMSG)
			migdb_session_abort(s, MIGDB_REASON_BAD_STREAM);
	}
	mutex_unlock(&s->rx_lock);
	return ret;
}

static ssize_t migdb_rx_write(struct file *file, const char __user *ubuf, size_t count,
			      loff_t *pos)
{
	struct migdb_session *s = file->private_data;
	struct migdb_wire_hdr *buf = s->rx_buf;
	bool secret = false;
	size_t done = 0;
	u32 bytes;
	int ret = 0;

	if (!count)
		return 0;
	if (mutex_lock_killable(&s->rx_write_lock))
		return -EINTR;
	while (done < count && !ret) {
		/* between frames: what was taken was taken whole */
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		ret = migdb_rx_copy(buf, ubuf + done, count - done, &bytes);
		secret |= !ret && buf->type == cpu_to_le16(MIGDB_FRAME_HELLO);
		ret = migdb_rx_take(s, buf, bytes, ret);
		if (!ret)
			done += bytes;
		cond_resched();
	}
	if (secret)
		memzero_explicit(buf, MIGDB_MAX_FRAME_BYTES);
	mutex_unlock(&s->rx_write_lock);
	if (ret > 0)
		return count;
	/* a bad stream is said at once; anything else after what was taken */
	return ret && (ret == -EBADMSG || !done) ? ret : done;
}

static int migdb_stream_release(struct inode *inode, struct file *file)
{
	migdb_session_put(file->private_data);
	return 0;
}

static const struct file_operations migdb_tx_fops = {
	.owner		= THIS_MODULE,
	.read		= migdb_tx_read,
	.poll		= migdb_tx_poll,
	.release	= migdb_stream_release,
};

static const struct file_operations migdb_rx_fops = {
	.owner		= THIS_MODULE,
	.write		= migdb_rx_write,
	.release	= migdb_stream_release,
};

/* A file with a reference to the session, or ERR_PTR. */
struct file *migdb_stream_file(struct migdb_session *s, bool tx)
{
	struct file *file;

	file = anon_inode_getfile(tx ? "[migdb-tx]" : "[migdb-rx]",
				  tx ? &migdb_tx_fops : &migdb_rx_fops, s,
				  tx ? O_RDONLY : O_WRONLY);
	if (!IS_ERR(file))
		migdb_session_get(s);
	return file;
}
