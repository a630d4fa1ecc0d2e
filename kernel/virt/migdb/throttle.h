/* SPDX-License-Identifier: GPL-2.0 */
/* Token bucket for the fetch rate: pure arithmetic on a clock handed in. */
#ifndef _MIGDB_THROTTLE_H
#define _MIGDB_THROTTLE_H

#include <linux/types.h>

struct migdb_bucket {
	u64 bytes_per_s;	/* 0: no limit */
	s64 tokens_bytes;	/* may be negative: debt */
	u64 last_ns;
};

void migdb_bucket_init(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns);
/* Change the rate; credit is kept within the new burst. */
void migdb_bucket_set_rate(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns);
/*
 * Take @bytes: returns 0, or the time after which to try again.  A request larger
 * than the burst (100 ms worth, at least 1 MiB) is granted into debt when the bucket is full.
 */
u64 migdb_bucket_take(struct migdb_bucket *b, u64 bytes, u64 now_ns);

#endif /* _MIGDB_THROTTLE_H */
