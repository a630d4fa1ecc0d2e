// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: a guest of 16 pages whose content the input chooses, root included.
 * The walk must end, in bounds and in order, after a number of reads that only
 * the frames asked for decide.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>
#include <linux/mem_hints.h>
#include "table.h"

#define CHECK(c)	do { if (!(c)) abort(); } while (0)
#define PAGES		16
#define FRAMES		(1u << 16)

struct guest {
	u8 mem[PAGES][MIGDB_PAGE_BYTES];
	u64 reads, yields, next, first, end;
	u64 entries_since, reads_since;		/* the last yield */
};

static int on_read_page(void *ctx, u64 gpa, void *page)
{
	struct guest *g = ctx;

	g->reads++;
	CHECK(++g->reads_since <= MIGDB_TABLE_MAX_LEVELS);
	CHECK(gpa % MIGDB_PAGE_BYTES == 0);
	if (gpa / MIGDB_PAGE_BYTES >= PAGES)
		return -14;
	memcpy(page, g->mem[gpa / MIGDB_PAGE_BYTES], MIGDB_PAGE_BYTES);
	return 0;
}

static int on_entry(void *ctx, u64 gfn, u32 disk, u64 block, u32 class)
{
	struct guest *g = ctx;

	CHECK(gfn >= g->next && gfn >= g->first && gfn < g->end);
	CHECK(disk <= MEM_HINT_DISK_MASK && block < MIGDB_MAX_BLOCK && class <= MEM_HINT_CLASS_HOT);
	CHECK(++g->entries_since <= 512);
	g->next = gfn + 1;
	return 0;
}

static int on_page_done(void *ctx)
{
	struct guest *g = ctx;

	g->yields++;
	g->entries_since = 0;
	g->reads_since = 0;
	return 0;
}

static const struct migdb_table_ops ops = {
	.read_page = on_read_page, .entry = on_entry, .yield = on_page_done,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct migdb_table_walk *w = malloc(sizeof(*w));
	struct guest *g = calloc(1, sizeof(*g));
	struct mem_hint_root *root = (void *)g->mem[0];
	struct migdb_table t;
	u64 from = 0;

	if (size >= 2) {
		from = (u64)data[0] << (8 * (data[1] % 5));
		data += 2;
		size -= 2;
	}
	/* nearly good to begin with, else nothing gets past the root */
	root->magic = MEM_HINT_ROOT_MAGIC;
	root->version = MEM_HINT_ABI_VERSION;
	root->levels = size ? 1 + data[0] % 5 : 2;
	root->nr_frames = 1ULL << (9 * root->levels);
	root->table = MIGDB_PAGE_BYTES;
	/* page, slot, kind, number: one slot each, or as many as the kind says */
	for (; size >= 5; size -= 5, data += 5) {
		u64 v = data[3] | (u64)data[4] << 8, *mem = (u64 *)g->mem[data[0] % PAGES];
		u32 slot = (data[1] | data[2] << 8) % 512, n = 1 + (data[2] >> 2 & 31), i;

		switch (data[2] >> 7) {
		case 0:
			v = v % (PAGES + 2) * MIGDB_PAGE_BYTES;
			break;
		default:
			v = v << 48 | v << 20 | v;
		}
		for (i = 0; i < n && slot + i < 512; i++)
			mem[slot + i] = v;
	}
	if (!migdb_table_parse_root(root, &t)) {
		CHECK(t.levels >= 1 && t.levels <= MIGDB_TABLE_MAX_LEVELS);
		g->first = from;
		g->end = from + FRAMES;
		memset(w, 0, sizeof(*w));
		CHECK(!migdb_table_walk(&t, w, from, from + FRAMES, &ops, g));
		CHECK(g->reads <= FRAMES / 512 + FRAMES / 512 / 512 + 2 * MIGDB_TABLE_MAX_LEVELS + 2);
		CHECK(g->yields <= FRAMES / 512 + 2);
	}
	free(g);
	free(w);
	return 0;
}
