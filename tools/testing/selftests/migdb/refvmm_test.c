// SPDX-License-Identifier: GPL-2.0
/*
 * Whole migrations of the reference VMM: a writing KVM guest, two processes, a
 * socket between them.  Each ends with the comparison of both memories and with
 * the guest's own check; the faults prove that both can fail.
 */
#define _GNU_SOURCE
#include <sys/stat.h>
#include "spawn.h"

#define COMMON " --mem 48 --warm-ms 200 --after-ms 100 "

FIXTURE(refvmm) {
	struct refvmm v;
};

FIXTURE_SETUP(refvmm)
{
	REQUIRE_GUEST();
}

FIXTURE_TEARDOWN(refvmm)
{
	if (self->v.pid > 0)
		refvmm_clean(&self->v);
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
}

#define RUN(_rc, _options)						\
	do {								\
		int rc_ = refvmm_run(&self->v, "vm", "--pair --make-disk" COMMON _options); \
		ASSERT_EQ(_rc, rc_) TH_LOG("%s\n%s", self->v.last, refvmm_said(&self->v)); \
	} while (0)

/* 0 if the host has so many, for source and destination. */
static int hugetlb_pages(int nr)
{
	char text[16];
	FILE *f;

	snprintf(text, sizeof(text), "%d", nr);
	write_file("/proc/sys/vm/drop_caches", "3");
	write_file("/proc/sys/vm/compact_memory", "1");
	if (write_file("/proc/sys/vm/nr_hugepages", text))
		return -EIO;
	f = fopen("/proc/sys/vm/nr_hugepages", "r");
	if (!f || !fgets(text, sizeof(text), f))
		text[0] = 0;
	if (f)
		fclose(f);
	return atoi(text) == nr ? 0 : -ENOMEM;
}

/* Migrated, identical, the guest content; some pages built, none lost. */
#define CHECK_BUILT()							\
	do {								\
		struct refvmm *v_ = &self->v;				\
		ASSERT_EQ(0, refvmm_number(v_, "differ", 0));		\
		ASSERT_TRUE(refvmm_has(v_, "\"guest_ok\":true"));	\
		ASSERT_TRUE(refvmm_has(v_, "\"ordinary\":\"\""))	\
			TH_LOG("%s", v_->last);				\
		ASSERT_LT(0, refvmm_number(v_, "built", 1));		\
		ASSERT_EQ(0, sessions_left(5000));			\
	} while (0)

/* Ordinary, and the guest is as well as ever. */
#define CHECK_ORDINARY()						\
	do {								\
		struct refvmm *v_ = &self->v;				\
		ASSERT_EQ(0, refvmm_number(v_, "differ", 0));		\
		ASSERT_TRUE(refvmm_has(v_, "\"guest_ok\":true"));	\
		ASSERT_FALSE(refvmm_has(v_, "\"ordinary\":\"\""));	\
		ASSERT_EQ(0, refvmm_number(v_, "built", 1));		\
	} while (0)

TEST_F_TIMEOUT(refvmm, ring, 120)
{
	RUN(0, "--ring");
	CHECK_BUILT();
	ASSERT_LT(0, refvmm_number(&self->v, "harvested", 0));
	TH_LOG("%s", self->v.last);
}

TEST_F_TIMEOUT(refvmm, bitmap, 120)
{
	RUN(0, "--bitmap");
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, anonymous_memory, 120)
{
	RUN(0, "--ring --memory anon --seed 3");
	CHECK_BUILT();
}

/* KVM logs pages of 4 KiB, and migdb builds such: what they are parts of does not matter. */
TEST_F_TIMEOUT(refvmm, transparent_huge_pages, 120)
{
	RUN(0, "--ring --memory thp --seed 41");
	CHECK_BUILT();
	ASSERT_LE(24 << 10, refvmm_number(&self->v, "huge_kib", 0));
	RUN(0, "--bitmap --memory thp --balloon --seed 42");
	CHECK_BUILT();
	ASSERT_LT(100, refvmm_number(&self->v, "invalidated", 0));
}

TEST_F_TIMEOUT(refvmm, hugetlbfs, 120)
{
	if (hugetlb_pages(48))
		SKIP(return, "not enough huge pages");
	RUN(0, "--ring --memory hugetlb --seed 43");
	CHECK_BUILT();
	ASSERT_EQ(48 << 10, refvmm_number(&self->v, "huge_kib", 0));
	RUN(0, "--bitmap --memory hugetlb --adaptive --seed 44");
	CHECK_BUILT();
	/* whole huge pages come or none: refused before anything is begun */
	RUN(3, "--bitmap --memory hugetlb --postcopy");
	ASSERT_OK(hugetlb_pages(0));
}

TEST_F_TIMEOUT(refvmm, four_cpus_at_full_speed, 120)
{
	RUN(0, "--ring=1024 --cpus 4 --rate 0 --max-ms 4000 --seed 4");
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, two_cpus_bitmap_at_full_speed, 120)
{
	RUN(0, "--bitmap --cpus 2 --rate 0 --max-ms 4000 --seed 5");
	CHECK_BUILT();
}

/* Mostly reads from disk by the VMM, of which KVM knows nothing. */
TEST_F_TIMEOUT(refvmm, dma_heavy, 120)
{
	RUN(0, "--ring --heap-weight 20 --modify-weight 10 --rate 4000 --max-ms 8000 --seed 6");
	CHECK_BUILT();
}

/*
 * Pages are discarded at the source, of which no log tells: every one of them is taken
 * back, whether it was recorded or not yet.
 */
TEST_F_TIMEOUT(refvmm, balloon_ring, 120)
{
	RUN(0, "--ring --balloon");
	CHECK_BUILT();
	ASSERT_LT(100, refvmm_number(&self->v, "invalidated", 0));
}

TEST_F_TIMEOUT(refvmm, balloon_bitmap_anonymous_memory, 120)
{
	RUN(0, "--bitmap --memory anon --balloon");
	CHECK_BUILT();
	ASSERT_LT(100, refvmm_number(&self->v, "invalidated", 0));
}

TEST_F_TIMEOUT(refvmm, balloon_without_migdb, 120)
{
	RUN(0, "--bitmap --balloon --no-migdb");
	CHECK_ORDINARY();
}

/*
 * Pages that the guest can do without are zeros at the destination, which both the
 * comparison and the guest know; those that it has written to since START are not.
 */
#define DISCARD "--discard --rate 2000 --heap-weight 100 "

#define CHECK_DISCARDED()						\
	do {								\
		s64 able_ = refvmm_number(&self->v, "discardable", 0);	\
		s64 went_ = refvmm_number(&self->v, "discarded", 0);	\
		ASSERT_LT(100, went_) TH_LOG("%s", self->v.last);	\
		ASSERT_LT(went_, able_) TH_LOG("%s", self->v.last);	\
		TH_LOG("%lld discardable, %lld discarded", (long long)able_, (long long)went_); \
	} while (0)

TEST_F_TIMEOUT(refvmm, discardable_ring, 120)
{
	RUN(0, "--ring " DISCARD);
	CHECK_BUILT();
	CHECK_DISCARDED();
}

TEST_F_TIMEOUT(refvmm, discardable_bitmap_two_cpus, 120)
{
	RUN(0, "--bitmap --memory anon --cpus 2 --seed 41 " DISCARD);
	CHECK_BUILT();
	CHECK_DISCARDED();
}

TEST_F_TIMEOUT(refvmm, discardable_without_migdb, 120)
{
	RUN(0, "--bitmap --no-migdb --seed 42 " DISCARD);
	CHECK_ORDINARY();
	CHECK_DISCARDED();
}

/* The first attempt fails: nothing is lost, and what was agreed to for it is over. */
TEST_F_TIMEOUT(refvmm, discardable_link_cut_and_back, 180)
{
	RUN(0, "--ring --cut-after 2000 --attempts 3 --seed 43 " DISCARD);
	ASSERT_EQ(2, refvmm_number(&self->v, "attempt", 0));
	CHECK_BUILT();
	CHECK_DISCARDED();
}

/* The table has discardable pages, but this migration has not asked for them. */
TEST_F_TIMEOUT(refvmm, discardable_is_not_agreed_to, 120)
{
	RUN(0, "--ring --rate 2000 --heap-weight 100 --seed 44");
	CHECK_BUILT();
	ASSERT_EQ(0, refvmm_number(&self->v, "discardable", 0));
	ASSERT_EQ(0, refvmm_number(&self->v, "discarded", 0));
}

/* The destination as a VMM with more cores to spend has it. */
TEST_F_TIMEOUT(refvmm, three_workers, 120)
{
	RUN(0, "--ring --workers 3");
	CHECK_BUILT();
	ASSERT_EQ(3, refvmm_number(&self->v, "workers", 0));
}

/* And as one has it that does not map the claims. */
TEST_F_TIMEOUT(refvmm, claims_by_ioctl, 120)
{
	RUN(0, "--ring --claim-by-ioctl");
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, more_memory_than_the_vmm_allows, 120)
{
	RUN(0, "--ring --session-kib 64");
	CHECK_ORDINARY();
	ASSERT_EQ(0, refvmm_number(&self->v, "pages_skipped", 0));
	RUN(0, "--ring --session-kib 262144");
	CHECK_BUILT();
}

/* The source makes it; opened by the destination before that it would be an old one, or none. */
static void wait_disk(struct refvmm *v)
{
	u64 end = clock_ms() + stretch(20000);

	while (access(v->disk, F_OK) && clock_ms() < end && !refvmm_ended(v))
		usleep(5000);
	usleep(300000);
}

/* Two processes that were started apart; the source makes the disk, so it is first. */
static int run_apart(struct refvmm *v, const char *address, const char *source_options,
		     const char *dest_options)
{
	char text[256];
	struct refvmm d;
	int rc, dest_rc;

	snprintf(text, sizeof(text), "--to %s --make-disk --ring" COMMON "%s", address,
		 source_options);
	rc = refvmm_start(v, "vm", text);
	if (rc)
		return rc;
	wait_disk(v);
	snprintf(text, sizeof(text), "--from %s --ring" COMMON "%s", address, dest_options);
	/* the same disk, other output */
	d = *v;
	rc = refvmm_start(&d, "dest", text);
	if (rc)
		return rc;
	rc = refvmm_wait(v);
	waitpid(d.pid, &dest_rc, 0);
	unlink(d.json);
	unlink(d.log);
	return rc ? rc : dest_rc;
}

TEST_F_TIMEOUT(refvmm, over_tcp, 120)
{
	int rc = run_apart(&self->v, "tcp:127.0.0.1:4711", "", "");

	ASSERT_EQ(0, rc) TH_LOG("%s", refvmm_said(&self->v));
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, ordinary_by_choice, 120)
{
	RUN(0, "--ring --no-migdb");
	CHECK_ORDINARY();
}

/* One side without the module: the other one sends nothing of ours. */
TEST_F_TIMEOUT(refvmm, destination_without_migdb, 120)
{
	int rc = run_apart(&self->v, "unix:/tmp/migdb-test.sock", "", "--no-migdb");

	ASSERT_EQ(0, rc) TH_LOG("%s", refvmm_said(&self->v));
	CHECK_ORDINARY();
	ASSERT_EQ(0, refvmm_number(&self->v, "pages_skipped", 0));
}

TEST_F_TIMEOUT(refvmm, source_without_migdb, 120)
{
	int rc = run_apart(&self->v, "unix:/tmp/migdb-test.sock", "--no-migdb", "");

	ASSERT_EQ(0, rc) TH_LOG("%s", refvmm_said(&self->v));
	CHECK_ORDINARY();
}

TEST_F_TIMEOUT(refvmm, disabled_by_the_operator, 120)
{
	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	RUN(0, "--ring");
	CHECK_ORDINARY();
}

/* enabled = 0 at some moment of a running migration. */
static void disabled_in_the_middle(struct __test_metadata *_metadata,
				   FIXTURE_DATA(refvmm) *self, const char *mode, u32 rounds)
{
	char options[256];
	u32 i, ordinary = 0;

	snprintf(options, sizeof(options), "--pair --make-disk --bandwidth 12 --max-ms 6000 %s"
		 COMMON, mode);
	for (i = 0; i < rounds; i++) {
		u64 end = clock_ms() + 20000;
		int rc;

		ASSERT_OK(refvmm_start(&self->v, "vm", options));
		while (mdb_sysfs_read("nr_sessions") < 2 && clock_ms() < end)
			usleep(5000);
		usleep(100000 + i * 500000);
		ASSERT_OK(mdb_sysfs_write("enabled", 0));
		rc = refvmm_wait(&self->v);
		ASSERT_EQ(0, rc) TH_LOG("%s\n%s", self->v.last, refvmm_said(&self->v));
		ASSERT_EQ(0, refvmm_number(&self->v, "differ", 0));
		ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
		ordinary += refvmm_has(&self->v, "\"reason\":\"disabled\"");
		ASSERT_OK(mdb_sysfs_write("enabled", 1));
		ASSERT_EQ(0, sessions_left(5000));
	}
	ASSERT_LT(0, ordinary);
}

TEST_F_TIMEOUT(refvmm, disabled_in_the_middle_ring, 180)
{
	disabled_in_the_middle(_metadata, self, "--ring", 2);
}

TEST_F_TIMEOUT(refvmm, disabled_in_the_middle_bitmap, 180)
{
	disabled_in_the_middle(_metadata, self, "--bitmap", 2);
}

/* The link is cut; the guest runs on, checks itself, and moves at the next try. */
TEST_F_TIMEOUT(refvmm, link_cut_and_back_ring, 180)
{
	RUN(0, "--ring --cut-after 12000 --attempts 3");
	ASSERT_EQ(2, refvmm_number(&self->v, "attempt", 0));
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, link_cut_and_back_bitmap, 180)
{
	RUN(0, "--bitmap --cut-after 12000 --attempts 3");
	ASSERT_EQ(2, refvmm_number(&self->v, "attempt", 0));
	CHECK_BUILT();
}

TEST_F_TIMEOUT(refvmm, link_cut_at_once, 120)
{
	RUN(1, "--ring --cut-after 1");
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_EQ(0, sessions_left(5000));
}

/* The destination dies before the switchover: the source's guest runs on. */
TEST_F_TIMEOUT(refvmm, destination_dies_ring, 120)
{
	RUN(1, "--ring --die-after 14000");
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_EQ(0, sessions_left(5000));
}

TEST_F_TIMEOUT(refvmm, destination_dies_bitmap, 120)
{
	RUN(1, "--bitmap --die-after 22000");
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_EQ(0, sessions_left(5000));
}

TEST_F_TIMEOUT(refvmm, two_vms_at_once, 180)
{
	struct refvmm other = {};
	int rc, rc_other;

	ASSERT_OK(refvmm_start(&other, "other", "--pair --make-disk --bitmap --seed 21" COMMON));
	rc = refvmm_run(&self->v, "vm", "--pair --make-disk --ring --seed 22" COMMON);
	rc_other = refvmm_wait(&other);
	EXPECT_EQ(0, rc) TH_LOG("%s", refvmm_said(&self->v));
	EXPECT_EQ(0, rc_other) TH_LOG("%s", refvmm_said(&other));
	EXPECT_LT(0, refvmm_number(&other, "built", 1));
	refvmm_clean(&other);
	CHECK_BUILT();
}

/*
 * Both bring pages of the set: storage, and a link that has room; the guest writes, not
 * more than a slow machine sends beside it.
 */
#define SPARE	" --adaptive --rate 2000 --max-ms 60000"

/*
 * How fast a machine is does not decide who is first: storage brings no more than its
 * burst until the link has taken something in the @nth session.
 */
static int run_both(struct refvmm *v, const char *options, int nth, u64 storage_bytes_per_s)
{
	u64 end = clock_ms() + stretch(60000);
	struct stat st;
	ino_t seen = 0;
	int rc;

	rc = mdb_sysfs_write("fetch_max_bytes_per_s", 1);
	if (rc)
		return rc;
	rc = refvmm_start(v, "vm", options);
	if (rc)
		return rc;
	for (; clock_ms() < end && !refvmm_ended(v); usleep(1000)) {
		if (stat("/sys/kernel/migdb/refvmm-source", &st))
			continue;
		nth -= st.st_ino != seen;
		seen = st.st_ino;
		if (nth <= 0 && mdb_sysfs_read("refvmm-source/by_reason/taken") > 0)
			break;
	}
	mdb_sysfs_write("fetch_max_bytes_per_s", storage_bytes_per_s);
	return refvmm_wait(v);
}

#define RUN_BOTH(_options, _nth, _storage_mib)				\
	do {								\
		int rc_ = run_both(&self->v, "--pair --make-disk" COMMON SPARE _options, _nth, \
				   (u64)(_storage_mib) << 20);		\
		ASSERT_EQ(0, rc_) TH_LOG("%s\n%s", self->v.last, refvmm_said(&self->v)); \
	} while (0)

#define CHECK_BOTH()							\
	do {								\
		CHECK_BUILT();						\
		ASSERT_LT(0, refvmm_number(&self->v, "taken", 0))	\
			TH_LOG("%s", self->v.last);			\
		TH_LOG("%lld built, %lld taken",			\
		       (long long)refvmm_number(&self->v, "built", 0),	\
		       (long long)refvmm_number(&self->v, "taken", 0));	\
	} while (0)

TEST_F_TIMEOUT(refvmm, adaptive_ring, 180)
{
	RUN_BOTH(" --ring --bandwidth 12", 1, 3);
	CHECK_BOTH();
}

TEST_F_TIMEOUT(refvmm, adaptive_bitmap, 180)
{
	RUN_BOTH(" --bitmap --bandwidth 24 --cpus 2 --seed 31", 1, 1);
	CHECK_BOTH();
}

TEST_F_TIMEOUT(refvmm, adaptive_balloon, 180)
{
	RUN_BOTH(" --ring --balloon --bandwidth 12 --seed 32", 1, 3);
	CHECK_BOTH();
}

/* Storage stands still: what it does not bring the link does, while the guest runs. */
TEST_F_TIMEOUT(refvmm, adaptive_storage_stands_still, 180)
{
	s64 taken;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	RUN(0, "--ring --bandwidth 24 --seed 33" SPARE);
	CHECK_BOTH();
	taken = refvmm_number(&self->v, "taken", 0);
	/* not by the reclaim at the end, with the guest stopped */
	ASSERT_LT(refvmm_number(&self->v, "returned", 0) - taken, 256)
		TH_LOG("%s", self->v.last);
}

TEST_F_TIMEOUT(refvmm, adaptive_link_cut_and_back, 240)
{
	RUN_BOTH(" --ring --bandwidth 24 --cut-after 30000 --attempts 3 --seed 34", 2, 3);
	ASSERT_EQ(2, refvmm_number(&self->v, "attempt", 0));
	CHECK_BOTH();
}

TEST_F_TIMEOUT(refvmm, adaptive_disabled_in_the_middle, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1 << 20));
	disabled_in_the_middle(_metadata, self, "--ring --adaptive", 2);
}

/*
 * Post-copy: the switch is in the middle of building, by a link that is slow enough for
 * that.  Storage brings some pages after it, and some that the guest waits for.
 */
#define LATE "--bandwidth 12 --switch-ms 600 "

#define CHECK_LATE()							\
	do {								\
		CHECK_BUILT();						\
		ASSERT_LT(0, refvmm_number(&self->v, "postcopy_built", 0)) \
			TH_LOG("%s", self->v.last);			\
		ASSERT_EQ(0, refvmm_number(&self->v, "present", 0));	\
	} while (0)

TEST_F_TIMEOUT(refvmm, postcopy_ring, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring --postcopy " LATE);
	CHECK_LATE();
	ASSERT_LT(0, refvmm_number(&self->v, "faults", 0));
	TH_LOG("%s", self->v.last);
}

TEST_F_TIMEOUT(refvmm, postcopy_bitmap_anonymous_memory, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--bitmap --memory anon --postcopy --seed 31 " LATE);
	CHECK_LATE();
	ASSERT_LT(0, refvmm_number(&self->v, "faults", 0));
}

TEST_F_TIMEOUT(refvmm, postcopy_transparent_huge_pages, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring --memory thp --postcopy --seed 45 " LATE);
	CHECK_LATE();
	ASSERT_LE(24 << 10, refvmm_number(&self->v, "huge_kib", 0));
}

TEST_F_TIMEOUT(refvmm, postcopy_paused_until_all_is_compared, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring --postcopy=paused --seed 32 " LATE);
	CHECK_LATE();
}

TEST_F_TIMEOUT(refvmm, postcopy_four_cpus_at_full_speed, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring=1024 --cpus 4 --rate 0 --postcopy --workers 3 --seed 33 " LATE);
	CHECK_LATE();
}

TEST_F_TIMEOUT(refvmm, postcopy_without_migdb, 180)
{
	RUN(0, "--bitmap --no-migdb --postcopy --seed 34 " LATE);
	CHECK_ORDINARY();
}

/*
 * The source takes back what it has not heard of: pages that are built are among what it
 * has still to send.  They are there, and nobody would place them again.
 */
TEST_F_TIMEOUT(refvmm, postcopy_sends_what_is_built, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring --postcopy --at-switch unheard --seed 37 " LATE);
	CHECK_BUILT();
	ASSERT_LT(0, refvmm_number(&self->v, "spared", 0)) TH_LOG("%s", self->v.last);
	TH_LOG("%lld pages were built and to be sent",
	       (long long)refvmm_number(&self->v, "spared", 0));
}

/* The session was lost before: the switch is an ordinary one. */
TEST_F_TIMEOUT(refvmm, postcopy_after_the_session_was_lost, 180)
{
	RUN(0, "--ring --postcopy --fault hash-before-arm --seed 38 " LATE);
	CHECK_ORDINARY();
	ASSERT_TRUE(refvmm_has(&self->v, "\"migrated\":true"));
}

#define CHECK_LOST()							\
	do {								\
		struct refvmm *v_ = &self->v;				\
		ASSERT_EQ(0, refvmm_number(v_, "differ", 0));		\
		ASSERT_TRUE(refvmm_has(v_, "\"guest_ok\":true"));	\
		ASSERT_TRUE(refvmm_has(v_, "\"migrated\":true"));	\
		ASSERT_FALSE(refvmm_has(v_, "\"ordinary\":\"\""));	\
		ASSERT_LT(0, refvmm_number(v_, "built", 1));		\
		ASSERT_EQ(0, sessions_left(5000));			\
	} while (0)

/*
 * It is lost at the destination at the worst moment, and the source does not know: that
 * switches without it, with all that it had left out.
 */
TEST_F_TIMEOUT(refvmm, postcopy_session_lost_at_the_switch, 180)
{
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 8 << 20));
	RUN(0, "--ring --postcopy --at-switch lost --seed 39 " LATE);
	CHECK_LOST();
	RUN(0, "--bitmap --memory anon --postcopy --at-switch lost-held --seed 39 " LATE);
	CHECK_LOST();
}

/* No switch: the guest goes on where it was, on all of its memory. */
TEST_F_TIMEOUT(refvmm, postcopy_refused, 180)
{
	RUN(1, "--ring --postcopy --at-switch refused --seed 40 " LATE);
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_TRUE(refvmm_has(&self->v, "\"migrated\":false"));
	ASSERT_EQ(0, sessions_left(5000));
}

TEST_F_TIMEOUT(refvmm, postcopy_destination_dies_at_the_switch, 180)
{
	RUN(1, "--bitmap --postcopy --at-switch dies --seed 41 " LATE);
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_TRUE(refvmm_has(&self->v, "\"migrated\":false"));
	ASSERT_EQ(0, sessions_left(5000));
}

/* The operator switches it off while the guest waits for pages of it. */
TEST_F_TIMEOUT(refvmm, postcopy_disabled_in_the_middle, 180)
{
	u64 end = clock_ms() + 60000;
	int rc;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 2 << 20));
	ASSERT_OK(refvmm_start(&self->v, "vm", "--pair --make-disk --ring --postcopy --seed 35 "
			       "--progress " LATE COMMON));
	while (!strstr(refvmm_said(&self->v), "destination: switched") && clock_ms() < end)
		usleep(5000);
	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	rc = refvmm_wait(&self->v);
	ASSERT_EQ(0, rc) TH_LOG("%s\n%s", self->v.last, refvmm_said(&self->v));
	ASSERT_EQ(0, refvmm_number(&self->v, "differ", 0));
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":true"));
	ASSERT_TRUE(refvmm_has(&self->v, "\"reason\":\"disabled\""));
	ASSERT_LT(0, refvmm_number(&self->v, "disabled", 0));
}

/*
 * The source is killed after the switch.  What storage has still comes, verified; what
 * only the source had is lost, and the destination says how much that is.
 */
TEST_F_TIMEOUT(refvmm, postcopy_source_is_killed, 180)
{
	struct refvmm d;
	int rc;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 4 << 20));
	ASSERT_OK(refvmm_start(&self->v, "vm", "--to unix:/tmp/migdb-test.sock --make-disk --ring "
			       "--postcopy --die-after-switch-ms 200 --seed 36 " LATE COMMON));
	wait_disk(&self->v);
	d = self->v;
	ASSERT_OK(refvmm_start(&d, "dest", "--from unix:/tmp/migdb-test.sock --postcopy --ring "
			       "--seed 36" COMMON));
	ASSERT_EQ(1000 + SIGKILL, refvmm_wait(&self->v));
	rc = refvmm_wait(&d);
	TH_LOG("%s", d.last);
	ASSERT_EQ(4, rc) TH_LOG("%s", refvmm_said(&d));
	ASSERT_TRUE(refvmm_has(&d, "\"source_gone\":true"));
	ASSERT_LT(0, refvmm_number(&d, "saved", 0));
	ASSERT_LT(0, refvmm_number(&d, "lost", 0));
	unlink(d.json);
	unlink(d.log);
	ASSERT_EQ(0, sessions_left(5000));
}

/* Each of these breaks one rule on purpose and must be found out. */
TEST_F_TIMEOUT(refvmm, fault_flip_is_found, 120)
{
	RUN(2, "--bitmap --fault flip");
	ASSERT_EQ(1, refvmm_number(&self->v, "differ", 0));
}

TEST_F_TIMEOUT(refvmm, fault_hash_before_arm_is_found, 120)
{
	RUN(2, "--bitmap --fault hash-before-arm");
	ASSERT_LT(0, refvmm_number(&self->v, "differ", 0));
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":false"));
}

/* With a bound VM the kernel does not let it happen. */
TEST_F_TIMEOUT(refvmm, fault_hash_before_arm_is_refused, 120)
{
	RUN(0, "--ring --fault hash-before-arm");
	CHECK_ORDINARY();
}

TEST_F_TIMEOUT(refvmm, fault_unseen_discard_is_found, 120)
{
	RUN(2, "--ring --balloon --fault unseen-discard");
	ASSERT_LT(0, refvmm_number(&self->v, "differ", 0));
	ASSERT_EQ(0, refvmm_number(&self->v, "invalidated", 0));
}

TEST_F_TIMEOUT(refvmm, fault_discard_written_is_found, 120)
{
	RUN(2, "--bitmap --fault discard-written --max-ms 8000 " DISCARD);
	ASSERT_TRUE(refvmm_has(&self->v, "\"guest_ok\":false"));
}

TEST_F_TIMEOUT(refvmm, fault_late_record_is_found, 120)
{
	RUN(2, "--ring --fault late-record");
	ASSERT_LT(0, refvmm_number(&self->v, "differ", 0));
}

TEST_HARNESS_MAIN
