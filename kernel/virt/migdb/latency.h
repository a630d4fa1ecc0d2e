/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How long reads take, and so how long one may take: the median of the last ones.
 * One that hangs, or a hundred that were quick by luck, must not say what is usual.
 */
#ifndef _MIGDB_LATENCY_H
#define _MIGDB_LATENCY_H

#include <linux/types.h>
#include "limits.h"

struct migdb_latency {
	u32 nr;			/* samples there are, at most MIGDB_LATENCY_SAMPLES */
	u32 next;		/* the oldest, once there are as many */
	u64 sample_ns[MIGDB_LATENCY_SAMPLES];
};

void migdb_latency_add(struct migdb_latency *l, u64 ns);
/* The lower one of two in the middle; 0 without a sample. */
u64 migdb_latency_median(const struct migdb_latency *l);
/* Four medians, between @floor_ns and MIGDB_MAX_ADAPTIVE_NS; the floor wins. */
u64 migdb_latency_deadline(const struct migdb_latency *l, u64 floor_ns);

#endif /* _MIGDB_LATENCY_H */
