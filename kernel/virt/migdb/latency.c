// SPDX-License-Identifier: GPL-2.0
/* Median of the last reads and what follows from it, see latency.h. */
#include <linux/types.h>
#include <linux/minmax.h>
#include "latency.h"

/* A read may take so many times the median. */
#define PATIENCE	4

void migdb_latency_add(struct migdb_latency *l, u64 ns)
{
	l->sample_ns[l->next] = ns;
	l->next = (l->next + 1) % MIGDB_LATENCY_SAMPLES;
	if (l->nr < MIGDB_LATENCY_SAMPLES)
		l->nr++;
}

u64 migdb_latency_median(const struct migdb_latency *l)
{
	u64 sorted[MIGDB_LATENCY_SAMPLES], x;
	u32 i, j;

	if (!l->nr)
		return 0;
	/* as few as they are, insertion is the quickest */
	for (i = 0; i < l->nr; i++) {
		x = l->sample_ns[i];
		for (j = i; j && sorted[j - 1] > x; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = x;
	}
	return sorted[(l->nr - 1) / 2];
}

u64 migdb_latency_deadline(const struct migdb_latency *l, u64 floor_ns)
{
	/* bounded before it is multiplied: no median wraps */
	u64 median = min_t(u64, migdb_latency_median(l), MIGDB_MAX_ADAPTIVE_NS);

	return max_t(u64, floor_ns, min_t(u64, PATIENCE * median, MIGDB_MAX_ADAPTIVE_NS));
}
