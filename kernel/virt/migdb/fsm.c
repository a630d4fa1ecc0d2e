// SPDX-License-Identifier: GPL-2.0
/* What may be called in which state, see enum migdb_state. */
#include <linux/types.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include "fsm.h"

#define NR_STATES	(MIGDB_STATE_POSTCOPY + 1)

#define IDLE		BIT(MIGDB_STATE_IDLE)
#define ARMING		BIT(MIGDB_STATE_ARMING)
#define TRACKING	BIT(MIGDB_STATE_TRACKING)
#define SEALED		BIT(MIGDB_STATE_SEALED)
#define FILLING		BIT(MIGDB_STATE_FILLING)
#define DRAINED		BIT(MIGDB_STATE_DRAINED)
#define DONE		BIT(MIGDB_STATE_DONE)
#define ABORTED		BIT(MIGDB_STATE_ABORTED)
#define HELD		BIT(MIGDB_STATE_HELD)
#define POSTCOPY	BIT(MIGDB_STATE_POSTCOPY)

/* Every state from which an abort leads to ABORTED. */
#define RUNNING		(ARMING | TRACKING | SEALED | FILLING | DRAINED | HELD | POSTCOPY)
#define ANY		(IDLE | RUNNING | DONE | ABORTED)
/* Every state of a source after START. */
#define SOURCE_ANY	(ARMING | TRACKING | SEALED | DONE | ABORTED)

static const u32 allowed_in[MIGDB_CMD_END - MIGDB_CMD_BASE] = {
	[MIGDB_CMD_GET_INFO - MIGDB_CMD_BASE]		= ANY,
	[MIGDB_CMD_SET_DISK - MIGDB_CMD_BASE]		= IDLE,
	[MIGDB_CMD_SET_GUEST_TABLE - MIGDB_CMD_BASE]	= IDLE,
	[MIGDB_CMD_BIND_KVM - MIGDB_CMD_BASE]		= IDLE,
	[MIGDB_CMD_START - MIGDB_CMD_BASE]		= IDLE,
	[MIGDB_CMD_ARMED - MIGDB_CMD_BASE]		= ARMING | TRACKING,
	[MIGDB_CMD_SNAPSHOT - MIGDB_CMD_BASE]		= ARMING,
	[MIGDB_CMD_HASH - MIGDB_CMD_BASE]		= TRACKING,
	[MIGDB_CMD_DIRTY - MIGDB_CMD_BASE]		= ARMING | TRACKING,
	[MIGDB_CMD_HARVEST - MIGDB_CMD_BASE]		= ARMING | TRACKING,
	[MIGDB_CMD_INVALIDATE - MIGDB_CMD_BASE]		= ARMING | TRACKING | FILLING | DRAINED |
							  HELD | POSTCOPY,
	[MIGDB_CMD_DEQUEUE - MIGDB_CMD_BASE]		= SOURCE_ANY,
	[MIGDB_CMD_RECLAIM - MIGDB_CMD_BASE]		= TRACKING | SEALED,
	[MIGDB_CMD_SEAL - MIGDB_CMD_BASE]		= TRACKING,
	[MIGDB_CMD_CLAIM - MIGDB_CMD_BASE]		= FILLING | DRAINED | HELD | POSTCOPY |
							  DONE | ABORTED,
	[MIGDB_CMD_DRAIN - MIGDB_CMD_BASE]		= FILLING | HELD,
	[MIGDB_CMD_COMPLETE - MIGDB_CMD_BASE]		= SEALED | DRAINED | POSTCOPY | ABORTED,
	[MIGDB_CMD_ABORT - MIGDB_CMD_BASE]		= RUNNING | ABORTED,
	[MIGDB_CMD_STATS - MIGDB_CMD_BASE]		= ANY,
	[MIGDB_CMD_TAKE - MIGDB_CMD_BASE]		= TRACKING | SEALED,
	[MIGDB_CMD_HOLD - MIGDB_CMD_BASE]		= FILLING | HELD,
	[MIGDB_CMD_POSTCOPY - MIGDB_CMD_BASE]		= HELD,
	[MIGDB_CMD_FAULT - MIGDB_CMD_BASE]		= POSTCOPY | DONE | ABORTED,
	[MIGDB_CMD_REQUEST - MIGDB_CMD_BASE]		= SEALED,
};

/* 0 (MIGDB_STATE_INVALID): no such arc. */
static const u8 next_state[NR_STATES][MIGDB_NR_EVENTS] = {
	[MIGDB_STATE_IDLE] = {
		[MIGDB_EV_START_SOURCE]	= MIGDB_STATE_ARMING,
		[MIGDB_EV_START_DEST]	= MIGDB_STATE_FILLING,
	},
	[MIGDB_STATE_ARMING] = {
		[MIGDB_EV_SNAPSHOT]	= MIGDB_STATE_TRACKING,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_TRACKING] = {
		[MIGDB_EV_SEAL]		= MIGDB_STATE_SEALED,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_SEALED] = {
		[MIGDB_EV_COMPLETE]	= MIGDB_STATE_DONE,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_FILLING] = {
		[MIGDB_EV_DRAIN]	= MIGDB_STATE_DRAINED,
		[MIGDB_EV_HOLD]		= MIGDB_STATE_HELD,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_HELD] = {
		[MIGDB_EV_DRAIN]	= MIGDB_STATE_DRAINED,
		[MIGDB_EV_HOLD]		= MIGDB_STATE_HELD,
		[MIGDB_EV_POSTCOPY]	= MIGDB_STATE_POSTCOPY,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_POSTCOPY] = {
		[MIGDB_EV_COMPLETE]	= MIGDB_STATE_DONE,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_DRAINED] = {
		[MIGDB_EV_COMPLETE]	= MIGDB_STATE_DONE,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
	[MIGDB_STATE_ABORTED] = {
		[MIGDB_EV_COMPLETE]	= MIGDB_STATE_ABORTED,
		[MIGDB_EV_ABORT]	= MIGDB_STATE_ABORTED,
	},
};

int migdb_fsm_next(enum migdb_state state, enum migdb_event ev)
{
	u8 next;

	if ((unsigned int)state >= NR_STATES || (unsigned int)ev >= MIGDB_NR_EVENTS)
		return -EBUSY;
	next = next_state[state][ev];
	return next ? next : -EBUSY;
}

int migdb_fsm_allows(enum migdb_state state, unsigned int cmd)
{
	u32 allowed;

	if (cmd < MIGDB_CMD_BASE || cmd >= MIGDB_CMD_END)
		return -ENOTTY;
	if ((unsigned int)state >= NR_STATES)
		return -EBUSY;
	allowed = allowed_in[cmd - MIGDB_CMD_BASE];
	if (allowed & BIT(state))
		return 0;
	if (state == MIGDB_STATE_ABORTED && (allowed & RUNNING))
		return -ECANCELED;
	return -EBUSY;
}

static const char * const state_str[NR_STATES] = {
	[MIGDB_STATE_INVALID]	= "invalid",
	[MIGDB_STATE_IDLE]	= "idle",
	[MIGDB_STATE_ARMING]	= "arming",
	[MIGDB_STATE_TRACKING]	= "tracking",
	[MIGDB_STATE_SEALED]	= "sealed",
	[MIGDB_STATE_FILLING]	= "filling",
	[MIGDB_STATE_DRAINED]	= "drained",
	[MIGDB_STATE_DONE]	= "done",
	[MIGDB_STATE_ABORTED]	= "aborted",
	[MIGDB_STATE_HELD]	= "held",
	[MIGDB_STATE_POSTCOPY]	= "postcopy",
};

static const char * const reason_str[] = {
	[MIGDB_REASON_NONE]		= "none",
	[MIGDB_REASON_DIRTY]		= "dirty",
	[MIGDB_REASON_ZERO]		= "zero",
	[MIGDB_REASON_MISMATCH]		= "mismatch",
	[MIGDB_REASON_IO_ERROR]		= "io_error",
	[MIGDB_REASON_LATE]		= "late",
	[MIGDB_REASON_NO_MEMORY]	= "no_memory",
	[MIGDB_REASON_NO_DISK]		= "no_disk",
	[MIGDB_REASON_TWICE]		= "twice",
	[MIGDB_REASON_BAD_RANGE]	= "bad_range",
	[MIGDB_REASON_FAULT]		= "fault",
	[MIGDB_REASON_INVALIDATED]	= "invalidated",
	[MIGDB_REASON_DISABLED]		= "disabled",
	[MIGDB_REASON_ABORTED]		= "aborted",
	[MIGDB_REASON_BAD_STREAM]	= "bad_stream",
	[MIGDB_REASON_FOREIGN_REAPER]	= "foreign_reaper",
	[MIGDB_REASON_UNCOVERED]	= "uncovered",
	[MIGDB_REASON_UNARMED]		= "unarmed",
	[MIGDB_REASON_TAKEN]		= "taken",
	[MIGDB_REASON_PRESENT]		= "present",
};

const char *migdb_state_str(unsigned int state)
{
	return state < NR_STATES ? state_str[state] : "unknown";
}

const char *migdb_reason_str(unsigned int reason)
{
	BUILD_BUG_ON(ARRAY_SIZE(reason_str) != MIGDB_NR_REASONS);

	return reason < MIGDB_NR_REASONS ? reason_str[reason] : "unknown";
}
