/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File format between ramhash and ramcmp: a file header, what was left out, then
 * for each RAM block a block header directly followed by one 16-byte hash per page.
 * Native endianness: both ends are hosts of one lab.
 */
#ifndef RAMHASH_H
#define RAMHASH_H

#include <stdint.h>

#define RAMHASH_MAGIC	"ramhash2"
#define RAMHASH_PAGE	4096u
#define RAMHASH_NAME	256
#define RAMHASH_KIND	16

struct ramhash_file {
	char magic[8];
	uint32_t page_size;
	uint32_t nr_blocks;
	uint32_t nr_masks;
	uint32_t reserved;
};

struct ramhash_mask {
	char kind[RAMHASH_KIND];	/* which area of KVM's it is */
	char name[RAMHASH_NAME];	/* of the block */
	uint64_t start;			/* in the block, bytes */
	uint64_t len;
};

struct ramhash_block {
	char name[RAMHASH_NAME];
	uint64_t used;		/* bytes; the last page may be a part of one */
	uint64_t pages;
};

struct ramhash_hash {
	uint64_t lo;
	uint64_t hi;
};

#endif /* RAMHASH_H */
