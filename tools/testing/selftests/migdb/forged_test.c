// SPDX-License-Identifier: GPL-2.0
/*
 * Frames that are authentic and should not be: from a source that knows the key,
 * as HELLO tells it, and does not keep to the order.  Real frames of a stream are
 * numbered and signed again.
 */
#include "siphash.h"
#include "test_util.h"

/* four times what a limited session reads at once */
#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)

/* The header of a frame, and where HELLO has its key: kernel/virt/migdb/wire.h. */
struct hdr {
	u32 magic;
	u16 type, version;
	u32 bytes, seq;
	u64 session, mac;
};

#define HELLO_KEY	(sizeof(struct hdr) + MIGDB_UUID_BYTES)
#define FRAME_DOMAIN	0x656d6172666dULL
#define RECORDS		2
#define REVOKE		3
#define FINISH_MARK	4
#define ABORT_MARK	5

/* FINISH and ABORT */
struct end {
	struct hdr hdr;
	u64 recorded, built, returned;
	u32 reason, reserved;
};

FIXTURE(forged) {
	struct rig r;
	struct wire w;		/* HELLO, RECORDS */
	struct wire out;	/* what the destination is told */
	u64 key[2];
	u32 seq;
};

FIXTURE_SETUP(forged)
{
	struct rig *r = &self->r;

	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(r, PAGES));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, &self->w));
	memcpy(self->key, self->w.data + HELLO_KEY, sizeof(self->key));
	self->key[0] ^= FRAME_DOMAIN;
}

FIXTURE_TEARDOWN(forged)
{
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	wire_free(&self->w);
	wire_free(&self->out);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

/* First frame of that type in @w, or NULL. */
static struct hdr *frame_of(struct wire *w, u16 type)
{
	size_t at;

	for (at = 0; at < w->bytes; at += wire_frame(w, at))
		if (((struct hdr *)(w->data + at))->type == type)
			return (struct hdr *)(w->data + at);
	return NULL;
}

/* Sends a copy of @frame as the next one, with a MAC that is right. */
static int forge(FIXTURE_DATA(forged) *self, const struct hdr *frame, u64 session)
{
	struct wire *w = &self->out;
	struct hdr *h;
	u64 head[4];

	if (!w->data) {
		w->room = 2 * MIGDB_MAX_FRAME_BYTES;
		w->data = aligned_alloc(8, w->room);
	}
	h = (struct hdr *)w->data;
	memcpy(h, frame, frame->bytes);
	h->seq = self->seq++;
	h->session = session;
	memcpy(head, h, 24);
	head[3] = siphash64(self->key, h + 1, h->bytes - sizeof(*h));
	h->mac = siphash64(self->key, head, sizeof(head));
	w->bytes = h->bytes;
	return wire_push(w, &self->r.dst);
}

/* All frames of the stream as they were made, to the destination. */
static int push_all(FIXTURE_DATA(forged) *self)
{
	struct wire *w = &self->w;
	size_t at;
	u32 n = 0;

	for (at = 0; at < w->bytes; at += wire_frame(w, at))
		n++;
	self->seq = n;
	return write(self->r.dst.rx, w->data, w->bytes) == (ssize_t)w->bytes ? 0 : -EIO;
}

#define SESSION(_self)	(((struct hdr *)(_self)->w.data)->session)

/* What this file forges is what the kernel takes: or the tests below prove nothing. */
TEST_F(forged, signed_right_it_is_taken)
{
	struct rig *r = &self->r;
	struct wire more = {};

	ASSERT_OK(push_all(self));
	ASSERT_OK(rig_dirty(r, 100));
	ASSERT_OK(wire_pull(&more, &r->src));
	ASSERT_NE(NULL, frame_of(&more, REVOKE));
	ASSERT_OK(forge(self, frame_of(&more, REVOKE), SESSION(self)));
	ASSERT_OK(forge(self, frame_of(&more, REVOKE), SESSION(self)));
	ASSERT_EQ(MIGDB_STATE_FILLING, state_of(&r->dst));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, 100));
	wire_free(&more);
}

/* Another attempt's frame, although its sender knows the key. */
TEST_F(forged, other_session)
{
	struct rig *r = &self->r;

	ASSERT_OK(push_all(self));
	ASSERT_EQ(-EBADMSG, forge(self, frame_of(&self->w, RECORDS), SESSION(self) + 1));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	ASSERT_EQ(MIGDB_REASON_BAD_STREAM, stats_of(&r->dst).out_reason);
}

/* Why the source gave up is taken from it where it is known; it is over in any case. */
TEST_F_TIMEOUT(forged, abort_for_any_reason, 60)
{
	static const u32 c[][2] = {
		{ MIGDB_REASON_FOREIGN_REAPER, MIGDB_REASON_FOREIGN_REAPER },
		{ MIGDB_NR_REASONS - 1, MIGDB_NR_REASONS - 1 },
		{ MIGDB_REASON_NONE, MIGDB_REASON_ABORTED },
		{ MIGDB_NR_REASONS, MIGDB_REASON_ABORTED },
		{ 0xffffffff, MIGDB_REASON_ABORTED },
	};
	struct end abort = { .hdr = { .type = ABORT_MARK, .bytes = sizeof(abort) } };
	struct rig *r = &self->r;
	struct migdb_stats st;
	unsigned int i;

	abort.hdr.magic = ((struct hdr *)self->w.data)->magic;
	abort.hdr.version = ((struct hdr *)self->w.data)->version;
	/* no more than a burst is read, so there is something to give back */
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		mdb_close(&r->dst);
		ASSERT_OK(rig_dest(r, r->disk));
		ASSERT_OK(push_all(self));
		abort.reason = c[i][0];
		ASSERT_OK(forge(self, &abort.hdr, SESSION(self)));
		st = stats_of(&r->dst);
		EXPECT_EQ(MIGDB_STATE_ABORTED, st.out_state);
		EXPECT_EQ(c[i][1], st.out_reason) TH_LOG("reason %u", c[i][0]);
		/* pages that go back do so because it is over */
		EXPECT_LT(0, st.out_returned);
		EXPECT_EQ(st.out_returned, st.out_by_reason[MIGDB_REASON_ABORTED]);
	}
}

/* A page that is recorded twice is the stream's, built or not. */
TEST_F(forged, records_twice)
{
	struct hdr *records = frame_of(&self->w, RECORDS);
	struct rig *r = &self->r;
	struct migdb_drain drain;
	struct wire more = {};
	u64 missing;
	u32 pages;

	/* behind the header: number of runs, number of pages */
	pages = ((u32 *)(records + 1))[1];
	ASSERT_LT(0, pages);
	ASSERT_OK(push_all(self));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	ASSERT_OK(forge(self, records, SESSION(self)));
	ASSERT_EQ(SET - pages, stats_of(&r->dst).out_built);
	ASSERT_EQ(pages, count_claims(r, MIGDB_CLAIM_RETURNED));
	ASSERT_EQ(pages, stats_of(&r->dst).out_by_reason[MIGDB_REASON_TWICE]);
	/* without the source's end mark, no built page would count */
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&more, &r->src));
	ASSERT_NE(NULL, frame_of(&more, FINISH_MARK));
	ASSERT_OK(forge(self, frame_of(&more, FINISH_MARK), SESSION(self)));
	wire_free(&more);
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(pages, missing);
	/* the source hears of it and sends them */
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(pages, stats_of(&r->src).out_queued);
	ASSERT_EQ(pages, rig_deliver_queue(r));
	ASSERT_OK(mdb_complete(&r->dst, &missing));
}

/* FINISH is the end of records. */
TEST_F(forged, records_after_finish)
{
	struct rig *r = &self->r;
	struct wire more = {};

	ASSERT_OK(push_all(self));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&more, &r->src));
	ASSERT_NE(NULL, frame_of(&more, FINISH_MARK));
	ASSERT_OK(forge(self, frame_of(&more, FINISH_MARK), SESSION(self)));
	ASSERT_EQ(-EBADMSG, forge(self, frame_of(&self->w, RECORDS), SESSION(self)));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	wire_free(&more);
}

/* A gap, a repetition: the MAC is right, the number is not. */
TEST_F(forged, wrong_number)
{
	struct rig *r = &self->r;

	ASSERT_OK(push_all(self));
	self->seq++;
	ASSERT_EQ(-EBADMSG, forge(self, frame_of(&self->w, RECORDS), SESSION(self)));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
}

TEST_HARNESS_MAIN
