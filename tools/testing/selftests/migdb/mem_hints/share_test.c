// SPDX-License-Identifier: GPL-2.0
/*
 * What users leave each other: of what there is once for the whole guest, and of
 * the time of a migration's start.
 *
 * Runs as root in a guest with ext4 on vda1 in /mnt.  Each user is a process, or
 * some, with another uid.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "guest.h"

#define DATA		"/mnt/data"
#define DATA_LEN	(4UL << 20)
#define WALK_MS		4000
#define DEBUG		"/sys/kernel/debug"

/* limits.h: of all, of one user, and what is kept for CAP_SYS_RESOURCE. */
#define ALL_PROCESSES	4096
#define ALL_FILES	65536
#define ALL_RANGES	(64 * 16384)
#define ALL_READERS	64
#define SHARE(all)	((all) / 4)

#define ALICE		1001
#define BOB		1002
#define CAROL		1003
#define DAVE		1004

static int data = -1;

/* ---- users ---------------------------------------------------------------- */

#define MAX_CHILDREN 1200

static pid_t children[MAX_CHILDREN];
static unsigned int nr_children;

static bool become(uid_t uid)
{
	return !uid || (!setgroups(0, NULL) && !setresgid(uid, uid, uid) &&
			!setresuid(uid, uid, uid));
}

/* What @fn returns, in a process of @uid that then stays until all_gone(). */
static int as_user(uid_t uid, int (*fn)(long arg), long arg)
{
	int p[2], ret;
	pid_t pid;

	if (nr_children == MAX_CHILDREN || pipe(p))
		return -ENFILE;
	pid = fork();
	if (!pid) {
		close(p[0]);
		ret = become(uid) ? fn(arg) : -EPERM;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(p[1], &ret, sizeof(ret)) != sizeof(ret))
			_exit(1);
		close(p[1]);
		for (;;)
			pause();
	}
	close(p[1]);
	if (pid < 0)
		ret = -errno;
	else if (read(p[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -EPIPE;
	close(p[0]);
	if (pid > 0)
		children[nr_children++] = pid;
	return ret;
}

/* What they have said is dropped a little after they have gone. */
static bool all_gone(void)
{
	int tries;

	for (; nr_children; nr_children--) {
		kill(children[nr_children - 1], SIGKILL);
		waitpid(children[nr_children - 1], NULL, 0);
	}
	for (tries = 0; tries < 500; tries++) {
		if (!hints_u64("nr_processes") && !hints_u64("nr_files"))
			return true;
		usleep(20000);
	}
	return false;
}

/* ---- calls ---------------------------------------------------------------- */

static int bind_data(void *addr, uint64_t len, uint64_t offset)
{
	return do_bind(data, addr, len, offset);
}

static char *map_at(void *at, size_t len, int prot)
{
	char *p = mmap(at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		       (at ? MAP_FIXED : 0), -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static char *map(size_t len)
{
	return map_at(NULL, len, PROT_READ | PROT_WRITE);
}

static int bind_one(long arg)
{
	return bind_data(map(PAGE), PAGE, 0);
}

/* ---- shares --------------------------------------------------------------- */

static bool test_processes(void)
{
	int err = 0, nr;

	for (nr = 0; nr <= SHARE(ALL_PROCESSES) + 10 && !err; nr += !err)
		err = as_user(ALICE, bind_one, 0);
	CHECK(err == -EDQUOT);
	CHECK(nr == SHARE(ALL_PROCESSES));
	CHECK(as_user(BOB, bind_one, 0) == 0);
	/* One goes, one may come. */
	kill(children[0], SIGKILL);
	waitpid(children[0], NULL, 0);
	children[0] = children[--nr_children];
	CHECK(as_user(ALICE, bind_one, 0) == 0);
	CHECK(as_user(ALICE, bind_one, 0) == -EDQUOT);
	CHECK(all_gone());
	return true;
}

#define FILES 1024

/* So many of the files of make_files(). */
static int name_files(long how_many)
{
	struct rlimit lim = { FILES, FILES };
	struct mem_hint_file a = {};
	char path[32];
	int i, err;

	if (setrlimit(RLIMIT_NOFILE, &lim))
		return -errno;
	for (i = 0; i < how_many; i++) {
		snprintf(path, sizeof(path), "/mnt/f/%d", i);
		a.fd = open(path, O_RDONLY | O_CLOEXEC);
		err = call(FILE, &a);
		close(a.fd);
		if (err)
			return err;
	}
	return 0;
}

static bool make_files(void)
{
	char path[32];
	int i, fd;

	mkdir("/mnt/f", 0755);
	for (i = 0; i <= FILES; i++) {
		snprintf(path, sizeof(path), "/mnt/f/%d", i);
		fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return false;
		close(fd);
	}
	return true;
}

static bool test_files(void)
{
	unsigned int nr;
	int err = 0;

	CHECK(make_files());
	for (nr = 0; nr <= ALL_FILES / FILES && !err; nr += !err)
		err = as_user(ALICE, name_files, FILES);
	/* Whatever one has, others can still say something. */
	CHECK(as_user(BOB, name_files, 2) == 0);
	CHECK(err == -EDQUOT);
	CHECK(nr == SHARE(ALL_FILES) / FILES);
	CHECK(hints_u64("nr_files") == SHARE(ALL_FILES) + 2);
	CHECK(all_gone());
	/* Given back is given back. */
	CHECK(as_user(ALICE, name_files, FILES) == 0);
	CHECK(all_gone());
	return true;
}

/*
 * More than half of 16384 separate ranges take the room of all of them.  Where there
 * is none, what was said can be taken back and said anew, which takes no more of it.
 */
static int bind_many(long sets)
{
	unsigned int nr = 8200, i;
	char *p = map(2 * nr * PAGE), *last;
	int err = 0;

	for (i = 0; i < nr && !err && sets > 1; i++)
		err = do_class(MEM_HINT_CLASS_HOT, p + 2 * i * PAGE, PAGE);
	if (err)
		return err;
	for (i = 0; i < nr; i++) {
		err = bind_data(p + 2 * i * PAGE, PAGE, 0);
		if (err)
			break;
	}
	last = p + 2 * (i - 1) * PAGE;
	if (err && i && (bind_data(last, PAGE, PAGE) || do_unbind(last, PAGE)))
		return -EIO;
	return err;
}

static bool test_ranges(void)
{
	unsigned int nr, most = ALL_RANGES / 16384 / 2;
	int err = 0;

	/* So that the room does not end where a set has grown. */
	CHECK(as_user(ALICE, bind_one, 0) == 0);
	for (nr = 0; nr <= most && !err; nr += !err)
		err = as_user(ALICE, bind_many, 2);
	CHECK(as_user(BOB, bind_many, 1) == 0);
	CHECK(err == -EDQUOT);
	CHECK(nr == most / 4 - 1);
	CHECK(all_gone());
	return true;
}

static int be_reader(long how_many)
{
	int i;

	for (i = 0; i < how_many; i++) {
		struct mem_hint_events a = { .flags = MEM_HINT_EVENTS_READY };

		if (call(EVENTS, &a))
			return i ? i : -errno;
	}
	return i;
}

static bool test_readers(void)
{
	int share = SHARE(ALL_READERS);

	CHECK(as_user(ALICE, be_reader, 2 * ALL_READERS) == share);
	CHECK(as_user(ALICE, be_reader, 1) == -EDQUOT);
	CHECK(as_user(BOB, be_reader, 1) == 1);
	CHECK(all_gone());
	return true;
}

/* Users together leave the last quarter for who has CAP_SYS_RESOURCE. */
static bool test_reserve(void)
{
	int share = SHARE(ALL_READERS);

	CHECK(as_user(ALICE, be_reader, 2 * share) == share);
	CHECK(as_user(BOB, be_reader, 2 * share) == share);
	CHECK(as_user(CAROL, be_reader, 2 * share) == share);
	CHECK(as_user(DAVE, be_reader, 1) == -EBUSY);
	CHECK(as_user(0, be_reader, 2 * share) == share);
	CHECK(as_user(0, be_reader, 1) == -EBUSY);
	CHECK(all_gone());
	CHECK(as_user(DAVE, be_reader, 1) == 1);
	CHECK(all_gone());
	return true;
}

/* ---- user namespaces ------------------------------------------------------ */

/*
 * @owner makes a namespace, root maps @first and the uids after it into it; then
 * what be_reader() gets there, as its uid @inside.
 */
static int in_namespace(uid_t owner, uid_t first, uid_t inside, int how_many)
{
	int go[2], ready[2], result[2], ret, fd;
	char path[64], text[64], c;
	pid_t pid;

	if (nr_children == MAX_CHILDREN || pipe(go) || pipe(ready) || pipe(result))
		return -ENFILE;
	pid = fork();
	if (!pid) {
		if (!become(owner) || unshare(CLONE_NEWUSER) ||
		    write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 1 ||
		    setresuid(inside, inside, inside))
			ret = -EPERM;
		else
			ret = be_reader(how_many);
		close(ready[1]);
		if (write(result[1], &ret, sizeof(ret)) != sizeof(ret))
			_exit(1);
		for (;;)
			pause();
	}
	close(result[1]);
	close(ready[1]);
	children[nr_children++] = pid;
	if (read(ready[0], &c, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
		snprintf(text, sizeof(text), "0 %u 1000\n", first);
		fd = open(path, O_WRONLY);
		if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
			ksft_print_msg("no uid_map: errno %d\n", errno);
		close(fd);
	}
	if (write(go[1], "x", 1) != 1 ||
	    read(result[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -EPIPE;
	close(result[0]);
	close(ready[0]);
	close(go[0]);
	close(go[1]);
	return ret;
}

/* The uids that a user has in namespaces of its own are that user. */
static bool test_namespaces(void)
{
	int share = SHARE(ALL_READERS);

	CHECK(in_namespace(ALICE, 200000, 0, share - 1) == share - 1);
	CHECK(in_namespace(ALICE, 200000, 5, 2) == 1);
	CHECK(in_namespace(ALICE, 300000, 7, 1) == -EDQUOT);
	CHECK(as_user(ALICE, be_reader, 1) == -EDQUOT);
	CHECK(in_namespace(BOB, 200000, 5, 1) == 1);
	CHECK(all_gone());
	/* Those that root has made are each for itself, and have no privilege. */
	CHECK(in_namespace(0, 400000, 0, 2 * share) == share);
	CHECK(in_namespace(0, 400000, 6, 1) == -EDQUOT);
	CHECK(in_namespace(0, 500000, 6, 1) == 1);
	CHECK(all_gone());
	return true;
}

/* ---- files that are kept open --------------------------------------------- */

static int name_with_limit(long limit)
{
	struct rlimit lim = { limit, FILES };
	struct mem_hint_file a = {};
	char path[32];
	int i;

	for (i = 0; i <= limit; i++) {
		snprintf(path, sizeof(path), "/mnt/f/%d", i);
		a.fd = open(path, O_RDONLY | O_CLOEXEC);
		if (setrlimit(RLIMIT_NOFILE, &lim))
			return -errno;
		if (call(FILE, &a))
			break;
		/* The same one again is no other one. */
		if (call(FILE, &a))
			return -EINVAL;
		close(a.fd);
	}
	if (i != limit || errno != EMFILE)
		return i;
	lim.rlim_cur++;
	if (setrlimit(RLIMIT_NOFILE, &lim) || call(FILE, &a))
		return -errno;
	return 0;
}

static bool test_nofile(void)
{
	CHECK(as_user(ALICE, name_with_limit, 24) == 0);
	CHECK(all_gone());
	return true;
}

static int open_list(long arg)
{
	int fd = open(DEBUG "/mem_hints/files", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Lines that are this one, of all. */
static int listed(const char *line, int *nr)
{
	FILE *f = fopen(DEBUG "/mem_hints/files", "r");
	char buf[128];
	int found = 0;

	*nr = 0;
	if (!f)
		return -errno;
	for (; fgets(buf, sizeof(buf), f); ++*nr)
		found += !strcmp(buf, line);
	fclose(f);
	return found;
}

static bool test_list(void)
{
	char path[32], line[128];
	struct stat st;
	int i, nr;

	mount("debugfs", DEBUG, "debugfs", 0, NULL);
	CHECK(!chmod(DEBUG, 0755));
	CHECK(listed("", &nr) == 0 && nr == 0);
	CHECK(as_user(ALICE, name_files, FILES) == 0);
	CHECK(as_user(BOB, name_files, 3) == 0);
	CHECK(as_user(ALICE, open_list, 0) == -EACCES);
	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/mnt/f/%d", i);
		CHECK(!stat(path, &st));
		snprintf(line, sizeof(line), "%d %d %u:%u %lu\n", children[1], BOB,
			 major(st.st_dev), minor(st.st_dev), st.st_ino);
		CHECK(listed(line, &nr) == 1);
	}
	CHECK(nr == FILES + 3);
	CHECK(all_gone());
	CHECK(listed("", &nr) == 0 && nr == 0);
	return true;
}

/* ---- the time of a start -------------------------------------------------- */

static uint64_t of_snapshot(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "snapshot/%s", name);
	return hints_u64(path);
}

#define TIB (1UL << 40)

/* A TiB, or of some kinds more, where nothing is but a page here and there. */
static int name_nothing(long arg)
{
	char *p = map_at(NULL, TIB, PROT_NONE), *q = map(1UL << 30);
	struct mem_hint_pool pool = {
		.frame_shift = 12, .addr = (uintptr_t)p, .nr_frames = TIB / PAGE,
		.desc_uptr = (uintptr_t)map_at(NULL, TIB / 512, PROT_NONE),
	};
	unsigned int i;

	if (!p || !q || !pool.desc_uptr || madvise(q, 1UL << 30, MADV_NOHUGEPAGE))
		return -ENOMEM;
	for (i = 0; i < 512; i++)	/* a table of pages, and a page, for each 2 MiB */
		q[i * (2UL << 20)] = 1;
	return bind_data(p, TIB, 0) ?: bind_data(q, 1UL << 30, 0) ?:
	       do_class(MEM_HINT_CLASS_DISCARDABLE, p, TIB) ?:
	       call(POOL, &pool);
}

/* 64 pages that hold the beginning of DATA. */
static char *some_pages(void)
{
	char *p = locked_pages(64);

	return p && !bind_data(p, 64 * PAGE, 0) ? p : NULL;
}

static bool all_in(char *p, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!table_entry(frame_of(p + i * PAGE)))
			return false;
	return true;
}

static bool test_nothing(void)
{
	char *p;
	int i, fd;

	for (i = 0; i < 4; i++)
		CHECK(as_user(ALICE, name_nothing, i) == 0);
	p = some_pages();
	CHECK(p);
	fd = migration_start(1 << MEM_HINT_CLASS_DISCARDABLE);
	CHECK(fd >= 0);
	ksft_print_msg("4 times 3 TiB of nothing took %lu us\n", of_snapshot("us"));
	CHECK(!of_snapshot("cut"));
	CHECK(all_in(p, 64));
	/* All of it was looked at, and the pages that are there were found. */
	CHECK(of_snapshot("skipped_absent") ==
	      4 * (2 * TIB / PAGE + (1UL << 30) / PAGE - 512));
	CHECK(of_snapshot("skipped_desc") == 4 * TIB / PAGE);
	CHECK(of_snapshot("skipped_hole") + of_snapshot("frames") == 4 * 512 + 64);
	CHECK(migration_complete(fd));
	return true;
}

static int shared = -1;

/* The pages of one file in memory, over and over, each time DATA. */
static int name_much(long times)
{
	char *p = map_at(NULL, times * DATA_LEN, PROT_NONE);
	long i;
	int err = 0;

	if (!p)
		return -ENOMEM;
	for (i = 0; i < times && !err; i++) {
		char *at = p + i * DATA_LEN;

		if (mmap(at, DATA_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED |
			 MAP_POPULATE, shared, 0) != at)
			return -ENOMEM;
		err = bind_data(at, DATA_LEN, 0);
	}
	return err;
}

static int name_much_first(long times)
{
	int err = name_much(times);

	return err ?: bind_one(0);
}

/* How many times DATA is there time for, at so many milliseconds? */
static long times_for(unsigned int ms)
{
	const long times = 32;
	uint64_t us;
	int fd;

	if (as_user(0, name_much_first, times))
		return 0;
	fd = migration_start(0);
	us = of_snapshot("us");
	if (fd < 0 || !migration_complete(fd) || !all_gone() || of_snapshot("cut") || !us)
		return 0;
	ksft_print_msg("%lu pages took %lu us\n", times * DATA_LEN / PAGE, us);
	return times * ms * 1000 / us;
}

#define OTHERS	24

/*
 * A user whose processes have more to say than there is time for, and another one
 * who needs an eighth of it: half of it is there.  By processes it would be a 25th.
 * So a machine may be up to three times faster or slower than when that was found out.
 */
static bool test_turns(void)
{
	long mine;
	char *p;
	int fd, i;

	shared = memfd_create("shared", MFD_CLOEXEC);
	CHECK(shared >= 0 && !ftruncate(shared, DATA_LEN));
	mine = times_for(WALK_MS / 8);
	CHECK(mine > 8);
	for (i = 0; i < OTHERS; i++)
		CHECK(as_user(ALICE, name_much, mine) == 0);
	p = locked_pages(1);
	CHECK(p);
	/* Below it, so that it is looked at last. */
	CHECK(name_much(mine) == 0);
	CHECK(!bind_data(p, PAGE, 0));
	fd = migration_start(0);
	CHECK(fd >= 0);
	ksft_print_msg("%lu of %lu pages in %lu us\n", of_snapshot("frames"),
		       (OTHERS + 1) * mine * DATA_LEN / PAGE, of_snapshot("us"));
	CHECK(of_snapshot("cut") == 1);
	CHECK(all_in(p, 1));
	CHECK(migration_complete(fd));
	return true;
}

static bool in_child(bool (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		bool ok = fn();

		while (nr_children)
			kill(children[--nr_children], SIGKILL);
		_exit(!ok);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	return all_gone() && !status;
}

/* Each test is a process of its own, so it begins with nothing said. */
#define IN_CHILD(name) static bool name##_(void) { return in_child(name); }

IN_CHILD(test_processes)
IN_CHILD(test_files)
IN_CHILD(test_ranges)
IN_CHILD(test_readers)
IN_CHILD(test_reserve)
IN_CHILD(test_namespaces)
IN_CHILD(test_nofile)
IN_CHILD(test_list)
IN_CHILD(test_nothing)
IN_CHILD(test_turns)

static bool test_unload(void)
{
	close(hint_dev);
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "a user has a quarter of the processes", test_processes_ },
	{ "a user has a quarter of the files", test_files_ },
	{ "a user has a quarter of the ranges", test_ranges_ },
	{ "a user has a quarter of the readers that are waited for", test_readers_ },
	{ "the last quarter is for CAP_SYS_RESOURCE", test_reserve_ },
	{ "user namespaces count for who has made them", test_namespaces_ },
	{ "files are named up to RLIMIT_NOFILE", test_nofile_ },
	{ "root sees which files are kept open", test_list_ },
	{ "terabytes of nothing cost no time", test_nothing_ },
	{ "users have the same share of a start's time", test_turns_ },
	{ "nothing of it is left that would keep the module", test_unload },
};

int main(void)
{
	data = open(DATA, O_RDONLY | O_CLOEXEC);
	if (data < 0)
		ksft_exit_skip("no " DATA ": to be run by run.sh\n");
	if (!module_load("allow_local=1 ready_ms=200 walk_ms=4000"))
		hint_dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	if (hint_dev < 0)
		ksft_exit_fail_msg("no /dev/mem_hints\n");
	return run_tests(tests, sizeof(tests) / sizeof(tests[0]));
}
