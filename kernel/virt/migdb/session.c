// SPDX-License-Identifier: GPL-2.0
/*
 * Life of a session: create, start, change of state, end.
 *
 * The device file ends it (migdb_session_close): streams go quiet, reads in flight
 * are waited for, vhost workers stop, memory goes back.  Stream files that are
 * still open keep the struct, which then answers EOF.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "alloc.h"
#include "dest.h"
#include "internal.h"
#include "kvm_shim.h"
#include "source.h"
#include "trace.h"
#include "vhost_glue.h"

static void migdb_ordinary_work(struct work_struct *work);

/* guards the list, the knobs and the count of sessions */
DEFINE_MUTEX(migdb_sessions_lock);
static LIST_HEAD(migdb_sessions);		/* migdb_sessions_lock: started ones */
bool migdb_enabled = true;			/* migdb_sessions_lock */
unsigned int migdb_max_sessions = MIGDB_DEFAULT_MAX_SESSIONS;
unsigned int migdb_nr_sessions;			/* migdb_sessions_lock */

struct migdb_session *migdb_session_create(void)
{
	struct migdb_session *s = kvzalloc(sizeof(*s), MIGDB_GFP);

	if (!s)
		return NULL;
	kref_init(&s->ref);
	INIT_LIST_HEAD(&s->node);
	mutex_init(&s->lock);
	mutex_init(&s->tx_lock);
	mutex_init(&s->tx_read_lock);
	mutex_init(&s->rx_lock);
	mutex_init(&s->rx_write_lock);
	mutex_init(&s->tx_fill_lock);
	INIT_WORK(&s->ordinary_work, migdb_ordinary_work);
	INIT_LIST_HEAD(&s->tx_frames);
	init_waitqueue_head(&s->tx_wait);
	s->state = MIGDB_STATE_IDLE;
	s->vhost = migdb_vhost_create(migdb_fetch_lane, s);
	if (!s->vhost) {
		kvfree(s);
		return NULL;
	}
	return s;
}

void migdb_session_get(struct migdb_session *s)
{
	kref_get(&s->ref);
}

static void migdb_session_free(struct kref *ref)
{
	struct migdb_session *s = container_of(ref, struct migdb_session, ref);

	migdb_tx_purge(s);
	migdb_free(s->rx_buf);
	if (s->eventfd)
		eventfd_ctx_put(s->eventfd);
	memzero_explicit(&s->key, sizeof(s->key));
	kvfree(s);
}

void migdb_session_put(struct migdb_session *s)
{
	kref_put(&s->ref, migdb_session_free);
}

static void migdb_session_state(struct migdb_session *s, u32 next)
{
	lockdep_assert_held(&s->lock);
	trace_migdb_state(s->label, s->role, s->state, next, READ_ONCE(s->reason));
	/* pairs with the acquire in migdb_state(); START's publishes the parts */
	smp_store_release(&s->state, next);
}

int migdb_session_transit(struct migdb_session *s, enum migdb_event ev)
{
	int next;

	mutex_lock(&s->lock);
	next = migdb_fsm_next(s->state, ev);
	if (next < 0)
		next = s->state == MIGDB_STATE_ABORTED ? -ECANCELED : next;
	else
		migdb_session_state(s, next);
	mutex_unlock(&s->lock);
	return next < 0 ? next : 0;
}

/*
 * Ordinary from here on.  Source: from the moment that anybody can know of it, the
 * bitmap stays as it is and nothing enters the send queue: each set bit, and each
 * page of the queue, is the VMM's to send.  Destination: what is not built goes
 * back.  The other side is told; what it can no longer hear it does not need.
 *
 * @peer: it is the other side that gave up, and @reason what it said.  Pages that go
 * back then do so for no reason of their own: those are counted for this side.
 */
static void migdb_session_end(struct migdb_session *s, u32 reason, bool peer)
{
	bool dest = s->role == MIGDB_ROLE_DEST;

	mutex_lock(&s->lock);
	if (migdb_fsm_next(s->state, MIGDB_EV_ABORT) < 0 || s->state == MIGDB_STATE_ABORTED) {
		mutex_unlock(&s->lock);
		return;
	}
	if (cmpxchg(&s->reason, MIGDB_REASON_NONE, reason) == MIGDB_REASON_NONE)
		WRITE_ONCE(s->peer_reason, peer);
	if (!dest)
		migdb_source_freeze(s);
	migdb_session_state(s, MIGDB_STATE_ABORTED);
	mutex_unlock(&s->lock);

	if (dest) {
		migdb_dest_give_up(s, peer ? MIGDB_REASON_ABORTED : reason);
		migdb_postcopy_over(s);
	}
	migdb_tx_end(s, MIGDB_FRAME_ABORT, reason);
	migdb_tx_wake(s);
	migdb_session_log(s, "aborted");
}

void migdb_session_abort(struct migdb_session *s, u32 reason)
{
	migdb_session_end(s, reason, false);
}

/* The other side has given up: @f is its ABORT. */
void migdb_session_peer_abort(struct migdb_session *s, const struct migdb_frame *f)
{
	migdb_session_end(s, migdb_abort_reason(f), true);
}

/* Sessions that were told to be ordinary and are not yet. */
static atomic_t migdb_nr_turning = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(migdb_turned_wait);

static void migdb_ordinary_over(struct migdb_session *s)
{
	atomic_dec(&migdb_nr_turning);
	WRITE_ONCE(s->turning, false);
	wake_up_all(&migdb_turned_wait);
}

/* "enabled" was cleared: finish as an ordinary migration. */
static void migdb_ordinary_work(struct work_struct *work)
{
	struct migdb_session *s = container_of(work, struct migdb_session, ordinary_work);
	u32 state = migdb_state(s);

	if (s->role == MIGDB_ROLE_SOURCE) {
		mutex_lock(&s->src->hash_lock);
		if (migdb_state(s) == MIGDB_STATE_TRACKING)
			migdb_source_unhash(s, MIGDB_REASON_DISABLED);
		mutex_unlock(&s->src->hash_lock);
		if (state == MIGDB_STATE_TRACKING || state == MIGDB_STATE_SEALED)
			migdb_source_reclaim(s, MIGDB_REASON_DISABLED);
	} else if (state == MIGDB_STATE_FILLING || state == MIGDB_STATE_HELD ||
		   state == MIGDB_STATE_POSTCOPY) {
		migdb_dest_give_up(s, MIGDB_REASON_DISABLED);
	}
	migdb_ordinary_over(s);
}

static void migdb_session_make_ordinary(struct migdb_session *s)
{
	u32 state = migdb_state(s);

	lockdep_assert_held(&migdb_sessions_lock);
	if (!s->started || s->ordinary)
		return;
	WRITE_ONCE(s->ordinary, true);
	if (state != MIGDB_STATE_DONE && state != MIGDB_STATE_ABORTED)
		cmpxchg(&s->reason, MIGDB_REASON_NONE, MIGDB_REASON_DISABLED);
	WRITE_ONCE(s->turning, true);
	atomic_inc(&migdb_nr_turning);
	migdb_queue_work(&s->ordinary_work);
}

/*
 * sysfs "enabled".  Running sessions have given up their pages when it returns,
 * but for those whose VMM keeps a page fault waiting: nobody waits long for them.
 */
void migdb_set_enabled(bool enabled)
{
	struct migdb_session *s;

	mutex_lock(&migdb_sessions_lock);
	migdb_enabled = enabled;
	if (!enabled)
		list_for_each_entry(s, &migdb_sessions, node)
			migdb_session_make_ordinary(s);
	mutex_unlock(&migdb_sessions_lock);
	wait_event_killable_timeout(migdb_turned_wait, !atomic_read(&migdb_nr_turning),
				    MIGDB_TURN_WAIT_JIFFIES);
}

/* The same for one session, for ever.  It waits for nobody else's. */
void migdb_session_disable(struct migdb_session *s)
{
	mutex_lock(&migdb_sessions_lock);
	migdb_session_make_ordinary(s);
	mutex_unlock(&migdb_sessions_lock);
	wait_event_killable_timeout(migdb_turned_wait, !READ_ONCE(s->turning),
				    MIGDB_TURN_WAIT_JIFFIES);
}

int migdb_session_bind_kvm(struct migdb_session *s, int fd)
{
	struct migdb_session *other;
	struct migdb_kvm *k;

	if (s->kvm)
		return -EBUSY;
	k = migdb_kvm_bind(fd);
	if (IS_ERR(k))
		return PTR_ERR(k);
	/* one ring, one consumer */
	mutex_lock(&migdb_sessions_lock);
	list_for_each_entry(other, &migdb_sessions, node) {
		if (other->kvm && migdb_kvm_id(other->kvm) == migdb_kvm_id(k)) {
			mutex_unlock(&migdb_sessions_lock);
			migdb_kvm_unbind(k);
			return -EBUSY;
		}
	}
	s->kvm = k;
	list_add(&s->node, &migdb_sessions);
	mutex_unlock(&migdb_sessions_lock);
	return 0;
}

static bool migdb_label_ok(const u8 *label)
{
	unsigned int i;

	for (i = 0; i < MIGDB_LABEL_BYTES && label[i]; i++)
		if (label[i] <= ' ' || label[i] >= 0x7f || label[i] == '"' ||
		    label[i] == '\\' || label[i] == '/')
			return false;
	return i && i < MIGDB_LABEL_BYTES;
}

static int migdb_start_check(struct migdb_session *s, struct migdb_start *arg)
{
	struct migdb_region *regions;
	int nr, ret;

	if (arg->__reserved || arg->eventfd < -1)
		return -EINVAL;
	if (arg->role != MIGDB_ROLE_SOURCE && arg->role != MIGDB_ROLE_DEST)
		return -EOPNOTSUPP;
	if (arg->tag_alg >= 64 ||
	    (arg->tag_alg && !(migdb_tag_algs() & BIT_ULL(arg->tag_alg))))
		return -EOPNOTSUPP;
	if (!migdb_label_ok(arg->label))
		return -EINVAL;
	if (arg->role == MIGDB_ROLE_SOURCE && !memchr_inv(arg->uuid, 0, sizeof(arg->uuid)))
		return -EINVAL;
	if (arg->role == MIGDB_ROLE_DEST && s->kvm)
		return -EINVAL;

	regions = kcalloc(MIGDB_MAX_REGIONS, sizeof(*regions), MIGDB_GFP);
	if (!regions)
		return -ENOMEM;
	nr = migdb_vhost_regions(s->vhost, regions, MIGDB_MAX_REGIONS);
	ret = nr < 0 ? nr : migdb_regions_build(&s->regions, regions, nr);
	kfree(regions);
	return ret;
}

/* Count the session in, or say why not. */
static int migdb_start_admit(struct migdb_session *s)
{
	int ret = 0;

	mutex_lock(&migdb_sessions_lock);
	if (!migdb_enabled)
		ret = -ENODEV;
	else if (migdb_nr_sessions >= migdb_max_sessions)
		ret = -EUSERS;
	else
		migdb_nr_sessions++;
	mutex_unlock(&migdb_sessions_lock);
	return ret;
}

static void migdb_start_undo(struct migdb_session *s)
{
	mutex_lock(&migdb_sessions_lock);
	migdb_nr_sessions--;
	mutex_unlock(&migdb_sessions_lock);
	if (s->kvm)
		migdb_kvm_leave_ring(s->kvm);
	migdb_source_destroy(s);
	migdb_dest_destroy(s);
	migdb_tx_purge(s);
	migdb_free(s->rx_buf);
	s->rx_buf = NULL;
	s->tx_seq = 0;
	if (s->eventfd)
		eventfd_ctx_put(s->eventfd);
	s->eventfd = NULL;
	s->role = MIGDB_ROLE_INVALID;
	memset(&s->regions, 0, sizeof(s->regions));
}

/* Role, memory and first frame; nothing that user space can see yet. */
static int migdb_start_parts(struct migdb_session *s, struct migdb_start *arg)
{
	struct eventfd_ctx *ctx;
	int ret;

	if (arg->eventfd >= 0) {
		ctx = eventfd_ctx_fdget(arg->eventfd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx) == -EINVAL ? -EOPNOTSUPP : PTR_ERR(ctx);
		s->eventfd = ctx;
	}
	/* now: what the other side gives back must be taken when memory is short */
	s->rx_buf = migdb_zalloc(MIGDB_MAX_FRAME_BYTES);
	if (!s->rx_buf)
		return -ENOMEM;
	s->role = arg->role;
	memcpy(s->label, arg->label, sizeof(s->label));
	if (s->role == MIGDB_ROLE_DEST)
		return migdb_dest_create(s);
	memcpy(s->uuid, arg->uuid, sizeof(s->uuid));
	s->tag_alg = arg->tag_alg ? arg->tag_alg : MIGDB_TAG_SIPHASH24;
	get_random_bytes(&s->key, sizeof(s->key));
	ret = migdb_source_create(s);
	return ret ? ret : migdb_source_hello(s);
}

struct migdb_fds {
	struct file *file[3];
	int fd[3];
	int nr;
};

static void migdb_fds_put(struct migdb_fds *fds)
{
	while (fds->nr--) {
		put_unused_fd(fds->fd[fds->nr]);
		fput(fds->file[fds->nr]);
	}
}

static int migdb_fds_get(struct migdb_session *s, struct migdb_fds *fds)
{
	struct file *file;
	int fd;

	for (fds->nr = 0; fds->nr < 3; fds->nr++) {
		file = fds->nr == 2 ? migdb_map_file(s->map) : migdb_stream_file(s, !fds->nr);
		if (IS_ERR(file)) {
			fd = PTR_ERR(file);
			goto undo;
		}
		fd = get_unused_fd_flags(O_CLOEXEC);
		if (fd < 0) {
			fput(file);
			goto undo;
		}
		fds->file[fds->nr] = file;
		fds->fd[fds->nr] = fd;
	}
	return 0;
undo:
	migdb_fds_put(fds);
	return fd;
}

/*
 * Under s->lock, state IDLE.  All that can fail comes first; the descriptors are
 * told to user space before they exist, and exist when nothing can fail any more.
 */
int migdb_session_start(struct migdb_session *s, struct migdb_start __user *uarg, u32 usize,
			struct migdb_start *arg)
{
	struct migdb_fds fds;
	int ret, i;

	ret = migdb_start_check(s, arg);
	if (ret)
		goto refused;
	ret = migdb_start_admit(s);
	if (ret)
		goto refused;
	ret = migdb_start_parts(s, arg);
	if (ret)
		goto undo;
	ret = migdb_fds_get(s, &fds);
	if (ret)
		goto undo;
	arg->out_nr_pages = s->regions.nr_pages;
	arg->out_tx_fd = fds.fd[0];
	arg->out_rx_fd = fds.fd[1];
	arg->out_map_fd = fds.fd[2];
	arg->__reserved2 = 0;
	/* late: until START has returned, a VMM may be emptying the rings itself */
	ret = s->kvm ? migdb_kvm_take_ring(s->kvm) : 0;
	if (!ret && copy_to_user(uarg, arg, min_t(size_t, usize, sizeof(*arg))))
		ret = -EFAULT;
	if (ret) {
		migdb_fds_put(&fds);
		goto undo;
	}

	s->started_ns = ktime_get_ns();
	migdb_session_state(s, migdb_fsm_next(s->state, s->role == MIGDB_ROLE_SOURCE ?
					      MIGDB_EV_START_SOURCE : MIGDB_EV_START_DEST));
	mutex_lock(&migdb_sessions_lock);
	s->started = true;
	if (list_empty(&s->node))
		list_add(&s->node, &migdb_sessions);
	if (!migdb_enabled)	/* cleared since we were let in */
		migdb_session_make_ordinary(s);
	mutex_unlock(&migdb_sessions_lock);
	migdb_session_dir_add(s);
	for (i = 0; i < 3; i++)
		fd_install(fds.fd[i], fds.file[i]);
	return 0;
undo:
	migdb_start_undo(s);
refused:
	migdb_session_log_refused(s, arg, ret);
	return ret;
}

/* The device file is gone. */
void migdb_session_close(struct migdb_session *s)
{
	migdb_session_log(s, migdb_state(s) == MIGDB_STATE_DONE ? "done" : "closed");
	migdb_session_dir_remove(s);

	/* nobody is left who harvests; before another session can bind the VM */
	if (s->kvm)
		migdb_kvm_leave_ring(s->kvm);
	mutex_lock(&migdb_sessions_lock);
	list_del_init(&s->node);
	mutex_unlock(&migdb_sessions_lock);
	if (cancel_work_sync(&s->ordinary_work))
		migdb_ordinary_over(s);	/* it had not begun */

	/* stream calls that are inside finish; later ones see closed */
	mutex_lock(&s->rx_lock);
	mutex_lock(&s->tx_fill_lock);
	WRITE_ONCE(s->closed, true);
	mutex_unlock(&s->tx_fill_lock);
	mutex_unlock(&s->rx_lock);
	migdb_tx_wake(s);

	if (s->dst) {
		/* first: who waits for a page waits no longer, whatever storage does */
		if (s->dst->placer)
			migdb_postcopy_over(s);
		migdb_fetch_stop(s);
		migdb_postcopy_stop(s);
	}
	migdb_vhost_flush(s->vhost);
	migdb_vhost_destroy(s->vhost);
	s->vhost = NULL;
	migdb_source_destroy(s);
	migdb_dest_destroy(s);
	migdb_kvm_unbind(s->kvm);
	s->kvm = NULL;
	migdb_disks_put(s);
	if (s->started) {
		mutex_lock(&migdb_sessions_lock);
		migdb_nr_sessions--;
		mutex_unlock(&migdb_sessions_lock);
	}
	migdb_session_put(s);
}
