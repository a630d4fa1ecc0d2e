/* SPDX-License-Identifier: MIT */
/* What the benchmarks share.  Each prints one line of JSON per run on stdout. */
#ifndef PERF_H
#define PERF_H

#include "mdb.h"

u64 perf_now_ns(void);

/* perf_die: "NAME: WHAT: strerror(error)", exit status 1. */
void perf_die(const char *what, int error) __attribute__((noreturn));

/* perf_number: a decimal or hexadecimal number, or exit with a message. */
u64 perf_number(const char *text);

/* perf_mix: a hash of two numbers; the same in every run. */
u64 perf_mix(u64 a, u64 b);

/* perf_fill: content of disk block @n, cheap to make, never zero. */
void perf_fill(void *page, u64 n);

/* perf_disk_blocks: 4 KiB blocks of a file or block device. */
u64 perf_disk_blocks(int fd);

#endif /* PERF_H */
