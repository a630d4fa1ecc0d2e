// SPDX-License-Identifier: GPL-2.0
/* KUnit: cutting I/O into notes, and the identities of disks. */
#include <kunit/test.h>

#include "../entry.h"
#include "../ident.h"
#include "../index.h"
#include "../notes.h"

#define BUF_NOTES 16

struct sink {
	struct mhint_note notes[BUF_NOTES];
	struct mhint_buf buf;
	struct mhint_counts counts;
};

static void note(struct sink *s, u64 sector, u64 phys, u32 len, bool known,
		 bool read)
{
	struct mhint_io io = {
		.pos = sector << 9,
		.disk = 3,
		.known = known,
		.read = read,
	};

	memset(s, 0, sizeof(*s));
	s->buf.size = BUF_NOTES;
	s->buf.notes = s->notes;
	mhint_note_span(&s->buf, &s->counts, &io, phys, len);
}

static void expect_note(struct kunit *test, struct sink *s, u32 i, u64 frame,
			u64 entry)
{
	KUNIT_ASSERT_LT(test, i, s->buf.nr);
	KUNIT_EXPECT_EQ(test, s->notes[i].frame, frame);
	KUNIT_EXPECT_EQ(test, s->notes[i].entry, entry);
}

static void one_page(struct kunit *test)
{
	struct sink s;

	note(&s, 80, 0x5000, 4096, true, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 1);
	expect_note(test, &s, 0, 5, mhint_entry(3, 0, 10));
	KUNIT_EXPECT_EQ(test, s.counts.noted, 1);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 0);
	note(&s, 80, 0x5000, 4096, true, false);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 1);
	expect_note(test, &s, 0, 5, mhint_entry(3, 0, 10) | MHINT_NOTE_WRITTEN);
}

static void many_pages(struct kunit *test)
{
	struct sink s;
	u32 i;

	note(&s, 0, 0x100000000ULL, 8 * 4096, true, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 8);
	for (i = 0; i < 8; i++)
		expect_note(test, &s, i, 0x100000 + i, mhint_entry(3, 0, i));
}

static void odd_sector(struct kunit *test)
{
	struct sink s;

	note(&s, 81, 0x5000, 8192, true, true);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 2);
	KUNIT_EXPECT_EQ(test, s.counts.noted, 0);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 2);
	expect_note(test, &s, 0, 5, 0);
	expect_note(test, &s, 1, 6, 0);
}

static u64 partial(u64 block)
{
	return mhint_entry(3, 0, block) | MHINT_NOTE_WRITTEN | MHINT_NOTE_PARTIAL;
}

/* Blocks that are written in part are not what other pages hold any more. */
static void odd_write(struct kunit *test)
{
	struct sink s;

	note(&s, 81, 0x5000, 8192, true, false);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 2);
	KUNIT_EXPECT_EQ(test, s.counts.noted, 0);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 4);
	expect_note(test, &s, 0, MHINT_NO_FRAME, partial(10));
	expect_note(test, &s, 1, MHINT_NO_FRAME, partial(11));
	expect_note(test, &s, 2, MHINT_NO_FRAME, partial(11));
	expect_note(test, &s, 3, MHINT_NO_FRAME, partial(12));
	/* The same part of page and block. */
	note(&s, 81, 0x5200, 512, true, false);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 1);
	expect_note(test, &s, 0, 5, partial(10));
	/* The end of one and the beginning of the next. */
	note(&s, 87, 0x5e00, 1024, true, false);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 2);
	expect_note(test, &s, 0, 5, partial(10));
	expect_note(test, &s, 1, 6, partial(11));
}

static void odd_memory(struct kunit *test)
{
	struct sink s;

	note(&s, 80, 0x5200, 4096, true, true);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 2);
	expect_note(test, &s, 0, 5, 0);
	expect_note(test, &s, 1, 6, 0);
}

static void whole_in_the_middle(struct kunit *test)
{
	struct sink s;

	note(&s, 84, 0x5800, 2048 + 4096 + 512, true, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 3);
	expect_note(test, &s, 0, 5, 0);
	expect_note(test, &s, 1, 6, mhint_entry(3, 0, 11));
	expect_note(test, &s, 2, 7, 0);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 2);
	KUNIT_EXPECT_EQ(test, s.counts.noted, 1);
}

static void unknown_disk(struct kunit *test)
{
	struct sink s;

	note(&s, 80, 0x5000, 8192, false, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 2);
	expect_note(test, &s, 0, 5, 0);
	KUNIT_EXPECT_EQ(test, s.counts.noted, 0);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 0);
	note(&s, 80, 0x5000, 8192, false, false);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 0);
}

static void full_buffer(struct kunit *test)
{
	struct sink s;

	note(&s, 0, 0, (BUF_NOTES + 3) * 4096, true, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, BUF_NOTES);
	KUNIT_EXPECT_EQ(test, s.counts.noted, BUF_NOTES);
	KUNIT_EXPECT_EQ(test, s.counts.dropped, 3);
}

static void beyond_the_block_field(struct kunit *test)
{
	struct sink s;

	note(&s, MEM_HINT_BLOCK_MASK * 8, 0x5000, 8192, true, true);
	KUNIT_EXPECT_EQ(test, s.counts.noted, 1);
	expect_note(test, &s, 0, 5, mhint_entry(3, 0, MEM_HINT_BLOCK_MASK));
	expect_note(test, &s, 1, 6, 0);
}

static void nothing(struct kunit *test)
{
	struct sink s;

	note(&s, 80, 0x5200, 0, true, true);
	KUNIT_EXPECT_EQ(test, s.buf.nr, 0);
	KUNIT_EXPECT_EQ(test, s.counts.misaligned, 0);
}

/* Two spans of one transfer: the position goes on. */
static void position_moves_on(struct kunit *test)
{
	struct mhint_io io = { .pos = 4096, .disk = 3, .known = true, .read = true };
	struct sink s = { .buf.size = BUF_NOTES };

	s.buf.notes = s.notes;
	mhint_note_span(&s.buf, &s.counts, &io, 0x9000, 4096);
	mhint_note_span(&s.buf, &s.counts, &io, 0x2000, 4096);
	KUNIT_EXPECT_EQ(test, io.pos, 3 * 4096);
	expect_note(test, &s, 0, 9, mhint_entry(3, 0, 1));
	expect_note(test, &s, 1, 2, mhint_entry(3, 0, 2));
}

static void ident_text(struct kunit *test)
{
	struct mhint_ident a, b;
	char full[65];

	KUNIT_EXPECT_EQ(test, 0, mhint_ident_text(&a, 1, "disk1", 5));
	KUNIT_EXPECT_EQ(test, 0, mhint_ident_text(&b, 1, "disk1  \012", 20));
	KUNIT_EXPECT_TRUE(test, mhint_ident_same(&a, &b));
	KUNIT_EXPECT_EQ(test, 0, mhint_ident_text(&b, 4, "disk1", 5));
	KUNIT_EXPECT_FALSE(test, mhint_ident_same(&a, &b));
	KUNIT_EXPECT_EQ(test, 0, mhint_ident_text(&b, 1, "disk10", 6));
	KUNIT_EXPECT_FALSE(test, mhint_ident_same(&a, &b));
	KUNIT_EXPECT_EQ(test, -ENODATA, mhint_ident_text(&a, 1, "", 20));
	KUNIT_EXPECT_EQ(test, -ENODATA, mhint_ident_text(&a, 1, "   ", 3));
	KUNIT_EXPECT_EQ(test, -ENODATA, mhint_ident_text(&a, 1, "abc", 0));
	memset(full, 'x', sizeof(full));
	KUNIT_EXPECT_EQ(test, 0, mhint_ident_text(&a, 1, full, 64));
	KUNIT_EXPECT_EQ(test, -E2BIG, mhint_ident_text(&a, 1, full, 65));
}

static void ident_hex(struct kunit *test)
{
	static const u8 wwid[8] = { 0x50, 0, 0xc5, 0, 0xa1, 0xb2, 0xc3, 0xd4 };
	static const u8 zero[16];
	struct mhint_ident a;

	KUNIT_EXPECT_EQ(test, 0, mhint_ident_hex(&a, 2, "naa.", wwid, 8));
	KUNIT_EXPECT_STREQ(test, (char *)a.id, "naa.5000c500a1b2c3d4");
	KUNIT_EXPECT_EQ(test, -ENODATA, mhint_ident_hex(&a, 2, "naa.", zero, 16));
	KUNIT_EXPECT_EQ(test, -ENODATA, mhint_ident_hex(&a, 2, "naa.", zero, 0));
	KUNIT_EXPECT_EQ(test, -E2BIG, mhint_ident_hex(&a, 2, "naa.", zero, 31));
}

static struct kunit_case notes_cases[] = {
	KUNIT_CASE(one_page),
	KUNIT_CASE(many_pages),
	KUNIT_CASE(odd_sector),
	KUNIT_CASE(odd_write),
	KUNIT_CASE(odd_memory),
	KUNIT_CASE(whole_in_the_middle),
	KUNIT_CASE(unknown_disk),
	KUNIT_CASE(full_buffer),
	KUNIT_CASE(beyond_the_block_field),
	KUNIT_CASE(nothing),
	KUNIT_CASE(position_moves_on),
	KUNIT_CASE(ident_text),
	KUNIT_CASE(ident_hex),
	{}
};

static struct kunit_suite notes_suite = {
	.name = "mem_hints_notes",
	.test_cases = notes_cases,
};

kunit_test_suite(notes_suite);
