/* SPDX-License-Identifier: GPL-2.0 */
/* Token bucket for the fetch rate: pure arithmetic on a clock handed in. */
#ifndef _MIGDB_THROTTLE_H
#define _MIGDB_THROTTLE_H

#include <linux/types.h>

struct migdb_bucket {
	u64 bytes_per_s;	/* 0: no limit */
	s64 tokens_bytes;	/* may be negative: debt */
	u64 taken_bytes;	/* of all requests since the bucket was set up */
	u64 last_ns;
};

void migdb_bucket_init(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns);
/* Change the rate; credit is kept within the new burst, and debt. */
void migdb_bucket_set_rate(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns);
/*
 * Take @bytes, into debt if need be, and return the time after which they may be
 * used.  Unused credit is 100 ms worth, at least 1 MiB.  Whoever comes later waits
 * longer: a large request has its turn, however many small ones there are.
 */
u64 migdb_bucket_reserve(struct migdb_bucket *b, u64 bytes, u64 now_ns);
/*
 * How much longer a request has to wait at the present rate.  @turn: taken_bytes when
 * it had been made.
 */
u64 migdb_bucket_wait(struct migdb_bucket *b, u64 turn, u64 now_ns);
/*
 * What one of @nr users of a rate may have, 0: no limit.  Turns alone would share
 * out requests; who makes the larger ones would have most of the bytes.
 */
u64 migdb_rate_share(u64 bytes_per_s, u32 nr);

#endif /* _MIGDB_THROTTLE_H */
