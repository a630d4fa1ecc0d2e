// SPDX-License-Identifier: GPL-2.0
/* Keyed tags of pages and authentication of frames, see tag.h. */
#include <linux/types.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/migdb.h>
#include <linux/siphash.h>
#include <linux/stddef.h>
#include <linux/unaligned.h>
#include "limits.h"
#include "tag.h"
#include "wire.h"

/* Makes the key of frames another one than that of pages: "mframe\0\0". */
#define FRAME_DOMAIN	0x656d6172666dULL

static void make_key(siphash_key_t *k, const struct migdb_key *key, u64 domain)
{
	k->key[0] = get_unaligned_le64(key->bytes) ^ domain;
	k->key[1] = get_unaligned_le64(key->bytes + 8);
}

u64 migdb_tag_algs(void)
{
	return BIT_ULL(MIGDB_TAG_SIPHASH24);
}

u64 migdb_tag_page(u32 alg, const struct migdb_key *key, const void *page)
{
	siphash_key_t k;

	make_key(&k, key, 0);
	return siphash(page, MIGDB_PAGE_BYTES, &k);
}

u64 migdb_tag_frame(const struct migdb_key *key, const void *frame, u32 bytes)
{
	const __le64 *head = frame;
	siphash_key_t k;
	u64 body;

	/* what is in front of the mac is three words, what is behind it the body */
	BUILD_BUG_ON(offsetof(struct migdb_wire_hdr, mac) != 3 * sizeof(__le64));
	BUILD_BUG_ON(sizeof(struct migdb_wire_hdr) != 4 * sizeof(__le64));

	make_key(&k, key, FRAME_DOMAIN);
	body = siphash(head + 4, bytes - sizeof(struct migdb_wire_hdr), &k);
	return siphash_4u64(le64_to_cpu(head[0]), le64_to_cpu(head[1]),
			    le64_to_cpu(head[2]), body, &k);
}
