// SPDX-License-Identifier: GPL-2.0
/* libmigdb, guest half, without a kernel: each case by both ways where both are. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <migdb/hints.h>

#include "fake.h"

/* as enum mhint_desc_kind of the kernel */
enum { NOTHING, EMPTY, BLOCK };

static int nr_case, nr_failed, bad;

#define CHECK(cond) do {						\
	if (!(cond)) {							\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);	\
		bad++;							\
	}								\
} while (0)

#define EQ(a, b) do {							\
	long long a_ = (long long)(a), b_ = (long long)(b);		\
	if (a_ != b_) {							\
		printf("# %s:%d: %s is %lld, not %lld\n", __FILE__,	\
		       __LINE__, #a, a_, b_);				\
		bad++;							\
	}								\
} while (0)

static void result(const char *name, const char *way)
{
	nr_case++;
	nr_failed += !!bad;
	printf("%s %d %s%s\n", bad ? "not ok" : "ok", nr_case, name, way);
	bad = 0;
}

static char area[1 << 20] __attribute__((aligned(4096)));

/* ---- open ----------------------------------------------------------------- */

static void open_ways(void)
{
	struct migdb_hints *h;

	fake_reset();
	fake.device_errno = 0;
	EQ(migdb_hints_open(&h, 0), 0);
	EQ(migdb_hints_way(h), MIGDB_HINTS_BY_SYSCALL);
	EQ(fake.nr_opens, 0);
	migdb_hints_close(h);
	EQ(migdb_hints_open(&h, MIGDB_HINTS_ONLY_DEVICE), 0);
	EQ(migdb_hints_way(h), MIGDB_HINTS_BY_DEVICE);
	migdb_hints_close(h);
	EQ(fake.nr_opens, 1);
	EQ(fake.nr_closes, 1);
	migdb_hints_close(NULL);

	/* each that cannot be used leads to the other */
	fake.call_errno = ENOSYS;
	EQ(migdb_hints_open(&h, 0), 0);
	EQ(migdb_hints_way(h), MIGDB_HINTS_BY_DEVICE);
	migdb_hints_close(h);
	EQ(migdb_hints_open(&h, MIGDB_HINTS_ONLY_SYSCALL), -ENOSYS);
	CHECK(!h);
	fake.call_errno = EPERM;
	EQ(migdb_hints_open(&h, 0), 0);
	EQ(migdb_hints_way(h), MIGDB_HINTS_BY_DEVICE);
	migdb_hints_close(h);
	EQ(migdb_hints_open(&h, ~0U), -EINVAL);
	EQ(migdb_hints_open(&h, MIGDB_HINTS_ONLY_SYSCALL | MIGDB_HINTS_ONLY_DEVICE),
	   -EINVAL);
	EQ(fake.nr_opens, fake.nr_closes);
	result("open: the system call, else the device", "");
}

static void open_refused(void)
{
	static const struct {
		int nr_errno, call_errno, device_errno, want;
	} cases[] = {
		{ ENOENT, 0, ENOENT, ENOSYS },
		{ ENOENT, 0, ENXIO, ENOSYS },
		{ ENOENT, 0, ENODEV, ENOSYS },
		{ ENOENT, 0, EACCES, EACCES },
		{ ENOENT, 0, EMFILE, EMFILE },
		{ EACCES, 0, ENOENT, EACCES },
		{ EACCES, 0, EPERM, EPERM },
		{ 0, ENOSYS, ENOENT, ENOSYS },
		{ 0, EPERM, ENOENT, EPERM },
		{ 0, EPERM, EACCES, EACCES },
	};
	struct migdb_hints *h;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_reset();
		if (cases[i].nr_errno)
			fake.nr_text = NULL;
		fake.nr_errno = cases[i].nr_errno;
		fake.call_errno = cases[i].call_errno;
		fake.device_errno = cases[i].device_errno;
		h = (void *)area;
		EQ(migdb_hints_open(&h, 0), -cases[i].want);
		CHECK(!h);
	}
	result("open: why not", "");
}

/* The fake kernel aborts when another number than its own is called. */
static void open_numbers(void)
{
	static const char *const texts[] = {
		"", "\n", "0\n", "-1\n", "0x3db\n", "987 \n", " 987\n", "987\n1\n",
		"60;\n", "99999999999999999999\n", "9870000\n", "+987\n", "9.87\n",
		"987\n\n",
	};
	struct migdb_hints *h;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fake_reset();
		fake.nr_text = texts[i];
		EQ(migdb_hints_open(&h, 0), -EPROTO);
		EQ(fake.nr_calls, 0);
		fake.device_errno = 0;
		EQ(migdb_hints_open(&h, 0), 0);
		EQ(fake.nr_calls, 0);
		migdb_hints_close(h);
	}
	fake_reset();
	fake.nr_text = "987";
	EQ(migdb_hints_open(&h, 0), 0);
	migdb_hints_close(h);
	result("open: only a number is a number", "");
}

static void open_stranger(void)
{
	struct migdb_hints *h;

	fake_reset();
	fake.nr_text = NULL;
	fake.device_errno = 0;
	fake.stranger = true;
	EQ(migdb_hints_open(&h, 0), -EPROTO);
	fake.stranger = false;
	fake.abi = 0;
	EQ(migdb_hints_open(&h, 0), -EPROTO);
	fake.abi = 1;
	fake.fail = ENOMEM;
	EQ(migdb_hints_open(&h, 0), -ENOMEM);
	EQ(fake.nr_opens, 3);
	EQ(fake.nr_closes, 3);
	fake_reset();
	fake.abi = 0;
	EQ(migdb_hints_open(&h, 0), -EPROTO);
	result("open: another device, another call", "");
}

/* ---- calls, by either way ------------------------------------------------- */

static struct migdb_hints *open_way(int way)
{
	struct migdb_hints *h;

	fake_reset();
	if (way == MIGDB_HINTS_BY_DEVICE) {
		fake.nr_text = NULL;
		fake.device_errno = 0;
	}
	EQ(migdb_hints_open(&h, 0), 0);
	EQ(migdb_hints_way(h), way);
	return h;
}

static void query(struct migdb_hints *h)
{
	struct migdb_hints_info info;
	uint32_t errata = 7, file;

	fake.errata = 0x5;
	fake.abi = 3;
	EQ(migdb_hints_abi(h), 3);
	EQ(migdb_hints_errata(h, &errata), 0);
	EQ(errata, 5);
	EQ(migdb_hints_file(h, 0, &file), 0);
	memset(&info, 0xff, sizeof(info));
	EQ(migdb_hints_query(h, &info), 0);
	EQ(info.abi, 3);
	EQ(info.errata, 5);
	EQ(info.max_call, MIGDB_HINTS_CALL_READY);
	EQ(info.state, MIGDB_HINTS_FROZEN);
	EQ(info.max_files, FAKE_FILES);
	EQ(info.max_binds, 1000);
	EQ(info.max_pools, FAKE_POOLS);
	EQ(info.nr_files, 1);
	EQ(info.nr_binds, 0);
	EQ(info.nr_pools, 0);
	EQ(info.event_seq, 41);
	EQ(info.reserved[0] | info.reserved[5], 0);
	fake.fail = ENOMEM;
	info.abi = 9;
	EQ(migdb_hints_query(h, &info), -ENOMEM);
	EQ(info.abi, 9);
}

static void files(struct migdb_hints *h)
{
	int fd = open("/dev/null", O_RDONLY), out = open("/dev/null", O_WRONLY), other;
	uint32_t a = 99, b = 99;

	EQ(migdb_hints_file(h, fd, &a), 0);
	EQ(a, 0);
	EQ(migdb_hints_file(h, fd, &b), 0);
	EQ(b, 0);
	EQ(fake.last.file.fd, fd);
	EQ(migdb_hints_file(h, -1, &b), -EBADF);
	EQ(migdb_hints_file(h, out, &b), -EBADF);
	EQ(b, 0);
	EQ(migdb_hints_unfile(h, a), 0);
	EQ(migdb_hints_unfile(h, a), -ENOENT);
	EQ(migdb_hints_unfile(h, ~0U), -ENOENT);
	/* the one that is meant */
	EQ(migdb_hints_file(h, fd, &a), 0);
	other = dup(fd);
	EQ(migdb_hints_file(h, other, &b), 0);
	CHECK(a != b);
	EQ(migdb_hints_unfile(h, b), 0);
	EQ(migdb_hints_unfile(h, b), -ENOENT);
	EQ(migdb_hints_unfile(h, a), 0);
	close(other);
	close(fd);
	close(out);
}

static void binds(struct migdb_hints *h)
{
	uint32_t file = 99;
	int fd = open("/dev/null", O_RDONLY);

	EQ(migdb_hints_bind(h, area, 8192, fd, 1ULL << 40, &file), 0);
	EQ(fake.op, MEM_HINT_OP_BIND);
	EQ(fake.last.bind.fd, fd);
	EQ(fake.last.bind.addr, (uintptr_t)area);
	EQ(fake.last.bind.len, 8192);
	EQ(fake.last.bind.offset, 1LL << 40);
	EQ(file, 0);
	EQ(migdb_hints_bind(h, area, 4096, fd, 0, NULL), 0);
	file = 99;
	EQ(migdb_hints_bind(h, area + 1, 4096, fd, 0, &file), -EINVAL);
	EQ(migdb_hints_bind(h, area, 4095, fd, 0, &file), -EINVAL);
	EQ(migdb_hints_bind(h, area, 0, fd, 0, &file), -EINVAL);
	EQ(migdb_hints_bind(h, area, 4096, fd, 1, &file), -EINVAL);
	EQ(migdb_hints_bind(h, area, ~(size_t)4095, fd, 0, &file), -EINVAL);
	EQ(file, 99);
	EQ(migdb_hints_unbind(h, area, 4096), 0);
	EQ(fake.last.unbind.addr, (uintptr_t)area);
	EQ(fake.last.unbind.len, 4096);
	EQ(migdb_hints_unbind(h, area, 1), -EINVAL);
	EQ(migdb_hints_class(h, area, 4096, MIGDB_HINTS_DISCARDABLE), 0);
	EQ(fake.last.class.class, MEM_HINT_CLASS_DISCARDABLE);
	EQ(fake.last.class.addr, (uintptr_t)area);
	EQ(fake.last.class.len, 4096);
	EQ(migdb_hints_class(h, area, 4096, (enum migdb_hints_kind)3), -EOPNOTSUPP);
	close(fd);
}

static void pools(struct migdb_hints *h)
{
	static const size_t sizes[] = { 0, 1, 2048, 4097, 12288, 1 << 22, (size_t)1 << 63, ~(size_t)0 };
	static uint64_t desc[64];
	uint32_t pool = 99, other;
	size_t i;

	EQ(migdb_hints_pool(h, area, 16384, 64, desc, &pool), 0);
	EQ(fake.last.pool.frame_shift, 14);
	EQ(fake.last.pool.nr_frames, 64);
	EQ(fake.last.pool.addr, (uintptr_t)area);
	EQ(fake.last.pool.desc_uptr, (uintptr_t)desc);
	CHECK(pool < FAKE_POOLS);
	EQ(migdb_hints_pool(h, area + 4096, 4096, 1, desc, &other), -EEXIST);
	EQ(migdb_hints_unpool(h, pool), 0);
	EQ(migdb_hints_unpool(h, pool), -ENOENT);
	other = 99;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		EQ(migdb_hints_pool(h, area, sizes[i], 1, desc, &other), -EINVAL);
	EQ(migdb_hints_pool(h, area, 4096, 0, desc, &other), -EINVAL);
	EQ(migdb_hints_pool(h, area, 4096, ~(size_t)0, desc, &other), -EINVAL);
	EQ(migdb_hints_pool(h, area + 1, 4096, 1, desc, &other), -EINVAL);
	EQ(migdb_hints_pool(h, area, 4096, 1, (void *)((char *)desc + 4), &other), -EINVAL);
	EQ(other, 99);
	EQ(migdb_hints_pool(h, area, 4096, 1, desc, &pool), 0);
	EQ(fake.last.pool.frame_shift, 12);
	EQ(migdb_hints_unpool(h, pool), 0);
	EQ(migdb_hints_pool(h, (void *)0x200000, 1 << 21, 1, desc, &pool), 0);
	EQ(fake.last.pool.frame_shift, 21);
}

/* What is stored is what the kernel's own decoder reads. */
static void descriptors(struct migdb_hints *h)
{
	uint64_t desc[4] = { 0 }, block = 0;
	uint32_t pool, file = 0;

	EQ(migdb_hints_pool(h, area, 16384, 4, desc, &pool), 0);
	EQ(fake_frame(pool, 0, &file, &block), NOTHING);
	migdb_desc_set(&desc[1], 3, 0x123456789000ULL);
	EQ(fake_frame(pool, 1, &file, &block), BLOCK);
	EQ(file, 3);
	EQ(block, 0x123456789ULL);
	EQ(fake_frame(pool, 0, &file, &block), NOTHING);
	EQ(fake_frame(pool, 2, &file, &block), NOTHING);
	migdb_desc_set(&desc[1], 0xffff, 0);
	EQ(fake_frame(pool, 1, &file, &block), BLOCK);
	EQ(file, 0xffff);
	EQ(block, 0);
	migdb_desc_set(&desc[1], 0, ((1ULL << 44) - 4) << 12);
	EQ(fake_frame(pool, 1, &file, &block), BLOCK);
	EQ(file, 0);
	EQ(block, (1ULL << 44) - 4);
	migdb_desc_empty(&desc[1]);
	EQ(fake_frame(pool, 1, &file, &block), EMPTY);
	migdb_desc_set(&desc[1], 1, 4096);
	migdb_desc_forget(&desc[1]);
	EQ(fake_frame(pool, 1, &file, &block), NOTHING);
	/* what cannot be said is not said of another block or file */
	migdb_desc_set(&desc[2], 1, 512);
	EQ(fake_frame(pool, 2, &file, &block), EMPTY);
	migdb_desc_set(&desc[2], 0x10000, 0);
	EQ(fake_frame(pool, 2, &file, &block), EMPTY);
	migdb_desc_set(&desc[2], 1, 1ULL << 56);
	EQ(fake_frame(pool, 2, &file, &block), EMPTY);
	migdb_desc_set(&desc[2], 1, ~0xfffULL);
	EQ(fake_frame(pool, 2, &file, &block), EMPTY);
}

static void privileged(struct migdb_hints *h)
{
	struct migdb_hints_segment seg[2] = { { .nr_sectors = 8, .nr_stripes = 1 } };
	size_t nr = 2 * MEM_HINT_TRANSLATE_MAX + 5, i, wrong = 0;
	uint64_t *frames = malloc(nr * sizeof(*frames));
	int before = fake.nr_calls + fake.nr_ioctls;

	EQ(migdb_hints_translate(h, (void *)0x10000000, nr, frames), 0);
	EQ(fake.nr_calls + fake.nr_ioctls - before, 3);
	for (i = 0; i < nr; i++)
		wrong += frames[i] != 0x10000 + i;
	EQ(wrong, 0);
	EQ(migdb_hints_translate(h, area, 0, frames), -EINVAL);
	EQ(migdb_hints_translate(h, area + 1, 1, frames), -EINVAL);
	fake.fail = EPERM;
	EQ(migdb_hints_translate(h, area, 1, frames), -EPERM);
	free(frames);
	EQ(migdb_hints_segments(h, 253, 7, seg, 2), 0);
	EQ(fake.last.segments.major, 253);
	EQ(fake.last.segments.minor, 7);
	EQ(fake.last.segments.nr, 2);
	EQ(fake.last.segments.segments_uptr, (uintptr_t)seg);
	EQ(migdb_hints_segments(h, 253, 7, NULL, 0), 0);
	EQ(migdb_hints_segments(h, 253, 7, seg, MEM_HINT_MAX_SEGMENTS + 1), -E2BIG);
	/* 2^32 is not 0 */
	EQ(migdb_hints_segments(h, 253, 7, seg, (size_t)1 << 32), -E2BIG);
}

static void events(struct migdb_hints *h)
{
	struct migdb_hints_event e;
	struct pollfd p = { .events = POLLIN };
	int fd, fds[2];

	fake.nr_events = 2;
	fake.events[0] = (struct mem_hint_event) {
		.type = MEM_HINT_EVENT_START, .seq = 5, .generation = 2,
		.classes = 5, .time_ns = 12345, .wait_ms = 100, .nr_lost = 4,
	};
	fake.events[1] = (struct mem_hint_event) {
		.type = MEM_HINT_EVENT_COMPLETE, .seq = 6, .generation = 2,
		.outcome = MEM_HINT_OUTCOME_CANCELLED,
	};
	fd = migdb_hints_events(h, MIGDB_HINTS_EVENTS_READY | MIGDB_HINTS_EVENTS_NONBLOCK);
	CHECK(fd >= 0);
	p.fd = fd;
	EQ(poll(&p, 1, 0), 1);
	EQ(migdb_hints_read_event(fd, &e), 0);
	EQ(e.type, MIGDB_HINTS_EVENT_START);
	EQ(e.seq, 5);
	EQ(e.generation, 2);
	EQ(e.classes, 1 << MIGDB_HINTS_BACKED | 1 << MIGDB_HINTS_HOT);
	EQ(e.time_ns, 12345);
	EQ(e.wait_ms, 100);
	EQ(e.nr_lost, 4);
	EQ(migdb_hints_ready(h, fd, e.seq), 0);
	EQ(fake.last.ready.fd, fd);
	EQ(fake.last.ready.seq, 5);
	EQ(migdb_hints_read_event(fd, &e), 0);
	EQ(e.type, MIGDB_HINTS_EVENT_COMPLETE);
	EQ(e.outcome, MIGDB_HINTS_CANCELLED);
	EQ(migdb_hints_read_event(fd, &e), -EAGAIN);
	EQ(e.seq, 6);
	EQ(poll(&p, 1, 0), 0);
	close(fd);
	EQ(migdb_hints_read_event(fd, &e), -EBADF);
	EQ(migdb_hints_events(h, 4), -EINVAL);
	/* not of the kernel: half an event */
	EQ(pipe(fds), 0);
	EQ(write(fds[1], &e, 7), 7);
	EQ(migdb_hints_read_event(fds[0], &e), -EPROTO);
	close(fds[0]);
	close(fds[1]);

	memset(&e, 0xff, sizeof(e));
	EQ(migdb_hints_wait(h, 4, 0, &e), 0);
	EQ(e.type, MIGDB_HINTS_EVENT_START);
	EQ(e.outcome, 0);
	EQ(e.seq, 5);
	EQ(e.time_ns, 12345);
	EQ(e.wait_ms, 100);
	EQ(e.nr_lost, 4);
	EQ(migdb_hints_wait(h, 5, MIGDB_HINTS_FOREVER, &e), 0);
	EQ(e.seq, 6);
	EQ(fake.last.wait.timeout_ms, MEM_HINT_WAIT_FOREVER);
	EQ(fake.last.wait.seq, 5);
	EQ(migdb_hints_wait(h, 6, 10, &e), -ETIMEDOUT);
	EQ(fake.last.wait.timeout_ms, 10);
	EQ(e.seq, 6);
}

/* An older kernel: the same word by both ways. */
static void older(struct migdb_hints *h)
{
	struct migdb_hints_event e;

	fake.max_op = MEM_HINT_OP_TRANSLATE;
	EQ(migdb_hints_wait(h, 0, 0, &e), -EOPNOTSUPP);
	EQ(migdb_hints_events(h, 0), -EOPNOTSUPP);
	EQ(migdb_hints_unbind(h, area, 4096), 0);
}

/* Every errno that the kernel can give comes out as it is. */
static void errnos(struct migdb_hints *h)
{
	uint32_t out = 99;
	int e, wrong = 0;

	for (e = 1; e < 134; e++) {
		if (e == ENOTTY)
			continue;
		fake.fail = e;
		wrong += migdb_hints_pool(h, area, 4096, 1, (void *)area, &out) != -e;
		fake.fail = e;
		wrong += migdb_hints_bind(h, area, 4096, 0, 0, &out) != -e;
		fake.fail = e;
		wrong += migdb_hints_class(h, area, 4096, MIGDB_HINTS_HOT) != -e;
	}
	EQ(wrong, 0);
	EQ(out, 99);
	EQ(fake.nr_binds, 0);
}

/* ---- errors --------------------------------------------------------------- */

static void texts(void)
{
	static const int known[] = {
		EINVAL, EFAULT, E2BIG, EOPNOTSUPP, ENOSYS, ENOMEM, ENOSPC, EINTR,
		ESHUTDOWN, EPERM, EACCES,
	};
	static const struct {
		enum migdb_hints_call call;
		int error;
	} own[] = {
		{ MIGDB_HINTS_CALL_OPEN, ENOSYS }, { MIGDB_HINTS_CALL_FILE, EBADF },
		{ MIGDB_HINTS_CALL_FILE, EOPNOTSUPP }, { MIGDB_HINTS_CALL_FILE, ENOSPC },
		{ MIGDB_HINTS_CALL_UNFILE, ENOENT }, { MIGDB_HINTS_CALL_BIND, EACCES },
		{ MIGDB_HINTS_CALL_BIND, EBADF }, { MIGDB_HINTS_CALL_BIND, ENOMEM },
		{ MIGDB_HINTS_CALL_POOL, EEXIST }, { MIGDB_HINTS_CALL_UNPOOL, ENOENT },
		{ MIGDB_HINTS_CALL_CLASS, EOPNOTSUPP }, { MIGDB_HINTS_CALL_TRANSLATE, EPERM },
		{ MIGDB_HINTS_CALL_SEGMENTS, ENODEV }, { MIGDB_HINTS_CALL_SEGMENTS, ENOENT },
		{ MIGDB_HINTS_CALL_SEGMENTS, EAGAIN }, { MIGDB_HINTS_CALL_SEGMENTS, ENOSPC },
		{ MIGDB_HINTS_CALL_FILE, EAGAIN }, { MIGDB_HINTS_CALL_EVENTS, EMFILE },
		{ MIGDB_HINTS_CALL_EVENTS, EBUSY }, { MIGDB_HINTS_CALL_WAIT, ETIMEDOUT },
		{ MIGDB_HINTS_CALL_READY, ESTALE },
	};
	static const int odd[] = { 0, 4095, 4096, 99999, -4096, -2147483647 - 1, 2147483647 };
	const char *none = migdb_hints_strerror(MIGDB_HINTS_CALL_QUERY, 4095), *t;
	int call;
	size_t i;

	CHECK(!strcmp(none, "unexpected error"));
	for (call = -1; call <= MIGDB_HINTS_CALL_READY + 1; call++) {
		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			t = migdb_hints_strerror((enum migdb_hints_call)call, known[i]);
			CHECK(t && *t && strcmp(t, none));
			CHECK(t == migdb_hints_strerror((enum migdb_hints_call)call, -known[i]));
		}
		for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
			t = migdb_hints_strerror((enum migdb_hints_call)call, odd[i]);
			CHECK(t && *t);
			CHECK(odd[i] ? !strcmp(t, none) : !strcmp(t, "success"));
		}
	}
	/* what has a meaning of its own does not say the common one */
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		CHECK(strcmp(migdb_hints_strerror(own[i].call, own[i].error),
			     migdb_hints_strerror(MIGDB_HINTS_CALL_QUERY, own[i].error)));
	result("errors: every text", "");
}

/* ---- threads -------------------------------------------------------------- */

static uint64_t shared_desc[8];

static void *writer(void *arg)
{
	uint32_t me = (uintptr_t)arg;
	int i;

	for (i = 0; i < 20000; i++) {
		if (i % 3)
			migdb_desc_set(&shared_desc[i % 8], me, (uint64_t)me << 12);
		else
			migdb_desc_empty(&shared_desc[i % 8]);
	}
	return NULL;
}

/* A snapshot beside writers sees whole descriptors only. */
static void threads(void)
{
	struct migdb_hints *h = open_way(MIGDB_HINTS_BY_SYSCALL);
	pthread_t t[2];
	uint32_t pool, file;
	uint64_t block;
	int i, kind, wrong = 0;

	EQ(migdb_hints_pool(h, area, 4096, 8, shared_desc, &pool), 0);
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, writer, (void *)(uintptr_t)(i ? 0x5555 : 0xaaaa)));
	for (i = 0; i < 20000; i++) {
		kind = fake_frame(pool, i % 8, &file, &block);
		wrong += kind > BLOCK || (kind == BLOCK && (file != block || (file != 0x5555 && file != 0xaaaa)));
	}
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	EQ(wrong, 0);
	migdb_hints_close(h);
	result("threads: descriptors are whole", "");
}

int main(void)
{
	static const struct {
		const char *name;
		void (*fn)(struct migdb_hints *h);
	} cases[] = {
		{ "query", query }, { "files", files }, { "binds and classes", binds },
		{ "pools", pools }, { "descriptors", descriptors },
		{ "frames and segments", privileged }, { "events", events },
		{ "an older kernel", older }, { "errnos", errnos },
	};
	struct migdb_hints *h;
	size_t i;
	int way;

	setvbuf(stdout, NULL, _IOLBF, 0);
	open_ways();
	open_refused();
	open_numbers();
	open_stranger();
	for (way = MIGDB_HINTS_BY_SYSCALL; way <= MIGDB_HINTS_BY_DEVICE; way++) {
		for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			h = open_way(way);
			cases[i].fn(h);
			migdb_hints_close(h);
			EQ(fake.nr_opens, way == MIGDB_HINTS_BY_DEVICE);
			EQ(fake.nr_closes, fake.nr_opens);
			CHECK(way == MIGDB_HINTS_BY_DEVICE ? !fake.nr_calls : !fake.nr_ioctls);
			result(cases[i].name, way == MIGDB_HINTS_BY_DEVICE ? " by the device" : " by the call");
		}
	}
	texts();
	threads();
	printf("1..%d\n", nr_case);
	return nr_failed != 0;
}
