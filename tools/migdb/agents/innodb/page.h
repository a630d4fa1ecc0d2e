/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * What a page of InnoDB says of itself: which block of which file it is, and
 * whether it was changed since it was last read or written.  MariaDB 10.4 and
 * later, and MySQL, whose pages have the older form of the end.
 *
 * Nothing depends on it being right: whatever is named is verified.
 */
#ifndef MIGDB_INNODB_PAGE_H
#define MIGDB_INNODB_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#define INNODB_HEAD_BYTES	38	/* of each page; FIL_PAGE_DATA */
#define INNODB_TAIL_BYTES	8
#define INNODB_FIRST_BYTES	64	/* of the first page, for a space's flags */

/* A tablespace, as the first page of its file describes it. */
struct innodb_space {
	uint32_t id;
	uint32_t page_size;
	bool full_crc32;	/* the form of the end of pages */
	bool plain;		/* in memory as on the disk: not compressed */
};

struct innodb_head {
	uint32_t space;
	uint32_t page;		/* number in the tablespace */
	uint32_t lsn_low;	/* of the newest change */
	bool any;		/* a page that was ever written */
};

/* False: the first bytes are not of a tablespace. */
bool innodb_space_parse(const uint8_t *first, struct innodb_space *space);
void innodb_head_parse(const uint8_t *head, struct innodb_head *h);
/*
 * Changes stamp the head, in memory; writing the page stamps the end.  So the
 * two are the same in pages that are as on the disk.  (MySQL stamps both when it
 * writes: there changed pages look clean.)
 */
bool innodb_clean(const struct innodb_head *h, const uint8_t *tail,
		  const struct innodb_space *space);

#endif
