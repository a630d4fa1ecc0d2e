// SPDX-License-Identifier: GPL-2.0
/* Token bucket, see throttle.h.  No step of it can overflow 64 bits. */
#include <linux/types.h>
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include "throttle.h"

#define NS_PER_S	1000000000ull
#define MIN_BURST_BYTES	BIT_ULL(20)
/* Beyond any storage, and small enough to be added and multiplied in peace. */
#define MAX_RATE	BIT_ULL(60)
#define MAX_TAKE	BIT_ULL(62)
/* Debt ends here: a sum of requests never wraps. */
#define MAX_DEBT	(-(s64)MAX_TAKE)

static s64 burst_bytes(const struct migdb_bucket *b)
{
	return max(div64_u64(b->bytes_per_s, 10), MIN_BURST_BYTES);
}

static void refill(struct migdb_bucket *b, u64 now_ns)
{
	u64 elapsed, s, ns, missing, add, part, whole, rest;

	/* clocks of two CPUs may differ by a little */
	if (now_ns <= b->last_ns)
		return;
	elapsed = now_ns - b->last_ns;
	s = div64_u64(elapsed, NS_PER_S);
	ns = elapsed - s * NS_PER_S;
	missing = burst_bytes(b) - b->tokens_bytes;
	if (s > div64_u64(missing, b->bytes_per_s))
		goto full;

	/* floor(ns * rate / 10^9) in two parts that fit */
	whole = div64_u64(b->bytes_per_s, NS_PER_S);
	part = ns * (b->bytes_per_s - whole * NS_PER_S);
	add = div64_u64(part, NS_PER_S);
	rest = part - add * NS_PER_S;
	add += s * b->bytes_per_s + ns * whole;
	if (add >= missing)
		goto full;

	b->tokens_bytes += add;
	/* time that did not make up a whole byte is not lost */
	b->last_ns = now_ns - div64_u64(rest, b->bytes_per_s);
	return;
full:
	b->tokens_bytes = burst_bytes(b);
	b->last_ns = now_ns;
}

void migdb_bucket_init(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns)
{
	b->bytes_per_s = min(bytes_per_s, MAX_RATE);
	b->tokens_bytes = bytes_per_s ? burst_bytes(b) : 0;
	b->taken_bytes = 0;
	b->last_ns = now_ns;
}

void migdb_bucket_set_rate(struct migdb_bucket *b, u64 bytes_per_s, u64 now_ns)
{
	/* there was no limit, so there is no debt either */
	if (!b->bytes_per_s || !bytes_per_s) {
		migdb_bucket_init(b, bytes_per_s, now_ns);
		return;
	}
	refill(b, now_ns);
	b->bytes_per_s = min(bytes_per_s, MAX_RATE);
	b->tokens_bytes = min(b->tokens_bytes, burst_bytes(b));
}

/* ceil(bytes / rate), in ns; more than that if it would not fit. */
static u64 time_for(u64 bytes, u64 bytes_per_s)
{
	u64 s = div64_u64(bytes, bytes_per_s);
	u64 rest = bytes - s * bytes_per_s;
	u64 ns;

	if (s >= div64_u64(U64_MAX, NS_PER_S) - 2)
		return U64_MAX;
	if (bytes_per_s >= NS_PER_S) {
		u64 per_ns = div64_u64(bytes_per_s, NS_PER_S);

		ns = div64_u64(rest + per_ns - 1, per_ns);
	} else {
		ns = div64_u64(rest * NS_PER_S + bytes_per_s - 1, bytes_per_s);
	}
	return s * NS_PER_S + ns;
}

/* Until the debt is paid, but for the @later bytes of it that came afterwards. */
static u64 time_without(const struct migdb_bucket *b, u64 later)
{
	u64 debt = b->tokens_bytes < 0 ? -b->tokens_bytes : 0;

	return debt > later ? time_for(debt - later, b->bytes_per_s) : 0;
}

u64 migdb_bucket_reserve(struct migdb_bucket *b, u64 bytes, u64 now_ns)
{
	if (!b->bytes_per_s)
		return 0;
	refill(b, now_ns);
	bytes = min(bytes, MAX_TAKE);
	b->tokens_bytes = max(b->tokens_bytes - (s64)bytes, MAX_DEBT);
	b->taken_bytes += bytes;
	return time_without(b, 0);
}

u64 migdb_bucket_wait(struct migdb_bucket *b, u64 turn, u64 now_ns)
{
	if (!b->bytes_per_s)
		return 0;
	refill(b, now_ns);
	return time_without(b, b->taken_bytes - turn);
}

u64 migdb_rate_share(u64 bytes_per_s, u32 nr)
{
	return bytes_per_s ? max(div64_u64(bytes_per_s, max(nr, 1u)), 1ULL) : 0;
}
