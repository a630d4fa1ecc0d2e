// SPDX-License-Identifier: GPL-2.0
/*
 * Two migrations under one limit: the limits are the host's, whoever reads.  Both
 * destinations read from one disk, start at the same time, and are looked at all
 * the while: together they keep to the limit, and neither waits for the other.
 */
#define _GNU_SOURCE
#include "slow_disk.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define MIB	(1ULL << 20)

FIXTURE(share) {
	struct rig r[2];
	struct wire held[2];
	struct slow_disk slow;
	u64 start_ms;
};

FIXTURE_SETUP(share)
{
	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	ASSERT_OK(rig_init(&self->r[0], PAGES));
	ASSERT_OK(rig_init(&self->r[1], PAGES));
}

FIXTURE_TEARDOWN(share)
{
	int i;

	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("max_inflight_bytes", 64 << 20);
	for (i = 0; i < 2; i++) {
		wire_free(&self->held[i]);
		if (self->r[i].nr_pages)
			rig_exit(&self->r[i]);
	}
	if (self->slow.name[0])
		slow_disk_remove(&self->slow);
}

/*
 * Both up to their records, which the destinations get at once.  Only each @step-th
 * page stays in the set: with more than one, reads cannot be merged.
 */
static int start_both(FIXTURE_DATA(share) *f, int disk, u64 step)
{
	u64 page;
	int rc = 0, i;

	for (i = 0; i < 2 && !rc; i++) {
		struct rig *r = &f->r[i];

		rc = rig_source(r);
		if (!rc)
			rc = rig_dest(r, disk);
		if (!rc)
			rc = rig_snapshot(r);
		for (page = RIG_FIRST; page < PAGES && !rc; page++)
			if (page % step)
				rc = rig_dirty(r, page);
		if (!rc)
			rc = rig_hash(r, &f->held[i]);
	}
	f->start_ms = clock_ms();
	for (i = 0; i < 2 && !rc; i++)
		rc = wire_push(&f->held[i], &f->r[i].dst);
	return rc;
}

struct course {
	u64 took_ms;		/* until both had all */
	u64 other;		/* what the one had built when the other was ready */
	u64 most_over;		/* most bytes read beyond what was allowed by then */
};

/* Until both have built @nr pages.  @bytes_per_s 0: only max_inflight_bytes is set. */
static int run_both(FIXTURE_DATA(share) *f, u64 nr, u64 bytes_per_s, struct course *c)
{
	u64 built[2], read, allowed, ms;
	struct migdb_stats st;
	int rc, i;

	*c = (struct course){};
	for (;;) {
		for (i = 0, read = 0; i < 2; i++) {
			rc = rig_pump(&f->r[i]);
			if (!rc)
				rc = mdb_stats(&f->r[i].dst, &st);
			if (rc)
				return rc;
			built[i] = st.out_built;
			read += st.out_read_bytes;
		}
		ms = clock_ms() - f->start_ms;
		/* each may have saved up one MiB */
		allowed = 2 * MIB + bytes_per_s * (ms + 1) / 1000;
		if (bytes_per_s && read > allowed && read - allowed > c->most_over)
			c->most_over = read - allowed;
		if (!c->other && (built[0] == nr || built[1] == nr))
			c->other = built[0] < built[1] ? built[0] : built[1];
		if (built[0] == nr && built[1] == nr)
			break;
		if (ms > 30000)
			return -ETIMEDOUT;
		usleep(2000);
	}
	c->took_ms = ms;
	return 0;
}

#define FINISH_BOTH()							\
	do {								\
		u64 bad_;						\
		EXPECT_EQ(0, rig_finish(&self->r[0], &bad_));		\
		EXPECT_EQ(0, rig_finish(&self->r[1], &bad_));		\
	} while (0)

TEST_F_TIMEOUT(share, bytes_per_s, 60)
{
	u64 bytes = 2 * SET * MDB_PAGE, rate = 2 * MIB;
	struct course c;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", rate));
	ASSERT_OK(start_both(self, self->r[0].disk, 1));
	ASSERT_OK(run_both(self, SET, rate, &c));
	TH_LOG("%llu bytes at %llu/s took %llu ms, up to %llu bytes early; of %d pages the other one had %llu when one was ready",
	       (unsigned long long)bytes, (unsigned long long)rate,
	       (unsigned long long)c.took_ms, (unsigned long long)c.most_over, SET,
	       (unsigned long long)c.other);
	/* With a limit each it would take half of that. */
	EXPECT_LE((bytes - 2 * MIB) * 1000 / rate * 9 / 10, c.took_ms);
	EXPECT_GT((bytes - 2 * MIB) * 1000 / rate * 4, c.took_ms);
	/*
	 * The first one has all of the rate until it sees that there is another: its
	 * lanes look four times a second, and what a stall saved up is a MiB at most.
	 */
	EXPECT_GE(MIB, c.most_over);
	EXPECT_LE(SET / 2, c.other);
	FINISH_BOTH();
}

TEST_F_TIMEOUT(share, bytes_in_flight, 60)
{
	enum { STEP = 32, READS = SET / STEP, AT_A_TIME = 8, READ_MS = 300 };
	u64 rounds = (2 * READS + AT_A_TIME - 1) / AT_A_TIME;
	struct course c;
	int fd, rc;

	rc = slow_disk_make(&self->slow, PAGES, READ_MS);
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_OK(rc);
	fd = disk_open(self->slow.dm, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_OK(mdb_sysfs_write("max_inflight_bytes", AT_A_TIME * MDB_PAGE));
	ASSERT_OK(start_both(self, fd, STEP));
	close(fd);
	ASSERT_OK(run_both(self, READS, 0, &c));
	TH_LOG("2 * %d reads of %d ms, %d at a time, took %llu ms; the other one had %llu when one was ready",
	       READS, READ_MS, AT_A_TIME, (unsigned long long)c.took_ms,
	       (unsigned long long)c.other);
	EXPECT_EQ(READS, stats_of(&self->r[0].dst).out_reads);
	EXPECT_EQ(READS, stats_of(&self->r[1].dst).out_reads);
	/* With a limit each it would take half of that. */
	EXPECT_LE(rounds * READ_MS * 9 / 10, c.took_ms);
	EXPECT_GT(rounds * READ_MS * 4, c.took_ms);
	EXPECT_LE(READS / 2, c.other);
	FINISH_BOTH();
}

TEST_HARNESS_MAIN
