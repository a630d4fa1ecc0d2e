/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: one connection of the channel, without the socket. */
#ifndef MM_HINTS_PROTO_H
#define MM_HINTS_PROTO_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

#define MHINT_PROTO_NEVER	(~0ULL)

/*
 * NEW      connected, HELLO has not come
 * READY    HELLO was answered
 * FROZEN   START was answered; left only by COMPLETE and by closing; for as long as
 *          START says, and not longer than the guest allows
 * CLOSED   nothing is received or sent any more
 *
 *   NEW --HELLO--> READY --START--> FROZEN --COMPLETE--> READY
 *    any --error, time-out, hang-up--> CLOSED, and thawed if it was FROZEN
 *
 * NEW and READY together last for MHINT_IDLE_MS, from the connection or COMPLETE on;
 * HELLO gives no more time.
 */
enum mhint_proto_state {
	MHINT_PROTO_NEW,
	MHINT_PROTO_READY,
	MHINT_PROTO_FROZEN,
	MHINT_PROTO_CLOSED,
};

/**
 * struct mhint_proto_ops - what a connection needs of the rest
 * @info: fills in all but abi, features and nr_disks, which are done.
 * @disks: writes at most @max entries, returns how many.
 * @freeze: 0 and @out filled in, or a negative errno.
 * @thaw: after each successful @freeze exactly once, whatever happens; with
 *	MEM_HINT_OUTCOME_*.
 * @send: a message with @len bytes of payload; a negative errno closes.
 *
 * Called from the thread that calls mhint_proto_received(), _tick() or
 * _close().
 */
struct mhint_proto_ops {
	void (*info)(void *ctx, struct mem_hint_info *info);
	u32 (*disks)(void *ctx, struct mem_hint_disk *disks, u32 max);
	int (*freeze)(void *ctx, const struct mem_hint_start *start,
		      struct mem_hint_started *out);
	void (*thaw)(void *ctx, u32 outcome);
	int (*send)(void *ctx, const struct mem_hint_msg *head,
		    const void *payload, u32 len);
};

#define MHINT_PROTO_OUT_SIZE						\
	(sizeof(struct mem_hint_disks) +				\
	 MEM_HINT_MAX_DISKS * sizeof(struct mem_hint_disk))

/* About 32 KiB; @buf holds one message, @out one payload. */
struct mhint_proto {
	const struct mhint_proto_ops *ops;
	void *ctx;
	enum mhint_proto_state state;
	u32 fill;
	u32 max_freeze_ms;	/* of START and of the guest; not 0 */
	u64 msg_deadline;
	u64 state_deadline;	/* to be FROZEN, or not to be it any more */
	u8 buf[sizeof(struct mem_hint_msg) + MEM_HINT_MSG_MAX_PAYLOAD] __aligned(8);
	u8 out[MHINT_PROTO_OUT_SIZE] __aligned(8);
};

void mhint_proto_open(struct mhint_proto *p, const struct mhint_proto_ops *ops,
		      void *ctx, u32 max_freeze_ms, u64 now_ms);
u32 mhint_proto_want(const struct mhint_proto *p, u8 **to);
int mhint_proto_received(struct mhint_proto *p, u32 len, u64 now_ms);
int mhint_proto_tick(struct mhint_proto *p, u64 now_ms);
u64 mhint_proto_deadline(const struct mhint_proto *p);
void mhint_proto_close(struct mhint_proto *p, int err, const char *text);

u32 mhint_proto_error(struct mem_hint_msg *head, struct mem_hint_error *e,
		      int err, u32 type, u32 seq, const char *text);

#endif
