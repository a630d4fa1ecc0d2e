// SPDX-License-Identifier: GPL-2.0
/* KUnit: the channel's messages and the order in which they may come. */
#include <kunit/test.h>
#include <linux/string.h>

#include "../limits.h"
#include "../proto.h"

#define GUEST_MAX_MS	100000	/* of freezing */

struct peer {
	struct mhint_proto p;
	int freezes, thaws, sent;
	u32 outcome;
	int freeze_err, send_err;
	u32 last_type, last_len, last_seq, last_error;
};

static void op_info(void *ctx, struct mem_hint_info *info)
{
	info->root_gpa = cpu_to_le64(0x1000);
}

static u32 op_disks(void *ctx, struct mem_hint_disk *disks, u32 max)
{
	disks[0].id = cpu_to_le32(5);
	return 1;
}

static int op_freeze(void *ctx, const struct mem_hint_start *start,
		     struct mem_hint_started *out)
{
	struct peer *peer = ctx;

	if (peer->freeze_err)
		return peer->freeze_err;
	peer->freezes++;
	return 0;
}

static void op_thaw(void *ctx, u32 outcome)
{
	struct peer *peer = ctx;

	peer->outcome = outcome;
	peer->thaws++;
}

static int op_send(void *ctx, const struct mem_hint_msg *head,
		   const void *payload, u32 len)
{
	const struct mem_hint_error *e = payload;
	struct peer *peer = ctx;

	if (peer->send_err)
		return peer->send_err;
	peer->sent++;
	peer->last_type = le16_to_cpu(head->type);
	peer->last_len = le32_to_cpu(head->len);
	peer->last_seq = le32_to_cpu(head->seq);
	peer->last_error = peer->last_type == MEM_HINT_MSG_ERROR ?
			   le32_to_cpu(e->error) : 0;
	return 0;
}

static const struct mhint_proto_ops ops = {
	.info	= op_info,
	.disks	= op_disks,
	.freeze	= op_freeze,
	.thaw	= op_thaw,
	.send	= op_send,
};

static struct peer *new_peer(struct kunit *test)
{
	struct peer *peer = kunit_kzalloc(test, sizeof(*peer), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, peer);
	mhint_proto_open(&peer->p, &ops, peer, GUEST_MAX_MS, 0);
	return peer;
}

static int feed(struct peer *peer, const void *bytes, u32 len, u32 step, u64 now)
{
	const u8 *from = bytes;
	int err = 0;
	u8 *to;

	while (len && !err) {
		u32 n = min3(mhint_proto_want(&peer->p, &to), len, step);

		if (!n)
			return -ENOTCONN;
		memcpy(to, from, n);
		from += n;
		len -= n;
		err = mhint_proto_received(&peer->p, n, now);
	}
	return err;
}

static int message(struct peer *peer, u32 type, const void *payload, u32 len,
		   u64 now)
{
	struct mem_hint_msg head = {
		.magic = cpu_to_le32(MEM_HINT_MSG_MAGIC),
		.type = cpu_to_le16(type),
		.version = cpu_to_le16(MEM_HINT_MSG_VERSION),
		.len = cpu_to_le32(len),
		.seq = cpu_to_le32(type + 100),
	};
	int err = feed(peer, &head, sizeof(head), 64, now);

	return err ?: feed(peer, payload, len, 64, now);
}

static int say_hello(struct peer *peer)
{
	struct mem_hint_hello h = { .abi = cpu_to_le32(1) };

	return message(peer, MEM_HINT_MSG_HELLO, &h, sizeof(h), 0);
}

static int say_start(struct peer *peer, u32 max_ms)
{
	struct mem_hint_start s = {
		.classes = cpu_to_le64(1),
		.max_freeze_ms = cpu_to_le32(max_ms),
	};

	return message(peer, MEM_HINT_MSG_START, &s, sizeof(s), 0);
}

static int say_complete(struct peer *peer)
{
	struct mem_hint_complete c = {};

	return message(peer, MEM_HINT_MSG_COMPLETE, &c, sizeof(c), 0);
}

static void expect_closed(struct kunit *test, struct peer *peer, int err,
			  int want)
{
	u8 *to;

	KUNIT_EXPECT_EQ(test, err, want);
	KUNIT_EXPECT_EQ(test, peer->p.state, MHINT_PROTO_CLOSED);
	KUNIT_EXPECT_EQ(test, peer->last_type, MEM_HINT_MSG_ERROR);
	KUNIT_EXPECT_EQ(test, peer->last_error, -want);
	KUNIT_EXPECT_EQ(test, peer->freezes, peer->thaws);
	KUNIT_EXPECT_EQ(test, mhint_proto_want(&peer->p, &to), 0);
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), MHINT_PROTO_NEVER);
}

static void good_order(struct kunit *test)
{
	struct peer *peer = new_peer(test);
	int round;

	KUNIT_ASSERT_EQ(test, 0, say_hello(peer));
	KUNIT_EXPECT_EQ(test, peer->sent, 2);
	KUNIT_EXPECT_EQ(test, peer->last_type, MEM_HINT_MSG_DISKS);
	KUNIT_EXPECT_EQ(test, peer->last_len, 8 + 120);
	KUNIT_EXPECT_EQ(test, peer->last_seq, MEM_HINT_MSG_HELLO + 100);
	for (round = 1; round < 3; round++) {
		KUNIT_ASSERT_EQ(test, 0, say_start(peer, 0));
		KUNIT_EXPECT_EQ(test, peer->last_type, MEM_HINT_MSG_STARTED);
		KUNIT_EXPECT_EQ(test, peer->freezes, round);
		KUNIT_EXPECT_EQ(test, peer->thaws, round - 1);
		KUNIT_ASSERT_EQ(test, 0, say_complete(peer));
		KUNIT_EXPECT_EQ(test, peer->last_type, MEM_HINT_MSG_COMPLETED);
		KUNIT_EXPECT_EQ(test, peer->thaws, round);
		KUNIT_EXPECT_EQ(test, peer->outcome, MEM_HINT_OUTCOME_DONE);
		KUNIT_ASSERT_EQ(test, 0, say_hello(peer));
	}
	mhint_proto_close(&peer->p, 0, NULL);
	KUNIT_EXPECT_EQ(test, peer->thaws, 2);
}

static void wrong_order(struct kunit *test)
{
	struct peer *peer = new_peer(test);

	expect_closed(test, peer, say_start(peer, 0), -EPROTO);
	peer = new_peer(test);
	expect_closed(test, peer, say_complete(peer), -EPROTO);
	peer = new_peer(test);
	say_hello(peer);
	expect_closed(test, peer, say_complete(peer), -EPROTO);
	peer = new_peer(test);
	say_hello(peer);
	say_start(peer, 0);
	expect_closed(test, peer, say_start(peer, 0), -EPROTO);
	peer = new_peer(test);
	say_hello(peer);
	say_start(peer, 0);
	expect_closed(test, peer, say_hello(peer), -EPROTO);
}

static void bad_heads(struct kunit *test)
{
	static const struct {
		u32 magic, type, version, len;
		int err;
	} heads[] = {
		{ MEM_HINT_MSG_MAGIC + 1, 1, 1, 16, -EPROTO },
		{ MEM_HINT_MSG_MAGIC, 1, 0, 16, -EPROTO },
		{ MEM_HINT_MSG_MAGIC, 1, 2, 16, -EPROTO },
		{ MEM_HINT_MSG_MAGIC, 1, 1, 15, -EMSGSIZE },
		{ MEM_HINT_MSG_MAGIC, 1, 1, MEM_HINT_MSG_MAX_PAYLOAD + 1, -EMSGSIZE },
		{ MEM_HINT_MSG_MAGIC, 1, 1, ~0U, -EMSGSIZE },
		{ MEM_HINT_MSG_MAGIC, 4, 1, 15, -EMSGSIZE },
		{ MEM_HINT_MSG_MAGIC, 6, 1, 7, -EMSGSIZE },
		{ MEM_HINT_MSG_MAGIC, 0, 1, 16, -EOPNOTSUPP },
		{ MEM_HINT_MSG_MAGIC, 2, 1, 16, -EOPNOTSUPP },
		{ MEM_HINT_MSG_MAGIC, 8, 1, 128, -EOPNOTSUPP },
		{ MEM_HINT_MSG_MAGIC, 9, 1, 16, -EOPNOTSUPP },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(heads); i++) {
		struct peer *peer = new_peer(test);
		struct mem_hint_msg h = {
			.magic = cpu_to_le32(heads[i].magic),
			.type = cpu_to_le16(heads[i].type),
			.version = cpu_to_le16(heads[i].version),
			.len = cpu_to_le32(heads[i].len),
		};

		expect_closed(test, peer, feed(peer, &h, sizeof(h), 64, 0),
			      heads[i].err);
	}
}

static void bad_fields(struct kunit *test)
{
	struct mem_hint_hello h = { .abi = cpu_to_le32(1), .flags = cpu_to_le32(1) };
	struct mem_hint_start s = { .classes = cpu_to_le64(1), .flags = cpu_to_le32(1) };
	struct mem_hint_complete c = { .outcome = cpu_to_le32(2) };
	struct peer *peer = new_peer(test);

	expect_closed(test, peer, message(peer, 1, &h, sizeof(h), 0), -EINVAL);
	h = (struct mem_hint_hello) {};
	peer = new_peer(test);
	expect_closed(test, peer, message(peer, 1, &h, sizeof(h), 0), -EOPNOTSUPP);
	peer = new_peer(test);
	say_hello(peer);
	expect_closed(test, peer, message(peer, 4, &s, sizeof(s), 0), -EINVAL);
	s = (struct mem_hint_start) { .classes = cpu_to_le64(6) };
	peer = new_peer(test);
	say_hello(peer);
	expect_closed(test, peer, message(peer, 4, &s, sizeof(s), 0), -EINVAL);
	peer = new_peer(test);
	say_hello(peer);
	say_start(peer, 0);
	expect_closed(test, peer, message(peer, 6, &c, sizeof(c), 0), -EINVAL);
}

/* However the bytes are cut, the answers are the same. */
static void cut_anywhere(struct kunit *test)
{
	struct {
		struct mem_hint_msg h1;
		struct mem_hint_hello hello;
		struct mem_hint_msg h2;
		struct mem_hint_start start;
	} stream = {
		.h1 = { cpu_to_le32(MEM_HINT_MSG_MAGIC), cpu_to_le16(1),
			cpu_to_le16(1), cpu_to_le32(16), 0 },
		.hello.abi = cpu_to_le32(3),
		.h2 = { cpu_to_le32(MEM_HINT_MSG_MAGIC), cpu_to_le16(4),
			cpu_to_le16(1), cpu_to_le32(16), 0 },
		.start.classes = cpu_to_le64(7),
	};
	u32 step;

	for (step = 1; step <= sizeof(stream); step++) {
		struct peer *peer = new_peer(test);

		KUNIT_EXPECT_EQ(test, 0, feed(peer, &stream, sizeof(stream), step, 0));
		KUNIT_EXPECT_EQ(test, peer->sent, 3);
		KUNIT_EXPECT_EQ(test, peer->p.state, MHINT_PROTO_FROZEN);
	}
}

static void longest_payload(struct kunit *test)
{
	struct peer *peer = new_peer(test);
	u8 *payload = kunit_kzalloc(test, MEM_HINT_MSG_MAX_PAYLOAD, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, payload);
	payload[0] = 1;
	KUNIT_EXPECT_EQ(test, 0, message(peer, MEM_HINT_MSG_HELLO, payload,
					 MEM_HINT_MSG_MAX_PAYLOAD, 0));
	KUNIT_EXPECT_EQ(test, peer->sent, 2);
}

static void half_message(struct kunit *test)
{
	struct peer *peer = new_peer(test);

	say_hello(peer);
	say_start(peer, 0);
	feed(peer, "H", 1, 1, 1000);
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p),
			1000 + MEM_HINT_MSG_TIMEOUT_MS);
	/* More bytes do not give more time. */
	feed(peer, "I", 1, 1, 1000 + MEM_HINT_MSG_TIMEOUT_MS - 1);
	KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p,
						  1000 + MEM_HINT_MSG_TIMEOUT_MS - 1));
	expect_closed(test, peer,
		      mhint_proto_tick(&peer->p, 1000 + MEM_HINT_MSG_TIMEOUT_MS),
		      -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, peer->thaws, 1);
}

static void frozen_too_long(struct kunit *test)
{
	struct peer *peer = new_peer(test);

	say_hello(peer);
	say_start(peer, 50);
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), 50);
	KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p, 49));
	expect_closed(test, peer, mhint_proto_tick(&peer->p, 50), -ETIMEDOUT);
	peer = new_peer(test);
	say_hello(peer);
	say_start(peer, 50);
	say_complete(peer);
	KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p, 50));
}

/* The guest has a limit of its own: for who has none, and who has a longer one. */
static void guest_limit(struct kunit *test)
{
	static const u32 asked[] = { 0, GUEST_MAX_MS, GUEST_MAX_MS + 1, ~0U };
	int i;

	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		struct peer *peer = new_peer(test);

		say_hello(peer);
		KUNIT_EXPECT_EQ(test, 0, say_start(peer, asked[i]));
		KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), GUEST_MAX_MS);
		KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p, GUEST_MAX_MS - 1));
		expect_closed(test, peer, mhint_proto_tick(&peer->p, GUEST_MAX_MS),
			      -ETIMEDOUT);
		KUNIT_EXPECT_EQ(test, peer->thaws, 1);
		KUNIT_EXPECT_EQ(test, peer->outcome, MEM_HINT_OUTCOME_UNKNOWN);
	}
}

/* Who starts no migration makes room for others, whatever else it asks. */
static void idle(struct kunit *test)
{
	struct mem_hint_complete c = {};
	struct mem_hint_hello h = { .abi = cpu_to_le32(1) };
	struct peer *peer = new_peer(test);

	mhint_proto_open(&peer->p, &ops, peer, GUEST_MAX_MS, 7);
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), 7 + MHINT_IDLE_MS);
	KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p, 7 + MHINT_IDLE_MS - 1));
	expect_closed(test, peer, mhint_proto_tick(&peer->p, 7 + MHINT_IDLE_MS),
		      -ETIMEDOUT);

	peer = new_peer(test);
	KUNIT_EXPECT_EQ(test, 0, say_hello(peer));
	KUNIT_EXPECT_EQ(test, 0, message(peer, MEM_HINT_MSG_HELLO, &h, sizeof(h),
					 MHINT_IDLE_MS - 1));
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), MHINT_IDLE_MS);
	expect_closed(test, peer, mhint_proto_tick(&peer->p, MHINT_IDLE_MS),
		      -ETIMEDOUT);

	/* A migration takes as long as it takes, and another one may follow. */
	peer = new_peer(test);
	say_hello(peer);
	say_start(peer, 0);
	KUNIT_EXPECT_EQ(test, 0, mhint_proto_tick(&peer->p, 2 * MHINT_IDLE_MS));
	KUNIT_EXPECT_EQ(test, 0, message(peer, MEM_HINT_MSG_COMPLETE, &c, sizeof(c),
					 2 * MHINT_IDLE_MS));
	KUNIT_EXPECT_EQ(test, mhint_proto_deadline(&peer->p), 3 * MHINT_IDLE_MS);
	expect_closed(test, peer, mhint_proto_tick(&peer->p, 3 * MHINT_IDLE_MS),
		      -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, peer->thaws, 1);
}

static void hang_up_thaws(struct kunit *test)
{
	struct peer *peer = new_peer(test);

	say_hello(peer);
	say_start(peer, 0);
	peer->sent = 0;
	mhint_proto_close(&peer->p, -ECONNRESET, NULL);
	KUNIT_EXPECT_EQ(test, peer->thaws, 1);
	KUNIT_EXPECT_EQ(test, peer->outcome, MEM_HINT_OUTCOME_UNKNOWN);
	KUNIT_EXPECT_EQ(test, peer->sent, 0);
	mhint_proto_close(&peer->p, -ECONNRESET, NULL);
	KUNIT_EXPECT_EQ(test, peer->thaws, 1);
}

static void failures_inside(struct kunit *test)
{
	struct peer *peer = new_peer(test);

	say_hello(peer);
	peer->freeze_err = -ENOMEM;
	expect_closed(test, peer, say_start(peer, 0), -ENOMEM);
	KUNIT_EXPECT_EQ(test, peer->thaws, 0);

	/* STARTED cannot be sent: nobody knows of the freeze, so it ends. */
	peer = new_peer(test);
	say_hello(peer);
	peer->send_err = -EPIPE;
	KUNIT_EXPECT_EQ(test, -EPIPE, say_start(peer, 0));
	KUNIT_EXPECT_EQ(test, peer->freezes, 1);
	KUNIT_EXPECT_EQ(test, peer->thaws, 1);
	KUNIT_EXPECT_EQ(test, peer->p.state, MHINT_PROTO_CLOSED);
}

static void error_text(struct kunit *test)
{
	struct mem_hint_error e;
	struct mem_hint_msg head;
	char text[200];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	KUNIT_EXPECT_EQ(test, sizeof(e),
			mhint_proto_error(&head, &e, -EBUSY, 4, 9, text));
	KUNIT_EXPECT_EQ(test, le32_to_cpu(e.error), EBUSY);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(e.type), 4);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(head.seq), 9);
	KUNIT_EXPECT_EQ(test, strlen((char *)e.text), sizeof(e.text) - 1);
}

static struct kunit_case proto_cases[] = {
	KUNIT_CASE(good_order),
	KUNIT_CASE(wrong_order),
	KUNIT_CASE(bad_heads),
	KUNIT_CASE(bad_fields),
	KUNIT_CASE(cut_anywhere),
	KUNIT_CASE(longest_payload),
	KUNIT_CASE(half_message),
	KUNIT_CASE(frozen_too_long),
	KUNIT_CASE(guest_limit),
	KUNIT_CASE(idle),
	KUNIT_CASE(hang_up_thaws),
	KUNIT_CASE(failures_inside),
	KUNIT_CASE(error_text),
	{}
};

static struct kunit_suite proto_suite = {
	.name = "mem_hints_proto",
	.test_cases = proto_cases,
};

kunit_test_suite(proto_suite);
