// SPDX-License-Identifier: MIT
#include "siphash.h"

static inline u64 rotl(u64 x, int b)
{
	return x << b | x >> (64 - b);
}

static inline void rounds(u64 v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

/* All of the data; what differs by the width of the digest is the caller's. */
static void absorb(u64 v[4], const u64 key[2], const void *data, size_t bytes)
{
	const u64 *p = data, *end = p + bytes / 8;
	u64 tail = (u64)bytes << 56;

	v[0] ^= key[0] ^ 0x736f6d6570736575ULL;
	v[1] ^= key[1] ^ 0x646f72616e646f6dULL;
	v[2] ^= key[0] ^ 0x6c7967656e657261ULL;
	v[3] ^= key[1] ^ 0x7465646279746573ULL;
	for (; p < end; p++) {
		v[3] ^= *p;
		rounds(v, 2);
		v[0] ^= *p;
	}
	v[3] ^= tail;
	rounds(v, 2);
	v[0] ^= tail;
}

struct digest siphash128(const u64 key[2], const void *data, size_t bytes)
{
	u64 v[4] = { 0, 0xee };
	struct digest d;

	absorb(v, key, data, bytes);
	v[2] ^= 0xee;
	rounds(v, 4);
	d.lo = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	rounds(v, 4);
	d.hi = v[0] ^ v[1] ^ v[2] ^ v[3];
	return d;
}

u64 siphash64(const u64 key[2], const void *data, size_t bytes)
{
	u64 v[4] = { 0 };

	absorb(v, key, data, bytes);
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
