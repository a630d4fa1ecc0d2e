// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is refused when a session already runs, by the memcg of the VMM: some
 * of it, or all.  Nobody is killed, no page is lost, and the VM moves.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include "memcg.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)

FIXTURE(nomem) {
	struct rig r;
	struct memcg cg;
	bool inside;
};

FIXTURE_SETUP(nomem)
{
	struct rig *r = &self->r;

	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(r, PAGES));
	/* room for all that is ever said, so that the tests themselves need none */
	r->pump.room = 2 << 20;
	r->pump.data = malloc(r->pump.room);
	ASSERT_NE(NULL, r->pump.data);
	memset(r->pump.data, 1, r->pump.room);
}

FIXTURE_TEARDOWN(nomem)
{
	if (!self->r.nr_pages)
		return;
	if (self->inside)
		memcg_leave(&self->cg);
	mdb_close(&self->r.src);
	mdb_close(&self->r.dst);
	memcg_remove(&self->cg);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	rig_exit(&self->r);
}

#define CGROUP(_limit)							\
	do {								\
		int rc_ = memcg_create(&self->cg, _limit);		\
		if (rc_ == -ENODEV)					\
			SKIP(return, "no memory controller here");	\
		ASSERT_OK(rc_);						\
	} while (0)

#define ENTER()								\
	do {								\
		ASSERT_OK(memcg_enter(&self->cg));			\
		self->inside = true;					\
	} while (0)

#define LEAVE()								\
	do {								\
		self->inside = false;					\
		ASSERT_OK(memcg_leave(&self->cg));			\
	} while (0)

/* No room for an answer either, while reads have it: a VMM asks again. */
static int patient_settle(struct rig *r)
{
	u64 end = clock_ms() + 20000;
	int rc;

	do {
		rc = rig_settle(r, 20000);
		usleep(2000);
	} while (rc == -ENOMEM && clock_ms() < end);
	return rc;
}

/*
 * Enough for records and small reads, not for large ones: 64 single blocks and 448
 * neighbours.  The whole move takes place in there.
 */
TEST_F_TIMEOUT(nomem, large_reads, 60)
{
	enum { ALONE = 64, TOGETHER = 512 - RIG_FIRST };
	struct rig *r = &self->r;
	struct migdb_stats st;
	u64 page;

	for (page = 512; page < PAGES; page++)
		if (page % 8)
			hints_set(&r->hints, page, 0);
	CGROUP("262144");
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_EQ(ALONE + TOGETHER, r->candidates);
	ENTER();
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(patient_settle(r));
	FINISH();
	LEAVE();
	st = stats_of(&r->dst);
	TH_LOG("built %llu, no memory for %llu", (unsigned long long)st.out_built,
	       (unsigned long long)st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_LT(0, st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_LT(0, st.out_built);
	EXPECT_EQ(st.out_returned, st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_EQ(ALONE + TOGETHER, st.out_built + st.out_returned);
	EXPECT_EQ(st.out_returned,
		  stats_of(&r->src).out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_EQ(MIGDB_STATE_DONE, st.out_state);
}

/* None at all when the records come: all pages go back, as soon as that can be said. */
TEST_F_TIMEOUT(nomem, records, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	struct wire w = {};
	int pushed, pulled;
	char buf[64];

	CGROUP("0");
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(rig_hash(r, &w));
	ENTER();
	pushed = wire_push(&w, &r->dst);
	pulled = read(r->dst.tx, buf, sizeof(buf)) < 0 ? errno : 0;
	LEAVE();
	ASSERT_OK(pushed);
	EXPECT_EQ(ENOMEM, pulled);
	st = stats_of(&r->dst);
	EXPECT_EQ(SET, st.out_recorded);
	EXPECT_EQ(SET, st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_EQ(SET, st.out_returned);
	EXPECT_EQ(SET, count_claims(r, MIGDB_CLAIM_RETURNED));
	ASSERT_OK(rig_settle(r, 10000));
	EXPECT_EQ(SET, stats_of(&r->src).out_queued);
	FINISH();
	wire_free(&w);
}

/* The source cannot hash: it says so, and goes on when it can. */
TEST_F_TIMEOUT(nomem, hash_later, 60)
{
	struct rig *r = &self->r;
	u64 hashed, left;
	int i, rc[3];

	CGROUP("0");
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ENTER();
	for (i = 0; i < 3; i++)
		rc[i] = mdb_hash(&r->src, 4096, &hashed, &left);
	LEAVE();
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ENOMEM, rc[i]);
	EXPECT_EQ(0, stats_of(&r->src).out_recorded);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	EXPECT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
}

/*
 * The VMM loses patience in the middle of it: giving up, and sending all that was
 * left out, needs no memory, not even for a page that was written to last.
 */
TEST_F_TIMEOUT(nomem, give_up, 60)
{
	struct rig *r = &self->r;
	u64 hashed, left, bad, page;
	struct migdb_stats st;
	s64 queue;
	u64 bitmap;
	int rc;

	CGROUP("0");
	memset(r->src_ram + 100 * MDB_PAGE, 0, 8 * MDB_PAGE);
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(mdb_hash(&r->src, SET / 2, &hashed, &left));
	ASSERT_OK(rig_pump(r));
	ENTER();
	rc = rig_dirty(r, 200);
	EXPECT_EQ(-ENOMEM, rc);
	EXPECT_TRUE(mdb_bit(&r->src, 200));
	rc = mdb_abort(&r->src, MIGDB_REASON_NO_MEMORY);
	EXPECT_EQ(0, rc);
	queue = rig_deliver_queue(r);
	bitmap = rig_deliver_bitmap(r);
	rig_deliver_rest(r);
	rc = mdb_abort(&r->dst, MIGDB_REASON_NO_MEMORY);
	EXPECT_EQ(0, rc);
	rc = mdb_complete(&r->dst, NULL);
	LEAVE();
	ASSERT_OK(rc);
	EXPECT_EQ(8, queue);
	EXPECT_EQ(SET - 8, bitmap);
	st = stats_of(&r->src);
	EXPECT_EQ(MIGDB_STATE_ABORTED, st.out_state);
	EXPECT_EQ(MIGDB_REASON_NO_MEMORY, st.out_reason);
	for (page = 0; page < PAGES; page++)
		ASSERT_TRUE(r->delivered[page]);
	ASSERT_OK(rig_compare(r, &bad));
}

/* What waits for a reader counts with all the memory that it takes. */
TEST_F(nomem, frames_of_a_page)
{
	struct rig *r = &self->r;
	u64 hashed, left, frames = 0;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	do {
		ASSERT_OK(mdb_hash(&r->src, 1, &hashed, &left));
		frames += hashed;
	} while (hashed && left);
	TH_LOG("%llu frames of one page each", (unsigned long long)frames);
	/* a MiB of those that have room for a batch of pages */
	EXPECT_LE(1 << 7, frames);
	EXPECT_GE(1 << 9, frames);
	ASSERT_OK(rig_hash(r, NULL));
	FINISH();
}

/*
 * Sessions for memory that is nowhere: a memory table is not looked into before pages
 * are touched, and costs its owner nothing.
 */
FIXTURE(budget) {
	struct mdb m[2];
	u64 ram_bytes;
};

FIXTURE_SETUP(budget)
{
	struct sysinfo info;

	self->m[0] = MDB_CLOSED;
	self->m[1] = MDB_CLOSED;
	REQUIRE_DEVICE();
	ASSERT_OK(sysinfo(&info));
	self->ram_bytes = (u64)info.totalram * info.mem_unit;
}

FIXTURE_TEARDOWN(budget)
{
	mdb_close(&self->m[0]);
	mdb_close(&self->m[1]);
}

/* START of a session whose tables take @percent of the host's memory. */
static int start_large(FIXTURE_DATA(budget) *f, struct mdb *m, u32 role, u32 percent)
{
	static const u8 uuid[MIGDB_UUID_BYTES] = { 1 };
	/* a source takes 7 bytes for 8 pages, a destination 19 */
	u64 pages = f->ram_bytes / 100 * percent * 8 / (role == MIGDB_ROLE_SOURCE ? 7 : 19);
	int rc = mdb_open(m);

	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = mdb_set_memory(m, 0, pages * MDB_PAGE, (void *)(1ULL << 32));
	return rc ? rc : mdb_start(m, role, uuid, "large");
}

TEST_F_TIMEOUT(budget, of_one_session, 60)
{
	ASSERT_EQ(-ENOMEM, start_large(self, &self->m[0], MIGDB_ROLE_SOURCE, 55));
	ASSERT_EQ(-ENOMEM, start_large(self, &self->m[1], MIGDB_ROLE_DEST, 55));
}

TEST_F_TIMEOUT(budget, of_all_sessions, 60)
{
	struct mdb *m = self->m;
	u8 *claims;

	ASSERT_OK(start_large(self, &m[0], MIGDB_ROLE_DEST, 30));
	ASSERT_EQ(-ENOMEM, start_large(self, &m[1], MIGDB_ROLE_DEST, 30));
	mdb_close(&m[1]);
	/* the claims are two fifths of it, and are there as long as they are mapped */
	claims = mmap(NULL, MDB_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, m[0].map_fd, 0);
	ASSERT_NE(MAP_FAILED, claims);
	mdb_close(&m[0]);
	EXPECT_EQ(-ENOMEM, start_large(self, &m[1], MIGDB_ROLE_DEST, 45));
	mdb_close(&m[1]);
	munmap(claims, MDB_PAGE);
	ASSERT_OK(start_large(self, &m[1], MIGDB_ROLE_DEST, 45));
}

TEST_HARNESS_MAIN
