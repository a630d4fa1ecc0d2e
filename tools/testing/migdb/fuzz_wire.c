// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer: what migdb_frame_parse() takes must be safe to walk, and what was
 * changed must not be authentic.  The first byte says how the rest is used: as a
 * body behind a good header, or as changes to a good frame.
 */
#include <stdint.h>
#include <stdlib.h>
#include <linux/types.h>
#include <asm/byteorder.h>
#include "tests/wire_samples.h"

#define CHECK(c)	do { if (!(c)) abort(); } while (0)

static u64 eat;

static void walk_records(const struct migdb_frame *f)
{
	const struct migdb_wire_records *r = f->data;
	u32 nr_runs = le32_to_cpu(r->nr_runs), nr_pages = le32_to_cpu(r->nr_pages), i;
	const struct migdb_wire_run *run = migdb_records_runs(r);
	const __le64 *tags = migdb_records_tags(r, nr_runs);
	u64 sum = 0;

	for (i = 0; i < nr_runs; i++) {
		u64 where = le64_to_cpu(run[i].where), nr = le32_to_cpu(run[i].nr_pages);

		CHECK(nr && le64_to_cpu(run[i].gfn) + nr <= 1ULL << 52);
		CHECK(migdb_where_disk(where) < MIGDB_MAX_DISKS);
		CHECK(migdb_where_block(where) + nr <= MIGDB_MAX_BLOCK);
		sum += nr;
	}
	CHECK(sum == nr_pages && nr_pages <= MIGDB_RECORD_FRAME_PAGES);
	for (i = 0; i < nr_pages; i++)
		eat += le64_to_cpu(tags[i]);
}

static void walk_list(const struct migdb_frame *f)
{
	const struct migdb_wire_list *l = f->data;
	const struct migdb_wire_range *range = migdb_list_ranges(l);
	u64 end = 0;
	u32 i;

	for (i = 0; i < le32_to_cpu(l->nr_runs); i++) {
		u64 nr = le32_to_cpu(range[i].nr_pages);

		CHECK(nr && le64_to_cpu(range[i].gfn) + nr <= 1ULL << 52);
		/* a list costs one walk over memory, and never more */
		CHECK(le64_to_cpu(range[i].gfn) >= end);
		end = le64_to_cpu(range[i].gfn) + nr;
		CHECK(le32_to_cpu(range[i].reason) < MIGDB_NR_REASONS);
	}
}

static void walk_hello(const struct migdb_frame *f)
{
	const struct migdb_wire_hello *h = f->data;
	u32 i;

	CHECK(f->session == migdb_session_id(h->uuid));
	for (i = 0; i < le32_to_cpu(h->nr_disks); i++) {
		CHECK(le32_to_cpu(h->disks[i].disk) < MIGDB_MAX_DISKS);
		eat += h->disks[i].identity[MIGDB_IDENTITY_BYTES - 1];
	}
}

static void walk(const struct migdb_frame *f, size_t len)
{
	CHECK(f->bytes <= len && f->bytes <= MIGDB_MAX_FRAME_BYTES);
	switch (f->type) {
	case MIGDB_FRAME_HELLO:
		walk_hello(f);
		break;
	case MIGDB_FRAME_RECORDS:
		walk_records(f);
		break;
	case MIGDB_FRAME_REVOKE:
	case MIGDB_FRAME_BUILT:
	case MIGDB_FRAME_RETURN:
		walk_list(f);
		break;
	default:
		CHECK(f->bytes == sizeof(struct migdb_wire_end));
	}
}

/* Sixteen pages at 0 and four at 64: what a list names is in there, or it is none. */
static void check_pages(const struct migdb_frame *f)
{
	static const struct migdb_region in[] = {
		{ .first_gfn = 0, .nr_pages = 16, .hva = 1 << 20 },
		{ .first_gfn = 64, .nr_pages = 4, .hva = 1 << 30 },
	};
	struct migdb_regions rs;

	if (!migdb_frame_is_list(f->type))
		return;
	CHECK(!migdb_regions_build(&rs, in, ARRAY_SIZE(in)));
	CHECK(migdb_list_pages(f->data, &rs) <= rs.nr_pages);
}

/* The buffer ends where the frame does: a sanitizer sees every byte behind it. */
static void body(u32 type, const uint8_t *data, size_t size)
{
	size_t bytes = sizeof(struct migdb_wire_hdr) + size;
	struct migdb_frame f;
	u8 *buf = malloc(bytes);

	memcpy(buf + sizeof(struct migdb_wire_hdr), data, size);
	sample_seal(buf, type, bytes, 0);
	if (!migdb_frame_parse(buf, bytes, &f)) {
		walk(&f, bytes);
		check_pages(&f);
		CHECK(migdb_frame_authentic(&f, &sample_key));
	}
	free(buf);
}

static void changes(u32 type, const uint8_t *data, size_t size)
{
	u8 *buf = calloc(1, SAMPLE_MAX_BYTES), *good = malloc(SAMPLE_MAX_BYTES), *exact;
	struct migdb_frame f;
	u32 bytes;

	bytes = sample_frame(buf, type, 0);
	memcpy(good, buf, SAMPLE_MAX_BYTES);
	for (; size >= 3; size -= 3, data += 3)
		buf[(data[0] | data[1] << 8) % bytes] ^= data[2];
	exact = malloc(bytes);
	memcpy(exact, buf, bytes);
	if (!migdb_frame_parse(exact, bytes, &f)) {
		walk(&f, bytes);
		CHECK(migdb_frame_authentic(&f, &sample_key) == !memcmp(exact, good, f.bytes));
	}
	free(exact);
	free(good);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	u32 type;

	if (!size)
		return 0;
	type = sample_types[(data[0] >> 1) % ARRAY_SIZE(sample_types)];
	if (data[0] & 1)
		body(type, data + 1, size - 1);
	else
		changes(type, data + 1, size - 1);
	return 0;
}
