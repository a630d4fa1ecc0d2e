/* SPDX-License-Identifier: GPL-2.0 */
/* Every bound of the guest part in one place. */
#ifndef MM_HINTS_LIMITS_H
#define MM_HINTS_LIMITS_H

/* Notes in each of the two buffers of a CPU; 16 bytes a note. */
#define MHINT_RING_NOTES_MIN		64
#define MHINT_RING_NOTES_DEFAULT	4096
#define MHINT_RING_NOTES_MAX		65536

/* How long notes may lie in a CPU's buffer before they are in the table. */
#define MHINT_DRAIN_MS_DEFAULT		20
#define MHINT_DRAIN_MS_MAX		10000

/*
 * Slots that a request's disk may be in, starting at its sequence number:
 * bounds the search in interrupt context.
 */
#define MHINT_DISK_PROBES		16

/* Out of ids: look for disks that have gone, no more often than this. */
#define MHINT_CROWDED_RECHECK_MS	10000

/*
 * How long anybody waits for a disk to say who it is.  Well below what a VMM
 * waits for the answer to HELLO.
 */
#define MHINT_ASK_MS			2000

/* Table pages above one entry per frame of RAM: ends of memory ranges. */
#define MHINT_TABLE_SLACK_PAGES		64

/* While frozen, notes wait in at most as many bytes as the table may have. */
#define MHINT_PENDING_FRAMES_PER_NOTE	2

/* A host that does not read its answers is given up after so long. */
#define MHINT_SEND_TIMEOUT_MS		2000

/*
 * A connection on which no migration is under way is closed after so long, whatever
 * else it asks: others wait for it.  A VMM connects to send START, and has it sent
 * well within the time that it gives the guest to answer (QEMU: 5 s).
 */
#define MHINT_IDLE_MS			10000

/*
 * How long a table stays frozen at most, whatever START says.  The host reads the
 * table in the seconds after STARTED; what it loses if a migration takes longer are
 * discardable pages, see mhint_proto_tick().
 */
#define MHINT_FREEZE_MS_MIN		1000
#define MHINT_FREEZE_MS_DEFAULT		(3600 * 1000)
#define MHINT_FREEZE_MS_MAX		(7 * 24 * 3600 * 1000)

/* No vsock yet, or its port is taken: look again after so long. */
#define MHINT_LISTEN_RETRY_MS		10000

/*
 * Connections that wait to be accepted.  Beyond it the host is told that nobody
 * listens, so it is more than a process of the guest can open while we are busy.
 */
#define MHINT_LISTEN_BACKLOG		128

/*
 * What a BPF policy may use of a migration's time: so much in any case, and so
 * much for each run that it decides on.
 */
#define MHINT_POLICY_SLACK_US		20000
#define MHINT_POLICY_RUN_NS		2000

/* What a process may say: files, ranges bound or of a class, pools. */
#define MHINT_MAX_FILES			16384
#define MHINT_MAX_SPANS			16384
#define MHINT_MAX_POOLS			64
#define MHINT_MIN_SPANS			16

/* The same for all processes together; 32 bytes a range. */
#define MHINT_MAX_PROCESSES		4096
#define MHINT_MAX_FILES_ALL		(4 * MHINT_MAX_FILES)
#define MHINT_MAX_SPANS_ALL		(64 * MHINT_MAX_SPANS)

/*
 * What one user may have of the three above and of MHINT_MAX_READY, and what is
 * kept for CAP_SYS_RESOURCE: one part of so many.  A quarter is what the largest
 * process needs, and a whole server with a process for each of 1000 connections;
 * the part that is kept lets the administrator help one that others leave no
 * room, by giving it the capability.
 */
#define MHINT_USER_SHARE		4
#define MHINT_RESERVED_SHARE		4

/* Virtual disks that have a map, and segments of all of them. */
#define MHINT_MAX_VOLUMES		256
#define MHINT_MAX_SEGMENTS_ALL		65536

/* At START: entries for each hold of the lock, frames of a process in a row. */
#define MHINT_SNAPSHOT_BATCH		4096
#define MHINT_SNAPSHOT_TURN		65536

/*
 * Users take turns of so long, whatever they have said: much longer than it takes
 * to borrow an address space, much shorter than what all of them have.
 */
#define MHINT_SLICE_US			5000

/* Pages that are looked at between looks at the clock, where none read a disk. */
#define MHINT_CLOCK_PAGES		16

/* Entries of page tables that are looked at with interrupts off. */
#define MHINT_ABSENT_BATCH		1024

/* Pages that are looked up at once. */
#define MHINT_WALK_PAGES		256

/* How often a busy address space is tried, and how long after, at least. */
#define MHINT_MM_TRIES			20
#define MHINT_MM_RETRY_US		500

/* How long START waits for processes to be ready, and for the walk. */
#define MHINT_READY_MS_DEFAULT		200
#define MHINT_READY_MS_MAX		2000
#define MHINT_WALK_MS_DEFAULT		1500
#define MHINT_WALK_MS_MAX		10000
#define MHINT_WALK_GRACE_MS		200

/* Snapshots that got stuck, each in a file of another user, before there are no new ones. */
#define MHINT_MAX_WALKS			8

/* Events that a slow reader may be behind; readers that START waits for. */
#define MHINT_EVENTS			16
#define MHINT_MAX_READY			64

/* Ports below need CAP_NET_BIND_SERVICE; vsock has no public name for it. */
#define MHINT_PRIVILEGED_PORTS		1024

#endif
