// SPDX-License-Identifier: GPL-2.0
/*
 * What noting costs: the run time of the BPF program per completed request,
 * kfunc included, as the kernel measures it.  And what the start of a migration
 * takes for the pages that a process names.  Prints, judges nothing.
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

static int vda;

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

/*
 * Milliseconds per million pages of a pool of so many; 0: it could not be taken.
 * All frames hold the same block: what counts is the way there.
 */
static uint64_t snapshot_ms(int dev, unsigned int nr, uint64_t *us)
{
	struct mem_hint_file f = { .fd = open("/mnt/data", O_RDONLY | O_CLOEXEC) };
	struct mem_hint_pool p = { .frame_shift = 12, .nr_frames = nr };
	uint64_t *descs = locked_pages(nr / 512 + 1), ms = 0;
	char *frames = locked_pages(nr);
	struct mem_hint_unpool u = {};
	unsigned int i;
	int fd;

	if (!descs || !frames || ioctl(dev, MEM_HINT_IOC_FILE, &f))
		return 0;
	for (i = 0; i < nr; i++)
		descs[i] = MEM_HINT_DESC_VALID | (uint64_t)f.out_file << MEM_HINT_DESC_FILE_SHIFT;
	p.addr = (uintptr_t)frames;
	p.desc_uptr = (uintptr_t)descs;
	if (ioctl(dev, MEM_HINT_IOC_POOL, &p))
		return 0;
	fd = channel_connect();
	if (fd >= 0 && channel_hello(fd, NULL, NULL, 0) &&
	    channel_start(fd, 0) == MEM_HINT_MSG_STARTED &&
	    hints_u64("snapshot/frames") == nr) {
		*us = hints_u64("snapshot/us");
		ms = *us * 1000 / nr;
	}
	if (fd >= 0) {
		channel_complete(fd);
		close(fd);
	}
	u.pool = p.out_pool;
	ioctl(dev, MEM_HINT_IOC_UNPOOL, &u);
	munmap(frames, nr * PAGE);
	munmap(descs, (nr / 512 + 1) * PAGE);
	close(f.fd);
	return ms;
}

static void snapshots(void)
{
	static const unsigned int sizes[] = { 4096, 8192, 16384, 32768, 65536 };
	enum { ROUNDS = 5 };
	int dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	uint64_t ms[ROUNDS], us;
	unsigned int i, r;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (r = 0; r < ROUNDS; r++)
			ms[r] = snapshot_ms(dev, sizes[i], &us);
		qsort(ms, ROUNDS, sizeof(ms[0]), compare);
		printf("# bench: snapshot of %5u pages, median of %d rounds: %lu ms per million pages (%lu to %lu)\n",
		       sizes[i], ROUNDS, ms[ROUNDS / 2], ms[0], ms[ROUNDS - 1]);
		fflush(stdout);
	}
	close(dev);
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
	snapshots();
	return module_unload_wait() ? 1 : 0;
}
