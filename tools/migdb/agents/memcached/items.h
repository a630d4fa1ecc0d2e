/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* What a memcached holds, as it lists it, and which of that is cold. */
#ifndef MIGDB_MEMCACHED_ITEMS_H
#define MIGDB_MEMCACHED_ITEMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_MAX_BYTES	250	/* memcached's limit */
/*
 * More are left as they are.  300 MB of memory for the longest keys, and of the
 * smallest items more than can be replaced in the time that a start may take.
 */
#define ITEMS_MAX	(1 << 20)

struct item {
	uint32_t used_s;	/* time of the last use */
	uint32_t size;		/* with header and key */
	bool fetched;		/* ever, since it was stored */
	char *key;		/* as it is sent */
};

struct items {
	struct item *item;
	size_t nr;
	size_t room;
	uint64_t bytes;
};

/*
 * Takes one line of "lru_crawler metadump"; items below @min_size are not kept,
 * nor are those beyond ITEMS_MAX.
 * False: no memory.
 */
bool items_add(struct items *items, const char *line, uint32_t min_size);
/*
 * Puts the coldest first.  How many of them there are, so that at least @keep per
 * cent of all bytes are left.
 */
size_t items_cold(struct items *items, unsigned int keep);
void items_free(struct items *items);

#endif
