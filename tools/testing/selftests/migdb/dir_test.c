// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/migdb/<label>: what a session shows while it is there, and what the
 * operator may do to it alone.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define MIB	(1ULL << 20)
#define DIR_	"/sys/kernel/migdb/"

FIXTURE(dir) {
	struct rig r, other;
};

FIXTURE_SETUP(dir)
{
	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(dir)
{
	if (self->other.nr_pages)
		rig_exit(&self->other);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

/* The text of a file without its newline; a text that no file has: it cannot be read. */
static const char *text_of(const char *label, const char *name)
{
	static char text[4096];
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), DIR_ "%s/%s", label, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return strerror(errno);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return strerror(errno);
	text[n > 0 && text[n - 1] == '\n' ? n - 1 : n] = 0;
	return text;
}

static s64 number_of(const char *label, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", label, name);
	return mdb_sysfs_read(path);
}

static int set(const char *label, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), DIR_ "%s/%s", label, name);
	return write_file(path, text);
}

static bool there(const char *label)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), DIR_ "%s", label);
	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

TEST_F(dir, is_there_while_a_session_is)
{
	struct mdb idle;

	ASSERT_OK(rig_source_idle(&self->r, &idle));
	EXPECT_FALSE(there("rig-source"));
	mdb_close(&idle);
	ASSERT_OK(rig_source(&self->r));
	EXPECT_TRUE(there("rig-source"));
	EXPECT_STREQ("source", text_of("rig-source", "role"));
	EXPECT_STREQ("arming", text_of("rig-source", "state"));
	EXPECT_STREQ("none", text_of("rig-source", "reason"));
	EXPECT_EQ(getpid(), number_of("rig-source", "pid"));
	EXPECT_EQ(0, number_of("rig-source", "uid"));
	EXPECT_FALSE(there("rig-dest"));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	EXPECT_STREQ("destination", text_of("rig-dest", "role"));
	EXPECT_STREQ("filling", text_of("rig-dest", "state"));
	/* what one side has not done it does not show */
	EXPECT_FALSE(access(DIR_ "rig-source/queued_pages", F_OK));
	EXPECT_TRUE(access(DIR_ "rig-dest/queued_pages", F_OK));
	EXPECT_TRUE(access(DIR_ "rig-source/inflight_bytes", F_OK));
	mdb_close(&self->r.src);
	EXPECT_FALSE(there("rig-source"));
	EXPECT_TRUE(there("rig-dest"));
	mdb_close(&self->r.dst);
	EXPECT_FALSE(there("rig-dest"));
}

TEST_F(dir, says_what_the_statistics_say)
{
	struct migdb_stats src, dst;
	char name[64];
	u64 sum = 0;
	int i;

	ASSERT_OK(rig_source(&self->r));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	ASSERT_OK(rig_snapshot(&self->r));
	ASSERT_OK(rig_dirty(&self->r, RIG_FIRST));
	EXPECT_STREQ("tracking", text_of("rig-source", "state"));
	ASSERT_OK(rig_hash(&self->r, NULL));
	ASSERT_OK(rig_settle(&self->r, 20000));
	ASSERT_OK(rig_dirty(&self->r, RIG_FIRST + 1));
	/* a page is built a moment before its read is over, and has a rate */
	while (number_of("rig-dest", "inflight_bytes") ||
	       number_of("rig-dest", "fetch_bytes_per_s") <= 0)
		usleep(1000);
	src = stats_of(&self->r.src);
	dst = stats_of(&self->r.dst);
	EXPECT_EQ(SET, src.out_candidates);
	EXPECT_EQ(src.out_candidates, number_of("rig-source", "candidate_pages"));
	EXPECT_EQ(src.out_recorded, number_of("rig-source", "recorded_pages"));
	EXPECT_EQ(src.out_built, number_of("rig-source", "built_pages"));
	EXPECT_EQ(src.out_revoked, number_of("rig-source", "revoked_pages"));
	EXPECT_EQ(src.out_dropped, number_of("rig-source", "dropped_pages"));
	EXPECT_EQ(src.out_returned, number_of("rig-source", "returned_pages"));
	EXPECT_EQ(src.out_unconfirmed, number_of("rig-source", "unconfirmed_pages"));
	EXPECT_EQ(src.out_queued, number_of("rig-source", "queued_pages"));
	EXPECT_EQ(1, number_of("rig-source", "dropped_pages"));
	EXPECT_EQ(1, number_of("rig-source", "revoked_pages"));
	EXPECT_LT(0, number_of("rig-source", "stream_tx_bytes"));
	EXPECT_LT(0, number_of("rig-source", "record_bytes_per_s"));
	for (i = 1; i < MIGDB_NR_REASONS; i++) {
		snprintf(name, sizeof(name), "by_reason/%s", mdb_reason_name(i));
		EXPECT_EQ(src.out_by_reason[i], number_of("rig-source", name)) TH_LOG("%s", name);
		sum += src.out_by_reason[i];
	}
	EXPECT_LT(0, sum);
	EXPECT_EQ(SET - 1, dst.out_recorded);
	EXPECT_EQ(dst.out_recorded, number_of("rig-dest", "recorded_pages"));
	EXPECT_EQ(dst.out_built, number_of("rig-dest", "built_pages"));
	EXPECT_EQ(dst.out_read_bytes, number_of("rig-dest", "read_bytes"));
	EXPECT_EQ(0, number_of("rig-dest", "pending_pages"));
	EXPECT_EQ(0, number_of("rig-dest", "inflight_bytes"));
	EXPECT_LT(0, number_of("rig-dest", "fetch_bytes_per_s"));
	EXPECT_LT(0, number_of("rig-dest", "stream_rx_bytes"));
	EXPECT_LE(0, number_of("rig-dest", "age_ms"));
	FINISH();
	EXPECT_STREQ("done", text_of("rig-dest", "state"));
	/* too late to change what has been */
	ASSERT_OK(set("rig-dest", "enabled", "0"));
	EXPECT_STREQ("none", text_of("rig-dest", "reason"));
}

/* Up to START, with this label. */
static int start_as(struct rig *r, struct mdb *m, const char *label)
{
	int rc = rig_source_idle(r, m);

	return rc ? rc : mdb_start(m, MIGDB_ROLE_SOURCE, r->uuid, label);
}

TEST_F(dir, labels_are_the_vmms_choice)
{
	static const char * const labels[] = {
		"enabled", "max_sessions", ".", "..", "same", "same", "same", "%s%n", "same.2",
		"-rf", "$(x);*", ".hidden",
	};
	static const char * const dirs[] = {
		"enabled.2", "max_sessions.2", "_", "_.", "same", "same.2", "same.3", "_s_n",
		"same.2.2", "_rf", "__x___", "_hidden",
	};
	struct mdb m[sizeof(labels) / sizeof(*labels)];
	unsigned int i, n = 0;
	struct dirent *e;
	DIR *d;

	for (i = 0; i < sizeof(labels) / sizeof(*labels); i++)
		ASSERT_OK(start_as(&self->r, &m[i], labels[i]));
	for (i = 0; i < sizeof(labels) / sizeof(*labels); i++)
		EXPECT_STREQ("source", text_of(dirs[i], "role"));
	EXPECT_EQ(1, mdb_sysfs_read("enabled"));
	mdb_close(&m[4]);
	EXPECT_FALSE(there("same"));
	EXPECT_TRUE(there("same.2"));
	ASSERT_OK(start_as(&self->r, &m[4], "same"));
	EXPECT_TRUE(there("same"));
	for (i = 0; i < sizeof(labels) / sizeof(*labels); i++)
		mdb_close(&m[i]);
	d = opendir(DIR_);
	ASSERT_NE(NULL, d);
	while ((e = readdir(d)))
		n += e->d_type == DT_DIR;
	closedir(d);
	EXPECT_EQ(2, n);	/* . and .. */
}

TEST_F(dir, is_for_root_only)
{
	int status;
	pid_t pid;

	ASSERT_OK(rig_source(&self->r));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(open(DIR_ "rig-source/built_pages", O_RDONLY) >= 0 || errno != EACCES ||
		      open(DIR_ "rig-source/enabled", O_WRONLY) >= 0 || errno != EACCES);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(dir, bad_values_change_nothing)
{
	static const char * const bad[] = { "", "x", "-1", "1 2", "18446744073709551616" };
	unsigned int i;

	ASSERT_OK(rig_source(&self->r));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	EXPECT_EQ(0, number_of("rig-dest", "fetch_max_bytes_per_s"));
	EXPECT_EQ(0, number_of("rig-dest", "max_inflight_bytes"));
	ASSERT_OK(set("rig-dest", "fetch_max_bytes_per_s", "123456\n"));
	ASSERT_OK(set("rig-dest", "max_inflight_bytes", "1048576"));
	for (i = 1; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_GT(0, set("rig-dest", "fetch_max_bytes_per_s", bad[i])) TH_LOG("%s", bad[i]);
		EXPECT_GT(0, set("rig-dest", "max_inflight_bytes", bad[i])) TH_LOG("%s", bad[i]);
	}
	EXPECT_EQ(-EINVAL, set("rig-dest", "enabled", "maybe"));
	EXPECT_EQ(123456, number_of("rig-dest", "fetch_max_bytes_per_s"));
	EXPECT_EQ(1048576, number_of("rig-dest", "max_inflight_bytes"));
	EXPECT_EQ(1, number_of("rig-dest", "enabled"));
	EXPECT_EQ(-EACCES, set("rig-dest", "built_pages", "1"));
}

TEST_F_TIMEOUT(dir, one_session_is_switched_off, 60)
{
	u64 bad;

	ASSERT_OK(rig_start(&self->r, PAGES));
	ASSERT_OK(rig_start(&self->other, PAGES));
	/* the label was taken: those of the second pair have a number */
	ASSERT_OK(set("rig-source", "enabled", "0\n"));
	EXPECT_STREQ("disabled", text_of("rig-source", "reason"));
	EXPECT_EQ(0, number_of("rig-source", "enabled"));
	EXPECT_STREQ("none", text_of("rig-source.2", "reason"));
	EXPECT_EQ(1, number_of("rig-source.2", "enabled"));
	EXPECT_EQ(1, mdb_sysfs_read("enabled"));
	EXPECT_EQ(-EINVAL, set("rig-source", "enabled", "1"));
	ASSERT_OK(set("rig-source", "enabled", "0"));
	EXPECT_EQ(0, stats_of(&self->r.src).out_unconfirmed);
	ASSERT_OK(rig_settle(&self->other, 20000));
	EXPECT_EQ(SET, stats_of(&self->other.dst).out_built);
	ASSERT_OK(rig_finish(&self->other, &bad));
	FINISH();
}

TEST_F_TIMEOUT(dir, one_session_is_slowed_down, 60)
{
	u64 start, ms, read, rate = MIB, bad;

	ASSERT_OK(rig_source(&self->r));
	ASSERT_OK(rig_dest(&self->r, self->r.disk));
	ASSERT_OK(set("rig-dest", "fetch_max_bytes_per_s", "1048576"));
	start = clock_ms();
	ASSERT_OK(rig_snapshot(&self->r));
	ASSERT_OK(rig_hash(&self->r, NULL));
	ASSERT_OK(rig_start(&self->other, PAGES));
	ASSERT_OK(rig_settle(&self->other, 20000));
	EXPECT_EQ(SET, stats_of(&self->other.dst).out_built);
	read = stats_of(&self->r.dst).out_read_bytes;
	ms = clock_ms() - start;
	/* what was saved up, and what the time allows */
	EXPECT_GE(MIB + rate * (ms + 1) / 1000, read);
	if (ms < 2000)
		EXPECT_GT(SET, stats_of(&self->r.dst).out_built);
	TH_LOG("%llu KiB after %llu ms, when the other one had read all %llu KiB",
	       (unsigned long long)read >> 10, (unsigned long long)ms,
	       (unsigned long long)stats_of(&self->other.dst).out_read_bytes >> 10);
	/* and it takes effect at once */
	ASSERT_OK(set("rig-dest", "fetch_max_bytes_per_s", "0"));
	start = clock_ms();
	ASSERT_OK(rig_settle(&self->r, 20000));
	EXPECT_EQ(SET, stats_of(&self->r.dst).out_built);
	ASSERT_OK(rig_finish(&self->other, &bad));
	FINISH();
}

/* Reads what is there, whatever it is, and switches it off now and then. */
static void *look(void *arg)
{
	static const char * const names[] = {
		"state", "queued_pages", "unconfirmed_pages", "pending_pages", "by_reason/dirty",
		"fetch_bytes_per_s",
	};
	unsigned int *stop = arg, i = 0;
	s64 seen = 0;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		char path[128], text[64];
		int fd;

		i++;
		snprintf(path, sizeof(path), DIR_ "rig-%s/%s", i & 1 ? "source" : "dest",
			 names[i / 2 % (sizeof(names) / sizeof(*names))]);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		seen += read(fd, text, sizeof(text)) > 0;
		close(fd);
		if (i % 64 == 0)
			set("rig-source", "enabled", "0");
	}
	return (void *)seen;
}

TEST_F_TIMEOUT(dir, goes_while_it_is_read, 120)
{
	unsigned int stop = 0;
	pthread_t reader;
	void *seen;
	int i;

	ASSERT_EQ(0, pthread_create(&reader, NULL, look, &stop));
	for (i = 0; i < 60; i++) {
		ASSERT_OK(rig_source(&self->r));
		ASSERT_OK(rig_dest(&self->r, self->r.disk));
		rig_snapshot(&self->r);
		usleep(i % 4 * 500);
		mdb_close(i & 1 ? &self->r.src : &self->r.dst);
		mdb_close(i & 1 ? &self->r.dst : &self->r.src);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(reader, &seen));
	TH_LOG("%lld values read", (long long)(s64)seen);
	EXPECT_LT(0, (s64)seen);
	EXPECT_EQ(0, mdb_sysfs_read("nr_sessions"));
	EXPECT_FALSE(there("rig-source"));
}

TEST_HARNESS_MAIN
