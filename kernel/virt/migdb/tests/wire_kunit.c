// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of wire.c: good frames, and everything that is not one. */
#include <linux/errno.h>
#include <linux/string.h>
#include "test_util.h"
#include "wire_samples.h"

static void type_desc(const u32 *type, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "type %u", *type);
}

KUNIT_ARRAY_PARAM(type, sample_types, type_desc);

static u8 *buffer(struct kunit *test, size_t bytes)
{
	u8 *p = kunit_kzalloc(test, bytes, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	return p;
}

static void wire_good(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_frame f;

	bytes = sample_frame(buf, type, 7);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
	KUNIT_EXPECT_EQ(test, f.type, type);
	KUNIT_EXPECT_EQ(test, f.bytes, bytes);
	KUNIT_EXPECT_EQ(test, f.seq, 7);
	KUNIT_EXPECT_EQ(test, f.session, 0x8877665544332211ULL);
	KUNIT_EXPECT_PTR_EQ(test, f.data, (const void *)buf);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));
}

/* What follows a frame is the next one's business. */
static void wire_two(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, first, second;
	u8 *buf = buffer(test, 2 * SAMPLE_MAX_BYTES);
	struct migdb_frame f;

	first = sample_frame(buf, type, 0);
	KUNIT_EXPECT_EQ(test, first % 8, 0);
	second = sample_frame(buf + first, MIGDB_FRAME_REVOKE, 1);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, first + second, &f), 0);
	KUNIT_EXPECT_EQ(test, f.bytes, first);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf + first, second, &f), 0);
	KUNIT_EXPECT_EQ(test, f.seq, 1);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));
}

/* Cut at every byte, in a buffer that is no longer than what is left of it. */
static void wire_cut(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes, len;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES), *cut;
	struct migdb_frame f;

	bytes = sample_frame(buf, type, 0);
	for (len = 0; len < bytes; len++) {
		cut = kunit_kzalloc(test, len ?: 1, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, cut);
		memcpy(cut, buf, len);
		KUNIT_EXPECT_EQ(test, migdb_frame_parse(cut, len, &f), -EBADMSG);
		kunit_kfree(test, cut);
	}
}

/* Cut, and the length in the header says so, and the MAC is right. */
static void wire_cut_and_sealed(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes, len;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES), *cut;
	struct migdb_frame f;

	bytes = sample_frame(buf, type, 0);
	for (len = sizeof(struct migdb_wire_hdr); len < bytes; len++) {
		cut = kunit_kzalloc(test, len, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, cut);
		memcpy(cut, buf, len);
		sample_seal(cut, type, len, 0);
		KUNIT_EXPECT_EQ(test, migdb_frame_parse(cut, len, &f), -EBADMSG);
		kunit_kfree(test, cut);
	}
	/* longer is not better */
	for (len = bytes + 1; len <= bytes + 8; len++) {
		sample_seal(buf, type, len, 0);
		KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, SAMPLE_MAX_BYTES, &f), -EBADMSG);
	}
}

/* The key that a receiver would use: HELLO brings its own. */
static const struct migdb_key *key_of(const struct migdb_frame *f)
{
	const struct migdb_wire_hello *h = f->data;

	return f->type == MIGDB_FRAME_HELLO ? &h->key : &sample_key;
}

/* Each bit of it flipped: never authentic. */
static void wire_flip(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes, bit, parsed = 0;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_frame f;

	bytes = sample_frame(buf, type, 0);
	for (bit = 0; bit < bytes * 8; bit++) {
		buf[bit / 8] ^= 1 << bit % 8;
		/* whatever else is there: a longer frame must not be believed either */
		if (!migdb_frame_parse(buf, SAMPLE_MAX_BYTES, &f)) {
			parsed++;
			KUNIT_ASSERT_LE(test, f.bytes, SAMPLE_MAX_BYTES);
			if (migdb_frame_authentic(&f, key_of(&f)))
				KUNIT_FAIL(test, "bit %u flipped, and it is authentic", bit);
		}
		buf[bit / 8] ^= 1 << bit % 8;
	}
	/* the checks of the body are no MAC: some flips are for the MAC to find */
	KUNIT_EXPECT_GT(test, parsed, 64);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));
}

/* Two bits, five bits, a byte: the same. */
static void wire_noise(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes, i, k, changed;
	u8 *good = buffer(test, SAMPLE_MAX_BYTES), *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct test_rng rng = { .state = 600 + type };
	struct migdb_frame f;

	bytes = sample_frame(good, type, 0);
	for (i = 0; i < 20000; i++) {
		memcpy(buf, good, SAMPLE_MAX_BYTES);
		for (k = 1 + i % 6; k; k--)
			buf[test_rng_below(&rng, bytes)] ^= 1 + test_rng_below(&rng, 255);
		changed = memcmp(buf, good, bytes);
		if (changed && !migdb_frame_parse(buf, SAMPLE_MAX_BYTES, &f) &&
		    migdb_frame_authentic(&f, key_of(&f)))
			KUNIT_FAIL(test, "round %u is authentic", i);
	}
}

static void wire_other_key(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, bytes, bit;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_key key = sample_key;
	struct migdb_frame f;

	bytes = sample_frame(buf, type, 0);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
	for (bit = 0; bit < 128; bit++) {
		key.bytes[bit / 8] ^= 1 << bit % 8;
		KUNIT_EXPECT_FALSE(test, migdb_frame_authentic(&f, &key));
		key.bytes[bit / 8] ^= 1 << bit % 8;
	}
}

/* One field of a good frame replaced, and the MAC made right again. */
struct bad_field {
	const char *name;
	u32 type;
	u32 offset;	/* in the frame */
	u32 bytes;	/* of the field */
	u64 value;
};

#define HELLO(_field)		offsetof(struct migdb_wire_hello, _field)
#define RECORDS(_field)		offsetof(struct migdb_wire_records, _field)
#define LIST(_field)		offsetof(struct migdb_wire_list, _field)
#define END(_field)		offsetof(struct migdb_wire_end, _field)
#define RUN(_nr, _field)	(sizeof(struct migdb_wire_records) + \
	(_nr) * sizeof(struct migdb_wire_run) + offsetof(struct migdb_wire_run, _field))
#define RANGE(_nr, _field)	(sizeof(struct migdb_wire_list) + \
	(_nr) * sizeof(struct migdb_wire_range) + offsetof(struct migdb_wire_range, _field))

#define LAST_GFN	((1ULL << 52) - 1)
#define LAST_BLOCK	(MIGDB_MAX_BLOCK - 1)

static const struct bad_field bad_fields[] = {
	{ "session is not the uuid's", MIGDB_FRAME_HELLO, HELLO(hdr.session), 8, 1 },
	{ "no disk, but bytes of two", MIGDB_FRAME_HELLO, HELLO(nr_disks), 4, 0 },
	{ "three disks, bytes of two", MIGDB_FRAME_HELLO, HELLO(nr_disks), 4, 3 },
	{ "disks past the maximum", MIGDB_FRAME_HELLO, HELLO(nr_disks), 4, MIGDB_MAX_DISKS + 1 },
	{ "disks whose bytes wrap", MIGDB_FRAME_HELLO, HELLO(nr_disks), 4, 0x10000002 },
	{ "all bits in disks", MIGDB_FRAME_HELLO, HELLO(nr_disks), 4, 0xffffffff },
	{ "hello reserved", MIGDB_FRAME_HELLO, HELLO(reserved), 4, 1 },
	{ "disk past the last", MIGDB_FRAME_HELLO, HELLO(disks[0].disk), 4, MIGDB_MAX_DISKS },
	{ "all bits in disk number", MIGDB_FRAME_HELLO, HELLO(disks[1].disk), 4, 0xffffffff },
	{ "disk too large", MIGDB_FRAME_HELLO, HELLO(disks[1].nr_blocks), 8, MIGDB_MAX_BLOCK + 1 },
	{ "no run", MIGDB_FRAME_RECORDS, RECORDS(nr_runs), 4, 0 },
	{ "two runs, bytes of three", MIGDB_FRAME_RECORDS, RECORDS(nr_runs), 4, 2 },
	{ "four runs, bytes of three", MIGDB_FRAME_RECORDS, RECORDS(nr_runs), 4, 4 },
	{ "runs whose bytes wrap", MIGDB_FRAME_RECORDS, RECORDS(nr_runs), 4, 0x20000003 },
	{ "all bits in runs", MIGDB_FRAME_RECORDS, RECORDS(nr_runs), 4, 0xffffffff },
	{ "no page", MIGDB_FRAME_RECORDS, RECORDS(nr_pages), 4, 0 },
	{ "five pages, tags of six", MIGDB_FRAME_RECORDS, RECORDS(nr_pages), 4, 5 },
	{ "pages whose bytes wrap", MIGDB_FRAME_RECORDS, RECORDS(nr_pages), 4, 0x20000006 },
	{ "all bits in pages", MIGDB_FRAME_RECORDS, RECORDS(nr_pages), 4, 0xffffffff },
	{ "run of nothing", MIGDB_FRAME_RECORDS, RUN(0, nr_pages), 4, 0 },
	{ "runs of more than the tags", MIGDB_FRAME_RECORDS, RUN(0, nr_pages), 4, 2 },
	{ "runs of less than the tags", MIGDB_FRAME_RECORDS, RUN(1, nr_pages), 4, 3 },
	{ "all bits in a run", MIGDB_FRAME_RECORDS, RUN(2, nr_pages), 4, 0xffffffff },
	{ "frame number without an address", MIGDB_FRAME_RECORDS, RUN(0, gfn), 8, LAST_GFN + 1 },
	{ "run over the last frame", MIGDB_FRAME_RECORDS, RUN(1, gfn), 8, LAST_GFN - 2 },
	{ "run that wraps", MIGDB_FRAME_RECORDS, RUN(1, gfn), 8, ~0ULL - 2 },
	{ "run over the last block", MIGDB_FRAME_RECORDS, RUN(1, where), 8, LAST_BLOCK - 2 },
	{ "run on no disk", MIGDB_FRAME_RECORDS, RUN(1, where), 8, (u64)MIGDB_MAX_DISKS << 44 },
	{ "all bits in a place", MIGDB_FRAME_RECORDS, RUN(0, where), 8, ~0ULL },
	{ "run reserved", MIGDB_FRAME_RECORDS, RUN(0, reserved), 4, 1 },
	{ "empty list", MIGDB_FRAME_REVOKE, LIST(nr_runs), 4, 0 },
	{ "one range, bytes of two", MIGDB_FRAME_REVOKE, LIST(nr_runs), 4, 1 },
	{ "three ranges, bytes of two", MIGDB_FRAME_BUILT, LIST(nr_runs), 4, 3 },
	{ "ranges whose bytes wrap", MIGDB_FRAME_BUILT, LIST(nr_runs), 4, 0x10000002 },
	{ "all bits in ranges", MIGDB_FRAME_RETURN, LIST(nr_runs), 4, 0xffffffff },
	{ "list reserved", MIGDB_FRAME_RETURN, LIST(reserved), 4, 1 },
	{ "range of nothing", MIGDB_FRAME_REVOKE, RANGE(0, nr_pages), 4, 0 },
	{ "range over the last frame", MIGDB_FRAME_BUILT, RANGE(1, nr_pages), 4, 8 },
	{ "range without an address", MIGDB_FRAME_RETURN, RANGE(0, gfn), 8, LAST_GFN + 1 },
	{ "all bits in a frame number", MIGDB_FRAME_RETURN, RANGE(0, gfn), 8, ~0ULL },
	{ "ranges in the wrong order", MIGDB_FRAME_REVOKE, RANGE(0, gfn), 8, LAST_GFN },
	{ "range into the next one", MIGDB_FRAME_BUILT, RANGE(1, gfn), 8, 5 },
	{ "reason past the last", MIGDB_FRAME_RETURN, RANGE(0, reason), 4, MIGDB_NR_REASONS },
	{ "all bits in a reason", MIGDB_FRAME_RETURN, RANGE(1, reason), 4, 0xffffffff },
	{ "end reserved", MIGDB_FRAME_FINISH, END(reserved), 4, 1 },
	{ "abort reserved", MIGDB_FRAME_ABORT, END(reserved), 4, 1 },
	{ "finish for an unknown reason", MIGDB_FRAME_FINISH, END(reason), 4, MIGDB_NR_REASONS },
	{ "all bits in the end's reason", MIGDB_FRAME_DRAINED, END(reason), 4, 0xffffffff },
};

static void bad_desc(const struct bad_field *c, char *desc)
{
	strscpy(desc, c->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(bad, bad_fields, bad_desc);

static void wire_bad_field(struct kunit *test)
{
	const struct bad_field *c = test->param_value;
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	__le64 v = cpu_to_le64(c->value);
	struct migdb_frame f;
	u32 bytes;

	bytes = sample_frame(buf, c->type, 0);
	KUNIT_ASSERT_LE(test, c->offset + c->bytes, bytes);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
	memcpy(buf + c->offset, &v, c->bytes);
	if (c->offset >= sizeof(struct migdb_wire_hdr))
		sample_seal(buf, c->type, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, bytes, &f), -EBADMSG);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, SAMPLE_MAX_BYTES, &f), -EBADMSG);
}

/* An abort is one whatever it says; of what it says only what is known is used. */
static void wire_abort_reason(struct kunit *test)
{
	static const struct {
		u32 said, taken;
	} c[] = {
		{ MIGDB_REASON_NONE, MIGDB_REASON_ABORTED },
		{ MIGDB_REASON_DIRTY, MIGDB_REASON_DIRTY },
		{ MIGDB_REASON_ABORTED, MIGDB_REASON_ABORTED },
		{ MIGDB_REASON_FOREIGN_REAPER, MIGDB_REASON_FOREIGN_REAPER },
		{ MIGDB_NR_REASONS - 1, MIGDB_NR_REASONS - 1 },
		{ MIGDB_NR_REASONS, MIGDB_REASON_ABORTED },
		{ 0x80000000, MIGDB_REASON_ABORTED },
		{ 0xffffffff, MIGDB_REASON_ABORTED },
	};
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_wire_end *end = (void *)buf;
	struct migdb_frame f;
	u32 bytes, i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		bytes = sample_frame(buf, MIGDB_FRAME_ABORT, 0);
		end->reason = cpu_to_le32(c[i].said);
		sample_seal(buf, MIGDB_FRAME_ABORT, bytes, 0);
		KUNIT_ASSERT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
		KUNIT_EXPECT_EQ(test, migdb_abort_reason(&f), c[i].taken);
	}
}

/* The header itself: every type and version that there is not, magic, lengths. */
static void wire_bad_header(struct kunit *test)
{
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_wire_hdr *hdr = (void *)buf;
	static const u32 lengths[] = {
		0, 1, 31, 32, 56, 63, 65, 72, MIGDB_MAX_FRAME_BYTES, MIGDB_MAX_FRAME_BYTES + 8,
		0x80000000, 0xffffffff,
	};
	struct migdb_frame f;
	u32 bytes, i, k;

	bytes = sample_frame(buf, MIGDB_FRAME_FINISH, 0);
	for (i = 0; i < 65536; i++) {
		bool known = false;

		for (k = 0; k < ARRAY_SIZE(sample_types); k++)
			known |= sample_types[k] == i;
		hdr->type = cpu_to_le16(i);
		if (!known && !migdb_frame_parse(buf, bytes, &f))
			KUNIT_FAIL(test, "type %u is accepted", i);
	}
	hdr->type = cpu_to_le16(MIGDB_FRAME_FINISH);
	for (i = 0; i < 65536; i++) {
		bool known = i >= MIGDB_WIRE_VERSION_MIN && i <= MIGDB_WIRE_VERSION;

		hdr->version = cpu_to_le16(i);
		if (known != !migdb_frame_parse(buf, bytes, &f))
			KUNIT_FAIL(test, "version %u: wrong answer", i);
	}
	hdr->version = cpu_to_le16(MIGDB_WIRE_VERSION);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		hdr->bytes = cpu_to_le32(lengths[i]);
		KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, SAMPLE_MAX_BYTES, &f), -EBADMSG);
	}
	hdr->bytes = cpu_to_le32(bytes);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, bytes, &f), 0);
	hdr->magic = cpu_to_le32(MIGDB_WIRE_MAGIC + 1);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, bytes, &f), -EBADMSG);
}

/* The largest frames that we make fit, and one more entry is refused. */
static void wire_largest_records(struct kunit *test)
{
	u32 nr = MIGDB_RECORD_FRAME_PAGES, bytes = migdb_records_bytes(nr, nr), i;
	struct migdb_wire_records *r = (void *)buffer(test, bytes + 64);
	struct migdb_wire_run *runs = migdb_records_runs(r);
	struct migdb_frame f;

	KUNIT_ASSERT_LE(test, bytes, MIGDB_MAX_FRAME_BYTES);
	r->nr_runs = cpu_to_le32(nr);
	r->nr_pages = cpu_to_le32(nr);
	for (i = 0; i <= nr; i++) {
		runs[i].gfn = cpu_to_le64(i);
		runs[i].where = cpu_to_le64(migdb_where(1, i));
		runs[i].nr_pages = cpu_to_le32(1);
		runs[i].reserved = 0;
	}
	memset(migdb_records_tags(r, nr), 0x77, nr * sizeof(__le64));
	sample_seal(r, MIGDB_FRAME_RECORDS, bytes, 0);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(r, bytes, &f), 0);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));

	r->nr_runs = cpu_to_le32(nr + 1);
	r->nr_pages = cpu_to_le32(nr + 1);
	runs[nr] = runs[nr - 1];
	sample_seal(r, MIGDB_FRAME_RECORDS, migdb_records_bytes(nr + 1, nr + 1), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(r, bytes + 64, &f), -EBADMSG);
}

/* So many runs that their length is that of one: the second is not there. */
static void wire_runs_wrap(struct kunit *test)
{
	u32 bytes = migdb_records_bytes(1, 1);
	struct migdb_wire_records *r = (void *)buffer(test, bytes);
	struct migdb_wire_run *run = migdb_records_runs(r);
	struct migdb_frame f;

	r->nr_pages = cpu_to_le32(1);
	run->nr_pages = cpu_to_le32(1);
	r->nr_runs = cpu_to_le32(1);
	sample_seal(r, MIGDB_FRAME_RECORDS, bytes, 0);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(r, bytes, &f), 0);
	r->nr_runs = cpu_to_le32(0x20000001);
	KUNIT_ASSERT_EQ(test, migdb_records_bytes(0x20000001, 1), bytes);
	sample_seal(r, MIGDB_FRAME_RECORDS, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(r, bytes, &f), -EBADMSG);
}

static void wire_largest_list(struct kunit *test)
{
	u32 nr = MIGDB_LIST_FRAME_RUNS, bytes = migdb_list_bytes(nr), i;
	struct migdb_wire_list *l = (void *)buffer(test, bytes + 64);
	struct migdb_wire_range *ranges = migdb_list_ranges(l);
	struct migdb_frame f;

	KUNIT_ASSERT_LE(test, bytes, MIGDB_MAX_FRAME_BYTES);
	l->nr_runs = cpu_to_le32(nr);
	for (i = 0; i <= nr; i++) {
		ranges[i].gfn = cpu_to_le64(i);
		ranges[i].nr_pages = cpu_to_le32(1);
	}
	sample_seal(l, MIGDB_FRAME_RETURN, bytes, 0);
	KUNIT_ASSERT_EQ(test, migdb_frame_parse(l, bytes, &f), 0);
	KUNIT_EXPECT_TRUE(test, migdb_frame_authentic(&f, &sample_key));

	l->nr_runs = cpu_to_le32(nr + 1);
	sample_seal(l, MIGDB_FRAME_RETURN, migdb_list_bytes(nr + 1), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(l, bytes + 64, &f), -EBADMSG);
}

/* Every range over all of memory: minutes of work, if it were taken. */
static void wire_list_is_one_walk(struct kunit *test)
{
	u32 nr = MIGDB_LIST_FRAME_RUNS, bytes = migdb_list_bytes(nr), i;
	struct migdb_wire_list *l = (void *)buffer(test, bytes);
	struct migdb_wire_range *ranges = migdb_list_ranges(l);
	struct migdb_frame f;

	l->nr_runs = cpu_to_le32(nr);
	for (i = 0; i < nr; i++)
		ranges[i].nr_pages = cpu_to_le32(U32_MAX);
	sample_seal(l, MIGDB_FRAME_BUILT, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(l, bytes, &f), -EBADMSG);
	/* one behind the other is fine: END_GFN has room for these */
	for (i = 0; i < nr; i++)
		ranges[i].gfn = cpu_to_le64((u64)i * U32_MAX);
	sample_seal(l, MIGDB_FRAME_BUILT, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(l, bytes, &f), 0);
	/* and one page of overlap, anywhere, is not */
	ranges[nr - 1].gfn = cpu_to_le64((u64)(nr - 1) * U32_MAX - 1);
	sample_seal(l, MIGDB_FRAME_BUILT, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(l, bytes, &f), -EBADMSG);
}

/* Two regions side by side, a hole, one more. */
static void wire_list_pages(struct kunit *test)
{
	static const struct migdb_region in[] = {
		{ .first_gfn = 0, .nr_pages = 160, .hva = 0x100000000 },
		{ .first_gfn = 160, .nr_pages = 40, .hva = 0x200000000 },
		{ .first_gfn = 300, .nr_pages = 100, .hva = 0x300000000 },
	};
	static const struct {
		u64 gfn[2];
		u32 nr[2];
		u64 pages;
	} cases[] = {
		{ { 0, 300 }, { 200, 100 }, 300 },
		{ { 0, 399 }, { 1, 1 }, 2 },
		{ { 150, 300 }, { 20, 1 }, 21 },	/* from one region into the next */
		{ { 0, 300 }, { 201, 100 }, 0 },
		{ { 199, 300 }, { 2, 1 }, 0 },
		{ { 0, 200 }, { 1, 1 }, 0 },
		{ { 0, 250 }, { 1, 100 }, 0 },
		{ { 0, 399 }, { 1, 2 }, 0 },
		{ { 0, 400 }, { 1, 1 }, 0 },
		{ { 0, 1ULL << 51 }, { 1, U32_MAX }, 0 },
		{ { 0, 200 }, { 1, U32_MAX }, 0 },
	};
	struct migdb_wire_list *l = (void *)buffer(test, migdb_list_bytes(2));
	struct migdb_wire_range *ranges = migdb_list_ranges(l);
	struct migdb_regions *rs = kunit_kzalloc(test, sizeof(*rs), GFP_KERNEL);
	u32 i, k;

	KUNIT_ASSERT_NOT_NULL(test, rs);
	KUNIT_ASSERT_EQ(test, migdb_regions_build(rs, in, ARRAY_SIZE(in)), 0);
	l->nr_runs = cpu_to_le32(2);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		for (k = 0; k < 2; k++) {
			ranges[k].gfn = cpu_to_le64(cases[i].gfn[k]);
			ranges[k].nr_pages = cpu_to_le32(cases[i].nr[k]);
		}
		KUNIT_EXPECT_EQ_MSG(test, migdb_list_pages(l, rs), cases[i].pages, "case %u", i);
	}
}

/* The number after the last one would be that of a second HELLO. */
static void wire_numbers_end(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, migdb_seq_next(0, 0));
	KUNIT_EXPECT_TRUE(test, migdb_seq_next(U32_MAX - 1, U32_MAX - 1));
	KUNIT_EXPECT_FALSE(test, migdb_seq_next(U32_MAX, U32_MAX));
	KUNIT_EXPECT_FALSE(test, migdb_seq_next(1, 0));
	KUNIT_EXPECT_FALSE(test, migdb_seq_next(0, 1));
}

/* A list of nothing and records of nothing, with the length of just that. */
static void wire_nothing(struct kunit *test)
{
	u8 *buf = buffer(test, SAMPLE_MAX_BYTES);
	struct migdb_frame f;

	sample_seal(buf, MIGDB_FRAME_BUILT, migdb_list_bytes(0), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, migdb_list_bytes(0), &f), -EBADMSG);
	sample_seal(buf, MIGDB_FRAME_RECORDS, migdb_records_bytes(0, 0), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(buf, migdb_records_bytes(0, 0), &f), -EBADMSG);
}

static void wire_most_disks(struct kunit *test)
{
	struct migdb_wire_hello *h;
	u32 bytes = sizeof(*h) + MIGDB_MAX_DISKS * sizeof(h->disks[0]), i;
	struct migdb_frame f;

	KUNIT_ASSERT_LE(test, bytes, MIGDB_MAX_FRAME_BYTES);
	h = (void *)buffer(test, bytes + sizeof(h->disks[0]));
	memcpy(h->uuid, sample_uuid, sizeof(h->uuid));
	h->nr_disks = cpu_to_le32(MIGDB_MAX_DISKS);
	for (i = 0; i < MIGDB_MAX_DISKS; i++)
		h->disks[i].disk = cpu_to_le32(i);
	sample_seal(h, MIGDB_FRAME_HELLO, bytes, 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(h, bytes, &f), 0);
	h->nr_disks = cpu_to_le32(MIGDB_MAX_DISKS + 1);
	sample_seal(h, MIGDB_FRAME_HELLO, bytes + sizeof(h->disks[0]), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(h, bytes + sizeof(h->disks[0]), &f), -EBADMSG);
	/* none is fine: nothing can be built, all is sent */
	h->nr_disks = 0;
	sample_seal(h, MIGDB_FRAME_HELLO, sizeof(*h), 0);
	KUNIT_EXPECT_EQ(test, migdb_frame_parse(h, sizeof(*h), &f), 0);
}

/* Random bodies behind a good header: refused, or inside its own length. */
static void wire_random_body(struct kunit *test)
{
	u32 type = *(const u32 *)test->param_value, i, bytes;
	struct test_rng rng = { .state = 1000 + type };
	struct migdb_frame f;
	u8 *buf;

	for (i = 0; i < 3000; i++) {
		bytes = sizeof(struct migdb_wire_hdr) + 8 * test_rng_below(&rng, 50);
		buf = kunit_kzalloc(test, bytes, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, buf);
		test_rng_bytes(&rng, buf, bytes);
		/* small counts are the dangerous ones */
		if (bytes >= sizeof(struct migdb_wire_list) && i % 2) {
			buf[32] &= 7;
			memset(buf + 33, 0, 3);
			buf[36] &= 7;
			memset(buf + 37, 0, 3);
		}
		sample_seal(buf, type, bytes, 0);
		if (!migdb_frame_parse(buf, bytes, &f))
			KUNIT_EXPECT_EQ(test, f.bytes, bytes);
		kunit_kfree(test, buf);
	}
}

static void wire_session_id(struct kunit *test)
{
	u8 uuid[MIGDB_UUID_BYTES + 1] = { 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 9, 9, 9 };

	/* not aligned, little-endian, first eight bytes only */
	KUNIT_EXPECT_EQ(test, migdb_session_id(uuid + 1), 0x8000000000000001ULL);
}

static struct kunit_case wire_cases[] = {
	KUNIT_CASE_PARAM(wire_good, type_gen_params),
	KUNIT_CASE_PARAM(wire_two, type_gen_params),
	KUNIT_CASE_PARAM(wire_cut, type_gen_params),
	KUNIT_CASE_PARAM(wire_cut_and_sealed, type_gen_params),
	KUNIT_CASE_PARAM(wire_flip, type_gen_params),
	KUNIT_CASE_PARAM(wire_noise, type_gen_params),
	KUNIT_CASE_PARAM(wire_other_key, type_gen_params),
	KUNIT_CASE_PARAM(wire_bad_field, bad_gen_params),
	KUNIT_CASE(wire_abort_reason),
	KUNIT_CASE(wire_bad_header),
	KUNIT_CASE(wire_largest_records),
	KUNIT_CASE(wire_runs_wrap),
	KUNIT_CASE(wire_largest_list),
	KUNIT_CASE(wire_list_is_one_walk),
	KUNIT_CASE(wire_list_pages),
	KUNIT_CASE(wire_numbers_end),
	KUNIT_CASE(wire_nothing),
	KUNIT_CASE(wire_most_disks),
	KUNIT_CASE_PARAM(wire_random_body, type_gen_params),
	KUNIT_CASE(wire_session_id),
	{}
};

static struct kunit_suite wire_suite = {
	.name = "migdb_wire",
	.test_cases = wire_cases,
};

kunit_test_suite(wire_suite);
