// SPDX-License-Identifier: GPL-2.0
/*
 * The fetch path when storage does not do as it should, and the limits that an
 * operator sets.  At the end of each test both memories are the same: what could
 * not be read was sent.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include "memcg.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define SECTORS	(PAGES * 8)

FIXTURE(fetch) {
	struct rig r;
	char loop[DISK_PATH_BYTES], dm[DISK_PATH_BYTES], name[32];
	int dm_fd;
};

FIXTURE_SETUP(fetch)
{
	REQUIRE_DEVICE();
	self->dm_fd = -1;
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(fetch)
{
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("max_sessions", 16);
	mdb_sysfs_write("max_inflight_bytes", 64 << 20);
	if (!self->r.nr_pages)
		return;
	/* closing waits for reads: a test that has failed may have left it suspended */
	if (self->name[0])
		dm_suspend(self->name, false);
	mdb_close(&self->r.src);
	mdb_close(&self->r.dst);
	if (self->dm_fd >= 0)
		close(self->dm_fd);
	if (self->name[0])
		dm_remove(self->name);
	if (self->loop[0])
		loop_detach(self->loop);
	rig_exit(&self->r);
}

/*
 * A device-mapper device on the rig's disk; -ENODEV where there is none.  @table:
 * one line per part as dmsetup takes it, "LOOP" being the loop device.
 */
static int parse_table(const char *loop, const char *table, struct dm_part *parts,
		       char text[][512])
{
	u32 n = 0;

	while (*table && n < 8) {
		unsigned long long start, sectors;
		char type[32], params[128], *at;
		int used;

		if (sscanf(table, "%llu %llu %31s %127[^\n]%n", &start, &sectors, type, params,
			   &used) < 3)
			return -EINVAL;
		if (!strcmp(type, "error"))
			params[0] = 0;
		at = strstr(params, "LOOP");
		if (at)
			snprintf(text[n], 512, "%s %.*s%s%s", type, (int)(at - params), params,
				 loop, at + 4);
		else
			snprintf(text[n], 512, "%s %s", type, params);
		at = strchr(text[n], ' ');
		*at = 0;
		parts[n] = (struct dm_part){ start, sectors, text[n], at + 1 };
		n++;
		table = strchr(table, '\n');
		if (!table)
			break;
		table++;
	}
	return n;
}

static int dm_make(FIXTURE_DATA(fetch) *f, const char *table)
{
	struct dm_part parts[8];
	char text[8][512];
	int n, rc;

	if (access("/dev/mapper/control", F_OK))
		return -ENODEV;
	rc = f->loop[0] ? 0 : loop_attach(f->r.disk_path, f->loop);
	if (rc)
		return rc;
	n = parse_table(f->loop, table, parts, text);
	if (n < 0)
		return n;
	if (f->name[0])
		return dm_reload(f->name, parts, n);
	snprintf(f->name, sizeof(f->name), "migdb-test-%d", getpid());
	rc = dm_create(f->name, parts, n, f->dm);
	if (rc) {
		f->name[0] = 0;
		return rc;
	}
	f->dm_fd = disk_open(f->dm, O_RDONLY);
	return f->dm_fd < 0 ? f->dm_fd : 0;
}

#define DM(_table)							\
	do {								\
		int rc_ = dm_make(self, _table);			\
		if (rc_ == -ENODEV)					\
			SKIP(return, "no device-mapper");		\
		ASSERT_EQ(0, rc_) TH_LOG("%s: %s", _table, strerror(-rc_)); \
	} while (0)

#define START(_disk)							\
	do {								\
		ASSERT_OK(rig_source(&self->r));			\
		ASSERT_OK(rig_dest(&self->r, _disk));			\
		ASSERT_OK(rig_snapshot(&self->r));			\
	} while (0)

TEST_F(fetch, dm_linear)
{
	DM("0 8192 linear LOOP 0");
	START(self->dm_fd);
	ASSERT_OK(rig_hash(&self->r, NULL));
	ASSERT_OK(rig_settle(&self->r, 10000));
	ASSERT_EQ(SET, stats_of(&self->r.dst).out_built);
	FINISH();
}

/* A hole of bad sectors: only pages that a failed read covers come back. */
TEST_F(fetch, dm_error)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	u64 page;

	DM("0 4096 linear LOOP 0\n4096 64 error\n4160 4032 linear LOOP 4160");
	START(self->dm_fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	st = stats_of(&r->dst);
	ASSERT_LE(8, st.out_by_reason[MIGDB_REASON_IO_ERROR]);
	ASSERT_EQ(SET, st.out_built + st.out_returned);
	ASSERT_EQ(st.out_by_reason[MIGDB_REASON_IO_ERROR], st.out_returned);
	ASSERT_LT(SET / 2, st.out_built);
	for (page = 512; page < 520; page++)
		ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page));
	FINISH();
}

TEST_F(fetch, dm_error_everywhere)
{
	struct rig *r = &self->r;

	DM("0 8192 error");
	START(self->dm_fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR]);
	ASSERT_EQ(SET, stats_of(&r->src).out_queued);
	ASSERT_EQ(RIG_POISON, r->dst_ram[500 * MDB_PAGE]);
	FINISH();
}

/* Goes away and comes back while pages are fetched, a second each. */
TEST_F_TIMEOUT(fetch, dm_flakey, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	int rc;

	rc = dm_make(self, "0 8192 flakey LOOP 0 1 1");
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-flakey");
	ASSERT_OK(rc);
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1 << 20));
	START(self->dm_fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 30000));
	st = stats_of(&r->dst);
	ASSERT_EQ(SET, st.out_built + st.out_returned);
	TH_LOG("built %llu, failed %llu", (unsigned long long)st.out_built,
	       (unsigned long long)st.out_by_reason[MIGDB_REASON_IO_ERROR]);
	ASSERT_LT(0, st.out_built);
	ASSERT_LT(0, st.out_by_reason[MIGDB_REASON_IO_ERROR]);
	FINISH();
}

/* Slower than the grace that the destination was given: late pages are sent. */
TEST_F_TIMEOUT(fetch, dm_delay_and_drain, 60)
{
	struct rig *r = &self->r;
	struct migdb_drain d;
	u64 start, took;
	int rc;

	rc = dm_make(self, "0 8192 delay LOOP 0 3000");
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_OK(rc);
	START(self->dm_fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	start = clock_ms();
	ASSERT_OK(mdb_drain(&r->dst, 200000000, &d));
	took = clock_ms() - start;
	ASSERT_GE(took, 190);
	ASSERT_LT(took, 2000) TH_LOG("DRAIN waited for storage: %llu ms", (unsigned long long)took);
	ASSERT_EQ(SET, d.out_recorded);
	ASSERT_EQ(0, d.out_built);
	ASSERT_EQ(SET, d.out_returned);
	ASSERT_EQ(SET, stats_of(&r->dst).out_by_reason[MIGDB_REASON_LATE]);
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(SET, rig_deliver_queue(r));
	rig_deliver_rest(r);
	/* The reads come home to pages that are not theirs any more. */
	usleep(3500000);
	{
		u64 bad;

		ASSERT_OK(mdb_complete(&r->dst, NULL));
		ASSERT_OK(mdb_complete(&r->src, NULL));
		ASSERT_OK(rig_compare(r, &bad));
	}
}

/* Slow storage and enough patience. */
TEST_F_TIMEOUT(fetch, dm_delay_within_grace, 60)
{
	struct rig *r = &self->r;
	struct migdb_drain d;
	int rc;

	rc = dm_make(self, "0 8192 delay LOOP 0 150");
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_OK(rc);
	START(self->dm_fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_drain(&r->dst, 9000000000ULL, &d));
	ASSERT_EQ(SET, d.out_built);
	ASSERT_EQ(0, d.out_returned);
}

/* Storage that hangs does not hang DRAIN, ABORT or the records. */
TEST_F_TIMEOUT(fetch, dm_suspended, 60)
{
	struct rig *r = &self->r;
	struct migdb_drain d;
	u64 start;

	DM("0 8192 linear LOOP 0");
	START(self->dm_fd);
	ASSERT_OK(dm_suspend(self->name, true));
	start = clock_ms();
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_drain(&r->dst, 100000000, &d));
	EXPECT_EQ(SET, d.out_returned);
	EXPECT_LT(clock_ms() - start, 5000);
	ASSERT_OK(dm_suspend(self->name, false));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(SET, rig_deliver_queue(r));
}

/* The disk shrank since it was set. */
TEST_F(fetch, short_device)
{
	struct rig *r = &self->r;
	struct migdb_stats st;

	START(r->disk);
	ASSERT_EQ(0, ftruncate(r->disk, 512 * MDB_PAGE));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	st = stats_of(&r->dst);
	ASSERT_EQ(SET, st.out_built + st.out_returned);
	ASSERT_LE(512, st.out_returned);
	ASSERT_EQ(0, st.out_by_reason[MIGDB_REASON_MISMATCH]);
	FINISH();
}

/* This side's disk is smaller than the source's. */
TEST_F(fetch, smaller_disk_here)
{
	struct rig *r = &self->r;
	char path[DISK_PATH_BYTES];
	int fd = disk_create(path, "small", 512 * MDB_PAGE);

	ASSERT_LE(0, fd);
	ASSERT_OK(rig_fill_disk(fd, 512));
	START(fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	EXPECT_EQ(512 - RIG_FIRST, stats_of(&r->dst).out_built);
	EXPECT_LE(512, stats_of(&r->dst).out_by_reason[MIGDB_REASON_NO_DISK]);
	FINISH();
	close(fd);
	unlink(path);
}

TEST_F(fetch, disk_missing_here)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest_idle(r, &r->dst, r->disk));
	ASSERT_OK(mdb_set_disk(&r->dst, RIG_DISK, -1, ""));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "x"));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_by_reason[MIGDB_REASON_NO_DISK]);
	FINISH();
}

/* The same disk has another number here: names count, not numbers. */
TEST_F(fetch, other_disk_number_here)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest_idle(r, &r->dst, r->disk));
	ASSERT_OK(mdb_set_disk(&r->dst, RIG_DISK, -1, ""));
	ASSERT_OK(mdb_set_disk(&r->dst, 77, r->disk, RIG_SERIAL));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "x"));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
}

/* Blocks that are not what the pages hold: newer, older, anything. */
TEST_F(fetch, wrong_blocks)
{
	struct rig *r = &self->r;
	u64 page;
	u8 buf[MDB_PAGE];

	for (page = 100; page < 200; page++) {
		rig_fill(buf, page + 1000000);
		ASSERT_OK(disk_write(r->disk, page, buf));
	}
	/* one bit of difference is enough */
	rig_fill(buf, 300);
	buf[4095] ^= 0x80;
	ASSERT_OK(disk_write(r->disk, 300, buf));
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(101, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
	ASSERT_EQ(SET - 101, stats_of(&r->dst).out_built);
	ASSERT_EQ(101, stats_of(&r->src).out_queued);
	FINISH();
}

/* Another disk under the same name. */
TEST_F(fetch, wrong_disk)
{
	struct rig *r = &self->r;
	char path[DISK_PATH_BYTES];
	int fd = disk_create(path, "wrong", PAGES * MDB_PAGE);

	ASSERT_LE(0, fd);
	START(fd);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	EXPECT_EQ(SET, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
	FINISH();
	close(fd);
	unlink(path);
}

/* Two pages hold the same block, here and there. */
TEST_F(fetch, one_block_for_many_pages)
{
	struct rig *r = &self->r;
	u64 page;

	for (page = RIG_FIRST; page < PAGES; page++) {
		rig_fill(r->src_ram + page * MDB_PAGE, page / 8);
		hints_set(&r->hints, page, hint_entry(RIG_GUEST_DISK, page / 8));
	}
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
}

/* Scattered blocks, so that reads cannot be merged into a few. */
TEST_F(fetch, scattered_blocks)
{
	struct rig *r = &self->r;
	u64 page;

	for (page = RIG_FIRST; page < PAGES; page++) {
		u64 block = page * 577 % PAGES;

		rig_fill(r->src_ram + page * MDB_PAGE, block);
		hints_set(&r->hints, page, hint_entry(RIG_GUEST_DISK, block));
	}
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	/* in disk order they are neighbours again */
	ASSERT_LT(stats_of(&r->dst).out_reads, SET / 8);
	FINISH();
}

/* The VMM closes or replaces its own descriptor: the session has its own. */
TEST_F(fetch, descriptor_replaced)
{
	struct rig *r = &self->r;
	int fd = dup(r->disk), null = open("/dev/null", O_RDWR);

	ASSERT_LE(0, fd);
	START(fd);
	ASSERT_EQ(fd, dup2(null, fd));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
	close(fd);
	close(null);
}

/* Guest memory that cannot be written to. */
TEST_F(fetch, destination_memory_gone)
{
	struct rig *r = &self->r;

	START(r->disk);
	ASSERT_EQ(0, mprotect(r->dst_ram + 128 * MDB_PAGE, 64 * MDB_PAGE, PROT_READ));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(64, stats_of(&r->dst).out_by_reason[MIGDB_REASON_FAULT]);
	ASSERT_EQ(SET - 64, stats_of(&r->dst).out_built);
	ASSERT_EQ(0, mprotect(r->dst_ram + 128 * MDB_PAGE, 64 * MDB_PAGE,
			      PROT_READ | PROT_WRITE));
	FINISH();
}

TEST_F(fetch, source_memory_gone)
{
	struct rig *r = &self->r;

	START(r->disk);
	ASSERT_EQ(0, mprotect(r->src_ram + 128 * MDB_PAGE, 64 * MDB_PAGE, PROT_NONE));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_EQ(64, stats_of(&r->src).out_by_reason[MIGDB_REASON_FAULT]);
	ASSERT_EQ(0, mprotect(r->src_ram + 128 * MDB_PAGE, 64 * MDB_PAGE,
			      PROT_READ | PROT_WRITE));
	ASSERT_OK(rig_settle(r, 10000));
	FINISH();
}

/* sysfs "enabled": no new sessions; running ones turn ordinary, without a loss. */
TEST_F_TIMEOUT(fetch, disabled_in_the_middle, 60)
{
	struct rig *r = &self->r;
	u64 hashed, left;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 4 * MDB_PAGE));
	START(r->disk);
	ASSERT_OK(mdb_hash(&r->src, SET / 2, &hashed, &left));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_EQ(MIGDB_REASON_DISABLED, stats_of(&r->src).out_reason);
	ASSERT_EQ(MIGDB_REASON_DISABLED, stats_of(&r->dst).out_reason);
	ASSERT_EQ(-ENODEV, rig_source(&(struct rig){
		.nr_pages = PAGES, .src_ram = r->src_ram, .disk = r->disk, .hints = r->hints,
		.uuid = { 9 } }));
	/* It goes on by the same calls; whatever was not built is sent. */
	ASSERT_OK(rig_pump(r));
	FINISH();
	ASSERT_LT(0, stats_of(&r->src).out_by_reason[MIGDB_REASON_DISABLED]);
	ASSERT_OK(mdb_sysfs_write("enabled", 1));
	mdb_close(&r->src);
	mdb_close(&r->dst);
	memset(r->dst_ram, RIG_POISON, PAGES * MDB_PAGE);
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
}

TEST_F(fetch, max_sessions)
{
	struct rig *r = &self->r;

	ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
	ASSERT_OK(mdb_sysfs_write("max_sessions", 1));
	ASSERT_OK(rig_source(r));
	ASSERT_EQ(1, mdb_sysfs_read("nr_sessions"));
	ASSERT_EQ(-EUSERS, rig_dest(r, r->disk));
	ASSERT_EQ(1, mdb_sysfs_read("nr_sessions"));
	ASSERT_EQ(MIGDB_STATE_IDLE, state_of(&r->dst));
	mdb_close(&r->src);
	ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "x"));
	ASSERT_EQ(1, mdb_sysfs_read("nr_sessions"));
}

TEST_F_TIMEOUT(fetch, rate_limit, 60)
{
	struct rig *r = &self->r;
	u64 start, took, bytes = SET * MDB_PAGE;

	/* two seconds' worth */
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", bytes / 2));
	ASSERT_EQ((s64)(bytes / 2), mdb_sysfs_read("fetch_max_bytes_per_s"));
	START(r->disk);
	start = clock_ms();
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 30000));
	took = clock_ms() - start;
	TH_LOG("%llu bytes at %llu/s took %llu ms", (unsigned long long)bytes,
	       (unsigned long long)bytes / 2, (unsigned long long)took);
	ASSERT_GT(took, 1000);
	ASSERT_LT(took, 12000);
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
}

/* Only each @step-th page stays in the set: reads that cannot be merged. */
static int keep_each(struct rig *r, u64 step, u64 *left)
{
	u64 page;
	int rc = 0;

	for (*left = 0, page = RIG_FIRST; !rc && page < r->nr_pages; page++) {
		if (page % step)
			rc = rig_dirty(r, page);
		else
			++*left;
	}
	return rc;
}

/* How long all reads take, one for each page, when each takes @delay_ms. */
static s64 read_delayed_ms(FIXTURE_DATA(fetch) *f, u64 step, u32 delay_ms, u64 *reads)
{
	struct rig *r = &f->r;
	char table[64];
	u64 start;
	int rc;

	snprintf(table, sizeof(table), "0 8192 delay LOOP 0 %u", delay_ms);
	rc = dm_make(f, table);
	if (rc)
		return rc;
	rc = rig_source(r);
	if (!rc)
		rc = rig_dest(r, f->dm_fd);
	if (!rc)
		rc = rig_snapshot(r);
	if (!rc)
		rc = keep_each(r, step, reads);
	start = clock_ms();
	if (!rc)
		rc = rig_hash(r, NULL);
	if (!rc)
		rc = rig_settle(r, 30000);
	return rc ? rc : (s64)(clock_ms() - start);
}

/* One read is always allowed: a tiny limit is slow, not a stop. */
TEST_F_TIMEOUT(fetch, tiny_inflight_limit, 60)
{
	struct rig *r = &self->r;

	ASSERT_OK(mdb_sysfs_write("max_inflight_bytes", 1));
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 30000));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	FINISH();
}

/* And one only. */
TEST_F_TIMEOUT(fetch, one_read_at_a_time, 60)
{
	struct rig *r = &self->r;
	u64 reads;
	s64 ms;

	ASSERT_OK(mdb_sysfs_write("max_inflight_bytes", 1));
	ms = read_delayed_ms(self, 64, 200, &reads);
	if (ms == -ENODEV || ms == -EINVAL)
		SKIP(return, "no dm-delay");
	/* the delay is counted in ticks, and the first one has begun: once, as each read
	 * but the first begins with one
	 */
	ASSERT_LE((s64)reads * 200 - 10, ms) TH_LOG("more than one read at a time");
	ASSERT_EQ(reads, stats_of(&r->dst).out_reads);
	ASSERT_EQ(reads, stats_of(&r->dst).out_built);
	FINISH();
}

/* At least 32 reads are under way at a time. */
TEST_F_TIMEOUT(fetch, reads_at_a_time, 60)
{
	struct rig *r = &self->r;
	u64 reads;
	s64 ms;

	ms = read_delayed_ms(self, 16, 1000, &reads);
	if (ms == -ENODEV || ms == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_LT(0, ms);
	ASSERT_EQ(reads, stats_of(&r->dst).out_reads);
	ASSERT_EQ(reads, stats_of(&r->dst).out_built);
	ASSERT_LT(32, reads);
	/* half as many at a time would take twice as long, and this is half-way */
	EXPECT_GT((s64)((reads + 31) / 32 * 1500), ms);
	FINISH();
}

/* A cgroup without memory: ENOMEM from START, and nothing is changed. */
TEST_F_TIMEOUT(fetch, memcg_refuses, 60)
{
	enum { BIG = 64 << 20 };		/* pages: 256 GiB of guest */
	struct memcg cg = {};
	int status;
	pid_t pid;

	status = memcg_create(&cg, "16777216");
	if (status == -ENODEV)
		SKIP(return, "no memory controller here");
	ASSERT_OK(status);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct mdb m;
		void *ram;
		int rc;

		if (memcg_enter(&cg))
			_exit(10);
		ram = mmap(NULL, (u64)BIG * MDB_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (ram == MAP_FAILED)
			_exit(10);
		rc = mdb_open(&m);
		if (!rc)
			rc = mdb_set_owner(&m);
		if (!rc)
			rc = mdb_set_memory(&m, 0, (u64)BIG * MDB_PAGE, ram);
		if (rc)
			_exit(11);
		if (mdb_start(&m, MIGDB_ROLE_DEST, self->r.uuid, "big") != -ENOMEM)
			_exit(12);
		if (mdb_start(&m, MIGDB_ROLE_SOURCE, self->r.uuid, "big") != -ENOMEM)
			_exit(13);
		if (state_of(&m) != MIGDB_STATE_IDLE || mdb_sysfs_read("nr_sessions"))
			_exit(14);
		/* A guest that fits is still welcome in the same session. */
		if (mdb_set_memory(&m, 0, 256 * MDB_PAGE, ram))
			_exit(15);
		if (mdb_start(&m, MIGDB_ROLE_SOURCE, self->r.uuid, "small"))
			_exit(16);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	/* not killed by the OOM killer: a refusal is enough */
	EXPECT_TRUE(WIFEXITED(status)) TH_LOG("signal %d", WTERMSIG(status));
	EXPECT_EQ(0, WEXITSTATUS(status)) TH_LOG("step %d", WEXITSTATUS(status));
	memcg_remove(&cg);
}

/* Destinations that have nothing to read take no share of the limits. */
TEST_F_TIMEOUT(fetch, idle_destinations_take_no_share, 60)
{
	struct rig *r = &self->r;
	struct mdb idle[12];
	u64 start, took, bytes = SET * MDB_PAGE;
	int i;

	/* two seconds' worth for one, 26 for one of thirteen */
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", bytes / 2));
	for (i = 0; i < 12; i++) {
		ASSERT_OK(rig_dest_idle(r, &idle[i], r->disk));
		ASSERT_OK(mdb_start(&idle[i], MIGDB_ROLE_DEST, r->uuid, "idle"));
	}
	START(r->disk);
	start = clock_ms();
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 40000));
	took = clock_ms() - start;
	TH_LOG("took %llu ms", (unsigned long long)took);
	EXPECT_LT(took, 10000);
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
	for (i = 0; i < 12; i++)
		mdb_close(&idle[i]);
	FINISH();
}

/*
 * A peer that sends records faster than they are worked off, each with much that
 * is useless in it: memory has a bound, which MIGDB_GET_INFO tells.
 */
TEST_F_TIMEOUT(fetch, records_have_a_budget, 60)
{
	enum { BIG = 16384, RUN = 128, SLOTS = 12 };
	struct rig big, *r = &big;
	struct wire_run runs[SLOTS];
	struct migdb_get_info info;
	struct wire hello = {}, w = {};
	u32 i, k, seq = 1;
	u64 before, most = 0, bad;
	struct migdb_stats st;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_init(r, BIG));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(wire_pull(&hello, &r->src));
	ASSERT_OK(mdb_info(&r->dst, BIG, &info));
	before = stats_of(&r->dst).out_memory_bytes;
	ASSERT_EQ((ssize_t)hello.bytes, write(r->dst.rx, hello.data, hello.bytes));
	/* each frame: runs that go one page further than those of the one before */
	for (i = 0; i < BIG / SLOTS - RUN; i++) {
		for (k = 0; k < SLOTS; k++) {
			u64 first = k * (BIG / SLOTS) + i;

			runs[k] = (struct wire_run){ first, (u64)RIG_DISK << 44 | first, RUN, 0 };
		}
		ASSERT_OK(wire_records(&w, &hello, seq++, runs, SLOTS));
		ASSERT_OK(wire_push(&w, &r->dst));
		st = stats_of(&r->dst);
		if (st.out_memory_bytes - before > most)
			most = st.out_memory_bytes - before;
	}
	TH_LOG("%llu bytes of records, %llu pages without", (unsigned long long)most,
	       (unsigned long long)st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	EXPECT_LE(most, BIG * 26 + (1 << 20));
	EXPECT_LE(before + most, info.out_dest_need_bytes);
	EXPECT_LT(0, st.out_by_reason[MIGDB_REASON_NO_MEMORY]);
	/* with room again, and all of it sent, the guest may start */
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_OK(mdb_abort(&r->dst, 0));
	for (i = 0; i < BIG; i++)
		rig_deliver(r, i);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(rig_compare(r, &bad));
	wire_free(&hello);
	wire_free(&w);
	rig_exit(r);
}

/* Long runs are reported in pieces: no lock is held for a walk over memory. */
TEST_F_TIMEOUT(fetch, reports_in_pieces, 60)
{
	enum { BIG = 16384, PIECE = 4096 };
	struct rig big, *r = &big;
	struct wire w = {}, back = {};
	size_t at, bytes;
	u64 named = 0;

	ASSERT_OK(rig_init(r, BIG));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(wire_push(&w, &r->dst));
	while (stats_of(&r->dst).out_built < BIG - RIG_FIRST)
		usleep(10000);
	ASSERT_OK(wire_pull(&back, &r->dst));
	for (at = 0; (bytes = wire_frame(&back, at)); at += bytes) {
		struct wire_range range;
		size_t pos;
		u16 type;

		memcpy(&type, back.data + at + 4, sizeof(type));
		if (type != FRAME_BUILT)
			continue;
		for (pos = at + 40; pos < at + bytes; pos += sizeof(range)) {
			memcpy(&range, back.data + pos, sizeof(range));
			ASSERT_LE(range.nr, PIECE);
			named += range.nr;
		}
	}
	ASSERT_EQ(BIG - RIG_FIRST, named);
	ASSERT_OK(wire_push(&back, &r->src));
	ASSERT_EQ(BIG - RIG_FIRST, stats_of(&r->src).out_built);
	wire_free(&w);
	wire_free(&back);
	rig_exit(r);
}

/* Two sessions fetch at once, under one limit. */
TEST_F_TIMEOUT(fetch, two_migrations_at_once, 60)
{
	struct rig other, *r = &self->r;
	u64 bad;

	ASSERT_OK(rig_start(&other, PAGES));
	START(r->disk);
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_EQ(4, mdb_sysfs_read("nr_sessions"));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(rig_settle(&other, 10000));
	EXPECT_EQ(SET, stats_of(&r->dst).out_built);
	EXPECT_EQ(SET, stats_of(&other.dst).out_built);
	EXPECT_EQ(0, rig_finish(&other, &bad));
	FINISH();
	rig_exit(&other);
}

TEST_HARNESS_MAIN
