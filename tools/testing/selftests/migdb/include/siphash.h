/* SPDX-License-Identifier: MIT */
#ifndef SIPHASH_H
#define SIPHASH_H

#include "mdb.h"

struct digest {
	u64 lo, hi;
};

/*
 * siphash128: SipHash-2-4 with 128 bits of output.  The comparison of two RAMs
 * uses it with a key of its own, so that it shares nothing with the tags by
 * which the kernel accepts a page.  @bytes: a multiple of 8.
 */
struct digest siphash128(const u64 key[2], const void *data, size_t bytes);

/* The same with 64 bits, as the MAC of a frame has.  @bytes: a multiple of 8. */
u64 siphash64(const u64 key[2], const void *data, size_t bytes);

#endif /* SIPHASH_H */
