// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of table.c: good tables, and every kind of hostile one. */
#include <linux/errno.h>
#include <linux/mem_hints.h>
#include <linux/string.h>
#include <asm/byteorder.h>
#include "../table.h"
#include "test_util.h"

#define PAGES		64u	/* of the pretended guest */
#define SLOTS		512u
#define GPA(page)	((u64)(page) * MIGDB_PAGE_BYTES)
#define STOP		(-ECANCELED)

struct guest {
	struct kunit *test;
	struct migdb_table_walk walk;
	__le64 mem[PAGES][SLOTS] __aligned(8);
	bool scribble;			/* change a page after it was copied */
	u64 unreadable;			/* bit per page */
	u32 reads[PAGES];
	u64 nr_reads, nr_yields, nr_entries;
	u64 since_yield, most_reads, most_entries;	/* between two yields */
	u64 reads_since;
	u64 next_gfn;			/* entries come in this order */
	u64 first, end;			/* and lie in here */
	u64 stop_after_entries;
	u64 stop_after_yields;
	u64 sum;
};

static int on_read_page(void *ctx, u64 gpa, void *page)
{
	struct guest *g = ctx;
	u64 nr = gpa / MIGDB_PAGE_BYTES;

	g->nr_reads++;
	g->most_reads = max(g->most_reads, ++g->reads_since);
	KUNIT_EXPECT_EQ(g->test, gpa % MIGDB_PAGE_BYTES, 0ULL);
	if (nr >= PAGES || g->unreadable >> nr & 1)
		return -EFAULT;
	g->reads[nr]++;
	memcpy(page, g->mem[nr], MIGDB_PAGE_BYTES);
	if (g->scribble)
		memset(g->mem[nr], 0xee, MIGDB_PAGE_BYTES);
	return 0;
}

static u64 fingerprint(u64 gfn, u32 disk, u64 block, u32 class)
{
	return (gfn * 0x9e3779b97f4a7c15ULL) ^ (block * 0xff51afd7ed558ccdULL) ^
	       ((u64)disk << 8) ^ class;
}

static int on_entry(void *ctx, u64 gfn, u32 disk, u64 block, u32 class)
{
	struct guest *g = ctx;

	if (gfn < g->next_gfn || gfn < g->first || gfn >= g->end)
		KUNIT_FAIL(g->test, "frame %llx out of order or range", (unsigned long long)gfn);
	if (disk > MEM_HINT_DISK_MASK || block >= MIGDB_MAX_BLOCK || class > MEM_HINT_CLASS_HOT)
		KUNIT_FAIL(g->test, "frame %llx: field out of range", (unsigned long long)gfn);
	g->next_gfn = gfn + 1;
	g->nr_entries++;
	g->most_entries = max(g->most_entries, ++g->since_yield);
	g->sum += fingerprint(gfn, disk, block, class);
	return g->nr_entries == g->stop_after_entries ? STOP : 0;
}

static int on_page_done(void *ctx)
{
	struct guest *g = ctx;

	g->since_yield = 0;
	g->reads_since = 0;
	return ++g->nr_yields == g->stop_after_yields ? STOP : 0;
}

static const struct migdb_table_ops ops = {
	.read_page = on_read_page, .entry = on_entry, .yield = on_page_done,
};

static struct guest *new_guest(struct kunit *test)
{
	struct guest *g = kunit_kzalloc(test, sizeof(*g), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, g);
	g->test = test;
	return g;
}

static int walk(struct guest *g, const struct migdb_table *t, u64 first, u64 end)
{
	g->first = first;
	g->end = end;
	g->next_gfn = 0;
	g->nr_reads = 0;
	g->nr_yields = 0;
	g->nr_entries = 0;
	g->since_yield = 0;
	g->reads_since = 0;
	g->most_reads = 0;
	g->most_entries = 0;
	g->sum = 0;
	memset(g->reads, 0, sizeof(g->reads));
	/* what an earlier walk left must not matter */
	memset(&g->walk, 0, sizeof(g->walk));
	return migdb_table_walk(t, &g->walk, first, end, &ops, g);
}

static __le64 make_entry(u32 disk, u64 block, u32 class)
{
	return cpu_to_le64(MEM_HINT_VALID | (u64)disk << MEM_HINT_DISK_SHIFT |
			   (u64)class << MEM_HINT_CLASS_SHIFT | block);
}

struct root_case {
	const char *name;
	int rc;
	u32 magic, version, levels;
	u64 nr_frames, table;
};

#define ROOT(_name, _rc, _levels, _frames, _table) {				\
	.name = _name, .rc = _rc, .magic = MEM_HINT_ROOT_MAGIC,			\
	.version = MEM_HINT_ABI_VERSION, .levels = _levels, .nr_frames = _frames, .table = _table }

static const struct root_case root_cases[] = {
	ROOT("one level", 0, 1, 512, 0x1000),
	ROOT("two levels", 0, 2, 512 * 512, 0x1000),
	ROOT("five levels", 0, 5, 1ULL << 45, 0x1000),
	ROOT("no entries", 0, 2, 0, 0),
	ROOT("no level", -EPROTO, 0, 0, 0x1000),
	ROOT("six levels", -EPROTO, 6, 512, 0x1000),
	ROOT("all bits in levels", -EPROTO, ~0u, 512, 0x1000),
	ROOT("too many frames for one level", -EPROTO, 1, 513, 0x1000),
	ROOT("too many frames for five levels", -EPROTO, 5, (1ULL << 45) + 1, 0x1000),
	ROOT("all bits in frames", -EPROTO, 5, ~0ULL, 0x1000),
	ROOT("table off by 8", -EPROTO, 2, 512, 0x1008),
	ROOT("all bits in table", -EPROTO, 2, 512, ~0ULL),
	{ "no magic", -ENOENT, 0, MEM_HINT_ABI_VERSION, 2, 512, 0x1000 },
	{ "swapped magic", -ENOENT, 0x48494e54, MEM_HINT_ABI_VERSION, 2, 512, 0x1000 },
	{ "version 0", -EPROTO, MEM_HINT_ROOT_MAGIC, 0, 2, 512, 0x1000 },
	{ "next version", -EPROTO, MEM_HINT_ROOT_MAGIC, MEM_HINT_ABI_VERSION + 1, 2, 512, 0x1000 },
};

static void root_desc(const struct root_case *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(root, root_cases, root_desc);

static void table_root(struct kunit *test)
{
	const struct root_case *c = test->param_value;
	struct mem_hint_root *root = kunit_kzalloc(test, MIGDB_PAGE_BYTES, GFP_KERNEL);
	struct migdb_table t;

	KUNIT_ASSERT_NOT_NULL(test, root);
	root->magic = cpu_to_le32(c->magic);
	root->version = cpu_to_le32(c->version);
	root->levels = cpu_to_le32(c->levels);
	root->nr_frames = cpu_to_le64(c->nr_frames);
	root->table = cpu_to_le64(c->table);
	KUNIT_EXPECT_EQ(test, migdb_table_parse_root(root, &t), c->rc);
	if (!c->rc) {
		KUNIT_EXPECT_EQ(test, t.levels, c->levels);
		KUNIT_EXPECT_EQ(test, t.nr_frames, c->nr_frames);
		KUNIT_EXPECT_EQ(test, t.top_gpa, c->table);
	}
}

static void table_empty(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = 0, .nr_frames = 512 * 512, .levels = 2 };

	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 0ULL);
	t.top_gpa = GPA(1);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 1ULL);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 0ULL);
	/* an empty range, and one behind the end */
	KUNIT_EXPECT_EQ(test, walk(g, &t, 5, 5), 0);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 512 * 512, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, walk(g, &t, ~0ULL, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 0ULL);
}

static void table_one_level(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(3), .nr_frames = 512, .levels = 1 };
	u64 want = 0;

	g->mem[3][0] = make_entry(1, 7, MEM_HINT_CLASS_BACKED);
	g->mem[3][17] = make_entry(127, MIGDB_MAX_BLOCK - 1, MEM_HINT_CLASS_HOT);
	g->mem[3][511] = make_entry(0, 0, MEM_HINT_CLASS_DISCARDABLE);
	want += fingerprint(0, 1, 7, MEM_HINT_CLASS_BACKED);
	want += fingerprint(17, 127, MIGDB_MAX_BLOCK - 1, MEM_HINT_CLASS_HOT);
	want += fingerprint(511, 0, 0, MEM_HINT_CLASS_DISCARDABLE);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 3ULL);
	KUNIT_EXPECT_EQ(test, g->sum, want);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 1ULL);
}

/* The generation of an entry is the guest's business. */
static void table_ignores(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(3), .nr_frames = 512, .levels = 1 };
	u32 class;

	for (class = 0; class < 8; class++)
		g->mem[3][class] = make_entry(1, 7, class);
	g->mem[3][20] = cpu_to_le64(~MEM_HINT_VALID);
	g->mem[3][21] = make_entry(1, 7, 0) | cpu_to_le64(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	/* the three known classes and the last one */
	KUNIT_EXPECT_EQ(test, g->nr_entries, 4ULL);
	KUNIT_EXPECT_EQ(test, g->next_gfn, 22ULL);
}

static void table_clips(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 700, .levels = 2 };
	u32 i;

	g->mem[1][0] = cpu_to_le64(GPA(2));
	g->mem[1][1] = cpu_to_le64(GPA(2));
	for (i = 0; i < SLOTS; i++)
		g->mem[2][i] = make_entry(1, i, 0);
	/* the same leaf twice: once per place that it stands for, up to nr_frames */
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 700ULL);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 500, 520), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 20ULL);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 511, 512), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 1ULL);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 512, 513), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 1ULL);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 699, 5000), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 1ULL);
}

static void table_bad_slots(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 512 * 512, .levels = 2 };

	g->mem[1][0] = cpu_to_le64(GPA(2) + 1);		/* not aligned */
	g->mem[1][1] = cpu_to_le64(GPA(2) | 1ULL << 11);
	g->mem[1][2] = cpu_to_le64(GPA(PAGES));		/* not there */
	g->mem[1][3] = cpu_to_le64(~0ULL << 12);
	g->mem[1][4] = cpu_to_le64(GPA(3));		/* not readable */
	g->mem[1][5] = cpu_to_le64(GPA(2));
	g->unreadable = 1ULL << 3;
	g->mem[2][9] = make_entry(1, 1, 0);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 1ULL);
	KUNIT_EXPECT_EQ(test, g->next_gfn, 5ULL * 512 + 10);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 5ULL);
	/* callers get a turn after failed reads and holes, too */
	KUNIT_EXPECT_EQ(test, g->nr_yields, 512ULL);
}

static void table_unreadable_top(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 1ULL << 45, .levels = 5 };

	g->unreadable = 1ULL << 1;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 1ULL);
}

/* Every slot of every page names the page itself: cost is bounded by the frames. */
static void table_cycle(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 1ULL << 45, .levels = 5 };
	u64 frames = 1 << 20;
	u32 i;

	for (i = 0; i < SLOTS; i++)
		g->mem[1][i] = cpu_to_le64(GPA(1));
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, frames), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 0ULL);
	/* the address never changes, so each level is read once */
	KUNIT_EXPECT_EQ(test, g->nr_reads, 5ULL);
}

/* Two pages that name each other: the copies are thrown out all the time. */
static void table_two_cycle(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 1ULL << 45, .levels = 5 };
	u64 frames = 1 << 20;
	u32 i;

	for (i = 0; i < SLOTS; i++) {
		g->mem[1][i] = cpu_to_le64(GPA(1 + (i + 1) % 2));
		g->mem[2][i] = cpu_to_le64(GPA(1 + i % 2));
	}
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, frames), 0);
	/* leaves, the pages above them, and so on */
	KUNIT_EXPECT_LE(test, g->nr_reads, frames / 512 + frames / 512 / 512 + 3);
	KUNIT_EXPECT_EQ(test, g->nr_yields, frames / 512);
}

/* Slots that cannot be read, everywhere: neither endless nor quadratic. */
static void table_all_unreadable(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 512 * 512, .levels = 2 };
	u32 i;

	for (i = 0; i < SLOTS; i++)
		g->mem[1][i] = cpu_to_le64(GPA(2));
	g->unreadable = 1ULL << 2;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 513ULL);
	KUNIT_EXPECT_EQ(test, g->nr_yields, 512ULL);
}

/*
 * Five pages stand for 2^45 frames: all slots of each name the page below, and the
 * leaf is full.  After the first leaf everything is a copy; callers must get their
 * turn all the same.
 */
static void table_yields_from_copies(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 1ULL << 45, .levels = 5 };
	u64 frames = 1 << 20;
	u32 i, level;

	for (level = 1; level < 5; level++) {
		for (i = 0; i < SLOTS; i++)
			g->mem[level][i] = cpu_to_le64(GPA(level + 1));
	}
	for (i = 0; i < SLOTS; i++)
		g->mem[5][i] = make_entry(1, i, 0);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, frames), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, frames);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 5ULL);
	KUNIT_EXPECT_EQ(test, g->most_entries, 512ULL);
	KUNIT_EXPECT_EQ(test, g->most_reads, 5ULL);
	KUNIT_EXPECT_EQ(test, g->nr_yields, frames / 512);
	/* and it can be stopped there */
	g->stop_after_yields = 3;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, frames), STOP);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 3ULL * 512);
}

/* A failed read leaves half a page behind; it must not count as a copy. */
static void table_failed_copy(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 512 * 512, .levels = 2 };

	g->mem[1][0] = cpu_to_le64(GPA(2));
	g->mem[1][1] = cpu_to_le64(GPA(3));
	g->mem[1][2] = cpu_to_le64(GPA(2));
	g->mem[2][0] = make_entry(1, 1, 0);
	g->unreadable = 1ULL << 3;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 2ULL);
	KUNIT_EXPECT_EQ(test, g->reads[2], 2);
}

/* The guest rewrites each page as soon as we have it: only the copy is used. */
static void table_reads_once(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 512ULL * 512 * 512, .levels = 3 };
	u64 want = 0;
	u32 i;

	g->scribble = true;
	g->mem[1][0] = cpu_to_le64(GPA(2));
	g->mem[2][0] = cpu_to_le64(GPA(3));
	g->mem[2][511] = cpu_to_le64(GPA(4));
	for (i = 0; i < SLOTS; i++) {
		g->mem[3][i] = make_entry(2, i, 0);
		want += fingerprint(i, 2, i, 0);
	}
	g->mem[4][511] = make_entry(3, 5, 0);
	want += fingerprint(512 * 512 - 1, 3, 5, 0);
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 513ULL);
	KUNIT_EXPECT_EQ(test, g->sum, want);
	KUNIT_EXPECT_EQ(test, g->nr_reads, 4ULL);
}

static void table_stops(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct migdb_table t = { .top_gpa = GPA(1), .nr_frames = 512 * 512, .levels = 2 };
	u32 i;

	g->mem[1][0] = cpu_to_le64(GPA(2));
	g->mem[1][1] = cpu_to_le64(GPA(2));
	g->mem[1][2] = cpu_to_le64(GPA(3));
	for (i = 0; i < SLOTS; i++)
		g->mem[2][i] = make_entry(2, i, 0);
	g->stop_after_entries = 600;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), STOP);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 600ULL);
	g->stop_after_entries = 0;
	g->stop_after_yields = 3;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), STOP);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 1024ULL);
	g->stop_after_yields = 1;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), STOP);
	KUNIT_EXPECT_EQ(test, g->nr_entries, 512ULL);
	/* also when the page could not be had */
	g->unreadable = 1ULL << 1;
	KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), STOP);
}

/* What the table says of @gfn, looked up from the top each time. */
static bool naive(const struct guest *g, const struct migdb_table *t, u64 gfn, u64 *fp)
{
	u64 gpa = t->top_gpa, e = 0;
	int level;

	for (level = t->levels - 1; level >= 0; level--) {
		u64 nr = gpa / MIGDB_PAGE_BYTES;

		if (!gpa || gpa % MIGDB_PAGE_BYTES || nr >= PAGES || g->unreadable >> nr & 1)
			return false;
		e = le64_to_cpu(g->mem[nr][gfn >> (9 * level) & 511]);
		gpa = e;
	}
	if (!(e >> 63) || (e >> 53 & 7) > 2)
		return false;
	*fp = fingerprint(gfn, e >> 56 & 127, e & ((1ULL << 44) - 1), e >> 53 & 7);
	return true;
}

/* Random radixes, part of them nonsense, against a lookup frame by frame. */
static void table_random(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct test_rng rng = { .state = 20 };
	u32 round, i, k;

	for (round = 0; round < 60; round++) {
		struct migdb_table t = { .levels = 1 + round % MIGDB_TABLE_MAX_LEVELS };
		u64 first, end, gfn, want = 0, sum = 0, fp;

		for (k = 0; k < PAGES; k++) {
			for (i = 0; i < SLOTS; i++) {
				u64 v = test_rng_next(&rng);

				switch (v >> 60) {
				case 0 ... 5:
					v = GPA(v % PAGES);
					break;
				case 6:
					v = GPA(v % (2 * PAGES)) + v % 3;
					break;
				case 7:
					v = 0;
					break;
				}
				g->mem[k][i] = cpu_to_le64(v);
			}
		}
		g->unreadable = test_rng_next(&rng) & test_rng_next(&rng) & test_rng_next(&rng);
		t.top_gpa = GPA(1 + test_rng_below(&rng, PAGES - 1));
		t.nr_frames = 1ULL << (9 * t.levels);
		first = test_rng_next(&rng) % t.nr_frames;
		end = min(first + test_rng_below(&rng, 20000), t.nr_frames);
		KUNIT_ASSERT_EQ(test, walk(g, &t, first, end), 0);
		for (gfn = first; gfn < end; gfn++) {
			if (naive(g, &t, gfn, &fp)) {
				want++;
				sum += fp;
			}
		}
		KUNIT_ASSERT_EQ(test, g->nr_entries, want);
		KUNIT_ASSERT_EQ(test, g->sum, sum);
		KUNIT_ASSERT_LE(test, g->nr_reads,
				(end - first) / 512 + 3 * MIGDB_TABLE_MAX_LEVELS);
	}
}

/* Not even the root is the table's: random bytes must be refused or walked. */
static void table_noise(struct kunit *test)
{
	struct guest *g = new_guest(test);
	struct test_rng rng = { .state = 99 };
	u32 round;

	for (round = 0; round < 40; round++) {
		struct mem_hint_root *root = (struct mem_hint_root *)g->mem[0];
		struct migdb_table t;
		int rc;

		test_rng_bytes(&rng, g->mem, sizeof(g->mem));
		rc = migdb_table_parse_root(root, &t);
		KUNIT_EXPECT_EQ(test, rc, -ENOENT);
		root->magic = cpu_to_le32(MEM_HINT_ROOT_MAGIC);
		KUNIT_EXPECT_EQ(test, migdb_table_parse_root(root, &t), -EPROTO);
		root->version = cpu_to_le32(MEM_HINT_ABI_VERSION);
		root->levels = cpu_to_le32(1 + round % MIGDB_TABLE_MAX_LEVELS);
		root->nr_frames = cpu_to_le64(512);
		root->table = cpu_to_le64(GPA(1 + round % 5));
		KUNIT_ASSERT_EQ(test, migdb_table_parse_root(root, &t), 0);
		KUNIT_EXPECT_EQ(test, walk(g, &t, 0, ~0ULL), 0);
		KUNIT_EXPECT_LE(test, g->nr_reads, 5ULL);
	}
}

static struct kunit_case table_cases[] = {
	KUNIT_CASE_PARAM(table_root, root_gen_params),
	KUNIT_CASE(table_empty),
	KUNIT_CASE(table_one_level),
	KUNIT_CASE(table_ignores),
	KUNIT_CASE(table_clips),
	KUNIT_CASE(table_bad_slots),
	KUNIT_CASE(table_unreadable_top),
	KUNIT_CASE(table_cycle),
	KUNIT_CASE(table_two_cycle),
	KUNIT_CASE(table_all_unreadable),
	KUNIT_CASE(table_yields_from_copies),
	KUNIT_CASE(table_failed_copy),
	KUNIT_CASE(table_reads_once),
	KUNIT_CASE(table_stops),
	KUNIT_CASE(table_random),
	KUNIT_CASE(table_noise),
	{}
};

static struct kunit_suite table_suite = {
	.name = "migdb_table",
	.test_cases = table_cases,
};

kunit_test_suite(table_suite);
