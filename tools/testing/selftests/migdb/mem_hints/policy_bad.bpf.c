// SPDX-License-Identifier: GPL-2.0
/* Programs that must not load.  policy_test knows why each one is refused. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "mem_hint_ops.bpf.h"

extern int bpf_mhint_note_rq(struct request *rq, unsigned int nr_bytes, __u64 flags) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} others SEC(".maps");

#define POLICY(what)							\
SEC(".struct_ops.link")							\
struct mem_hint_ops what = {						\
	.decide	= (void *)what##_decide,				\
	.name	= "bad",						\
}

SEC("struct_ops/writes_decide")
int BPF_PROG(writes_decide, struct mem_hint_run *run)
{
	run->nr = 100000;
	return 0;
}
POLICY(writes);

/* Beyond the struct: what lies next to it on the kernel's stack. */
SEC("struct_ops/beyond_decide")
int BPF_PROG(beyond_decide, const char *run)
{
	return *(volatile const int *)(run + 64);
}
POLICY(beyond);

/* There is only one argument. */
SEC("struct_ops/second_argument_decide")
int BPF_PROG(second_argument_decide, const struct mem_hint_run *run, __u64 more)
{
	return (int)more;
}
POLICY(second_argument);

SEC("struct_ops/unchecked_decide")
int BPF_PROG(unchecked_decide, const struct mem_hint_run *run)
{
	__u32 key = run->disk;
	__u64 *value = bpf_map_lookup_elem(&numbers, &key);

	return (int)*value;
}
POLICY(unchecked);

/* A number from the run is no address. */
SEC("struct_ops/follows_decide")
int BPF_PROG(follows_decide, const struct mem_hint_run *run)
{
	return *(volatile int *)run->frame;
}
POLICY(follows);

SEC("struct_ops/reads_memory_decide")
int BPF_PROG(reads_memory_decide, const struct mem_hint_run *run)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)run->frame);
	return (int)word;
}
POLICY(reads_memory);

SEC("struct_ops/gets_task_decide")
int BPF_PROG(gets_task_decide, const struct mem_hint_run *run)
{
	return (int)bpf_get_current_task();
}
POLICY(gets_task);

SEC("struct_ops/jumps_away_decide")
int BPF_PROG(jumps_away_decide, const struct mem_hint_run *run)
{
	bpf_tail_call(ctx, &others, 0);
	return 0;
}
POLICY(jumps_away);

static long one_round(__u32 i, void *data)
{
	return 0;
}

SEC("struct_ops/loops_decide")
int BPF_PROG(loops_decide, const struct mem_hint_run *run)
{
	return (int)bpf_loop(1 << 23, one_round, NULL, 0);
}
POLICY(loops);

/* Rounds that are counted at run time only: an iterator, may_goto. */
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

SEC("struct_ops/iterates_decide")
int BPF_PROG(iterates_decide, const struct mem_hint_run *run)
{
	struct bpf_iter_num it;

	bpf_iter_num_new(&it, 0, 1 << 23);
	while (bpf_iter_num_next(&it))
		;
	bpf_iter_num_destroy(&it);
	return 0;
}
POLICY(iterates);

SEC("struct_ops/may_goto_decide")
int BPF_PROG(may_goto_decide, const struct mem_hint_run *run)
{
	int n = 0;

	/* "goto over the next one, or not, as the kernel likes" */
	asm volatile(".byte 0xe5, 0, 1, 0, 0, 0, 0, 0\n%0 += 1" : "+r"(n));
	return n;
}
POLICY(may_goto);

/* Looked at once, called as often as the program likes. */
__attribute__((noinline)) int global_function(__u64 n)
{
	return bpf_get_prandom_u32() > n;
}

SEC("struct_ops/global_decide")
int BPF_PROG(global_decide, const struct mem_hint_run *run)
{
	return global_function(run->block) | global_function(run->frame);
}
POLICY(global);

SEC("struct_ops/never_ends_decide")
int BPF_PROG(never_ends_decide, const struct mem_hint_run *run)
{
	volatile int i = 0;

	while (i < 10)
		asm volatile("" ::: "memory");
	return 0;
}
POLICY(never_ends);

SEC("struct_ops.s/sleeps_decide")
int BPF_PROG(sleeps_decide, const struct mem_hint_run *run)
{
	return 0;
}
POLICY(sleeps);

SEC("struct_ops.s/sleeps_start")
void BPF_PROG(sleeps_start, const struct mem_hint_migration *m)
{
}

SEC(".struct_ops.link")
struct mem_hint_ops sleeps_at_start = {
	.start	= (void *)sleeps_start,
	.name	= "bad",
};

/* Hints come from completions, not from here. */
SEC("struct_ops/notes_decide")
int BPF_PROG(notes_decide, const struct mem_hint_run *run)
{
	return bpf_mhint_note_rq((struct request *)run, 4096, 0);
}
POLICY(notes);

char _license[] SEC("license") = "GPL";
