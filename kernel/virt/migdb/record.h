/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is said of a session at its end: a line for people, a JSON object for
 * programs.  Documentation/admin-guide/migdb/start.rst has the meaning of each
 * field; what is there stays there, new ones may come.
 *
 * @peer_reason: 1: @reason is what the other side said.
 */
#ifndef _MIGDB_RECORD_H
#define _MIGDB_RECORD_H

#include <linux/types.h>
#include <linux/migdb.h>
#include "limits.h"

struct migdb_record {
	const char *label, *role, *outcome, *reason;
	u64 peer_reason;
	u64 candidates, recorded, built, revoked, returned, sent, pending, dropped, left;
	u64 by_reason[MIGDB_NR_REASONS];
	u64 harvested, reads, read_bytes, tx_bytes, rx_bytes;
	u64 hash_bytes_per_s, record_bytes_per_s, fetch_bytes_per_s;
	u64 memory_bytes, ms;
};

/* Both return the length without the NUL, which is always there. */
int migdb_record_json(char *buf, size_t size, const struct migdb_record *r);
int migdb_record_line(char *buf, size_t size, const struct migdb_record *r);

/* Bytes per second; 0 when nothing was done. */
u64 migdb_rate(u64 bytes, u64 ns);

/*
 * A bound of log lines that no real host reaches: printk's own loses lines of
 * sessions that end together.  A bucket that is emptied by one each
 * MIGDB_LOG_EVERY_NS.  True: print, and first that @lost were not printed.
 */
struct migdb_log_limit {
	u64 since_ns;
	u32 nr, lost;
};

bool migdb_log_admit(struct migdb_log_limit *l, u64 now_ns, u32 *lost);

#endif /* _MIGDB_RECORD_H */
