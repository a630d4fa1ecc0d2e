// SPDX-License-Identifier: GPL-2.0
/*
 * The stream is hostile input.  Whatever is cut, flipped, repeated, reordered or
 * invented: EBADMSG, the session is ABORTED, and every page is accounted for,
 * so that an ordinary migration can go on.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include "test_util.h"

#define PAGES	256
#define SET	(PAGES - RIG_FIRST)

FIXTURE(stream) {
	struct rig r;
	struct wire w;		/* all that the source has to say at first */
};

FIXTURE_SETUP(stream)
{
	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(&self->r, PAGES));
	ASSERT_OK(rig_source(&self->r));
	ASSERT_OK(rig_snapshot(&self->r));
	ASSERT_OK(rig_hash(&self->r, &self->w));
	ASSERT_LT(0, self->w.bytes);
}

FIXTURE_TEARDOWN(stream)
{
	if (!self->r.nr_pages)
		return;
	wire_free(&self->w);
	rig_exit(&self->r);
}

/* Offset of frame @n, or the end. */
static size_t frame_at(const struct wire *w, u32 n)
{
	size_t at = 0;

	while (n-- && at < w->bytes) {
		size_t bytes = wire_frame(w, at);

		if (!bytes)
			return w->bytes;
		at += bytes;
	}
	return at;
}

static u32 nr_frames(const struct wire *w)
{
	size_t at = 0, bytes;
	u32 n = 0;

	for (; (bytes = wire_frame(w, at)); n++)
		at += bytes;
	return at == w->bytes ? n : 0;
}

static int push(struct rig *r, const void *data, size_t bytes)
{
	ssize_t n = write(r->dst.rx, data, bytes);

	return n < 0 ? -errno : n == (ssize_t)bytes ? 0 : -EIO;
}

/*
 * After a bad frame: ordinary.  Each page was not recorded (and is the source's to
 * send like any other), or is built as the source had it, or is missing until it
 * is sent.  With all of them sent the guest may start.
 */
static int aborted_and_accounted(struct rig *r)
{
	struct migdb_stats st = stats_of(&r->dst);
	u64 page, done, missing = 0, bad;
	int rc;

	if (st.out_state != MIGDB_STATE_ABORTED || st.out_reason != MIGDB_REASON_BAD_STREAM)
		return -ENOTRECOVERABLE;
	done = count_claims(r, MIGDB_CLAIM_DONE);
	if (st.out_built != done || st.out_recorded != st.out_built + st.out_returned)
		return -ERANGE;
	if (count_claims(r, MIGDB_CLAIM_TODO) || count_claims(r, MIGDB_CLAIM_BUSY))
		return -EBUSY;
	for (page = 0; page < r->nr_pages; page++)
		/* one that left the set is the VMM's to send, built or not */
		if (mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_DONE && mdb_bit(&r->src, page) &&
		    memcmp(r->src_ram + page * MDB_PAGE, r->dst_ram + page * MDB_PAGE, MDB_PAGE))
			return -EILSEQ;
	rc = mdb_complete(&r->dst, &missing);
	if (missing != st.out_returned || (missing ? rc != -EUCLEAN : rc))
		return -EUCLEAN;
	rc = mdb_abort(&r->src, 0);
	if (rc)
		return rc;
	rig_deliver_bitmap(r);
	rig_deliver_rest(r);
	rc = mdb_complete(&r->dst, &missing);
	return rc ? rc : rig_compare(r, &bad);
}

static int new_pair(struct rig *r)
{
	mdb_close(&r->dst);
	memset(r->dst_ram, RIG_POISON, r->nr_pages * MDB_PAGE);
	return rig_dest(r, r->disk);
}

/*
 * A stream with fewer tags.  Most of a long one are tags, each like any other, and in
 * the tests below every byte takes a session of its own.
 */
static int shorten(struct rig *r, struct wire *w)
{
	int rc;

	wire_free(w);
	rig_exit(r);
	rc = rig_init(r, RIG_FIRST + 40);
	if (!rc)
		rc = rig_source(r);
	if (!rc)
		rc = rig_snapshot(r);
	return rc ? rc : rig_hash(r, w);
}

TEST_F(stream, frames_are_whole)
{
	ASSERT_GT(nr_frames(&self->w), 1);
	ASSERT_EQ(self->w.bytes, frame_at(&self->w, 1000));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	ASSERT_OK(push(&self->r, self->w.data, self->w.bytes));
	ASSERT_OK(rig_settle(&self->r, 10000));
	ASSERT_EQ(SET, stats_of(&self->r.dst).out_built);
}

/* A byte of each position, the first frames; one bit of it at a time. */
TEST_F_TIMEOUT(stream, flipped_at_every_byte, 300)
{
	struct rig *r = &self->r;
	struct wire *w = &self->w;
	u64 flips = 0;
	size_t at;

	ASSERT_OK(shorten(r, w));
	for (at = 0; at < w->bytes; at++) {
		/* frames before the spoiled one arrive, in the same write */
		w->data[at] ^= 1u << (at % 8);
		ASSERT_OK(new_pair(r));
		ASSERT_EQ(-EBADMSG, push(r, w->data, w->bytes)) TH_LOG("byte %zu", at);
		ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst)) TH_LOG("byte %zu", at);
		ASSERT_EQ(0, count_claims(r, MIGDB_CLAIM_TODO));
		w->data[at] ^= 1u << (at % 8);
		flips++;
	}
	ASSERT_OK(aborted_and_accounted(r));
	TH_LOG("%llu flips, each found", (unsigned long long)flips);
}

TEST_F_TIMEOUT(stream, cut_at_every_byte, 300)
{
	struct rig *r = &self->r;
	struct wire *w = &self->w;
	size_t at, edge = 0;
	u32 frame = 0;

	ASSERT_OK(shorten(r, w));
	for (at = 1; at < w->bytes; at++) {
		int rc;

		if (at == frame_at(w, frame + 1)) {
			frame++;
			edge++;
		}
		ASSERT_OK(new_pair(r));
		rc = push(r, w->data, at);
		if (at == frame_at(w, frame)) {
			ASSERT_OK(rc);
			ASSERT_EQ(MIGDB_STATE_FILLING, state_of(&r->dst));
			continue;
		}
		ASSERT_EQ(-EBADMSG, rc) TH_LOG("cut at %zu", at);
		ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	}
	ASSERT_EQ(nr_frames(w) - 1, edge);
}

TEST_F(stream, aborted_leaves_an_ordinary_migration)
{
	struct rig *r = &self->r;
	size_t last = frame_at(&self->w, nr_frames(&self->w) - 1);

	ASSERT_OK(new_pair(r));
	self->w.data[last + 100] ^= 1;
	ASSERT_EQ(-EBADMSG, push(r, self->w.data, self->w.bytes));
	ASSERT_OK(aborted_and_accounted(r));
}

/* Built pages stay built when the stream breaks later. */
TEST_F(stream, broken_after_pages_were_built)
{
	struct rig *r = &self->r;
	u8 junk[64];

	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	ASSERT_OK(rig_settle(r, 10000));
	memset(junk, 0xa5, sizeof(junk));
	ASSERT_EQ(-EBADMSG, push(r, junk, sizeof(junk)));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	ASSERT_OK(aborted_and_accounted(r));
}

TEST_F(stream, replayed)
{
	struct rig *r = &self->r;
	size_t second = frame_at(&self->w, 1);

	/* the same frame twice */
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	ASSERT_EQ(-EBADMSG, push(r, self->w.data + second,
				 wire_frame(&self->w, second)));
	ASSERT_OK(aborted_and_accounted(r));
	/* all of it twice */
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	ASSERT_EQ(-EBADMSG, push(r, self->w.data, self->w.bytes));
}

TEST_F(stream, out_of_order)
{
	struct rig *r = &self->r;
	struct wire *w = &self->w;
	size_t second = frame_at(w, 1);
	struct wire more = {};
	size_t first;

	/* without the first one */
	ASSERT_OK(new_pair(r));
	ASSERT_EQ(-EBADMSG, push(r, w->data + second, w->bytes - second));
	/* two revokes in the wrong order */
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, w->data, w->bytes));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(wire_pull(&more, &r->src));
	first = more.bytes;
	ASSERT_OK(rig_dirty(r, 101));
	ASSERT_OK(wire_pull(&more, &r->src));
	ASSERT_EQ(-EBADMSG, push(r, more.data + first, more.bytes - first));
	ASSERT_OK(aborted_and_accounted(r));
	wire_free(&more);
}

/* A frame that was lost on the way is a gap. */
TEST_F(stream, lost_revoke)
{
	struct rig *r = &self->r;
	struct wire lost = {}, next = {};

	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(wire_pull(&lost, &r->src));
	ASSERT_LT(0, lost.bytes);
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&next, &r->src));
	ASSERT_EQ(-EBADMSG, wire_push(&next, &r->dst));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	wire_free(&lost);
	wire_free(&next);
}

/* Another attempt's stream, well-formed in itself. */
TEST_F(stream, foreign_uuid)
{
	struct rig *r = &self->r;
	struct wire other = {};
	struct mdb m;
	u8 uuid[MIGDB_UUID_BYTES] = { 1, 2, 3 };

	ASSERT_OK(rig_source_idle(r, &m));
	ASSERT_OK(mdb_start(&m, MIGDB_ROLE_SOURCE, uuid, "other"));
	ASSERT_OK(wire_pull(&other, &m));
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
	ASSERT_EQ(-EBADMSG, wire_push(&other, &r->dst));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	mdb_close(&m);
	wire_free(&other);
}

/* Records of one attempt behind the header of another one. */
TEST_F(stream, spliced)
{
	struct rig *r = &self->r;
	struct wire other = {};
	struct mdb m;
	size_t second = frame_at(&self->w, 1);

	/* the same uuid, another key */
	ASSERT_OK(rig_source_idle(r, &m));
	ASSERT_OK(mdb_start(&m, MIGDB_ROLE_SOURCE, r->uuid, "again"));
	ASSERT_OK(wire_pull(&other, &m));
	ASSERT_OK(new_pair(r));
	ASSERT_OK(wire_push(&other, &r->dst));
	ASSERT_EQ(-EBADMSG, push(r, self->w.data + second, self->w.bytes - second));
	ASSERT_EQ(0, stats_of(&r->dst).out_built);
	ASSERT_OK(aborted_and_accounted(r));
	mdb_close(&m);
	wire_free(&other);
}

/* Frames of one direction fed into the other. */
TEST_F(stream, reflected)
{
	struct rig *r = &self->r;
	struct wire back = {};

	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	ASSERT_OK(wire_pull(&back, &r->dst));
	ASSERT_LT(0, back.bytes);
	ASSERT_EQ(-EBADMSG, push(r, back.data, back.bytes));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	ASSERT_EQ(-1, write(r->src.rx, self->w.data, self->w.bytes));
	ASSERT_EQ(EBADMSG, errno);
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
	ASSERT_EQ(SET, rig_deliver_bitmap(r));
	wire_free(&back);
}

/* A new pair, of which the destination has built all: what it answers. */
static int answered(struct rig *r, struct wire *back)
{
	struct wire first = {};
	int rc;

	mdb_close(&r->src);
	rc = rig_source(r);
	if (!rc)
		rc = rig_snapshot(r);
	if (!rc)
		rc = rig_hash(r, &first);
	if (!rc)
		rc = new_pair(r);
	if (!rc)
		rc = wire_push(&first, &r->dst);
	if (!rc)
		rc = wait_built(&r->dst, SET) == SET ? wire_pull(back, &r->dst) : -ETIMEDOUT;
	wire_free(&first);
	return rc;
}

/* The return stream is as hostile. */
TEST_F_TIMEOUT(stream, return_stream_flipped, 300)
{
	struct rig *r = &self->r;
	struct wire back = {};
	size_t at = 0, bytes;

	/* as it is, it is taken */
	ASSERT_OK(answered(r, &back));
	ASSERT_LT(100, back.bytes);
	ASSERT_OK(wire_push(&back, &r->src));
	ASSERT_EQ(MIGDB_STATE_TRACKING, state_of(&r->src));
	ASSERT_EQ(0, stats_of(&r->src).out_unconfirmed);
	do {
		ASSERT_OK(answered(r, &back));
		bytes = back.bytes;
		back.data[at] ^= 0x40;
		EXPECT_EQ(-EBADMSG, wire_push(&back, &r->src)) TH_LOG("byte %zu", at);
		EXPECT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src)) TH_LOG("byte %zu", at);
		EXPECT_EQ(SET, rig_deliver_bitmap(r));
		back.bytes = 0;
	} while (++at < bytes);
	wire_free(&back);
}

/* The first @bytes of an answer, and nothing more: what is not confirmed is sent. */
static int cut_answer(struct rig *r, struct wire *back, size_t bytes, bool in_frame)
{
	u64 page, bad, open;
	int rc;

	back->bytes = bytes;
	rc = wire_push(back, &r->src);
	back->bytes = 0;
	if (in_frame) {
		/* ordinary from here on: all is sent */
		if (rc != -EBADMSG || state_of(&r->src) != MIGDB_STATE_ABORTED)
			return -ENOTRECOVERABLE;
		if (rig_deliver_bitmap(r) != SET)
			return -ERANGE;
	} else {
		open = stats_of(&r->src).out_unconfirmed;
		if (!rc)
			rc = mdb_seal(&r->src, NULL, NULL);
		if (!rc)
			rc = mdb_reclaim(&r->src, NULL);
		if (rc)
			return rc;
		if (stats_of(&r->src).out_unconfirmed || rig_deliver_queue(r) != (s64)open)
			return -ERANGE;
	}
	for (page = 0; page < RIG_FIRST; page++)
		rig_deliver(r, page);
	rc = mdb_abort(&r->dst, 0);
	if (!rc)
		rc = mdb_complete(&r->dst, NULL);
	return rc ? rc : rig_compare(r, &bad);
}

TEST_F_TIMEOUT(stream, return_stream_cut, 300)
{
	struct rig *r = &self->r;
	struct wire back = {};
	size_t at, bytes, whole;
	u32 n;

	/* between two frames */
	for (n = 0; ; n++) {
		ASSERT_OK(answered(r, &back));
		at = frame_at(&back, n);
		if (at == back.bytes)
			break;
		EXPECT_EQ(0, cut_answer(r, &back, at, false)) TH_LOG("at %zu", at);
	}
	ASSERT_LT(1, n);
	back.bytes = 0;
	/* and within one */
	for (at = 1; ; at++) {
		ASSERT_OK(answered(r, &back));
		bytes = back.bytes;
		for (n = 0, whole = 0; whole < at && whole < bytes; n++)
			whole = frame_at(&back, n);
		if (at >= bytes)
			break;
		if (at == whole)
			back.bytes = 0;
		else
			EXPECT_EQ(0, cut_answer(r, &back, at, true)) TH_LOG("at %zu", at);
	}
	wire_free(&back);
}

TEST_F(stream, flipped_answer_of_the_right_peer)
{
	struct rig *r = &self->r;
	struct wire back = {};

	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	usleep(200000);
	ASSERT_OK(wire_pull(&back, &r->dst));
	back.data[back.bytes - 3] ^= 0x10;
	ASSERT_EQ(-EBADMSG, wire_push(&back, &r->src));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
	ASSERT_EQ(MIGDB_REASON_BAD_STREAM, stats_of(&r->src).out_reason);
	/* A bit that is set is a page to send, whatever was confirmed before. */
	rig_deliver_bitmap(r);
	rig_deliver_rest(r);
	ASSERT_OK(mdb_abort(&r->dst, 0));
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	wire_free(&back);
}

TEST_F(stream, oversized)
{
	struct rig *r = &self->r;
	size_t bytes = 4 * MIGDB_MAX_FRAME_BYTES;
	u32 claimed[] = { 0, 1, 31, MIGDB_MAX_FRAME_BYTES + 8, MIGDB_MAX_FRAME_BYTES * 2, ~0u };
	u8 *big = calloc(1, bytes);
	size_t i;

	ASSERT_NE(NULL, big);
	for (i = 0; i < ARRAY_SIZE(claimed); i++) {
		memcpy(big, self->w.data, wire_frame(&self->w, 0));
		memcpy(big + 8, &claimed[i], 4);
		ASSERT_OK(new_pair(r));
		ASSERT_EQ(-EBADMSG, push(r, big, bytes)) TH_LOG("length %u", claimed[i]);
		ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	}
	free(big);
}

TEST_F_TIMEOUT(stream, garbage, 120)
{
	struct rig *r = &self->r;
	static u8 junk[8192];
	int round;

	for (round = 0; round < 300; round++) {
		size_t bytes = 1 + round * 27 % sizeof(junk);

		ASSERT_EQ(sizeof(junk), getrandom(junk, sizeof(junk), 0));
		ASSERT_OK(new_pair(r));
		/* half of them look like a frame at first */
		if (round % 2)
			memcpy(junk, self->w.data, 16);
		ASSERT_EQ(-EBADMSG, push(r, junk, bytes));
		ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	}
	ASSERT_EQ(-1, write(r->src.rx, junk, sizeof(junk)));
	ASSERT_EQ(EBADMSG, errno);
	ASSERT_EQ(SET, rig_deliver_bitmap(r));
}

/* The destination's memory differs from the source's. */
TEST_F(stream, other_memory_size)
{
	struct rig *r = &self->r;
	int rc;

	ASSERT_OK(mdb_open(&r->dst));
	ASSERT_OK(mdb_set_owner(&r->dst));
	ASSERT_OK(mdb_set_memory(&r->dst, 0, 128 * MDB_PAGE, r->dst_ram));
	ASSERT_OK(mdb_set_disk(&r->dst, RIG_DISK, r->disk, RIG_SERIAL));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "small"));
	rc = push(r, self->w.data, self->w.bytes);
	ASSERT_EQ(-EBADMSG, rc);
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	ASSERT_EQ(RIG_POISON, r->dst_ram[128 * MDB_PAGE]);
}

/* Nothing is taken, and nothing built, after an abort. */
TEST_F(stream, nothing_after_abort)
{
	struct rig *r = &self->r;

	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
	ASSERT_OK(mdb_abort(&r->dst, 0));
	write(r->dst.rx, self->w.data + wire_frame(&self->w, 0),
	      self->w.bytes - wire_frame(&self->w, 0));
	usleep(100000);
	ASSERT_EQ(0, stats_of(&r->dst).out_built);
	ASSERT_EQ(RIG_POISON, r->dst_ram[RIG_FIRST * MDB_PAGE]);
	/* The source hears of it. */
	rig_pump(r);
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
}

/* A list of a hostile peer costs at most one walk over memory, and not for ever. */
TEST_F(stream, list_costs_one_walk)
{
	struct rig *r = &self->r;
	static struct wire_range many[2048];
	static const struct wire_range bad[][2] = {
		{ { 100, 1, 1 }, { 100, 1, 1 } },	/* twice */
		{ { 100, 1, 1 }, { 99, 1, 1 } },	/* backwards */
		{ { 100, 2, 1 }, { 101, 1, 1 } },	/* overlap */
		{ { 0, 1, 1 }, { 1, PAGES, 1 } },	/* more than there is */
		{ { 0, 1, 1 }, { PAGES, 1, 1 } },
		{ { 0, 1, 1 }, { 1ULL << 40, ~0u, 1 } },
	};
	struct wire w = {};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct wire_range){ 0, PAGES, MIGDB_REASON_DIRTY };
	ASSERT_OK(wire_list(&w, &self->w, FRAME_REVOKE, 1, many, ARRAY_SIZE(many)));
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
	EXPECT_EQ(-EBADMSG, wire_push(&w, &r->dst));
	w.bytes = 0;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ASSERT_OK(new_pair(r));
		ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
		ASSERT_OK(wire_list(&w, &self->w, FRAME_REVOKE, 1, bad[i], 2));
		EXPECT_EQ(-EBADMSG, wire_push(&w, &r->dst)) TH_LOG("list %u", i);
		w.bytes = 0;
	}
	/* all of memory again and again */
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
	for (i = 0; i < 9; i++) {
		ASSERT_OK(wire_list(&w, &self->w, FRAME_REVOKE, 1 + i, many, 1));
		ASSERT_EQ(i < 8 ? 0 : -EBADMSG, wire_push(&w, &r->dst)) TH_LOG("list %u", i);
		w.bytes = 0;
	}
	/* and the other way */
	ASSERT_OK(wire_list(&w, &self->w, FRAME_BUILT, 0, many, 2));
	ASSERT_EQ(-EBADMSG, wire_push(&w, &r->src));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
	ASSERT_EQ(SET, rig_deliver_bitmap(r));
	wire_free(&w);
}

/*
 * Somebody who has the stream files and a page fault that never ends holds up
 * himself: the session ends all the same.
 */
struct stuck {
	int rx, tx;
	u8 *page;
	size_t bytes;
};

static void *stuck_write(void *arg)
{
	struct stuck *k = arg;

	write(k->rx, k->page, MDB_PAGE);
	return NULL;
}

static void *stuck_read(void *arg)
{
	struct stuck *k = arg;

	read(k->tx, k->page + MDB_PAGE, MDB_PAGE);
	return NULL;
}

static void *close_session(void *arg)
{
	struct mdb *m = arg;

	close(m->fd);
	__atomic_store_n(&m->fd, -1, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F_TIMEOUT(stream, fault_without_end, 60)
{
	struct rig *r = &self->r;
	struct uffdio_register reg = {};
	struct uffdio_api api = { .api = UFFD_API };
	pthread_t t[3];
	struct stuck k;
	int uffd, i;

	uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	k.page = mmap(NULL, 2 * MDB_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)k.page);
	reg.range.start = (uintptr_t)k.page;
	reg.range.len = 2 * MDB_PAGE;
	reg.mode = UFFDIO_REGISTER_MODE_MISSING;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	ASSERT_OK(new_pair(r));
	ASSERT_OK(push(r, self->w.data, self->w.bytes));
	k.rx = r->dst.rx;
	k.tx = r->dst.tx;
	ASSERT_EQ(0, pthread_create(&t[0], NULL, stuck_write, &k));
	ASSERT_EQ(0, pthread_create(&t[1], NULL, stuck_read, &k));
	usleep(300000);
	ASSERT_EQ(0, pthread_create(&t[2], NULL, close_session, &r->dst));
	for (i = 0; i < 100 && __atomic_load_n(&r->dst.fd, __ATOMIC_ACQUIRE) >= 0; i++)
		usleep(50000);
	EXPECT_EQ(-1, __atomic_load_n(&r->dst.fd, __ATOMIC_ACQUIRE))
		TH_LOG("close waits for a page fault");
	close(uffd);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(t[i], NULL));
	munmap(k.page, 2 * MDB_PAGE);
}

/*
 * RECORDS and MIGDB_ABORT on two threads: what the ioctl has given back stays
 * given back, also for the rest of the frame that was being taken.
 */
static void *push_one(void *arg)
{
	struct stuck *k = arg;

	write(k->rx, k->page, k->bytes);
	return NULL;
}

TEST_F_TIMEOUT(stream, abort_in_a_frame, 120)
{
	enum { RUNS = PAGES - RIG_FIRST };
	struct rig *r = &self->r;
	static struct wire_run runs[RUNS];
	struct wire w = {};
	int round, i;

	for (i = 0; i < RUNS; i++)
		runs[i] = (struct wire_run){ RIG_FIRST + i, (u64)RIG_DISK << 44 | i * 8 % PAGES, 1, 0 };
	ASSERT_OK(wire_records(&w, &self->w, 1, runs, RUNS));
	for (round = 0; round < 400; round++) {
		struct stuck k;
		pthread_t t;

		ASSERT_OK(new_pair(r));
		ASSERT_OK(push(r, self->w.data, wire_frame(&self->w, 0)));
		k = (struct stuck){ .rx = r->dst.rx, .page = w.data, .bytes = w.bytes };
		ASSERT_EQ(0, pthread_create(&t, NULL, push_one, &k));
		while (!stats_of(&r->dst).out_recorded)
			;
		mdb_abort(&r->dst, 0);
		ASSERT_EQ(0, pthread_join(t, NULL));
		ASSERT_EQ(0, count_claims(r, MIGDB_CLAIM_TODO)) TH_LOG("round %d", round);
	}
	wire_free(&w);
}

/*
 * Two regions that touch, and pages on both sides of the seam that are one run on the
 * disk: to the destination a run that leaves its region is a corrupt stream.
 */
TEST_F(stream, runs_end_with_their_region)
{
	struct rig *r = &self->r;
	u64 seam = (RIG_FIRST + 40) * MDB_PAGE, bytes = r->nr_pages * MDB_PAGE;

	ASSERT_OK(rig_source_idle(r, &r->src));
	ASSERT_OK(mdb_set_two_regions(&r->src, 0, seam, bytes, r->src_ram));
	ASSERT_OK(mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "rig-source"));
	ASSERT_OK(rig_dest_idle(r, &r->dst, r->disk));
	ASSERT_OK(mdb_set_two_regions(&r->dst, 0, seam, bytes, r->dst_ram));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "rig-dest"));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(r->candidates, stats_of(&r->dst).out_built);
	FINISH();
}

TEST_HARNESS_MAIN
