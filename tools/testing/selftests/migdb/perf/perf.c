// SPDX-License-Identifier: MIT
/* See perf.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "perf.h"

u64 perf_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

void perf_die(const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(error));
	exit(1);
}

u64 perf_number(const char *text)
{
	char *end;
	u64 n = strtoull(text, &end, 0);

	if (*end || !*text)
		perf_die(text, EINVAL);
	return n;
}

u64 perf_mix(u64 a, u64 b)
{
	u64 x = (a + 1) * 0x9e3779b97f4a7c15ULL + b;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

void perf_fill(void *page, u64 n)
{
	u64 *words = page, x = perf_mix(n, 7) | 1, i;

	for (i = 0; i < MDB_PAGE / sizeof(*words); i++) {
		words[i] = x;
		x += 0x9e3779b97f4a7c16ULL;	/* even: stays odd, never zero */
	}
}

u64 perf_disk_blocks(int fd)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		perf_die("size of the disk", errno);
	return end / MDB_PAGE;
}
