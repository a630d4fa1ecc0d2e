// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks that are discarded, or overwritten with zeros, while the pages that were
 * read from them move.  Nothing tells the host: the page is the guest's, whatever
 * has become of the block.  It is built of what the block was, or it is sent.
 */
#define _GNU_SOURCE
#include <linux/falloc.h>
#include <linux/fs.h>
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
/* The pages whose blocks go. */
#define FIRST	300
#define NR	200
/* What may be read at once however low the limit is. */
#define BURST	(1 << 20)

FIXTURE(discard) {
	struct rig r;
	struct wire w;
	char loop[DISK_PATH_BYTES];
	int disk;
};

/* Without a request: a hole in the file, which then is the disk itself. */
FIXTURE_VARIANT(discard) {
	unsigned long request;
};

FIXTURE_VARIANT_ADD(discard, blkdiscard) {
	.request = BLKDISCARD,
};

FIXTURE_VARIANT_ADD(discard, blkzeroout) {
	.request = BLKZEROOUT,
};

FIXTURE_VARIANT_ADD(discard, punch_hole) {
};

FIXTURE_SETUP(discard)
{
	struct rig *r = &self->r;

	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(r, PAGES));
	self->disk = r->disk;
	if (variant->request) {
		ASSERT_OK(loop_attach(r->disk_path, self->loop));
		self->disk = disk_open(self->loop, O_RDWR);
		ASSERT_LE(0, self->disk);
	}
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, self->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_EQ(SET, r->candidates);
}

FIXTURE_TEARDOWN(discard)
{
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	if (!self->r.nr_pages)
		return;
	mdb_close(&self->r.src);
	mdb_close(&self->r.dst);
	wire_free(&self->w);
	if (self->loop[0]) {
		if (self->disk >= 0)
			close(self->disk);
		loop_detach(self->loop);
	}
	rig_exit(&self->r);
}

/* The guest needs these sectors no more: they read as zeros. */
static int discard(int disk, unsigned long request, u64 start, u64 bytes)
{
	static const u8 zeros[512];
	u64 range[2] = { start, bytes }, last = start + bytes - sizeof(zeros);
	u8 page[MDB_PAGE];
	int rc;

	if (request)
		rc = ioctl(disk, request, range);
	else
		rc = fallocate(disk, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, bytes);
	if (rc)
		return -errno;
	rc = disk_read(disk, last / MDB_PAGE, page);
	if (!rc && memcmp(page + last % MDB_PAGE, zeros, sizeof(zeros)))
		rc = -EILSEQ;
	return rc;
}

#define DISCARD(_first, _nr)						\
	ASSERT_OK(discard(self->disk, variant->request, (_first) * MDB_PAGE, (_nr) * MDB_PAGE))

/* These came back, and not a byte of their memory was written to. */
static void are_refused(struct __test_metadata *_metadata, struct rig *r, u64 first, u64 nr)
{
	u8 poison[MDB_PAGE];
	u64 page;

	memset(poison, RIG_POISON, sizeof(poison));
	for (page = first; page < first + nr; page++) {
		ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page))
			TH_LOG("page %llu", (unsigned long long)page);
		ASSERT_EQ(0, memcmp(poison, r->dst_ram + page * MDB_PAGE, MDB_PAGE))
			TH_LOG("page %llu was built", (unsigned long long)page);
	}
	ASSERT_EQ(nr, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
	ASSERT_EQ(nr, stats_of(&r->src).out_queued);
	ASSERT_EQ(SET - nr, stats_of(&r->dst).out_built);
}

TEST_F(discard, before_the_hash)
{
	struct rig *r = &self->r;

	DISCARD(FIRST, NR);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	are_refused(_metadata, r, FIRST, NR);
	FINISH();
}

/* The record is on its way. */
TEST_F(discard, before_the_read)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_hash(r, &self->w));
	DISCARD(FIRST, NR);
	ASSERT_OK(wire_push(&self->w, &r->dst));
	ASSERT_OK(rig_settle(r, 10000));
	are_refused(_metadata, r, FIRST, NR);
	FINISH();
}

/* All of the disk, when the destination has read some of it, and is to read on. */
TEST_F(discard, between_reads)
{
	struct rig *r = &self->r;
	struct migdb_stats st;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_LT(0, wait_built(&r->dst, 1));
	DISCARD(0, PAGES);
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_OK(rig_settle(r, 10000));
	st = stats_of(&r->dst);
	ASSERT_LT(0, st.out_built);
	ASSERT_LE(st.out_built, BURST / MDB_PAGE);
	ASSERT_EQ(SET, st.out_built + st.out_by_reason[MIGDB_REASON_MISMATCH]);
	ASSERT_EQ(st.out_built, count_claims(r, MIGDB_CLAIM_DONE));
	FINISH();
}

/* Too late to matter: nothing is read again. */
TEST_F(discard, after_it_was_built)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	DISCARD(0, PAGES);
	ASSERT_EQ(SET, count_claims(r, MIGDB_CLAIM_DONE));
	FINISH();
	ASSERT_EQ(SET, stats_of(&r->src).out_built);
	ASSERT_EQ(0, stats_of(&r->dst).out_returned);
}

/* One sector of a block is enough. */
TEST_F(discard, part_of_a_block)
{
	struct rig *r = &self->r;
	int sector = 512;

	if (variant->request)
		ASSERT_EQ(0, ioctl(self->disk, BLKSSZGET, &sector));
	ASSERT_OK(discard(self->disk, variant->request, (FIRST + 1) * MDB_PAGE - sector, sector));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	are_refused(_metadata, r, FIRST, 1);
	FINISH();
}

/* The guest has read them again by then: zeros are sent, they need no block. */
TEST_F(discard, read_before_the_hash)
{
	struct rig *r = &self->r;
	u64 page;

	DISCARD(FIRST, NR);
	memset(r->src_ram + FIRST * MDB_PAGE, 0, NR * MDB_PAGE);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(NR, stats_of(&r->src).out_by_reason[MIGDB_REASON_ZERO]);
	ASSERT_EQ(NR, stats_of(&r->src).out_queued);
	ASSERT_EQ(SET - NR, stats_of(&r->dst).out_built);
	for (page = FIRST; page < FIRST + NR; page++)
		ASSERT_FALSE(mdb_bit(&r->src, page));
	FINISH();
}

/* Or reads them again when the pages are built: its device's writes are in the log. */
TEST_F(discard, read_after_it_was_built)
{
	u64 dirty[PAGES / 64] = {}, page, dropped;
	struct rig *r = &self->r;

	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	DISCARD(FIRST, NR);
	memset(r->src_ram + FIRST * MDB_PAGE, 0, NR * MDB_PAGE);
	for (page = FIRST; page < FIRST + NR; page++)
		dirty[page / 64] |= 1ULL << (page % 64);
	ASSERT_OK(mdb_dirty(&r->src, 0, PAGES, dirty, &dropped));
	ASSERT_EQ(NR, dropped);
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(NR, stats_of(&r->src).out_revoked);
	ASSERT_EQ(SET - NR, count_claims(r, MIGDB_CLAIM_DONE));
	FINISH();
}

TEST_HARNESS_MAIN
