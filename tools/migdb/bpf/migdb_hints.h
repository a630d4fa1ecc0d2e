/* SPDX-License-Identifier: GPL-2.0 */
/* What the BPF program and those that load it share. */
#ifndef MIGDB_HINTS_H
#define MIGDB_HINTS_H

#define MIGDB_HINTS_PROG		"mhint_rq_done"
#define MIGDB_HINTS_MAX_DISKS		128
#define MIGDB_HINTS_MAX_CGROUPS		256

/* Cgroups below a wanted one are wanted, too: so many levels. */
#define MIGDB_HINTS_CGROUP_LEVELS	8

/* Per CPU, since the program was loaded. */
struct migdb_hints_counts {
	unsigned long long requests;	/* noted */
	unsigned long long frames;	/* of these */
	unsigned long long others;	/* flushes, discards, virtual disks, ... */
	unsigned long long errors;	/* requests that failed */
	unsigned long long filtered;	/* of a disk or cgroup that is not wanted */
};

#endif
