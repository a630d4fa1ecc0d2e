// SPDX-License-Identifier: GPL-2.0
/*
 * What noting costs: the run time of the BPF program per completed request,
 * kfunc included, as the kernel measures it.  Prints, judges nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(void)
{
	static const size_t sizes[] = { 4096, 16384, 65536, 262144 };
	enum { ROUNDS = 5, READS = 400 };
	uint64_t off[ROUNDS], on[ROUNDS], run[ROUNDS], misses = 0;
	char *buf = locked_pages(64);
	unsigned int i, r;
	pid_t pid;

	vda = open_direct("/dev/vda");
	if (vda < 0 || !buf || module_load(""))
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
	return module_unload_wait() ? 1 : 0;
}
