// SPDX-License-Identifier: GPL-2.0
/*
 * User structs in, internal calls out.  One table; a new command is one line in
 * it, a struct in the uapi header and a line in the sweep of the ABI test.
 *
 * Checks, in this order: command (ENOTTY), size (EINVAL, E2BIG), flags
 * (EOPNOTSUPP), owner (EPERM), state (EBUSY, ECANCELED), then the command's own.
 */
#include <linux/build_bug.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <uapi/linux/mem_hints.h>
#include "dest.h"
#include "internal.h"
#include "source.h"
#include "vhost_glue.h"

/* A guest's list of disks has an id for each, and all of them have room here. */
static_assert(MEM_HINT_MAX_DISKS == MIGDB_MAX_DISKS);

union migdb_ucmd {
	struct {
		__u32 size;
		__u32 flags;
	} head;
	struct migdb_get_info info;
	struct migdb_set_disk disk;
	struct migdb_set_guest_table table;
	struct migdb_bind_kvm kvm;
	struct migdb_start start;
	struct migdb_armed armed;
	struct migdb_snapshot snapshot;
	struct migdb_hash hash;
	struct migdb_dirty dirty;
	struct migdb_harvest harvest;
	struct migdb_range range;
	struct migdb_dequeue dequeue;
	struct migdb_reclaim reclaim;
	struct migdb_seal seal;
	struct migdb_drain drain;
	struct migdb_complete complete;
	struct migdb_abort abort;
	struct migdb_stats stats;
	struct migdb_take take;
	struct migdb_hold hold;
	struct migdb_postcopy postcopy;
	struct migdb_fault fault;
	struct migdb_request request;
};

static int migdb_do_info(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	struct migdb_get_info *i = &u->info;

	if (i->__reserved)
		return -EINVAL;
	if (i->nr_pages > MIGDB_MAX_PAGES)
		return -EINVAL;
	i->out_abi_version = MIGDB_ABI_VERSION;
	i->out_state = migdb_state(s);
	i->out_features = MIGDB_FEATURE_TAKE |
			  (IS_ENABLED(CONFIG_KVM) ? MIGDB_FEATURE_RING : 0) |
			  (migdb_postcopy_supported() ? MIGDB_FEATURE_POSTCOPY : 0);
	i->out_tag_algs = migdb_tag_algs();
	i->out_page_bytes = MIGDB_PAGE_BYTES;
	i->out_source_need_bytes = migdb_source_need_bytes(i->nr_pages);
	i->out_dest_need_bytes = migdb_dest_need_bytes(i->nr_pages);
	i->out_enabled = READ_ONCE(migdb_enabled);
	return 0;
}

static int migdb_do_set_disk(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_disk_set(s, &u->disk);
}

static int migdb_do_set_table(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	struct migdb_set_guest_table *arg = &u->table;
	struct migdb_guest_disk __user *ugd = u64_to_user_ptr(arg->disks_uptr);
	DECLARE_BITMAP(seen, MEM_HINT_DISK_MASK + 1) = {};
	u8 map[MIGDB_MAX_DISKS] = {};
	struct migdb_guest_disk gd;
	u32 i, matched = 0;
	int disk;

	if (arg->root_gpa & (MIGDB_PAGE_BYTES - 1) || arg->nr_disks > MIGDB_MAX_DISKS)
		return -EINVAL;
	for (i = 0; i < arg->nr_disks; i++) {
		if (copy_from_user(&gd, &ugd[i], sizeof(gd)))
			return -EFAULT;
		if (gd.guest_disk > MEM_HINT_DISK_MASK || __test_and_set_bit(gd.guest_disk, seen))
			return -EINVAL;
		if (!migdb_identity_ok(gd.type, gd.identity))
			return -EINVAL;
		/* a disk too many must not cost the VM the others */
		if (gd.guest_disk >= MIGDB_MAX_DISKS)
			continue;
		disk = migdb_disk_find(s, gd.type, gd.identity);
		if (disk < 0)
			continue;
		map[gd.guest_disk] = disk + 1;
		matched++;
	}
	memcpy(s->guest_disk, map, sizeof(map));
	s->root_gpa = arg->root_gpa;
	s->has_table = true;
	arg->out_nr_matched = matched;
	return 0;
}

static int migdb_do_bind_kvm(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (u->kvm.__reserved)
		return -EINVAL;
	return migdb_session_bind_kvm(s, u->kvm.vm_fd);
}

static int migdb_do_start(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_session_start(s, uarg, u->head.size, &u->start);
}

static int migdb_do_armed(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_armed(s, &u->armed);
}

static int migdb_do_snapshot(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_snapshot(s, &u->snapshot);
}

static int migdb_do_hash(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_hash(s, &u->hash);
}

static int migdb_do_dirty(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_dirty(s, &u->dirty);
}

static int migdb_do_harvest(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_harvest(s, &u->harvest.out_harvested, &u->harvest.out_queued);
}

static int migdb_do_invalidate(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (s->role == MIGDB_ROLE_SOURCE)
		return migdb_source_invalidate(s, u->range.first, u->range.count);
	return migdb_dest_range(s, u->range.first, u->range.count, false);
}

static int migdb_do_dequeue(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (s->role != MIGDB_ROLE_SOURCE)
		return -EBUSY;
	return migdb_source_dequeue(s, &u->dequeue, uarg);
}

static int migdb_do_reclaim(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	u->reclaim.out_pages = migdb_source_reclaim(s, MIGDB_REASON_LATE);
	return 0;
}

static int migdb_do_request(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_request(s, &u->request);
}

static int migdb_do_hold(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_dest_hold(s, &u->hold, uarg);
}

static int migdb_do_postcopy(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_dest_postcopy(s, &u->postcopy);
}

static int migdb_do_fault(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (s->role != MIGDB_ROLE_DEST)
		return -EBUSY;
	return migdb_dest_fault(s, &u->fault);
}

static int migdb_do_seal(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_source_seal(s, &u->seal);
}

static int migdb_do_claim(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (s->role != MIGDB_ROLE_DEST)
		return -EBUSY;
	return migdb_dest_range(s, u->range.first, u->range.count, true);
}

static int migdb_do_drain(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	return migdb_dest_drain(s, &u->drain);
}

static int migdb_do_complete(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	u->complete.out_missing = 0;
	if (s->role == MIGDB_ROLE_DEST)
		return migdb_dest_complete(s, &u->complete.out_missing);
	if (migdb_state(s) != MIGDB_STATE_SEALED)
		return -ECANCELED;
	return migdb_source_complete(s);
}

static int migdb_do_abort(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (u->abort.__reserved)
		return -EINVAL;
	if (u->abort.reason >= MIGDB_NR_REASONS)
		return -EOPNOTSUPP;
	migdb_session_abort(s, u->abort.reason ? u->abort.reason : MIGDB_REASON_ABORTED);
	return 0;
}

static int migdb_do_stats(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	u->stats = (struct migdb_stats) { .size = u->stats.size };
	migdb_session_stats(s, &u->stats);
	return 0;
}

static int migdb_do_take(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg)
{
	if (u->take.__reserved || !u->take.max_pages)
		return -EINVAL;
	return migdb_source_take_tail(s, &u->take);
}

enum {
	OP_ANYONE = 1,		/* also without being the owner */
	OP_SETUP = 2,		/* under session.lock: beside START, or a part of it */
	OP_OUT_ON_ERROR = 4,	/* out fields are worth reading after an error */
	OP_OWN_OUT = 8,		/* copies out by itself */
};

struct migdb_ioctl_op {
	unsigned int cmd;
	u16 size;
	u16 least;		/* size that it had at first; 0: has not grown */
	u16 how;
	int (*fn)(struct migdb_session *s, union migdb_ucmd *u, void __user *uarg);
};

/* A struct that was only @_least bytes long. */
#define OP_GROWN(_cmd, _struct, _least, _fn, _how) \
	[_IOC_NR(MIGDB_##_cmd) - MIGDB_CMD_BASE] = { \
		.cmd = MIGDB_##_cmd, .size = sizeof(struct _struct), .least = (_least), \
		.how = (_how), .fn = migdb_do_##_fn, \
	}
#define OP(_cmd, _struct, _fn, _how)	OP_GROWN(_cmd, _struct, 0, _fn, _how)

/* With the reasons up to and with "unarmed" */
#define MIGDB_STATS_LEAST \
	(offsetof(struct migdb_stats, out_by_reason) + 18 * sizeof(__u64))

static const struct migdb_ioctl_op migdb_ops[] = {
	OP(GET_INFO, migdb_get_info, info, OP_ANYONE),
	OP(SET_DISK, migdb_set_disk, set_disk, OP_SETUP),
	OP(SET_GUEST_TABLE, migdb_set_guest_table, set_table, OP_SETUP),
	OP(BIND_KVM, migdb_bind_kvm, bind_kvm, OP_SETUP),
	OP(START, migdb_start, start, OP_SETUP | OP_OWN_OUT),
	OP(ARMED, migdb_armed, armed, 0),
	OP(SNAPSHOT, migdb_snapshot, snapshot, 0),
	OP(HASH, migdb_hash, hash, 0),
	OP(DIRTY, migdb_dirty, dirty, 0),
	OP(HARVEST, migdb_harvest, harvest, 0),
	OP(INVALIDATE, migdb_range, invalidate, 0),
	OP(DEQUEUE, migdb_dequeue, dequeue, OP_OWN_OUT),
	OP(RECLAIM, migdb_reclaim, reclaim, 0),
	OP(SEAL, migdb_seal, seal, 0),
	OP(CLAIM, migdb_range, claim, 0),
	OP(DRAIN, migdb_drain, drain, 0),
	OP(COMPLETE, migdb_complete, complete, OP_OUT_ON_ERROR),
	OP(ABORT, migdb_abort, abort, 0),
	OP_GROWN(STATS, migdb_stats, MIGDB_STATS_LEAST, stats, OP_ANYONE | OP_SETUP),
	OP(TAKE, migdb_take, take, 0),
	OP(HOLD, migdb_hold, hold, OP_OWN_OUT),
	OP(POSTCOPY, migdb_postcopy, postcopy, 0),
	OP(FAULT, migdb_fault, fault, 0),
	OP(REQUEST, migdb_request, request, 0),
};

/* The layout is ABI: a struct may only grow at its end. */
static void __maybe_unused migdb_check_layout(void)
{
	BUILD_BUG_ON(ARRAY_SIZE(migdb_ops) != MIGDB_CMD_END - MIGDB_CMD_BASE);
	BUILD_BUG_ON(sizeof(struct migdb_get_info) != 72);
	BUILD_BUG_ON(sizeof(struct migdb_set_disk) != 96);
	BUILD_BUG_ON(sizeof(struct migdb_guest_disk) != 72);
	BUILD_BUG_ON(sizeof(struct migdb_set_guest_table) != 32);
	BUILD_BUG_ON(sizeof(struct migdb_bind_kvm) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_start) != 128);
	BUILD_BUG_ON(sizeof(struct migdb_armed) != 24);
	BUILD_BUG_ON(sizeof(struct migdb_snapshot) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_hash) != 32);
	BUILD_BUG_ON(sizeof(struct migdb_dirty) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_harvest) != 24);
	BUILD_BUG_ON(sizeof(struct migdb_range) != 24);
	BUILD_BUG_ON(sizeof(struct migdb_run) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_dequeue) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_reclaim) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_seal) != 24);
	BUILD_BUG_ON(sizeof(struct migdb_drain) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_complete) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_abort) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_take) != 56);
	BUILD_BUG_ON(sizeof(struct migdb_stats) != 16 + 13 * 8 + MIGDB_MAX_REASONS * 8 + 9 * 8);
	BUILD_BUG_ON(MIGDB_STATS_LEAST != 264);
	BUILD_BUG_ON(MIGDB_NR_REASONS > MIGDB_MAX_REASONS);
	BUILD_BUG_ON(sizeof(struct migdb_hold) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_postcopy) != 32);
	BUILD_BUG_ON(sizeof(struct migdb_fault) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_request) != 32);
	BUILD_BUG_ON(offsetof(struct migdb_start, out_nr_pages) != 104);
	BUILD_BUG_ON(offsetof(struct migdb_set_disk, identity) != 24);
}

static int migdb_run_op(struct migdb_session *s, const struct migdb_ioctl_op *op,
			union migdb_ucmd *u, void __user *uarg)
{
	unsigned int nr = _IOC_NR(op->cmd);
	int ret;

	if (!(op->how & OP_SETUP)) {
		ret = migdb_fsm_allows(migdb_state(s), nr);
		return ret ? ret : op->fn(s, u, uarg);
	}
	mutex_lock(&s->lock);
	ret = migdb_fsm_allows(s->state, nr);
	if (!ret)
		ret = op->fn(s, u, uarg);
	mutex_unlock(&s->lock);
	return ret;
}

long migdb_ioctl(struct migdb_session *s, unsigned int cmd, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;
	const struct migdb_ioctl_op *op;
	unsigned int nr = _IOC_NR(cmd);
	union migdb_ucmd u = {};
	u32 usize;
	int ret;

	if (nr < MIGDB_CMD_BASE || nr >= MIGDB_CMD_END)
		return -ENOTTY;
	op = &migdb_ops[array_index_nospec(nr - MIGDB_CMD_BASE, ARRAY_SIZE(migdb_ops))];
	if (op->cmd != cmd)
		return -ENOTTY;
	if (get_user(usize, (u32 __user *)uarg))
		return -EFAULT;
	if (usize < (op->least ?: op->size))
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&u, op->size, uarg, usize);
	if (ret)
		return ret;
	if (u.head.size != usize)	/* changed under our feet */
		return -EINVAL;
	if (u.head.flags)
		return -EOPNOTSUPP;
	if (!(op->how & OP_ANYONE) && !migdb_vhost_is_owner(s->vhost))
		return -EPERM;

	ret = migdb_run_op(s, op, &u, uarg);
	if ((ret && !(op->how & OP_OUT_ON_ERROR)) || (op->how & OP_OWN_OUT))
		return ret;
	if (copy_to_user(uarg, &u, min_t(u32, usize, op->size)))
		return -EFAULT;
	return ret;
}
