/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every bound of the host part in one place.  What is counted in entries is
 * what a lock may be held for, or what one call may do, before others get a turn.
 */
#ifndef _MIGDB_LIMITS_H
#define _MIGDB_LIMITS_H

#include <linux/bits.h>
#include <linux/types.h>

#define MIGDB_PAGE_BYTES	4096u
/* 2^44 blocks of 4 KiB: what a hint table entry can name (64 PiB) */
#define MIGDB_MAX_BLOCK		BIT_ULL(44)
/* As many as vhost takes by default; QEMU needs a handful. */
#define MIGDB_MAX_REGIONS	64u
/* 16 TiB of guest memory: indexes fit 32 bits with room. */
#define MIGDB_MAX_PAGES		BIT_ULL(32)

/* Snapshot: candidates of one window of disk blocks that are held at a time. */
#define MIGDB_WINDOW_ENTRIES	(4u << 20)
/* Snapshot: histogram buckets over all disks, a u32 each. */
#define MIGDB_WINDOW_BUCKETS	(64u << 10)

/*
 * Pages handled per hold of the set lock (hash, subtract, return), and pages of
 * one RECORDS frame: as many as a destination can keep, each a run of its own,
 * in a slab object of 2 KiB.
 */
#define MIGDB_SET_BATCH_PAGES	80u
/* Runs that one MIGDB_DEQUEUE returns at most. */
#define MIGDB_DEQUEUE_RUNS	256u
/* of them, taken per hold of the set lock; each has at most MIGDB_HARVEST_BATCH pages */
#define MIGDB_DEQUEUE_HOLD_RUNS	16u
/* Ring entries, and bits, per hold of the set lock; a harvest loops over such batches. */
#define MIGDB_HARVEST_BATCH	4096u
/* Frames waiting for the VMM's read(2), per session. */
#define MIGDB_TX_MAX_BYTES	BIT(20)
/* Runs of one frame: keeps a frame far below MIGDB_MAX_FRAME_BYTES. */
#define MIGDB_RECORD_FRAME_PAGES 1536u
#define MIGDB_LIST_FRAME_RUNS	2048u
/*
 * How often the other side may name a page in its lists, on average: once as
 * built, once as returned, or once as revoked, and room for what nobody does yet.
 */
#define MIGDB_MAX_NAMED		8u

/*
 * How often all lists of the destination together may name each page of ours: it
 * builds a page, gives it back, and that is that.
 */
#define MIGDB_NAMED_TIMES	8u

/* Fetch: one read, and reads in flight per lane (4 lanes: 64 deep). */
#define MIGDB_IO_MAX_PAGES	128u
#define MIGDB_LANE_DEPTH	16u
/*
 * Reading up to so many unwanted blocks is better than another request, as long
 * as the read is a short one: storage that limits requests gets fewer of them,
 * storage that limits bytes (a network, a cap) hardly any in vain.
 */
#define MIGDB_IO_GAP_PAGES	4u
#define MIGDB_IO_SHORT_PAGES	8u
/* Pages verified and placed per run of a lane's work item. */
#define MIGDB_PLACE_BATCH_PAGES	256u

/*
 * Post-copy.  Pages of one UFFDIO_COPY (as long as the claim is BUSY), of one read in
 * bulk and between two looks at what the guest waits for; at most 64.
 */
#define MIGDB_PLACE_ATOMIC_PAGES	32u
#define MIGDB_POSTCOPY_IO_PAGES		32u
/* Pages that may be waited for at a time; more are the source's at once. */
#define MIGDB_FAULT_SLOTS		64u
/* A fault reads the blocks of its run in the same aligned group of so many. */
#define MIGDB_FAULT_GROUP_PAGES		4u
/* The last so many reads say how long one takes; no deadline that follows is longer. */
#define MIGDB_LATENCY_SAMPLES		31u
#define MIGDB_MAX_ADAPTIVE_NS		(1ull * 1000 * 1000 * 1000)
/* Defaults of the knobs, and their bounds. */
#define MIGDB_DEFAULT_BULK_READS	2u
#define MIGDB_DEFAULT_FLOOR_US		2000u
#define MIGDB_MAX_FLOOR_US		(10u * 1000 * 1000)

/*
 * Records of a destination: what every page needs when it is recorded once, in
 * frames as full as ours are, and room for frames of a few pages.
 */
#define MIGDB_RECORD_PAGE_BYTES		26u
#define MIGDB_RECORD_SLACK_BYTES	BIT(20)

/*
 * What is sized by guest memory, of all sessions together: at most one part in so many
 * of the host's memory.  A memory table costs its owner nothing, and may name what is
 * nowhere.
 */
#define MIGDB_MEMORY_PARTS	2u

/* Defaults of the sysfs knobs. */
#define MIGDB_DEFAULT_MAX_SESSIONS	16u
#define MIGDB_DEFAULT_INFLIGHT_BYTES	(64ull << 20)

/*
 * The record of a session: a line of the log must be shorter than 1024 bytes, the
 * name in front included.  How many sessions may end, or be refused, one after the
 * other before records are lost, and how often one more may from then on: who may open
 * the device cannot fill the log with it.
 */
#define MIGDB_RECORD_BYTES	1008u
#define MIGDB_LOG_SESSIONS	512u
#define MIGDB_LOG_EVERY_NS	(100ull * 1000 * 1000)

/* How long a write to sysfs "enabled" waits for running sessions. */
#define MIGDB_TURN_WAIT_JIFFIES	(2 * HZ)

/* How often a read that waits for its turn looks whether the rate has changed. */
#define MIGDB_RATE_LOOK_JIFFIES	(HZ / 4)

/*
 * Pages that go over the link although storage has them (MIGDB_TAKE): rates are as
 * of the last so many ns; what is taken at a time is on its way for a part of a
 * second, so that the rates that decided are still the rates; and at least so many,
 * which is also what is taken before anything is known of the link.
 */
#define MIGDB_METER_NS			(500ull * 1000 * 1000)
#define MIGDB_TAKE_BATCHES_PER_S	4u
#define MIGDB_TAKE_PROBE_PAGES		256u

/* Longest wait that a caller may ask MIGDB_DRAIN for. */
#define MIGDB_MAX_GRACE_NS	(10ull * 1000 * 1000 * 1000)

#endif /* _MIGDB_LIMITS_H */
