/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A session and its parts.
 *
 * Lifetime: the device file owns the session.  The stream files hold a reference
 * that keeps the struct, not the session: once the device is closed they say
 * EOF.  Maps are objects of their own (map.c): a VMA keeps its pages and nothing
 * else, so that it can never keep the owner's mm alive through vhost.
 *
 * Lock order, outermost first:
 *
 *	session.rx_write_lock	one write(2) at a time
 *	session.tx_read_lock	one read(2) takes frames at a time
 *	session.rx_lock		one frame at a time; incoming order
 *	session.tx_fill_lock	lists become frames; keeps close away meanwhile
 *	source.hash_lock	windows of the snapshot: one hasher at a time
 *	session.lock		set-up and state changes
 *	    migdb_sessions_lock	list of sessions, host-wide counts
 *	    migdb_dirs_lock	names in sysfs; kernfs's locks are inside
 *	lane.lock		one run of a fetch lane at a time
 *	dest.fill_sem		read: pages are being written; write: none is
 *	source.dequeue_lock	runs on their way to user space
 *	source.set_lock, dest.lock	sets, queues, per-page state
 *	    KVM: kvm->srcu, slots_lock
 *	    mmap_lock, by page faults
 *	session.tx_lock		frames that wait for read(2)
 *	migdb_rate_lock		by itself: the rates that an operator has set
 *
 * A file in sysfs that is open for a moment (kernfs's active reference) is outermost
 * of all; removing a directory waits for it, and so is done with none of these held.
 *
 * User memory may be somebody's page fault that never ends: userfaultfd, FUSE.  Its
 * owner is the session's own VMM, which then stops itself until it is killed, but
 * nobody else may wait for it.  It is touched under
 *	rx_write_lock, tx_read_lock, dequeue_lock	the copies of streams and runs
 *	fill_sem (read)					a page that is built; post-copy:
 *							the window that it is placed from
 *	session.lock					arguments of set-up, START's answer
 *	hash_lock					table and bitmap, at SNAPSHOT, HASH, TAKE
 *	set_lock					the page that is hashed, if it has gone
 *							again since it was brought in; the
 *							bitmap at SNAPSHOT
 * and under no other.  mmap_lock is inside all of these: map.c, which is called with
 * it, takes none of ours.  What waits for hash_lock, set_lock or fill_sem on behalf
 * of the host ("enabled") does so in a work item, and its caller only for a while.
 *
 * An ioctl on a running session takes session.lock only to change the state; it
 * reads the state without it and looks again under the lock that it works under.
 */
#ifndef _MIGDB_INTERNAL_H
#define _MIGDB_INTERNAL_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <uapi/linux/migdb.h>
#include "fsm.h"
#include "limits.h"
#include "regions.h"
#include "tag.h"
#include "wire.h"

struct eventfd_ctx;
struct file;
struct kset;
struct migdb_dest;
struct migdb_kvm;
struct migdb_session_dir;
struct migdb_source;
struct migdb_vhost;

struct migdb_disk {
	struct file *file;	/* NULL: no such disk */
	u32 type;
	u8 identity[MIGDB_IDENTITY_BYTES];
	u64 nr_blocks;
};

/* Pages that user space may map; see map.c. */
struct migdb_map {
	struct kref ref;
	void *mem;
	size_t bytes;		/* whole pages; taken from the budget */
	bool writable;
};

/* A frame on its way to read(2). */
struct migdb_tx_frame {
	struct list_head node;
	u32 bytes;
	u32 type;
	u32 held_bytes;		/* what it takes in memory */
	u8 data[] __aligned(8);
};

/* From the first begin to the last end of something, whoever does it. */
struct migdb_span {
	atomic64_t first_ns, last_ns;
};

static inline void migdb_span_begin(struct migdb_span *span)
{
	if (!atomic64_read(&span->first_ns))
		atomic64_cmpxchg(&span->first_ns, 0, ktime_get_ns());
}

static inline void migdb_span_end(struct migdb_span *span)
{
	atomic64_set(&span->last_ns, ktime_get_ns());
}

/*
 * Pages are counted under source.set_lock or dest.lock, so that they add up for
 * whoever holds it.
 *
 *	source		candidates = recorded + dropped + not hashed yet
 *			recorded = built + revoked + returned + unconfirmed
 *	destination	recorded = built + revoked + returned + sent + to be read
 *	both		revoked + returned + dropped = sum of by_reason
 */
struct migdb_stats_counters {
	atomic64_t candidates;
	atomic64_t recorded;
	atomic64_t built;
	atomic64_t revoked;
	atomic64_t returned;
	atomic64_t dropped;
	/* source: given to the VMM by DEQUEUE; destination: the stream was first */
	atomic64_t sent;
	atomic64_t harvested;
	atomic64_t read_bytes;
	atomic64_t inflight_bytes;	/* of reads, now */
	atomic64_t reads;
	atomic64_t tx_bytes;
	atomic64_t rx_bytes;
	atomic64_t hashed;
	atomic64_t hash_ns;
	/* post-copy: destination, and of it source */
	atomic64_t postcopy_built;
	atomic64_t faults, faults_fetching, faults_built, faults_late;
	atomic64_t requested;
	struct migdb_span recording, fetching;
	atomic64_t by_reason[MIGDB_NR_REASONS];
};

/* What the operator allows this session, on top of what the host is allowed. */
struct migdb_limits {
	u64 fetch_bytes_per_s;		/* 0: nothing less */
	u64 inflight_bytes;		/* likewise */
	u32 gen;			/* migdb_rate_lock: changes with fetch_bytes_per_s */
};

struct migdb_session {
	struct kref ref;
	struct list_head node;		/* migdb_sessions_lock */
	struct migdb_vhost *vhost;
	struct mutex lock;		/* guards @state and what says so */
	u32 state;			/* enum migdb_state: @lock, read by migdb_state() */
	u32 role;			/* enum migdb_role, set by START */
	u32 reason;			/* enum migdb_reason: first cause to be ordinary */
	bool peer_reason;		/* it is what the other side said; with @reason */
	bool started;			/* migdb_sessions_lock: START succeeded */
	bool ordinary;			/* migdb_sessions_lock: "enabled" was cleared */
	bool closed;			/* device file is gone: rx_lock and tx_fill_lock */
	bool turning;			/* @ordinary_work is to be done, or at it */
	struct work_struct ordinary_work;
	bool refused;			/* @lock: a START that was refused is in the log */
	bool logged;			/* @lock: the record is in the log, or on its way */
	char text[MIGDB_RECORD_BYTES];	/* of whoever sets one of the two */
	u64 started_ns;
	u32 tag_alg;
	struct migdb_key key;
	u8 uuid[MIGDB_UUID_BYTES];
	char label[MIGDB_LABEL_BYTES];

	/* set-up: @lock until START, constant after */
	struct migdb_disk disk[MIGDB_MAX_DISKS];
	struct migdb_regions regions;
	struct migdb_kvm *kvm;
	u64 root_gpa;
	bool has_table;
	u8 guest_disk[MIGDB_MAX_DISKS];	/* guest's number -> disk + 1; 0: none */

	struct migdb_source *src;
	struct migdb_dest *dst;
	struct migdb_map *map;
	u64 memory_bytes;
	u64 budget_bytes;		/* of it, what migdb_budget_put() gets back at the end */
	struct migdb_session_dir *dir;	/* from START on; NULL: none */
	struct migdb_limits limits;

	/* outgoing stream */
	struct mutex tx_read_lock;	/* one reader copies */
	struct mutex tx_lock;		/* the queue of frames */
	struct list_head tx_frames;	/* tx_lock */
	u32 tx_held_bytes;		/* tx_lock: memory of the frames */
	u32 tx_seq;			/* tx_lock */
	struct mutex tx_fill_lock;
	bool tx_hint;			/* something to read may be there: look */
	wait_queue_head_t tx_wait;
	struct eventfd_ctx *eventfd;	/* set by START, put at the end */

	/* incoming stream */
	struct mutex rx_write_lock;	/* one writer copies */
	void *rx_buf;			/* rx_write_lock: a frame; set by START, lives as long */
	struct mutex rx_lock;		/* order of frames; keeps close away */
	u32 rx_seq;			/* rx_lock */
	u64 rx_named;			/* rx_lock: pages in lists so far */

	struct migdb_stats_counters n;
};

/* map.c: the budget of all sessions, MIGDB_MEMORY_PARTS; 0 or -ENOMEM */
int migdb_budget_get(u64 bytes);
void migdb_budget_put(u64 bytes);

/* session.c */
extern struct mutex migdb_sessions_lock;
extern bool migdb_enabled;
extern unsigned int migdb_max_sessions;
extern unsigned int migdb_nr_sessions;
struct migdb_session *migdb_session_create(void);
void migdb_session_close(struct migdb_session *s);
void migdb_session_get(struct migdb_session *s);
void migdb_session_put(struct migdb_session *s);
int migdb_session_start(struct migdb_session *s, struct migdb_start __user *uarg, u32 usize,
			struct migdb_start *arg);
int migdb_session_transit(struct migdb_session *s, enum migdb_event ev);
void migdb_session_abort(struct migdb_session *s, u32 reason);
void migdb_session_peer_abort(struct migdb_session *s, const struct migdb_frame *f);
int migdb_session_bind_kvm(struct migdb_session *s, int fd);
void migdb_set_enabled(bool enabled);
void migdb_session_disable(struct migdb_session *s);

static inline u32 migdb_state(const struct migdb_session *s)
{
	return smp_load_acquire(&s->state);	/* pairs with START's release */
}

static inline void migdb_count_reason(struct migdb_session *s, u32 reason, u64 nr)
{
	if (reason < MIGDB_NR_REASONS)
		atomic64_add(nr, &s->n.by_reason[reason]);
}

/* stats.c */
const char *migdb_role_str(u32 role);
u64 migdb_session_record_rate(struct migdb_session *s);
u64 migdb_session_fetch_rate(struct migdb_session *s);
void migdb_session_log(struct migdb_session *s, const char *outcome);
void migdb_session_log_refused(struct migdb_session *s, const struct migdb_start *arg, int err);
void migdb_session_stats(struct migdb_session *s, struct migdb_stats *out);

/* ioctl.c */
long migdb_ioctl(struct migdb_session *s, unsigned int cmd, unsigned long arg);

/* disk.c */
int migdb_disk_set(struct migdb_session *s, struct migdb_set_disk *arg);
void migdb_disks_put(struct migdb_session *s);
int migdb_disk_find(struct migdb_session *s, u32 type, const u8 *identity);
bool migdb_identity_ok(u32 type, const u8 *identity);

/* map.c */
struct migdb_map *migdb_map_create(size_t bytes, bool writable);
void migdb_map_put(struct migdb_map *map);
struct file *migdb_map_file(struct migdb_map *map);
bool migdb_map_is_at(struct migdb_map *map, unsigned long uaddr);

/* stream.c */
struct file *migdb_stream_file(struct migdb_session *s, bool tx);
struct migdb_tx_frame *migdb_tx_alloc(u32 bytes);
void migdb_tx_append(struct migdb_session *s, struct migdb_tx_frame *f, u32 type, u32 bytes);
bool migdb_tx_has_room(struct migdb_session *s);
void migdb_tx_wake(struct migdb_session *s);
void migdb_tx_purge(struct migdb_session *s);
int migdb_tx_end(struct migdb_session *s, u32 type, u32 reason);

/* source.c, source_hash.c: see source.h; dest.c, fetch.c: see dest.h */
bool migdb_queue_work(struct work_struct *work);

/* session_dir.c */
void migdb_session_dir_init(void);
void migdb_session_dir_exit(void);
void migdb_session_dir_add(struct migdb_session *s);
void migdb_session_dir_remove(struct migdb_session *s);

/* sysfs.c */
extern struct kset *migdb_kset;
bool migdb_sysfs_has(const char *name);
ssize_t migdb_sysfs_u64(const char *buf, size_t count, u64 *value);
ssize_t migdb_sysfs_bool(const char *buf, size_t count, bool *value);
int migdb_sysfs_init(void);
void migdb_sysfs_exit(void);

#endif /* _MIGDB_INTERNAL_H */
