// SPDX-License-Identifier: GPL-2.0
/*
 * The record of a session in the kernel's log: one for each, whole, with each field
 * of Documentation/admin-guide/migdb/start.rst, and numbers that add up.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include "memcg.h"
#include "record.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define NR_RECORDS	256

FIXTURE(record) {
	struct rig r;
	int kmsg;
	struct record rec[NR_RECORDS];
	int nr;
	bool lost, bad;
};

FIXTURE_SETUP(record)
{
	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("max_sessions", 16);
	self->kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, self->kmsg);
	ASSERT_LE(0, lseek(self->kmsg, 0, SEEK_END));
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(record)
{
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("max_sessions", 16);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	if (self->r.nr_pages)
		rig_exit(&self->r);
	if (self->kmsg > 0)
		close(self->kmsg);
}

/* What the log has had since the last call: records to @rec. */
static void look(FIXTURE_DATA(record) *f)
{
	char line[8192], *at, *end;
	ssize_t n;

	for (;;) {
		n = read(f->kmsg, line, sizeof(line) - 1);
		if (n < 0) {
			if (errno != EPIPE)
				return;
			f->lost = true;		/* we were too slow */
			continue;
		}
		line[n] = 0;
		at = strstr(line, ";migdb-json: ");
		end = at ? strchr(at, '\n') : NULL;
		if (!end)
			continue;
		*end = 0;
		at += strlen(";migdb-json: ");
		if (f->nr == NR_RECORDS || !parse(at, &f->rec[f->nr])) {
			fprintf(stderr, "# record: %s\n", at);
			f->bad = true;
			continue;
		}
		f->nr++;
	}
}

/* The one record of that label; NULL if there is none, or more than one. */
static struct record *the_record(FIXTURE_DATA(record) *f, const char *label)
{
	struct record *found = NULL;
	int i;

	for (i = 0; i < f->nr; i++) {
		if (strcmp(str(&f->rec[i], "label"), label))
			continue;
		if (found)
			return NULL;
		found = &f->rec[i];
	}
	return found;
}

#define CHECK_RECORD(_rec, _outcome, _reason)					\
	do {									\
		ASSERT_NE(NULL, _rec);						\
		ASSERT_EQ(NULL, wrong(_rec)) TH_LOG("%s does not add up", wrong(_rec)); \
		ASSERT_STREQ(_outcome, str(_rec, "outcome"));			\
		ASSERT_STREQ(_reason, str(_rec, "reason"));			\
	} while (0)

#define LOOK(_nr)								\
	do {									\
		look(self);							\
		ASSERT_FALSE(self->lost);					\
		ASSERT_FALSE(self->bad);					\
		ASSERT_EQ(_nr, self->nr);					\
	} while (0)

/* One of each: written to, zero, a wrong block, overtaken by the stream. */
TEST_F_TIMEOUT(record, good_session, 60)
{
	enum { DIRTY = 10, ZERO = 3, WRONG = 5, EARLY = 1,
	       BUILT = SET - DIRTY - ZERO - WRONG - EARLY };
	struct rig *r = &self->r;
	struct migdb_stats src, dst;
	struct record *rec;
	u8 buf[MDB_PAGE];
	u64 i;

	for (i = 0; i < ZERO; i++)
		memset(r->src_ram + (100 + i) * MDB_PAGE, 0, MDB_PAGE);
	for (i = 0; i < WRONG; i++) {
		rig_fill(buf, 1000000 + i);
		ASSERT_OK(disk_write(r->disk, 200 + i, buf));
	}
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	for (i = 0; i < DIRTY; i++)
		ASSERT_OK(rig_dirty(r, 300 + i));
	rig_deliver(r, PAGES - 1);
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ASSERT_EQ(BUILT, wait_built(&r->dst, BUILT));
	FINISH();
	src = stats_of(&r->src);
	dst = stats_of(&r->dst);
	LOOK(0);
	mdb_close(&r->src);
	mdb_close(&r->dst);
	LOOK(2);

	rec = the_record(self, "rig-source");
	CHECK_RECORD(rec, "done", "none");
	EXPECT_STREQ("source", str(rec, "role"));
	EXPECT_EQ(SET, num(rec, "candidates"));
	EXPECT_EQ(SET - ZERO, num(rec, "recorded"));
	EXPECT_EQ(BUILT, num(rec, "built"));
	EXPECT_EQ(DIRTY, num(rec, "revoked"));
	EXPECT_EQ(WRONG + EARLY, num(rec, "returned"));
	EXPECT_EQ(WRONG + EARLY + ZERO, num(rec, "sent"));
	EXPECT_EQ(ZERO, num(rec, "dropped"));
	EXPECT_EQ(0, num(rec, "pending"));
	EXPECT_EQ(0, num(rec, "left"));
	EXPECT_EQ(DIRTY, rec->by_reason[MIGDB_REASON_DIRTY]);
	EXPECT_EQ(ZERO, rec->by_reason[MIGDB_REASON_ZERO]);
	EXPECT_EQ(WRONG, rec->by_reason[MIGDB_REASON_MISMATCH]);
	EXPECT_EQ(EARLY, rec->by_reason[MIGDB_REASON_LATE]);
	EXPECT_EQ(src.out_memory_bytes, num(rec, "memory_bytes"));
	EXPECT_EQ((SET - ZERO) * MDB_PAGE * 1000000 / (src.out_hash_ns / 1000),
		  num(rec, "hash_bytes_per_s"));
	EXPECT_LT(0, num(rec, "record_bytes_per_s"));
	EXPECT_EQ(0, num(rec, "fetch_bytes_per_s"));
	EXPECT_LT((SET - ZERO) * 8, num(rec, "tx_bytes"));
	EXPECT_EQ(0, num(rec, "reads") + num(rec, "read_bytes") + num(rec, "harvested"));

	rec = the_record(self, "rig-dest");
	CHECK_RECORD(rec, "done", "none");
	EXPECT_STREQ("destination", str(rec, "role"));
	EXPECT_EQ(SET - ZERO, num(rec, "recorded"));
	EXPECT_EQ(BUILT, num(rec, "built"));
	EXPECT_EQ(DIRTY, num(rec, "revoked"));
	EXPECT_EQ(WRONG, num(rec, "returned"));
	EXPECT_EQ(EARLY, num(rec, "sent"));
	EXPECT_EQ(0, num(rec, "pending"));
	EXPECT_EQ(WRONG, rec->by_reason[MIGDB_REASON_MISMATCH]);
	EXPECT_EQ(dst.out_reads, num(rec, "reads"));
	EXPECT_EQ(dst.out_read_bytes, num(rec, "read_bytes"));
	EXPECT_LE(BUILT * MDB_PAGE, num(rec, "read_bytes"));
	/*
	 * Verified: also what was taken back later, or overtaken meanwhile.  The time of the
	 * last turn is counted a moment after its pages are there: no lower bound.
	 */
	EXPECT_LT(0, num(rec, "hash_bytes_per_s"));
	EXPECT_GE((BUILT + WRONG + EARLY + DIRTY) * MDB_PAGE * 1000000 /
		  (dst.out_hash_ns / 1000), num(rec, "hash_bytes_per_s"));
	EXPECT_LT(0, num(rec, "record_bytes_per_s"));
	EXPECT_LT(0, num(rec, "fetch_bytes_per_s"));
	EXPECT_EQ(num(the_record(self, "rig-source"), "tx_bytes"), num(rec, "rx_bytes"));
	EXPECT_EQ(num(the_record(self, "rig-source"), "rx_bytes"), num(rec, "tx_bytes"));
}

/* In mid-way: some pages built, some recorded, some not looked at. */
TEST_F_TIMEOUT(record, aborted_session, 60)
{
	struct rig *r = &self->r;
	struct record *rec;
	u64 hashed, left;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(mdb_hash(&r->src, SET / 3, &hashed, &left));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(mdb_hash(&r->src, SET / 3, &hashed, &left));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(rig_dirty(r, RIG_FIRST + SET / 2));
	ASSERT_OK(mdb_abort(&r->src, MIGDB_REASON_IO_ERROR));
	LOOK(1);
	rec = the_record(self, "rig-source");
	CHECK_RECORD(rec, "aborted", "io_error");
	EXPECT_EQ(0, num(rec, "peer_reason"));
	EXPECT_EQ(SET, num(rec, "candidates"));
	EXPECT_LT(0, num(rec, "built"));
	EXPECT_LT(0, num(rec, "pending"));
	EXPECT_LT(0, num(rec, "left"));
	EXPECT_EQ(1, num(rec, "revoked"));
	/* the other side hears of it, and why; what it has not built goes back */
	ASSERT_OK(rig_pump(r));
	LOOK(2);
	rec = the_record(self, "rig-dest");
	CHECK_RECORD(rec, "aborted", "io_error");
	EXPECT_EQ(1, num(rec, "peer_reason"));
	EXPECT_EQ(MIGDB_REASON_IO_ERROR, stats_of(&r->dst).out_reason);
	EXPECT_EQ(1, mdb_sysfs_read("rig-dest/peer_reason"));
	EXPECT_EQ(0, mdb_sysfs_read("rig-source/peer_reason"));
	EXPECT_EQ(0, num(rec, "pending"));
	EXPECT_LT(0, num(rec, "returned"));
	/* said once */
	ASSERT_OK(mdb_abort(&r->src, 0));
	mdb_close(&r->src);
	mdb_close(&r->dst);
	LOOK(2);
}

/* The destination gives up, and the source says why. */
TEST_F_TIMEOUT(record, aborted_by_the_destination, 60)
{
	struct rig *r = &self->r;
	struct record *rec;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_abort(&r->dst, MIGDB_REASON_NO_MEMORY));
	ASSERT_OK(rig_pump(r));
	LOOK(2);
	rec = the_record(self, "rig-dest");
	CHECK_RECORD(rec, "aborted", "no_memory");
	EXPECT_EQ(0, num(rec, "peer_reason"));
	rec = the_record(self, "rig-source");
	CHECK_RECORD(rec, "aborted", "no_memory");
	EXPECT_EQ(1, num(rec, "peer_reason"));
}

/* The VMM makes an ordinary migration, because START says no. */
TEST_F(record, ordinary_from_the_start)
{
	struct rig *r = &self->r;
	struct record *rec;

	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	ASSERT_EQ(-ENODEV, rig_source(r));
	LOOK(1);
	rec = the_record(self, "rig-source");
	CHECK_RECORD(rec, "refused", "disabled");
	EXPECT_STREQ("source", str(rec, "role"));
	EXPECT_EQ(0, num(rec, "candidates") + num(rec, "recorded") + num(rec, "memory_bytes"));
	/* it can try for ever, that is one session nevertheless */
	ASSERT_EQ(-ENODEV, mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "rig-source"));
	mdb_close(&r->src);
	LOOK(1);

	ASSERT_OK(mdb_sysfs_write("enabled", 1));
	ASSERT_OK(mdb_sysfs_write("max_sessions", 0));
	ASSERT_EQ(-EUSERS, rig_dest(r, r->disk));
	LOOK(2);
	rec = the_record(self, "rig-dest");
	CHECK_RECORD(rec, "refused", "max_sessions");
	EXPECT_STREQ("destination", str(rec, "role"));
	/* later it is let in: that is another one */
	ASSERT_OK(mdb_sysfs_write("max_sessions", 16));
	ASSERT_OK(mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "later"));
	mdb_close(&r->dst);
	LOOK(3);
	CHECK_RECORD(the_record(self, "later"), "closed", "none");

	/* what is wrong with the VMM is told the VMM */
	ASSERT_OK(rig_source_idle(r, &r->src));
	ASSERT_EQ(-EOPNOTSUPP, mdb_start(&r->src, 77, r->uuid, "x"));
	mdb_close(&r->src);
	LOOK(3);
}

/* No memory for a session: 256 GiB of guest, 16 MiB of cgroup. */
TEST_F(record, ordinary_for_lack_of_memory)
{
	u64 bytes = 256ULL << 30;
	struct memcg cg;
	struct mdb m;
	void *ram;
	int rc;

	rc = memcg_create(&cg, "16777216");
	if (rc == -ENODEV)
		SKIP(return, "no memory controller here");
	ASSERT_OK(rc);
	ram = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, ram);
	ASSERT_OK(mdb_open(&m));
	ASSERT_OK(mdb_set_owner(&m));
	ASSERT_OK(mdb_set_memory(&m, 0, bytes, ram));
	ASSERT_EQ(1, write(cg.in, "0", 1));
	rc = mdb_start(&m, MIGDB_ROLE_DEST, self->r.uuid, "big");
	ASSERT_OK(memcg_leave(&cg));
	memcg_remove(&cg);
	ASSERT_EQ(-ENOMEM, rc);
	mdb_close(&m);
	LOOK(1);
	CHECK_RECORD(the_record(self, "big"), "refused", "no_memory");
}

TEST_F_TIMEOUT(record, ordinary_from_the_middle, 60)
{
	struct rig *r = &self->r;
	struct record *rec;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	ASSERT_OK(rig_pump(r));
	FINISH();
	mdb_close(&r->src);
	mdb_close(&r->dst);
	LOOK(2);
	rec = the_record(self, "rig-source");
	CHECK_RECORD(rec, "done", "disabled");
	EXPECT_LT(0, rec->by_reason[MIGDB_REASON_DISABLED]);
	EXPECT_EQ(SET, rec->by_reason[MIGDB_REASON_DISABLED] + num(rec, "built"));
	EXPECT_EQ(rec->by_reason[MIGDB_REASON_DISABLED], num(rec, "sent"));
	rec = the_record(self, "rig-dest");
	CHECK_RECORD(rec, "done", "disabled");
}

/* Killed: the kernel is the only one that can still say something. */
TEST_F_TIMEOUT(record, killed_vmm, 60)
{
	struct rig *r = &self->r;
	struct record *rec;
	int ready[2], status, i;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (rig_source(r) || rig_dest(r, r->disk) || rig_snapshot(r) || rig_hash(r, NULL))
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(2);
		pause();
		_exit(3);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSIGNALED(status));
	for (i = 0; self->nr < 2 && i < 200; i++) {
		look(self);
		usleep(20000);
	}
	LOOK(2);
	CHECK_RECORD(the_record(self, "rig-source"), "closed", "none");
	CHECK_RECORD(the_record(self, "rig-dest"), "closed", "none");
	rec = the_record(self, "rig-source");
	EXPECT_LT(0, num(rec, "pending"));
	/* the first reads may have been confirmed */
	EXPECT_EQ(SET, num(rec, "built") + num(rec, "pending"));
	EXPECT_LT(0, num(the_record(self, "rig-dest"), "pending"));
}

static int session_of(struct rig *r, const char *label)
{
	struct mdb m;
	int rc = rig_source_idle(r, &m);

	if (!rc)
		rc = mdb_start(&m, MIGDB_ROLE_SOURCE, r->uuid, label);
	mdb_close(&m);
	return rc;
}

/* printk's own limit would take ten of them, and be silent of the others. */
TEST_F_TIMEOUT(record, two_hundred_in_a_row, 200)
{
	enum { MANY = 200 };
	char label[16];
	int i;

	for (i = 0; i < MANY; i++) {
		snprintf(label, sizeof(label), "row-%d", i);
		ASSERT_OK(session_of(&self->r, label));
		look(self);
	}
	LOOK(MANY);
	for (i = 0; i < MANY; i++) {
		snprintf(label, sizeof(label), "row-%d", i);
		CHECK_RECORD(the_record(self, label), "closed", "none");
	}
}

struct crowd {
	FIXTURE_DATA(record) *f;
	pthread_barrier_t *barrier;
	int nr, rc;
};

enum { CROWD = 8, EACH = 12 };

static void *crowd_run(void *arg)
{
	struct crowd *c = arg;
	char label[16];
	struct mdb m;
	int i, rc;

	for (i = 0; i < EACH; i++) {
		snprintf(label, sizeof(label), "c-%d-%d", c->nr, i);
		rc = rig_source_idle(&c->f->r, &m);
		if (!rc)
			rc = mdb_start(&m, MIGDB_ROLE_SOURCE, c->f->r.uuid, label);
		c->rc |= rc;
		pthread_barrier_wait(c->barrier);
		mdb_close(&m);		/* all at once */
	}
	return NULL;
}

/* Ending together, not even the one that must wait for the other's line is lost. */
TEST_F_TIMEOUT(record, many_at_once, 120)
{
	struct crowd crowd[CROWD];
	pthread_barrier_t barrier;
	pthread_t thread[CROWD];
	char label[16];
	int i, k;

	pthread_barrier_init(&barrier, NULL, CROWD);
	for (i = 0; i < CROWD; i++) {
		crowd[i] = (struct crowd){ .f = self, .barrier = &barrier, .nr = i };
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, crowd_run, &crowd[i]));
	}
	for (i = 0; self->nr < CROWD * EACH && i < 5000; i++) {
		look(self);
		usleep(10000);
	}
	for (i = 0; i < CROWD; i++) {
		pthread_join(thread[i], NULL);
		ASSERT_OK(crowd[i].rc);
	}
	LOOK(CROWD * EACH);
	for (i = 0; i < CROWD; i++)
		for (k = 0; k < EACH; k++) {
			snprintf(label, sizeof(label), "c-%d-%d", i, k);
			CHECK_RECORD(the_record(self, label), "closed", "none");
		}
}

/* The longest name there can be; the line is not cut. */
TEST_F(record, longest_label)
{
	char label[MIGDB_LABEL_BYTES];

	memset(label, 'L', sizeof(label) - 1);
	label[sizeof(label) - 1] = 0;
	ASSERT_OK(session_of(&self->r, label));
	LOOK(1);
	CHECK_RECORD(the_record(self, label), "closed", "none");
}

TEST_HARNESS_MAIN
