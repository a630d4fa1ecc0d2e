// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * Calls of memory hints: arguments to structs, and back.  The kernel checks
 * them; what is checked here is only what a struct cannot carry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/mem_hints.h>
#include <migdb/hints.h>

#include "sys.h"

/*
 * @nr: number of the system call, or 0: ioctls on @fd.
 */
struct migdb_hints {
	long nr;
	int fd;
};

/* What the header repeats, so that it needs no header of a kernel. */
#define SAME(ours, theirs) \
	_Static_assert((uint64_t)(ours) == (uint64_t)(theirs), #ours)
#define SAME_FIELD(ours, theirs, field) \
	SAME(offsetof(struct ours, field), offsetof(struct theirs, field))

SAME(MIGDB_HINTS_PAGE_SIZE, MEM_HINT_FRAME_SIZE);
SAME(MIGDB_HINTS_IDLE, MEM_HINT_STATE_IDLE);
SAME(MIGDB_HINTS_FROZEN, MEM_HINT_STATE_FROZEN);
SAME(MIGDB_HINTS_OFF, MEM_HINT_STATE_OFF);
SAME(MIGDB_HINTS_BACKED, MEM_HINT_CLASS_BACKED);
SAME(MIGDB_HINTS_DISCARDABLE, MEM_HINT_CLASS_DISCARDABLE);
SAME(MIGDB_HINTS_HOT, MEM_HINT_CLASS_HOT);
SAME(MIGDB_DESC_VALID, MEM_HINT_DESC_VALID);
SAME(MIGDB_DESC_EMPTY, MEM_HINT_DESC_EMPTY);
SAME(MIGDB_DESC_FILE_SHIFT, MEM_HINT_DESC_FILE_SHIFT);
SAME(MIGDB_DESC_MAX_FILE, MEM_HINT_DESC_FILE_MASK);
SAME(MIGDB_DESC_MAX_BLOCK, MEM_HINT_DESC_BLOCK_MASK);
SAME(MIGDB_HINTS_NO_FRAME, MEM_HINT_NO_FRAME);
SAME(MIGDB_HINTS_EVENT_START, MEM_HINT_EVENT_START);
SAME(MIGDB_HINTS_EVENT_COMPLETE, MEM_HINT_EVENT_COMPLETE);
SAME(MIGDB_HINTS_DONE, MEM_HINT_OUTCOME_DONE);
SAME(MIGDB_HINTS_CANCELLED, MEM_HINT_OUTCOME_CANCELLED);
SAME(MIGDB_HINTS_UNKNOWN, MEM_HINT_OUTCOME_UNKNOWN);
SAME(MIGDB_HINTS_EVENTS_READY, MEM_HINT_EVENTS_READY);
SAME(MIGDB_HINTS_EVENTS_NONBLOCK, MEM_HINT_EVENTS_NONBLOCK);
SAME(MIGDB_HINTS_FOREVER, MEM_HINT_WAIT_FOREVER);
SAME(MIGDB_HINTS_CALL_QUERY, MEM_HINT_OP_QUERY);
SAME(MIGDB_HINTS_CALL_FILE, MEM_HINT_OP_FILE);
SAME(MIGDB_HINTS_CALL_UNFILE, MEM_HINT_OP_UNFILE);
SAME(MIGDB_HINTS_CALL_BIND, MEM_HINT_OP_BIND);
SAME(MIGDB_HINTS_CALL_UNBIND, MEM_HINT_OP_UNBIND);
SAME(MIGDB_HINTS_CALL_POOL, MEM_HINT_OP_POOL);
SAME(MIGDB_HINTS_CALL_UNPOOL, MEM_HINT_OP_UNPOOL);
SAME(MIGDB_HINTS_CALL_CLASS, MEM_HINT_OP_CLASS);
SAME(MIGDB_HINTS_CALL_TRANSLATE, MEM_HINT_OP_TRANSLATE);
SAME(MIGDB_HINTS_CALL_SEGMENTS, MEM_HINT_OP_SEGMENTS);
SAME(MIGDB_HINTS_CALL_EVENTS, MEM_HINT_OP_EVENTS);
SAME(MIGDB_HINTS_CALL_WAIT, MEM_HINT_OP_WAIT);
SAME(MIGDB_HINTS_CALL_READY, MEM_HINT_OP_READY);
SAME(sizeof(struct migdb_hints_event), sizeof(struct mem_hint_event));
SAME_FIELD(migdb_hints_event, mem_hint_event, type);
SAME_FIELD(migdb_hints_event, mem_hint_event, outcome);
SAME_FIELD(migdb_hints_event, mem_hint_event, seq);
SAME_FIELD(migdb_hints_event, mem_hint_event, generation);
SAME_FIELD(migdb_hints_event, mem_hint_event, classes);
SAME_FIELD(migdb_hints_event, mem_hint_event, time_ns);
SAME_FIELD(migdb_hints_event, mem_hint_event, wait_ms);
SAME_FIELD(migdb_hints_event, mem_hint_event, nr_lost);
SAME(sizeof(struct migdb_hints_segment), sizeof(struct mem_hint_segment));
SAME_FIELD(migdb_hints_segment, mem_hint_segment, start);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, nr_sectors);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, target);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, major);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, minor);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, nr_stripes);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, stripe);
SAME_FIELD(migdb_hints_segment, mem_hint_segment, chunk_sectors);

static uint64_t to_u64(const void *p)
{
	return (uintptr_t)p;
}

/* One call, by the way that open has found; the ioctl's number has the size. */
static int call_of(const struct migdb_hints *h, unsigned int op,
		   unsigned long cmd, void *attr, size_t size)
{
	long ret;

	if (h->nr)
		ret = migdb_sys_call(h->nr, op, attr, size, 0);
	else
		ret = migdb_sys_ioctl(h->fd, cmd, attr);
	/* A device's word for "no such call". */
	return ret == -ENOTTY ? -EOPNOTSUPP : (int)ret;
}

#define CALL(h, op, attr) \
	call_of(h, MEM_HINT_OP_##op, MEM_HINT_IOC_##op, attr, sizeof(*(attr)))

/* ---- open ----------------------------------------------------------------- */

/* "462\n": a positive number and nothing else, or 0. */
static long parse_nr(const char *text, int len)
{
	long nr = 0;
	int i;

	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len < 1 || len > 6)
		return 0;
	for (i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		nr = nr * 10 + (text[i] - '0');
	}
	return nr;
}

/* The number is of the kernel's own word size: not for 32-bit programs. */
static int open_syscall(struct migdb_hints *h)
{
	char text[16];
	long abi;
	int len;

	if (sizeof(void *) < 8)
		return -ENOSYS;
	len = migdb_sys_read_nr(text, sizeof(text));
	if (len < 0)
		return len == -ENOENT ? -ENOSYS : len;
	h->nr = parse_nr(text, len);
	if (!h->nr)
		return -EPROTO;
	abi = migdb_sys_call(h->nr, 0, NULL, 0, MEM_HINT_GET_ABI);
	if (abi > 0)
		return 0;
	h->nr = 0;
	return abi ? (int)abi : -EPROTO;
}

static int open_device(struct migdb_hints *h)
{
	struct mem_hint_query q = { 0 };
	int err;

	h->fd = migdb_sys_open_device();
	if (h->fd == -ENOENT || h->fd == -ENODEV || h->fd == -ENXIO)
		return -ENOSYS;
	if (h->fd < 0)
		return h->fd;
	err = CALL(h, QUERY, &q);
	if (!err && q.out_abi)
		return 0;
	migdb_sys_close(h->fd);
	h->fd = -1;
	/* some other device */
	return !err || err == -EOPNOTSUPP ? -EPROTO : err;
}

int migdb_hints_open(struct migdb_hints **hints, unsigned int flags)
{
	int err_call = -ENOSYS, err = -ENOSYS;
	struct migdb_hints *h;

	*hints = NULL;
	if (flags & ~(MIGDB_HINTS_ONLY_SYSCALL | MIGDB_HINTS_ONLY_DEVICE) ||
	    flags == (MIGDB_HINTS_ONLY_SYSCALL | MIGDB_HINTS_ONLY_DEVICE))
		return -EINVAL;
	h = malloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	*h = (struct migdb_hints) { .fd = -1 };
	if (!(flags & MIGDB_HINTS_ONLY_DEVICE))
		err_call = open_syscall(h);
	if (!h->nr && !(flags & MIGDB_HINTS_ONLY_SYSCALL))
		err = open_device(h);
	if (h->nr || !err) {
		*hints = h;
		return 0;
	}
	free(h);
	/* Of two, the one that says more than that there is nothing. */
	return err == -ENOSYS ? err_call : err;
}

void migdb_hints_close(struct migdb_hints *hints)
{
	if (!hints)
		return;
	if (hints->fd >= 0)
		migdb_sys_close(hints->fd);
	free(hints);
}

int migdb_hints_way(const struct migdb_hints *hints)
{
	return hints->nr ? MIGDB_HINTS_BY_SYSCALL : MIGDB_HINTS_BY_DEVICE;
}

int migdb_hints_abi(const struct migdb_hints *hints)
{
	struct mem_hint_query q = { 0 };
	int err;

	if (hints->nr)
		return (int)migdb_sys_call(hints->nr, 0, NULL, 0,
					   MEM_HINT_GET_ABI);
	err = CALL(hints, QUERY, &q);
	return err ? err : (int)q.out_abi;
}

int migdb_hints_errata(const struct migdb_hints *hints, uint32_t *errata)
{
	struct mem_hint_query q = { 0 };
	long ret;

	if (hints->nr) {
		ret = migdb_sys_call(hints->nr, 0, NULL, 0,
				     MEM_HINT_GET_ERRATA);
		if (ret >= 0)
			*errata = (uint32_t)ret;
		return ret < 0 ? (int)ret : 0;
	}
	ret = CALL(hints, QUERY, &q);
	if (!ret)
		*errata = q.out_errata;
	return (int)ret;
}

int migdb_hints_query(const struct migdb_hints *hints,
		      struct migdb_hints_info *info)
{
	struct mem_hint_query q = { 0 };
	int err = CALL(hints, QUERY, &q);

	if (err)
		return err;
	*info = (struct migdb_hints_info) {
		.abi = q.out_abi,
		.errata = q.out_errata,
		.max_call = q.out_max_op,
		.state = q.out_state,
		.max_files = q.out_max_files,
		.max_binds = q.out_max_binds,
		.max_pools = q.out_max_pools,
		.nr_files = q.out_nr_files,
		.nr_binds = q.out_nr_binds,
		.nr_pools = q.out_nr_pools,
		.event_seq = q.out_seq,
	};
	return 0;
}

/* ---- what memory holds ---------------------------------------------------- */

int migdb_hints_file(const struct migdb_hints *hints, int fd, uint32_t *file)
{
	struct mem_hint_file a = { .fd = fd };
	int err = CALL(hints, FILE, &a);

	if (!err)
		*file = a.out_file;
	return err;
}

int migdb_hints_unfile(const struct migdb_hints *hints, uint32_t file)
{
	struct mem_hint_unfile a = { .file = file };

	return CALL(hints, UNFILE, &a);
}

int migdb_hints_bind(const struct migdb_hints *hints, const void *addr,
		     size_t len, int fd, uint64_t offset, uint32_t *file)
{
	struct mem_hint_bind a = {
		.fd = fd, .addr = to_u64(addr), .len = len, .offset = offset,
	};
	int err = CALL(hints, BIND, &a);

	if (!err && file)
		*file = a.out_file;
	return err;
}

int migdb_hints_unbind(const struct migdb_hints *hints, const void *addr,
		       size_t len)
{
	struct mem_hint_unbind a = { .addr = to_u64(addr), .len = len };

	return CALL(hints, UNBIND, &a);
}

int migdb_hints_pool(const struct migdb_hints *hints, const void *frames,
		     size_t frame_size, size_t nr_frames, const uint64_t *desc,
		     uint32_t *pool)
{
	struct mem_hint_pool a = {
		.addr = to_u64(frames),
		.nr_frames = nr_frames,
		.desc_uptr = to_u64(desc),
	};
	int err;

	/* A shift has no word for these. */
	if (!frame_size || frame_size & (frame_size - 1))
		return -EINVAL;
	while ((size_t)1 << a.frame_shift < frame_size)
		a.frame_shift++;
	err = CALL(hints, POOL, &a);
	if (!err)
		*pool = a.out_pool;
	return err;
}

int migdb_hints_unpool(const struct migdb_hints *hints, uint32_t pool)
{
	struct mem_hint_unpool a = { .pool = pool };

	return CALL(hints, UNPOOL, &a);
}

int migdb_hints_class(const struct migdb_hints *hints, const void *addr,
		      size_t len, enum migdb_hints_kind kind)
{
	struct mem_hint_set_class a = {
		.class = kind, .addr = to_u64(addr), .len = len,
	};

	return CALL(hints, CLASS, &a);
}

/* ---- for the privileged --------------------------------------------------- */

int migdb_hints_translate(const struct migdb_hints *hints, const void *addr,
			  size_t nr_pages, uint64_t *frames)
{
	uint64_t at = to_u64(addr);

	if (!nr_pages)
		return -EINVAL;
	while (nr_pages) {
		struct mem_hint_translate a = {
			.addr = at,
			.nr = nr_pages < MEM_HINT_TRANSLATE_MAX ?
			      nr_pages : MEM_HINT_TRANSLATE_MAX,
			.frames_uptr = to_u64(frames),
		};
		int err = CALL(hints, TRANSLATE, &a);

		if (err)
			return err;
		at += a.nr << MIGDB_HINTS_PAGE_SHIFT;
		frames += a.nr;
		nr_pages -= a.nr;
	}
	return 0;
}

int migdb_hints_segments(const struct migdb_hints *hints, unsigned int major,
			 unsigned int minor,
			 const struct migdb_hints_segment *segments, size_t nr)
{
	struct mem_hint_segments a = {
		.major = major,
		.minor = minor,
		.nr = (uint32_t)nr,
		.segments_uptr = to_u64(segments),
	};

	if (nr > MEM_HINT_MAX_SEGMENTS)
		return -E2BIG;
	return CALL(hints, SEGMENTS, &a);
}

/* ---- start and completion of migrations ----------------------------------- */

int migdb_hints_events(const struct migdb_hints *hints, unsigned int flags)
{
	struct mem_hint_events a = { .flags = flags, .out_fd = -1 };
	int err = CALL(hints, EVENTS, &a);

	return err ? err : a.out_fd;
}

int migdb_hints_read_event(int fd, struct migdb_hints_event *event)
{
	struct migdb_hints_event e;
	long n = migdb_sys_read(fd, &e, sizeof(e));

	if (n < 0)
		return (int)n;
	/* The kernel gives whole events: this is not its fd. */
	if (n != sizeof(e))
		return -EPROTO;
	*event = e;
	return 0;
}

int migdb_hints_ready(const struct migdb_hints *hints, int fd, uint64_t seq)
{
	struct mem_hint_ready a = { .fd = fd, .seq = seq };

	return CALL(hints, READY, &a);
}

int migdb_hints_wait(const struct migdb_hints *hints, uint64_t seq,
		     unsigned int timeout_ms, struct migdb_hints_event *event)
{
	struct mem_hint_wait a = { .timeout_ms = timeout_ms, .seq = seq };
	int err = CALL(hints, WAIT, &a);

	if (!err)
		memcpy(event, &a.out_event, sizeof(*event));
	return err;
}
