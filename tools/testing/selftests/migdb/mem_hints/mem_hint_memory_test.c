// SPDX-License-Identifier: GPL-2.0
/*
 * mem_hint(2) and /dev/mem_hints: memory that is somebody else's, or that moves.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
		for (i = 0; i < HUGE_PAGES; i++)
			ASSERT_TRUE(names(p[k] + i * PAGE, self->data,
					  k * HUGE_PAGE + i * PAGE));
	EXPECT_TRUE(migration_complete(fd));
}

TEST_HARNESS_MAIN
