// SPDX-License-Identifier: GPL-2.0 OR MIT
/* A policy whose license the kernel does not take. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "mem_hint_ops.bpf.h"

SEC("struct_ops/not_gpl_decide")
int BPF_PROG(not_gpl_decide, const struct mem_hint_run *run)
{
	return 0;
}

SEC(".struct_ops.link")
struct mem_hint_ops not_gpl = {
	.decide	= (void *)not_gpl_decide,
	.name	= "bad",
};

char _license[] SEC("license") = "MIT";
