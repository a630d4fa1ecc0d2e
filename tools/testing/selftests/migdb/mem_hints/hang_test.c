// SPDX-License-Identifier: GPL-2.0
/*
 * What hangs costs nobody else anything: an address space that stays locked, a
 * file whose blocks cannot be looked up, a virtual disk that cannot be opened.
 *
 * What hangs is the volume "hang" on vdd, with a file system: it is suspended.
 * Each test is a process of its own, so it begins with nothing said.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/loop.h>

#include "kselftest.h"
#include "guest.h"

#define VOLUME		"hang"
#define VOLUME_DEV	"/dev/hang"
#define VOLUME_DIR	"/hang"
#define LOOP		7	/* a loop device of our own */
#define LOOP_DEV	"/dev/loop7"
#define LOOP_MAJOR	7
#define WALK_MS		"4000"
#define TEST_MS		150000	/* of one test: emulation on a busy machine */
#define GENEROUS_MS	20000
#define DISCARDABLE	(1 << MEM_HINT_CLASS_DISCARDABLE)

#define FULL_MAPS	(65536 / MEM_HINT_MAX_SEGMENTS)	/* as many as there may be */
#define RANGES		2000	/* discardable ones of who keeps its lock */

static int ctl;

/* ---- calls and migrations ------------------------------------------------- */

static int do_discardable(void *addr, uint64_t len)
{
	return do_class(MEM_HINT_CLASS_DISCARDABLE, addr, len);
}

/* A map of @nr segments for a virtual disk; 0: none. */
static int do_map(uint64_t dev_nr, unsigned int nr)
{
	static struct mem_hint_segment segs[MEM_HINT_MAX_SEGMENTS];
	const unsigned int sectors = DM_SECTORS / (nr ?: 1);
	struct mem_hint_segments a = {
		.major = major(dev_nr), .minor = minor(dev_nr), .nr = nr,
		.segments_uptr = (uintptr_t)segs,
	};
	struct stat st;
	unsigned int i;

	if (stat("/dev/vdd", &st))
		return -errno;
	for (i = 0; i < nr; i++)
		segs[i] = (struct mem_hint_segment) {
			.start = i * sectors, .nr_sectors = sectors,
			.target = 2048 + i * sectors, .nr_stripes = 1,
			.major = major(st.st_rdev), .minor = minor(st.st_rdev),
		};
	return call(SEGMENTS, &a);
}

/* Of the module: each snapshot has one, and each question to a disk. */
static int references(void)
{
	char text[16] = "";
	int fd = open("/sys/module/mem_hints/refcnt", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	return n > 0 ? atoi(text) : -1;
}

static bool references_below(int nr)
{
	uint64_t begin = now_ms();

	while (references() >= nr && now_ms() - begin < GENEROUS_MS)
		usleep(10000);
	return references() < nr;
}

/* ---- what hangs ----------------------------------------------------------- */

static uint64_t volume_nr;

static int new_volume(const char *name, uint64_t *nr)
{
	return dm_named(ctl, DM_DEV_CREATE, name, NULL, NULL, 0, nr) ?:
	       dm_named(ctl, DM_TABLE_LOAD, name, "linear", "/dev/vdd 2048", DM_SECTORS, NULL) ?:
	       dm_named(ctl, DM_DEV_SUSPEND, name, NULL, NULL, 0, NULL);
}

static int resume(void)
{
	return dm_named(ctl, DM_DEV_SUSPEND, VOLUME, NULL, NULL, 0, NULL);
}

static bool make_volume(void)
{
	volume_nr = 0;
	CHECK(!new_volume(VOLUME, &volume_nr));
	unlink(VOLUME_DEV);
	CHECK(!mknod(VOLUME_DEV, S_IFBLK | 0600, volume_nr));
	return true;
}

static bool mount_volume(void)
{
	mkdir(VOLUME_DIR, 0700);
	CHECK(!mount(VOLUME_DEV, VOLUME_DIR, "ext4", 0, NULL));
	return true;
}

/* Whatever came of a test, nothing hangs, and nothing is left. */
static bool tidy(void)
{
	uint64_t begin = now_ms();
	char name[16];
	int i, fd, err;

	fd = open(LOOP_DEV, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ioctl(fd, LOOP_CLR_FD, 0);
		close(fd);
	}
	for (i = 0; i < FULL_MAPS; i++) {
		snprintf(name, sizeof(name), "gone%d", i);
		dm_named(ctl, DM_DEV_REMOVE, name, NULL, NULL, 0, NULL);
	}
	/* Files of processes that have gone are closed a little later. */
	do {
		umount(VOLUME_DIR);
		err = dm_named(ctl, DM_DEV_REMOVE, VOLUME, NULL, NULL, 0, NULL);
		if (err)
			usleep(20000);
	} while (err == -EBUSY && now_ms() - begin < GENEROUS_MS);
	CHECK(!err);
	return true;
}

/* Runs @test in a process of its own, with the volume. */
static bool alone(bool (*test)(void))
{
	uint64_t begin = now_ms();
	int status = -1;
	pid_t pid, ret;
	bool ok;

	CHECK(make_volume());
	pid = fork();
	if (!pid)
		_exit(!test());
	do {
		usleep(50000);
		ret = waitpid(pid, &status, WNOHANG);
	} while (!ret && now_ms() - begin < TEST_MS);
	resume();
	if (!ret) {
		ksft_print_msg("it has not ended after %d ms\n", TEST_MS);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	ok = tidy();
	return ret == pid && status == 0 && ok;
}

/* ---- an address space that stays locked ----------------------------------- */

static char *from_volume;
static volatile bool go;	/* both threads are there: to make one takes the lock */

static void wait_to_go(void)
{
	while (!go)
		usleep(10000);
}

/* Has the address space locked for reading until the fault has ended. */
static void *fault(void *arg)
{
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char c;

	wait_to_go();
	if (pread(fd, &c, 1, (uintptr_t)from_volume) != 1)
		_exit(1);
	return NULL;
}

/* Waits behind it, so that nobody else gets the lock for reading. */
static void *change(void *arg)
{
	wait_to_go();
	usleep(500000);
	return mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* Says "x" when it has registered, and when its lock is taken; ends at "x". */
static bool keep_locked(int out, int in)
{
	int fd = open(VOLUME_DIR "/data", O_RDONLY | O_CLOEXEC), i;
	char *p = locked_pages(2 * RANGES), c;
	pthread_t reader, writer;

	CHECK(fd >= 0 && p);
	from_volume = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 64 * PAGE);
	CHECK(from_volume != MAP_FAILED);
	for (i = 0; i < RANGES; i++)
		CHECK(!do_discardable(p + 2 * i * PAGE, PAGE));
	CHECK(write(out, "x", 1) == 1 && read(in, &c, 1) == 1);
	CHECK(!pthread_create(&reader, NULL, fault, NULL));
	CHECK(!pthread_create(&writer, NULL, change, NULL));
	go = true;
	sleep(1);
	CHECK(write(out, "x", 1) == 1 && read(in, &c, 1) == 1);
	pthread_join(reader, NULL);
	pthread_join(writer, NULL);
	CHECK(write(out, "x", 1) == 1 && read(in, &c, 1) == 1);
	return true;
}

static bool locked_costs_nobody(void)
{
	int to[2], from[2], data = open("/mnt/data", O_RDONLY | O_CLOEXEC), fd;
	char *p, c;

	CHECK(mount_volume());
	CHECK(!pipe(to) && !pipe(from));
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(!keep_locked(from[1], to[0]));
	}
	close(from[1]);
	CHECK(read(from[0], &c, 1) == 1);
	/* We come after it. */
	p = locked_pages(64);
	CHECK(!do_bind(data, p, 64 * PAGE, 0));
	CHECK(!dm_suspend(ctl, VOLUME));
	CHECK(write(to[1], "x", 1) == 1 && read(from[0], &c, 1) == 1);
	fd = migration_start(DISCARDABLE);
	CHECK(fd >= 0);
	ksft_print_msg("%lu frames in %lu us\n", hints_u64("snapshot/frames"),
		       hints_u64("snapshot/us"));
	CHECK(hints_u64("snapshot/frames") == 64);
	CHECK(hints_u64("snapshot/cut") == 0);
	CHECK(hints_u64("snapshot/discardable") == 0);
	CHECK(hints_u64("snapshot/skipped_memory") > 0);
	CHECK(migration_complete(fd));
	/* That was the lock: without it all is there. */
	CHECK(!resume());
	CHECK(write(to[1], "x", 1) == 1 && read(from[0], &c, 1) == 1);
	fd = migration_start(DISCARDABLE);
	CHECK(fd >= 0);
	CHECK(hints_u64("snapshot/discardable") == RANGES);
	CHECK(migration_complete(fd));
	CHECK(write(to[1], "x", 1) == 1);
	return true;
}

static bool test_locked(void)
{
	return alone(locked_costs_nobody);
}

/* ---- a snapshot that is left behind --------------------------------------- */

#define PIECES	8	/* more than fit into an inode */

/* Files whose extents are not all in their inodes, and not in memory. */
static bool files_in_pieces(int nr, int *fds)
{
	static char page[PAGE];
	char path[32];
	int fd, i, k;

	for (k = 0; k < nr; k++) {
		snprintf(path, sizeof(path), VOLUME_DIR "/pieces%d", k);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		for (i = 0; i < PIECES; i++)
			CHECK(pwrite(fd, page, PAGE, 2 * i * PAGE) == PAGE);
		CHECK(!fsync(fd) && !close(fd));
	}
	CHECK(!umount(VOLUME_DIR));
	CHECK(mount_volume());
	for (k = 0; k < nr; k++) {
		snprintf(path, sizeof(path), VOLUME_DIR "/pieces%d", k);
		fds[k] = open(path, O_RDONLY | O_CLOEXEC);
		CHECK(fds[k] >= 0);
	}
	return true;
}

/* While nothing hangs: an exit would wait for it. */
static void unlink_pieces(int nr)
{
	char path[32];

	while (nr--) {
		snprintf(path, sizeof(path), VOLUME_DIR "/pieces%d", nr);
		unlink(path);
	}
}

/*
 * Discardable pages of the second migration have moved.  A fork takes them back,
 * also after the snapshot of the first one has come to its end.
 */
static bool late_snapshot_forgets_nothing(void)
{
	char *bound = locked_pages(1), *p = locked_pages(8), *to;
	uint64_t before;
	int data, fd, nr;
	pid_t child;

	CHECK(mount_volume());
	CHECK(files_in_pieces(1, &data));
	CHECK(!do_map(volume_nr, 1));
	CHECK(!do_bind(data, bound, PAGE, 0));
	CHECK(!do_discardable(p, 8 * PAGE));
	nr = references();
	CHECK(!dm_suspend(ctl, VOLUME));
	fd = migration_start(DISCARDABLE);
	CHECK(fd >= 0);
	CHECK(hints_u64("snapshot/cut") == 1);
	CHECK(migration_complete(fd));
	CHECK(references() == nr + 1);	/* it is still there */

	fd = migration_start(DISCARDABLE);
	CHECK(fd >= 0);
	CHECK(hints_u64("snapshot/cut") == 0);
	CHECK(hints_u64("snapshot/hung_processes") == 1);
	CHECK(hints_u64("snapshot/discardable") == 8);
	to = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(mremap(p, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	nr = references();
	CHECK(!resume());
	CHECK(references_below(nr));
	before = hints_u64("nr_taken_back");
	child = fork();
	if (!child)
		_exit(0);
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK(hints_u64("nr_taken_back") == before + 8);
	CHECK(migration_complete(fd));
	unlink_pieces(1);
	return true;
}

static bool test_late_snapshot(void)
{
	return alone(late_snapshot_forgets_nothing);
}

/* ---- a user whose files hang ---------------------------------------------- */

#define HUNG_FILES	10	/* more than snapshots may be stuck */
#define OTHER_UID	1001	/* its turn comes after root's */

/* Says "x" when it has bound; ends at "x". */
static bool other_user(int data, int out, int in)
{
	char *p = locked_pages(64), c;

	CHECK(p && !setgroups(0, NULL) && !setresgid(OTHER_UID, OTHER_UID, OTHER_UID) &&
	      !setresuid(OTHER_UID, OTHER_UID, OTHER_UID));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(!do_bind(data, p, 64 * PAGE, 0));
	CHECK(write(out, "x", 1) == 1 && read(in, &c, 1) == 1);
	return true;
}

/*
 * Root has as many files that hang as it takes to keep all workers waiting; no more
 * than one start waits, and one worker.
 */
static bool hung_files_cost_one_start(void)
{
	int to[2], from[2], data, nr, fd, i, fds[HUNG_FILES];
	char *bound = locked_pages(HUNG_FILES), c;

	data = open("/mnt/data", O_RDONLY | O_CLOEXEC);
	CHECK(mount_volume());
	CHECK(files_in_pieces(HUNG_FILES, fds));
	CHECK(!do_map(volume_nr, 1));
	for (i = 0; i < HUNG_FILES; i++)
		CHECK(!do_bind(fds[i], bound + i * PAGE, PAGE, 0));
	CHECK(!pipe(to) && !pipe(from));
	if (!fork())
		_exit(!other_user(data, from[1], to[0]));
	close(from[1]);
	CHECK(read(from[0], &c, 1) == 1);

	nr = references();
	CHECK(!dm_suspend(ctl, VOLUME));
	for (i = 0; i < HUNG_FILES; i++) {
		fd = migration_start(0);
		CHECK(fd >= 0);
		CHECK(hints_u64("snapshot/cut") == !i);
		CHECK(hints_u64("snapshot/hung_processes") == !!i);
		CHECK(hints_u64("snapshot/frames") == (i ? 64 : 0));
		CHECK(migration_complete(fd));
		CHECK(references() == nr + 1);
	}
	/* It has its hints back when nothing hangs any more. */
	CHECK(!resume());
	CHECK(references_below(nr + 1));
	fd = migration_start(0);
	CHECK(fd >= 0);
	CHECK(hints_u64("snapshot/hung_processes") == 0);
	CHECK(hints_u64("snapshot/frames") == 64 + HUNG_FILES);
	CHECK(migration_complete(fd));
	CHECK(write(to[1], "x", 1) == 1);
	unlink_pieces(HUNG_FILES);
	return true;
}

static bool test_hung_files(void)
{
	return alone(hung_files_cost_one_start);
}

/* ---- a virtual disk that hangs -------------------------------------------- */

static bool make_loop(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int below = open(VOLUME_DEV, O_RDWR | O_CLOEXEC), fd;
	struct loop_config config = {
		.fd = below, .info.lo_flags = LO_FLAGS_PARTSCAN,
	};

	ioctl(control, LOOP_CTL_ADD, LOOP);
	close(control);
	fd = open(LOOP_DEV, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && below >= 0);
	CHECK(!ioctl(fd, LOOP_CONFIGURE, &config));
	/* What it has read is in the cache of the volume: not there any more. */
	CHECK(!ioctl(below, BLKFLSBUF, 0));
	close(below);
	close(fd);
	return true;
}

/* Reads the partition table; nobody else can open the disk meanwhile. */
static int rescan(void)
{
	int fd = open(LOOP_DEV, O_RDONLY | O_CLOEXEC);

	return fd < 0 || ioctl(fd, BLKRRPART);
}

/* As many segments as there may be; one disk hangs, the others have gone. */
static bool hung_volume_keeps_its_own(void)
{
	uint64_t nrs[FULL_MAPS] = {}, begin;
	int i, status = -1, nr;
	char name[16];
	pid_t pid;

	for (i = 0; i < FULL_MAPS; i++) {
		snprintf(name, sizeof(name), "gone%d", i);
		CHECK(!new_volume(name, &nrs[i]));
		if (i < FULL_MAPS - 1)
			CHECK(!do_map(nrs[i], MEM_HINT_MAX_SEGMENTS));
	}
	CHECK(make_loop());
	CHECK(!do_map(makedev(LOOP_MAJOR, LOOP), MEM_HINT_MAX_SEGMENTS));
	CHECK(do_map(nrs[i - 1], MEM_HINT_MAX_SEGMENTS) == -ENOSPC);
	for (i = 0; i < FULL_MAPS - 1; i++) {
		snprintf(name, sizeof(name), "gone%d", i);
		CHECK(!dm_named(ctl, DM_DEV_REMOVE, name, NULL, NULL, 0, NULL));
	}
	CHECK(!dm_suspend(ctl, VOLUME));
	pid = fork();
	if (!pid)
		_exit(rescan());
	sleep(1);
	CHECK(!waitpid(pid, &status, WNOHANG));	/* it hangs */

	begin = now_ms();
	CHECK(!do_map(nrs[i], MEM_HINT_MAX_SEGMENTS));
	ksft_print_msg("a map that found no room took %lu ms\n", now_ms() - begin);
	CHECK(now_ms() - begin < GENEROUS_MS);
	for (i = 0; i < FULL_MAPS - 1; i++)
		CHECK(do_map(nrs[i], 0) == -ENOENT);
	/* Its map stays until it is taken back, also while it is being looked for. */
	nr = references();
	CHECK(!do_map(makedev(LOOP_MAJOR, LOOP), 0));
	CHECK(do_map(makedev(LOOP_MAJOR, LOOP), 0) == -ENOENT);
	CHECK(references() == nr);
	CHECK(!resume());
	CHECK(references_below(nr));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(!do_map(nrs[i], 0));
	return true;
}

static bool test_hung_volume(void)
{
	return alone(hung_volume_keeps_its_own);
}

static bool test_load(void)
{
	CHECK(!module_load("allow_local=1 walk_ms=" WALK_MS));
	return true;
}

static bool test_unload(void)
{
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "the module loads", test_load },
	{ "a process that keeps its address space locked costs the others nothing", test_locked },
	{ "a snapshot that is left behind forgets nothing of a later one", test_late_snapshot },
	{ "files that hang cost the others one start at most", test_hung_files },
	{ "a virtual disk that hangs keeps its own map only", test_hung_volume },
	{ "the module goes", test_unload },
};

int main(void)
{
	if (access("/dev/vdd", F_OK))
		ksft_exit_skip("no /dev/vdd: to be run by run.sh\n");
	ctl = dm_control();
	if (ctl < 0)
		ksft_exit_skip("no device-mapper\n");
	return run_tests(tests, ARRAY_SIZE(tests));
}
