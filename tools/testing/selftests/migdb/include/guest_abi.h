/* SPDX-License-Identifier: MIT */
/*
 * What the reference VMM and its guest agree on.  Shared by both sides, so no
 * library header may be needed.
 *
 * The guest is flat 64-bit code without interrupts.  Each vCPU owns a share of
 * the pages, so that no two vCPUs write to one page, and keeps beside them what
 * it expects to find there.  A write that a migration loses is then found by
 * the guest itself (GUEST_CHECK), not only by the comparison of the two RAMs:
 * the sum of all epochs is in a register, which travels with the vCPU.
 *
 *	heap	written to at random, never on disk
 *	pool	one disk block each, as in a buffer pool: read from disk by the
 *		VMM (DMA), modified in place, written back
 *	zero	never touched
 */
#ifndef GUEST_ABI_H
#define GUEST_ABI_H

typedef unsigned long long guest_u64;

#define GUEST_MAX_CPUS		4
#define GUEST_CPU_GPA(n)	(0x1000ULL + 0x1000 * (n))
#define GUEST_PT_GPA		0x10000ULL	/* PML4, PDPT, one PD per GiB */
#define GUEST_MAX_GIB		8
#define GUEST_CODE_GPA		0x20000ULL
#define GUEST_STACK_GPA(n)	(0x40000ULL + 0x4000 * ((n) + 1))
#define GUEST_DATA_GPA		0x100000ULL

/* in: the next command; out: a request. */
#define GUEST_PORT_TICK		0x500
#define GUEST_PORT_REQUEST	0x504

#define GUEST_RUN		0
#define GUEST_CHECK		1

#define GUEST_REQ_READ		1	/* block -> page, by the VMM */
#define GUEST_REQ_WRITE		2	/* page -> block */
#define GUEST_REQ_CHECKED	3	/* check_* are filled in */

struct guest_expect {
	guest_u64 block, version, epoch;
	guest_u64 pad;
};

struct guest_cpu {
	/* Set by the VMM before the guest starts. */
	guest_u64 heap_gpa, heap_pages;
	guest_u64 pool_gpa, pool_pages;
	guest_u64 heap_epoch_gpa;	/* guest_u64 per heap page */
	guest_u64 pool_expect_gpa;	/* struct guest_expect per pool page */
	guest_u64 version_gpa;		/* guest_u64 per own block */
	guest_u64 block_first, blocks;	/* own blocks of the disk */
	guest_u64 hint_gpa;		/* entry of guest frame 0 */
	guest_u64 hint_bits;		/* of an entry, but for the block */
	guest_u64 disk_seed;
	guest_u64 rng;
	guest_u64 batch;		/* steps between two ticks */
	guest_u64 heap_weight;		/* of 256: steps that write to the heap */
	guest_u64 modify_weight;	/* then: modify a pool page; the rest: I/O */
	/* Written by the guest. */
	guest_u64 req_gpa, req_block;
	guest_u64 steps;
	guest_u64 check_bad, check_gpa, check_want, check_got;
};

#define GUEST_PAGE_WORDS	512
#define GUEST_HEAD_WORDS	8	/* rewritten by a modification */
#define GUEST_TAIL_WORD		(GUEST_PAGE_WORDS - 8)	/* checked, never modified */

static inline guest_u64 guest_mix(guest_u64 a, guest_u64 b, guest_u64 c)
{
	guest_u64 x = a * 0x9e3779b97f4a7c15ULL ^ b * 0xc2b2ae3d27d4eb4fULL ^
		      c * 0x165667b19e3779f9ULL;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 32;
	return x;
}

/* Word @i of block @block on disk, as of @version. */
static inline guest_u64 guest_block_word(guest_u64 seed, guest_u64 block, guest_u64 version,
					 guest_u64 i)
{
	return guest_mix(seed + block, version, i);
}

/* Word @i of a page at @gpa that was modified in place. */
static inline guest_u64 guest_epoch_word(guest_u64 gpa, guest_u64 epoch, guest_u64 i)
{
	return guest_mix(gpa, ~epoch, i);
}

#endif /* GUEST_ABI_H */
