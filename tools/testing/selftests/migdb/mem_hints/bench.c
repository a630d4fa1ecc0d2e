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

int main(void)
{
	static const size_t sizes[] = { 4096, 16384, 65536, 262144 };
	char *buf = locked_pages(64);
	const int nr = 2000;
	uint64_t off, on;
	unsigned int i;
	pid_t pid;

	vda = open_direct("/dev/vda");
	if (vda < 0 || !buf || module_load(""))
		return 1;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		reads(buf, sizes[i], 200);
		off = reads(buf, sizes[i], nr);
		pid = hints_start("--time", NULL);
		if (pid < 0)
			return 1;
		on = reads(buf, sizes[i], nr);
		printf("# bench: read %3zu KiB: %lu ns in the program per request; %lu ns a read without, %lu with; misses %lu\n",
		       sizes[i] >> 10, status_value("ns_per_run"), off, on,
		       status_value("misses"));
		fflush(stdout);
		hints_stop(pid);
	}
	return module_unload_wait() ? 1 : 0;
}
