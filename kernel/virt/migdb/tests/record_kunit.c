// SPDX-License-Identifier: GPL-2.0
/* KUnit suite of record.c. */
#include <linux/bits.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/string.h>
#include "../fsm.h"
#include "../record.h"
#include "test_util.h"

#define SEC	1000000000ull
/* printk's lines are shorter than 1024 bytes, with the name in front and the NUL. */
#define ROOM	(1024 - sizeof("migdb-json: "))

static struct migdb_record sample(void)
{
	struct migdb_record r = {
		.label = "vm-1", .role = "source", .outcome = "done",
		.reason = migdb_reason_str(MIGDB_REASON_NONE),
		.peer_reason = 1,
		.candidates = 20, .recorded = 15, .built = 8, .revoked = 4, .returned = 2,
		.sent = 7, .pending = 1, .dropped = 3, .left = 2, .harvested = 21, .reads = 22,
		.read_bytes = 23, .tx_bytes = 24, .rx_bytes = 25,
		.hash_bytes_per_s = 27, .record_bytes_per_s = 28, .fetch_bytes_per_s = 29,
		.memory_bytes = 30, .ms = 31,
	};
	unsigned int i;

	for (i = 0; i < MIGDB_NR_REASONS; i++)
		r.by_reason[i] = 100 + i;
	return r;
}

static void record_json(struct kunit *test)
{
	static const char * const want[] = {
		"{\"label\":\"vm-1\",\"role\":\"source\",\"outcome\":\"done\",",
		"\"reason\":\"none\",\"peer_reason\":1,\"candidates\":20,\"recorded\":15,\"built\":8,",
		"\"revoked\":4,\"returned\":2,\"sent\":7,\"pending\":1,\"dropped\":3,",
		"\"left\":2,\"by_reason\":{\"dirty\":101,\"zero\":102,\"mismatch\":103,",
		"\"io_error\":104,\"late\":105,\"no_memory\":106,\"no_disk\":107,\"twice\":108,",
		"\"bad_range\":109,\"fault\":110,\"invalidated\":111,\"disabled\":112,",
		"\"aborted\":113,\"bad_stream\":114,\"foreign_reaper\":115,\"uncovered\":116,",
		"\"unarmed\":117,\"taken\":118,\"present\":119},\"harvested\":21,\"reads\":22,\"read_bytes\":23,",
		"\"tx_bytes\":24,\"rx_bytes\":25,\"hash_bytes_per_s\":27,",
		"\"record_bytes_per_s\":28,\"fetch_bytes_per_s\":29,\"memory_bytes\":30,",
		"\"ms\":31}",
	};
	struct migdb_record r = sample();
	static char text[MIGDB_RECORD_BYTES];
	const char *at = text;
	unsigned int i;

	KUNIT_EXPECT_EQ(test, migdb_record_json(text, sizeof(text), &r), (int)strlen(text));
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		KUNIT_ASSERT_EQ_MSG(test, strncmp(at, want[i], strlen(want[i])), 0,
				    "%s is not %s", at, want[i]);
		at += strlen(want[i]);
	}
	KUNIT_EXPECT_EQ(test, *at, 0);
}

/* The most that a guest of the greatest size can bring about, and a year of it. */
static void record_fits(struct kunit *test)
{
	static char label[MIGDB_LABEL_BYTES], text[2 * MIGDB_RECORD_BYTES];
	const u64 pages = MIGDB_MAX_PAGES, bytes = pages * MIGDB_PAGE_BYTES;
	struct migdb_record r = sample();
	unsigned int i;
	int n;

	memset(label, 'x', sizeof(label) - 1);
	r.label = label;
	r.role = "destination";
	r.outcome = "refused";
	r.reason = migdb_reason_str(MIGDB_REASON_FOREIGN_REAPER);
	r.candidates = pages;
	r.recorded = pages;
	r.built = pages / 4;
	r.revoked = pages / 4;
	r.returned = pages / 4;
	r.pending = pages / 4;
	r.sent = pages;
	r.dropped = 0;
	r.left = 0;
	for (i = 0; i < MIGDB_NR_REASONS; i++)
		r.by_reason[i] = pages / 2 / (MIGDB_NR_REASONS - 1);
	r.harvested = 100 * pages;
	r.reads = pages;
	r.read_bytes = 2 * bytes;
	r.tx_bytes = bytes;
	r.rx_bytes = bytes;
	r.hash_bytes_per_s = 1ull << 36;
	r.record_bytes_per_s = 1ull << 36;
	r.fetch_bytes_per_s = 1ull << 36;
	r.memory_bytes = bytes / 64;
	r.ms = 365 * 86400 * 1000ull;
	n = migdb_record_json(text, sizeof(text), &r);
	KUNIT_EXPECT_LT(test, n, (int)MIGDB_RECORD_BYTES);
	KUNIT_EXPECT_LE(test, n, (int)ROOM - 1);
	KUNIT_EXPECT_LE(test, (int)MIGDB_RECORD_BYTES, (int)ROOM);
	KUNIT_EXPECT_EQ(test, text[n - 1], '}');
	n = migdb_record_line(text, sizeof(text), &r);
	KUNIT_EXPECT_LT(test, n, (int)MIGDB_RECORD_BYTES);
}

/* Too little room: cut, never written past. */
static void record_is_cut(struct kunit *test)
{
	struct migdb_record r = sample();
	static char text[MIGDB_RECORD_BYTES];
	size_t size;

	for (size = 1; size < 700; size++) {
		memset(text, 0x7f, sizeof(text));
		KUNIT_EXPECT_LT(test, migdb_record_json(text, size, &r), (int)size);
		KUNIT_EXPECT_LT(test, strnlen(text, size), size);
		KUNIT_EXPECT_EQ(test, text[size], 0x7f);
	}
}

static void record_line(struct kunit *test)
{
	struct migdb_record r = sample();
	static char text[MIGDB_RECORD_BYTES];
	const char *want;

	migdb_record_line(text, sizeof(text), &r);
	KUNIT_EXPECT_STREQ(test, text,
			   "vm-1: source done: 8 of 15 recorded pages built, 4 revoked, 2 returned, 31 ms; 7 sent; bytes/s: 27 hashed, 28 recorded, 29 fetched");
	r.reason = "max_sessions";
	r.outcome = "refused";
	migdb_record_line(text, sizeof(text), &r);
	want = "vm-1: source refused, ordinary because the other side says: max_sessions: ";
	KUNIT_EXPECT_TRUE(test, !strncmp(text, want, strlen(want)));
	r.peer_reason = 0;
	migdb_record_line(text, sizeof(text), &r);
	want = "vm-1: source refused, ordinary because: max_sessions: ";
	KUNIT_EXPECT_TRUE(test, !strncmp(text, want, strlen(want)));
}

static void record_rate(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, migdb_rate(0, SEC), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate(4096, 0), 0ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate(4096, SEC), 4096ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate(4096, 4 * SEC), 1024ULL);
	KUNIT_EXPECT_EQ(test, migdb_rate(1, 1), 1000000ULL);	/* no finer than a microsecond */
	KUNIT_EXPECT_EQ(test, migdb_rate(BIT_ULL(44), SEC), BIT_ULL(44));
	/* where bytes * 10^6 does not fit any more */
	KUNIT_EXPECT_EQ(test, migdb_rate(BIT_ULL(50), SEC), div_u64(BIT_ULL(50), 1000) * 1000);
	KUNIT_EXPECT_GT(test, migdb_rate(U64_MAX, 1), BIT_ULL(60));
	KUNIT_EXPECT_EQ(test, migdb_rate(1, U64_MAX), 0ULL);
}

/* As many as there may be, then none, then a count of those, then all again. */
static void record_limit(struct kunit *test)
{
	struct migdb_log_limit l = {};
	u64 now = 100 * SEC;
	u32 i, lost;

	for (i = 0; i < MIGDB_LOG_SESSIONS; i++) {
		KUNIT_EXPECT_TRUE(test, migdb_log_admit(&l, now, &lost));
		KUNIT_EXPECT_EQ(test, lost, 0u);
		now++;
	}
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_FALSE(test, migdb_log_admit(&l, now, &lost));
	/* one more for each interval, however long it goes on */
	now += 2 * MIGDB_LOG_EVERY_NS;
	KUNIT_EXPECT_TRUE(test, migdb_log_admit(&l, now, &lost));
	KUNIT_EXPECT_EQ(test, lost, 3u);
	KUNIT_EXPECT_TRUE(test, migdb_log_admit(&l, now, &lost));
	KUNIT_EXPECT_EQ(test, lost, 0u);
	KUNIT_EXPECT_FALSE(test, migdb_log_admit(&l, now, &lost));
	for (i = 0; i < 4 * MIGDB_LOG_SESSIONS; i++) {
		now += MIGDB_LOG_EVERY_NS;
		KUNIT_EXPECT_TRUE(test, migdb_log_admit(&l, now, &lost));
		KUNIT_EXPECT_EQ(test, lost, 1u);
		KUNIT_EXPECT_FALSE(test, migdb_log_admit(&l, now, &lost));
	}
	/* all again, and no more than that, however long it was quiet */
	now += 1000 * MIGDB_LOG_SESSIONS * MIGDB_LOG_EVERY_NS;
	for (i = 0; i < MIGDB_LOG_SESSIONS; i++)
		KUNIT_EXPECT_TRUE(test, migdb_log_admit(&l, now, &lost));
	KUNIT_EXPECT_FALSE(test, migdb_log_admit(&l, now, &lost));
}

static struct kunit_case record_cases[] = {
	KUNIT_CASE(record_json),
	KUNIT_CASE(record_fits),
	KUNIT_CASE(record_is_cut),
	KUNIT_CASE(record_line),
	KUNIT_CASE(record_rate),
	KUNIT_CASE(record_limit),
	{}
};

static struct kunit_suite record_suite = {
	.name = "migdb_record",
	.test_cases = record_cases,
};

kunit_test_suite(record_suite);
