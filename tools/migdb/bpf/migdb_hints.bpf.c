// SPDX-License-Identifier: GPL-2.0
/* Hands each request that the block layer completes to mem_hints.ko. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "migdb_hints.h"

extern int bpf_mhint_note_rq(struct request *rq, unsigned int nr_bytes,
			     __u64 flags) __ksym;

/* Set by the loader before it loads. */
const volatile bool all_disks = true;

/* Device numbers as the kernel has them: major << 20 | minor. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MIGDB_HINTS_MAX_DISKS);
	__type(key, __u32);
	__type(value, __u8);
} wanted_disks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct migdb_hints_counts);
} mhint_counts SEC(".maps");

static bool disk_wanted(struct request *rq)
{
	struct gendisk *disk = rq->q->disk;
	__u32 dev;

	if (!disk)
		return false;
	dev = (__u32)disk->major << 20 | disk->first_minor;
	return bpf_map_lookup_elem(&wanted_disks, &dev);
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(mhint_rq_done, struct request *rq, blk_status_t error,
	     unsigned int nr_bytes)
{
	struct migdb_hints_counts *counts;
	__u32 zero = 0;
	int frames;

	counts = bpf_map_lookup_elem(&mhint_counts, &zero);
	if (!counts)
		return 0;
	if (error) {
		counts->errors++;
		return 0;
	}
	if (!all_disks && !disk_wanted(rq))
		return 0;

	frames = bpf_mhint_note_rq(rq, nr_bytes, 0);
	if (frames < 0) {
		counts->others++;
		return 0;
	}
	counts->requests++;
	counts->frames += frames;
	return 0;
}

char _license[] SEC("license") = "GPL";
