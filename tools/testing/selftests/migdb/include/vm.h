/* SPDX-License-Identifier: MIT */
/*
 * A KVM VM with one slot of memory at guest address 0 and flat guest code:
 * just what a VMM needs to be migrated.  Functions that cannot go on print why
 * and exit; there is nothing to fall back to without a VM.
 */
#ifndef VM_H
#define VM_H

#include <pthread.h>
#include <linux/kvm.h>
#include "mdb.h"
#include "guest_abi.h"

struct vm;

struct vm_cpu {
	struct vm *vm;
	int index, fd;
	struct kvm_run *run;
	struct kvm_dirty_gfn *ring;
	u32 ring_next;		/* vm_ring_reap(): entry to look at next */
	pthread_t thread;
	bool parked;
};

struct vm_ops {
	/* The guest asks what to do: GUEST_RUN or GUEST_CHECK.  May sleep. */
	u32 (*tick)(struct vm_cpu *cpu);
	void (*request)(struct vm_cpu *cpu, u32 op);
	/* KVM_EXIT_DIRTY_RING_FULL: make room, or the guest stands still. */
	void (*ring_full)(struct vm_cpu *cpu);
};

struct vm {
	int kvm, fd;
	int ram_fd;		/* memfd, or -1 with private memory */
	u8 *ram;
	u64 bytes;
	u64 nr_pages;
	int nr_cpus;
	u32 ring_entries;	/* per vCPU; 0: dirty bitmap */
	bool started;
	struct vm_cpu cpus[GUEST_MAX_CPUS];
	const struct vm_ops *ops;
	void *opaque;
	u64 *dma_dirty;		/* pages that this VMM has written to */

	pthread_mutex_t lock;	/* protects paused, quit, vm_cpu.parked */
	pthread_cond_t wake, idle;
	bool paused, quit;
};

/* All that a paused vCPU of our guest consists of. */
struct vm_cpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
};

enum vm_memory {
	VM_MEMFD,		/* shared, pages of 4 KiB */
	VM_ANON,		/* private, whatever the host thinks of */
	VM_THP,			/* private, and huge pages are asked for */
	VM_HUGETLB,		/* shared, of hugetlbfs: huge pages that never split */
};

#define VM_HUGE_BYTES	(2ULL << 20)

struct vm_config {
	u64 bytes;
	int nr_cpus;
	u32 ring_entries;
	enum vm_memory memory;
};

bool vm_supported(u32 ring_entries);	/* can this host run such a VM? */
void vm_create(struct vm *vm, const struct vm_config *cfg, const struct vm_ops *ops,
	       void *opaque);
void vm_destroy(struct vm *vm);
u64 vm_huge_bytes(const struct vm *vm);	/* of its memory, in huge pages now */
void vm_boot(struct vm *vm);		/* code, page tables, registers */

void vm_resume(struct vm *vm);
void vm_pause(struct vm *vm);		/* back when no vCPU is in KVM_RUN */
void vm_save(struct vm *vm, struct vm_cpu_state *state);
void vm_load(struct vm *vm, const struct vm_cpu_state *state);

void vm_log(struct vm *vm, bool on);
/* Both OR into @bitmap and re-arm what they return. */
u64 vm_get_dirty_bitmap(struct vm *vm, u64 *bitmap);
u64 vm_ring_reap(struct vm *vm, u64 *bitmap);
u64 vm_ring_mark(struct vm *vm, u64 *bitmap);	/* the same without KVM_RESET_DIRTY_RINGS */

/* Gives pages back to the host: they are zero then, and no log has it. */
void vm_discard(struct vm *vm, u64 page, u64 count);

/* A device of this VMM wrote to guest memory: after the data is there. */
static inline void vm_dma_mark(struct vm *vm, u64 gpa)
{
	u64 page = gpa / MDB_PAGE;

	__atomic_fetch_or(&vm->dma_dirty[page / 64], 1ULL << (page % 64), __ATOMIC_RELEASE);
}

/* Moves the VMM's own dirty bits into @bitmap. */
void vm_dma_collect(struct vm *vm, u64 *bitmap);

#endif /* VM_H */
