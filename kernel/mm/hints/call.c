// SPDX-License-Identifier: GPL-2.0
/*
 * Calls: structs in, one table, structs out.  The system call and the device
 * are two ways to the same mhint_call().
 *
 * A new call is a line in the table, a struct in the uapi header with its
 * errnos, and a test.  Checks, in this order: op, size (EINVAL, E2BIG), pointer
 * (EFAULT), flags (EINVAL), switched off (ESHUTDOWN), the call's own.
 *
 * Structs may be longer than ours as long as we would not miss anything, and
 * shorter from their first version on.
 */
#include <linux/build_bug.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "call.h"
#include "internal.h"
#include "limits.h"

union mhint_args {
	u32 flags;		/* first in each */
	struct mem_hint_query query;
	struct mem_hint_file file;
	struct mem_hint_unfile unfile;
	struct mem_hint_bind bind;
	struct mem_hint_unbind unbind;
	struct mem_hint_pool pool;
	struct mem_hint_unpool unpool;
	struct mem_hint_set_class class;
	struct mem_hint_translate translate;
	struct mem_hint_segments segments;
	struct mem_hint_events events;
	struct mem_hint_wait wait;
	struct mem_hint_ready ready;
};

static int call_query(union mhint_args *a)
{
	struct mem_hint_query *q = &a->query;

	if (q->__reserved)
		return -EINVAL;
	*q = (struct mem_hint_query) {
		.out_abi = MEM_HINT_ABI_VERSION,
		.out_errata = MEM_HINT_ERRATA_V1,
		.out_max_op = MHINT_MAX_OP,
		.out_state = MEM_HINT_STATE_IDLE,
		.out_max_files = MHINT_MAX_FILES,
		.out_max_binds = MHINT_MAX_SPANS,
		.out_max_pools = MHINT_MAX_POOLS,
	};
	if (!mhint_enabled())
		q->out_state = MEM_HINT_STATE_OFF;
	else if (mhint_frozen())
		q->out_state = MEM_HINT_STATE_FROZEN;
	q->out_seq = mhint_events_newest();
	mhint_op_usage(q);
	return 0;
}

#define CALL_FN(name)							\
static int call_##name(union mhint_args *a)				\
{									\
	return mhint_op_##name((void *)a);				\
}

CALL_FN(file)
CALL_FN(unfile)
CALL_FN(bind)
CALL_FN(unbind)
CALL_FN(pool)
CALL_FN(unpool)
CALL_FN(class)
CALL_FN(translate)
CALL_FN(segments)
CALL_FN(events)
CALL_FN(wait)
CALL_FN(ready)

enum {
	CALL_OUT = 1,		/* there are fields to copy out */
	CALL_WHEN_OFF = 2,	/* also while hints are switched off */
};

/*
 * @size: of the struct that this kernel knows.
 * @least: of its first version; 0: has not grown.
 * @how: CALL_*.
 * @flags: bits of its flags that are known.
 */
struct mhint_call_op {
	u16 size;
	u16 least;
	u8 how;
	u32 flags;
	int (*fn)(union mhint_args *a);
};

#define CALL(_op, _struct, _fn, _how, _flags)				\
	[MEM_HINT_OP_##_op] = {						\
		.size = sizeof(struct _struct),				\
		.how = (_how), .flags = (_flags), .fn = call_##_fn,	\
	}

static const struct mhint_call_op call_ops[MHINT_MAX_OP + 1] = {
	CALL(QUERY, mem_hint_query, query, CALL_OUT | CALL_WHEN_OFF, 0),
	CALL(FILE, mem_hint_file, file, CALL_OUT, 0),
	CALL(UNFILE, mem_hint_unfile, unfile, CALL_WHEN_OFF, 0),
	CALL(BIND, mem_hint_bind, bind, CALL_OUT, 0),
	CALL(UNBIND, mem_hint_unbind, unbind, CALL_WHEN_OFF, 0),
	CALL(POOL, mem_hint_pool, pool, CALL_OUT, 0),
	CALL(UNPOOL, mem_hint_unpool, unpool, CALL_WHEN_OFF, 0),
	CALL(CLASS, mem_hint_set_class, class, CALL_WHEN_OFF, 0),
	CALL(TRANSLATE, mem_hint_translate, translate, 0, 0),
	CALL(SEGMENTS, mem_hint_segments, segments, 0, 0),
	CALL(EVENTS, mem_hint_events, events, CALL_OUT | CALL_WHEN_OFF,
	     MEM_HINT_EVENTS_READY | MEM_HINT_EVENTS_NONBLOCK),
	CALL(WAIT, mem_hint_wait, wait, CALL_OUT | CALL_WHEN_OFF, 0),
	CALL(READY, mem_hint_ready, ready, CALL_WHEN_OFF, 0),
};

/* The layout is ABI: no holes, the same for 32-bit callers. */
static void __maybe_unused check_layout(void)
{
	BUILD_BUG_ON(sizeof(struct mem_hint_query) != 56);
	BUILD_BUG_ON(sizeof(struct mem_hint_file) != 16);
	BUILD_BUG_ON(sizeof(struct mem_hint_unfile) != 8);
	BUILD_BUG_ON(sizeof(struct mem_hint_bind) != 40);
	BUILD_BUG_ON(sizeof(struct mem_hint_unbind) != 24);
	BUILD_BUG_ON(sizeof(struct mem_hint_pool) != 40);
	BUILD_BUG_ON(sizeof(struct mem_hint_unpool) != 8);
	BUILD_BUG_ON(sizeof(struct mem_hint_set_class) != 24);
	BUILD_BUG_ON(sizeof(struct mem_hint_translate) != 32);
	BUILD_BUG_ON(sizeof(struct mem_hint_segment) != 48);
	BUILD_BUG_ON(sizeof(struct mem_hint_segments) != 24);
	BUILD_BUG_ON(sizeof(struct mem_hint_event) != 48);
	BUILD_BUG_ON(sizeof(struct mem_hint_events) != 8);
	BUILD_BUG_ON(sizeof(struct mem_hint_wait) != 64);
	BUILD_BUG_ON(sizeof(struct mem_hint_ready) != 16);
}

/* Is there such a call? */
bool mhint_call_known(u32 op)
{
	return op <= MHINT_MAX_OP && call_ops[op].fn;
}

/**
 * mhint_call - a call of the current process
 * @op: enum mem_hint_op
 * @attr: its struct
 * @size: as the caller knows it
 *
 * Where a struct has out fields, it is written to once before anything is
 * done: a caller who cannot be answered has changed nothing.
 *
 * Context: the process about whose memory it is.  May sleep.
 *
 * Return: 0 or a negative errno, as the uapi header says for each call.
 */
long mhint_call(u32 op, void __user *attr, size_t size)
{
	const struct mhint_call_op *o;
	union mhint_args a;
	size_t known;
	int err;

	if (!mhint_call_known(op))
		return -EOPNOTSUPP;
	o = &call_ops[array_index_nospec(op, MHINT_MAX_OP + 1)];
	if (size < (o->least ?: o->size))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	memset(&a, 0, sizeof(a));
	err = copy_struct_from_user(&a, o->size, attr, size);
	if (err)
		return err;
	if (a.flags & ~o->flags)
		return -EINVAL;
	known = min_t(size_t, size, o->size);
	if (o->how & CALL_OUT && copy_to_user(attr, &a, known))
		return -EFAULT;
	if (!(o->how & CALL_WHEN_OFF) && !mhint_enabled())
		return -ESHUTDOWN;

	err = o->fn(&a);
	if (!err && o->how & CALL_OUT && copy_to_user(attr, &a, known))
		err = -EFAULT;
	return err;
}

/**
 * mhint_syscall - mem_hint(2)
 * @op: enum mem_hint_op
 * @attr: its struct
 * @size: as the caller knows it
 * @flags: 0, or MEM_HINT_GET_ABI or MEM_HINT_GET_ERRATA with all else 0
 *
 * Return: as of mhint_call(); a query returns its number.
 */
long mhint_syscall(unsigned int op, void __user *attr, size_t size,
		   unsigned int flags)
{
	if (flags) {
		if (op || attr || size)
			return -EINVAL;
		if (flags == MEM_HINT_GET_ABI)
			return MEM_HINT_ABI_VERSION;
		if (flags == MEM_HINT_GET_ERRATA)
			return MEM_HINT_ERRATA_V1;
		return -EINVAL;
	}
	return mhint_call(op, attr, size);
}
