/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of mem_hint(2) and /dev/mem_hints share: calls, what a migration's
 * start makes of them, and the fixture that runs each test by either way in.
 *
 * They run as root in a guest whose module is loaded with allow_local=1 and
 * ready_ms=1000, with ext4 on vda1 in /mnt.  Each test is a process of its own,
 * so it begins with nothing said.
 */
#ifndef MIGDB_MEM_HINT_TEST_H
#define MIGDB_MEM_HINT_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>

#include "kselftest_harness.h"
#include "../include/stretch.h"
#include "guest.h"

#define PART_BLOCKS	256	/* vda1 starts at 1 MiB */
#define DATA		"/mnt/data"
#define DATA_PAGES	1024
#define GENEROUS_MS	20000	/* emulation on a busy machine */

static long nr_syscall = -1;
static bool by_syscall;

static inline int do_file(int fd, unsigned int *file)
{
	struct mem_hint_file a = { .fd = fd };
	int err = call(FILE, &a);

	if (file)
		*file = a.out_file;
	return err;
}

static inline int do_pool(void *addr, unsigned int shift, uint64_t nr, void *desc)
{
	struct mem_hint_pool a = {
		.frame_shift = shift, .addr = (uintptr_t)addr, .nr_frames = nr,
		.desc_uptr = (uintptr_t)desc,
	};
	int err = call(POOL, &a);

	return err ?: (int)a.out_pool;
}

static inline int do_unpool(unsigned int pool)
{
	struct mem_hint_unpool a = { .pool = pool };

	return call(UNPOOL, &a);
}

static inline struct mem_hint_query query(void)
{
	struct mem_hint_query q = {};

	if (call(QUERY, &q))
		memset(&q, 0xff, sizeof(q));
	return q;
}

static inline uint64_t desc(unsigned int file, uint64_t block)
{
	return MEM_HINT_DESC_VALID | (uint64_t)file << MEM_HINT_DESC_FILE_SHIFT | block;
}

static inline void *anon(size_t nr)
{
	void *p = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static inline bool migrate(uint64_t classes)
{
	int fd = migration_start(classes);

	return fd >= 0 && migration_complete(fd);
}

#define DISCARDABLE	(1 << MEM_HINT_CLASS_DISCARDABLE)
#define HOT		(1 << MEM_HINT_CLASS_HOT)

static inline uint64_t snapshot(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "snapshot/%s", name);
	return hints_u64(path);
}

static inline uint64_t bare_entry(const void *addr)
{
	return table_entry(frame_of(addr)) & ~(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);
}

/* Block of the file system that holds a page of a file. */
static inline uint64_t file_block(int fd, uint64_t offset)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = {};

	u.map.fm_start = offset;
	u.map.fm_length = PAGE;
	u.map.fm_extent_count = 1;
	if (ioctl(fd, FS_IOC_FIEMAP, &u.map) || !u.map.fm_mapped_extents)
		return 0;
	return (u.map.fm_extents[0].fe_physical + offset -
		u.map.fm_extents[0].fe_logical) / PAGE;
}

static inline bool names(const void *addr, int fd, uint64_t offset)
{
	return entry_is(addr, disk_id("vda"), PART_BLOCKS + file_block(fd, offset));
}

/* Pages read from DATA by the page cache, so that no I/O names them. */
static inline char *data_pages(int fd, unsigned int nr, uint64_t offset)
{
	char *p = locked_pages(nr);

	if (!p || pread(fd, p, nr * PAGE, offset) != (ssize_t)(nr * PAGE))
		return NULL;
	return p;
}

/* Processes that are gone drop what they said a little later. */
static inline bool settles_to(const char *name, uint64_t want)
{
	int tries;

	for (tries = 0; tries < 500; tries++) {
		if (hints_u64(name) == want)
			return true;
		usleep(20000);
	}
	ksft_print_msg("%s is %llu, not %llu\n", name,
		       (unsigned long long)hints_u64(name), (unsigned long long)want);
	return false;
}

/* In a child: 0 if it did what it should. */
static inline int in_child(bool (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(!fn(arg));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

FIXTURE(mem_hint)
{
	int data;
};

FIXTURE_VARIANT(mem_hint)
{
	bool by_syscall;
};

FIXTURE_VARIANT_ADD(mem_hint, device)
{
	.by_syscall = false,
};

FIXTURE_VARIANT_ADD(mem_hint, syscall)
{
	.by_syscall = true,
};

FIXTURE_SETUP(mem_hint)
{
	char text[32];

	by_syscall = variant->by_syscall;
	if (hints_text("syscall_nr", text, sizeof(text)))
		nr_syscall = strtol(text, NULL, 0);
	if (by_syscall && nr_syscall < 0)
		SKIP(return, "this kernel has no mem_hint()");
	hint_syscall = by_syscall ? nr_syscall : -1;
	hint_dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	ASSERT_GE(hint_dev, 0);
	self->data = open(DATA, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(self->data, 0);
}

FIXTURE_TEARDOWN(mem_hint)
{
}

#define T(name) TEST_F_TIMEOUT(mem_hint, name, 200)

#endif
