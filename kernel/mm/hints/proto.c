// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's side of the channel: from bytes to requests, and the order in
 * which they may come.  Pure: no socket, no clock.
 *
 * The caller receives at most mhint_proto_want() bytes at the place that it
 * names and reports them with mhint_proto_received(); so a message is never
 * read past its end, however it is cut up on the way.
 */
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/build_bug.h>
#include <asm/byteorder.h>

#include "limits.h"
#include "proto.h"

static const struct mem_hint_msg *head_of(const struct mhint_proto *p)
{
	return (const struct mem_hint_msg *)p->buf;
}

static void fill_head(struct mem_hint_msg *h, u32 type, u32 len, __le32 seq)
{
	h->magic = cpu_to_le32(MEM_HINT_MSG_MAGIC);
	h->type = cpu_to_le16(type);
	h->version = cpu_to_le16(MEM_HINT_MSG_VERSION);
	h->len = cpu_to_le32(len);
	h->seq = seq;
}

/**
 * mhint_proto_error - make an ERROR message
 * @head: the result
 * @e: its payload
 * @err: a negative errno
 * @type: of the message that is answered, or 0
 * @seq: of that message
 * @text: why
 *
 * Return: length of the payload.
 */
u32 mhint_proto_error(struct mem_hint_msg *head, struct mem_hint_error *e,
		      int err, u32 type, u32 seq, const char *text)
{
	size_t len = strlen(text);

	if (len >= sizeof(e->text))
		len = sizeof(e->text) - 1;
	memset(e, 0, sizeof(*e));
	e->error = cpu_to_le32(-err);
	e->type = cpu_to_le32(type);
	memcpy(e->text, text, len);
	fill_head(head, MEM_HINT_MSG_ERROR, sizeof(*e), cpu_to_le32(seq));
	return sizeof(*e);
}

/**
 * mhint_proto_open - a new connection
 * @p: the connection
 * @ops: the rest
 * @ctx: passed to @ops
 * @max_freeze_ms: after so long the table is thawed, whatever START says; not 0
 * @now_ms: the clock of mhint_proto_received()
 */
void mhint_proto_open(struct mhint_proto *p, const struct mhint_proto_ops *ops,
		      void *ctx, u32 max_freeze_ms, u64 now_ms)
{
	BUILD_BUG_ON(MHINT_PROTO_OUT_SIZE > MEM_HINT_MSG_MAX_PAYLOAD);
	BUILD_BUG_ON(sizeof(struct mem_hint_msg) != 16);
	BUILD_BUG_ON(sizeof(struct mem_hint_root) != 128);
	BUILD_BUG_ON(sizeof(struct mem_hint_disk) != 120);
	BUILD_BUG_ON(sizeof(struct mem_hint_error) != 128);

	p->ops = ops;
	p->ctx = ctx;
	p->state = MHINT_PROTO_NEW;
	p->fill = 0;
	p->max_freeze_ms = max_freeze_ms;
	p->msg_deadline = MHINT_PROTO_NEVER;
	p->state_deadline = now_ms + MHINT_IDLE_MS;
}

/*
 * Ends the connection, with ERROR if there is something to say.  Thaw comes
 * first: it must not depend on whether anybody reads what we send.
 */
static int fail(struct mhint_proto *p, int err, const char *text)
{
	bool answers = p->fill >= sizeof(struct mem_hint_msg);
	struct mem_hint_error *e = (struct mem_hint_error *)p->out;
	struct mem_hint_msg head;
	u32 len;

	if (p->state == MHINT_PROTO_CLOSED)
		return -ENOTCONN;
	if (p->state == MHINT_PROTO_FROZEN)
		p->ops->thaw(p->ctx, MEM_HINT_OUTCOME_UNKNOWN);
	p->state = MHINT_PROTO_CLOSED;
	if (text) {
		len = mhint_proto_error(&head, e, err,
					answers ? le16_to_cpu(head_of(p)->type) : 0,
					answers ? le32_to_cpu(head_of(p)->seq) : 0,
					text);
		p->ops->send(p->ctx, &head, e, len);
	}
	return err;
}

static int reply(struct mhint_proto *p, u32 type, const void *payload, u32 len)
{
	struct mem_hint_msg head;
	int err;

	fill_head(&head, type, len, head_of(p)->seq);
	err = p->ops->send(p->ctx, &head, payload, len);
	return err ? fail(p, err, NULL) : 0;
}

static int do_hello(struct mhint_proto *p, const void *payload)
{
	const struct mem_hint_hello *hello = payload;
	struct mem_hint_disks *list = (struct mem_hint_disks *)p->out;
	struct mem_hint_info info = {};
	u32 nr;
	int err;

	if (p->state == MHINT_PROTO_FROZEN)
		return fail(p, -EPROTO, "HELLO between START and COMPLETE");
	if (hello->flags)
		return fail(p, -EINVAL, "HELLO: unknown flags");
	if (le32_to_cpu(hello->abi) < MEM_HINT_ABI_VERSION)
		return fail(p, -EOPNOTSUPP, "HELLO: the host's abi is too old");

	memset(p->out, 0, sizeof(p->out));
	nr = p->ops->disks(p->ctx, list->disks, MEM_HINT_MAX_DISKS);
	list->nr = cpu_to_le32(nr);
	list->disk_size = cpu_to_le32(sizeof(struct mem_hint_disk));

	info.abi = cpu_to_le32(MEM_HINT_ABI_VERSION);
	info.features = hello->features & cpu_to_le64(MEM_HINT_FEATURES_V1);
	info.nr_disks = list->nr;
	p->ops->info(p->ctx, &info);

	err = reply(p, MEM_HINT_MSG_INFO, &info, sizeof(info));
	if (err)
		return err;
	p->state = MHINT_PROTO_READY;
	return reply(p, MEM_HINT_MSG_DISKS, list,
		     sizeof(*list) + nr * sizeof(struct mem_hint_disk));
}

static int do_start(struct mhint_proto *p, const void *payload, u64 now_ms)
{
	const struct mem_hint_start *start = payload;
	struct mem_hint_started started = {};
	u32 max_ms = min_not_zero(le32_to_cpu(start->max_freeze_ms),
				  p->max_freeze_ms);
	int err;

	if (p->state == MHINT_PROTO_NEW)
		return fail(p, -EPROTO, "START before HELLO");
	if (p->state == MHINT_PROTO_FROZEN)
		return fail(p, -EPROTO, "START twice");
	if (start->flags)
		return fail(p, -EINVAL, "START: unknown flags");
	if (!(start->classes & cpu_to_le64(1 << MEM_HINT_CLASS_BACKED)))
		return fail(p, -EINVAL, "START: class backed is not agreed to");

	err = p->ops->freeze(p->ctx, start, &started);
	if (err)
		return fail(p, err, "START: the table cannot be frozen now");
	p->state = MHINT_PROTO_FROZEN;
	p->state_deadline = now_ms + max_ms;
	return reply(p, MEM_HINT_MSG_STARTED, &started, sizeof(started));
}

static int do_complete(struct mhint_proto *p, const void *payload, u64 now_ms)
{
	const struct mem_hint_complete *complete = payload;

	if (p->state != MHINT_PROTO_FROZEN)
		return fail(p, -EPROTO, "COMPLETE without START");
	if (complete->flags)
		return fail(p, -EINVAL, "COMPLETE: unknown flags");
	if (le32_to_cpu(complete->outcome) > MEM_HINT_OUTCOME_CANCELLED)
		return fail(p, -EINVAL, "COMPLETE: unknown outcome");

	p->state = MHINT_PROTO_READY;
	p->state_deadline = now_ms + MHINT_IDLE_MS;
	p->ops->thaw(p->ctx, le32_to_cpu(complete->outcome));
	return reply(p, MEM_HINT_MSG_COMPLETED, NULL, 0);
}

/* Least payload of a request, or -EOPNOTSUPP if the host may not send it. */
static int least_payload(u32 type)
{
	switch (type) {
	case MEM_HINT_MSG_HELLO:
		return sizeof(struct mem_hint_hello);
	case MEM_HINT_MSG_START:
		return sizeof(struct mem_hint_start);
	case MEM_HINT_MSG_COMPLETE:
		return sizeof(struct mem_hint_complete);
	default:
		return -EOPNOTSUPP;
	}
}

/* Refuses as soon as the head is there: what follows it is not waited for. */
static int check_head(struct mhint_proto *p)
{
	const struct mem_hint_msg *h = head_of(p);
	u32 len = le32_to_cpu(h->len);
	int least;

	if (le32_to_cpu(h->magic) != MEM_HINT_MSG_MAGIC) {
		p->fill = 0;	/* no type or seq to answer to */
		return fail(p, -EPROTO, "bad magic");
	}
	if (le16_to_cpu(h->version) != MEM_HINT_MSG_VERSION)
		return fail(p, -EPROTO, "unknown message version");
	if (len > MEM_HINT_MSG_MAX_PAYLOAD)
		return fail(p, -EMSGSIZE, "payload too long");
	least = least_payload(le16_to_cpu(h->type));
	if (least < 0)
		return fail(p, least, "unknown message type");
	if (len < (u32)least)
		return fail(p, -EMSGSIZE, "payload too short");
	return 0;
}

/**
 * mhint_proto_want - what to receive next
 * @p: the connection
 * @to: where to put it
 *
 * Return: how many bytes at most; 0 only when closed.
 */
u32 mhint_proto_want(const struct mhint_proto *p, u8 **to)
{
	u32 whole = sizeof(struct mem_hint_msg);

	if (p->state == MHINT_PROTO_CLOSED)
		return 0;
	if (p->fill >= whole)
		whole += le32_to_cpu(head_of(p)->len);
	*to = (u8 *)p->buf + p->fill;
	return whole - p->fill;
}

/**
 * mhint_proto_received - some bytes have come
 * @p: the connection
 * @len: how many; not more than mhint_proto_want() said
 * @now_ms: a clock that does not go backwards
 *
 * Answers a request when it is whole.
 *
 * Return: 0; a negative errno: the connection is CLOSED, hang up.
 */
int mhint_proto_received(struct mhint_proto *p, u32 len, u64 now_ms)
{
	const u32 head_len = sizeof(struct mem_hint_msg);
	const void *payload = p->buf + head_len;
	bool had_head = p->fill >= head_len;
	int err;

	if (p->state == MHINT_PROTO_CLOSED)
		return -ENOTCONN;
	if (!p->fill)
		p->msg_deadline = now_ms + MEM_HINT_MSG_TIMEOUT_MS;
	p->fill += len;
	if (p->fill < head_len)
		return 0;
	if (!had_head) {
		err = check_head(p);
		if (err)
			return err;
	}
	if (p->fill < head_len + le32_to_cpu(head_of(p)->len))
		return 0;

	switch (le16_to_cpu(head_of(p)->type)) {
	case MEM_HINT_MSG_HELLO:
		err = do_hello(p, payload);
		break;
	case MEM_HINT_MSG_START:
		err = do_start(p, payload, now_ms);
		break;
	default:
		err = do_complete(p, payload, now_ms);
		break;
	}
	p->fill = 0;
	p->msg_deadline = MHINT_PROTO_NEVER;
	return err;
}

/**
 * mhint_proto_deadline - when mhint_proto_tick() has something to do
 * @p: the connection
 *
 * Return: a time of the caller's clock, or MHINT_PROTO_NEVER.
 */
u64 mhint_proto_deadline(const struct mhint_proto *p)
{
	if (p->state == MHINT_PROTO_CLOSED)
		return MHINT_PROTO_NEVER;
	return min(p->msg_deadline, p->state_deadline);
}

/**
 * mhint_proto_tick - time has gone by
 * @p: the connection
 * @now_ms: the clock of mhint_proto_received()
 *
 * A host whose time is over while a migration is under way loses no more than when
 * the connection breaks.  It has copied the table long ago, and verifies what it
 * has; if it has not, a table that moves is one that it expects.  Only *discardable*
 * is not verified: ERROR or the end of the connection tells a host that has agreed
 * to it to send these pages (struct mem_hint_start).
 *
 * Return: 0; a negative errno: the connection is CLOSED, hang up.
 */
int mhint_proto_tick(struct mhint_proto *p, u64 now_ms)
{
	if (p->state == MHINT_PROTO_CLOSED)
		return -ENOTCONN;
	if (now_ms >= p->msg_deadline)
		return fail(p, -ETIMEDOUT, "half a message");
	if (now_ms < p->state_deadline)
		return 0;
	if (p->state == MHINT_PROTO_FROZEN)
		return fail(p, -ETIMEDOUT, "frozen for longer than START or the guest allows");
	return fail(p, -ETIMEDOUT, "no START in time");
}

/**
 * mhint_proto_close - the connection ends for a reason outside of it
 * @p: the connection; may be CLOSED already
 * @err: a negative errno
 * @text: sent to the host if not NULL; NULL when it has hung up
 */
void mhint_proto_close(struct mhint_proto *p, int err, const char *text)
{
	fail(p, err, text);
}
