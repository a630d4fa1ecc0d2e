/* SPDX-License-Identifier: MIT */
#ifndef REFVMM_H
#define REFVMM_H

#include "channel.h"
#include "vm.h"
#include "workload.h"

/*
 * Test-only faults: each breaks one rule of the API on purpose, to prove that
 * the comparison at the destination sees it.
 */
enum fault {
	FAULT_NONE,
	FAULT_FLIP,		/* a byte of a built page changes after verification */
	FAULT_HASH_BEFORE_ARM,	/* the dirty log is turned on after hashing */
	FAULT_LATE_RECORD,	/* records are taken after newer stream writes, no claims */
	FAULT_UNSEEN_DISCARD,	/* pages are discarded and nobody is told */
	FAULT_DISCARD_WRITTEN,	/* pages go that were written to since the guest agreed */
};

/* Test-only: what comes about just when post-copy switches; none of it may be seen. */
enum at_switch {
	AT_SWITCH_NOTHING,
	AT_SWITCH_UNHEARD,	/* the source has not heard of all that is built, nor waits */
	/* destination: */
	AT_SWITCH_LOST,		/* its session is aborted, and nobody knows */
	AT_SWITCH_LOST_HELD,	/* the same after HOLD, when memory was punched */
	AT_SWITCH_REFUSED,	/* it cannot, with a session or without */
	AT_SWITCH_DIES,
};

enum postcopy {
	POSTCOPY_OFF,
	POSTCOPY_RUNNING,	/* the guest runs from the switch on */
	POSTCOPY_PAUSED,	/* when all is there and was compared */
};

struct options {
	struct vm_config vm;
	struct workload_config load;
	const char *disk;
	bool make_disk;
	const char *to, *from;
	bool pair;
	bool use_migdb;
	bool progress;
	u64 bandwidth;		/* bytes per second, 0: no limit */
	u32 max_ms;		/* stop the guest after so long, converged or not */
	u32 grace_ms;
	u32 warm_ms, after_ms;
	u32 round_ms;		/* pause between two rounds */
	u32 attempts;
	bool adaptive;		/* source: what the link has to spare is used */
	bool balloon;		/* source: the guest gives pages back while it moves */
	bool discard;		/* source: agree to discardable pages */
	bool claim_by_ioctl;	/* destination: do not map the claims */
	u32 workers;		/* destination: vhost workers of its own, 0: the one */
	u64 session_bytes;	/* kernel memory that a session may have, 0: any */
	enum fault fault;
	u64 cut_after;		/* source: cut the link after so many bytes */
	u64 die_after;		/* destination: SIGKILL itself likewise */
	u32 die_ms;		/* or so long after HELLO */
	enum postcopy postcopy;
	enum at_switch at_switch;
	u32 switch_ms;		/* source: pre-copy for so long at most, then switch */
	u32 die_after_switch_ms;	/* source: SIGKILL itself; 0: no */
};

/* What a migration came to, both sides. */
struct outcome {
	bool migrated;		/* the destination runs the guest */
	const char *ordinary;	/* why it was (or became) one, or NULL */
	u32 reason;		/* enum migdb_reason, where the kernel said so */
	u64 total_ns, downtime_ns, oracle_ns;
	u64 rounds, pages_sent, pages_zero, pages_skipped, sent_bytes;
	u64 harvests, ring_full;
	u64 discardable;	/* pages that the guest could do without at START */
	u64 discarded;		/* and those of them that went as zeros */
	u64 huge_bytes;		/* of the guest's memory, in huge pages when it begins */
	struct migdb_stats stats;	/* source */
	u64 requests, requests_in_set;	/* post-copy: pages that the destination asked for */
	struct result dest;
};

/* source.c: one attempt.  0, or -errno with the guest running on here. */
int source_migrate(struct vm *vm, struct workload *w, const struct options *o,
		   struct outcome *out);
void source_ring_full(struct vm_cpu *cpu);

/* dest.c: exit status of the process. */
int dest_run(struct vm *vm, struct workload *w, const struct options *o);

void progress(const struct options *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define DIGEST_KEY	((const u64[2]){ 0x6d69676462726566ULL, 0x76696577766d6d21ULL })

#endif /* REFVMM_H */
