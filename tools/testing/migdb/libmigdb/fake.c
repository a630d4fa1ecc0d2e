// SPDX-License-Identifier: GPL-2.0
/* See fake.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"

typedef uint64_t u64;
typedef uint32_t u32;
#include "desc.h"		/* of kernel/mm/hints */
#include "sys.h"		/* of the library */

#define LIMIT	0x7ffffffff000ULL

struct fake fake;

void fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.nr_text = "987\n";
	fake.device_errno = ENOENT;
	fake.max_op = MEM_HINT_OP_READY;
	fake.abi = 1;
	memset(fake.files, -1, sizeof(fake.files));
}

static const unsigned int sizes[MEM_HINT_OP_READY + 1] = {
	[MEM_HINT_OP_QUERY] = sizeof(struct mem_hint_query),
	[MEM_HINT_OP_FILE] = sizeof(struct mem_hint_file),
	[MEM_HINT_OP_UNFILE] = sizeof(struct mem_hint_unfile),
	[MEM_HINT_OP_BIND] = sizeof(struct mem_hint_bind),
	[MEM_HINT_OP_UNBIND] = sizeof(struct mem_hint_unbind),
	[MEM_HINT_OP_POOL] = sizeof(struct mem_hint_pool),
	[MEM_HINT_OP_UNPOOL] = sizeof(struct mem_hint_unpool),
	[MEM_HINT_OP_CLASS] = sizeof(struct mem_hint_set_class),
	[MEM_HINT_OP_TRANSLATE] = sizeof(struct mem_hint_translate),
	[MEM_HINT_OP_SEGMENTS] = sizeof(struct mem_hint_segments),
	[MEM_HINT_OP_EVENTS] = sizeof(struct mem_hint_events),
	[MEM_HINT_OP_WAIT] = sizeof(struct mem_hint_wait),
	[MEM_HINT_OP_READY] = sizeof(struct mem_hint_ready),
};

static int fake_file(int fd, u32 *out)
{
	int i, mode = fcntl(fd, F_GETFL);

	if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	for (i = 0; i < FAKE_FILES; i++) {
		if (fake.files[i] == fd) {
			*out = i;
			return 0;
		}
	}
	for (i = 0; i < FAKE_FILES; i++) {
		if (fake.files[i] < 0) {
			fake.files[i] = fd;
			*out = i;
			return 0;
		}
	}
	return -ENOSPC;
}

static int fake_pool(struct mem_hint_pool *a)
{
	u64 len = a->nr_frames << a->frame_shift;
	int i, free = -1, err = mhint_pool_check(a, LIMIT);

	if (err || a->__reserved)
		return -EINVAL;
	for (i = 0; i < FAKE_POOLS; i++) {
		struct mem_hint_pool *p = &fake.pools[i];

		if (!fake.pool_used[i])
			free = i;
		else if (a->addr < p->addr + (p->nr_frames << p->frame_shift) &&
			 p->addr < a->addr + len)
			return -EEXIST;
	}
	if (free < 0)
		return -ENOSPC;
	a->out_pool = free;
	fake.pools[free] = *a;
	fake.pool_used[free] = true;
	return 0;
}

int fake_frame(unsigned int pool, size_t frame, uint32_t *file, uint64_t *block)
{
	struct mem_hint_pool *p = &fake.pools[pool];
	const uint64_t *desc = (const uint64_t *)(uintptr_t)p->desc_uptr;

	return mhint_desc_decode(__atomic_load_n(&desc[frame], __ATOMIC_ACQUIRE),
				 1U << (p->frame_shift - MEM_HINT_FRAME_SHIFT),
				 file, block);
}

static int fake_query(struct mem_hint_query *q)
{
	int i;

	if (q->__reserved)
		return -EINVAL;
	*q = (struct mem_hint_query) {
		.out_abi = fake.abi, .out_errata = fake.errata,
		.out_max_op = fake.max_op, .out_state = MEM_HINT_STATE_FROZEN,
		.out_max_files = FAKE_FILES, .out_max_binds = 1000,
		.out_max_pools = FAKE_POOLS, .out_nr_binds = fake.nr_binds,
		.out_seq = 41,
	};
	for (i = 0; i < FAKE_FILES; i++)
		q->out_nr_files += fake.files[i] >= 0;
	for (i = 0; i < FAKE_POOLS; i++)
		q->out_nr_pools += fake.pool_used[i];
	return 0;
}

/* A pipe with the events in it stands for the kernel's fd. */
static int fake_events(struct mem_hint_events *a)
{
	int fds[2], flags = O_CLOEXEC;

	if (a->flags & ~(MEM_HINT_EVENTS_READY | MEM_HINT_EVENTS_NONBLOCK))
		return -EINVAL;
	if (a->flags & MEM_HINT_EVENTS_NONBLOCK)
		flags |= O_NONBLOCK;
	if (pipe2(fds, flags))
		return -errno;
	if (write(fds[1], fake.events, fake.nr_events * sizeof(fake.events[0])) < 0)
		abort();
	/* the writing end stays open, else the reader sees an end */
	a->out_fd = fds[0];
	return 0;
}

static int fake_do(unsigned int op, void *attr)
{
	u32 *words = attr;
	u64 i;

	if (op != MEM_HINT_OP_EVENTS && words[0])
		return -EINVAL;
	switch (op) {
	case MEM_HINT_OP_QUERY:
		return fake_query(attr);
	case MEM_HINT_OP_FILE: {
		struct mem_hint_file *a = attr;

		return a->__reserved ? -EINVAL : fake_file(a->fd, &a->out_file);
	}
	case MEM_HINT_OP_UNFILE: {
		struct mem_hint_unfile *a = attr;

		if (a->file >= FAKE_FILES || fake.files[a->file] < 0)
			return -ENOENT;
		fake.files[a->file] = -1;
		return 0;
	}
	case MEM_HINT_OP_BIND: {
		struct mem_hint_bind *a = attr;

		if (a->__reserved || a->offset % MEM_HINT_FRAME_SIZE ||
		    mhint_range_check(a->addr, a->len, LIMIT))
			return -EINVAL;
		fake.nr_binds++;
		return fake_file(a->fd, &a->out_file);
	}
	case MEM_HINT_OP_UNBIND: {
		struct mem_hint_unbind *a = attr;

		if (a->__reserved)
			return -EINVAL;
		return mhint_range_check(a->addr, a->len, LIMIT);
	}
	case MEM_HINT_OP_POOL:
		return fake_pool(attr);
	case MEM_HINT_OP_UNPOOL: {
		struct mem_hint_unpool *a = attr;

		if (a->pool >= FAKE_POOLS || !fake.pool_used[a->pool])
			return -ENOENT;
		fake.pool_used[a->pool] = false;
		return 0;
	}
	case MEM_HINT_OP_CLASS: {
		struct mem_hint_set_class *a = attr;

		if (mhint_range_check(a->addr, a->len, LIMIT))
			return -EINVAL;
		return a->class > MEM_HINT_CLASS_HOT ? -EOPNOTSUPP : 0;
	}
	case MEM_HINT_OP_TRANSLATE: {
		struct mem_hint_translate *a = attr;
		u64 *frames = (u64 *)(uintptr_t)a->frames_uptr;

		if (a->__reserved || !a->nr || a->nr > MEM_HINT_TRANSLATE_MAX ||
		    a->addr % MEM_HINT_FRAME_SIZE)
			return -EINVAL;
		for (i = 0; i < a->nr; i++)
			frames[i] = (a->addr >> MEM_HINT_FRAME_SHIFT) + i;
		return 0;
	}
	case MEM_HINT_OP_SEGMENTS:
		return 0;
	case MEM_HINT_OP_EVENTS:
		return fake_events(attr);
	case MEM_HINT_OP_WAIT: {
		struct mem_hint_wait *a = attr;

		for (i = 0; i < (u64)fake.nr_events; i++) {
			if (fake.events[i].seq > a->seq) {
				a->out_event = fake.events[i];
				return 0;
			}
		}
		return -ETIMEDOUT;
	}
	case MEM_HINT_OP_READY:
		return 0;
	}
	abort();
}

/* As the kernel: what failed has not been told to the caller. */
static long fake_call(unsigned int op, void *attr, size_t size)
{
	unsigned char copy[64] = { 0 };
	int err;

	if (!op || op > fake.max_op)
		return -EOPNOTSUPP;
	if (size != sizes[op])
		return -EINVAL;
	memcpy(copy, attr, size);
	fake.op = op;
	memset(&fake.last, 0, sizeof(fake.last));
	memcpy(fake.last.bytes, copy, size);
	if (fake.fail) {
		err = -fake.fail;
		fake.fail = 0;
		return err;
	}
	err = fake_do(op, copy);
	if (!err)
		memcpy(attr, copy, size);
	return err;
}

/* ---- sys.h ---------------------------------------------------------------- */

int migdb_sys_read_nr(char *buf, size_t size)
{
	size_t len;

	if (!fake.nr_text)
		return -(fake.nr_errno ? fake.nr_errno : ENOENT);
	len = strlen(fake.nr_text);
	if (len > size)
		len = size;
	memcpy(buf, fake.nr_text, len);
	return len;
}

int migdb_sys_open_device(void)
{
	if (fake.device_errno)
		return -fake.device_errno;
	fake.nr_opens++;
	return FAKE_FD;
}

void migdb_sys_close(int fd)
{
	if (fd != FAKE_FD)
		abort();
	fake.nr_closes++;
}

/* No other number may ever be called: it could be exit(), or worse. */
long migdb_sys_call(long nr, unsigned int op, void *attr, size_t size,
		    unsigned int flags)
{
	if (nr != FAKE_NR)
		abort();
	fake.nr_calls++;
	if (fake.call_errno)
		return -fake.call_errno;
	if (!flags)
		return fake_call(op, attr, size);
	if (op || attr || size)
		return -EINVAL;
	if (flags == MEM_HINT_GET_ABI)
		return fake.abi;
	if (flags == MEM_HINT_GET_ERRATA)
		return fake.errata;
	return -EINVAL;
}

long migdb_sys_ioctl(int fd, unsigned long cmd, void *attr)
{
	unsigned int op = _IOC_NR(cmd) - MEM_HINT_IOC_BASE;
	long ret;

	if (fd != FAKE_FD)
		abort();
	fake.nr_ioctls++;
	if (fake.stranger || _IOC_TYPE(cmd) != MEM_HINT_IOC_TYPE ||
	    _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE))
		return -ENOTTY;
	ret = fake_call(op, attr, _IOC_SIZE(cmd));
	return ret == -EOPNOTSUPP && op > fake.max_op ? -ENOTTY : ret;
}

long migdb_sys_read(int fd, void *buf, size_t size)
{
	ssize_t n = read(fd, buf, size);

	return n < 0 ? -errno : n;
}
