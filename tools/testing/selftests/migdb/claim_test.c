// SPDX-License-Identifier: GPL-2.0
/*
 * Who may write a page of the destination: records against the stream, in every
 * order that they can come in.  At the end of each test the memory of both
 * sides is the same.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)

FIXTURE(claim) {
	struct rig r;
};

FIXTURE_SETUP(claim)
{
	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	ASSERT_OK(rig_init(&self->r, PAGES));
	ASSERT_OK(rig_source(&self->r));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	ASSERT_OK(rig_snapshot(&self->r));
	ASSERT_EQ(SET, self->r.candidates);
}

FIXTURE_TEARDOWN(claim)
{
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

TEST_F(claim, all_pages_are_built)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, count_claims(r, MIGDB_CLAIM_DONE));
	ASSERT_EQ(RIG_FIRST, count_claims(r, MIGDB_CLAIM_NONE));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	ASSERT_EQ(SET, stats_of(&r->src).out_built);
	FINISH();
	ASSERT_EQ(MIGDB_STATE_DONE, state_of(&r->src));
	ASSERT_EQ(MIGDB_STATE_DONE, state_of(&r->dst));
}

/* The stream was first: the record is given back, the page is left alone. */
TEST_F(claim, record_after_stream)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 page;

	ASSERT_OK(rig_hash(r, &w));
	for (page = RIG_FIRST; page < PAGES; page += 2) {
		mdb_claim_byte(&r->dst, page);
		memset(r->dst_ram + page * MDB_PAGE, 0x77, MDB_PAGE);
	}
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	for (page = RIG_FIRST; page < PAGES; page++) {
		if (page % 2) {
			ASSERT_EQ(MIGDB_CLAIM_DONE, mdb_claim_of(&r->dst, page));
			continue;
		}
		ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, page));
		ASSERT_EQ(0x77, r->dst_ram[page * MDB_PAGE + 99]) TH_LOG("page %llu was built",
									 (unsigned long long)page);
	}
	ASSERT_EQ(SET / 2, stats_of(&r->dst).out_built);
	ASSERT_EQ(SET / 2, stats_of(&r->dst).out_returned);
	wire_free(&w);
	FINISH();
}

/* Same by MIGDB_CLAIM, for VMMs that do not map the bytes. */
TEST_F(claim, record_after_claim_ioctl)
{
	struct rig *r = &self->r;
	struct wire w = {};

	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(mdb_claim(&r->dst, 0, 512));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(512, count_claims(r, MIGDB_CLAIM_SENT));
	ASSERT_EQ(PAGES - 512, count_claims(r, MIGDB_CLAIM_DONE));
	ASSERT_EQ(RIG_POISON, r->dst_ram[200 * MDB_PAGE]);
	wire_free(&w);
	FINISH();
}

struct late_dirty {
	struct mdb *m;
	void *bitmap;
	u64 dropped;
	int rc;
};

static void *late_dirty(void *arg)
{
	struct late_dirty *d = arg;

	d->rc = mdb_dirty(d->m, 0, PAGES, d->bitmap, &d->dropped);
	return NULL;
}

/* A page that is not there until somebody brings it; -1: no userfaultfd. */
static int absent_page(void **page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	*page = mmap(NULL, MDB_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)*page;
	reg.range.len = MDB_PAGE;
	if (fd >= 0 && *page != MAP_FAILED && !ioctl(fd, UFFDIO_API, &api) &&
	    !ioctl(fd, UFFDIO_REGISTER, &reg))
		return fd;
	close(fd);
	return -1;
}

/*
 * The source aborts while another thread is in a call that takes pages out of the
 * set.  What the VMM sends then is the bitmap and the queue, read once each: nothing
 * may change behind its back.  Here the call is held up by its bitmap.
 */
TEST_F_TIMEOUT(claim, abort_freezes_the_set, 30)
{
	struct rig *r = &self->r;
	struct late_dirty d = { .m = &r->src, .rc = -1 };
	struct uffdio_copy copy = { .len = MDB_PAGE };
	static u8 ones[MDB_PAGE], frozen[PAGES / 8];
	struct migdb_run runs[64];
	struct uffd_msg msg;
	pthread_t thread;
	u64 left;
	u32 nr;
	int fd;

	fd = absent_page(&d.bitmap);
	if (fd < 0)
		SKIP(return, "no userfaultfd");
	memset(ones, 0xff, sizeof(ones));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, late_dirty, &d));
	ASSERT_EQ(sizeof(msg), read(fd, &msg, sizeof(msg)));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);

	ASSERT_OK(mdb_abort(&r->src, 0));
	memcpy(frozen, r->src.map, sizeof(frozen));
	ASSERT_EQ(SET, stats_of(&r->src).out_recorded);
	ASSERT_NE(0, frozen[PAGES / 8 - 1]);
	copy.dst = (uintptr_t)d.bitmap;
	copy.src = (uintptr_t)ones;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_COPY, &copy));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, d.dropped);
	EXPECT_EQ(0, memcmp(frozen, r->src.map, sizeof(frozen)));
	ASSERT_OK(mdb_dequeue(&r->src, runs, 64, ~0ULL, &nr, &left));
	EXPECT_EQ(0, nr);
	close(fd);
}

TEST_F(claim, claim_range_checks)
{
	struct rig *r = &self->r;

	ASSERT_EQ(-EINVAL, mdb_claim(&r->dst, PAGES, 1));
	ASSERT_EQ(-EINVAL, mdb_claim(&r->dst, 0, PAGES + 1));
	ASSERT_EQ(-EINVAL, mdb_claim(&r->dst, 1, ~0ULL));
	ASSERT_EQ(-EINVAL, mdb_claim(&r->dst, 0, 0));
	ASSERT_EQ(0, count_claims(r, MIGDB_CLAIM_SENT));
}

/* Written to at the source after it was recorded and built. */
TEST_F(claim, revoke_after_built)
{
	struct rig *r = &self->r;
	u64 page;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	for (page = RIG_FIRST; page < PAGES; page += 3)
		ASSERT_OK(rig_dirty(r, page));
	ASSERT_OK(rig_pump(r));
	for (page = RIG_FIRST; page < PAGES; page += 3) {
		u8 claim = mdb_claim_of(&r->dst, page);

		ASSERT_FALSE(mdb_bit(&r->src, page));
		ASSERT_TRUE(claim == MIGDB_CLAIM_RETURNED || claim == MIGDB_CLAIM_NONE)
			TH_LOG("page %llu has claim %u", (unsigned long long)page, claim);
	}
	ASSERT_EQ(SET / 3, stats_of(&r->src).out_revoked);
	FINISH();
}

/* Records and revokes of the same pages arrive together: reads are under way. */
TEST_F(claim, revoke_in_flight)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 page;

	ASSERT_OK(rig_hash(r, &w));
	for (page = RIG_FIRST; page < PAGES; page += 2)
		ASSERT_OK(rig_dirty(r, page));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_OK(wire_push(&w, &r->dst));
	for (page = RIG_FIRST; page < PAGES; page += 2)
		rig_deliver(r, page);
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET / 2, count_claims(r, MIGDB_CLAIM_DONE));
	wire_free(&w);
	FINISH();
}

/* A revoked page that nobody sent: the guest must not start. */
TEST_F(claim, complete_with_missing_pages)
{
	struct rig *r = &self->r;
	struct migdb_drain drain;
	u64 missing;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(rig_dirty(r, 101));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(2, missing);
	ASSERT_EQ(MIGDB_STATE_DRAINED, state_of(&r->dst));
	rig_deliver(r, 100);
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(1, missing);
	rig_deliver(r, 101);
	ASSERT_OK(mdb_complete(&r->dst, &missing));
	ASSERT_EQ(MIGDB_STATE_DONE, state_of(&r->dst));
}

/* The end of the stream is lost: nobody knows which pages were revoked in it. */
TEST_F(claim, complete_without_the_end_mark)
{
	struct rig *r = &self->r;
	struct migdb_drain drain;
	struct wire tail = {};
	u64 missing, page, bad;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&tail, &r->src));
	ASSERT_LT(0, tail.bytes);
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	ASSERT_EQ(SET, drain.out_built);
	EXPECT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	EXPECT_EQ(SET, missing);
	ASSERT_EQ(MIGDB_STATE_DRAINED, state_of(&r->dst));
	/* What the stream has brought needs no end mark. */
	rig_deliver_rest(r);
	EXPECT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	EXPECT_EQ(SET - 1, missing);
	for (page = RIG_FIRST; page < PAGES; page++)
		rig_deliver(r, page);
	ASSERT_OK(mdb_complete(&r->dst, &missing));
	ASSERT_OK(rig_compare(r, &bad));
	wire_free(&tail);
}

/* A revoke that is read after DRAIN takes a built page back: the source changed it. */
TEST_F(claim, revoked_after_drain)
{
	struct rig *r = &self->r;
	struct migdb_drain drain;
	struct wire tail = {};
	u64 missing, bad;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&tail, &r->src));
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	ASSERT_EQ(SET, drain.out_built);
	ASSERT_OK(wire_push(&tail, &r->dst));
	EXPECT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	EXPECT_EQ(1, missing);
	rig_deliver_rest(r);
	ASSERT_OK(mdb_complete(&r->dst, &missing));
	ASSERT_OK(rig_compare(r, &bad));
	wire_free(&tail);
}

/* Garbage in the shared bytes means SENT and nothing else. */
TEST_F(claim, unexpected_bytes_count_as_sent)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u8 *claims = r->dst.map;
	u64 page;

	ASSERT_OK(rig_hash(r, &w));
	for (page = RIG_FIRST; page < RIG_FIRST + 250; page++)
		claims[page] = 6 + page - RIG_FIRST;
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	for (page = RIG_FIRST; page < RIG_FIRST + 250; page++)
		ASSERT_EQ(RIG_POISON, r->dst_ram[page * MDB_PAGE + 5])
			TH_LOG("built in spite of claim %u", 6 + (u32)(page - RIG_FIRST));
	ASSERT_EQ(SET - 250, count_claims(r, MIGDB_CLAIM_DONE));
	wire_free(&w);
	FINISH();
}

/* A VMM that scribbles over all bytes all the time: no hang, no crash. */
static void *scribble(void *arg)
{
	struct rig *r = arg;
	u8 *claims = r->dst.map;
	unsigned int seed = 7;

	while (!__atomic_load_n(&r->delivered[0], __ATOMIC_ACQUIRE))
		__atomic_store_n(&claims[rand_r(&seed) % PAGES], rand_r(&seed) % 8,
				 __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(claim, scribbled_bytes_do_not_hang)
{
	struct rig *r = &self->r;
	struct migdb_drain drain;
	pthread_t thread;
	struct wire w = {};

	ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, r));
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(wire_push(&w, &r->dst));
	usleep(300000);
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	__atomic_store_n(&r->delivered[0], 1, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	wire_free(&w);
}

/*
 * The guest has written to every third page, so the stream brings it, while the
 * blocks of its older content are being fetched and the revokes are still on the
 * wire: what the stream wrote stays, in many rounds.
 */
struct hammer {
	struct rig *r;
	u64 first, step;
};

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	u64 page;

	for (page = h->first; page < PAGES; page += h->step) {
		mdb_claim_byte(&h->r->dst, page);
		memset(h->r->dst_ram + page * MDB_PAGE, 0xee, MDB_PAGE);
	}
	return NULL;
}

TEST_F_TIMEOUT(claim, stream_wins_during_fetch, 120)
{
	int round;

	for (round = 0; round < 30; round++) {
		struct rig *r = &self->r;
		struct hammer h = { r, RIG_FIRST + round % 3, 3 };
		pthread_t thread;
		struct wire w = {}, revokes = {};
		u64 page;

		ASSERT_OK(rig_hash(r, &w));
		for (page = h.first; page < PAGES; page += h.step)
			ASSERT_OK(rig_dirty(r, page));
		ASSERT_OK(wire_pull(&revokes, &r->src));
		ASSERT_EQ(0, pthread_create(&thread, NULL, hammer, &h));
		ASSERT_OK(wire_push(&w, &r->dst));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_OK(wire_push(&revokes, &r->dst));
		ASSERT_OK(rig_settle(r, 10000));
		for (page = h.first; page < PAGES; page += h.step) {
			u64 i;

			ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, page));
			for (i = 0; i < MDB_PAGE; i++)
				ASSERT_EQ(0xee, r->dst_ram[page * MDB_PAGE + i])
					TH_LOG("round %d: page %llu byte %llu is the block's", round,
					       (unsigned long long)page, (unsigned long long)i);
		}
		wire_free(&w);
		wire_free(&revokes);
		for (page = h.first; page < PAGES; page += h.step)
			rig_deliver(r, page);
		FINISH();
		rig_exit(r);
		ASSERT_OK(rig_init(r, PAGES));
		ASSERT_OK(rig_source(r));
		ASSERT_OK(rig_dest(r, r->disk));
		ASSERT_OK(rig_snapshot(r));
	}
}

/* A discard at the destination: the pages are not built after it. */
TEST_F(claim, invalidate_at_destination)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 page;

	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(mdb_invalidate(&r->dst, 128, 256));
	memset(r->dst_ram + 128 * MDB_PAGE, 0, 256 * MDB_PAGE);
	ASSERT_OK(rig_settle(r, 10000));
	for (page = 128; page < 128 + 256; page++) {
		ASSERT_NE(MIGDB_CLAIM_DONE, mdb_claim_of(&r->dst, page));
		ASSERT_EQ(0, r->dst_ram[page * MDB_PAGE + 7]);
	}
	wire_free(&w);
	FINISH();
}

/* The queue has what changed while logs were turned on: never the set as well. */
TEST_F(claim, invalidated_before_the_snapshot)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap = {};
	struct mdb *m = &r->src;
	struct migdb_run run;
	u64 left;
	u32 nr;

	mdb_close(m);
	ASSERT_OK(rig_source(r));
	ASSERT_OK(mdb_armed(m, 0, r->nr_pages));
	ASSERT_OK(mdb_invalidate(m, 200, 100));
	ASSERT_OK(mdb_snapshot(m, &snap));
	EXPECT_EQ(r->nr_pages - RIG_FIRST - 100, snap.out_candidates);
	EXPECT_TRUE(mdb_bit(m, 199));
	EXPECT_FALSE(mdb_bit(m, 200));
	EXPECT_FALSE(mdb_bit(m, 299));
	EXPECT_TRUE(mdb_bit(m, 300));
	ASSERT_OK(mdb_dequeue(m, &run, 1, ~0ULL, &nr, &left));
	EXPECT_EQ(1, nr);
	EXPECT_EQ(200, run.first);
	EXPECT_EQ(100, run.count);
	EXPECT_EQ(0, left);
}

TEST_F(claim, invalidate_at_source)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	memset(r->src_ram + 200 * MDB_PAGE, 0, 100 * MDB_PAGE);
	ASSERT_OK(mdb_invalidate(&r->src, 200, 100));
	ASSERT_FALSE(mdb_bit(&r->src, 200));
	ASSERT_FALSE(mdb_bit(&r->src, 299));
	ASSERT_TRUE(mdb_bit(&r->src, 300));
	ASSERT_EQ(100, stats_of(&r->src).out_queued);
	ASSERT_EQ(100, stats_of(&r->src).out_by_reason[MIGDB_REASON_INVALIDATED]);
	FINISH();
}

/* What is excluded at the snapshot is never in the set. */
TEST_F(claim, excluded_and_unarmed_pages)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap = {};
	u64 exclude[PAGES / 64] = {}, page;

	mdb_close(&r->src);
	ASSERT_OK(rig_source(r));
	ASSERT_EQ(-EBUSY, mdb_snapshot(&r->src, &snap));
	memset(exclude, 0xff, 512 / 8);
	snap.exclude_uptr = (uintptr_t)exclude;
	ASSERT_OK(mdb_armed(&r->src, 256, 512));
	ASSERT_OK(mdb_snapshot(&r->src, &snap));
	ASSERT_EQ(256, snap.out_candidates);
	for (page = 0; page < PAGES; page++)
		ASSERT_EQ(page >= 512 && page < 768, mdb_bit(&r->src, page))
			TH_LOG("page %llu", (unsigned long long)page);
}

/* A candidate that was written to between snapshot and hash is not recorded. */
TEST_F(claim, dirty_before_hash)
{
	struct rig *r = &self->r;
	u64 page;

	for (page = 100; page < 200; page++)
		ASSERT_OK(rig_dirty(r, page));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET - 100, stats_of(&r->src).out_recorded);
	ASSERT_EQ(100, stats_of(&r->src).out_dropped);
	ASSERT_EQ(0, stats_of(&r->src).out_revoked);
	FINISH();
}

/* Zero pages are cheaper to send than to read. */
TEST_F(claim, zero_pages_are_sent)
{
	struct rig *r = &self->r;

	memset(r->src_ram + 300 * MDB_PAGE, 0, 50 * MDB_PAGE);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(50, stats_of(&r->src).out_by_reason[MIGDB_REASON_ZERO]);
	ASSERT_EQ(50, stats_of(&r->src).out_queued);
	ASSERT_FALSE(mdb_bit(&r->src, 320));
	FINISH();
}

/* The peer is too slow: everything unconfirmed comes back to the queue. */
TEST_F(claim, reclaim)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 pages;

	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(mdb_reclaim(&r->src, &pages));
	ASSERT_EQ(SET, pages);
	ASSERT_EQ(SET, stats_of(&r->src).out_queued);
	ASSERT_FALSE(mdb_bit(&r->src, RIG_FIRST));
	/* The records arrive all the same, then the revokes. */
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_EQ(SET, rig_deliver_queue(r));
	wire_free(&w);
	FINISH();
}

/* A bad pointer must not lose pages out of the queue. */
TEST_F(claim, dequeue_fault_loses_nothing)
{
	struct rig *r = &self->r;
	struct migdb_run run;
	u64 left;
	u32 nr;

	ASSERT_OK(mdb_invalidate(&r->src, 100, 10));
	ASSERT_OK(mdb_invalidate(&r->src, 200, 10));
	ASSERT_EQ(-EFAULT, mdb_dequeue(&r->src, BAD_PTR, 4, ~0ULL, &nr, &left));
	ASSERT_EQ(20, stats_of(&r->src).out_queued);
	ASSERT_OK(mdb_dequeue(&r->src, &run, 1, 4, &nr, &left));
	ASSERT_EQ(1, nr);
	ASSERT_EQ(100, run.first);
	ASSERT_EQ(4, run.count);
	ASSERT_EQ(16, left);
	ASSERT_OK(mdb_dequeue(&r->src, &run, 0, ~0ULL, &nr, &left));
	ASSERT_EQ(0, nr);
	rig_deliver(r, 100);
	rig_deliver(r, 101);
	rig_deliver(r, 102);
	rig_deliver(r, 103);
	ASSERT_OK(rig_hash(r, NULL));
	FINISH();
}

/* Nor one that goes bad in the middle. */
TEST_F(claim, dequeue_fault_in_the_middle)
{
	struct rig *r = &self->r;
	u8 *pages = mmap(NULL, 2 * MDB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct migdb_run *runs = (struct migdb_run *)(pages + MDB_PAGE) - 1;
	u64 left, taken, i;
	u32 nr;
	int rc;

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + MDB_PAGE, MDB_PAGE, PROT_NONE));
	ASSERT_OK(mdb_invalidate(&r->src, 100, 10));
	ASSERT_OK(mdb_invalidate(&r->src, 200, 10));
	ASSERT_OK(mdb_invalidate(&r->src, 300, 10));
	rc = mdb_dequeue(&r->src, runs, 3, ~0ULL, &nr, &left);
	/* Either it stops before the bad entry, or it takes nothing. */
	ASSERT_TRUE(rc == -EFAULT || (!rc && nr == 1));
	taken = rc ? 0 : runs[0].count;
	ASSERT_EQ(30 - taken, stats_of(&r->src).out_queued);
	for (i = 0; i < taken; i++)
		rig_deliver(r, runs[0].first + i);
	ASSERT_OK(rig_hash(r, NULL));
	FINISH();
}

/* A discard before the record comes: the record is too late for these pages. */
TEST_F(claim, invalidate_before_record)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 page;

	ASSERT_OK(rig_hash(r, &w));
	memset(r->dst_ram + 128 * MDB_PAGE, 0, 256 * MDB_PAGE);
	ASSERT_OK(mdb_invalidate(&r->dst, 128, 256));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	for (page = 128; page < 128 + 256; page++) {
		ASSERT_NE(MIGDB_CLAIM_DONE, mdb_claim_of(&r->dst, page));
		ASSERT_EQ(0, r->dst_ram[page * MDB_PAGE + 7]);
	}
	/* These, and no other page of a run that has one of them. */
	ASSERT_EQ(SET - 256, stats_of(&r->dst).out_built);
	ASSERT_EQ(256, stats_of(&r->dst).out_by_reason[MIGDB_REASON_TWICE]);
	ASSERT_EQ(SET, stats_of(&r->dst).out_recorded);
	ASSERT_EQ(SET, stats_of(&r->src).out_built + stats_of(&r->src).out_returned);
	wire_free(&w);
	FINISH();
}

/* The numbers of the header's kernel-doc add up. */
TEST_F(claim, statistics_add_up)
{
	struct rig *r = &self->r;
	struct migdb_stats s, d;
	u64 page;

	for (page = 70; page < 90; page++)
		ASSERT_OK(rig_dirty(r, page));
	memset(r->src_ram + 300 * MDB_PAGE, 0, 8 * MDB_PAGE);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	for (page = 400; page < 450; page++)
		ASSERT_OK(rig_dirty(r, page));
	ASSERT_OK(rig_pump(r));
	s = stats_of(&r->src);
	d = stats_of(&r->dst);
	ASSERT_EQ(s.out_recorded, s.out_built + s.out_revoked + s.out_returned +
		  s.out_unconfirmed);
	ASSERT_EQ(s.out_candidates, s.out_recorded + s.out_dropped);
	ASSERT_EQ(s.out_recorded, d.out_recorded);
	ASSERT_EQ(50, s.out_revoked);
	ASSERT_EQ(28, s.out_dropped);
	ASSERT_GE(d.out_read_bytes, d.out_built * MDB_PAGE);
	ASSERT_GT(d.out_reads, 0);
	ASSERT_LE(d.out_reads, d.out_built);
	FINISH();
}

TEST_HARNESS_MAIN
