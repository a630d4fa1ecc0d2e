// SPDX-License-Identifier: GPL-2.0
/*
 * What noting costs: the run time of the BPF program per completed request,
 * kfunc included, as the kernel measures it.  What the start of a migration takes
 * for the pages that a process names, and what a store to the descriptors of a pool
 * takes while the kernel knows of the pool and while it does not.  Prints, judges
 * nothing; the lines "# bench-json: " are for pairs.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "guest.h"

static int vda, hints;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint64_t status_value(const char *want)
{
	char line[256], key[64];
	uint64_t value = 0, v;
	FILE *f;

	snprintf(line, sizeof(line), "%s --status", getenv("MIGDB_HINTS") ?: "/bin/migdb-hints");
	f = popen(line, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lu", key, &v) == 2 && !strcmp(key, want))
			value = v;
	if (f)
		pclose(f);
	return value;
}

/* ns of wall clock per read */
static uint64_t reads(char *buf, size_t size, int nr)
{
	uint64_t begin = now_ns();
	int i;

	for (i = 0; i < nr; i++)
		if (pread(vda, buf, size, (uint64_t)i * size % (32 << 20)) != (ssize_t)size)
			return 0;
	return (now_ns() - begin) / nr;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A pool of so many frames, all with the same block. */
struct pool {
	struct mem_hint_file file;
	struct mem_hint_pool pool;
	uint64_t *descs;
	char *frames;
	size_t desc_pages;
};

static bool pool_memory(struct pool *p, unsigned int nr)
{
	unsigned int i;

	memset(p, 0, sizeof(*p));
	p->desc_pages = nr / 512 + 1;
	p->descs = locked_pages(p->desc_pages);
	p->frames = locked_pages(nr);
	p->file.fd = open("/mnt/data", O_RDONLY | O_CLOEXEC);
	p->pool.frame_shift = 12;
	p->pool.nr_frames = nr;
	p->pool.addr = (uintptr_t)p->frames;
	p->pool.desc_uptr = (uintptr_t)p->descs;
	if (!p->descs || !p->frames || ioctl(hints, MEM_HINT_IOC_FILE, &p->file))
		return false;
	for (i = 0; i < nr; i++)
		p->descs[i] = MEM_HINT_DESC_VALID |
			      (uint64_t)p->file.out_file << MEM_HINT_DESC_FILE_SHIFT;
	return true;
}

static bool pool_known(struct pool *p, bool known)
{
	struct mem_hint_unpool u = { .pool = p->pool.out_pool };

	return !(known ? ioctl(hints, MEM_HINT_IOC_POOL, &p->pool) :
			 ioctl(hints, MEM_HINT_IOC_UNPOOL, &u));
}

static void pool_free(struct pool *p)
{
	if (p->frames)
		munmap(p->frames, p->pool.nr_frames * PAGE);
	if (p->descs)
		munmap(p->descs, p->desc_pages * PAGE);
	close(p->file.fd);
}

/* Microseconds of a snapshot of a pool of so many; 0: it could not be taken. */
static uint64_t snapshot_us(unsigned int nr)
{
	struct pool p;
	uint64_t us = 0;
	int fd = -1;

	if (pool_memory(&p, nr) && pool_known(&p, true)) {
		fd = channel_connect();
		if (fd >= 0 && channel_hello(fd, NULL, NULL, 0) &&
		    channel_start(fd, 0) == MEM_HINT_MSG_STARTED &&
		    hints_u64("snapshot/frames") == nr)
			us = hints_u64("snapshot/us");
		if (fd >= 0) {
			channel_complete(fd);
			close(fd);
		}
		pool_known(&p, false);
	}
	pool_free(&p);
	return us;
}

static bool snapshots(void)
{
	static const unsigned int sizes[] = { 4096, 8192, 16384, 32768, 65536 };
	enum { ROUNDS = 5 };
	uint64_t us[ROUNDS];
	unsigned int i, r;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (r = 0; r < ROUNDS; r++) {
			us[r] = snapshot_us(sizes[i]);
			if (!us[r])
				return false;
		}
		qsort(us, ROUNDS, sizeof(us[0]), compare);
		printf("# bench: snapshot of %5u pages, median of %d rounds: %lu ms per million pages (%lu to %lu)\n",
		       sizes[i], ROUNDS, us[ROUNDS / 2] * 1000 / sizes[i],
		       us[0] * 1000 / sizes[i], us[ROUNDS - 1] * 1000 / sizes[i]);
		printf("# bench-json: {\"bench\": \"snapshot\", \"pages\": %u, \"us\": %lu}\n",
		       sizes[i], us[ROUNDS / 2]);
		fflush(stdout);
	}
	return true;
}

/*
 * Nanoseconds of a store, as a pool's owner makes them: one word each, all over.  Of
 * many short rounds the shortest: the others were interrupted.
 */
static double store_ns(volatile uint64_t *descs, unsigned int nr, unsigned int rounds)
{
	uint64_t best = ~0ULL, value = descs[0], begin, ns;
	unsigned int i, r;

	for (r = 0; r < rounds; r++) {
		begin = now_ns();
		for (i = 0; i < nr; i++)
			descs[i] = value + i % 64;
		ns = now_ns() - begin;
		best = ns < best ? ns : best;
	}
	return (double)best / nr;
}

/* In pairs, which half is first in turn; what drifts hits both. */
static bool stores(void)
{
	enum { PAIRS = 12, NR = 16384, ROUNDS = 256 };
	bool ok, known = false;
	struct pool p;
	int i;

	ok = pool_memory(&p, NR);
	for (i = 0; ok && i < 2 * PAIRS; i++) {
		bool want = (i + i / 2) % 2;

		if (want != known)
			ok = pool_known(&p, want);
		known = want;
		printf("# bench-json: {\"bench\": \"store\", \"pair\": %d, \"side\": \"%s\", \"ns\": %.4f}\n",
		       i / 2, want ? "pool" : "off", store_ns(p.descs, NR, ROUNDS));
		fflush(stdout);
	}
	if (known)
		pool_known(&p, false);
	pool_free(&p);
	return ok;
}

int main(void)
{
	static const size_t sizes[] = { 4096, 16384, 65536, 262144 };
	enum { ROUNDS = 5, READS = 400 };
	uint64_t off[ROUNDS], on[ROUNDS], run[ROUNDS], misses = 0;
	char *buf = locked_pages(64);
	unsigned int i, r;
	pid_t pid;

	vda = open_direct("/dev/vda");
	if (vda < 0 || !buf || module_load("allow_local=1 walk_ms=10000"))
		return 1;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* In turn, so that what else the machine does hits both. */
		for (r = 0; r < ROUNDS; r++) {
			off[r] = reads(buf, sizes[i], READS);
			pid = hints_start("--time", NULL);
			if (pid < 0)
				return 1;
			on[r] = reads(buf, sizes[i], READS);
			run[r] = status_value("ns_per_run");
			misses += status_value("misses");
			hints_stop(pid);
		}
		qsort(off, ROUNDS, sizeof(off[0]), compare);
		qsort(on, ROUNDS, sizeof(on[0]), compare);
		qsort(run, ROUNDS, sizeof(run[0]), compare);
		printf("# bench: direct read of %3zu KiB, medians of %d rounds: %lu ns in the program a request (%lu to %lu);",
		       sizes[i] >> 10, ROUNDS, run[ROUNDS / 2], run[0], run[ROUNDS - 1]);
		printf(" read %lu ns without, %lu ns with; %lu misses\n",
		       off[ROUNDS / 2], on[ROUNDS / 2], misses);
		fflush(stdout);
	}
	hints = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	if (!snapshots() || !stores()) {
		printf("# bench: a pool or its snapshot is not to be had\n");
		return 1;
	}
	close(hints);
	return module_unload_wait() ? 1 : 0;
}
