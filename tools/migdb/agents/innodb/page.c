// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* Heads and ends of InnoDB's pages; see page.h. */
#include "page.h"

/* Offsets in a page. */
enum {
	PAGE_NUMBER	= 4,
	PAGE_LSN	= 16,
	PAGE_TYPE	= 24,
	PAGE_SPACE	= 34,
	SPACE_ID	= 38,
	SPACE_SIZE	= 46,	/* in pages */
	SPACE_FLAGS	= 54,
};

enum { TYPE_FSP_HEADER = 8 };

/* Flags of a space: new form (MariaDB 10.4), old form. */
enum {
	FLAG_FULL_CRC32		= 1 << 4,
	NEW_SIZE_MASK		= 0xf,
	NEW_COMPRESSED_SHIFT	= 5,
	NEW_COMPRESSED_MASK	= 0x7,
	OLD_ZIP_SHIFT		= 1,
	OLD_ZIP_MASK		= 0xf,
	OLD_SIZE_SHIFT		= 6,
	OLD_SIZE_MASK		= 0xf,
	OLD_COMPRESSED		= 1 << 16,
	DEFAULT_PAGE_SIZE	= 16384,
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool innodb_space_parse(const uint8_t *first, struct innodb_space *space)
{
	uint32_t flags = be32(first + SPACE_FLAGS), shift;

	if (be32(first + PAGE_NUMBER) ||
	    (first[PAGE_TYPE] << 8 | first[PAGE_TYPE + 1]) != TYPE_FSP_HEADER ||
	    be32(first + PAGE_SPACE) != be32(first + SPACE_ID) ||
	    !be32(first + SPACE_SIZE))
		return false;
	space->id = be32(first + SPACE_ID);
	space->full_crc32 = flags & FLAG_FULL_CRC32;
	if (space->full_crc32) {
		shift = flags & NEW_SIZE_MASK;
		space->plain = !(flags >> NEW_COMPRESSED_SHIFT & NEW_COMPRESSED_MASK);
	} else {
		shift = flags >> OLD_SIZE_SHIFT & OLD_SIZE_MASK;
		space->plain = !(flags >> OLD_ZIP_SHIFT & OLD_ZIP_MASK) &&
			       !(flags & OLD_COMPRESSED);
	}
	space->page_size = shift ? 512U << shift : DEFAULT_PAGE_SIZE;
	return space->page_size >= 4096 && space->page_size <= 65536;
}

void innodb_head_parse(const uint8_t *head, struct innodb_head *h)
{
	h->page = be32(head + PAGE_NUMBER);
	h->space = be32(head + PAGE_SPACE);
	h->lsn_low = be32(head + PAGE_LSN + 4);
	h->any = h->lsn_low || be32(head + PAGE_LSN);
}

bool innodb_clean(const struct innodb_head *h, const uint8_t *tail,
		  const struct innodb_space *space)
{
	return be32(tail + (space->full_crc32 ? 0 : 4)) == h->lsn_low;
}
