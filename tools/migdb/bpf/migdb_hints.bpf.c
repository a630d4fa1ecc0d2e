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
const volatile bool all_cgroups = true;

/* Device numbers as the kernel has them: major << 20 | minor. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MIGDB_HINTS_MAX_DISKS);
	__type(key, __u32);
	__type(value, __u8);
} wanted_disks SEC(".maps");

/* Ids as bpf_get_current_cgroup_id() has them: inode numbers in cgroup2. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MIGDB_HINTS_MAX_CGROUPS);
	__type(key, __u64);
	__type(value, __u8);
} wanted_cgroups SEC(".maps");

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

/*
 * The cgroup that the I/O is charged to, which is the nearest one that has the
 * io controller, or one above it.  Requests of two cgroups are never merged.
 */
static bool cgroup_wanted(struct request *rq)
{
	struct cgroup_subsys_state *css;
	struct blkcg_gq *blkg;
	__u64 id;
	int i;

	if (!rq->bio)
		return false;
	blkg = rq->bio->bi_blkg;
	if (!blkg)
		return false;
	css = &blkg->blkcg->css;
	for (i = 0; i < MIGDB_HINTS_CGROUP_LEVELS && css; i++) {
		id = css->cgroup->kn->id;
		if (bpf_map_lookup_elem(&wanted_cgroups, &id))
			return true;
		css = css->parent;
	}
	return false;
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
	if ((!all_disks && !disk_wanted(rq)) ||
	    (!all_cgroups && !cgroup_wanted(rq))) {
		counts->filtered++;
		return 0;
	}

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
