/* SPDX-License-Identifier: GPL-2.0 */
/* What the BPF program and its loader share. */
#ifndef MIGDB_HINTS_H
#define MIGDB_HINTS_H

#define MIGDB_HINTS_PROG	"mhint_rq_done"
#define MIGDB_HINTS_MAX_DISKS	128

/* Per CPU, since the program was loaded. */
struct migdb_hints_counts {
	unsigned long long requests;	/* noted */
	unsigned long long frames;	/* of these */
	unsigned long long others;	/* flushes, discards, virtual disks, ... */
	unsigned long long errors;	/* requests that failed */
};

#endif
