/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints: state changes, and what becomes of pages and why.  Those of pages
 * are one event a page: cheap while nobody looks, and as many as pages if one does.
 * Documentation/virt/migdb/tracing.rst says what each field is.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM migdb

#if !defined(_MIGDB_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MIGDB_TRACE_H

#include <linux/tracepoint.h>
#include <uapi/linux/migdb.h>

#define MIGDB_TRACE_REASONS			\
	EM(MIGDB_REASON_NONE, "none")		\
	EM(MIGDB_REASON_DIRTY, "dirty")		\
	EM(MIGDB_REASON_ZERO, "zero")		\
	EM(MIGDB_REASON_MISMATCH, "mismatch")	\
	EM(MIGDB_REASON_IO_ERROR, "io_error")	\
	EM(MIGDB_REASON_LATE, "late")		\
	EM(MIGDB_REASON_NO_MEMORY, "no_memory")	\
	EM(MIGDB_REASON_NO_DISK, "no_disk")	\
	EM(MIGDB_REASON_TWICE, "twice")		\
	EM(MIGDB_REASON_BAD_RANGE, "bad_range")	\
	EM(MIGDB_REASON_FAULT, "fault")		\
	EM(MIGDB_REASON_INVALIDATED, "invalidated")	\
	EM(MIGDB_REASON_DISABLED, "disabled")	\
	EM(MIGDB_REASON_ABORTED, "aborted")	\
	EM(MIGDB_REASON_BAD_STREAM, "bad_stream")	\
	EM(MIGDB_REASON_FOREIGN_REAPER, "foreign_reaper")	\
	EM(MIGDB_REASON_UNCOVERED, "uncovered")	\
	EM(MIGDB_REASON_UNARMED, "unarmed")	\
	EM(MIGDB_REASON_TAKEN, "taken")		\
	EM_END(MIGDB_REASON_PRESENT, "present")

#define MIGDB_TRACE_STATES			\
	EM(MIGDB_STATE_IDLE, "idle")		\
	EM(MIGDB_STATE_ARMING, "arming")	\
	EM(MIGDB_STATE_TRACKING, "tracking")	\
	EM(MIGDB_STATE_SEALED, "sealed")	\
	EM(MIGDB_STATE_FILLING, "filling")	\
	EM(MIGDB_STATE_DRAINED, "drained")	\
	EM(MIGDB_STATE_DONE, "done")		\
	EM(MIGDB_STATE_ABORTED, "aborted")	\
	EM(MIGDB_STATE_HELD, "held")		\
	EM_END(MIGDB_STATE_POSTCOPY, "postcopy")

#define MIGDB_TRACE_ROLES			\
	EM(MIGDB_ROLE_SOURCE, "source")		\
	EM_END(MIGDB_ROLE_DEST, "destination")

#define MIGDB_TRACE_CLAIMS			\
	EM(MIGDB_CLAIM_DONE, "built")		\
	EM(MIGDB_CLAIM_SENT, "sent")		\
	EM_END(MIGDB_CLAIM_RETURNED, "returned")

#define MIGDB_TRACE_TAKES			\
	EM(MIGDB_TAKE_DONE, "taken")		\
	EM(MIGDB_TAKE_MET, "met")		\
	EM(MIGDB_TAKE_SOONER, "sooner")		\
	EM(MIGDB_TAKE_AGAIN, "again")		\
	EM(MIGDB_TAKE_LOST, "lost")		\
	EM(MIGDB_TAKE_NO_PEER, "no_peer")	\
	EM_END(MIGDB_TAKE_OFF, "off")

#define MIGDB_TRACE_ANSWERS			\
	EM(MIGDB_FAULT_FETCHING, "fetching")	\
	EM(MIGDB_FAULT_ASK, "ask")		\
	EM_END(MIGDB_FAULT_BUILT, "built")

/* The numbers of these names, for who reads the format file */
#undef EM
#undef EM_END
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EM_END(a, b)	TRACE_DEFINE_ENUM(a);

MIGDB_TRACE_REASONS
MIGDB_TRACE_STATES
MIGDB_TRACE_ROLES
MIGDB_TRACE_CLAIMS
MIGDB_TRACE_TAKES
MIGDB_TRACE_ANSWERS

/* And the names of these numbers, for who reads the events */
#undef EM
#undef EM_END
#define EM(a, b)	{ a, b },
#define EM_END(a, b)	{ a, b }

TRACE_EVENT(migdb_state,
	TP_PROTO(const char *label, u32 role, u32 from, u32 to, u32 reason),
	TP_ARGS(label, role, from, to, reason),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u32, role)
		__field(u32, from)
		__field(u32, to)
		__field(u32, reason)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->role = role;
		__entry->from = from;
		__entry->to = to;
		__entry->reason = reason;
	),
	TP_printk("label=%s role=%s from=%s to=%s reason=%s", __get_str(label),
		  __print_symbolic(__entry->role, MIGDB_TRACE_ROLES),
		  __print_symbolic(__entry->from, MIGDB_TRACE_STATES),
		  __print_symbolic(__entry->to, MIGDB_TRACE_STATES),
		  __print_symbolic(__entry->reason, MIGDB_TRACE_REASONS))
);

TRACE_EVENT(migdb_harvest,
	TP_PROTO(const char *label, u64 harvested, u64 queued, int ret),
	TP_ARGS(label, harvested, queued, ret),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u64, harvested)
		__field(u64, queued)
		__field(int, ret)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->harvested = harvested;
		__entry->queued = queued;
		__entry->ret = ret;
	),
	TP_printk("label=%s harvested=%llu queued=%llu ret=%d", __get_str(label),
		  __entry->harvested, __entry->queued, __entry->ret)
);

TRACE_EVENT(migdb_fetch,
	TP_PROTO(const char *label, u32 disk, u64 block, u32 nr_blocks, long ret),
	TP_ARGS(label, disk, block, nr_blocks, ret),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u32, disk)
		__field(u64, block)
		__field(u32, nr_blocks)
		__field(long, ret)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->disk = disk;
		__entry->block = block;
		__entry->nr_blocks = nr_blocks;
		__entry->ret = ret;
	),
	TP_printk("label=%s disk=%u block=%llu nr_blocks=%u ret=%ld", __get_str(label),
		  __entry->disk, __entry->block, __entry->nr_blocks, __entry->ret)
);

TRACE_EVENT(migdb_place,
	TP_PROTO(const char *label, u64 page, u32 claim),
	TP_ARGS(label, page, claim),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u64, page)
		__field(u32, claim)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->page = page;
		__entry->claim = claim;
	),
	TP_printk("label=%s page=%llu result=%s", __get_str(label), __entry->page,
		  __print_symbolic(__entry->claim, MIGDB_TRACE_CLAIMS))
);

TRACE_EVENT(migdb_take,
	TP_PROTO(const char *label, const struct migdb_take *take),
	TP_ARGS(label, take),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u64, taken)
		__field(u64, left)
		__field(u64, build)
		__field(u64, send)
		__field(u32, result)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->taken = take->out_taken;
		__entry->left = take->out_left;
		__entry->build = take->out_build_bytes_per_s;
		__entry->send = take->out_send_bytes_per_s;
		__entry->result = take->out_result;
	),
	TP_printk("label=%s taken=%llu left=%llu build=%llu send=%llu result=%s",
		  __get_str(label), __entry->taken, __entry->left, __entry->build,
		  __entry->send, __print_symbolic(__entry->result, MIGDB_TRACE_TAKES))
);

TRACE_EVENT(migdb_fault,
	TP_PROTO(const char *label, u64 page, u32 answer),
	TP_ARGS(label, page, answer),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u64, page)
		__field(u32, answer)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->page = page;
		__entry->answer = answer;
	),
	TP_printk("label=%s page=%llu answer=%s", __get_str(label), __entry->page,
		  __print_symbolic(__entry->answer, MIGDB_TRACE_ANSWERS))
);

TRACE_EVENT(migdb_return,
	TP_PROTO(const char *label, u32 role, u64 page, u32 reason),
	TP_ARGS(label, role, page, reason),
	TP_STRUCT__entry(
		__string(label, label)
		__field(u32, role)
		__field(u64, page)
		__field(u32, reason)
	),
	TP_fast_assign(
		__assign_str(label);
		__entry->role = role;
		__entry->page = page;
		__entry->reason = reason;
	),
	TP_printk("label=%s role=%s page=%llu reason=%s", __get_str(label),
		  __print_symbolic(__entry->role, MIGDB_TRACE_ROLES), __entry->page,
		  __print_symbolic(__entry->reason, MIGDB_TRACE_REASONS))
);

#endif /* _MIGDB_TRACE_H */

/* Beside this file, in a kernel tree or out of it: see Kbuild. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
