// SPDX-License-Identifier: GPL-2.0
/*
 * mem_hint(2) and /dev/mem_hints: memory that is somebody else's, that moves, and
 * that the kernel takes for what is said.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem_hint_test.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define HUGE_PAGE	(2UL << 20)
#define EMPTY		(MEM_HINT_DESC_VALID | MEM_HINT_DESC_EMPTY)

/* ---- memory that is only read --------------------------------------------- */

static void read_pages(const char *p, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		*(const volatile char *)(p + i * PAGE);
}

static int read_only_fd(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Its pages have blocks from 0 on of DATA, and the table says so. */
static char *owned_pages(int m, int data, unsigned int nr)
{
	char *p = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);

	if (p == MAP_FAILED || pread(data, p, nr * PAGE, 0) != (ssize_t)(nr * PAGE) ||
	    do_bind(data, p, nr * PAGE, 0) || !migrate(0) || do_unbind(p, nr * PAGE))
		return NULL;
	return p;
}

/* Who may only read shared memory names none of it, and clears no hint of it. */
T(pool_read_only)
{
	const int prots[] = { PROT_READ, PROT_READ, PROT_READ | PROT_WRITE };
	const int maps[] = { MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE };
	int m = memfd_create("x", 0), ro = read_only_fd(m), i, k, pool;
	uint64_t *d = locked_pages(1);
	unsigned int file;
	char *p, *q;

	ASSERT_EQ(ftruncate(m, 4 * PAGE), 0);
	p = owned_pages(m, self->data, 4);
	ASSERT_NE(p, NULL);
	ASSERT_EQ(do_file(self->data, &file), 0);
	d[0] = desc(file, 500);
	d[1] = desc(file, 501);
	d[2] = EMPTY;
	d[3] = EMPTY;
	for (i = 0; i < 3; i++) {
		q = mmap(NULL, 4 * PAGE, prots[i], maps[i], ro, 0);
		ASSERT_NE(q, MAP_FAILED);
		read_pages(q, 4);
		ASSERT_EQ(frame_of(q), frame_of(p));
		pool = do_pool(q, 12, 4, d);
		ASSERT_GT(pool, 0);
		ASSERT_TRUE(migrate(0));
		EXPECT_EQ(snapshot("skipped_memory"), 2);
		EXPECT_EQ(snapshot("frames"), 0);
		for (k = 0; k < 4; k++)
			EXPECT_TRUE(names(p + k * PAGE, self->data, k * PAGE));
		ASSERT_EQ(do_unpool(pool), 0);
	}
	/* What a private mapping has copied is its own. */
	q[0] = 1;
	ASSERT_GT(do_pool(q, 12, 4, d), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_memory"), 1);
	EXPECT_TRUE(names(q, self->data, 500 * PAGE));
	EXPECT_TRUE(names(p, self->data, 0));
}

T(pool_read_only_huge)
{
	int m, ro, pool;
	uint64_t *d = locked_pages(1);
	unsigned int file;
	char *p, *q;
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	ASSERT_NE(f, NULL);
	ASSERT_GT(fprintf(f, "2"), 0);
	ASSERT_EQ(fclose(f), 0);
	m = memfd_create("x", MFD_HUGETLB);
	ASSERT_EQ(ftruncate(m, HUGE_PAGE), 0);
	ro = read_only_fd(m);
	p = owned_pages(m, self->data, HUGE_PAGE / PAGE);
	ASSERT_NE(p, NULL);
	ASSERT_EQ(do_file(self->data, &file), 0);
	d[0] = desc(file, 200);
	q = mmap(NULL, HUGE_PAGE, PROT_READ, MAP_SHARED, ro, 0);
	ASSERT_NE(q, MAP_FAILED);
	read_pages(q, 1);
	ASSERT_EQ(frame_of(q), frame_of(p));
	pool = do_pool(q, 21, 1, d);
	ASSERT_GT(pool, 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_memory"), 512);
	EXPECT_TRUE(names(p + 7 * PAGE, self->data, 7 * PAGE));
	ASSERT_EQ(do_unpool(pool), 0);
	/* The owner's may be named where it was only read, too. */
	q = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	ASSERT_NE(q, MAP_FAILED);
	read_pages(q, 1);
	ASSERT_GT(do_pool(q, 21, 1, d), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 512);
	EXPECT_TRUE(names(p + 7 * PAGE, self->data, 207 * PAGE));
	f = fopen("/proc/sys/vm/nr_hugepages", "w");
	ASSERT_NE(f, NULL);
	fprintf(f, "0");
	fclose(f);
}

/* Bound, and then made read-only: not while it is so. */
T(bind_made_read_only)
{
	int m = memfd_create("x", 0);
	char *p;

	ASSERT_EQ(ftruncate(m, 4 * PAGE), 0);
	p = owned_pages(m, self->data, 4);
	ASSERT_NE(p, NULL);
	ASSERT_EQ(do_bind(self->data, p, 4 * PAGE, 700 * PAGE), 0);
	ASSERT_EQ(mprotect(p, 4 * PAGE, PROT_READ), 0);
	read_pages(p, 4);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_memory"), 4);
	EXPECT_TRUE(names(p + PAGE, self->data, PAGE));
	ASSERT_EQ(mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 4);
	EXPECT_TRUE(names(p + PAGE, self->data, 701 * PAGE));
}

/*
 * Side by side: what is read-only and anonymous, shared memory that was only read,
 * somebody else's, and what a child has, too.
 */
T(pool_of_many_kinds)
{
	int m = memfd_create("x", 0), other = memfd_create("y", 0), pfd[2], i, fd;
	uint64_t *d = locked_pages(1);
	unsigned int file;
	char *p = anon(32), c;
	pid_t child;

	ASSERT_EQ(ftruncate(m, 8 * PAGE), 0);
	ASSERT_EQ(ftruncate(other, 8 * PAGE), 0);
	memset(p, 1, 32 * PAGE);
	ASSERT_EQ(mprotect(p, 8 * PAGE, PROT_READ), 0);
	ASSERT_EQ(mmap(p + 8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, m, 0), p + 8 * PAGE);
	ASSERT_EQ(mmap(p + 16 * PAGE, 8 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
		       read_only_fd(other), 0), p + 16 * PAGE);
	read_pages(p, 32);
	ASSERT_EQ(do_file(self->data, &file), 0);
	for (i = 0; i < 32; i++)
		d[i] = desc(file, i);
	ASSERT_GT(do_pool(p, 12, 32, d), 0);
	ASSERT_EQ(pipe(pfd), 0);
	child = fork();
	if (!child) {
		close(pfd[1]);
		_exit(read(pfd[0], &c, 1) != 0);
	}
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("frames"), 24);
	EXPECT_EQ(snapshot("skipped_memory"), 8);
	for (i = 0; i < 32; i++)
		if (i < 16 || i >= 24)
			EXPECT_TRUE(names(p + i * PAGE, self->data, i * PAGE));
	EXPECT_TRUE(migration_complete(fd));
	close(pfd[1]);
	waitpid(child, NULL, 0);
}

/* ---- memory that moves ---------------------------------------------------- */

#define HUGE_PAGES	(HUGE_PAGE / PAGE)

/* Blocks of the file from @offset on, in small pages where a huge one could be. */
static char *small_pages(int fd, uint64_t offset)
{
	char *p = anon(2 * HUGE_PAGES);

	p = (char *)(((uintptr_t)p + HUGE_PAGE - 1) & -HUGE_PAGE);
	if (madvise(p, HUGE_PAGE, MADV_NOHUGEPAGE) ||
	    pread(fd, p, HUGE_PAGE, offset) != HUGE_PAGE ||
	    madvise(p, HUGE_PAGE, MADV_HUGEPAGE))
		return NULL;
	return p;
}

/* What is said is said of addresses: pages that become a huge one are still named. */
T(collapsed)
{
	static uint64_t frames[2][HUGE_PAGES];
	uint64_t *d = locked_pages(1);
	unsigned int file, moved = 0;
	int fd, i, k;
	char *p[2];

	for (k = 0; k < 2; k++) {
		p[k] = small_pages(self->data, k * HUGE_PAGE);
		ASSERT_NE(p[k], NULL);
	}
	ASSERT_EQ(do_bind(self->data, p[0], HUGE_PAGE, 0), 0);
	ASSERT_EQ(do_file(self->data, &file), 0);
	for (i = 0; i < HUGE_PAGES; i++)
		d[i] = desc(file, HUGE_PAGES + i);
	ASSERT_GT(do_pool(p[1], 12, HUGE_PAGES, d), 0);
	for (k = 0; k < 2; k++)
		for (i = 0; i < HUGE_PAGES; i++)
			frames[k][i] = frame_of(p[k] + i * PAGE);
	for (k = 0; k < 2; k++) {
		ASSERT_EQ(madvise(p[k], HUGE_PAGE, MADV_COLLAPSE), 0);
		ASSERT_EQ(frame_of(p[k]) % HUGE_PAGES, 0);
		for (i = 0; i < HUGE_PAGES; i++)
			moved += frame_of(p[k] + i * PAGE) != frames[k][i];
	}
	EXPECT_GE(moved, HUGE_PAGES);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("frames"), 2 * HUGE_PAGES);
	for (k = 0; k < 2; k++)
		for (i = 0; i < HUGE_PAGES; i++) {
			ASSERT_TRUE(names(p[k] + i * PAGE, self->data,
					  k * HUGE_PAGE + i * PAGE));
		}
	EXPECT_TRUE(migration_complete(fd));
}

/* ---- memory that is charged ----------------------------------------------- */

#define CGROUP		"/sys/fs/cgroup"
#define CHARGED		CGROUP "/hints"
#define RANGES		8192
#define RANGES_BYTES	(256 << 10)	/* that so many take, at least */

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == strlen(text);

	close(fd);
	return ok;
}

/* Of a line "name value" in a file of the cgroup; -1: there is none. */
static int64_t cgroup_value(const char *file, const char *name)
{
	char path[64], line[128], key[64];
	long long value;
	int64_t found = -1;
	FILE *f;

	snprintf(path, sizeof(path), CHARGED "/%s", file);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lld", key, &value) == 2 && !strcmp(key, name))
			found = value;
	if (f)
		fclose(f);
	return found;
}

/* What it is charged for kernel memory; statistics come a few seconds late. */
static int64_t charged_within(int64_t min, int64_t max)
{
	int64_t value = -1;
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		value = cgroup_value("memory.stat", "kernel");
		if (value >= min && value <= max)
			break;
		usleep(20000);
	}
	return value;
}

static bool cgroup_create(const char *limit)
{
	mount("none", CGROUP, "cgroup2", 0, NULL);	/* once */
	return write_text(CGROUP "/cgroup.subtree_control", "+memory") &&
	       (!mkdir(CHARGED, 0755) || errno == EEXIST) &&
	       write_text(CHARGED "/memory.max", limit);
}

/* The page tables of what is bound, none of which is there, are not in the way. */
static int bind_ranges(int fd, unsigned int nr)
{
	char *p = anon(2 * nr);
	int i, err = 0;

	for (i = 0; i < nr && !err; i++)
		err = do_bind(fd, p + 2 * i * PAGE, PAGE, 0);
	return err;
}

struct charged {
	int data, ready, go;
};

static bool bind_and_wait(void *arg)
{
	struct charged *c = arg;
	char byte;

	return write_text(CHARGED "/cgroup.procs", "0") && !bind_ranges(c->data, 1) &&
	       write(c->ready, "x", 1) == 1 && read(c->go, &byte, 1) == 1 &&
	       !bind_ranges(c->data, RANGES) && write(c->ready, "x", 1) == 1 &&
	       read(c->go, &byte, 1) == 1;
}

/* What a process says is charged to its cgroup until it goes. */
T(charged_to_the_cgroup)
{
	int64_t before, with, after;
	struct charged c = { .data = self->data };
	int ready[2], go[2], status;
	char byte;
	pid_t pid;

	ASSERT_TRUE(cgroup_create("max"));
	ASSERT_EQ(pipe(ready) | pipe(go), 0);
	c.ready = ready[1];
	c.go = go[0];
	pid = fork();
	if (!pid) {
		close(ready[0]);
		close(go[1]);
		_exit(!bind_and_wait(&c));
	}
	close(ready[1]);
	ASSERT_EQ(read(ready[0], &byte, 1), 1);
	before = charged_within(1, INT64_MAX);
	ASSERT_GT(before, 0);
	ASSERT_EQ(write(go[1], "x", 1), 1);
	ASSERT_EQ(read(ready[0], &byte, 1), 1);
	with = charged_within(before + RANGES_BYTES, INT64_MAX);
	EXPECT_GE(with - before, RANGES_BYTES);
	TH_LOG("%d ranges: %lld bytes", RANGES, (long long)(with - before));
	ASSERT_EQ(write(go[1], "x", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	after = charged_within(0, with - RANGES_BYTES);
	EXPECT_GE(with - after, RANGES_BYTES);
	rmdir(CHARGED);
}

static bool bind_too_much(void *arg)
{
	int fd = *(int *)arg;

	/* All that it needs itself is there, and charged elsewhere. */
	return !bind_ranges(fd, 1) && !mlockall(MCL_CURRENT) &&
	       write_text(CHARGED "/cgroup.procs", "0") &&
	       bind_ranges(fd, 2 * RANGES) == -ENOMEM && query().out_nr_binds > 0;
}

/* Where the cgroup has no more, that is an error, and nobody is killed for it. */
T(no_more_for_the_cgroup)
{
	ASSERT_TRUE(cgroup_create("256K"));
	EXPECT_EQ(in_child(bind_too_much, &self->data), 0);
	EXPECT_EQ(cgroup_value("memory.events", "oom_kill"), 0);
	ASSERT_TRUE(settles_to("nr_processes", 0));
	rmdir(CHARGED);
}

TEST_HARNESS_MAIN
