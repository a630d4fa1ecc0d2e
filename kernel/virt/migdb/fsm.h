/* SPDX-License-Identifier: GPL-2.0 */
/* The state machine of enum migdb_state as a table: what may be called when. */
#ifndef _MIGDB_FSM_H
#define _MIGDB_FSM_H

#include <linux/types.h>
#include <linux/migdb.h>

enum migdb_event {
	MIGDB_EV_START_SOURCE,
	MIGDB_EV_START_DEST,
	MIGDB_EV_SNAPSHOT,
	MIGDB_EV_SEAL,
	MIGDB_EV_DRAIN,
	MIGDB_EV_HOLD,
	MIGDB_EV_POSTCOPY,
	MIGDB_EV_COMPLETE,
	MIGDB_EV_ABORT,
	MIGDB_NR_EVENTS,
};

/* The state after @ev, or -EBUSY if @ev is not legal in @state. */
int migdb_fsm_next(enum migdb_state state, enum migdb_event ev);
/*
 * 0; -EBUSY (not in this state); -ECANCELED (it would be, but for an abort);
 * -ENOTTY (no such command).
 */
int migdb_fsm_allows(enum migdb_state state, unsigned int cmd);
const char *migdb_state_str(unsigned int state);
const char *migdb_reason_str(unsigned int reason);

#endif /* _MIGDB_FSM_H */
