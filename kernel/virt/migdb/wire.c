// SPDX-License-Identifier: GPL-2.0
/* Frames of the stream: checks before use, and sealing, see wire.h. */
#include <linux/types.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/unaligned.h>
#include <asm/byteorder.h>
#include "wire.h"
#include "window.h"

/* First frame number whose address does not fit 64 bits. */
#define END_GFN		BIT_ULL(52)

static bool gfns_sane(u64 gfn, u32 nr)
{
	return nr && gfn < END_GFN && nr <= END_GFN - gfn;
}

static bool hello_sane(const struct migdb_wire_hello *h, u32 bytes)
{
	u32 i, nr;

	if (bytes < sizeof(*h))
		return false;
	nr = le32_to_cpu(h->nr_disks);
	if (nr > MIGDB_MAX_DISKS || bytes != sizeof(*h) + nr * sizeof(h->disks[0]))
		return false;
	if (h->reserved || le64_to_cpu(h->hdr.session) != migdb_session_id(h->uuid))
		return false;
	for (i = 0; i < nr; i++) {
		if (le32_to_cpu(h->disks[i].disk) >= MIGDB_MAX_DISKS)
			return false;
		if (le64_to_cpu(h->disks[i].nr_blocks) > MIGDB_MAX_BLOCK)
			return false;
	}
	return true;
}

static bool run_sane(const struct migdb_wire_run *run)
{
	u64 where = le64_to_cpu(run->where), block = migdb_where_block(where);
	u32 nr = le32_to_cpu(run->nr_pages);

	if (run->reserved || !gfns_sane(le64_to_cpu(run->gfn), nr))
		return false;
	return where < migdb_where(MIGDB_MAX_DISKS, 0) && nr <= MIGDB_MAX_BLOCK - block;
}

static bool records_sane(const struct migdb_wire_records *r, u32 bytes)
{
	const struct migdb_wire_run *runs;
	u32 i, nr_runs, nr_pages;
	u64 sum = 0;

	if (bytes < sizeof(*r))
		return false;
	nr_runs = le32_to_cpu(r->nr_runs);
	nr_pages = le32_to_cpu(r->nr_pages);
	if (!nr_runs || nr_runs > nr_pages || nr_pages > MIGDB_RECORD_FRAME_PAGES ||
	    bytes != migdb_records_bytes(nr_runs, nr_pages))
		return false;
	runs = migdb_records_runs(r);
	for (i = 0; i < nr_runs; i++) {
		if (!run_sane(&runs[i]))
			return false;
		sum += le32_to_cpu(runs[i].nr_pages);
	}
	return sum == nr_pages;
}

static bool list_sane(const struct migdb_wire_list *l, u32 bytes)
{
	const struct migdb_wire_range *ranges;
	u32 i, nr_runs, nr;
	u64 gfn, end = 0;

	if (bytes < sizeof(*l))
		return false;
	nr_runs = le32_to_cpu(l->nr_runs);
	if (l->reserved || !nr_runs || nr_runs > MIGDB_LIST_FRAME_RUNS ||
	    bytes != migdb_list_bytes(nr_runs))
		return false;
	ranges = migdb_list_ranges(l);
	for (i = 0; i < nr_runs; i++) {
		gfn = le64_to_cpu(ranges[i].gfn);
		nr = le32_to_cpu(ranges[i].nr_pages);
		if (!gfns_sane(gfn, nr) || gfn < end)
			return false;
		end = gfn + nr;
		if (le32_to_cpu(ranges[i].reason) >= MIGDB_NR_REASONS)
			return false;
	}
	return true;
}

static bool end_sane(const struct migdb_wire_end *e, u32 type, u32 bytes)
{
	if (bytes != sizeof(*e) || e->reserved)
		return false;
	/* of an abort whatever a newer version may say: it is over, see migdb_abort_reason() */
	return type == MIGDB_FRAME_ABORT || le32_to_cpu(e->reason) < MIGDB_NR_REASONS;
}

static bool body_sane(u32 type, const void *data, u32 bytes)
{
	switch (type) {
	case MIGDB_FRAME_HELLO:
		return hello_sane(data, bytes);
	case MIGDB_FRAME_RECORDS:
		return records_sane(data, bytes);
	case MIGDB_FRAME_REVOKE:
	case MIGDB_FRAME_BUILT:
	case MIGDB_FRAME_RETURN:
		return list_sane(data, bytes);
	case MIGDB_FRAME_FINISH:
	case MIGDB_FRAME_ABORT:
	case MIGDB_FRAME_WELCOME:
	case MIGDB_FRAME_DRAINED:
		return end_sane(data, type, bytes);
	default:
		return false;
	}
}

int migdb_frame_parse(const void *buf, size_t len, struct migdb_frame *f)
{
	const struct migdb_wire_hdr *hdr = buf;
	u32 bytes, type, version;

	/* no field anywhere is off its natural alignment, no frame ends off 8 bytes */
	BUILD_BUG_ON(sizeof(struct migdb_wire_hdr) != 32);
	BUILD_BUG_ON(sizeof(struct migdb_wire_disk) != 80);
	BUILD_BUG_ON(sizeof(struct migdb_wire_hello) != 88);
	BUILD_BUG_ON(sizeof(struct migdb_wire_records) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_wire_run) != 24);
	BUILD_BUG_ON(sizeof(struct migdb_wire_list) != 40);
	BUILD_BUG_ON(sizeof(struct migdb_wire_range) != 16);
	BUILD_BUG_ON(sizeof(struct migdb_wire_end) != 64);
	/* the fullest frames of our own */
	BUILD_BUG_ON(sizeof(struct migdb_wire_records) + MIGDB_RECORD_FRAME_PAGES *
		     (sizeof(struct migdb_wire_run) + sizeof(__le64)) > MIGDB_MAX_FRAME_BYTES);
	BUILD_BUG_ON(sizeof(struct migdb_wire_list) + MIGDB_LIST_FRAME_RUNS *
		     sizeof(struct migdb_wire_range) > MIGDB_MAX_FRAME_BYTES);
	BUILD_BUG_ON(sizeof(struct migdb_wire_hello) + MIGDB_MAX_DISKS *
		     sizeof(struct migdb_wire_disk) > MIGDB_MAX_FRAME_BYTES);

	if (len < sizeof(*hdr))
		return -EBADMSG;
	bytes = le32_to_cpu(hdr->bytes);
	type = le16_to_cpu(hdr->type);
	version = le16_to_cpu(hdr->version);
	if (le32_to_cpu(hdr->magic) != MIGDB_WIRE_MAGIC ||
	    version < MIGDB_WIRE_VERSION_MIN || version > MIGDB_WIRE_VERSION)
		return -EBADMSG;
	if (bytes < sizeof(*hdr) || bytes > MIGDB_MAX_FRAME_BYTES || bytes > len)
		return -EBADMSG;
	if (!body_sane(type, buf, bytes))
		return -EBADMSG;

	f->type = type;
	f->bytes = bytes;
	f->seq = le32_to_cpu(hdr->seq);
	f->session = le64_to_cpu(hdr->session);
	f->data = buf;
	return 0;
}

bool migdb_frame_authentic(const struct migdb_frame *f, const struct migdb_key *key)
{
	const struct migdb_wire_hdr *hdr = f->data;

	return le64_to_cpu(hdr->mac) == migdb_tag_frame(key, f->data, f->bytes);
}

void migdb_frame_seal(void *frame, u32 type, u32 bytes, u32 seq, u64 session,
		      const struct migdb_key *key)
{
	struct migdb_wire_hdr *hdr = frame;

	hdr->magic = cpu_to_le32(MIGDB_WIRE_MAGIC);
	hdr->type = cpu_to_le16(type);
	hdr->version = cpu_to_le16(MIGDB_WIRE_VERSION);
	hdr->bytes = cpu_to_le32(bytes);
	hdr->seq = cpu_to_le32(seq);
	hdr->session = cpu_to_le64(session);
	hdr->mac = cpu_to_le64(migdb_tag_frame(key, frame, bytes));
}

u64 migdb_list_pages(const struct migdb_wire_list *l, const struct migdb_regions *rs)
{
	const struct migdb_wire_range *ranges = migdb_list_ranges(l);
	u32 i, n = le32_to_cpu(l->nr_runs), nr, got;
	u64 gfn, first, index, sum = 0;

	for (i = 0; i < n; i++) {
		gfn = le64_to_cpu(ranges[i].gfn);
		nr = le32_to_cpu(ranges[i].nr_pages);
		sum += nr;
		/* a run may cross from one region into the next one */
		for (; nr; nr -= got) {
			first = gfn;
			got = migdb_regions_next(rs, &gfn, gfn + nr, nr, &index);
			if (!got || gfn - got != first)
				return 0;
		}
	}
	return sum;
}

u32 migdb_abort_reason(const struct migdb_frame *f)
{
	const struct migdb_wire_end *end = f->data;
	u32 reason = le32_to_cpu(end->reason);

	return reason && reason < MIGDB_NR_REASONS ? reason : MIGDB_REASON_ABORTED;
}

u64 migdb_session_id(const u8 *uuid)
{
	return get_unaligned_le64(uuid);
}
