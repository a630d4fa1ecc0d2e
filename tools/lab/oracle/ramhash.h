/* SPDX-License-Identifier: GPL-2.0 */
/*
 * File format between ramhash and ramcmp: a file header, then for each RAM
 * block a block header directly followed by one 16-byte hash per page.
 * Native endianness: both ends are hosts of one lab.
 */
#ifndef RAMHASH_H
#define RAMHASH_H

#include <stdint.h>

#define RAMHASH_MAGIC	"ramhash1"
#define RAMHASH_PAGE	4096u
#define RAMHASH_NAME	256

struct ramhash_file {
	char magic[8];
	uint32_t page_size;
	uint32_t nr_blocks;
	uint64_t masked_bytes;
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
