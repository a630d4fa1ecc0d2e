// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty consumer under a real KVM guest that writes all the time: no write is
 * lost, in ring and in bitmap mode, and whoever else touches the ring is noticed.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <linux/kvm.h>
#include "test_util.h"
#include "vm.h"
#include "workload.h"

#define MEM	(16ULL << 20)
#define PAGES	(MEM / MDB_PAGE)

/* The rig's two sessions around a VM: its memory is the source's. */
struct guest {
	struct rig r;
	struct vm vm;
	struct workload w;
	u64 *dirty, *todo;
	pthread_mutex_t lock;
	u64 nr_full;
	bool ignore_full;
};

static struct guest *guest;

static void ring_full(struct vm_cpu *cpu)
{
	__atomic_fetch_add(&guest->nr_full, 1, __ATOMIC_RELAXED);
	if (__atomic_load_n(&guest->ignore_full, __ATOMIC_ACQUIRE))
		usleep(10000);
	else if (mdb_harvest(&guest->r.src, NULL, NULL) == -EBUSY)
		usleep(1000);		/* no session yet or any more */
	(void)cpu;
}

static const struct vm_ops ops = {
	.tick = workload_tick, .request = workload_request, .ring_full = ring_full,
};

static int guest_init(struct guest *g, int cpus, u32 ring_entries, u64 seed)
{
	struct vm_config cfg = { .bytes = MEM, .nr_cpus = cpus, .ring_entries = ring_entries };
	struct workload_config load = {
		.seed = seed, .pool_percent = 50, .heap_weight = 180, .modify_weight = 40,
	};
	struct rig *r = &g->r;
	u64 blocks = workload_disk_blocks(&load, MEM);
	int rc;

	memset(g, 0, sizeof(*g));
	guest = g;
	pthread_mutex_init(&g->lock, NULL);
	r->src = MDB_CLOSED;
	r->dst = MDB_CLOSED;
	r->nr_pages = PAGES;
	memset(r->uuid, seed + 1, sizeof(r->uuid));
	r->disk = disk_create(r->disk_path, "guest", blocks * MDB_PAGE);
	if (r->disk < 0)
		return r->disk;
	rc = workload_make_disk(&load, r->disk, blocks);
	if (rc)
		return rc;
	vm_create(&g->vm, &cfg, &ops, &g->w);
	workload_setup(&g->w, &g->vm, r->disk, &load);
	vm_boot(&g->vm);
	r->src_ram = g->vm.ram;
	r->dst_ram = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->delivered = calloc(PAGES, 1);
	g->dirty = calloc(PAGES / 64, 8);
	g->todo = calloc(PAGES / 64, 8);
	return 0;
}

static void guest_exit(struct guest *g)
{
	vm_destroy(&g->vm);
	mdb_close(&g->r.src);
	mdb_close(&g->r.dst);
	munmap(g->r.dst_ram, MEM);
	free(g->r.delivered);
	free(g->dirty);
	free(g->todo);
	close(g->r.disk);
	unlink(g->r.disk_path);
}

static int idle_source(struct guest *g, struct mdb *m)
{
	int rc = mdb_open(m);

	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = mdb_set_memory(m, 0, MEM, g->vm.ram);
	if (!rc)
		rc = mdb_set_disk(m, 0, g->r.disk, WORKLOAD_SERIAL);
	if (!rc)
		rc = mdb_set_guest_table(m, g->w.hints.root_gpa, WORKLOAD_GUEST_DISK,
					 WORKLOAD_SERIAL);
	return rc;
}

/* Up to and with SNAPSHOT, the guest running. */
static int guest_track(struct guest *g)
{
	struct rig *r = &g->r;
	int rc = idle_source(g, &r->src);

	if (!rc && g->vm.ring_entries)
		rc = mdb_bind_kvm(&r->src, g->vm.fd);
	if (!rc)
		rc = mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "dirty-source");
	if (rc)
		return rc;
	rc = mdb_open(&r->dst);
	if (!rc)
		rc = mdb_set_owner(&r->dst);
	if (!rc)
		rc = mdb_set_memory(&r->dst, 0, MEM, r->dst_ram);
	if (!rc)
		rc = mdb_set_disk(&r->dst, 0, r->disk, WORKLOAD_SERIAL);
	if (!rc)
		rc = mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "dirty-dest");
	if (rc)
		return rc;
	vm_log(&g->vm, true);
	vm_dma_collect(&g->vm, g->dirty);
	rc = rig_snapshot(r);
	if (!rc) {
		u64 page;

		for (page = 0; page < PAGES; page++)
			if (!mdb_bit(&r->src, page))
				g->todo[page / 64] |= 1ULL << (page % 64);
	}
	return rc;
}

/* Logs, then queue, then copies: one round of pre-copy. */
static int guest_collect(struct guest *g)
{
	struct migdb_run runs[64];
	u64 left, i;
	u32 nr, k;
	int rc = 0;

	memset(g->dirty, 0, PAGES / 8);
	if (g->vm.ring_entries)
		rc = mdb_harvest(&g->r.src, NULL, NULL);
	else
		vm_get_dirty_bitmap(&g->vm, g->dirty);
	vm_dma_collect(&g->vm, g->dirty);
	if (!rc)
		rc = mdb_dirty(&g->r.src, 0, PAGES, g->dirty, NULL);
	for (i = 0; i < PAGES / 64; i++)
		g->todo[i] |= g->dirty[i];
	do {
		if (!rc)
			rc = mdb_dequeue(&g->r.src, runs, 64, ~0ULL, &nr, &left);
		for (k = 0; !rc && k < nr; k++)
			for (i = runs[k].first; i < runs[k].first + runs[k].count; i++)
				g->todo[i / 64] |= 1ULL << (i % 64);
	} while (!rc && nr);
	return rc;
}

static void guest_copy(struct guest *g, u64 budget)
{
	u64 page;

	for (page = 0; page < PAGES && budget; page++)
		if (g->todo[page / 64] >> (page % 64) & 1) {
			g->todo[page / 64] &= ~(1ULL << (page % 64));
			rig_deliver(&g->r, page);
			budget--;
		}
}

static int guest_rounds(struct guest *g, u32 rounds)
{
	u64 hashed, left;
	int rc = 0;

	while (rounds-- && !rc) {
		rc = mdb_hash(&g->r.src, 128, &hashed, &left);
		if (!rc)
			rc = rig_pump(&g->r);
		if (!rc)
			rc = guest_collect(g);
		if (!rc)
			guest_copy(g, 512);
	}
	return rc;
}

/* The guest stands and its logs were read: finishes, compares. */
static int guest_end(struct guest *g, u64 *bad)
{
	struct migdb_drain drain;
	s64 n;
	int rc;

	rc = mdb_seal(&g->r.src, NULL, NULL);
	if (!rc)
		rc = rig_pump(&g->r);
	if (!rc)
		rc = mdb_drain(&g->r.dst, 2000000000, &drain);
	if (!rc)
		rc = rig_pump(&g->r);
	if (!rc)
		rc = mdb_reclaim(&g->r.src, NULL);
	if (rc)
		return rc;
	guest_copy(g, ~0ULL);
	n = rig_deliver_queue(&g->r);
	if (n < 0)
		return n;
	rc = mdb_complete(&g->r.dst, NULL);
	if (!rc)
		rc = mdb_complete(&g->r.src, NULL);
	return rc ? rc : rig_compare(&g->r, bad);
}

/* Stops the guest, finishes, compares. */
static int guest_finish(struct guest *g, u64 *bad)
{
	int rc;

	vm_pause(&g->vm);
	rc = guest_collect(g);
	return rc ? rc : guest_end(g, bad);
}

FIXTURE(dirty) {
	struct guest g;
};

FIXTURE_SETUP(dirty)
{
	REQUIRE_DEVICE();
	if (!vm_supported(256))
		SKIP(return, "no /dev/kvm with dirty rings");
}

FIXTURE_TEARDOWN(dirty)
{
	if (self->g.r.nr_pages)
		guest_exit(&self->g);
}

#define TINY	256

/* Lets the guest run into the end of its rings a few times. */
static bool was_full(struct guest *g, u64 times)
{
	u64 end = clock_ms() + 30000;

	while (__atomic_load_n(&g->nr_full, __ATOMIC_RELAXED) < times && clock_ms() < end)
		usleep(5000);
	return __atomic_load_n(&g->nr_full, __ATOMIC_RELAXED) >= times;
}

#define NO_LOST_WRITE(_cpus, _ring, _guests, _rounds)			\
	do {								\
		u64 seed_, bad_ = 0, written_ = 0, built_ = 0;		\
		for (seed_ = 1; seed_ <= (_guests); seed_++) {		\
			int rc_;					\
			ASSERT_OK(guest_init(&self->g, _cpus, _ring, seed_)); \
			vm_resume(&self->g.vm);				\
			ASSERT_OK(guest_track(&self->g));		\
			if ((_ring) == TINY)				\
				ASSERT_TRUE(was_full(&self->g, 3));	\
			ASSERT_OK(guest_rounds(&self->g, _rounds));	\
			rc_ = guest_finish(&self->g, &bad_);		\
			ASSERT_EQ(0, rc_) TH_LOG("seed %llu: %s, page %llu", \
				(unsigned long long)seed_, strerror(-rc_), \
				(unsigned long long)bad_);		\
			written_ += workload_steps(&self->g.w);		\
			built_ += stats_of(&self->g.r.dst).out_built;	\
			if (seed_ < (_guests)) {			\
				guest_exit(&self->g);			\
				self->g.r.nr_pages = 0;			\
			}						\
		}							\
		TH_LOG("%llu guest steps, %llu pages built",		\
		       (unsigned long long)written_, (unsigned long long)built_); \
		ASSERT_LT(1000, written_);				\
		ASSERT_LT(0, built_);					\
	} while (0)

TEST_F_TIMEOUT(dirty, no_lost_write_ring, 180)
{
	NO_LOST_WRITE(2, 4096, 6, 30);
}

TEST_F_TIMEOUT(dirty, no_lost_write_bitmap, 180)
{
	NO_LOST_WRITE(2, 0, 6, 30);
}

TEST_F_TIMEOUT(dirty, no_lost_write_four_cpus, 180)
{
	NO_LOST_WRITE(4, 1024, 2, 30);
}

/* The smallest ring that KVM takes: full again and again. */
TEST_F_TIMEOUT(dirty, no_lost_write_tiny_ring, 180)
{
	NO_LOST_WRITE(2, TINY, 2, 30);
}

/* It runs until something is in a ring (of @cpu; below 0: of any), and stands then. */
static bool stopped_dirty(struct guest *g, int cpu)
{
	u64 end = clock_ms() + stretch(20000);
	int c;
	u32 i;

	for (;;) {
		vm_pause(&g->vm);
		for (c = 0; c < g->vm.nr_cpus; c++)
			for (i = 0; (cpu < 0 || c == cpu) && i < g->vm.ring_entries; i++)
				if (__atomic_load_n(&g->vm.cpus[c].ring[i].flags,
						    __ATOMIC_ACQUIRE) == KVM_DIRTY_GFN_F_DIRTY)
					return true;
		if (clock_ms() > end)
			return false;
		vm_resume(&g->vm);
		usleep(5000);
	}
}

/* The test above can fail: a round whose dirty pages are not sent is noticed. */
TEST_F_TIMEOUT(dirty, lost_write_is_noticed, 60)
{
	struct guest *g = &self->g;
	u64 bad, page;

	ASSERT_OK(guest_init(g, 1, 4096, 3));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 10));
	guest_copy(g, ~0ULL);
	/* not the first write only: that may be of what was there before */
	usleep(50000);
	ASSERT_TRUE(stopped_dirty(g, -1));
	ASSERT_OK(guest_collect(g));
	/* Claimed as if they were sent, so that it takes the comparison to notice. */
	for (page = 0; page < PAGES; page++)
		if (g->todo[page / 64] >> (page % 64) & 1)
			mdb_claim_byte(&g->r.dst, page);
	memset(g->todo, 0, PAGES / 8);
	ASSERT_EQ(-EILSEQ, guest_finish(g, &bad));
}

TEST_F_TIMEOUT(dirty, full_ring_stops_the_guest_until_harvest, 60)
{
	struct guest *g = &self->g;
	u64 steps;
	int i;

	ASSERT_OK(guest_init(g, 1, 256, 5));
	ASSERT_OK(guest_track(g));
	g->ignore_full = true;
	vm_resume(&g->vm);
	for (i = 0; i < 500 && !__atomic_load_n(&g->nr_full, __ATOMIC_RELAXED); i++)
		usleep(10000);
	ASSERT_LT(0, g->nr_full);
	usleep(50000);
	steps = workload_steps(&g->w);
	usleep(300000);
	ASSERT_EQ(steps, workload_steps(&g->w));
	g->ignore_full = false;
	for (i = 0; i < 500 && workload_steps(&g->w) == steps; i++)
		usleep(10000);
	ASSERT_NE(steps, workload_steps(&g->w));
}

/* Harvested means re-protected: the next write to the same page is seen again. */
TEST_F_TIMEOUT(dirty, harvest_rearms, 60)
{
	struct guest *g = &self->g;
	u64 harvested, queued, total = 0;
	int i;

	ASSERT_OK(guest_init(g, 1, 4096, 7));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	for (i = 0; i < 20; i++) {
		usleep(20000);
		ASSERT_TRUE(stopped_dirty(g, -1));
		ASSERT_OK(mdb_harvest(&g->r.src, &harvested, &queued));
		ASSERT_LT(0, harvested) TH_LOG("nothing written in round %d", i);
		ASSERT_LE(queued, harvested);
		total += harvested;
		/* nobody runs: there is nothing more */
		ASSERT_OK(mdb_harvest(&g->r.src, &harvested, &queued));
		ASSERT_EQ(0, harvested);
		vm_resume(&g->vm);
	}
	/* the guest's own stack and counters alone are written in each round */
	ASSERT_LE(20, total);
	/* a ring that is full is harvested by its vCPU's thread */
	ASSERT_LE(total, stats_of(&g->r.src).out_harvested);
	if (!__atomic_load_n(&g->nr_full, __ATOMIC_RELAXED))
		ASSERT_EQ(total, stats_of(&g->r.src).out_harvested);
}

/* Pages that the guest wrote to are out of the set when HARVEST returns. */
TEST_F_TIMEOUT(dirty, harvest_drops_from_the_set, 60)
{
	struct guest *g = &self->g;
	struct migdb_stats st;
	u64 hashed, left, page, end, before = 0, after = 0;

	ASSERT_OK(guest_init(g, 1, 4096, 8));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	for (page = 0; page < PAGES; page++)
		before += mdb_bit(&g->r.src, page);
	do {
		ASSERT_OK(mdb_hash(&g->r.src, 4096, &hashed, &left));
		ASSERT_OK(rig_pump(&g->r));
	} while (left);
	end = clock_ms() + stretch(20000);
	while (!stats_of(&g->r.src).out_revoked && clock_ms() < end) {
		usleep(100000);
		vm_pause(&g->vm);
		ASSERT_OK(mdb_harvest(&g->r.src, NULL, NULL));
		if (!stats_of(&g->r.src).out_revoked)
			vm_resume(&g->vm);
	}
	for (page = 0; page < PAGES; page++)
		after += mdb_bit(&g->r.src, page);
	st = stats_of(&g->r.src);
	ASSERT_LT(0, st.out_revoked);
	ASSERT_LT(after, before);
	ASSERT_EQ(before, after + st.out_dropped + st.out_revoked + st.out_returned);
	ASSERT_LE(st.out_revoked, st.out_queued);
}

/* What KVM_RESET_DIRTY_RINGS says when somebody else has the rings. */
static int not_yours(void)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	bool found = false;
	char line[512];

	/* a KVM with patches/linux knows who has them, a stock one does not */
	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, " kvm_dirty_ring_acquire");
	if (f)
		fclose(f);
	return found ? -EBUSY : 0;
}

static int reset_rings(struct guest *g)
{
	int rc = ioctl(g->vm.fd, KVM_RESET_DIRTY_RINGS, 0);

	return rc < 0 ? -errno : rc;
}

/* A VMM that goes on reaping: the session ends, and nothing is lost by it. */
TEST_F_TIMEOUT(dirty, foreign_reaper, 60)
{
	struct guest *g = &self->g;
	u64 page, n = 0, bad, reaped = 0;
	int i, rc;

	ASSERT_OK(guest_init(g, 1, 4096, 9));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 10));
	memset(g->dirty, 0, PAGES / 8);
	for (i = 0; i < 100 && !reaped; i++) {
		usleep(10000);
		reaped = vm_ring_mark(&g->vm, g->dirty);
	}
	ASSERT_LT(0, reaped);
	rc = reset_rings(g);
	ASSERT_EQ(not_yours() ? not_yours() : (int)reaped, rc);
	for (i = 0; i < PAGES / 64; i++)
		g->todo[i] |= g->dirty[i];
	ASSERT_EQ(-ESTALE, mdb_harvest(&g->r.src, NULL, NULL));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&g->r.src));
	ASSERT_EQ(MIGDB_REASON_FOREIGN_REAPER, stats_of(&g->r.src).out_reason);
	ASSERT_EQ(-ECANCELED, mdb_harvest(&g->r.src, NULL, NULL));
	/* Ordinary: the rings are the VMM's again. */
	vm_pause(&g->vm);
	vm_ring_mark(&g->vm, g->todo);
	/* those, too, for which it was refused before */
	ASSERT_LE(not_yours() ? (int)reaped : 0, reset_rings(g));
	vm_dma_collect(&g->vm, g->todo);
	ASSERT_OK(mdb_abort(&g->r.dst, 0));
	for (page = 0; page < PAGES; page++)
		n += mdb_bit(&g->r.src, page);
	ASSERT_LT(0, n);
	ASSERT_EQ(n, rig_deliver_bitmap(&g->r));
	ASSERT_LE(0, rig_deliver_queue(&g->r));
	guest_copy(g, ~0ULL);
	ASSERT_OK(mdb_complete(&g->r.dst, NULL));
	ASSERT_OK(rig_compare(&g->r, &bad));
}

/* A reset that takes nothing away is no reaper. */
TEST_F_TIMEOUT(dirty, empty_reset_is_harmless, 60)
{
	struct guest *g = &self->g;
	u64 bad;

	ASSERT_OK(guest_init(g, 1, 4096, 10));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 5));
	ASSERT_EQ(not_yours(), reset_rings(g));
	ASSERT_OK(guest_rounds(g, 5));
	ASSERT_OK(guest_finish(g, &bad));
}

/*
 * Marks that are not ours, before ours: no page of which we have taken note may stay
 * without its protection, whoever looks at it next.
 */
TEST_F_TIMEOUT(dirty, foreign_marks, 60)
{
	struct guest *g = &self->g;
	u32 i, n = 4096, marked = 0, dirty = 0, left = 0;
	struct kvm_dirty_gfn *ring;

	ASSERT_OK(guest_init(g, 2, n, 22));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 5));
	ASSERT_TRUE(stopped_dirty(g, 1));
	/* all behind the first vCPU's entries, up to where they begin */
	ring = g->vm.cpus[0].ring;
	for (i = 0; i < n; i++)
		if (!ring[i].flags) {
			__atomic_store_n(&ring[i].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			marked++;
		}
	ring = g->vm.cpus[1].ring;
	for (i = 0; i < n; i++)
		dirty += ring[i].flags == KVM_DIRTY_GFN_F_DIRTY;
	ASSERT_LT(0, dirty);
	ASSERT_LT(dirty, marked);
	ASSERT_EQ(-ESTALE, mdb_harvest(&g->r.src, NULL, NULL));
	ASSERT_EQ(MIGDB_REASON_FOREIGN_REAPER, stats_of(&g->r.src).out_reason);
	for (i = 0; i < n; i++)
		left += !!ring[i].flags;
	ASSERT_EQ(0, left);
}

/* However a session ends, or fails to begin, the rings are the VMM's afterwards. */
TEST_F_TIMEOUT(dirty, ring_goes_back, 60)
{
	struct guest *g = &self->g;
	struct mdb *m = &g->r.src;
	struct migdb_start *start;

	ASSERT_OK(guest_init(g, 1, 4096, 23));
	ASSERT_OK(idle_source(g, m));
	ASSERT_OK(mdb_bind_kvm(m, g->vm.fd));
	ASSERT_EQ(0, reset_rings(g));

	/* a START that can only fail at its very end */
	start = mmap(NULL, MDB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, start);
	*start = (struct migdb_start){
		.size = sizeof(*start), .role = MIGDB_ROLE_SOURCE, .eventfd = -1,
		.uuid = { 1 }, .label = "x",
	};
	ASSERT_EQ(0, mprotect(start, MDB_PAGE, PROT_READ));
	ASSERT_EQ(-1, ioctl(m->fd, MIGDB_START, start));
	ASSERT_EQ(EFAULT, errno);
	ASSERT_EQ(0, reset_rings(g));

	ASSERT_OK(mdb_start(m, MIGDB_ROLE_SOURCE, g->r.uuid, "x"));
	ASSERT_EQ(not_yours(), reset_rings(g));
	ASSERT_OK(mdb_abort(m, 0));
	ASSERT_EQ(0, reset_rings(g));
	mdb_close(m);

	/* closed in the middle, the guest running */
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 3));
	mdb_close(m);
	ASSERT_TRUE(stopped_dirty(g, -1));
	ASSERT_LT(0, vm_ring_reap(&g->vm, g->todo));

	ASSERT_OK(idle_source(g, m));
	ASSERT_OK(mdb_bind_kvm(m, g->vm.fd));
	ASSERT_OK(mdb_start(m, MIGDB_ROLE_SOURCE, g->r.uuid, "x"));
	ASSERT_EQ(not_yours(), reset_rings(g));
	mdb_close(m);
	ASSERT_EQ(0, reset_rings(g));
	munmap(start, MDB_PAGE);
}

TEST_F_TIMEOUT(dirty, seal_with_running_cpu, 60)
{
	struct guest *g = &self->g;
	struct guest_cpu *c;
	u64 bad;

	ASSERT_OK(guest_init(g, 1, 4096, 11));
	/* Heap only and no ticks: nothing makes the vCPU leave KVM_RUN. */
	c = (struct guest_cpu *)(g->vm.ram + GUEST_CPU_GPA(0));
	c->heap_weight = 256;
	c->batch = 1ULL << 40;
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 3));
	usleep(100000);
	ASSERT_EQ(-EBUSY, mdb_seal(&g->r.src, NULL, NULL));
	ASSERT_EQ(MIGDB_STATE_TRACKING, state_of(&g->r.src));
	ASSERT_OK(guest_finish(g, &bad));
}

/* The last harvest is SEAL's own: a VMM need not call it once more. */
TEST_F_TIMEOUT(dirty, seal_harvests, 60)
{
	struct guest *g = &self->g;
	u64 bad, i, before;

	ASSERT_OK(guest_init(g, 1, 4096, 20));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 10));
	ASSERT_TRUE(stopped_dirty(g, -1));
	memset(g->dirty, 0, PAGES / 8);
	vm_dma_collect(&g->vm, g->dirty);
	ASSERT_OK(mdb_dirty(&g->r.src, 0, PAGES, g->dirty, NULL));
	for (i = 0; i < PAGES / 64; i++)
		g->todo[i] |= g->dirty[i];
	before = stats_of(&g->r.src).out_harvested;
	ASSERT_OK(guest_end(g, &bad));
	ASSERT_LT(before, stats_of(&g->r.src).out_harvested);
}

TEST_F(dirty, unlogged_slot)
{
	struct guest *g = &self->g;

	ASSERT_OK(guest_init(g, 1, 4096, 12));
	ASSERT_OK(idle_source(g, &g->r.src));
	ASSERT_OK(mdb_bind_kvm(&g->r.src, g->vm.fd));
	ASSERT_OK(mdb_start(&g->r.src, MIGDB_ROLE_SOURCE, g->r.uuid, "x"));
	ASSERT_EQ(-EOPNOTSUPP, mdb_armed(&g->r.src, 0, PAGES));
	vm_log(&g->vm, true);
	ASSERT_OK(mdb_armed(&g->r.src, 0, PAGES));
}

/* All that the VMM has left after an abort: its own logs, the bitmap, the queue. */
static int what_is_left(struct guest *g, u64 *sent)
{
	struct migdb_run runs[64];
	u64 page, i, left;
	u32 nr, k;
	int rc;

	vm_ring_reap(&g->vm, sent);
	vm_dma_collect(&g->vm, sent);
	for (page = 0; page < g->r.src.nr_pages; page++)
		if (mdb_bit(&g->r.src, page))
			sent[page / 64] |= 1ULL << (page % 64);
	do {
		rc = mdb_dequeue(&g->r.src, runs, 64, ~0ULL, &nr, &left);
		for (k = 0; !rc && k < nr; k++)
			for (i = runs[k].first; i < runs[k].first + runs[k].count; i++)
				sent[i / 64] |= 1ULL << (i % 64);
	} while (!rc && nr);
	return rc;
}

/*
 * Memory that the guest writes to and the session was not told of.  The VMM sends
 * it like any other: its entries must still be in the ring.
 */
TEST_F_TIMEOUT(dirty, uncovered_memory, 60)
{
	struct guest *g = &self->g;
	u64 page, changed = 0;
	int rc = 0, i;
	u8 *before;

	ASSERT_OK(guest_init(g, 1, 4096, 13));
	ASSERT_OK(idle_source(g, &g->r.src));
	ASSERT_OK(mdb_set_memory(&g->r.src, 0, MEM / 2, g->vm.ram));
	ASSERT_OK(mdb_bind_kvm(&g->r.src, g->vm.fd));
	ASSERT_OK(mdb_start(&g->r.src, MIGDB_ROLE_SOURCE, g->r.uuid, "x"));
	vm_log(&g->vm, true);
	before = malloc(MEM);
	ASSERT_NE(NULL, before);
	memcpy(before, g->vm.ram, MEM);
	ASSERT_OK(rig_snapshot(&(struct rig){ .src = g->r.src, .nr_pages = PAGES / 2 }));
	vm_resume(&g->vm);
	for (i = 0; i < 100 && !rc; i++) {
		usleep(10000);
		rc = mdb_harvest(&g->r.src, NULL, NULL);
	}
	ASSERT_EQ(-ECANCELED, rc);
	ASSERT_EQ(MIGDB_REASON_UNCOVERED, stats_of(&g->r.src).out_reason);
	vm_pause(&g->vm);
	ASSERT_OK(what_is_left(g, g->todo));
	for (page = 0; page < PAGES; page++) {
		if (!memcmp(before + page * MDB_PAGE, g->vm.ram + page * MDB_PAGE, MDB_PAGE))
			continue;
		changed += page >= PAGES / 2;
		ASSERT_TRUE(g->todo[page / 64] >> (page % 64) & 1)
			TH_LOG("page %llu was written to and is in no log", (unsigned long long)page);
	}
	TH_LOG("%llu pages changed that the session was not told of", (unsigned long long)changed);
	ASSERT_LT(0, changed);
	free(before);
}

/* The only slot, taken out and put back: the same number, maybe other memory. */
static int change_slot(struct guest *g, u32 flags)
{
	struct kvm_userspace_memory_region slot = {
		.flags = flags, .userspace_addr = (u64)(uintptr_t)g->vm.ram,
	};

	if (ioctl(g->vm.fd, KVM_SET_USER_MEMORY_REGION, &slot))
		return -errno;
	slot.memory_size = MEM;
	return ioctl(g->vm.fd, KVM_SET_USER_MEMORY_REGION, &slot) ? -errno : 0;
}

/* Slots may change while the rings are empty; entries from before are not guessed at. */
TEST_F_TIMEOUT(dirty, changed_slots, 60)
{
	struct guest *g = &self->g;
	u64 harvested, bad;

	ASSERT_OK(guest_init(g, 1, 4096, 20));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 5));
	vm_pause(&g->vm);
	ASSERT_OK(mdb_harvest(&g->r.src, NULL, NULL));
	ASSERT_OK(change_slot(g, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_OK(mdb_harvest(&g->r.src, &harvested, NULL));
	ASSERT_EQ(0, harvested);
	vm_resume(&g->vm);
	ASSERT_OK(guest_rounds(g, 5));

	ASSERT_TRUE(stopped_dirty(g, -1));
	ASSERT_OK(change_slot(g, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(-ECANCELED, mdb_harvest(&g->r.src, NULL, NULL));
	ASSERT_EQ(MIGDB_REASON_UNCOVERED, stats_of(&g->r.src).out_reason);
	ASSERT_OK(mdb_abort(&g->r.dst, 0));
	ASSERT_OK(what_is_left(g, g->todo));
	guest_copy(g, ~0ULL);
	ASSERT_OK(mdb_complete(&g->r.dst, NULL));
	ASSERT_OK(rig_compare(&g->r, &bad));
}

/* As above, but what vCPUs write from then on is in no log: nothing is sealed on that. */
TEST_F_TIMEOUT(dirty, changed_slots_must_log, 60)
{
	struct guest *g = &self->g;

	ASSERT_OK(guest_init(g, 1, 4096, 21));
	vm_resume(&g->vm);
	ASSERT_OK(guest_track(g));
	ASSERT_OK(guest_rounds(g, 5));
	vm_pause(&g->vm);
	ASSERT_OK(mdb_harvest(&g->r.src, NULL, NULL));
	ASSERT_OK(change_slot(g, 0));
	ASSERT_EQ(-ECANCELED, mdb_seal(&g->r.src, NULL, NULL));
	ASSERT_EQ(MIGDB_REASON_UNCOVERED, stats_of(&g->r.src).out_reason);
}

TEST_F(dirty, second_session_on_one_vm)
{
	struct guest *g = &self->g;
	struct mdb m;

	ASSERT_OK(guest_init(g, 1, 4096, 14));
	ASSERT_OK(idle_source(g, &g->r.src));
	ASSERT_OK(mdb_bind_kvm(&g->r.src, g->vm.fd));
	ASSERT_EQ(-EBUSY, mdb_bind_kvm(&g->r.src, g->vm.fd));
	ASSERT_OK(idle_source(g, &m));
	ASSERT_EQ(-EBUSY, mdb_bind_kvm(&m, g->vm.fd));
	ASSERT_OK(mdb_start(&g->r.src, MIGDB_ROLE_SOURCE, g->r.uuid, "x"));
	ASSERT_EQ(-EBUSY, mdb_bind_kvm(&m, g->vm.fd));
	mdb_close(&g->r.src);
	ASSERT_OK(mdb_bind_kvm(&m, g->vm.fd));
	mdb_close(&m);
}

TEST_F(dirty, not_a_vm)
{
	struct guest *g = &self->g;
	int fd = open("/dev/null", O_RDWR);

	ASSERT_OK(guest_init(g, 1, 4096, 15));
	ASSERT_OK(idle_source(g, &g->r.src));
	EXPECT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&g->r.src, fd));
	EXPECT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&g->r.src, g->vm.kvm));
	EXPECT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&g->r.src, g->vm.cpus[0].fd));
	EXPECT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&g->r.src, g->r.src.fd));
	EXPECT_EQ(-EBADF, mdb_bind_kvm(&g->r.src, -1));
	EXPECT_EQ(-EBADF, mdb_bind_kvm(&g->r.src, 999));
	EXPECT_EQ(0, mdb_bind_kvm(&g->r.src, g->vm.fd));
	close(fd);
}

TEST_F(dirty, no_dirty_ring)
{
	ASSERT_OK(guest_init(&self->g, 1, 0, 16));
	ASSERT_OK(idle_source(&self->g, &self->g.r.src));
	ASSERT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&self->g.r.src, self->g.vm.fd));
}

TEST_F(dirty, initially_set)
{
	struct guest *g = &self->g;
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET },
	};

	ASSERT_OK(guest_init(g, 1, 4096, 17));
	if (ioctl(g->vm.fd, KVM_ENABLE_CAP, &cap))
		SKIP(return, "KVM refuses it with a ring");
	ASSERT_OK(idle_source(g, &g->r.src));
	ASSERT_EQ(-EOPNOTSUPP, mdb_bind_kvm(&g->r.src, g->vm.fd));
}

TEST_F(dirty, vm_of_another_process)
{
	struct guest *g = &self->g;
	int status;
	pid_t pid;

	ASSERT_OK(guest_init(g, 1, 4096, 18));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct mdb m;

		if (idle_source(g, &m))
			_exit(1);
		_exit(mdb_bind_kvm(&m, g->vm.fd) == -EPERM ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
}

TEST_F(dirty, bound_destination)
{
	struct guest *g = &self->g;

	ASSERT_OK(guest_init(g, 1, 4096, 19));
	ASSERT_OK(idle_source(g, &g->r.src));
	ASSERT_OK(mdb_bind_kvm(&g->r.src, g->vm.fd));
	ASSERT_EQ(-EINVAL, mdb_start(&g->r.src, MIGDB_ROLE_DEST, g->r.uuid, "x"));
	ASSERT_EQ(MIGDB_STATE_IDLE, state_of(&g->r.src));
}

TEST_HARNESS_MAIN
