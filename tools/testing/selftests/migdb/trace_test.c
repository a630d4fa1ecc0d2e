// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints, as tracefs shows them: each event, its label and its reason, and
 * as many of them as the statistics say.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include "spawn.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define TRACEFS	"/sys/kernel/tracing"
#define HERE	TRACEFS "/instances/migdb-test"

FIXTURE(trace) {
	struct rig r;
	char *text;
};

static int put(const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), HERE "/%s", file);
	return write_file(path, text);
}

FIXTURE_SETUP(trace)
{
	REQUIRE_DEVICE();
	if (access(TRACEFS "/instances", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	if (access(TRACEFS "/instances", F_OK))
		SKIP(return, "no tracefs");
	rmdir(HERE);
	ASSERT_EQ(0, mkdir(HERE, 0755));
	ASSERT_OK(put("buffer_size_kb", "4096"));
	ASSERT_OK(put("events/migdb/enable", "1"));
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(trace)
{
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	rmdir(HERE);
	free(self->text);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

static int look(FIXTURE_DATA(trace) *f)
{
	size_t room = 16 << 20, have = 0;
	ssize_t n;
	int fd;

	put("tracing_on", "0");
	fd = open(HERE "/trace", O_RDONLY);
	free(f->text);
	f->text = malloc(room);
	if (fd < 0 || !f->text)
		return -EIO;
	while ((n = read(fd, f->text + have, room - 1 - have)) > 0)
		have += n;
	f->text[have] = 0;
	close(fd);
	return n < 0 ? -EIO : 0;
}

/* How many lines of @event have all of @what, NULL-terminated, in them. */
#define COUNT(_event, ...) count(self->text, _event, (const char *[]){ __VA_ARGS__, NULL })

static u64 count(const char *text, const char *event, const char **what)
{
	char tag[64], line[512];
	const char *end;
	u64 n = 0;
	u32 i;

	snprintf(tag, sizeof(tag), " %s: ", event);
	for (; *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		if (*text == '#' || (size_t)(end - text) > sizeof(line) - 3)
			continue;
		/* a blank at the end: the last field ends like the others */
		snprintf(line, sizeof(line), "%.*s ", (int)(end - text), text);
		if (!strstr(line, tag))
			continue;
		for (i = 0; what[i] && strstr(line, what[i]); i++)
			;
		n += !what[i];
	}
	return n;
}

#define SRC	"label=rig-source "
#define DST	"label=rig-dest "

/* A session with something of everything: built, wrong, zero, written to, overtaken. */
TEST_F_TIMEOUT(trace, good_session, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats src, dst;
	u8 buf[MDB_PAGE];

	memset(r->src_ram + 100 * MDB_PAGE, 0, MDB_PAGE);
	rig_fill(buf, 1000000);
	ASSERT_OK(disk_write(r->disk, 200, buf));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_dirty(r, 300));
	ASSERT_OK(rig_dirty(r, 301));
	rig_deliver(r, PAGES - 1);
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_EQ(SET - 5, wait_built(&r->dst, SET - 5));
	/* a page is built a moment before its read is over, and is traced in between */
	while (mdb_sysfs_read("rig-dest/inflight_bytes") > 0)
		usleep(1000);
	FINISH();
	src = stats_of(&r->src);
	dst = stats_of(&r->dst);
	ASSERT_OK(look(self));

	EXPECT_EQ(4, COUNT("migdb_state", SRC, "role=source "));
	EXPECT_EQ(1, COUNT("migdb_state", SRC, "from=idle to=arming reason=none "));
	EXPECT_EQ(1, COUNT("migdb_state", SRC, "from=arming to=tracking reason=none "));
	EXPECT_EQ(1, COUNT("migdb_state", SRC, "from=tracking to=sealed reason=none "));
	EXPECT_EQ(1, COUNT("migdb_state", SRC, "from=sealed to=done reason=none "));
	EXPECT_EQ(3, COUNT("migdb_state", DST, "role=destination "));
	EXPECT_EQ(1, COUNT("migdb_state", DST, "from=idle to=filling reason=none "));
	EXPECT_EQ(1, COUNT("migdb_state", DST, "from=filling to=drained reason=none "));
	EXPECT_EQ(1, COUNT("migdb_state", DST, "from=drained to=done reason=none "));

	EXPECT_EQ(dst.out_reads, COUNT("migdb_fetch", DST));
	EXPECT_EQ(0, COUNT("migdb_fetch", DST, "ret=-"));
	EXPECT_EQ(1, COUNT("migdb_place", DST, "page=1023 result=sent "));
	EXPECT_LE(dst.out_built, COUNT("migdb_place", DST, "result=built "));
	EXPECT_GE(dst.out_built + dst.out_revoked, COUNT("migdb_place", DST, "result=built "));
	EXPECT_EQ(0, COUNT("migdb_place", DST, "result=returned "));

	EXPECT_EQ(dst.out_returned + dst.out_revoked, COUNT("migdb_return", DST));
	EXPECT_EQ(1, COUNT("migdb_return", DST, "role=destination page=200 reason=mismatch "));
	EXPECT_EQ(1, COUNT("migdb_return", DST, "page=300 reason=dirty "));
	EXPECT_EQ(src.out_returned + src.out_revoked + src.out_dropped,
		  COUNT("migdb_return", SRC, "role=source "));
	EXPECT_EQ(1, COUNT("migdb_return", SRC, "page=100 reason=zero "));
	EXPECT_EQ(1, COUNT("migdb_return", SRC, "page=200 reason=mismatch "));
	EXPECT_EQ(1, COUNT("migdb_return", SRC, "page=301 reason=dirty "));
	EXPECT_EQ(1, COUNT("migdb_return", SRC, "page=1023 reason=late "));
}

/* Storage and memory that fail, and a session that is given up for that. */
TEST_F_TIMEOUT(trace, failures, 60)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	/* the second half of the disk is gone, and so is a page of memory */
	ASSERT_EQ(0, ftruncate(r->disk, PAGES / 2 * MDB_PAGE));
	ASSERT_EQ(0, mprotect(r->dst_ram + 128 * MDB_PAGE, MDB_PAGE, PROT_READ));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(0, mprotect(r->dst_ram + 128 * MDB_PAGE, MDB_PAGE, PROT_READ | PROT_WRITE));
	ASSERT_OK(mdb_abort(&r->src, MIGDB_REASON_IO_ERROR));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(look(self));
	EXPECT_EQ(1, COUNT("migdb_state", SRC, "from=tracking to=aborted reason=io_error "));
	EXPECT_EQ(1, COUNT("migdb_state", DST, "from=filling to=aborted reason=io_error "));
	EXPECT_EQ(1, COUNT("migdb_place", DST, "page=128 result=returned "));
	EXPECT_EQ(1, COUNT("migdb_return", DST, "page=128 reason=fault "));
	EXPECT_EQ(stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR],
		  COUNT("migdb_return", DST, "reason=io_error "));
	EXPECT_EQ(1, COUNT("migdb_return", SRC, "page=1000 reason=io_error "));
}

/* Pages that the link takes off storage: how many, and why none. */
TEST_F_TIMEOUT(trace, take, 60)
{
	struct rig *r = &self->r;
	struct migdb_take t;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(mdb_take(&r->src, 100, &t));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_take(&r->src, 100, &t));
	ASSERT_EQ(100, t.out_taken);
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(mdb_take(&r->src, 100, &t));
	ASSERT_OK(look(self));
	EXPECT_EQ(3, COUNT("migdb_take", SRC));
	EXPECT_EQ(1, COUNT("migdb_take", SRC, "taken=0 left=960 build=0 send=0 result=no_peer"));
	EXPECT_EQ(1, COUNT("migdb_take", SRC, "taken=100 left=", "result=taken"));
	EXPECT_EQ(1, COUNT("migdb_take", SRC, "taken=0 left=0 ", "result=met"));
	EXPECT_EQ(100, COUNT("migdb_return", SRC, "reason=taken "));
	EXPECT_EQ(100, COUNT("migdb_return", DST, "reason=taken "));
}

/* A move of the reference VMM with its ring: harvests, all that the session counted. */
TEST_F_TIMEOUT(trace, harvest, 120)
{
	struct refvmm v = {};
	const char *at;
	u64 sum = 0;

	if (!vm_supported(4096))
		SKIP(return, "no /dev/kvm with dirty rings");
	ASSERT_EQ(0, refvmm_run(&v, "trace", "--pair --make-disk --ring --mem 32"))
		TH_LOG("%s", refvmm_said(&v));
	ASSERT_OK(look(self));
	refvmm_clean(&v);
	EXPECT_LT(0, COUNT("migdb_harvest", "ret=0 "));
	for (at = self->text; (at = strstr(at, " harvested=")); at++)
		sum += strtoull(at + strlen(" harvested="), NULL, 10);
	EXPECT_LT(0, sum);
	EXPECT_EQ(refvmm_number(&v, "harvested", 0), (s64)sum);
}

TEST_HARNESS_MAIN
