// SPDX-License-Identifier: GPL-2.0
/*
 * VMMs that die at the worst moment, with everything mapped and I/O in flight:
 * nothing stays behind, neither sessions nor memory, and the module can go.
 *
 * MIGDB_KILL_ROUNDS: how many VMMs are killed (12).  MIGDB_KO: the module's file,
 * for the unload test.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include "slow_disk.h"
#include "spawn.h"

/* Half of what one pair of VMMs would leave behind. */
#define TOLERATED_KIB	(40 << 10)
#define HEIR_TOLERATED_KIB	(24 << 10)	/* the owner's memory and disk are more */
/* A session's own tables, which are small: some kernel threads come meanwhile. */
#define TOLERATED_VMALLOC_KIB	128

#define PAGES	4096
#define SET	(PAGES - RIG_FIRST)

FIXTURE(kill) {
	int dummy;
};

FIXTURE_SETUP(kill)
{
	REQUIRE_DEVICE();
	srand(time(NULL));
}

FIXTURE_TEARDOWN(kill)
{
}

/* KiB of a line of /proc/meminfo. */
static s64 meminfo(const char *name)
{
	char line[128];
	s64 kib = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			kib = atoll(line + strlen(name) + 1);
	if (f)
		fclose(f);
	return kib;
}

static s64 settled_meminfo(const char *name)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sync();
	usleep(300000);
	if (fd >= 0) {
		if (write(fd, "3", 1) != 1)
			perror("drop_caches");
		close(fd);
	}
	usleep(200000);
	return meminfo(name);
}

static void kill_group(struct refvmm *v)
{
	kill(-v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
}

/* Without stacks: workers of the kernel's queues come, and stay for minutes. */
static s64 mapped_kib(void)
{
	return meminfo("VmallocUsed") - meminfo("KernelStack");
}

static void kill_rounds(struct __test_metadata *_metadata, const char *options, u32 rounds)
{
	s64 free_before = 0, free_after, slab_before = 0, slab_after, maps_before = 0, maps_after;
	struct refvmm v = {};
	u32 i, with_session = 0;

	for (i = 0; i < rounds; i++) {
		if (i == 2) {	/* caches are warm by now */
			free_before = settled_meminfo("MemAvailable");
			slab_before = settled_meminfo("SUnreclaim");
			maps_before = mapped_kib();
		}
		u64 end = clock_ms() + stretch(20000);

		ASSERT_OK(refvmm_start(&v, "victim", options));
		/* most of them some time after they have sessions, some at any time */
		while (i % 4 && mdb_sysfs_read("nr_sessions") < 2 && clock_ms() < end)
			usleep(2000);
		usleep(rand() % 2000000);
		with_session += mdb_sysfs_read("nr_sessions") > 0;
		kill_group(&v);
		ASSERT_EQ(0, sessions_left(10000)) TH_LOG("round %u: sessions are left", i);
	}
	refvmm_clean(&v);
	/* Freeing ends in the background: give it time, not memory. */
	for (i = 0; i < 10; i++) {
		free_after = settled_meminfo("MemAvailable");
		slab_after = settled_meminfo("SUnreclaim");
		maps_after = mapped_kib();
		if (free_before - free_after < TOLERATED_KIB &&
		    maps_after - maps_before < TOLERATED_VMALLOC_KIB)
			break;
	}
	TH_LOG("%u of %u were killed in a migration; KiB: MemAvailable %lld -> %lld, SUnreclaim %lld -> %lld, VmallocUsed %lld -> %lld",
	       with_session, rounds, (long long)free_before, (long long)free_after,
	       (long long)slab_before, (long long)slab_after,
	       (long long)maps_before, (long long)maps_after);
	ASSERT_LE(rounds / 2, with_session);
	ASSERT_LT(free_before - free_after, TOLERATED_KIB);
	ASSERT_LT(slab_after - slab_before, 16 << 10);
	ASSERT_LT(maps_after - maps_before, TOLERATED_VMALLOC_KIB);
}

static u32 rounds_wanted(void)
{
	const char *text = getenv("MIGDB_KILL_ROUNDS");
	int n = text ? atoi(text) : 12;

	return n < 4 ? 4 : n;
}

TEST_F_TIMEOUT(kill, vmm_at_random_points_ring, 600)
{
	if (!vm_supported(4096))
		SKIP(return, "no /dev/kvm with dirty rings");
	kill_rounds(_metadata, "--pair --make-disk --mem 48 --ring --bandwidth 24 --warm-ms 50",
		    rounds_wanted());
}

TEST_F_TIMEOUT(kill, vmm_at_random_points_bitmap, 600)
{
	if (!vm_supported(0))
		SKIP(return, "no /dev/kvm");
	kill_rounds(_metadata, "--pair --make-disk --mem 48 --bitmap --bandwidth 24 --warm-ms 50",
		    rounds_wanted());
}

/*
 * Only the destination dies, any time before the switchover: the guest runs on at the
 * source and finds its memory as it should be, and both sessions are gone.
 */
static void kill_destinations(struct __test_metadata *_metadata, const char *mode, u32 rounds)
{
	u32 i, with_set = 0, too_late = 0;
	struct refvmm v = {};
	char options[256];
	int rc;

	for (i = 0; i < rounds; i++) {
		snprintf(options, sizeof(options),
			 "--pair --make-disk --mem 48 --warm-ms 50 --bandwidth 8 %s --seed %u --die-after-ms %u",
			 mode, rand(), rand() % 3000);
		rc = refvmm_run(&v, "source", options);
		ASSERT_EQ(0, sessions_left(10000)) TH_LOG("round %u: sessions are left", i);
		if (refvmm_has(&v, "\"migrated\":true")) {
			too_late++;
			continue;
		}
		ASSERT_EQ(1, rc) TH_LOG("%s: %s\n%s", options, v.last, refvmm_said(&v));
		ASSERT_TRUE(refvmm_has(&v, "\"migrated\":false,"));
		ASSERT_TRUE(refvmm_has(&v, "\"guest_ok\":true")) TH_LOG("%s", v.last);
		with_set += refvmm_number(&v, "pages_skipped", 0) > 0;
	}
	refvmm_clean(&v);
	TH_LOG("of %u destinations %u died when pages were left out, %u after the switchover",
	       rounds, with_set, too_late);
	ASSERT_LE(rounds / 2, with_set);
}

TEST_F_TIMEOUT(kill, destination_at_random_points_ring, 600)
{
	if (!vm_supported(4096))
		SKIP(return, "no /dev/kvm with dirty rings");
	kill_destinations(_metadata, "--ring", rounds_wanted());
}

TEST_F_TIMEOUT(kill, destination_at_random_points_bitmap, 600)
{
	if (!vm_supported(0))
		SKIP(return, "no /dev/kvm");
	kill_destinations(_metadata, "--bitmap", rounds_wanted());
}

/* A rig in a child process, on a disk that takes its time. */
static void __attribute__((noreturn)) victim(const char *disk, int ready)
{
	struct rig r;
	int fd = disk_open(disk, O_RDONLY), rc;

	rc = rig_init(&r, PAGES);
	unlink(r.disk_path);
	if (!rc)
		rc = rig_source(&r);
	if (!rc)
		rc = rig_dest(&r, fd);
	if (!rc)
		rc = rig_snapshot(&r);
	if (!rc)
		rc = rig_hash(&r, NULL);
	if (write(ready, &rc, sizeof(rc)) != sizeof(rc))
		_exit(1);
	for (;;)
		pause();
}

TEST_F_TIMEOUT(kill, reads_in_flight, 120)
{
	struct slow_disk s = {};
	int p[2], rc, i;
	pid_t pid;

	rc = slow_disk_make(&s, PAGES, 1500);
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_OK(rc);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pipe(p));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			victim(s.dm, p[1]);
		close(p[1]);
		ASSERT_EQ(sizeof(rc), read(p[0], &rc, sizeof(rc)));
		ASSERT_OK(rc);
		close(p[0]);
		usleep(i * 100000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		/* release() has waited for the reads */
		EXPECT_EQ(0, sessions_left(10000));
	}
	slow_disk_remove(&s);
}

/* The same with storage that hangs: it ends when the storage does. */
TEST_F_TIMEOUT(kill, storage_hangs, 120)
{
	struct slow_disk s = {};
	int p[2], rc;
	pid_t pid;

	rc = slow_disk_make(&s, PAGES, 0);
	if (rc == -ENODEV || rc == -EINVAL)
		SKIP(return, "no dm-delay");
	ASSERT_OK(rc);
	ASSERT_EQ(0, pipe(p));
	ASSERT_OK(dm_suspend(s.name, true));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		victim(s.dm, p[1]);
	close(p[1]);
	ASSERT_EQ(sizeof(rc), read(p[0], &rc, sizeof(rc)));
	ASSERT_OK(rc);
	kill(pid, SIGKILL);
	usleep(300000);
	/* The host goes on: other sessions come and go. */
	{
		struct rig r;
		u64 bad;

		ASSERT_OK(rig_start(&r, 256));
		ASSERT_OK(rig_settle(&r, 10000));
		ASSERT_OK(rig_finish(&r, &bad));
		rig_exit(&r);
	}
	ASSERT_OK(dm_suspend(s.name, false));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(0, sessions_left(10000));
	slow_disk_remove(&s);
}

/* One more way to leave: the session's own descriptor last, or first. */
TEST_F_TIMEOUT(kill, order_of_closing, 60)
{
	int order;

	for (order = 0; order < 4; order++) {
		struct rig r;

		ASSERT_OK(rig_start(&r, 512));
		if (order & 1) {
			close(r.dst.fd);
			r.dst.fd = -1;
		} else {
			close(r.dst.tx);
			close(r.dst.rx);
			r.dst.tx = -1;
			r.dst.rx = -1;
		}
		if (order & 2) {
			munmap(r.dst.map, r.dst.map_bytes);
			r.dst.map = NULL;
		}
		rig_exit(&r);
		ASSERT_EQ(0, sessions_left(5000));
	}
}

/*
 * A session that another process inherited keeps the owner's memory until that
 * process closes it, and no longer.
 */
TEST_F_TIMEOUT(kill, owner_dies_heir_lives, 60)
{
	s64 before = settled_meminfo("MemAvailable"), after;
	int p[2], heir[2], rc = 0, i;
	pid_t pid, child = 0;
	char c = 0;

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, pipe(heir));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct rig r;

		rc = rig_start(&r, PAGES);
		unlink(r.disk_path);
		child = fork();
		if (!child) {
			close(p[0]);
			close(p[1]);
			close(heir[1]);
			munmap(r.src_ram, PAGES * MDB_PAGE);
			munmap(r.dst_ram, PAGES * MDB_PAGE);
			/* keeps the descriptors until told */
			if (read(heir[0], &c, 1) < 0)
				_exit(1);
			_exit(0);
		}
		if (write(p[1], &rc, sizeof(rc)) != sizeof(rc))
			_exit(1);
		for (;;)
			pause();
	}
	ASSERT_EQ(sizeof(rc), read(p[0], &rc, sizeof(rc)));
	ASSERT_OK(rc);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	close(heir[0]);
	close(heir[1]);		/* the heir reads EOF and ends */
	ASSERT_EQ(0, sessions_left(10000));
	for (i = 0; i < 10; i++) {	/* as above */
		after = settled_meminfo("MemAvailable");
		if (before - after < HEIR_TOLERATED_KIB)
			break;
	}
	ASSERT_LT(before - after, HEIR_TOLERATED_KIB);
}

/* Unload is refused while there is a session, and clean after it. */
TEST_F_TIMEOUT(kill, module_unload, 60)
{
	const char *ko = getenv("MIGDB_KO");
	struct rig r;
	int fd, tx;

	if (!ko || !*ko)
		SKIP(return, "MIGDB_KO is not set");
	fd = open(ko, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd) TH_LOG("%s: %s", ko, strerror(errno));
	ASSERT_OK(rig_start(&r, 256));
	ASSERT_EQ(-1, syscall(SYS_delete_module, "migdb", O_NONBLOCK));
	ASSERT_TRUE(errno == EAGAIN || errno == EBUSY) TH_LOG("%s", strerror(errno));
	tx = dup(r.src.tx);
	rig_exit(&r);
	/* a stream file is still open */
	ASSERT_EQ(-1, syscall(SYS_delete_module, "migdb", O_NONBLOCK));
	close(tx);
	ASSERT_EQ(0, sessions_left(5000));
	ASSERT_EQ(0, syscall(SYS_delete_module, "migdb", O_NONBLOCK)) TH_LOG("%s", strerror(errno));
	ASSERT_EQ(-1, access(MDB_DEV, F_OK));
	ASSERT_EQ(0, syscall(SYS_finit_module, fd, "", 0)) TH_LOG("%s", strerror(errno));
	close(fd);
	ASSERT_EQ(0, access(MDB_DEV, R_OK | W_OK));
	ASSERT_OK(rig_start(&r, 256));
	rig_exit(&r);
}

TEST_HARNESS_MAIN
