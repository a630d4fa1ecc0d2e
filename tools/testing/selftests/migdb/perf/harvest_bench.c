// SPDX-License-Identifier: MIT
/*
 * What it costs to learn which pages a guest has written to, per page.
 *
 * A guest of --mem MiB writes to --pages of its pages, spread over all of its
 * memory (--cluster), the same ones each round, and stops.  Then the log is read:
 *
 *	ring	MIGDB_HARVEST, then MIGDB_DEQUEUE until nothing is left
 *	bitmap	KVM_GET_DIRTY_LOG, then a scan of the bitmap for its set bits
 *	reap	the VMM's own reading of the ring, and KVM_RESET_DIRTY_RINGS
 *
 * "log" is the first step, which protects the pages again; "find" is what it
 * takes from there to a list of pages.  One JSON line with the fastest round:
 * the one that nothing else on the machine has disturbed.  A log that misses a
 * page is an error, not a figure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "perf.h"
#include "vm.h"

#define MAX_PAGES	32768	/* the list of them ends below the first area */
#define AREA_PAGES	512	/* of a page table of the host */
#define MAX_RUNS	1024
#define WARM_ROUNDS	2	/* pages, page tables, accessed bits come into being */

enum mode { MODE_RING, MODE_BITMAP, MODE_REAP };

static const char * const mode_names[] = { "ring", "bitmap", "reap" };

/* What the guest reads: at GUEST_CPU_GPA(0), which is in rdi when it starts. */
struct guest_job {
	u64 count;
	u64 list_gpa;		/* addresses to increment */
};

extern const u8 job_code[], job_code_end[];

/* Ask what to do; increment a word of each page of the list; and again. */
asm(".section .rodata\n"
    ".globl job_code, job_code_end\n"
    "job_code:\n"
    "1:	mov $0x500, %edx\n"		/* GUEST_PORT_TICK */
    "	inl %dx, %eax\n"
    "	mov (%rdi), %rcx\n"
    "	mov 8(%rdi), %rsi\n"
    "	test %rcx, %rcx\n"
    "	jz 1b\n"
    "2:	mov (%rsi), %rax\n"
    "	incq (%rax)\n"
    "	add $8, %rsi\n"
    "	dec %rcx\n"
    "	jnz 2b\n"
    "	jmp 1b\n"
    "job_code_end:\n"
    ".text\n");

struct bench {
	enum mode mode;
	u64 mem_mib;
	u64 nr_dirty, cluster;
	u32 rounds;
	struct vm vm;
	struct mdb mdb;
	sem_t go, done;
	u64 *list;		/* in guest memory */
	u64 *bitmap;		/* what the log said, this round */
	size_t bitmap_bytes;
	struct migdb_run *runs;	/* and as a list of pages */
};

struct sample {
	u64 log_ns, find_ns;
};

static u32 on_tick(struct vm_cpu *cpu)
{
	struct bench *b = cpu->vm->opaque;

	sem_post(&b->done);
	while (sem_wait(&b->go))
		if (errno != EINTR)
			perf_die("sem_wait", errno);
	return GUEST_RUN;
}

static void on_request(struct vm_cpu *cpu, u32 op)
{
	(void)cpu;
	(void)op;
}

static void on_ring_full(struct vm_cpu *cpu)
{
	(void)cpu;
	fprintf(stderr, "harvest_bench: the ring is full: it must hold a whole round\n");
	exit(1);
}

static const struct vm_ops ops = {
	.tick = on_tick, .request = on_request, .ring_full = on_ring_full,
};

static void wait_guest(struct bench *b)
{
	while (sem_wait(&b->done))
		if (errno != EINTR)
			perf_die("sem_wait", errno);
}

/* Swaps a random one of the last @n of @page to the front. */
static void pick(u32 *page, u64 n, u64 seed)
{
	u64 k = perf_mix(n, seed) % n;
	u32 t = page[0];

	page[0] = page[k];
	page[k] = t;
}

/*
 * Distinct pages in random order.  --cluster N: N of each of some areas of 2 MiB
 * that lie evenly over memory, so that the host's page tables are as dense with
 * dirtied pages in a large guest as in a small one.  0: anywhere.
 */
static void choose(struct bench *b, u32 *page, u64 first)
{
	u64 n = b->vm.nr_pages - first, areas = b->vm.nr_pages / AREA_PAGES - 1, i, k, from;
	u32 area[AREA_PAGES];

	if (!b->cluster) {
		for (i = 0; i < n; i++)
			page[i] = first + i;
		for (i = 0; i < b->nr_dirty; i++)
			pick(page + i, n - i, 1);
		return;
	}
	for (i = 0; i < b->nr_dirty; i += b->cluster) {
		from = (1 + i / b->cluster * areas * b->cluster / b->nr_dirty) * AREA_PAGES;
		for (k = 0; k < AREA_PAGES; k++)
			area[k] = from + k;
		for (k = 0; k < b->cluster; k++) {
			pick(area + k, AREA_PAGES - k, from);
			page[i + k] = area[k];
		}
	}
	for (i = 0; i < b->nr_dirty; i++)
		pick(page + i, b->nr_dirty - i, 2);
}

static void make_list(struct bench *b)
{
	u64 list_gpa = GUEST_DATA_GPA, list_bytes = (b->nr_dirty * 8 + MDB_PAGE - 1) & -MDB_PAGE;
	struct guest_job *job = (void *)(b->vm.ram + GUEST_CPU_GPA(0));
	u32 *page = malloc(b->vm.nr_pages * sizeof(*page));
	u64 i;

	if (!page)
		perf_die("list of pages", ENOMEM);
	choose(b, page, (list_gpa + list_bytes) / MDB_PAGE);
	b->list = (void *)(b->vm.ram + list_gpa);
	for (i = 0; i < b->nr_dirty; i++)
		/* not always the same word of a page: cache sets */
		b->list[i] = page[i] * MDB_PAGE + i * 64 % MDB_PAGE;
	free(page);
	*job = (struct guest_job){ .count = b->nr_dirty, .list_gpa = list_gpa };
}

static void start_session(struct bench *b)
{
	static const u8 uuid[MIGDB_UUID_BYTES] = "harvest_bench";
	struct mdb *m = &b->mdb;
	int rc = mdb_open(m);

	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = mdb_set_memory(m, 0, b->vm.bytes, b->vm.ram);
	if (!rc)
		rc = mdb_bind_kvm(m, b->vm.fd);
	if (!rc)
		rc = mdb_start(m, MIGDB_ROLE_SOURCE, uuid, "harvest-bench");
	if (!rc)
		rc = mdb_armed(m, 0, m->nr_pages);
	if (rc)
		perf_die("session", -rc);
}

static void set_up(struct bench *b)
{
	struct vm_config cfg = { .bytes = b->mem_mib << 20, .nr_cpus = 1 };

	/* KVM keeps some entries in reserve. */
	for (cfg.ring_entries = 4096; cfg.ring_entries < b->nr_dirty + 1024; )
		cfg.ring_entries *= 2;
	if (b->mode == MODE_BITMAP)
		cfg.ring_entries = 0;
	if (!vm_supported(cfg.ring_entries))
		perf_die("/dev/kvm", ENODEV);
	vm_create(&b->vm, &cfg, &ops, b);
	vm_boot(&b->vm);
	memcpy(b->vm.ram + GUEST_CODE_GPA, job_code, job_code_end - job_code);
	make_list(b);
	b->bitmap_bytes = (b->vm.nr_pages + 63) / 64 * 8;
	b->bitmap = malloc(b->bitmap_bytes);
	b->runs = calloc(b->nr_dirty + MAX_RUNS, sizeof(*b->runs));
	if (!b->bitmap || !b->runs)
		perf_die("bitmap", ENOMEM);
	sem_init(&b->go, 0, 0);
	sem_init(&b->done, 0, 0);
	vm_log(&b->vm, true);
	if (b->mode == MODE_RING)
		start_session(b);
	vm_resume(&b->vm);
	wait_guest(b);
}

/* One run per page: what the VMM's send loop would walk. */
static u32 scan(struct bench *b)
{
	u64 words = b->bitmap_bytes / 8, w, bits;
	u32 n = 0;

	for (w = 0; w < words; w++)
		for (bits = b->bitmap[w]; bits && n < b->nr_dirty + MAX_RUNS; bits &= bits - 1)
			b->runs[n++] = (struct migdb_run){
				.first = w * 64 + __builtin_ctzll(bits), .count = 1,
			};
	return n;
}

static u32 read_ring(struct bench *b, struct sample *s)
{
	u64 start = perf_now_ns(), harvested, left, mid;
	u32 n = 0, got;
	int rc = mdb_harvest(&b->mdb, &harvested, NULL);

	mid = perf_now_ns();
	do {
		if (!rc)
			rc = mdb_dequeue(&b->mdb, b->runs + n, MAX_RUNS, ~0ULL, &got, &left);
		if (rc)
			perf_die("MIGDB_HARVEST, MIGDB_DEQUEUE", -rc);
		n += got;
	} while (left && n <= b->nr_dirty);
	s->find_ns = perf_now_ns() - mid;
	s->log_ns = mid - start;
	return n;
}

static u32 read_bitmap(struct bench *b, struct sample *s)
{
	struct kvm_dirty_log log = { .dirty_bitmap = b->bitmap };
	u64 start = perf_now_ns(), mid;
	u32 n;

	if (b->mode == MODE_REAP)
		vm_ring_reap(&b->vm, b->bitmap);
	else if (ioctl(b->vm.fd, KVM_GET_DIRTY_LOG, &log))
		perf_die("KVM_GET_DIRTY_LOG", errno);
	mid = perf_now_ns();
	n = scan(b);
	s->find_ns = perf_now_ns() - mid;
	s->log_ns = mid - start;
	return n;
}

/* Every page that the guest wrote to is in the list, and next to nothing else. */
static void verify(struct bench *b, u32 nr_runs)
{
	u64 found = 0, page, i, k;

	memset(b->bitmap, 0, b->bitmap_bytes);
	for (i = 0; i < nr_runs; i++)
		for (k = 0; k < b->runs[i].count; k++, found++) {
			page = b->runs[i].first + k;
			b->bitmap[page / 64] |= 1ULL << (page % 64);
		}
	for (i = 0; i < b->nr_dirty; i++) {
		page = b->list[i] / MDB_PAGE;
		if (b->bitmap[page / 64] >> (page % 64) & 1)
			continue;
		fprintf(stderr, "harvest_bench: page %#llx was written to, the log does not say so\n",
			(unsigned long long)page);
		exit(1);
	}
	if (found > b->nr_dirty + 64) {
		fprintf(stderr, "harvest_bench: %llu pages instead of %llu\n",
			(unsigned long long)found, (unsigned long long)b->nr_dirty);
		exit(1);
	}
}

static void run_round(struct bench *b, struct sample *s, bool warm)
{
	u32 n;

	sem_post(&b->go);
	wait_guest(b);
	/* The VMM keeps its bitmap: no page faults in the measured part. */
	memset(b->bitmap, 0, b->bitmap_bytes);
	n = b->mode == MODE_RING ? read_ring(b, s) : read_bitmap(b, s);
	if (!warm)
		verify(b, n);
}

static void parse(int argc, char **argv, struct bench *b)
{
	static const struct option options[] = {
		{ "mode", 1, NULL, 'o' }, { "mem", 1, NULL, 'm' }, { "pages", 1, NULL, 'p' },
		{ "cluster", 1, NULL, 'c' }, { "rounds", 1, NULL, 'r' }, {}
	};
	int opt, i;

	*b = (struct bench){ .mem_mib = 256, .nr_dirty = 8192, .rounds = 15 };
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'o':
			for (i = 0; i < 3 && strcmp(optarg, mode_names[i]); i++)
				;
			if (i == 3)
				perf_die(optarg, EINVAL);
			b->mode = i;
			break;
		case 'm':
			b->mem_mib = perf_number(optarg);
			break;
		case 'p':
			b->nr_dirty = perf_number(optarg);
			break;
		case 'c':
			b->cluster = perf_number(optarg);
			break;
		case 'r':
			b->rounds = perf_number(optarg);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc || b->mem_mib < 64 || b->mem_mib > GUEST_MAX_GIB * 1024ULL ||
	    !b->nr_dirty || b->nr_dirty > MAX_PAGES || b->nr_dirty > b->mem_mib * 128 ||
	    b->cluster > AREA_PAGES || (b->cluster && (b->nr_dirty % b->cluster ||
	    b->nr_dirty / b->cluster >= b->mem_mib / 2)) ||
	    !b->rounds || b->rounds > 1000) {
		fprintf(stderr, "usage: harvest_bench [--mode ring|bitmap|reap] [--mem MIB] [--pages N] [--cluster N] [--rounds N]\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sample s, best = {};
	struct bench b;
	u32 i;

	parse(argc, argv, &b);
	set_up(&b);
	for (i = 0; i < WARM_ROUNDS; i++)
		run_round(&b, &s, true);
	for (i = 0; i < b.rounds; i++) {
		run_round(&b, &s, false);
		if (!i || s.log_ns + s.find_ns < best.log_ns + best.find_ns)
			best = s;
	}
	printf("{\"bench\":\"harvest\",\"mode\":\"%s\",\"mem_mib\":%llu,\"pages\":%llu,\"cluster\":%llu,\"rounds\":%u,\"log_ns_per_page\":%.1f,\"find_ns_per_page\":%.1f,\"ns_per_page\":%.1f}\n",
	       mode_names[b.mode], (unsigned long long)b.mem_mib, (unsigned long long)b.nr_dirty,
	       (unsigned long long)b.cluster, b.rounds, (double)best.log_ns / b.nr_dirty, (double)best.find_ns / b.nr_dirty,
	       (double)(best.log_ns + best.find_ns) / b.nr_dirty);
	/* The vCPU's thread waits for another job; the process takes it along. */
	if (b.mode == MODE_RING)
		mdb_close(&b.mdb);
	return 0;
}
