/* SPDX-License-Identifier: GPL-2.0 */
/* A good frame of each type: what the suite cuts and bends, and what fuzzers start from. */
#ifndef _MIGDB_WIRE_SAMPLES_H
#define _MIGDB_WIRE_SAMPLES_H

#include <linux/string.h>
#include "../window.h"
#include "../wire.h"

#define SAMPLE_MAX_BYTES	512u

static const u32 sample_types[] = {
	MIGDB_FRAME_HELLO, MIGDB_FRAME_RECORDS, MIGDB_FRAME_REVOKE, MIGDB_FRAME_FINISH,
	MIGDB_FRAME_ABORT, MIGDB_FRAME_WELCOME, MIGDB_FRAME_BUILT, MIGDB_FRAME_RETURN,
	MIGDB_FRAME_DRAINED,
};

static const struct migdb_key sample_key = {
	{ 0xc0, 0xff, 0xee, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 }
};

static const u8 sample_uuid[MIGDB_UUID_BYTES] = {
	0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 1, 2, 3, 4, 5, 6, 7, 8
};

static inline u32 sample_hello(struct migdb_wire_hello *h)
{
	u32 i;

	memcpy(h->uuid, sample_uuid, sizeof(h->uuid));
	h->key = sample_key;
	h->page_bytes = cpu_to_le32(4096);
	h->tag_alg = cpu_to_le32(MIGDB_TAG_SIPHASH24);
	h->nr_disks = cpu_to_le32(2);
	for (i = 0; i < 2; i++) {
		h->disks[i].disk = cpu_to_le32(i * (MIGDB_MAX_DISKS - 1));
		h->disks[i].type = cpu_to_le32(MIGDB_DISK_VIRTIO_SERIAL);
		memcpy(h->disks[i].identity, i ? "data" : "root", 4);
		h->disks[i].nr_blocks = cpu_to_le64(i ? MIGDB_MAX_BLOCK : 1);
	}
	return sizeof(*h) + 2 * sizeof(h->disks[0]);
}

/* Three runs: of one page, of four, and the last block of the last disk. */
static inline u32 sample_records(struct migdb_wire_records *r)
{
	struct migdb_wire_run *runs = migdb_records_runs(r);
	u32 i;

	r->nr_runs = cpu_to_le32(3);
	r->nr_pages = cpu_to_le32(6);
	runs[0] = (struct migdb_wire_run) {
		.gfn = cpu_to_le64(0), .where = cpu_to_le64(0), .nr_pages = cpu_to_le32(1),
	};
	runs[1] = (struct migdb_wire_run) {
		.gfn = cpu_to_le64(0x1000), .where = cpu_to_le64(migdb_where(1, 99)),
		.nr_pages = cpu_to_le32(4),
	};
	runs[2] = (struct migdb_wire_run) {
		.gfn = cpu_to_le64((1ULL << 52) - 1), .nr_pages = cpu_to_le32(1),
		.where = cpu_to_le64(migdb_where(MIGDB_MAX_DISKS - 1, MIGDB_MAX_BLOCK - 1)),
	};
	for (i = 0; i < 6; i++)
		migdb_records_tags(r, 3)[i] = cpu_to_le64(0x0123456789abcdefULL * (i + 1));
	return migdb_records_bytes(3, 6);
}

static inline u32 sample_list(struct migdb_wire_list *l)
{
	struct migdb_wire_range *ranges = migdb_list_ranges(l);

	l->nr_runs = cpu_to_le32(2);
	ranges[0] = (struct migdb_wire_range) {
		.gfn = cpu_to_le64(5), .nr_pages = cpu_to_le32(1),
		.reason = cpu_to_le32(MIGDB_REASON_DIRTY),
	};
	ranges[1] = (struct migdb_wire_range) {
		.gfn = cpu_to_le64((1ULL << 52) - 7), .nr_pages = cpu_to_le32(7),
		.reason = cpu_to_le32(MIGDB_NR_REASONS - 1),
	};
	return migdb_list_bytes(2);
}

static inline u32 sample_end(struct migdb_wire_end *e)
{
	e->recorded = cpu_to_le64(1000);
	e->built = cpu_to_le64(900);
	e->returned = cpu_to_le64(100);
	e->reason = cpu_to_le32(MIGDB_REASON_LATE);
	return sizeof(*e);
}

/* Make the MAC right again after a change; @buf is aligned to 8. */
static inline void sample_seal(void *buf, u32 type, u32 bytes, u32 seq)
{
	migdb_frame_seal(buf, type, bytes, seq, migdb_session_id(sample_uuid), &sample_key);
}

/* @buf: SAMPLE_MAX_BYTES, aligned to 8.  Returns the frame's length. */
static inline u32 sample_frame(void *buf, u32 type, u32 seq)
{
	u32 bytes;

	memset(buf, 0, SAMPLE_MAX_BYTES);
	switch (type) {
	case MIGDB_FRAME_HELLO:
		bytes = sample_hello(buf);
		break;
	case MIGDB_FRAME_RECORDS:
		bytes = sample_records(buf);
		break;
	case MIGDB_FRAME_REVOKE:
	case MIGDB_FRAME_BUILT:
	case MIGDB_FRAME_RETURN:
		bytes = sample_list(buf);
		break;
	default:
		bytes = sample_end(buf);
	}
	sample_seal(buf, type, bytes, seq);
	return bytes;
}

#endif /* _MIGDB_WIRE_SAMPLES_H */
