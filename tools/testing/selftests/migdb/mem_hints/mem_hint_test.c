// SPDX-License-Identifier: GPL-2.0
/*
 * mem_hint(2) and /dev/mem_hints: every refusal, and what a migration's start
 * makes of what was said, read as a host reads it.
 * More of memory is in mem_hint_memory_test.c, of callers and files in
 * mem_hint_bad_test.c.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/userfaultfd.h>

#include "mem_hint_test.h"

#define READY_MS	1000

/* ---- the way in ----------------------------------------------------------- */

T(query)
{
	struct mem_hint_query q = query();

	EXPECT_EQ(q.out_abi, MEM_HINT_ABI_VERSION);
	EXPECT_EQ(q.out_max_op, MEM_HINT_OP_READY);
	EXPECT_EQ(q.out_state, MEM_HINT_STATE_IDLE);
	EXPECT_EQ(q.out_nr_files, 0);
	EXPECT_EQ(q.out_nr_binds, 0);
	EXPECT_EQ(q.out_nr_pools, 0);
	EXPECT_GE(q.out_max_files, 1024);
	EXPECT_LE(q.out_max_files, 1U << MEM_HINT_DESC_FILE_BITS);
	if (!by_syscall)
		return;
	EXPECT_EQ(syscall(nr_syscall, 0, NULL, 0, MEM_HINT_GET_ABI), MEM_HINT_ABI_VERSION);
	EXPECT_EQ(syscall(nr_syscall, 0, NULL, 0, MEM_HINT_GET_ERRATA), 0);
	EXPECT_EQ(syscall(nr_syscall, 0, NULL, 0, 4), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(syscall(nr_syscall, 1, &q, sizeof(q), MEM_HINT_GET_ABI), -1);
	EXPECT_EQ(errno, EINVAL);
}

static const size_t sizes[] = {
	0, sizeof(struct mem_hint_query), sizeof(struct mem_hint_file),
	sizeof(struct mem_hint_unfile), sizeof(struct mem_hint_bind),
	sizeof(struct mem_hint_unbind), sizeof(struct mem_hint_pool),
	sizeof(struct mem_hint_unpool), sizeof(struct mem_hint_set_class),
	sizeof(struct mem_hint_translate), sizeof(struct mem_hint_segments),
	sizeof(struct mem_hint_events), sizeof(struct mem_hint_wait),
	sizeof(struct mem_hint_ready),
};

T(unknown)
{
	int want = by_syscall ? -EOPNOTSUPP : -ENOTTY;
	char buf[64] = {};

	EXPECT_EQ(hint_call(0, buf, sizeof(buf)), want);
	EXPECT_EQ(hint_call(MEM_HINT_OP_READY + 1, buf, sizeof(buf)), want);
	EXPECT_EQ(hint_call(100, buf, sizeof(buf)), want);
	EXPECT_EQ(ioctl(hint_dev, _IO(0xBD, 0x41), buf), -1);
	EXPECT_EQ(errno, ENOTTY);
}

T(sizes)
{
	static char buf[5000];
	unsigned int op;
	size_t size;

	for (op = 1; op <= MEM_HINT_OP_READY; op++) {
		for (size = 0; size < sizes[op]; size++) {
			memset(buf, 0, sizeof(buf));
			ASSERT_EQ(hint_call(op, buf, size), -EINVAL);
		}
		memset(buf, 0, sizeof(buf));
		buf[sizes[op]] = 1;
		EXPECT_EQ(hint_call(op, buf, sizes[op] + 1), -E2BIG);
		buf[sizes[op]] = 0;
		EXPECT_EQ(hint_call(op, buf, 4097), -E2BIG);
	}
	/* A longer struct with nothing in its tail is as good. */
	memset(buf, 0, sizeof(buf));
	EXPECT_EQ(hint_call(MEM_HINT_OP_QUERY, buf, 4096), 0);
}

T(flags)
{
	char buf[64];
	unsigned int op, bit;

	for (op = 1; op <= MEM_HINT_OP_READY; op++)
		for (bit = 0; bit < 32; bit++) {
			uint32_t flags = 1U << bit;

			if (op == MEM_HINT_OP_EVENTS && bit < 2)
				continue;
			memset(buf, 0, sizeof(buf));
			memcpy(buf, &flags, sizeof(flags));
			ASSERT_EQ(hint_call(op, buf, sizes[op]), -EINVAL) {
				TH_LOG("op %u, flag %x", op, flags);
			}
		}
}

T(pointers)
{
	void *ro = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int op;

	for (op = 1; op <= MEM_HINT_OP_READY; op++) {
		EXPECT_EQ(hint_call(op, NULL, sizes[op]), -EFAULT);
		EXPECT_EQ(hint_call(op, (void *)-4096UL, sizes[op]), -EFAULT);
	}
	EXPECT_EQ(hint_call(MEM_HINT_OP_QUERY, ro, sizes[1]), -EFAULT);
	/* Who cannot be answered has changed nothing. */
	EXPECT_EQ(hint_call(MEM_HINT_OP_EVENTS, ro, sizes[MEM_HINT_OP_EVENTS]), -EFAULT);
	EXPECT_LT(open("/dev/null", O_RDONLY), self->data + 2);
}

T(switched_off)
{
	struct mem_hint_query q;

	ASSERT_EQ(do_bind(self->data, anon(1), PAGE, 0), 0);
	ASSERT_EQ(hints_write("enabled", "0"), 0);
	EXPECT_EQ(do_bind(self->data, anon(1), PAGE, 0), -ESHUTDOWN);
	q = query();
	EXPECT_EQ(q.out_state, MEM_HINT_STATE_OFF);
	EXPECT_EQ(q.out_nr_binds, 1);
	ASSERT_EQ(hints_write("enabled", "1"), 0);
	EXPECT_EQ(do_bind(self->data, anon(1), PAGE, 0), 0);
}

/* ---- files and memory that cannot be named -------------------------------- */

T(files)
{
	int p[2], s = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	unsigned int a = 77, b = 77;

	ASSERT_EQ(pipe(p), 0);
	EXPECT_EQ(do_file(-1, NULL), -EBADF);
	EXPECT_EQ(do_file(9999, NULL), -EBADF);
	EXPECT_EQ(do_file(p[0], NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(s, NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/mnt", O_RDONLY | O_DIRECTORY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/proc/self/maps", O_RDONLY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/sys/kernel/mm/hints/abi", O_RDONLY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/dev/null", O_RDONLY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/dev/vda", O_RDONLY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open("/init", O_RDONLY), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(memfd_create("x", 0), NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(hint_dev, NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_file(open(DATA, O_PATH), NULL), -EBADF);
	EXPECT_EQ(do_file(open(DATA, O_WRONLY), NULL), -EBADF);
	EXPECT_EQ(query().out_nr_files, 0);

	/* The same file is the same number, by whatever descriptor. */
	EXPECT_EQ(do_file(self->data, &a), 0);
	fd = open(DATA, O_RDWR);
	EXPECT_EQ(do_file(fd, &b), 0);
	EXPECT_EQ(a, b);
	EXPECT_EQ(query().out_nr_files, 1);
	EXPECT_EQ(call(UNFILE, (&(struct mem_hint_unfile){ .file = a })), 0);
	EXPECT_EQ(call(UNFILE, (&(struct mem_hint_unfile){ .file = a })), -ENOENT);
	EXPECT_EQ(query().out_nr_files, 0);
}

T(ranges)
{
	char *p = anon(8);

	EXPECT_EQ(do_bind(self->data, p + 1, PAGE, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, PAGE - 1, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, 0, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, PAGE, 512), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, -PAGE, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, (void *)-PAGE, 2 * PAGE, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, (void *)-PAGE, PAGE, 0), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, PAGE, -PAGE), -EINVAL);
	EXPECT_EQ(do_bind(self->data, p, PAGE, 1ULL << 63), -EINVAL);
	EXPECT_EQ(do_unbind(p + 1, PAGE), -EINVAL);
	EXPECT_EQ(do_unbind(p, 0), -EINVAL);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_HOT, p + 1, PAGE), -EINVAL);
	EXPECT_EQ(do_class(3, p, PAGE), -EOPNOTSUPP);
	EXPECT_EQ(do_class(~0U, p, PAGE), -EOPNOTSUPP);
	ASSERT_EQ(munmap(p + 4 * PAGE, PAGE), 0);
	EXPECT_EQ(do_bind(self->data, p, 8 * PAGE, 0), -ENOMEM);
	EXPECT_EQ(do_bind(self->data, p + 4 * PAGE, PAGE, 0), -ENOMEM);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), -ENOMEM);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), 0);
	/* What is not bound, or not mapped, may be unbound. */
	EXPECT_EQ(do_unbind(p, 8 * PAGE), 0);
	EXPECT_EQ(query().out_nr_binds, 0);
	/* A bind that failed has not named its file either. */
	EXPECT_EQ(query().out_nr_files, 1);
}

T(memory)
{
	int rw = memfd_create("x", 0), ro, text = open("/bin/busybox", O_RDONLY);
	char path[64];
	char *p;

	ASSERT_EQ(ftruncate(rw, 4 * PAGE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rw);
	ro = open(path, O_RDONLY);
	ASSERT_GE(ro, 0);
	p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, ro, 0);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), -EACCES);
	p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, ro, 0);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), -EOPNOTSUPP);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), 0);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, PAGE), -EOPNOTSUPP);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, text, 0);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), -EOPNOTSUPP);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, PAGE), -EOPNOTSUPP);
	p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, self->data, 0);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), -EOPNOTSUPP);
	p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_PRIVATE, self->data, 0);
	EXPECT_EQ(do_bind(self->data, p, 4 * PAGE, 0), -EOPNOTSUPP);
	/* This program's own code. */
	p = (char *)((uintptr_t)file_block & -PAGE);
	EXPECT_EQ(do_bind(self->data, p, PAGE, 0), -EOPNOTSUPP);
}

T(pools)
{
	uint64_t *d = anon(1);
	char *p = anon(64);
	int pool, i;

	EXPECT_EQ(do_pool(p + 1, 12, 4, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 11, 4, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 22, 4, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 12, 0, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 12, 1ULL << 52, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 12, 1ULL << 61, d), -EINVAL);
	EXPECT_EQ(do_pool(p, 12, 4, (char *)d + 4), -EINVAL);
	EXPECT_EQ(do_pool(p, 12, 4, (void *)-8UL), -EINVAL);
	EXPECT_EQ(do_pool((void *)-PAGE, 12, 1, d), -EINVAL);
	pool = do_pool(p, 14, 8, d);
	ASSERT_GT(pool, 0);
	EXPECT_EQ(do_pool(p + 31 * PAGE, 12, 1, d), -EEXIST);
	EXPECT_EQ(do_unpool(pool + 1), -ENOENT);
	EXPECT_EQ(do_unpool(0), -ENOENT);
	EXPECT_EQ(do_unpool(pool), 0);
	EXPECT_EQ(do_unpool(pool), -ENOENT);
	for (i = 0; i < (int)query().out_max_pools; i++)
		ASSERT_GT(do_pool(p + i * PAGE, 12, 1, d), 0);
	EXPECT_EQ(do_pool(anon(1), 12, 1, d), -ENOSPC);
	EXPECT_EQ(query().out_nr_pools, query().out_max_pools);
}

/* ---- what becomes of it --------------------------------------------------- */

T(bind_is_named)
{
	char *p = data_pages(self->data, 64, 0), *disk = locked_pages(1);
	int vda = open_direct("/dev/vda"), fd, i;

	ASSERT_EQ(do_bind(self->data, p, 64 * PAGE, 0), 0);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(query().out_state, MEM_HINT_STATE_FROZEN);
	for (i = 0; i < 64; i++) {
		uint64_t e = table_entry(frame_of(p + i * PAGE));

		ASSERT_TRUE(names(p + i * PAGE, self->data, i * PAGE));
		/* The host would read just what the page holds. */
		ASSERT_EQ(pread(vda, disk, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE), PAGE);
		ASSERT_EQ(memcmp(disk, p + i * PAGE, PAGE), 0);
	}
	EXPECT_EQ(snapshot("frames"), 64);
	EXPECT_EQ(snapshot("cut"), 0);
	EXPECT_TRUE(migration_complete(fd));
}

T(bind_shared_memory)
{
	int m = memfd_create("x", 0), fd;
	char *p;

	ASSERT_EQ(ftruncate(m, 16 * PAGE), 0);
	p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	ASSERT_EQ(pread(self->data, p, 16 * PAGE, 4 * PAGE), 16 * PAGE);
	ASSERT_EQ(do_bind(self->data, p, 16 * PAGE, 4 * PAGE), 0);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(names(p, self->data, 4 * PAGE));
	EXPECT_TRUE(names(p + 15 * PAGE, self->data, 19 * PAGE));
	EXPECT_TRUE(migration_complete(fd));
}

T(bind_replaced_and_taken_back)
{
	char *p = data_pages(self->data, 16, 0);
	int fd;

	ASSERT_EQ(do_bind(self->data, p, 16 * PAGE, 0), 0);
	ASSERT_EQ(do_bind(self->data, p + 4 * PAGE, 2 * PAGE, 100 * PAGE), 0);
	ASSERT_EQ(do_unbind(p + 8 * PAGE, 4 * PAGE), 0);
	EXPECT_EQ(query().out_nr_binds, 4);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(names(p + 3 * PAGE, self->data, 3 * PAGE));
	EXPECT_TRUE(names(p + 4 * PAGE, self->data, 100 * PAGE));
	EXPECT_TRUE(names(p + 5 * PAGE, self->data, 101 * PAGE));
	EXPECT_TRUE(names(p + 6 * PAGE, self->data, 6 * PAGE));
	EXPECT_TRUE(names(p + 12 * PAGE, self->data, 12 * PAGE));
	EXPECT_EQ(snapshot("frames"), 12);
	EXPECT_TRUE(migration_complete(fd));
}

T(pool_is_named)
{
	char *p = data_pages(self->data, 32, 0);
	uint64_t *d = locked_pages(1);
	unsigned int file;
	int fd, i;

	ASSERT_EQ(do_file(self->data, &file), 0);
	d[0] = desc(file, 8);
	d[1] = 0;				/* nothing is said */
	d[2] = MEM_HINT_DESC_VALID | MEM_HINT_DESC_EMPTY;
	d[3] = desc(file + 1, 0);		/* no such file */
	d[4] = desc(file, DATA_PAGES);		/* beyond its end */
	d[5] = desc(file, 0) | 1ULL << 60;	/* not of the form */
	d[6] = desc(file, DATA_PAGES - 2);	/* half of it beyond */
	d[7] = desc(file, 100);
	ASSERT_GT(do_pool(p, 14, 8, d), 0);
	/* What is empty loses what was known of it. */
	ASSERT_EQ(do_bind(self->data, p + 8 * PAGE, 4 * PAGE, 0), 0);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(names(p + i * PAGE, self->data, (8 + i) * PAGE));
		EXPECT_TRUE(names(p + (28 + i) * PAGE, self->data, (100 + i) * PAGE));
	}
	EXPECT_EQ(bare_entry(p + 8 * PAGE), 0);
	EXPECT_TRUE(names(p + 24 * PAGE, self->data, (DATA_PAGES - 2) * PAGE));
	EXPECT_EQ(snapshot("skipped_file"), 4);
	EXPECT_EQ(snapshot("skipped_desc"), 4);
	EXPECT_EQ(snapshot("skipped_hole"), 4 + 2);
	EXPECT_TRUE(migration_complete(fd));
}

/* A pool may be described before it is there, and moves with its addresses. */
T(pool_by_address)
{
	uint64_t *d = locked_pages(1);
	unsigned int file;
	char *p = anon(4);
	int fd;

	ASSERT_EQ(do_file(self->data, &file), 0);
	d[0] = desc(file, 8);
	ASSERT_EQ(munmap(p, 4 * PAGE), 0);
	ASSERT_GT(do_pool(p, 14, 1, d), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_absent"), 4);
	ASSERT_EQ(mmap(p, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE | MAP_LOCKED, -1, 0), p);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(names(p + 3 * PAGE, self->data, 11 * PAGE));
	EXPECT_TRUE(migration_complete(fd));
}

/* Pools of pages that are a file's: nobody else's hints are touched. */
T(pool_of_a_file)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, self->data, 0);
	uint64_t *d = locked_pages(1), before = bare_entry(p);
	unsigned int file;

	ASSERT_EQ(do_file(self->data, &file), 0);
	d[0] = desc(file, 500);
	ASSERT_GT(do_pool(p, 14, 1, d), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_memory"), 4);
	EXPECT_EQ(snapshot("frames"), 0);
	EXPECT_EQ(bare_entry(p), before);
}

T(classes)
{
	char *p = data_pages(self->data, 4, 0);
	uint64_t hot = (uint64_t)MEM_HINT_CLASS_HOT << MEM_HINT_CLASS_SHIFT, e;
	int fd;

	ASSERT_EQ(do_bind(self->data, p, 4 * PAGE, 0), 0);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_HOT, p + PAGE, PAGE), 0);
	fd = migration_start(0);			/* the host does not know of hot ones */
	ASSERT_GE(fd, 0);
	e = bare_entry(p + PAGE);
	EXPECT_TRUE(names(p + PAGE, self->data, PAGE));
	EXPECT_TRUE(migration_complete(fd));
	fd = migration_start(HOT);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(bare_entry(p + PAGE), e | hot);
	EXPECT_TRUE(names(p, self->data, 0));
	EXPECT_TRUE(migration_complete(fd));
	ASSERT_EQ(do_class(MEM_HINT_CLASS_BACKED, p, 4 * PAGE), 0);
	fd = migration_start(HOT);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(bare_entry(p + PAGE), e);
	EXPECT_TRUE(migration_complete(fd));
}

static bool hot_and_wait(void *arg)
{
	char *p = ((char **)arg)[0], c;
	int *fds = ((int **)arg)[1];	/* data, ready, go */

	for (c = 0; c < 4; c++)		/* only what is mapped is looked at */
		*(volatile char *)(p + c * PAGE);
	if (do_bind(fds[0], p, 4 * PAGE, 0) || do_class(MEM_HINT_CLASS_HOT, p, 4 * PAGE) ||
	    write(fds[1], "x", 1) != 1)
		return false;
	return read(fds[2], &c, 1) == 1;
}

/* What was hot for one host is not for the next, who said so being gone. */
T(hot_is_forgotten)
{
	uint64_t hot = (uint64_t)MEM_HINT_CLASS_HOT << MEM_HINT_CLASS_SHIFT;
	int m = memfd_create("x", 0), ready[2], go[2], fd, status;
	char *p, c;
	pid_t pid;

	ASSERT_EQ(ftruncate(m, 4 * PAGE), 0);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	ASSERT_EQ(pread(self->data, p, 4 * PAGE, 0), 4 * PAGE);
	ASSERT_EQ(pipe(ready) | pipe(go), 0);
	pid = fork();
	if (!pid) {
		int fds[] = { self->data, ready[1], go[0] };
		void *arg[] = { p, fds };

		_exit(!hot_and_wait(arg));
	}
	ASSERT_EQ(read(ready[0], &c, 1), 1);
	fd = migration_start(HOT);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(bare_entry(p) & hot);
	EXPECT_TRUE(migration_complete(fd));
	ASSERT_EQ(write(go[1], "x", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(names(p, self->data, 0));
	EXPECT_TRUE(migration_complete(fd));
}

/* ---- files that change ---------------------------------------------------- */

static int new_file(const char *path, unsigned int pages)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	char *buf = malloc(pages * PAGE);

	memset(buf, 0x5a, pages * PAGE);
	if (fd < 0 || pwrite(fd, buf, pages * PAGE, 0) != (ssize_t)(pages * PAGE) ||
	    fsync(fd))
		return -1;
	free(buf);
	return fd;
}

T(holes)
{
	int fd = open("/mnt/holes", O_RDWR | O_CREAT | O_TRUNC, 0644), c;
	char *p = locked_pages(8);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(ftruncate(fd, 8 * PAGE), 0);
	ASSERT_EQ(fallocate(fd, 0, 0, 4 * PAGE), 0);	/* unwritten */
	ASSERT_EQ(pwrite(fd, p, PAGE, 6 * PAGE), PAGE);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_EQ(do_bind(fd, p, 8 * PAGE, 0), 0);
	c = migration_start(0);
	ASSERT_GE(c, 0);
	EXPECT_EQ(snapshot("skipped_hole"), 7);
	EXPECT_EQ(snapshot("frames"), 1);
	EXPECT_TRUE(names(p + 6 * PAGE, fd, 6 * PAGE));
	EXPECT_TRUE(migration_complete(c));
	unlink("/mnt/holes");
}

T(dirty)
{
	int fd = new_file("/mnt/dirty", 4);
	char *p = locked_pages(4);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(do_bind(fd, p, 4 * PAGE, 0), 0);
	ASSERT_EQ(pwrite(fd, "x", 1, 0), 1);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_dirty"), 4);
	EXPECT_EQ(snapshot("frames"), 0);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 4);
	unlink("/mnt/dirty");
}

T(changed_later)
{
	int fd = new_file("/mnt/later", 8), other;
	char *p = locked_pages(8);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(do_bind(fd, p, 8 * PAGE, 0), 0);
	ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE), 0);
	ASSERT_EQ(ftruncate(fd, 6 * PAGE), 0);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 5);
	EXPECT_EQ(snapshot("skipped_hole"), 3);
	/* Deleted and replaced: the old one is what was meant, and is kept. */
	ASSERT_EQ(unlink("/mnt/later"), 0);
	other = new_file("/mnt/later", 8);
	ASSERT_GE(other, 0);
	close(fd);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 5);
	EXPECT_NE(bare_entry(p), entry_for(disk_id("vda"),
					   PART_BLOCKS + file_block(other, 0)));
	unlink("/mnt/later");
}

/* ---- processes ------------------------------------------------------------ */

static bool has_nothing(void *arg)
{
	return query().out_nr_binds == 0 && query().out_nr_files == 0 &&
	       do_unbind(arg, PAGE) == 0;
}

T(fork_starts_anew)
{
	char *p = data_pages(self->data, 4, 0);
	uint64_t processes = hints_u64("nr_processes");
	int fd;

	ASSERT_EQ(do_bind(self->data, p, 4 * PAGE, 0), 0);
	EXPECT_EQ(hints_u64("nr_processes"), processes + 1);
	EXPECT_EQ(in_child(has_nothing, p), 0);
	EXPECT_EQ(query().out_nr_binds, 1);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(names(p, self->data, 0));
	EXPECT_TRUE(migration_complete(fd));
}

static bool bind_some(void *arg)
{
	int i, fd = *(int *)arg;

	for (i = 0; i < 8; i++)
		if (do_bind(fd, anon(4), 4 * PAGE, i * 100 * PAGE))
			return false;
	return do_pool(anon(4), 12, 4, anon(1)) > 0;
}

static bool bind_and_exec(void *arg)
{
	if (!bind_some(arg))
		return false;
	execl("/bin/busybox", "sleep", "100", NULL);
	return false;
}

T(exec_and_exit_drop)
{
	uint64_t processes = hints_u64("nr_processes");
	uint64_t files = hints_u64("nr_files"), pools = hints_u64("nr_pools");
	pid_t pid;
	int i;

	for (i = 0; i < 5; i++)
		EXPECT_EQ(in_child(bind_some, &self->data), 0);
	EXPECT_TRUE(settles_to("nr_processes", processes));
	pid = fork();
	if (!pid)
		_exit(!bind_and_exec(&self->data));
	usleep(100000);
	EXPECT_TRUE(settles_to("nr_processes", processes));
	EXPECT_TRUE(settles_to("nr_files", files));
	EXPECT_TRUE(settles_to("nr_pools", pools));
	EXPECT_EQ(kill(pid, 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#define REGISTRANTS 60

/* Killed at any point, all at once, while a migration starts. */
T(many_registrants)
{
	uint64_t processes = hints_u64("nr_processes");
	pid_t pids[REGISTRANTS];
	int i;

	for (i = 0; i < REGISTRANTS; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;) {
				bind_some(&self->data);
				usleep(100000);
			}
		}
	}
	EXPECT_TRUE(settles_to("nr_processes", processes + REGISTRANTS));
	ASSERT_TRUE(migrate(DISCARDABLE | HOT));
	for (i = 0; i < REGISTRANTS; i++)
		kill(pids[i], SIGKILL);
	ASSERT_TRUE(migrate(DISCARDABLE | HOT));
	for (i = 0; i < REGISTRANTS; i++)
		waitpid(pids[i], NULL, 0);
	EXPECT_TRUE(settles_to("nr_processes", processes));
	EXPECT_TRUE(settles_to("nr_files", 0));
	EXPECT_TRUE(settles_to("nr_pools", 0));
}

T(limit_of_binds)
{
	unsigned int max = query().out_max_binds, i;
	char *p = anon(2 * max + 64);
	int err = 0;

	ASSERT_NE(p, NULL);
	for (i = 0; i < max + 16 && !err; i++)
		err = do_bind(self->data, p + 2 * i * PAGE, PAGE, 0);
	EXPECT_EQ(err, -ENOSPC);
	EXPECT_LE(i, max + 1);
	EXPECT_GE(i, max - 2);
	EXPECT_EQ(query().out_nr_binds, i - 1);
	EXPECT_EQ(do_unbind(p, 100 * PAGE), 0);
	EXPECT_EQ(do_bind(self->data, p, PAGE, 0), 0);
	/* One page after the other is one range. */
	EXPECT_EQ(do_unbind(p, (2UL * max + 64) * PAGE), 0);
	for (i = 0; i < 1000; i++)
		ASSERT_EQ(do_bind(self->data, p + i * PAGE, PAGE, i * PAGE), 0);
	EXPECT_EQ(query().out_nr_binds, 1);
}

static bool as_nobody(void *arg)
{
	struct mem_hint_translate t = { .addr = (uintptr_t)arg, .nr = 1 };
	struct mem_hint_segments s = {};
	int data = open(DATA, O_RDONLY);

	/* Of one's own memory one may say what one likes. */
	return data >= 0 && !do_bind(data, arg, PAGE, 0) &&
	       call(TRANSLATE, &t) == -EPERM && call(SEGMENTS, &s) == -EPERM;
}

static bool unprivileged(void *arg)
{
	return !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534) &&
	       as_nobody(arg);
}

static bool in_userns(void *arg)
{
	return !unshare(CLONE_NEWUSER) && as_nobody(arg);
}

T(privileges)
{
	char *p = locked_pages(4), *hole = anon(4);
	struct mem_hint_translate t = { .addr = (uintptr_t)p, .nr = 4 };
	uint64_t frames[4];
	int i;

	chmod(DATA, 0644);
	EXPECT_EQ(in_child(unprivileged, p), 0);
	EXPECT_EQ(in_child(in_userns, p), 0);
	t.frames_uptr = (uintptr_t)frames;
	ASSERT_EQ(call(TRANSLATE, &t), 0);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(frames[i], frame_of(p + i * PAGE));
	hole[2 * PAGE] = 1;
	t.addr = (uintptr_t)hole;
	ASSERT_EQ(call(TRANSLATE, &t), 0);
	EXPECT_EQ(frames[0], MEM_HINT_NO_FRAME);
	EXPECT_EQ(frames[1], MEM_HINT_NO_FRAME);
	EXPECT_EQ(frames[2], frame_of(hole + 2 * PAGE));
	EXPECT_EQ(frames[3], MEM_HINT_NO_FRAME);
	t.nr = 0;
	EXPECT_EQ(call(TRANSLATE, &t), -EINVAL);
	t.nr = MEM_HINT_TRANSLATE_MAX + 1;
	EXPECT_EQ(call(TRANSLATE, &t), -EINVAL);
	t.nr = 1;
	t.frames_uptr = 8;
	EXPECT_EQ(call(TRANSLATE, &t), -EFAULT);
}

/* ---- logical volumes ------------------------------------------------------ */

#define ALL_SEGMENTS	65536	/* of all maps together */

static int dm(int ctl, unsigned long cmd, const char *target, const char *params,
	      uint64_t sectors, uint64_t *dev_nr)
{
	return dm_named(ctl, cmd, "hints", target, params, sectors, dev_nr);
}

/* One linear volume, on which all of a file's blocks move by its start. */
T(volume)
{
	struct mem_hint_segment seg = {
		.nr_sectors = DM_SECTORS, .target = 2048, .nr_stripes = 1,
	}, bad;
	struct mem_hint_segments a = { .nr = 1, .segments_uptr = (uintptr_t)&seg };
	int ctl, fd, c, vdd = open_direct("/dev/vdd");
	char *p = locked_pages(8), *disk = locked_pages(1);
	uint64_t nr = 0, e;
	struct stat st;

	ctl = dm_control();
	ASSERT_GE(ctl, 0);
	ASSERT_EQ(dm(ctl, DM_DEV_CREATE, NULL, NULL, 0, &nr), 0);
	ASSERT_EQ(dm(ctl, DM_TABLE_LOAD, "linear", "/dev/vdd 2048", DM_SECTORS, NULL), 0);
	ASSERT_EQ(dm(ctl, DM_DEV_SUSPEND, NULL, NULL, 0, NULL), 0);	/* resume */
	mkdir("/dm", 0700);
	mknod("/dev/hints", S_IFBLK | 0600, nr);
	ASSERT_EQ(mount("/dev/hints", "/dm", "ext4", 0, NULL), 0);
	fd = open("/dm/data", O_RDONLY);
	ASSERT_EQ(pread(fd, p, 8 * PAGE, 0), 8 * PAGE);
	ASSERT_EQ(stat("/dev/vdd", &st), 0);

	a.major = major(nr);
	a.minor = minor(nr);
	seg.major = major(st.st_rdev);
	seg.minor = minor(st.st_rdev);
	EXPECT_EQ(do_file(fd, NULL), -EOPNOTSUPP);

	a.nr = MEM_HINT_MAX_SEGMENTS + 1;
	EXPECT_EQ(call(SEGMENTS, &a), -E2BIG);
	a.nr = 1;
	a.segments_uptr = 8;
	EXPECT_EQ(call(SEGMENTS, &a), -EFAULT);
	a.segments_uptr = (uintptr_t)&bad;
	bad = seg;
	bad.nr_sectors++;
	EXPECT_EQ(call(SEGMENTS, &a), -EINVAL);
	bad = seg;
	bad.target = 1 << 20;		/* beyond vdd */
	EXPECT_EQ(call(SEGMENTS, &a), -EINVAL);
	bad = seg;
	bad.major = 4000;
	EXPECT_EQ(call(SEGMENTS, &a), -ENODEV);
	bad = seg;
	bad.minor |= 1 << 20;		/* not the minor of another device */
	EXPECT_EQ(call(SEGMENTS, &a), -ENODEV);
	bad = seg;
	bad.major = a.major;		/* on itself */
	bad.minor = a.minor;
	EXPECT_EQ(call(SEGMENTS, &a), -EOPNOTSUPP);
	a.major = seg.major;		/* a disk needs no map */
	a.minor = seg.minor;
	EXPECT_EQ(call(SEGMENTS, &a), -EOPNOTSUPP);
	a.major = 4000;
	EXPECT_EQ(call(SEGMENTS, &a), -ENODEV);
	a.major = major(nr);
	a.minor = minor(nr);
	EXPECT_EQ(do_file(fd, NULL), -EOPNOTSUPP);

	a.segments_uptr = (uintptr_t)&seg;
	ASSERT_EQ(call(SEGMENTS, &a), 0);
	ASSERT_EQ(do_bind(fd, p, 8 * PAGE, 0), 0);
	c = migration_start(0);
	ASSERT_GE(c, 0);
	EXPECT_EQ(snapshot("frames"), 8);
	EXPECT_TRUE(entry_is(p + 3 * PAGE, disk_id("vdd"), 256 + file_block(fd, 3 * PAGE)));
	e = table_entry(frame_of(p + 3 * PAGE));
	ASSERT_EQ(pread(vdd, disk, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE), PAGE);
	EXPECT_EQ(memcmp(disk, p + 3 * PAGE, PAGE), 0);
	EXPECT_TRUE(migration_complete(c));
	/* Without its map, nothing. */
	a.nr = 0;
	ASSERT_EQ(call(SEGMENTS, &a), 0);
	EXPECT_EQ(call(SEGMENTS, &a), -ENOENT);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 0);
	EXPECT_EQ(snapshot("skipped_disk"), 8);
	/* The file is kept open; forgotten, the file system can go. */
	close(fd);
	EXPECT_EQ(umount("/dm"), -1);
	EXPECT_EQ(errno, EBUSY);
	EXPECT_EQ(call(UNFILE, (&(struct mem_hint_unfile){ .file = 0 })), 0);
	EXPECT_EQ(umount("/dm"), 0);
	EXPECT_EQ(dm(ctl, DM_DEV_REMOVE, NULL, NULL, 0, NULL), 0);
}

#define CHUNK_SECTORS	128	/* as run.sh has laid it out */

/* One that is striped over two disks, chunk by chunk. */
T(volume_striped)
{
	static const struct {
		const char *name, *path;
		uint64_t sector;
	} below[] = {
		{ "vdd", "/dev/vdd", 5 * 2048 }, { "sda", "/dev/sda", 2048 },
	};
	struct mem_hint_segment segs[2];
	struct mem_hint_segments a = { .nr = 2, .segments_uptr = (uintptr_t)segs };
	const unsigned int pages = 256;	/* 16 chunks */
	int ctl = dm_control(), disks[2], fd, c, i, err = 0, seen[2] = {}, tries;
	char *p = locked_pages(pages), *disk = locked_pages(1);
	struct stat st;
	uint64_t nr = 0;

	ASSERT_GE(ctl, 0);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(stat(below[i].path, &st), 0);
		segs[i] = (struct mem_hint_segment) {
			.nr_sectors = DM_SECTORS, .target = below[i].sector,
			.major = major(st.st_rdev), .minor = minor(st.st_rdev),
			.nr_stripes = 2, .stripe = i, .chunk_sectors = CHUNK_SECTORS,
		};
		disks[i] = open_direct(below[i].path);
		ASSERT_GE(disks[i], 0);
	}
	ASSERT_EQ(dm(ctl, DM_DEV_CREATE, NULL, NULL, 0, &nr), 0);
	ASSERT_EQ(dm(ctl, DM_TABLE_LOAD, "striped", "2 128 /dev/vdd 10240 /dev/sda 2048",
		     DM_SECTORS, NULL), 0);
	ASSERT_EQ(dm(ctl, DM_DEV_SUSPEND, NULL, NULL, 0, NULL), 0);	/* resume */
	a.major = major(nr);
	a.minor = minor(nr);
	for (tries = 0; tries < 100; tries++) {	/* sda says who it is later */
		err = call(SEGMENTS, &a);
		if (err != -EAGAIN)
			break;
		usleep(50000);
	}
	ASSERT_EQ(err, 0);
	mkdir("/dm", 0700);
	mknod("/dev/striped", S_IFBLK | 0600, nr);
	ASSERT_EQ(mount("/dev/striped", "/dm", "ext4", 0, NULL), 0);
	fd = open("/dm/data", O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(pread(fd, p, pages * PAGE, 0), pages * PAGE);
	ASSERT_EQ(do_bind(fd, p, pages * PAGE, 0), 0);
	c = migration_start(0);
	ASSERT_GE(c, 0);
	EXPECT_EQ(snapshot("frames"), pages);
	for (i = 0; i < pages; i++) {
		uint64_t e = table_entry(frame_of(p + i * PAGE));
		int on = (e >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK) == disk_id("sda");

		ASSERT_TRUE(e & MEM_HINT_VALID);
		seen[on]++;
		ASSERT_EQ(pread(disks[on], disk, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE), PAGE);
		ASSERT_EQ(memcmp(disk, p + i * PAGE, PAGE), 0) TH_LOG("page %d", i);
	}
	EXPECT_GT(seen[0], pages / 4);
	EXPECT_GT(seen[1], pages / 4);
	EXPECT_TRUE(migration_complete(c));
	close(fd);
	EXPECT_EQ(call(UNFILE, (&(struct mem_hint_unfile){ .file = 0 })), 0);
	EXPECT_EQ(umount("/dm"), 0);
	unlink("/dev/striped");
	EXPECT_EQ(dm(ctl, DM_DEV_REMOVE, NULL, NULL, 0, NULL), 0);
}

/* As many segments as there may be, of disks that go: there is room for more. */
T(volumes_that_go)
{
	static struct mem_hint_segment segs[MEM_HINT_MAX_SEGMENTS];
	struct mem_hint_segments a = {
		.nr = MEM_HINT_MAX_SEGMENTS, .segments_uptr = (uintptr_t)segs,
	};
	int ctl = dm_control(), i, err = 0, live;
	uint64_t nrs[ALL_SEGMENTS / MEM_HINT_MAX_SEGMENTS + 1];
	struct stat st;
	char name[16];

	ASSERT_GE(ctl, 0);
	ASSERT_EQ(stat("/dev/vdd", &st), 0);
	for (i = 0; i < MEM_HINT_MAX_SEGMENTS; i++)
		segs[i] = (struct mem_hint_segment) {
			.start = 2 * i, .nr_sectors = 2, .target = 2048 + 2 * i,
			.major = major(st.st_rdev), .minor = minor(st.st_rdev),
			.nr_stripes = 1,
		};
	/* With all of them there one is too many, ... */
	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		snprintf(name, sizeof(name), "gone%d", i);
		nrs[i] = makedev(0, 100 + i);
		ASSERT_EQ(dm_named(ctl, DM_DEV_CREATE, name, NULL, NULL, 0, &nrs[i]), 0);
		ASSERT_EQ(dm_named(ctl, DM_TABLE_LOAD, name, "linear", "/dev/vdd 2048",
				   DM_SECTORS, NULL), 0);
		ASSERT_EQ(dm_named(ctl, DM_DEV_SUSPEND, name, NULL, NULL, 0, NULL), 0);
		a.major = major(nrs[i]);
		a.minor = minor(nrs[i]);
		err = call(SEGMENTS, &a);
		if (err)
			break;
	}
	EXPECT_EQ(err, -ENOSPC);
	ASSERT_EQ(i, ARRAY_SIZE(nrs) - 1);
	/* ... and when others have gone it is not. */
	for (live = 0; live < i; live++) {
		snprintf(name, sizeof(name), "gone%d", live);
		ASSERT_EQ(dm_named(ctl, DM_DEV_REMOVE, name, NULL, NULL, 0, NULL), 0);
	}
	EXPECT_EQ(call(SEGMENTS, &a), 0);
	/* They are forgotten: there is nothing to take back. */
	a.nr = 0;
	EXPECT_EQ(call(SEGMENTS, &a), 0);
	a.minor = minor(nrs[0]);
	EXPECT_EQ(call(SEGMENTS, &a), -ENOENT);
	snprintf(name, sizeof(name), "gone%d", i);
	EXPECT_EQ(dm_named(ctl, DM_DEV_REMOVE, name, NULL, NULL, 0, NULL), 0);
}

/* ---- nothing makes a start hang ------------------------------------------- */

static int uffd_missing(void *addr, size_t len)
{
	struct uffdio_register r = {
		.range = { .start = (uintptr_t)addr, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &r))
		return -1;
	return fd;
}

/* Descriptors and frames whose faults nobody answers. */
T(userfaultfd)
{
	char *p = anon(16), *q = data_pages(self->data, 4, 0);
	uint64_t *d = anon(2), begin;
	unsigned int file;

	ASSERT_EQ(do_file(self->data, &file), 0);
	ASSERT_GE(uffd_missing(d, 2 * PAGE), 0);
	ASSERT_GT(do_pool(p, 12, 1024, d), 0);
	ASSERT_EQ(do_bind(self->data, q, 4 * PAGE, 0), 0);
	begin = now_ms();
	ASSERT_TRUE(migrate(0));
	EXPECT_LT(now_ms() - begin, GENEROUS_MS);
	EXPECT_EQ(snapshot("skipped_desc"), 1024);
	EXPECT_EQ(snapshot("frames"), 4);
}

static int stuck_file;
static char *stuck_from;

static void *stuck_write(void *arg)
{
	if (pwrite(stuck_file, stuck_from, PAGE, 0) < 0)
		return NULL;
	return NULL;
}

/* A writer that holds the inode's lock, and waits for a fault in vain. */
T(stuck_writer)
{
	int fd = new_file("/mnt/stuck", 4);
	char *p = locked_pages(4), *q = data_pages(self->data, 4, 0);
	pthread_t thread;
	uint64_t begin;
	int uffd;

	ASSERT_GE(fd, 0);
	stuck_file = fd;
	stuck_from = anon(1);
	uffd = uffd_missing(stuck_from, PAGE);
	ASSERT_GE(uffd, 0);
	ASSERT_EQ(do_bind(fd, p, 4 * PAGE, 0), 0);
	ASSERT_EQ(do_bind(self->data, q, 4 * PAGE, 0), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, stuck_write, NULL), 0);
	usleep(300000);
	begin = now_ms();
	ASSERT_TRUE(migrate(0));
	EXPECT_LT(now_ms() - begin, GENEROUS_MS);
	EXPECT_EQ(snapshot("skipped_dirty"), 4);
	EXPECT_EQ(snapshot("frames"), 4);
	close(uffd);	/* the page is there now, the lock is let go */
	pthread_join(thread, NULL);
	unlink("/mnt/stuck");
}

static volatile bool stop;
static char *shaken;

static void *shake(void *arg)
{
	while (!stop) {
		usleep(1000);
		munmap(shaken, 1024 * PAGE);
		mmap(shaken, 1024 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		     MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
	}
	return NULL;
}

/* Unmapped and mapped again all the time, frames and classes. */
T(unmapped_meanwhile)
{
	uint64_t *d = locked_pages(2);
	unsigned int file;
	pthread_t thread;
	int i;

	ASSERT_EQ(do_file(self->data, &file), 0);
	for (i = 0; i < 1024; i++)
		d[i] = desc(file, i);
	shaken = anon(1024);
	ASSERT_GT(do_pool(shaken, 12, 1024, d), 0);
	ASSERT_EQ(pthread_create(&thread, NULL, shake, NULL), 0);
	for (i = 0; i < 20; i++) {
		do_class(MEM_HINT_CLASS_DISCARDABLE, shaken, 1024 * PAGE);
		ASSERT_TRUE(migrate(DISCARDABLE));
	}
	stop = true;
	pthread_join(thread, NULL);
}

#define MOVE_PAGES	256
#define MOVE_ONTO	4096	/* of which the last MOVE_PAGES are moved onto */

struct move {
	char *from, *to;
	unsigned int delay_us;
};

static void *move_in(void *arg)
{
	struct move *m = arg;

	usleep(m->delay_us);
	if (mremap(m->from, MOVE_PAGES * PAGE, MOVE_PAGES * PAGE,
		   MREMAP_MAYMOVE | MREMAP_FIXED, m->to) == MAP_FAILED)
		m->to = NULL;
	return NULL;
}

/* Pages that are moved onto a discardable range while it is walked are kept. */
T(moved_in_meanwhile)
{
	char *onto = locked_pages(MOVE_ONTO);
	pthread_t thread;
	int i, k, c;

	ASSERT_NE(onto, NULL);
	for (i = 0; i < 60; i++) {
		struct move m = {
			.to = onto + (MOVE_ONTO - MOVE_PAGES) * PAGE,
			.from = locked_pages(MOVE_PAGES), .delay_us = random() % 30000,
		};

		ASSERT_NE(m.from, NULL);
		memset(m.from, 0x5a, MOVE_PAGES * PAGE);
		ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, onto, MOVE_ONTO * PAGE), 0);
		ASSERT_EQ(pthread_create(&thread, NULL, move_in, &m), 0);
		c = migration_start(DISCARDABLE);
		pthread_join(thread, NULL);
		ASSERT_NE(m.to, NULL);
		ASSERT_GE(c, 0);
		for (k = 0; k < MOVE_PAGES; k++) {
			uint64_t e = table_entry(frame_of(m.to + k * PAGE));

			ASSERT_FALSE(e & MEM_HINT_VALID &&
				     (e >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK) ==
				     MEM_HINT_CLASS_DISCARDABLE)
				TH_LOG("round %d, delay %u us: page %d was moved in, entry %llx",
				       i, m.delay_us, k, (unsigned long long)e);
		}
		ASSERT_TRUE(migration_complete(c));
	}
	munmap(onto, MOVE_ONTO * PAGE);
}

T(batches)
{
	const unsigned int nr = 12000;
	uint64_t *d = locked_pages(nr * 8 / PAGE + 1);
	char *p = locked_pages(nr);
	unsigned int file, i;

	ASSERT_NE(p, NULL);
	ASSERT_EQ(do_file(self->data, &file), 0);
	for (i = 0; i < nr; i++)
		d[i] = desc(file, i % DATA_PAGES);
	ASSERT_GT(do_pool(p, 12, nr, d), 0);
	ASSERT_TRUE(migrate(0));
	if (!snapshot("cut"))
		EXPECT_EQ(snapshot("frames"), nr);
	/* Less where a turn of 5 ms ends before so many were looked at. */
	EXPECT_LE(snapshot("max_batch"), 4096);
	EXPECT_GT(snapshot("max_batch"), 0);
	TH_LOG("%u frames in %llu us", nr, (unsigned long long)snapshot("us"));
}

/* ---- discardable ---------------------------------------------------------- */

static bool is_discardable(const void *p)
{
	uint64_t e = bare_entry(p);

	return e & MEM_HINT_VALID &&
	       (e >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK) ==
	       MEM_HINT_CLASS_DISCARDABLE;
}

T(discard_needs_agreement)
{
	char *p = locked_pages(8);
	int fd;

	memset(p, 1, 8 * PAGE);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 0);
	EXPECT_FALSE(is_discardable(p));
	EXPECT_TRUE(migration_complete(fd));

	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 8);
	EXPECT_TRUE(is_discardable(p));
	EXPECT_TRUE(is_discardable(p + 7 * PAGE));
	EXPECT_TRUE(migration_complete(fd));
	/* Over is over. */
	EXPECT_EQ(bare_entry(p), 0);
	EXPECT_EQ(bare_entry(p + 7 * PAGE), 0);

	/* The same where the host hangs up. */
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(is_discardable(p));
	close(fd);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(bare_entry(p), 0);
	EXPECT_TRUE(migration_complete(fd));
}

static bool wait_for_pipe(void *arg)
{
	char c;

	return read(*(int *)arg, &c, 1) == 0;
}

T(discard_not_what_is_shared)
{
	char *p = locked_pages(8);
	int fd, pfd[2];
	pid_t child;

	memset(p, 1, 8 * PAGE);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	ASSERT_EQ(pipe(pfd), 0);
	child = fork();
	if (!child) {
		close(pfd[1]);
		_exit(!wait_for_pipe(&pfd[0]));
	}
	p[2 * PAGE] = 2;	/* this one is the parent's alone again */
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 1);
	EXPECT_TRUE(is_discardable(p + 2 * PAGE));
	EXPECT_FALSE(is_discardable(p));
	EXPECT_EQ(snapshot("skipped_memory"), 7);
	EXPECT_TRUE(migration_complete(fd));
	close(pfd[1]);
	waitpid(child, NULL, 0);
}

T(discard_taken_back)
{
	char *p = locked_pages(16), *q;
	int fd;

	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 16 * PAGE), 0);
	/* By the process, ... */
	ASSERT_EQ(do_class(MEM_HINT_CLASS_BACKED, p, PAGE), 0);
	/* ... by unmapping, whatever comes there then, ... */
	ASSERT_EQ(mmap(p + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0), p + 4 * PAGE);
	/* ... and by moving. */
	q = mremap(p + 8 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   anon(4));
	ASSERT_NE(q, MAP_FAILED);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_FALSE(is_discardable(p));
	EXPECT_TRUE(is_discardable(p + PAGE));
	EXPECT_FALSE(is_discardable(p + 4 * PAGE));
	EXPECT_FALSE(is_discardable(q));
	EXPECT_TRUE(is_discardable(p + 12 * PAGE));
	EXPECT_EQ(snapshot("discardable"), 10);
	EXPECT_TRUE(migration_complete(fd));
}

/* As one huge page where the kernel gives it, and after it was shared. */
T(discard_huge)
{
	const size_t huge = 2UL << 20;
	char *p = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, pfd[2];
	pid_t child;

	ASSERT_NE(p, MAP_FAILED);
	p = (char *)(((uintptr_t)p + huge - 1) & -huge);
	madvise(p, huge, MADV_HUGEPAGE);
	memset(p, 1, huge);
	TH_LOG("frames %s", frame_of(p + PAGE) == frame_of(p) + 1 &&
	       !(frame_of(p) & 511) ? "of a huge page" : "of small pages");
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, huge), 0);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 512);
	EXPECT_TRUE(migration_complete(fd));
	ASSERT_EQ(pipe(pfd), 0);
	child = fork();
	if (!child) {
		close(pfd[1]);
		_exit(!wait_for_pipe(&pfd[0]));
	}
	ASSERT_TRUE(migrate(DISCARDABLE));
	EXPECT_EQ(snapshot("discardable"), 0);
	close(pfd[1]);
	waitpid(child, NULL, 0);
}

/* A fork in mid-migration: what the child then has, too, is taken back. */
T(discard_fork_takes_back)
{
	char *p = locked_pages(8), *q = locked_pages(8);
	uint64_t before = hints_u64("nr_taken_back");
	int fd, pfd[2];
	pid_t child;

	memset(p, 1, 8 * PAGE);
	memset(q, 2, 8 * PAGE);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, q, 8 * PAGE), 0);
	ASSERT_EQ(pipe(pfd), 0);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 16);
	EXPECT_EQ(hints_u64("nr_taken_back"), before);
	/* Also what is not where it was, nor discardable for the next one. */
	ASSERT_NE(mremap(q, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, anon(4)),
		  MAP_FAILED);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_BACKED, q + 4 * PAGE, 4 * PAGE), 0);
	EXPECT_EQ(hints_u64("nr_taken_back"), before);
	child = fork();
	if (!child) {
		close(pfd[1]);
		_exit(!wait_for_pipe(&pfd[0]));
	}
	EXPECT_EQ(hints_u64("nr_taken_back"), before + 16);
	EXPECT_EQ(p[0], 1);	/* only written to, not changed */
	EXPECT_EQ(p[8 * PAGE - 1], 1);
	close(pfd[1]);
	waitpid(child, NULL, 0);
	EXPECT_TRUE(migration_complete(fd));
	/* Without a migration there is nothing to take back. */
	EXPECT_EQ(in_child(has_nothing, p), 0);
	EXPECT_EQ(hints_u64("nr_taken_back"), before + 16);
}

/* What writeback says of pages of a file is not said of a fork. */
T(discard_writeback_is_no_fork)
{
	int file = new_file("/mnt/written", 4), go[2], fd, status = -1;
	uint64_t before = hints_u64("nr_taken_back");
	char *p, *q, *m, c;
	pid_t syncer;

	ASSERT_GE(file, 0);
	m = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(m, MAP_FAILED);
	ASSERT_EQ(pipe(go), 0);
	syncer = fork();	/* not in this address space, as a flusher is not */
	if (!syncer) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 1 || fsync(file));
	}
	p = locked_pages(8);
	q = locked_pages(8);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, q, 8 * PAGE), 0);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 16);
	/* Something has gone from its place: a fork takes all back, of whatever. */
	ASSERT_EQ(munmap(q, 8 * PAGE), 0);
	m[0] = 1;
	ASSERT_EQ(write(go[1], "x", 1), 1);
	ASSERT_EQ(waitpid(syncer, &status, 0), syncer);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(hints_u64("nr_taken_back"), before);
	EXPECT_EQ(in_child(has_nothing, p), 0);
	EXPECT_EQ(hints_u64("nr_taken_back"), before + 16);
	EXPECT_TRUE(migration_complete(fd));
	unlink("/mnt/written");
}

#define KPF_HWPOISON	19	/* linux/kernel-page-flags.h */

static bool is_poisoned(uint64_t frame)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags = 0;

	if (fd < 0 || pread(fd, &flags, sizeof(flags), frame * sizeof(flags)) != sizeof(flags))
		return false;
	close(fd);
	return flags >> KPF_HWPOISON & 1;
}

static void poisoned(int sig)
{
}

/* A page that has failed in mid-migration is not written to, the others are. */
T(discard_not_what_is_poisoned)
{
	uint64_t before = hints_u64("nr_taken_back"), frame;
	char *p = locked_pages(8);
	int fd;

	ASSERT_NE(signal(SIGBUS, poisoned), SIG_ERR);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 8);
	frame = frame_of(p + 3 * PAGE);
	ASSERT_FALSE(is_poisoned(frame));
	madvise(p + 3 * PAGE, PAGE, MADV_HWPOISON);
	ASSERT_TRUE(is_poisoned(frame));	/* whatever that returned: we hold it */
	EXPECT_EQ(in_child(has_nothing, p), 0);
	EXPECT_EQ(hints_u64("nr_taken_back"), before + 7);
	EXPECT_TRUE(migration_complete(fd));
}

#define FORK_PAGES	10240	/* some batches */

static void *fork_later(void *arg)
{
	pid_t pid;

	usleep(*(unsigned int *)arg);
	pid = fork();
	if (!pid)
		_exit(0);
	return waitpid(pid, NULL, 0) == pid ? arg : NULL;
}

/* A fork at any point of a start: what is discardable before is taken back. */
T(discard_fork_meanwhile)
{
	uint64_t before, found, took_back = 0;
	char *p = locked_pages(FORK_PAGES);
	pthread_t thread;
	int i, k, fd;

	ASSERT_NE(p, NULL);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, FORK_PAGES * PAGE), 0);
	for (i = 1; i <= 60 && (i <= 12 || !took_back); i++) {
		unsigned int delay_us = random() % 150000;
		void *forked;

		memset(p, i, FORK_PAGES * PAGE);
		before = hints_u64("nr_taken_back");
		ASSERT_EQ(pthread_create(&thread, NULL, fork_later, &delay_us), 0);
		fd = migration_start(DISCARDABLE);
		pthread_join(thread, &forked);
		ASSERT_GE(fd, 0);
		ASSERT_NE(forked, NULL);
		found = snapshot("discardable");
		ASSERT_EQ(hints_u64("nr_taken_back") - before, found)
			TH_LOG("round %d, fork after %u us", i, delay_us);
		took_back += found;
		for (k = 0; k < FORK_PAGES; k++)
			ASSERT_EQ(p[k * PAGE], i);
		ASSERT_TRUE(migration_complete(fd));
	}
	EXPECT_GT(took_back, 0);
	TH_LOG("%d rounds, %llu pages", i - 1, (unsigned long long)took_back);
}

/* Where others may move pages, or have them, none is discardable. */
T(discard_not_what_is_mergeable)
{
	char *p = locked_pages(8);

	memset(p, 1, 8 * PAGE);
	ASSERT_EQ(madvise(p, PAGE, MADV_MERGEABLE), 0);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), -EOPNOTSUPP);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p + PAGE, 7 * PAGE), 0);
	/* Made so later: found when a migration starts. */
	ASSERT_EQ(madvise(p + 4 * PAGE, PAGE, MADV_MERGEABLE), 0);
	ASSERT_TRUE(migrate(DISCARDABLE));
	EXPECT_EQ(snapshot("discardable"), 6);
	EXPECT_EQ(snapshot("skipped_memory"), 1);
	ASSERT_EQ(madvise(p, 8 * PAGE, MADV_UNMERGEABLE), 0);
	ASSERT_TRUE(migrate(DISCARDABLE));
	EXPECT_EQ(snapshot("discardable"), 7);
}

#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE	(1 << 16)
#define UFFDIO_MOVE		_IOWR(UFFDIO, 0x05, struct uffdio_move)
struct uffdio_move {
	__u64 dst, src, len, mode;
	__s64 move;
};
#endif

T(discard_not_what_is_moved_in)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p = anon(8), *from = locked_pages(4);
	struct uffdio_move m = {
		.dst = (uintptr_t)p + 4 * PAGE, .src = (uintptr_t)from, .len = 4 * PAGE,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		SKIP(return, "no UFFDIO_MOVE");
	memset(p, 1, 4 * PAGE);
	memset(from, 2, 4 * PAGE);
	munlock(from, 4 * PAGE);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), 0);
	r.range.start = (uintptr_t)p + 4 * PAGE;
	r.range.len = 4 * PAGE;
	ASSERT_EQ(ioctl(uffd, UFFDIO_REGISTER, &r), 0);
	ASSERT_EQ(ioctl(uffd, UFFDIO_MOVE, &m), 0);
	ASSERT_EQ(p[4 * PAGE], 2);
	ASSERT_TRUE(migrate(DISCARDABLE));
	EXPECT_EQ(snapshot("discardable"), 4);
	EXPECT_EQ(snapshot("skipped_memory"), 4);
	EXPECT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 8 * PAGE), -EOPNOTSUPP);
}

/* A frame that may be dropped is nobody else's before the end. */
T(discard_keeps_frames)
{
	char *p = locked_pages(64), *q;
	uint64_t frames[64];
	int fd, i, j;

	memset(p, 1, 64 * PAGE);
	for (i = 0; i < 64; i++)
		frames[i] = frame_of(p + i * PAGE);
	ASSERT_EQ(do_class(MEM_HINT_CLASS_DISCARDABLE, p, 64 * PAGE), 0);
	fd = migration_start(DISCARDABLE);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("discardable"), 64);
	ASSERT_EQ(munmap(p, 64 * PAGE), 0);
	q = locked_pages(2048);
	ASSERT_NE(q, NULL);
	for (j = 0; j < 2048; j++) {
		uint64_t frame = frame_of(q + j * PAGE);

		for (i = 0; i < 64; i++)
			ASSERT_NE(frame, frames[i]);
	}
	EXPECT_TRUE(migration_complete(fd));
}

/* ---- events --------------------------------------------------------------- */

T(events)
{
	struct mem_hint_events a = { .flags = MEM_HINT_EVENTS_NONBLOCK };
	struct mem_hint_wait w = { .timeout_ms = 50 };
	struct mem_hint_event e[4];
	struct pollfd p;

	ASSERT_EQ(call(EVENTS, &a), 0);
	p = (struct pollfd){ .fd = a.out_fd, .events = POLLIN };
	EXPECT_EQ(read(a.out_fd, e, sizeof(e)), -1);
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(read(a.out_fd, e, sizeof(e[0]) - 1), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(poll(&p, 1, 0), 0);
	w.seq = query().out_seq;
	EXPECT_EQ(call(WAIT, &w), -ETIMEDOUT);
	w.seq++;
	EXPECT_EQ(call(WAIT, &w), -EINVAL);
	w.seq--;

	ASSERT_TRUE(migrate(HOT));
	EXPECT_EQ(poll(&p, 1, 0), 1);
	ASSERT_EQ(read(a.out_fd, e, sizeof(e)), 2 * sizeof(e[0]));
	EXPECT_EQ(e[0].type, MEM_HINT_EVENT_START);
	EXPECT_EQ(e[0].seq, w.seq + 1);
	EXPECT_EQ(e[0].classes, 1 | HOT);
	EXPECT_EQ(e[0].nr_lost, 0);
	EXPECT_EQ(e[1].type, MEM_HINT_EVENT_COMPLETE);
	EXPECT_EQ(e[1].outcome, MEM_HINT_OUTCOME_DONE);
	EXPECT_EQ(e[1].generation, e[0].generation);
	EXPECT_EQ(e[1].classes, 1 | HOT);
	EXPECT_EQ(poll(&p, 1, 0), 0);
	EXPECT_EQ(call(WAIT, &w), 0);
	EXPECT_EQ(w.out_event.seq, e[0].seq);
	/* The device can be read, too. */
	EXPECT_EQ(read(hint_dev, e, sizeof(e[0])), sizeof(e[0]));
	EXPECT_EQ(e[0].type, MEM_HINT_EVENT_START);
}

static void *wait_start(void *arg)
{
	struct mem_hint_wait *w = arg;

	w->flags = call(WAIT, w);
	return NULL;
}

T(wait_blocks)
{
	struct mem_hint_wait w = { .timeout_ms = MEM_HINT_WAIT_FOREVER };
	pthread_t thread;

	w.seq = query().out_seq;
	ASSERT_EQ(pthread_create(&thread, NULL, wait_start, &w), 0);
	usleep(100000);
	ASSERT_TRUE(migrate(0));
	pthread_join(thread, NULL);
	EXPECT_EQ(w.flags, 0);
	EXPECT_EQ(w.out_event.type, MEM_HINT_EVENT_START);
}

struct readiness {
	int fd;
	bool answer;
	uint64_t seq;
};

static void *be_ready(void *arg)
{
	struct readiness *r = arg;
	struct mem_hint_event e;
	struct mem_hint_ready a = { .fd = r->fd };

	if (read(r->fd, &e, sizeof(e)) != sizeof(e) || e.type != MEM_HINT_EVENT_START ||
	    e.wait_ms != READY_MS)
		return NULL;
	a.seq = e.seq;
	if (r->answer && !call(READY, &a))
		r->seq = e.seq;
	return NULL;
}

T(ready)
{
	struct mem_hint_events a = { .flags = MEM_HINT_EVENTS_READY };
	struct mem_hint_events plain = {};
	struct mem_hint_ready late = {};
	struct readiness r = { .answer = true };
	uint64_t begin, took;
	pthread_t thread;

	ASSERT_EQ(call(EVENTS, &a), 0);
	ASSERT_EQ(call(EVENTS, &plain), 0);
	r.fd = a.out_fd;
	ASSERT_EQ(pthread_create(&thread, NULL, be_ready, &r), 0);
	ASSERT_TRUE(migrate(0));
	pthread_join(thread, NULL);
	EXPECT_NE(r.seq, 0);
	late.fd = a.out_fd;
	late.seq = r.seq;
	EXPECT_EQ(call(READY, &late), -ESTALE);
	late.fd = plain.out_fd;
	EXPECT_EQ(call(READY, &late), -EINVAL);
	late.fd = self->data;
	EXPECT_EQ(call(READY, &late), -EBADF);
	late.fd = -1;
	EXPECT_EQ(call(READY, &late), -EBADF);

	/* Nobody answers: the start goes on. */
	begin = now_ms();
	ASSERT_TRUE(migrate(0));
	took = now_ms() - begin;
	/* in ticks, which a busy machine counts late and then all at once */
	EXPECT_GE(took, READY_MS / 2);
	EXPECT_LT(took, GENEROUS_MS);
	/* Whoever has gone is not waited for. */
	close(a.out_fd);
	begin = now_ms();
	ASSERT_TRUE(migrate(0));
	TH_LOG("without a reader a start took %llu ms",
	       (unsigned long long)(now_ms() - begin));
}

T(ready_is_bounded)
{
	int i, err = 0;

	for (i = 0; i < 1000 && !err; i++) {
		struct mem_hint_events a = { .flags = MEM_HINT_EVENTS_READY };

		err = call(EVENTS, &a);
	}
	EXPECT_EQ(err, -EBUSY);
}

TEST_HARNESS_MAIN
