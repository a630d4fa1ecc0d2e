// SPDX-License-Identifier: GPL-2.0
/*
 * The hint table is written by a guest that nobody trusts.  Whatever is in it: no
 * crash, no stall, nothing outside the guest's own memory and disks, and no page
 * that is not the same on both sides in the end.
 *
 * MIGDB_FUZZ_SECONDS: how long to try random tables (5).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/random.h>
#include <linux/mem_hints.h>
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)

FIXTURE(table) {
	struct rig r;
	struct mem_hint_root *root;
	u64 *entries;
};

FIXTURE_SETUP(table)
{
	struct rig *r = &self->r;

	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(r, PAGES));
	self->root = hints_root(&r->hints);
	self->entries = (u64 *)(r->src_ram + hints_entries(&r->hints));
}

FIXTURE_TEARDOWN(table)
{
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

/* Snapshot of the table as it is now: out fields, or -errno. */
static int snapshot(struct rig *r, struct migdb_snapshot *snap)
{
	int rc;

	mdb_close(&r->src);
	*snap = (struct migdb_snapshot){};
	rc = rig_source(r);
	if (!rc)
		rc = mdb_armed(&r->src, 0, r->nr_pages);
	return rc ? rc : mdb_snapshot(&r->src, snap);
}

/* The whole migration with this table; pages that differ are an error. */
static const char *migrate_step;	/* where it failed */

static int migrate(struct rig *r)
{
	u64 bad;
	int rc;

	mdb_close(&r->dst);
	memset(r->dst_ram, RIG_POISON, r->nr_pages * MDB_PAGE);
	migrate_step = "start of the destination";
	rc = rig_dest(r, r->disk);
	if (!rc) {
		migrate_step = "hash";
		rc = rig_hash(r, NULL);
	}
	if (!rc) {
		migrate_step = "settle";
		rc = rig_settle(r, 20000);
	}
	if (!rc) {
		migrate_step = "finish";
		rc = rig_finish(r, &bad);
	}
	return rc;
}

static u64 bits_set(struct rig *r)
{
	u64 page, n = 0;

	for (page = 0; page < r->nr_pages; page++)
		n += mdb_bit(&r->src, page);
	return n;
}

TEST_F(table, good_table)
{
	struct migdb_snapshot snap;

	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_EQ(SET, snap.out_candidates);
	ASSERT_EQ(0, snap.out_bad_entries);
	ASSERT_LE(snap.out_table_bytes, 16 * MDB_PAGE);
	ASSERT_EQ(SET, bits_set(&self->r));
	ASSERT_OK(migrate(&self->r));
}

/* A guest whose disk has the last number that an entry can name. */
TEST_F(table, last_disk_number)
{
	struct migdb_snapshot snap = {};
	struct rig *r = &self->r;
	u64 page;

	for (page = RIG_FIRST; page < PAGES; page++)
		self->entries[page] = hint_entry(MEM_HINT_MAX_DISKS - 1, page);
	ASSERT_OK(rig_source_idle(r, &r->src));
	ASSERT_OK(mdb_set_guest_table(&r->src, r->hints.root_gpa, MEM_HINT_MAX_DISKS - 1,
				      RIG_SERIAL));
	ASSERT_OK(mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "x"));
	ASSERT_OK(mdb_armed(&r->src, 0, PAGES));
	ASSERT_OK(mdb_snapshot(&r->src, &snap));
	ASSERT_EQ(SET, snap.out_candidates);
	ASSERT_OK(migrate(r));
	ASSERT_EQ(SET, stats_of(&r->dst).out_built);
}

TEST_F(table, block_past_the_disk)
{
	struct migdb_snapshot snap;
	u64 page;

	for (page = 100; page < 200; page++)
		self->entries[page] = hint_entry(RIG_GUEST_DISK, PAGES + page - 100);
	self->entries[200] = hint_entry(RIG_GUEST_DISK, MEM_HINT_BLOCK_MASK);
	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_EQ(SET - 101, snap.out_candidates);
	ASSERT_EQ(101, snap.out_bad_entries);
	ASSERT_FALSE(mdb_bit(&self->r.src, 100));
	ASSERT_TRUE(mdb_bit(&self->r.src, 201));
	ASSERT_OK(migrate(&self->r));
}

TEST_F(table, unregistered_disk)
{
	struct migdb_snapshot snap;
	u32 disk, n = 0;

	for (disk = 0; disk <= MEM_HINT_DISK_MASK; disk++)
		if (disk != RIG_GUEST_DISK) {
			self->entries[100 + disk] = hint_entry(disk, 100 + disk);
			n++;
		}
	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_EQ(SET - n, snap.out_candidates);
	ASSERT_EQ(n, snap.out_bad_entries);
	ASSERT_OK(migrate(&self->r));
}

TEST_F(table, unknown_class)
{
	struct migdb_snapshot snap;
	u64 class;

	for (class = MEM_HINT_CLASS_HOT + 1; class <= MEM_HINT_CLASS_MASK; class++)
		self->entries[100 + class] |= class << MEM_HINT_CLASS_SHIFT;
	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_EQ(SET - (MEM_HINT_CLASS_MASK - MEM_HINT_CLASS_HOT), snap.out_candidates);
	ASSERT_OK(migrate(&self->r));
}

/*
 * Without the guest's agreement for this migration "discardable" must not mean
 * that a page arrives with other bytes.
 */
TEST_F(table, discardable_without_agreement)
{
	struct migdb_snapshot snap;
	u64 page;

	for (page = 100; page < 200; page++)
		self->entries[page] |= (u64)MEM_HINT_CLASS_DISCARDABLE << MEM_HINT_CLASS_SHIFT;
	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_OK(migrate(&self->r));
}

TEST_F(table, entry_not_valid)
{
	struct migdb_snapshot snap;
	u64 page;

	for (page = 100; page < 200; page++)
		self->entries[page] &= ~MEM_HINT_VALID;
	ASSERT_OK(snapshot(&self->r, &snap));
	ASSERT_EQ(SET - 100, snap.out_candidates);
	ASSERT_OK(migrate(&self->r));
}

/* More frames than memory: the last table page has entries for nothing. */
TEST_F(table, frames_outside_memory)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap;
	u64 frame;

	mdb_close(&r->src);
	/* The same table, but memory ends in the middle of it. */
	r->nr_pages = PAGES / 2 + 64;
	self->root->nr_frames = PAGES;
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_EQ(r->nr_pages - RIG_FIRST, snap.out_candidates);
	ASSERT_OK(migrate(r));
	r->nr_pages = PAGES;
	/* As many frames as the format can say, and entries for them. */
	for (frame = 0; frame < PAGES; frame++)
		self->entries[frame] = hint_entry(RIG_GUEST_DISK, frame);
	self->root->nr_frames = 1ULL << (MEM_HINT_LEVEL_BITS * self->root->levels);
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_EQ(PAGES, snap.out_candidates);
}

TEST_F(table, many_pages_name_one_block)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap;
	u64 page;

	for (page = RIG_FIRST; page < PAGES; page++)
		self->entries[page] = hint_entry(RIG_GUEST_DISK, 500);
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_EQ(SET, snap.out_candidates);
	ASSERT_OK(migrate(r));
	ASSERT_EQ(1, count_claims(r, MIGDB_CLAIM_DONE));
	ASSERT_EQ(SET - 1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
}

/* Every page's hint names some other page's block. */
TEST_F(table, all_hints_wrong)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap;
	u64 page;

	for (page = RIG_FIRST; page < PAGES; page++)
		self->entries[page] = hint_entry(RIG_GUEST_DISK, PAGES - 1 - page);
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_OK(migrate(r));
	ASSERT_EQ(SET, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
	ASSERT_EQ(0, stats_of(&r->dst).out_built);
}

/* The table itself is memory like any other, also when it hints at itself. */
TEST_F(table, hints_for_the_table)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap;
	u64 page;

	for (page = 0; page < RIG_FIRST; page++)
		self->entries[page] = hint_entry(RIG_GUEST_DISK, page);
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_EQ(PAGES, snap.out_candidates);
	ASSERT_OK(migrate(r));
}

TEST_F(table, bad_roots)
{
	struct rig *r = &self->r;
	struct mem_hint_root good = *self->root;
	struct migdb_snapshot snap;

#define REFUSED(_change)						\
	do {								\
		*self->root = good;					\
		_change;						\
		EXPECT_EQ(-ENOENT, snapshot(r, &snap)) TH_LOG("%s", #_change); \
		EXPECT_EQ(MIGDB_STATE_ARMING, state_of(&r->src));	\
		EXPECT_EQ(0, bits_set(r));				\
	} while (0)
	REFUSED(self->root->magic++);
	REFUSED(self->root->version = 0);
	REFUSED(self->root->version = MEM_HINT_ABI_VERSION + 1);
	REFUSED(self->root->levels = 0);
	REFUSED(self->root->levels = MEM_HINT_MAX_LEVELS + 1);
	REFUSED(self->root->levels = ~0u);
	REFUSED(memset(self->root, 0, sizeof(*self->root)));
	*self->root = good;
	ASSERT_OK(snapshot(r, &snap));
}

/* Roots that are well-formed and lead nowhere: an empty set, or a refusal. */
TEST_F(table, pointers_to_nowhere)
{
	struct rig *r = &self->r;
	struct mem_hint_root good = *self->root;
	static const u64 where[] = {
		0, 1, 8, 4095, PAGES * MDB_PAGE, (PAGES - 1) * MDB_PAGE + 8, 1ULL << 52,
		0xfffffffffffff000ULL, ~0ULL,
	};
	struct migdb_snapshot snap;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(where); i++) {
		int rc;

		*self->root = good;
		self->root->table = where[i];
		rc = snapshot(r, &snap);
		ASSERT_TRUE(rc == 0 || rc == -ENOENT) TH_LOG("table at %#llx: %d",
							     (unsigned long long)where[i], rc);
		ASSERT_EQ(0, bits_set(r)) TH_LOG("table at %#llx", (unsigned long long)where[i]);
	}
	*self->root = good;
	/* the same one level below */
	for (i = 0; i < ARRAY_SIZE(where); i++) {
		u64 *top = (u64 *)(r->src_ram + r->hints.table_gpa);
		u64 old = top[0];

		top[0] = where[i];
		ASSERT_OK(snapshot(r, &snap));
		ASSERT_LE(bits_set(r), SET);
		top[0] = old;
	}
}

TEST_F(table, root_outside_memory)
{
	struct rig *r = &self->r;
	u64 gpa[] = { PAGES * MDB_PAGE, 1ULL << 40, 0xfffffffffffff000ULL };
	struct migdb_snapshot snap = {};
	size_t i;

	for (i = 0; i < 3; i++) {
		mdb_close(&r->src);
		ASSERT_OK(rig_source_idle(r, &r->src));
		ASSERT_OK(mdb_set_guest_table(&r->src, gpa[i], RIG_GUEST_DISK, RIG_SERIAL));
		ASSERT_OK(mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "x"));
		ASSERT_OK(mdb_armed(&r->src, 0, PAGES));
		ASSERT_EQ(-ENOENT, mdb_snapshot(&r->src, &snap));
	}
}

/* A radix page that points to itself, five levels deep, for every slot. */
TEST_F_TIMEOUT(table, cycles, 60)
{
	struct rig *r = &self->r;
	u64 *loop = (u64 *)(r->src_ram + 40 * MDB_PAGE), i, start = clock_ms();
	struct migdb_snapshot snap;

	for (i = 0; i < 512; i++)
		loop[i] = 40 * MDB_PAGE;
	self->root->table = 40 * MDB_PAGE;
	self->root->levels = MEM_HINT_MAX_LEVELS;
	self->root->nr_frames = 1ULL << (MEM_HINT_MAX_LEVELS * MEM_HINT_LEVEL_BITS);
	ASSERT_OK(snapshot(r, &snap));
	/* Cost follows the guest's memory, not what the table says. */
	ASSERT_LE(snap.out_table_bytes, 64 * MDB_PAGE);
	ASSERT_LT(clock_ms() - start, 5000);
	/* As entries they are not valid: nothing is recorded. */
	ASSERT_EQ(0, bits_set(r));
	/* And with the valid bit, they name disk 0, which is not there. */
	for (i = 0; i < 512; i++)
		loop[i] |= MEM_HINT_VALID;
	ASSERT_OK(snapshot(r, &snap));
	ASSERT_EQ(0, bits_set(r));
}

/* The guest goes on writing to the table while it is read. */
static volatile bool stop_scribbling;

static void *scribble(void *arg)
{
	struct rig *r = arg;
	u64 *entries = (u64 *)(r->src_ram + hints_entries(&r->hints));
	unsigned int seed = 3;

	while (!stop_scribbling) {
		u64 page = RIG_FIRST + rand_r(&seed) % SET;

		entries[page] = rand_r(&seed) % 3 ? hint_entry(RIG_GUEST_DISK, page) :
				hint_entry(rand_r(&seed) % 8, rand_r(&seed) % (2 * PAGES));
	}
	return NULL;
}

TEST_F_TIMEOUT(table, changing_while_read, 120)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap;
	pthread_t thread;
	int round;

	for (round = 0; round < 10; round++) {
		u64 bad;

		stop_scribbling = false;
		ASSERT_EQ(0, pthread_create(&thread, NULL, scribble, r));
		ASSERT_OK(snapshot(r, &snap));
		mdb_close(&r->dst);
		ASSERT_OK(rig_dest(r, r->disk));
		ASSERT_OK(rig_hash(r, NULL));
		stop_scribbling = true;
		ASSERT_EQ(0, pthread_join(thread, NULL));
		/* The table's own pages are not in the set: they are sent, last. */
		ASSERT_OK(rig_settle(r, 20000));
		ASSERT_OK(rig_finish(r, &bad));
	}
}

/* Random bytes over all that a guest can say, again and again. */
static void fill_random(void *p, size_t bytes)
{
	while (bytes) {
		ssize_t n = getrandom(p, bytes < 256 ? bytes : 256, 0);

		p = (u8 *)p + n;
		bytes -= n;
	}
}

static void spoil(struct rig *r, struct mem_hint_root *good, u32 kind, u32 seed)
{
	struct mem_hint_root *root = hints_root(&r->hints);
	u64 *words = (u64 *)r->src_ram;
	u32 i;

	*root = *good;
	switch (kind) {
	case 0:		/* everything random, the root's magic apart */
		fill_random(r->src_ram, r->hints.end_gpa);
		root->magic = good->magic;
		root->version = good->version;
		root->levels = 1 + seed % MEM_HINT_MAX_LEVELS;
		root->nr_frames = seed & 1 ? ~0ULL >> (seed % 40) : PAGES;
		root->table = good->table;
		break;
	case 1:		/* random entries that look right */
		for (i = 0; i < PAGES; i++) {
			u64 *e = (u64 *)(r->src_ram + hints_entries(&r->hints)) + i;

			fill_random(e, sizeof(*e));
			*e = (*e & ~(MEM_HINT_DISK_MASK << MEM_HINT_DISK_SHIFT)) |
			     MEM_HINT_VALID | (u64)RIG_GUEST_DISK << MEM_HINT_DISK_SHIFT;
			if (i % 4)
				*e = hint_entry(RIG_GUEST_DISK, *e % (PAGES + 8));
		}
		break;
	default:	/* a few random words anywhere in the table */
		for (i = 0; i < 16; i++)
			fill_random(&words[rand() % (r->hints.end_gpa / 8)], 8);
		root->magic = good->magic;
		root->version = good->version;
	}
}

TEST_F_TIMEOUT(table, fuzz, 300)
{
	const char *seconds = getenv("MIGDB_FUZZ_SECONDS");
	u64 end = clock_ms() + 1000 * (seconds ? atoi(seconds) : 5), rounds = 0, took = 0;
	struct mem_hint_root good = *self->root;
	struct rig *r = &self->r;
	u8 *table = malloc(r->hints.end_gpa);

	ASSERT_NE(NULL, table);
	memcpy(table, r->src_ram, r->hints.end_gpa);
	for (; clock_ms() < end; rounds++) {
		struct migdb_snapshot snap;
		u64 start = clock_ms();
		int rc;

		memcpy(r->src_ram, table, r->hints.end_gpa);
		spoil(r, &good, rounds % 3, rounds);
		rc = snapshot(r, &snap);
		if (clock_ms() - start > took)
			took = clock_ms() - start;
		ASSERT_LT(clock_ms() - start, 10000);
		ASSERT_TRUE(rc == 0 || rc == -ENOENT) TH_LOG("snapshot: %s", strerror(-rc));
		if (rc)
			continue;
		ASSERT_EQ(snap.out_candidates, bits_set(r));
		if (rounds % 4)
			continue;
		rc = migrate(r);
		ASSERT_EQ(0, rc)
			TH_LOG("round %llu, %s: %s", (unsigned long long)rounds, migrate_step,
			       strerror(-rc));
	}
	TH_LOG("%llu tables, slowest snapshot %llu ms", (unsigned long long)rounds,
	       (unsigned long long)took);
	ASSERT_LT(5, rounds);
}

TEST_HARNESS_MAIN
