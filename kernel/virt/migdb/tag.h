/* SPDX-License-Identifier: GPL-2.0 */
/* Keyed tags of pages and authentication of frames. */
#ifndef _MIGDB_TAG_H
#define _MIGDB_TAG_H

#include <linux/types.h>

#define MIGDB_KEY_BYTES	16

struct migdb_key {
	u8 bytes[MIGDB_KEY_BYTES];
};

/* Algorithms there are: bit n for enum migdb_tag_alg n. */
u64 migdb_tag_algs(void);
/* Tag of the 4 KiB at @page (aligned to 8).  @alg must be one of the above. */
u64 migdb_tag_page(u32 alg, const struct migdb_key *key, const void *page);
/*
 * MAC of a frame (aligned to 8, at least a header): SipHash-2-4 whatever the tag
 * algorithm, of the header's three words in front of the mac field and the
 * SipHash of all that is behind it.  The key differs from that of the pages.
 */
u64 migdb_tag_frame(const struct migdb_key *key, const void *frame, u32 bytes);

#endif /* _MIGDB_TAG_H */
