// SPDX-License-Identifier: MIT
/* See workload.h and guest_abi.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "workload.h"

#define BATCH_STEPS	32

static struct guest_cpu *guest_cpu(struct vm *vm, int index)
{
	return (void *)(vm->ram + GUEST_CPU_GPA(index));
}

static u64 round_up_page(u64 x)
{
	return (x + MDB_PAGE - 1) & ~(MDB_PAGE - 1);
}

/* Pages that are left for data once the fixed area and the table are in. */
static u64 data_pages(u64 bytes)
{
	return (bytes - GUEST_DATA_GPA - hints_bytes(bytes / MDB_PAGE)) / MDB_PAGE;
}

/* Shares are multiples of the number of vCPUs at most: GUEST_MAX_CPUS. */
static void shares(const struct workload_config *cfg, u64 bytes, u64 *pool, u64 *heap, u64 *zero)
{
	u64 data = data_pages(bytes), mask = ~(u64)(GUEST_MAX_CPUS - 1);

	*pool = data * cfg->pool_percent / 100 & mask;
	*zero = data / 16 & mask;
	/* 56 bytes of bookkeeping per pool page at most, 8 per heap page */
	*heap = (data - *pool - *zero - *pool / 64 - data / 256 - 16) & mask;
}

u64 workload_disk_blocks(const struct workload_config *cfg, u64 bytes)
{
	u64 pool, heap, zero;

	shares(cfg, bytes, &pool, &heap, &zero);
	return pool * 2 + zero / BALLOON_STRIDE;
}

int workload_make_disk(const struct workload_config *cfg, int fd, u64 blocks)
{
	enum { CHUNK = 64 };
	u64 block, i, *buf = NULL;
	int rc = 0;

	if (posix_memalign((void **)&buf, MDB_PAGE, CHUNK * MDB_PAGE))
		return -ENOMEM;
	for (block = 0; block < blocks && !rc; block += CHUNK) {
		u64 n = blocks - block < CHUNK ? blocks - block : CHUNK;

		for (i = 0; i < n * GUEST_PAGE_WORDS; i++)
			buf[i] = guest_block_word(cfg->seed, block + i / GUEST_PAGE_WORDS, 0,
						  i % GUEST_PAGE_WORDS);
		if (pwrite(fd, buf, n * MDB_PAGE, block * MDB_PAGE) != (ssize_t)(n * MDB_PAGE))
			rc = errno ? -errno : -ENOSPC;
	}
	free(buf);
	return rc;
}

static void disk_io(struct workload *w, bool write, u64 gpa, u64 block)
{
	u8 *hva = w->vm->ram + gpa;
	ssize_t n;

	if (gpa % MDB_PAGE || gpa >= w->vm->bytes || block >= w->disk_blocks) {
		fprintf(stderr, "refvmm: the guest asked for block %llu at %#llx\n",
			(unsigned long long)block, (unsigned long long)gpa);
		exit(EXIT_FAILURE);
	}
	n = write ? pwrite(w->disk, hva, MDB_PAGE, block * MDB_PAGE) :
		    pread(w->disk, hva, MDB_PAGE, block * MDB_PAGE);
	if (n != MDB_PAGE) {
		fprintf(stderr, "refvmm: disk %s of block %llu: %s\n", write ? "write" : "read",
			(unsigned long long)block, n < 0 ? strerror(errno) : "short");
		exit(EXIT_FAILURE);
	}
	if (!write)
		vm_dma_mark(w->vm, gpa);
}

void workload_request(struct vm_cpu *cpu, u32 op)
{
	struct workload *w = cpu->vm->opaque;
	struct guest_cpu *c = guest_cpu(cpu->vm, cpu->index);

	__atomic_fetch_add(&w->nr_requests, 1, __ATOMIC_RELAXED);
	switch (op) {
	case GUEST_REQ_READ:
	case GUEST_REQ_WRITE:
		disk_io(w, op == GUEST_REQ_WRITE, c->req_gpa, c->req_block);
		break;
	case GUEST_REQ_CHECKED:
		__atomic_fetch_or(&w->checked, 1u << cpu->index, __ATOMIC_ACQ_REL);
		break;
	}
}

static void sleep_ns(u64 ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	nanosleep(&t, NULL);
}

u32 workload_tick(struct vm_cpu *cpu)
{
	struct workload *w = cpu->vm->opaque;
	u32 mine = 1u << cpu->index;

	/* One check per vCPU and command; then stand by for the next one. */
	while (__atomic_load_n(&w->command, __ATOMIC_ACQUIRE) == GUEST_CHECK) {
		if (!(__atomic_load_n(&w->checked, __ATOMIC_ACQUIRE) & mine))
			return GUEST_CHECK;
		if (__atomic_load_n(&cpu->vm->paused, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&cpu->vm->quit, __ATOMIC_ACQUIRE))
			break;
		sleep_ns(1000000);
	}
	if (w->cfg.rate)
		sleep_ns(BATCH_STEPS * 1000000000ULL * cpu->vm->nr_cpus / w->cfg.rate);
	return GUEST_RUN;
}

bool workload_check(struct workload *w)
{
	u32 all = (1u << w->vm->nr_cpus) - 1;
	bool ok = true;
	int i;

	__atomic_store_n(&w->checked, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&w->command, GUEST_CHECK, __ATOMIC_RELEASE);
	while (__atomic_load_n(&w->checked, __ATOMIC_ACQUIRE) != all)
		sleep_ns(1000000);
	for (i = 0; i < w->vm->nr_cpus; i++) {
		struct guest_cpu *c = guest_cpu(w->vm, i);

		if (!c->check_bad)
			continue;
		ok = false;
		fprintf(stderr, "refvmm: guest, vCPU %d: %llu words are wrong, first at %#llx: %#llx instead of %#llx\n",
			i, c->check_bad, c->check_gpa, c->check_got, c->check_want);
	}
	__atomic_store_n(&w->command, GUEST_RUN, __ATOMIC_RELEASE);
	return ok;
}

u64 workload_steps(struct workload *w)
{
	u64 n = 0;
	int i;

	for (i = 0; i < w->vm->nr_cpus; i++)
		n += __atomic_load_n(&guest_cpu(w->vm, i)->steps, __ATOMIC_RELAXED);
	return n;
}

void workload_attach(struct workload *w, struct vm *vm, int disk_fd,
		     const struct workload_config *cfg)
{
	*w = (struct workload){ .cfg = *cfg, .vm = vm, .disk = disk_fd };
	shares(cfg, vm->bytes, &w->pool_pages, &w->heap_pages, &w->zero_pages);
	w->balloon_pages = w->zero_pages / BALLOON_STRIDE;
	w->disk_blocks = w->pool_pages * 2 + w->balloon_pages;
}

/*
 * Hints that a host must survive, on pages that no disk block belongs to, so
 * that those of the pool stay as they are.
 */
static void bad_hints(struct workload *w, u64 heap_gpa, u64 zero_gpa)
{
	struct hint_table *t = &w->hints;
	u64 heap = heap_gpa / MDB_PAGE, zero = zero_gpa / MDB_PAGE, i;

	for (i = 0; i < w->zero_pages; i += BALLOON_STRIDE)		/* the page is zero */
		hints_set(t, zero + i, hint_entry(WORKLOAD_GUEST_DISK, i));
	for (i = 0; i < w->heap_pages; i += 16)		/* some other block */
		hints_set(t, heap + i, hint_entry(WORKLOAD_GUEST_DISK, i % w->disk_blocks));
	for (i = 1; i < w->heap_pages; i += 64)		/* past the end */
		hints_set(t, heap + i, hint_entry(WORKLOAD_GUEST_DISK, w->disk_blocks + i));
	for (i = 2; i < w->heap_pages; i += 64)		/* no such disk */
		hints_set(t, heap + i, hint_entry(WORKLOAD_GUEST_DISK + 1, i));
	for (i = 3; i < w->heap_pages; i += 64)		/* no such class */
		hints_set(t, heap + i, hint_entry(WORKLOAD_GUEST_DISK, i) |
			  7ULL << MEM_HINT_CLASS_SHIFT);
	for (i = 5; i < w->heap_pages; i += 64)		/* nobody has agreed to that */
		hints_set(t, heap + i, hint_discardable());
	/* Frames behind the end of memory: the last table page has room. */
	for (i = t->nr_frames; i % MEM_HINT_SLOTS; i++)
		hints_set(t, i, hint_entry(WORKLOAD_GUEST_DISK, i));
	hints_root(t)->nr_frames = i;
}

/* Of one vCPU's share of the heap; a frame that has another hint keeps it. */
static void start_cpu(struct workload *w, const struct guest_cpu *c, bool agreed)
{
	const u64 *epochs = (const void *)(w->vm->ram + c->heap_epoch_gpa);
	u64 frame = c->heap_gpa / MDB_PAGE, entry, n;

	for (n = 0; n < c->heap_pages; n++, frame++) {
		entry = hints_get(&w->hints, frame);
		if (entry && !hint_is_discardable(entry))
			continue;
		/* the epoch goes up before the page is written to */
		if (agreed && !__atomic_load_n(&epochs[n], __ATOMIC_ACQUIRE))
			hints_set(&w->hints, frame, hint_discardable());
		else
			hints_set(&w->hints, frame, 0);
	}
}

void workload_start(struct workload *w, u64 classes)
{
	int i;

	for (i = 0; i < w->vm->nr_cpus; i++)
		start_cpu(w, guest_cpu(w->vm, i), classes & 1 << MEM_HINT_CLASS_DISCARDABLE);
}

void workload_complete(struct workload *w)
{
	workload_start(w, 1 << MEM_HINT_CLASS_BACKED);
}

static void setup_balloon(struct workload *w, u64 zero_gpa)
{
	u64 block = w->pool_pages * 2, i, page;

	w->balloon_first = zero_gpa / MDB_PAGE + 1;
	for (i = 0; i < w->balloon_pages; i++, block++) {
		page = w->balloon_first + i * BALLOON_STRIDE;
		disk_io(w, false, page * MDB_PAGE, block);
		hints_set(&w->hints, page, hint_entry(WORKLOAD_GUEST_DISK, block));
	}
}

static void setup_cpu(struct workload *w, int index, u64 heap_gpa, u64 pool_gpa, u64 *at)
{
	struct vm *vm = w->vm;
	struct guest_cpu *c = guest_cpu(vm, index);
	u64 heap = w->heap_pages / vm->nr_cpus, pool = w->pool_pages / vm->nr_cpus, i;
	struct guest_expect *expect;

	*c = (struct guest_cpu){
		.heap_pages = heap, .heap_gpa = heap_gpa + index * heap * MDB_PAGE,
		.pool_pages = pool, .pool_gpa = pool_gpa + index * pool * MDB_PAGE,
		.blocks = pool * 2, .block_first = index * pool * 2,
		.hint_gpa = hints_entries(&w->hints),
		.hint_bits = hint_entry(WORKLOAD_GUEST_DISK, 0),
		.disk_seed = w->cfg.seed,
		.rng = guest_mix(w->cfg.seed, index, 77) | 1,
		.batch = BATCH_STEPS,
		.heap_weight = w->cfg.heap_weight, .modify_weight = w->cfg.modify_weight,
	};
	c->heap_epoch_gpa = *at;
	*at = round_up_page(*at + heap * sizeof(u64));
	c->pool_expect_gpa = *at;
	*at = round_up_page(*at + pool * sizeof(*expect));
	c->version_gpa = *at;
	*at = round_up_page(*at + c->blocks * sizeof(u64));

	expect = (void *)(vm->ram + c->pool_expect_gpa);
	for (i = 0; i < pool; i++) {
		u64 block = c->block_first + i * 2, gpa = c->pool_gpa + i * MDB_PAGE;

		expect[i].block = block;
		disk_io(w, false, gpa, block);
		hints_set(&w->hints, gpa / MDB_PAGE, hint_entry(WORKLOAD_GUEST_DISK, block));
	}
}

void workload_setup(struct workload *w, struct vm *vm, int disk_fd,
		    const struct workload_config *cfg)
{
	u64 pool_gpa, heap_gpa, zero_gpa, at, i;
	int cpu;

	workload_attach(w, vm, disk_fd, cfg);
	hints_init(&w->hints, vm->ram, GUEST_DATA_GPA, vm->nr_pages);
	pool_gpa = w->hints.end_gpa;
	heap_gpa = pool_gpa + w->pool_pages * MDB_PAGE;
	zero_gpa = heap_gpa + w->heap_pages * MDB_PAGE;
	at = zero_gpa + w->zero_pages * MDB_PAGE;
	for (i = heap_gpa; i < zero_gpa; i += sizeof(u64))
		*(u64 *)(vm->ram + i) = guest_mix(cfg->seed, i, 3);
	for (cpu = 0; cpu < vm->nr_cpus; cpu++)
		setup_cpu(w, cpu, heap_gpa, pool_gpa, &at);
	if (at > vm->bytes) {
		fprintf(stderr, "refvmm: the layout does not fit: %llu of %llu bytes\n",
			(unsigned long long)at, (unsigned long long)vm->bytes);
		exit(EXIT_FAILURE);
	}
	bad_hints(w, heap_gpa, zero_gpa);
	setup_balloon(w, zero_gpa);
}
