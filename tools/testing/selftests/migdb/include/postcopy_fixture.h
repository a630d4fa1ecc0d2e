/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tests of post-copy: a rig in which building stands still in the middle, so that the
 * switch can come then.  The guest is whoever touches a page.
 */
#ifndef POSTCOPY_FIXTURE_H
#define POSTCOPY_FIXTURE_H

#include "postcopy.h"
#include "slow_disk.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define BYTES	(PAGES * MDB_PAGE)
#define SECTORS	(PAGES * 8)
#define NEVER	MIGDB_DEADLINE_NEVER

FIXTURE(pc) {
	struct rig r;
	struct server v;
	char loop[DISK_PATH_BYTES], dm[DISK_PATH_BYTES], name[32];
	int dm_fd;
};

static inline void defaults(void)
{
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("postcopy_bulk_reads", 2);
	mdb_sysfs_write("postcopy_deadline_floor_us", 2000);
}

FIXTURE_SETUP(pc)
{
	int fd;

	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	defaults();
	self->dm_fd = -1;
	fd = uffd_open();
	if (fd < 0)
		SKIP(return, "no userfaultfd");
	close(fd);
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(pc)
{
	defaults();
	if (!self->r.nr_pages)
		return;
	if (self->name[0])
		dm_suspend(self->name, false);
	server_stop(&self->v);
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
 * The rig's disk behind a device-mapper target, opened for the destination.  Its first
 * @bad_pages cannot be read.
 */
static inline int dm_make_bad(FIXTURE_DATA(pc) *f, u64 bad_pages, const char *type,
			      const char *params)
{
	u64 bad = bad_pages * (MDB_PAGE / 512);
	char text[DISK_PATH_BYTES + 64];
	struct dm_part part[] = {
		{ 0, bad, "error", "" },
		{ bad, SECTORS - bad, type, text },
	};
	unsigned int first = !bad, nr = 2 - first;
	int rc = f->loop[0] ? 0 : loop_attach(f->r.disk_path, f->loop);

	if (rc)
		return rc;
	if (strcmp(type, "error"))
		snprintf(text, sizeof(text), "%s %llu%s", f->loop, (unsigned long long)bad, params);
	else
		text[0] = 0;
	if (f->name[0])
		return dm_reload(f->name, part + first, nr);
	snprintf(f->name, sizeof(f->name), "migdb-pc-%d", getpid());
	rc = dm_create(f->name, part + first, nr, f->dm);
	if (rc) {
		f->name[0] = 0;
		return rc;
	}
	f->dm_fd = disk_open(f->dm, O_RDONLY);
	return f->dm_fd < 0 ? f->dm_fd : 0;
}

static inline int dm_make(FIXTURE_DATA(pc) *f, const char *type, const char *params)
{
	return dm_make_bad(f, 0, type, params);
}

/* Sessions and records; bulk reads stop at the bucket's burst of 1 MiB, 256 pages. */
static inline int begin(struct rig *r, int disk)
{
	int rc = mdb_sysfs_write("fetch_max_bytes_per_s", 1);

	if (!rc)
		rc = rig_source(r);
	if (!rc)
		rc = rig_dest(r, disk);
	if (!rc)
		rc = rig_snapshot(r);
	return rc ? rc : rig_hash(r, NULL);
}

/* And the switch, somewhere in the middle of building. */
static inline int switched(struct rig *r, int disk)
{
	int rc = begin(r, disk);

	if (!rc)
		rc = rig_hold(r);
	return rc ? rc : rig_postcopy(r);
}

/* Held, with @page given back: the stream had brought it before its record came. */
static inline int hold_sent_before_record(struct rig *r, u64 page)
{
	int rc = rig_source(r);

	if (!rc)
		rc = rig_dest(r, r->disk);
	if (rc)
		return rc;
	rig_deliver(r, page);
	rc = rig_snapshot(r);
	if (!rc)
		rc = rig_hash(r, NULL);
	return rc ? rc : rig_hold(r);
}

static inline int full_speed(void)
{
	return mdb_sysfs_write("fetch_max_bytes_per_s", 0);
}

#define ARRIVE()							\
	do {								\
		u64 bad_;						\
		int rc_ = rig_arrive(&self->r, &self->v, &bad_);	\
		ASSERT_EQ(0, rc_) TH_LOG("%s, page %llu", strerror(-rc_),\
					 (unsigned long long)bad_);	\
		ASSERT_EQ(MIGDB_STATE_DONE, state_of(&self->r.dst));	\
		ASSERT_EQ(0, stats_of(&self->r.dst).out_by_reason[MIGDB_REASON_PRESENT]); \
	} while (0)

static inline u64 first_claimed(struct rig *r, u8 claim)
{
	u64 page;

	for (page = RIG_FIRST; page < r->nr_pages; page++)
		if (mdb_claim_of(&r->dst, page) == claim)
			return page;
	return 0;
}

/* Reads in flight when it was held may be placed at once: wait for a page that is not. */
static inline u64 late_page(struct rig *r)
{
	u64 page;

	for (page = r->nr_pages - 8; page > RIG_FIRST; page--)
		if (mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_TODO)
			return page;
	return 0;
}

static inline bool wait_claim(struct rig *r, u64 page, u8 claim)
{
	u64 end = clock_ms() + 20000;

	while (mdb_claim_of(&r->dst, page) != claim && clock_ms() < end)
		usleep(1000);
	return mdb_claim_of(&r->dst, page) == claim;
}

static inline bool same(struct rig *r, u64 page)
{
	return !memcmp(r->src_ram + page * MDB_PAGE, r->dst_ram + page * MDB_PAGE, MDB_PAGE);
}

#endif /* POSTCOPY_FIXTURE_H */
