/* SPDX-License-Identifier: MIT */
/*
 * What runs in the reference VMM's guest: memory layout, disk content, and the
 * VMM's side of the guest's requests.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "hints.h"
#include "vm.h"

#define WORKLOAD_SERIAL		"refvmm-disk"
#define WORKLOAD_GUEST_DISK	5	/* the guest's number of its disk */
#define WORKLOAD_HOST_DISK	0	/* the VMM's */

/*
 * Between the zero pages: pages that hold blocks of their own, which the guest never
 * writes to, and which the VMM may take away.
 */
#define BALLOON_STRIDE	4

struct workload_config {
	u64 seed;
	u64 rate;		/* guest steps per second, all vCPUs; 0: no limit */
	u32 pool_percent;	/* of the data pages */
	u32 heap_weight;	/* of 256 steps */
	u32 modify_weight;
};

struct workload {
	struct workload_config cfg;
	struct vm *vm;
	struct hint_table hints;
	int disk;		/* O_DIRECT */
	u64 disk_blocks;
	u64 pool_pages, heap_pages, zero_pages;
	u64 balloon_first, balloon_pages;	/* every BALLOON_STRIDE-th page */
	u64 command;		/* GUEST_RUN or GUEST_CHECK, by all vCPUs */
	u32 checked;		/* vCPUs that have finished GUEST_CHECK */
	u64 nr_requests;
};

/* The ops for vm_create(); its opaque pointer is the workload.  ring_full is
 * the migration's business and not set here.
 */
u32 workload_tick(struct vm_cpu *cpu);
void workload_request(struct vm_cpu *cpu, u32 op);

/* workload_disk_blocks: how large a disk a guest of @bytes needs. */
u64 workload_disk_blocks(const struct workload_config *cfg, u64 bytes);

/* workload_make_disk: version 0 of all blocks. */
int workload_make_disk(const struct workload_config *cfg, int fd, u64 blocks);

/*
 * workload_setup: fills guest memory: pool pages read from disk, hint table,
 * and the hints that are wrong on purpose (stale, other block, zero page, disk
 * or block that is not there, frame that is not there, discardable without a START).
 */
void workload_setup(struct workload *w, struct vm *vm, int disk_fd,
		    const struct workload_config *cfg);

/* A destination's: it gets its memory from the stream. */
void workload_attach(struct workload *w, struct vm *vm, int disk_fd,
		     const struct workload_config *cfg);

/*
 * What a guest kernel does at START and COMPLETE of a migration.  It can do without
 * those pages of its heap that it has never written to; it says so if @classes, bits
 * (1 << class), has that class, and for that migration only.
 */
void workload_start(struct workload *w, u64 classes);
void workload_complete(struct workload *w);

/*
 * workload_check: the running guest checks all its pages; true when it found
 * every one as it expected.  Prints what is wrong.
 */
bool workload_check(struct workload *w);

u64 workload_steps(struct workload *w);

#endif /* WORKLOAD_H */
