// SPDX-License-Identifier: GPL-2.0
/* The agents for databases: what they read of pages, buffers and lists. */
#include <kunit/test.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "innodb/page.h"
#include "memcached/items.h"
#include "memcached/stream.h"
#include "postgres/files.h"
#include "postgres/postgres.h"

void say(const char *format, ...)
{
	(void)format;
}

/* ---- InnoDB ----------------------------------------------------------------- */

static void put32(uint8_t *to, uint32_t v)
{
	to[0] = v >> 24;
	to[1] = v >> 16;
	to[2] = v >> 8;
	to[3] = v;
}

static void first_page(uint8_t *p, uint32_t id, uint32_t flags)
{
	memset(p, 0, INNODB_FIRST_BYTES);
	p[25] = 8;
	put32(p + 34, id);
	put32(p + 38, id);
	put32(p + 46, 64);
	put32(p + 54, flags);
}

static void spaces(struct kunit *test)
{
	static const struct {
		uint32_t flags;
		uint32_t size;	/* 0: refused */
		bool full;
		bool plain;
	} cases[] = {
		{ 0x15, 16384, true, true },
		{ 0x13, 4096, true, true },
		{ 0x17, 65536, true, true },
		{ 0x18, 0 },		/* 128 KiB */
		{ 0x12, 0 },		/* 2 KiB */
		{ 0x15 | 3 << 5, 16384, true, false },	/* page compression */
		{ 0, 16384, false, true },
		{ 3 << 6, 4096, false, true },
		{ 4 << 1 | 1, 16384, false, false },	/* KEY_BLOCK_SIZE */
		{ 1 << 16, 16384, false, false },
	};
	uint8_t *p = kunit_kzalloc(test, INNODB_FIRST_BYTES, GFP_KERNEL);
	struct innodb_space s;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		first_page(p, 7, cases[i].flags);
		KUNIT_ASSERT_EQ(test, innodb_space_parse(p, &s), cases[i].size > 0);
		if (!cases[i].size)
			continue;
		KUNIT_EXPECT_EQ(test, s.id, 7u);
		KUNIT_EXPECT_EQ(test, s.page_size, cases[i].size);
		KUNIT_EXPECT_EQ(test, s.full_crc32, cases[i].full);
		KUNIT_EXPECT_EQ(test, s.plain, cases[i].plain);
	}
	first_page(p, 7, 0x15);
	put32(p + 34, 8);	/* two ids */
	KUNIT_EXPECT_FALSE(test, innodb_space_parse(p, &s));
	first_page(p, 7, 0x15);
	put32(p + 4, 1);	/* not the first page */
	KUNIT_EXPECT_FALSE(test, innodb_space_parse(p, &s));
	first_page(p, 7, 0x15);
	p[25] = 0;		/* not of this type */
	KUNIT_EXPECT_FALSE(test, innodb_space_parse(p, &s));
	memset(p, 0, INNODB_FIRST_BYTES);
	KUNIT_EXPECT_FALSE(test, innodb_space_parse(p, &s));
}

static void clean_and_dirty(struct kunit *test)
{
	struct innodb_space new_form = { .full_crc32 = true }, old_form = {};
	uint8_t head[INNODB_HEAD_BYTES] = {}, tail[INNODB_TAIL_BYTES] = {};
	struct innodb_head h;

	innodb_head_parse(head, &h);
	KUNIT_EXPECT_FALSE(test, h.any);
	put32(head + 4, 123);
	put32(head + 16, 1);
	put32(head + 20, 0x80000001);
	put32(head + 34, 9);
	innodb_head_parse(head, &h);
	KUNIT_EXPECT_TRUE(test, h.any);
	KUNIT_EXPECT_EQ(test, h.page, 123u);
	KUNIT_EXPECT_EQ(test, h.space, 9u);
	put32(tail, 0x80000001);
	KUNIT_EXPECT_TRUE(test, innodb_clean(&h, tail, &new_form));
	KUNIT_EXPECT_FALSE(test, innodb_clean(&h, tail, &old_form));
	put32(tail, 0x80000000);
	put32(tail + 4, 0x80000001);
	KUNIT_EXPECT_FALSE(test, innodb_clean(&h, tail, &new_form));
	KUNIT_EXPECT_TRUE(test, innodb_clean(&h, tail, &old_form));
}

/* ---- PostgreSQL --------------------------------------------------------------- */

static void paths(struct kunit *test)
{
	struct server s = { .block_size = 8192, .segment_blocks = 131072, .catalog = "PG_15_1" };
	struct tag t = { 1663, 5, 16384, 0, 131071 };
	char path[128];

	KUNIT_EXPECT_TRUE(test, tag_path(&s, &t, path, sizeof(path)));
	KUNIT_EXPECT_STREQ(test, path, "base/5/16384");
	t.block = 131072;
	KUNIT_EXPECT_TRUE(test, tag_path(&s, &t, path, sizeof(path)));
	KUNIT_EXPECT_STREQ(test, path, "base/5/16384.1");
	t = (struct tag){ 1664, 0, 1262, 2, 0 };
	KUNIT_EXPECT_TRUE(test, tag_path(&s, &t, path, sizeof(path)));
	KUNIT_EXPECT_STREQ(test, path, "global/1262_vm");
	t = (struct tag){ 20000, 5, 16385, 1, 7 };
	KUNIT_EXPECT_TRUE(test, tag_path(&s, &t, path, sizeof(path)));
	KUNIT_EXPECT_STREQ(test, path, "pg_tblspc/20000/PG_15_1/5/16385_fsm");
	t.fork = 4;
	KUNIT_EXPECT_FALSE(test, tag_path(&s, &t, path, sizeof(path)));
	t.fork = -1;
	KUNIT_EXPECT_FALSE(test, tag_path(&s, &t, path, sizeof(path)));
	t.fork = 0;
	KUNIT_EXPECT_FALSE(test, tag_path(&s, &t, path, 8));
	t.relation = 0;
	KUNIT_EXPECT_FALSE(test, tag_path(&s, &t, path, sizeof(path)));
}

static void descriptors(struct kunit *test)
{
	struct server s = { .nr_buffers = 3, .descs_at = 128 };
	uint32_t *d;
	struct tag t;
	unsigned int i;

	s.memory = kunit_kzalloc(test, 128 + 3 * 64, GFP_KERNEL);
	for (i = 0; i < 3; i++) {
		d = (uint32_t *)(s.memory + 128 + 64 * i);
		d[0] = 1663;
		d[2] = 100 + i;
		d[4] = 7;
		d[5] = i;
	}
	KUNIT_EXPECT_TRUE(test, buffers_known(&s));
	d[6] = 1 << 24;				/* valid, but of nothing */
	KUNIT_EXPECT_EQ(test, (int)buffer_state(&s, 2, &t), (int)BUFFER_NOTHING);
	d[6] = 1 << 24 | 1 << 25 | 5;		/* in use by five */
	KUNIT_EXPECT_EQ(test, (int)buffer_state(&s, 2, &t), (int)BUFFER_CLEAN);
	KUNIT_EXPECT_EQ(test, t.relation, 102u);
	KUNIT_EXPECT_EQ(test, t.block, 7u);
	d[6] |= 1 << 23;
	KUNIT_EXPECT_EQ(test, (int)buffer_state(&s, 2, &t), (int)BUFFER_DIRTY);
	d[5] = 1;				/* of another form */
	KUNIT_EXPECT_FALSE(test, buffers_known(&s));
}

static uint64_t what_is_there(uint64_t i)
{
	return i + 1;
}

static void in_the_time(struct kunit *test)
{
	struct server s = { .nr_buffers = 1000 };
	uint64_t desc[1000], i;

	memset(desc, 0xff, sizeof(desc));
	buffers_describe(&s, desc, what_is_there, UINT64_MAX);
	for (i = 0; i < s.nr_buffers; i++)
		KUNIT_EXPECT_EQ(test, desc[i], i + 1);
	buffers_describe(&s, desc, what_is_there, now_us());
	for (i = 0; i < s.nr_buffers; i++)
		KUNIT_EXPECT_EQ(test, desc[i], (uint64_t)0);
}

static unsigned int nr_dropped;

static void drop_one(struct file *f)
{
	nr_dropped += f->fd == -1;
}

/* Each field of a tag makes it another file, but blocks of one segment are of one. */
static void files_of_blocks(struct kunit *test)
{
	enum { EACH = 5, ALL = EACH * EACH * EACH * EACH * EACH };
	struct server s = { .segment_blocks = 100 };
	struct files files = {};
	struct file **made = kunit_kzalloc(test, ALL * sizeof(*made), GFP_KERNEL);
	unsigned int i, round;
	bool new;

	for (round = 0; round < 3; round++)
		for (i = 0; i < ALL; i++) {
			struct tag t = { i % 5, i / 5 % 5, i / 25 % 5, i / 125 % 5,
					 i / 625 * 100 + 33 * round };
			struct file *f = files_get(&files, &s, &t, &new);

			KUNIT_ASSERT_NOT_NULL(test, f);
			KUNIT_EXPECT_EQ(test, new, round == 0);
			if (new)
				made[i] = f;
			KUNIT_EXPECT_PTR_EQ(test, f, made[i]);
			KUNIT_EXPECT_EQ(test, f->tag.block, i / 625 * 100);
			KUNIT_EXPECT_PTR_EQ(test, files_get(&files, &s, &t, &new), f);
		}
	files_free(&files, drop_one);
	KUNIT_EXPECT_EQ(test, nr_dropped, (unsigned int)ALL);
	KUNIT_EXPECT_TRUE(test, !files.first && !files.last && !files.tree);
}

/* ---- memcached ----------------------------------------------------------------- */

static void listed(struct kunit *test)
{
	struct items items = {};

	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=a%20b exp=-1 la=5 cas=1 fetch=no cls=1 size=9000\r\n", 8192));
	KUNIT_EXPECT_EQ(test, items.nr, (size_t)0);	/* no key has a blank */
	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=small exp=-1 la=5 cas=1 fetch=no cls=1 size=100\r\n", 8192));
	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=%zz exp=-1 la=5 cas=1 fetch=no cls=1 size=9000\r\n", 8192));
	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=", 8192));
	KUNIT_EXPECT_TRUE(test, items_add(&items, " size=9000", 8192));
	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=%4", 8192));
	KUNIT_EXPECT_EQ(test, items.nr, (size_t)0);
	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=a%25b exp=-1 la=5 cas=1 fetch=yes cls=1 size=9000\r\n", 8192));
	KUNIT_ASSERT_EQ(test, items.nr, (size_t)1);
	KUNIT_EXPECT_STREQ(test, items.item[0].key, "a%b");
	KUNIT_EXPECT_TRUE(test, items.item[0].fetched);
	KUNIT_EXPECT_EQ(test, items.item[0].used_s, 5u);
	KUNIT_EXPECT_EQ(test, items.bytes, (uint64_t)9000);
	items_free(&items);
}

static void cold_ones(struct kunit *test)
{
	static const char * const lines[] = {
		"key=hot exp=-1 la=9 cas=1 fetch=yes cls=1 size=10000",
		"key=new exp=-1 la=99 cas=1 fetch=no cls=1 size=10000",
		"key=old exp=-1 la=1 cas=1 fetch=no cls=1 size=10000",
		"key=warm exp=-1 la=2 cas=1 fetch=yes cls=1 size=10000",
	};
	static const size_t cold[] = { 4, 3, 2, 2, 1, 1, 0, 0, 0 };
	struct items items = {};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lines); i++)
		items_add(&items, lines[i], 8192);
	/* at least what is to be kept is */
	for (i = 0; i < ARRAY_SIZE(cold); i++)
		KUNIT_EXPECT_EQ(test, items_cold(&items, i == 8 ? 100 : 13 * i), cold[i]);
	KUNIT_EXPECT_STREQ(test, items.item[0].key, "old");
	KUNIT_EXPECT_STREQ(test, items.item[1].key, "new");
	KUNIT_EXPECT_STREQ(test, items.item[2].key, "warm");
	KUNIT_EXPECT_STREQ(test, items.item[3].key, "hot");
	items_free(&items);
	KUNIT_EXPECT_EQ(test, items_cold(&items, 0), (size_t)0);
}

static void not_too_many(struct kunit *test)
{
	struct items items = { .nr = ITEMS_MAX, .room = ITEMS_MAX, .bytes = 5 };

	KUNIT_EXPECT_TRUE(test, items_add(&items, "key=a exp=-1 la=5 cas=1 fetch=no cls=1 size=9000", 8192));
	KUNIT_EXPECT_EQ(test, items.nr, (size_t)ITEMS_MAX);
	KUNIT_EXPECT_EQ(test, items.bytes, (uint64_t)5);
}

/* Also when the other end always has something to say, or room. */
static void deadline(struct kunit *test)
{
	struct stream s;
	char line[16];
	int fds[2];

	KUNIT_ASSERT_EQ(test, socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	KUNIT_ASSERT_TRUE(test, stream_open(&s, fds[0], now_us() + 60000000));
	KUNIT_EXPECT_EQ(test, write(fds[1], "a\nb\nc", 5), (ssize_t)5);
	KUNIT_EXPECT_TRUE(test, fgets(line, sizeof(line), s.in) != NULL);
	KUNIT_EXPECT_STREQ(test, line, "a\n");
	KUNIT_EXPECT_TRUE(test, fputs("hello", s.out) >= 0 && !fflush(s.out));
	KUNIT_EXPECT_EQ(test, read(fds[1], line, sizeof(line)), (ssize_t)5);

	s.until_us = now_us();
	KUNIT_EXPECT_EQ(test, write(fds[1], "d\n", 2), (ssize_t)2);
	KUNIT_EXPECT_TRUE(test, fgets(line, sizeof(line), s.in) != NULL);	/* was read */
	KUNIT_EXPECT_STREQ(test, line, "b\n");
	KUNIT_EXPECT_FALSE(test, fgets(line, sizeof(line), s.in) && line[1]);
	KUNIT_EXPECT_TRUE(test, ferror(s.in));
	KUNIT_EXPECT_TRUE(test, fputs("hello", s.out) < 0 || fflush(s.out));
	stream_close(&s);
	close(fds[1]);
}

static struct kunit_case agents_cases[] = {
	KUNIT_CASE(spaces),
	KUNIT_CASE(clean_and_dirty),
	KUNIT_CASE(paths),
	KUNIT_CASE(descriptors),
	KUNIT_CASE(in_the_time),
	KUNIT_CASE(files_of_blocks),
	KUNIT_CASE(listed),
	KUNIT_CASE(cold_ones),
	KUNIT_CASE(not_too_many),
	KUNIT_CASE(deadline),
	{}
};

static struct kunit_suite agents_suite = {
	.name = "agents",
	.test_cases = agents_cases,
};
kunit_test_suite(agents_suite);
