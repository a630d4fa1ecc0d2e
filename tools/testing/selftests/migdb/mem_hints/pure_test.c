// SPDX-License-Identifier: GPL-2.0
/*
 * The pure files of mem_hints against simple models, with random input and
 * under the sanitizers.  Runs anywhere, in a second; SEED=n for another run.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <asm/byteorder.h>

#include "entry.h"
#include "ident.h"
#include "index.h"
#include "notes.h"
#include "proto.h"
#include "table.h"

static int nr, nr_failed;
static uint64_t rnd_state = 1;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state;
}

static void result(bool ok, const char *name)
{
	printf("%s %d %s\n", ok ? "ok" : "not ok", ++nr, name);
	nr_failed += !ok;
}

#define CHECK(cond)							\
do {									\
	if (!(cond)) {							\
		printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
		return false;						\
	}								\
} while (0)

/* ---- table ---------------------------------------------------------------- */

static long pages_out;
static long pages_left = 1 << 20;

static void *page_alloc(void *ctx, u64 *gpa)
{
	void *page;

	if (!pages_left)
		return NULL;
	pages_left--;
	page = aligned_alloc(4096, 4096);
	memset(page, 0, 4096);
	*gpa = (uintptr_t)page;
	pages_out++;
	return page;
}

static void page_free(void *ctx, void *page, u64 gpa)
{
	free(page);
	pages_out--;
}

static void *page_at(void *ctx, u64 gpa)
{
	return (void *)(uintptr_t)gpa;
}

static const struct mhint_table_ops page_ops = {
	.alloc = page_alloc, .free = page_free, .at = page_at,
};

/* Random sets and clears against an array. */
static bool test_table_model(void)
{
	enum { FRAMES = 1 << 18 };
	static u64 model[FRAMES];
	struct mem_hint_root root = {};
	struct mhint_table t;
	u64 valid = 0, f;
	int i;

	mhint_table_init(&t, &root, &page_ops, NULL, mhint_table_levels(FRAMES));
	mhint_table_limit(&t, FRAMES, FRAMES);
	for (i = 0; i < 1000000; i++) {
		u64 e = rnd() & 3 ? mhint_entry(rnd() & 127, 0, rnd()) : 0;

		f = rnd() % FRAMES;
		if (rnd() & 1)
			f &= 4095;
		CHECK(!mhint_table_set(&t, f, e));
		model[f] = e ? mhint_entry_stamp(e, 1) : 0;
	}
	for (f = 0; f < FRAMES; f++) {
		CHECK(mhint_table_get(&t, f) == model[f]);
		valid += model[f] >> 63;
	}
	CHECK(valid == t.nr_valid && t.nr_pages == (u64)pages_out);
	for (i = 0; i < 128; i += 3)
		mhint_table_purge_disk(&t, i);
	for (f = 0, valid = 0; f < FRAMES; f++) {
		if (model[f] && !(mhint_entry_disk(model[f]) % 3))
			model[f] = 0;
		CHECK(mhint_table_get(&t, f) == model[f]);
		valid += model[f] >> 63;
	}
	CHECK(valid == t.nr_valid);
	mhint_table_clear(&t);
	CHECK(!pages_out && !t.nr_pages && !t.nr_valid && !root.table);
	return true;
}

/* Each allocation fails once; nothing is lost but the note. */
static bool test_table_nomem(void)
{
	struct mem_hint_root root = {};
	struct mhint_table t;
	int n;

	mhint_table_init(&t, &root, &page_ops, NULL, 4);
	mhint_table_limit(&t, ~0ULL, 1 << 20);
	for (n = 0; n < 4; n++) {
		pages_left = n;
		CHECK(mhint_table_set(&t, 12345678, mhint_entry(1, 0, 2)) == -ENOMEM);
		CHECK(mhint_table_get(&t, 12345678) == 0);
		mhint_table_clear(&t);
		CHECK(!pages_out);
	}
	pages_left = 1 << 20;
	CHECK(!mhint_table_set(&t, 12345678, mhint_entry(1, 0, 2)));
	mhint_table_clear(&t);
	return true;
}

/* ---- notes ---------------------------------------------------------------- */

/* Notes of a page that is written to blocks that it does not cover. */
static u32 partial_notes(struct mhint_buf *buf, u32 n, const struct mhint_io *io,
			 u64 at, u64 phys, u64 pos, u32 len)
{
	u64 from = at > phys ? at : phys;
	u64 to = at + 4096 < phys + len ? at + 4096 : phys + len;
	u64 block = (pos + from - phys) >> 12, last = (pos + to - phys - 1) >> 12;
	bool in_place = !((pos - phys) & 4095);

	if (!io->known)
		return n;
	for (; block <= last; block++) {
		if (block > MEM_HINT_BLOCK_MASK)
			continue;
		if (n < buf->size &&
		    (buf->notes[n].frame != (in_place ? at >> 12 : MHINT_NO_FRAME) ||
		     buf->notes[n].entry != (mhint_entry(io->disk, 0, block) |
					     MHINT_NOTE_WRITTEN | MHINT_NOTE_PARTIAL)))
			return ~0U;	/* no count is that */
		n++;
	}
	return n;
}

/* Random spans against one byte of model per byte of transfer. */
static bool test_notes_model(void)
{
	static struct mhint_note notes[4096];
	int i;

	for (i = 0; i < 200000; i++) {
		struct mhint_buf buf = { .size = rnd() % 64 ? 4096 : rnd() % 8, .notes = notes };
		struct mhint_counts c = {};
		struct mhint_io io = {
			.pos = (rnd() % 4 ? rnd() << 12 : rnd() << 9) & ((1ULL << 55) - 1),
			.disk = rnd() & 127, .known = rnd() % 8, .read = rnd() & 1,
		};
		u64 phys = (rnd() % 4 ? rnd() << 12 : rnd() << 2) & ((1ULL << 46) - 1);
		u32 len = rnd() % 4 ? (rnd() % 65) << 12 : (rnd() % 512) << 9;
		u64 pos = io.pos, at, whole = 0, odd = 0;
		u32 n = 0;

		mhint_note_span(&buf, &c, &io, phys, len);
		CHECK(io.pos == pos + len);
		for (at = phys & ~4095ULL; len && at < phys + len; at += 4096) {
			bool full = at >= phys && at + 4096 <= phys + len;
			u64 p = pos + at - phys;
			u64 want = 0;

			if (io.known && full && !(p & 4095)) {
				want = mhint_entry(io.disk, 0, p >> 12);
				if (!io.read)
					want |= MHINT_NOTE_WRITTEN;
				whole++;
			} else {
				odd += io.known;
				if (!io.read) {
					n = partial_notes(&buf, n, &io, at, phys, pos, len);
					continue;
				}
			}
			if (n < buf.size) {
				CHECK(notes[n].frame == at >> 12 && notes[n].entry == want);
			}
			n++;
		}
		CHECK(buf.nr == (n < buf.size ? n : buf.size));
		CHECK(c.dropped == n - buf.nr);
		CHECK(c.misaligned == odd);
		CHECK(c.noted <= whole && (c.dropped || c.noted == whole));
	}
	return true;
}

/* ---- identities ------------------------------------------------------------ */

static bool test_ident(void)
{
	struct mhint_ident a, b;
	char text[80];
	u8 bytes[32] = {};
	int i;

	for (i = 0; i < 100000; i++) {
		size_t len = rnd() % 80, j;
		int err;

		for (j = 0; j < len; j++)
			text[j] = "ab \n\0"[rnd() % 5];
		err = mhint_ident_text(&a, 1, text, len);
		CHECK(err == 0 || err == -ENODATA || err == -E2BIG);
		if (!err)
			CHECK(!mhint_ident_text(&b, 1, (char *)a.id, 64) &&
			      mhint_ident_same(&a, &b));
	}
	CHECK(mhint_ident_text(&a, 1, " \n", 2) == -ENODATA);
	CHECK(mhint_ident_hex(&a, 2, "naa.", bytes, 16) == -ENODATA);
	CHECK(mhint_ident_hex(&a, 2, "naa.", bytes, 32) == -E2BIG);
	return true;
}

/* ---- channel ---------------------------------------------------------------- */

static struct {
	int freezes, thaws, sent, errors;
	bool fail_freeze, fail_send;
} seen;

static void op_info(void *ctx, struct mem_hint_info *info)
{
	info->root_gpa = 4096;
}

static u32 op_disks(void *ctx, struct mem_hint_disk *disks, u32 max)
{
	memset(disks, 0x55, max * sizeof(*disks));
	return max;
}

static int op_freeze(void *ctx, const struct mem_hint_start *start,
		     struct mem_hint_started *out)
{
	if (seen.fail_freeze)
		return -ENOMEM;
	seen.freezes++;
	return 0;
}

static void op_thaw(void *ctx, u32 outcome)
{
	seen.thaws++;
}

static int op_send(void *ctx, const struct mem_hint_msg *head,
		   const void *payload, u32 len)
{
	static u8 copy[MEM_HINT_MSG_MAX_PAYLOAD];

	if (seen.fail_send)
		return -EPIPE;
	memcpy(copy, payload ?: "", len);
	seen.sent++;
	seen.errors += le16_to_cpu(head->type) == MEM_HINT_MSG_ERROR;
	return head->len == cpu_to_le32(len) ? 0 : -EIO;
}

static const struct mhint_proto_ops proto_ops = {
	.info = op_info, .disks = op_disks, .freeze = op_freeze,
	.thaw = op_thaw, .send = op_send,
};

/* Streams of mostly right messages with flipped bits, cut anywhere. */
static bool test_proto_random(void)
{
	struct mhint_proto *p = malloc(sizeof(*p));
	int round;

	memset(&seen, 0, sizeof(seen));
	for (round = 0; round < 50000; round++) {
		u8 stream[2048], *to;
		u32 len = 0, at = 0, want, n;
		u64 now = 0;
		int i, err = 0;

		mhint_proto_open(p, &proto_ops, NULL, 5000, now);
		for (i = 0; i < 8; i++) {
			static const u8 order[] = { 1, 4, 6, 1, 1, 4, 6, 4 };
			struct mem_hint_msg h = {
				.magic = cpu_to_le32(MEM_HINT_MSG_MAGIC),
				.type = cpu_to_le16(rnd() % 16 ? order[i] : rnd() % 10),
				.version = cpu_to_le16(1),
				.len = cpu_to_le32(16 + rnd() % 16),
				.seq = rnd(),
			};
			u64 payload[4] = { 1 };

			memcpy(stream + len, &h, sizeof(h));
			memcpy(stream + len + sizeof(h), payload, sizeof(payload));
			len += sizeof(h) + le32_to_cpu(h.len);
		}
		if (rnd() & 1)
			stream[rnd() % len] ^= 1 << rnd() % 8;
		seen.fail_freeze = !(rnd() % 8);
		seen.fail_send = !(rnd() % 16);
		while (at < len && !err) {
			want = mhint_proto_want(p, &to);
			CHECK(want);
			n = rnd() & 1 ? want : 1 + rnd() % want;
			if (n > len - at)
				n = len - at;
			memcpy(to, stream + at, n);
			at += n;
			now += rnd() % 256 ? rnd() % 100 : 6000;
			err = mhint_proto_tick(p, now) ?: mhint_proto_received(p, n, now);
		}
		CHECK(!err == (p->state != MHINT_PROTO_CLOSED));
		if (p->state == MHINT_PROTO_FROZEN)
			CHECK(seen.freezes == seen.thaws + 1);
		mhint_proto_close(p, 0, NULL);
		CHECK(p->state == MHINT_PROTO_CLOSED);
		CHECK(seen.freezes == seen.thaws);
		CHECK(!mhint_proto_want(p, &to));
		CHECK(mhint_proto_received(p, 1, now) == -ENOTCONN);
	}
	printf("# %d freezes, %d errors sent\n", seen.freezes, seen.errors);
	CHECK(seen.freezes > 1000 && seen.errors > 1000);
	free(p);
	return true;
}

int main(void)
{
	if (getenv("SEED"))
		rnd_state = strtoull(getenv("SEED"), NULL, 0) * 2 + 1;
	printf("TAP version 13\n1..5\n");
	result(test_table_model(), "table against an array");
	result(test_table_nomem(), "table without memory");
	result(test_notes_model(), "notes against a model");
	result(test_ident(), "identities");
	result(test_proto_random(), "channel: random streams");
	printf("# Totals: pass:%d fail:%d\n", nr - nr_failed, nr_failed);
	return nr_failed ? 1 : 0;
}
