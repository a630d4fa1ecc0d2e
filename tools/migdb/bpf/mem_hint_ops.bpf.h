/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For BPF programs that are a policy of memory hints; after vmlinux.h.  What
 * it means is said in include/linux/mem_hint_ops.h; fields are relocated to
 * those of the module that is loaded.  If mem_hints is built in, vmlinux.h has
 * it all already: define MEM_HINT_OPS_IN_VMLINUX_H.
 */
#ifndef MEM_HINT_OPS_BPF_H
#define MEM_HINT_OPS_BPF_H

#ifndef MEM_HINT_OPS_IN_VMLINUX_H

#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)

struct mem_hint_run {
	__u64 frame;
	__u64 block;
	__u32 nr;
	__u32 disk;
	__u32 dev;
	__u32 class;
};

struct mem_hint_migration {
	__u64 generation;
	__u64 nr_valid;
	__u64 classes;
};

#pragma clang attribute pop

enum mem_hint_decision {
	MEM_HINT_DECIDE_DEFAULT	= 0,
	MEM_HINT_DECIDE_BUILD	= 1,
	MEM_HINT_DECIDE_HOT	= 2,
	MEM_HINT_DECIDE_OMIT	= 3,
};

struct mem_hint_ops {
	void (*start)(const struct mem_hint_migration *migration);
	int (*decide)(const struct mem_hint_run *run);
	void (*complete)(const struct mem_hint_migration *migration);
	char name[16];
};

#endif /* MEM_HINT_OPS_IN_VMLINUX_H */

#endif
