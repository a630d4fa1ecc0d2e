// SPDX-License-Identifier: GPL-2.0
/* Two ends of one list, and the rates at which they move, see split.h. */
#include <linux/types.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include "split.h"

#define NS_PER_S	1000000000ull
/* 4 TiB/s: products with a number of pages fit 64 bits */
#define MAX_PER_S	BIT_ULL(30)
/* Longer than that is "nothing came", however much longer */
#define MAX_STEP_NS	(64 * MIGDB_METER_NS)

void migdb_meter_begin(struct migdb_meter *m, u64 now_ns)
{
	m->last_ns = max(now_ns, 1ULL);
}

/*
 * The mean of what was and of what came now, each as long as it lasted; of what was
 * no more than MIGDB_METER_NS count.  Many short steps make that an exponential
 * decay, and one long step is its own mean: so it does not matter how often, or how
 * regularly, somebody looks.
 */
void migdb_meter_add(struct migdb_meter *m, u64 pages, u64 now_ns)
{
	u64 step;

	/* clocks of two CPUs may differ by a little */
	if (!m->last_ns || now_ns < m->last_ns) {
		migdb_meter_begin(m, now_ns);
		return;
	}
	step = min(now_ns - m->last_ns, MAX_STEP_NS);
	m->last_ns = max(now_ns, 1ULL);
	pages = min(pages, MIGDB_MAX_PAGES);
	if (!step && !m->seen_ns)
		step = 1;
	if (m->seen_ns + step)
		m->per_s = div64_u64(m->per_s * m->seen_ns + pages * NS_PER_S,
				     m->seen_ns + step);
	m->per_s = min(m->per_s, MAX_PER_S);
	m->seen_ns = min(m->seen_ns + step, MIGDB_METER_NS);
}

void migdb_split_built(struct migdb_split *s, u64 pages, u64 now_ns)
{
	migdb_meter_add(&s->build, pages, now_ns);
}

u64 migdb_split_share(struct migdb_split *s, u64 left, u64 max, u64 now_ns)
{
	u64 nr = left, sum;

	left = min(left, MIGDB_MAX_PAGES);
	/* silence is slowness */
	if (s->build.last_ns)
		migdb_meter_add(&s->build, 0, now_ns);
	/* the sender has come back: what it took last has left since then */
	if (s->last) {
		migdb_meter_add(&s->send, s->last, now_ns);
		s->last = 0;
	}
	if (!s->send.seen_ns)
		return min3(left, max, (u64)MIGDB_TAKE_PROBE_PAGES);
	/* both ends are through at the same time: nr / send = (left - nr) / build */
	sum = s->send.per_s + s->build.per_s;
	if (sum)
		nr = div64_u64(left * s->send.per_s + sum / 2, sum);
	/* a link that stood still for long may have woken up: one page will tell */
	if (!s->send.per_s && left && !s->build.per_s)
		nr = 1;
	nr = min(nr, max(div_u64(s->send.per_s, MIGDB_TAKE_BATCHES_PER_S),
			 (u64)MIGDB_TAKE_PROBE_PAGES));
	nr = min(nr, max(s->most, (u64)MIGDB_TAKE_PROBE_PAGES));
	return min3(nr, left, max);
}

void migdb_split_taken(struct migdb_split *s, u64 pages, u64 now_ns)
{
	s->last = pages;
	if (pages)
		s->most = 2 * pages;
	migdb_meter_begin(&s->send, now_ns);
}
