/* SPDX-License-Identifier: GPL-2.0 */
/* The BPF program as it runs in the kernel, whoever loaded it. */
#ifndef MIGDB_HINTS_PROGRAM_H
#define MIGDB_HINTS_PROGRAM_H

#include <stdbool.h>
#include <linux/bpf.h>

#include "migdb_hints.h"

#define MEM_HINTS_SYSFS "/sys/kernel/mm/hints/"

/* An fd of the program; -1: there is none. */
int program_find(struct bpf_prog_info *info);

/* A program that was detached just now is still there for a moment. */
bool program_gone(struct bpf_prog_info *info);

/* 0 or a negative errno. */
int program_counts(int prog_fd, struct migdb_hints_counts *sum);

/* Device number of a whole disk, as the kernel has it; 0 if it is none. */
__u32 disk_number(const char *name);

#endif
