// SPDX-License-Identifier: GPL-2.0
/*
 * Two ends of one list: the destination builds from the front, MIGDB_TAKE takes from
 * the back, until they meet.  At the end of each test both memories are the same, and
 * each page that had left the set was sent: nothing is sent here for good measure.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include "test_util.h"

#define PAGES	2048
#define SET	(PAGES - RIG_FIRST)
#define PROBE	256	/* what is taken before anything is known of the link */

FIXTURE(adaptive) {
	struct rig r;
	u8 *dirty;		/* pages that the VMM has to send by its own log */
};

FIXTURE_SETUP(adaptive)
{
	u64 page;

	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("adaptive", 1);
	ASSERT_OK(rig_init(&self->r, PAGES));
	self->dirty = calloc(PAGES, 1);
	ASSERT_NE(NULL, self->dirty);
	for (page = 0; page < RIG_FIRST; page++)
		self->dirty[page] = 1;
}

FIXTURE_TEARDOWN(adaptive)
{
	mdb_sysfs_write("adaptive", 1);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	free(self->dirty);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

/* Both sessions, and the destination's answer. */
static int start(struct rig *r)
{
	int rc = rig_source(r);

	if (!rc)
		rc = rig_dest(r, r->disk);
	if (!rc)
		rc = rig_pump(r);
	return rc ? rc : rig_snapshot(r);
}

/* What the VMM's own log says; a write after the look is in the next one. */
static void deliver_dirty(struct rig *r, u8 *dirty)
{
	u64 page;

	for (page = 0; page < r->nr_pages; page++)
		if (__atomic_exchange_n(&dirty[page], 0, __ATOMIC_ACQ_REL))
			rig_deliver(r, page);
}

/* The end of a migration; -ENODATA: @bad has left the set, and nobody sent it. */
static int finish(struct rig *r, u8 *dirty, u64 *bad)
{
	u64 page;
	int rc;

	*bad = ~0ULL;
	rc = mdb_seal(&r->src, NULL, NULL);
	if (rc == -EBUSY)	/* it is sealed already */
		rc = 0;
	if (!rc)
		rc = rig_end(r);
	if (rc)
		return rc;
	deliver_dirty(r, dirty);
	for (page = 0; page < r->nr_pages; page++)
		if (!mdb_bit(&r->src, page) && !r->delivered[page]) {
			*bad = page;
			return -ENODATA;
		}
	rc = mdb_complete(&r->dst, NULL);
	if (!rc)
		rc = mdb_complete(&r->src, NULL);
	return rc ? rc : rig_compare(r, bad);
}

#define END()								\
	do {								\
		u64 bad_;						\
		int rc_ = finish(&self->r, self->dirty, &bad_);		\
		ASSERT_EQ(0, rc_) TH_LOG("%s, page %llu", strerror(-rc_),\
					 (unsigned long long)bad_);	\
	} while (0)

#define TAKE(_max, _result)						\
	({								\
		struct migdb_take t_;					\
		ASSERT_OK(mdb_take(&self->r.src, _max, &t_));		\
		ASSERT_EQ(_result, t_.out_result)			\
			TH_LOG("%s, %llu taken, %llu left",		\
			       mdb_take_name(t_.out_result),		\
			       (unsigned long long)t_.out_taken,	\
			       (unsigned long long)t_.out_left);	\
		t_.out_taken;						\
	})

/* Nothing is built as long as this holds, but for the first MiB. */
static int hold_storage(void)
{
	return mdb_sysfs_write("fetch_max_bytes_per_s", 1);
}

/* Every frame of @type in @w: how many pages it names, and that all have @reason. */
static s64 named(const struct wire *w, u16 type, u32 reason)
{
	size_t at, bytes, pos;
	struct wire_range range;
	s64 n = 0;
	u16 is;

	for (at = 0; (bytes = wire_frame(w, at)); at += bytes) {
		memcpy(&is, w->data + at + 4, sizeof(is));
		if (is != type)
			continue;
		for (pos = at + 40; pos < at + bytes; pos += sizeof(range)) {
			memcpy(&range, w->data + pos, sizeof(range));
			if (range.reason != reason)
				return -1;
			n += range.nr;
		}
	}
	return n;
}

/* The far end, no more than a probe, once each; they arrive, and nobody reads them. */
TEST_F_TIMEOUT(adaptive, taken_pages_arrive, 60)
{
	struct rig *r = &self->r;
	struct wire records = {};
	u64 page;

	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, &records));
	ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
	for (page = RIG_FIRST; page < PAGES; page++) {
		ASSERT_EQ(page < PAGES - PROBE, mdb_bit(&r->src, page));
	}
	ASSERT_EQ(PROBE, stats_of(&r->src).out_queued);
	ASSERT_EQ(SET - PROBE, stats_of(&r->src).out_unconfirmed);
	ASSERT_EQ(PROBE, rig_deliver_queue(r));
	/* revokes are behind the records, and in front of no page that is sent later */
	ASSERT_OK(wire_pull(&records, &r->src));
	ASSERT_EQ(PROBE, named(&records, FRAME_REVOKE, MIGDB_REASON_TAKEN));
	ASSERT_OK(wire_push(&records, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_MET));
	ASSERT_EQ(SET - PROBE, stats_of(&r->src).out_built);
	ASSERT_EQ(SET - PROBE, stats_of(&r->dst).out_built);
	ASSERT_EQ(PROBE, stats_of(&r->src).out_by_reason[MIGDB_REASON_TAKEN]);
	END();
	wire_free(&records);
}

/* What is taken is not read any more; the destination says so by its name. */
TEST_F_TIMEOUT(adaptive, taken_pages_are_not_read, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	u64 taken = 0;

	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	while (taken < SET / 2)
		taken += TAKE(SET / 2 - taken, MIGDB_TAKE_DONE);
	ASSERT_OK(rig_pump(r));
	st = stats_of(&r->dst);
	ASSERT_EQ(taken, st.out_by_reason[MIGDB_REASON_TAKEN]);
	ASSERT_EQ(taken, st.out_revoked);
	ASSERT_EQ(0, st.out_by_reason[MIGDB_REASON_DIRTY]);
	ASSERT_EQ(taken, rig_deliver_queue(r));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_OK(rig_settle(r, 20000));
	/* reads that were planned before it knew: four lanes with one each */
	EXPECT_LE(stats_of(&r->dst).out_read_bytes, (SET - taken + 4 * 128) * MDB_PAGE);
	EXPECT_EQ(SET - taken, stats_of(&r->dst).out_built);
	END();
}

/* Both ends meet: each page is built or taken, none is both. */
TEST_F_TIMEOUT(adaptive, both_ends_meet, 60)
{
	struct rig *r = &self->r;
	u64 end = clock_ms() + 40000, sent = 0;
	struct migdb_stats src, dst;
	struct migdb_take t;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 2 << 20));
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	do {
		ASSERT_OK(mdb_take(&r->src, 64, &t));
		/* the revokes first, or storage may meet what was sent already */
		ASSERT_OK(rig_pump(r));
		sent += rig_deliver_queue(r);
		/* a link with a rate of its own, of the same order */
		usleep(30000);
	} while (t.out_result != MIGDB_TAKE_MET && clock_ms() < end);
	ASSERT_EQ(MIGDB_TAKE_MET, t.out_result) TH_LOG("%s", mdb_take_name(t.out_result));
	src = stats_of(&r->src);
	dst = stats_of(&r->dst);
	TH_LOG("%llu built, %llu taken", (unsigned long long)src.out_built,
	       (unsigned long long)sent);
	EXPECT_LT(0, src.out_built);
	EXPECT_LT(PROBE, sent);
	EXPECT_EQ(SET, src.out_built + sent);
	EXPECT_EQ(sent, src.out_by_reason[MIGDB_REASON_TAKEN]);
	EXPECT_EQ(sent, dst.out_by_reason[MIGDB_REASON_TAKEN]);
	EXPECT_EQ(src.out_built, dst.out_built);
	END();
}

/* Storage stands still in mid-way: the source brings all that is left. */
TEST_F_TIMEOUT(adaptive, storage_stands_still, 60)
{
	struct rig *r = &self->r;
	u64 end = clock_ms() + 40000, built, sent = 0;
	struct migdb_take t;

	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	while (stats_of(&r->src).out_built < PROBE / 2 && clock_ms() < end)
		ASSERT_OK(rig_pump(r));
	built = stats_of(&r->src).out_built;
	ASSERT_LE(PROBE / 2, built);
	do {
		ASSERT_OK(mdb_take(&r->src, PAGES, &t));
		sent += rig_deliver_queue(r);
		ASSERT_OK(rig_pump(r));
		usleep(5000);
	} while (t.out_result != MIGDB_TAKE_MET && clock_ms() < end);
	ASSERT_EQ(MIGDB_TAKE_MET, t.out_result) TH_LOG("%s", mdb_take_name(t.out_result));
	/* four reads of half a MiB may have been due */
	EXPECT_LE(SET - built - 4 * 128, sent);
	EXPECT_EQ(SET, sent + stats_of(&r->src).out_built);
	END();
}

/* A link that does not come back for more: storage brings the rest. */
TEST_F_TIMEOUT(adaptive, link_stands_still, 60)
{
	struct rig *r = &self->r;
	u64 hashed, left;

	ASSERT_OK(start(r));
	/* the list is there when hashing has begun */
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_AGAIN));
	ASSERT_OK(mdb_hash(&r->src, 80, &hashed, &left));
	ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(SET - PROBE, stats_of(&r->src).out_built);
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_MET));
	END();
}

/* A page that has no record yet needs none: nothing is hashed, nothing revoked. */
TEST_F_TIMEOUT(adaptive, taken_before_hashed, 60)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 hashed, left, page;

	ASSERT_OK(start(r));
	ASSERT_OK(mdb_hash(&r->src, 100, &hashed, &left));
	ASSERT_EQ(100, hashed);
	ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
	for (page = RIG_FIRST; page < PAGES; page++) {
		ASSERT_EQ(page < PAGES - PROBE, mdb_bit(&r->src, page));
	}
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_EQ(0, named(&w, FRAME_REVOKE, MIGDB_REASON_TAKEN));
	ASSERT_EQ(SET - PROBE, stats_of(&r->src).out_recorded);
	ASSERT_EQ(PROBE, stats_of(&r->src).out_dropped);
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(SET - PROBE, stats_of(&r->dst).out_built);
	END();
	wire_free(&w);
}

/* The taker meets the hasher, and goes on among what is hashed. */
TEST_F_TIMEOUT(adaptive, taker_meets_hasher, 60)
{
	struct rig *r = &self->r;
	u64 hashed, left, taken = 0;
	struct migdb_take t;

	ASSERT_OK(start(r));
	ASSERT_OK(mdb_hash(&r->src, 500, &hashed, &left));
	ASSERT_EQ(500, hashed);
	do {
		ASSERT_OK(mdb_take(&r->src, PAGES, &t));
		taken += t.out_taken;
	} while (t.out_result == MIGDB_TAKE_DONE);
	ASSERT_EQ(MIGDB_TAKE_AGAIN, t.out_result);
	ASSERT_EQ(SET, taken);
	ASSERT_EQ(0, stats_of(&r->src).out_unconfirmed);
	ASSERT_OK(mdb_hash(&r->src, PAGES, &hashed, &left));
	ASSERT_EQ(0, hashed);
	ASSERT_EQ(0, left);
	ASSERT_EQ(500, stats_of(&r->src).out_recorded);
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_MET));
	END();
}

/* The destination has built pages, and its word of it and our taking them cross. */
TEST_F_TIMEOUT(adaptive, taken_while_confirmed, 60)
{
	struct rig *r = &self->r;
	struct wire back = {}, w = {};

	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, &w));
	/* and no answer comes back */
	ASSERT_OK(wire_push(&w, &r->dst));
	wire_free(&w);
	ASSERT_EQ(SET, wait_built(&r->dst, SET));
	ASSERT_OK(wire_pull(&back, &r->dst));
	ASSERT_EQ(PROBE, TAKE(PROBE, MIGDB_TAKE_DONE));
	ASSERT_OK(wire_push(&back, &r->src));
	ASSERT_EQ(SET - PROBE, stats_of(&r->src).out_built);
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(SET - PROBE, stats_of(&r->dst).out_built);
	ASSERT_EQ(PROBE, count_claims(r, MIGDB_CLAIM_RETURNED));
	END();
	wire_free(&back);
}

/* Built pages are never taken: they are passed over, wherever they are. */
TEST_F_TIMEOUT(adaptive, built_pages_stay, 60)
{
	struct rig *r = &self->r;
	struct wire_range built = { .gfn = PAGES - 100, .nr = 100 };
	struct wire hello = {}, w = {};
	u64 page;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(wire_pull(&hello, &r->src));
	ASSERT_OK(wire_end(&w, &hello, FRAME_WELCOME, 0, 1));
	ASSERT_OK(wire_push(&w, &r->src));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, &w));
	w.bytes = 0;
	ASSERT_OK(wire_list(&w, &hello, FRAME_BUILT, 1, &built, 1));
	ASSERT_OK(wire_push(&w, &r->src));
	ASSERT_EQ(50, TAKE(50, MIGDB_TAKE_DONE));
	for (page = RIG_FIRST; page < PAGES; page++) {
		ASSERT_EQ(page < PAGES - 150 || page >= PAGES - 100, mdb_bit(&r->src, page));
	}
	wire_free(&hello);
	wire_free(&w);
}

/* A destination that claims to have built all: there is nothing to take, nor to run. */
TEST_F_TIMEOUT(adaptive, lying_destination, 60)
{
	struct rig *r = &self->r;
	struct wire_range all = { .gfn = RIG_FIRST, .nr = SET };
	struct migdb_drain drain;
	struct wire hello = {}, w = {};
	u64 missing = 0, page;

	ASSERT_OK(hold_storage());
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(wire_pull(&hello, &r->src));
	ASSERT_EQ((ssize_t)hello.bytes, write(r->dst.rx, hello.data, hello.bytes));
	ASSERT_OK(wire_pull(&w, &r->dst));
	ASSERT_OK(wire_push(&w, &r->src));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(wire_list(&w, &hello, FRAME_BUILT, 1, &all, 1));
	ASSERT_OK(wire_push(&w, &r->src));
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_MET));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(mdb_drain(&r->dst, 0, &drain));
	ASSERT_LT(drain.out_built, SET);
	for (page = 0; page < RIG_FIRST; page++)
		rig_deliver(r, page);
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(SET - drain.out_built, missing);
	wire_free(&hello);
	wire_free(&w);
}

/* What the other side knows decides what it is told, and nothing else. */
TEST_F_TIMEOUT(adaptive, older_and_newer_peers, 60)
{
	static const struct {
		u64 offers;
		u32 reason;
	} peer[] = {
		{ 0, MIGDB_REASON_DIRTY },
		{ 1, MIGDB_REASON_TAKEN },
		{ ~0ULL - 1, MIGDB_REASON_DIRTY },
		{ ~0ULL, MIGDB_REASON_TAKEN },
	};
	struct rig *r = &self->r;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(peer); i++) {
		struct wire hello = {}, w = {};

		ASSERT_OK(rig_source(r));
		ASSERT_OK(wire_pull(&hello, &r->src));
		ASSERT_OK(rig_snapshot(r));
		ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_NO_PEER));
		ASSERT_OK(wire_end(&w, &hello, FRAME_WELCOME, 0, peer[i].offers));
		ASSERT_OK(wire_push(&w, &r->src));
		ASSERT_OK(rig_hash(r, &w));
		ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
		w.bytes = 0;
		ASSERT_OK(wire_pull(&w, &r->src));
		ASSERT_EQ(PROBE, named(&w, FRAME_REVOKE, peer[i].reason));
		ASSERT_EQ(PROBE, stats_of(&r->src).out_by_reason[MIGDB_REASON_TAKEN]);
		wire_free(&hello);
		wire_free(&w);
		mdb_close(&r->src);
	}
}

/* The destination's own words: it offers what this source may use. */
TEST_F_TIMEOUT(adaptive, offered_in_welcome, 60)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 offers;
	u16 type;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_OK(wire_pull(&w, &r->dst));
	memcpy(&type, w.data + 4, sizeof(type));
	memcpy(&offers, w.data + 32, sizeof(offers));
	EXPECT_EQ(FRAME_WELCOME, type);
	EXPECT_EQ(1, offers);
	wire_free(&w);
}

/* The operator's word, for the host and for one session; it can be taken back. */
TEST_F_TIMEOUT(adaptive, switched_off, 60)
{
	struct rig *r = &self->r;

	ASSERT_EQ(1, mdb_sysfs_read("adaptive"));
	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_EQ(1, mdb_sysfs_read("rig-source/adaptive"));
	ASSERT_GT(0, mdb_sysfs_read("rig-dest/adaptive"));
	ASSERT_OK(mdb_sysfs_write("adaptive", 0));
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_OFF));
	ASSERT_OK(mdb_sysfs_write("adaptive", 1));
	ASSERT_OK(mdb_sysfs_write("rig-source/adaptive", 0));
	ASSERT_EQ(0, TAKE(PAGES, MIGDB_TAKE_OFF));
	ASSERT_EQ(0, stats_of(&r->src).out_queued);
	ASSERT_OK(mdb_sysfs_write("rig-source/adaptive", 1));
	ASSERT_EQ(10, TAKE(10, MIGDB_TAKE_DONE));
	ASSERT_EQ(10, mdb_sysfs_read("rig-source/by_reason/taken"));
	END();
}

/* After an abort nothing moves: the bitmap and the queue are what has to be sent. */
TEST_F_TIMEOUT(adaptive, aborted, 60)
{
	struct rig *r = &self->r;
	struct migdb_take t;
	u64 bad;

	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
	ASSERT_OK(mdb_abort(&r->src, 0));
	ASSERT_EQ(-ECANCELED, mdb_take(&r->src, PAGES, &t));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(PROBE, rig_deliver_queue(r));
	ASSERT_EQ(SET - PROBE, rig_deliver_bitmap(r));
	deliver_dirty(r, self->dirty);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_EQ(0, rig_compare(r, &bad));
}

/* The guest stands still, and the rest is split as before. */
TEST_F_TIMEOUT(adaptive, sealed, 60)
{
	struct rig *r = &self->r;
	u64 taken;

	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	taken = TAKE(PAGES, MIGDB_TAKE_DONE);
	ASSERT_EQ(taken, rig_deliver_queue(r));
	END();
}

/* What is not hashed by then never will be: it is the VMM's, and there is an end. */
TEST_F_TIMEOUT(adaptive, sealed_before_all_is_hashed, 60)
{
	struct rig *r = &self->r;
	struct migdb_take t = {};
	u64 hashed, left;
	int n, i;

	ASSERT_OK(hold_storage());
	ASSERT_OK(start(r));
	ASSERT_OK(mdb_hash(&r->src, 100, &hashed, &left));
	ASSERT_NE(0, left);
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	for (i = 0; i < 20 && t.out_result != MIGDB_TAKE_MET; i++) {
		ASSERT_OK(mdb_take(&r->src, PAGES, &t));
		n = rig_deliver_queue(r);
		ASSERT_LE(0, n);
	}
	ASSERT_EQ(MIGDB_TAKE_MET, t.out_result) TH_LOG("%s", mdb_take_name(t.out_result));
	END();
}

/* Blocks that are not what the pages hold come back, whoever has taken what. */
TEST_F_TIMEOUT(adaptive, wrong_blocks, 60)
{
	struct rig *r = &self->r;
	struct wire w = {};
	u64 page;
	u8 buf[MDB_PAGE];

	for (page = RIG_FIRST; page < PAGES; page += 2) {
		rig_fill(buf, page + 1000000);
		ASSERT_OK(disk_write(r->disk, page, buf));
	}
	ASSERT_OK(start(r));
	/* taken before anything can be built; the revokes come behind the records */
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_EQ(PROBE, TAKE(PAGES, MIGDB_TAKE_DONE));
	ASSERT_OK(wire_push(&w, &r->dst));
	wire_free(&w);
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ((SET - PROBE) / 2, stats_of(&r->src).out_built);
	END();
}

TEST_F(adaptive, bad_arguments)
{
	struct rig *r = &self->r;
	struct migdb_take t = { .size = sizeof(t), .max_pages = 1 };
	struct migdb_get_info info;

	ASSERT_OK(start(r));
	ASSERT_OK(mdb_info(&r->src, 0, &info));
	ASSERT_EQ(MIGDB_FEATURE_TAKE, info.out_features & MIGDB_FEATURE_TAKE);
	t.__reserved = 1;
	ASSERT_EQ(-1, ioctl(r->src.fd, MIGDB_TAKE, &t));
	ASSERT_EQ(EINVAL, errno);
	t.__reserved = 0;
	t.max_pages = 0;
	ASSERT_EQ(-1, ioctl(r->src.fd, MIGDB_TAKE, &t));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-EBUSY, mdb_take(&r->dst, 1, &t));
	ASSERT_EQ(0, stats_of(&r->src).out_queued);
	ASSERT_OK(rig_hash(r, NULL));
	END();
}

struct writers {
	struct rig *r;
	u8 *dirty;
	u64 seed;
	bool stop;
	int rc;
};

/* Writes to memory, and says so in the order of a VMM with a log. */
static void *write_all_the_time(void *arg)
{
	struct writers *w = arg;
	u64 page, n = w->seed;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE) && !w->rc) {
		n = n * 6364136223846793005ULL + 1442695040888963407ULL;
		page = RIG_FIRST + (n >> 33) % SET;
		w->rc = rig_dirty(w->r, page);
		__atomic_store_n(&w->dirty[page], 1, __ATOMIC_RELEASE);
		usleep(200);
	}
	return NULL;
}

static void *hash_all_the_time(void *arg)
{
	struct writers *w = arg;
	u64 hashed, left = 1;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE) && !w->rc && left) {
		w->rc = mdb_hash(&w->r->src, 64, &hashed, &left);
		usleep(10000);
	}
	return NULL;
}

/* All at once: two writers, the hasher, the taker, storage, and the stream. */
TEST_F_TIMEOUT(adaptive, under_writers, 120)
{
	struct writers w[3] = {};
	struct rig *r = &self->r;
	u64 end = clock_ms() + 5000, round = 0, room;
	struct migdb_take t;
	pthread_t thread[3];
	struct migdb_stats st;
	u32 i;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1 << 20));
	ASSERT_OK(start(r));
	for (i = 0; i < 3; i++) {
		w[i] = (struct writers){ .r = r, .dirty = self->dirty, .seed = i + 7 };
		ASSERT_EQ(0, pthread_create(&thread[i], NULL,
					    i ? write_all_the_time : hash_all_the_time, &w[i]));
	}
	do {
		ASSERT_OK(rig_pump(r));
		room = 1 + round++ % 60;
		ASSERT_OK(mdb_take(&r->src, room, &t));
		ASSERT_LE(0, rig_deliver_queue(r));
		deliver_dirty(r, self->dirty);
		usleep(20000);
	} while (clock_ms() < end);
	for (i = 0; i < 3; i++)
		__atomic_store_n(&w[i].stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < 3; i++)
		ASSERT_OK(w[i].rc);
	st = stats_of(&r->src);
	TH_LOG("%llu taken, %llu written to, %llu built",
	       (unsigned long long)st.out_by_reason[MIGDB_REASON_TAKEN],
	       (unsigned long long)st.out_by_reason[MIGDB_REASON_DIRTY],
	       (unsigned long long)st.out_built);
	EXPECT_LT(0, st.out_by_reason[MIGDB_REASON_TAKEN]);
	EXPECT_LT(0, st.out_by_reason[MIGDB_REASON_DIRTY]);
	END();
}

TEST_HARNESS_MAIN
