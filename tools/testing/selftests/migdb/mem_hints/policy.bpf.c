// SPDX-License-Identifier: GPL-2.0
/* Policies for policy_test: good ones, and ones that overdo it. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "mem_hint_ops.bpf.h"
#include "policy_test.h"

struct policy_seen seen;

SEC("struct_ops/good_start")
void BPF_PROG(good_start, const struct mem_hint_migration *m)
{
	seen.starts++;
	seen.generation = m->generation;
	seen.nr_valid = m->nr_valid;
	seen.classes = m->classes;
	seen.running = 1;
}

static int by_block(unsigned long long block)
{
	if (block >= POLICY_HOT_BLOCK && block < POLICY_HOT_BLOCK + POLICY_RANGE)
		return MEM_HINT_DECIDE_HOT;
	if (block >= POLICY_OMIT_BLOCK && block < POLICY_OMIT_BLOCK + POLICY_RANGE)
		return MEM_HINT_DECIDE_OMIT;
	return MEM_HINT_DECIDE_DEFAULT;
}

SEC("struct_ops/good_decide")
int BPF_PROG(good_decide, const struct mem_hint_run *run)
{
	seen.decides++;
	seen.frames += run->nr;
	seen.dev = run->dev;
	if (!seen.running)
		seen.order_broken++;
	return by_block(run->block);
}

SEC("struct_ops/good_complete")
void BPF_PROG(good_complete, const struct mem_hint_migration *m)
{
	seen.completes++;
	if (!seen.running || m->generation != seen.generation)
		seen.order_broken++;
	seen.running = 0;
}

SEC(".struct_ops.link")
struct mem_hint_ops good = {
	.start		= (void *)good_start,
	.decide		= (void *)good_decide,
	.complete	= (void *)good_complete,
	.name		= "good-1.0_x",
};

/* Another one, and without the callbacks that it does not need. */
SEC("struct_ops/all_hot_decide")
int BPF_PROG(all_hot_decide, const struct mem_hint_run *run)
{
	seen.decides++;
	return MEM_HINT_DECIDE_HOT;
}

SEC(".struct_ops.link")
struct mem_hint_ops all_hot = {
	.decide	= (void *)all_hot_decide,
	.name	= "all_hot",
};

/* The kind that is attached without a link. */
SEC("struct_ops/plain_decide")
int BPF_PROG(plain_decide, const struct mem_hint_run *run)
{
	seen.decides++;
	return MEM_HINT_DECIDE_BUILD;
}

SEC(".struct_ops")
struct mem_hint_ops plain = {
	.decide	= (void *)plain_decide,
	.name	= "plain",
};

/* Far more than the test allows, and about as much as the verifier does. */
static void waste(void)
{
	__u64 end = bpf_ktime_get_ns() + 8000000;
	int i;

	for (i = 0; i < 4000; i++) {
		bpf_ktime_get_ns();
		bpf_ktime_get_ns();
		bpf_ktime_get_ns();
		if (bpf_ktime_get_ns() > end)
			break;
	}
}

SEC("struct_ops/slow_decide")
int BPF_PROG(slow_decide, const struct mem_hint_run *run)
{
	seen.decides++;
	waste();
	return by_block(run->block);
}

SEC("struct_ops/slow_complete")
void BPF_PROG(slow_complete, const struct mem_hint_migration *m)
{
	seen.completes++;
}

SEC(".struct_ops.link")
struct mem_hint_ops slow = {
	.decide		= (void *)slow_decide,
	.complete	= (void *)slow_complete,
	.name		= "slow",
};

SEC("struct_ops/slow_start")
void BPF_PROG(slow_start, const struct mem_hint_migration *m)
{
	seen.starts++;
	waste();
}

SEC("struct_ops/slow_start_decide")
int BPF_PROG(slow_start_decide, const struct mem_hint_run *run)
{
	seen.decides++;
	return MEM_HINT_DECIDE_HOT;
}

SEC(".struct_ops.link")
struct mem_hint_ops slow_to_start = {
	.start	= (void *)slow_start,
	.decide	= (void *)slow_start_decide,
	.name	= "slow_to_start",
};

/* No decision, from the second run on. */
SEC("struct_ops/garbage_decide")
int BPF_PROG(garbage_decide, const struct mem_hint_run *run)
{
	return seen.decides++ ? -12345 : MEM_HINT_DECIDE_DEFAULT;
}

SEC("struct_ops/garbage_complete")
void BPF_PROG(garbage_complete, const struct mem_hint_migration *m)
{
	seen.completes++;
}

SEC(".struct_ops.link")
struct mem_hint_ops garbage = {
	.decide		= (void *)garbage_decide,
	.complete	= (void *)garbage_complete,
	.name		= "garbage",
};

/* Names that are none; the callback is a good one. */
SEC("struct_ops/named_decide")
int BPF_PROG(named_decide, const struct mem_hint_run *run)
{
	return MEM_HINT_DECIDE_DEFAULT;
}

SEC(".struct_ops.link")
struct mem_hint_ops no_name = {
	.decide	= (void *)named_decide,
};

SEC(".struct_ops.link")
struct mem_hint_ops bad_name = {
	.decide	= (void *)named_decide,
	.name	= "two\nlines",
};

SEC(".struct_ops.link")
struct mem_hint_ops long_name = {
	.decide	= (void *)named_decide,
	.name	= { 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x',
		    'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x' },
};

SEC(".struct_ops.link")
struct mem_hint_ops no_callback = {
	.name	= "no_callback",
};

char _license[] SEC("license") = "GPL";
