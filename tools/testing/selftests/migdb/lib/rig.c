// SPDX-License-Identifier: MIT
/* See rig.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "guest_abi.h"
#include "rig.h"
#include "siphash.h"

void rig_fill(void *page, u64 n)
{
	u64 *words = page, i;

	for (i = 0; i < MDB_PAGE / 8; i++)
		words[i] = guest_mix(n, i, 41);
}

int rig_fill_disk(int fd, u64 nr)
{
	enum { CHUNK = 256 };
	u64 block, i, n;
	int rc = 0;
	u8 *buf;

	if (posix_memalign((void **)&buf, MDB_PAGE, CHUNK * MDB_PAGE))
		return -ENOMEM;
	for (block = 0; block < nr && !rc; block += n) {
		n = nr - block < CHUNK ? nr - block : CHUNK;
		for (i = 0; i < n; i++)
			rig_fill(buf + i * MDB_PAGE, block + i);
		if (pwrite(fd, buf, n * MDB_PAGE, block * MDB_PAGE) != (ssize_t)(n * MDB_PAGE))
			rc = -EIO;
	}
	free(buf);
	return rc;
}

int rig_init(struct rig *r, u64 nr_pages)
{
	u64 page;
	int rc;

	*r = (struct rig){ .nr_pages = nr_pages, .src = MDB_CLOSED, .dst = MDB_CLOSED };
	if (getrandom(r->uuid, sizeof(r->uuid), 0) != sizeof(r->uuid))
		return -EIO;
	r->src_ram = mmap(NULL, nr_pages * MDB_PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->dst_ram = mmap(NULL, nr_pages * MDB_PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->delivered = calloc(nr_pages, 1);
	if (r->src_ram == MAP_FAILED || r->dst_ram == MAP_FAILED || !r->delivered)
		return -ENOMEM;
	memset(r->dst_ram, RIG_POISON, nr_pages * MDB_PAGE);
	r->disk = disk_create(r->disk_path, "rig", nr_pages * MDB_PAGE);
	if (r->disk < 0)
		return r->disk;
	rc = rig_fill_disk(r->disk, nr_pages);
	if (rc)
		return rc;
	hints_init(&r->hints, r->src_ram, 0, nr_pages);
	if (r->hints.end_gpa > RIG_FIRST * MDB_PAGE)
		return -EINVAL;
	for (page = RIG_FIRST; page < nr_pages; page++) {
		rig_fill(r->src_ram + page * MDB_PAGE, page);
		hints_set(&r->hints, page, hint_entry(RIG_GUEST_DISK, page));
	}
	return 0;
}

void rig_exit(struct rig *r)
{
	mdb_close(&r->src);
	mdb_close(&r->dst);
	munmap(r->src_ram, r->nr_pages * MDB_PAGE);
	munmap(r->dst_ram, r->nr_pages * MDB_PAGE);
	free(r->delivered);
	free(r->missing);
	if (r->uffd > 0)
		close(r->uffd);
	wire_free(&r->pump);
	close(r->disk);
	unlink(r->disk_path);
}

int rig_source_idle(struct rig *r, struct mdb *m)
{
	int rc = mdb_open(m);

	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = mdb_set_memory(m, 0, r->nr_pages * MDB_PAGE, r->src_ram);
	if (!rc)
		rc = mdb_set_disk(m, RIG_DISK, r->disk, RIG_SERIAL);
	if (!rc)
		rc = mdb_set_guest_table(m, r->hints.root_gpa, RIG_GUEST_DISK, RIG_SERIAL);
	return rc;
}

int rig_source(struct rig *r)
{
	int rc = rig_source_idle(r, &r->src);

	return rc ? rc : mdb_start(&r->src, MIGDB_ROLE_SOURCE, r->uuid, "rig-source");
}

int rig_dest_idle(struct rig *r, struct mdb *m, int disk)
{
	int rc = mdb_open(m);

	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = mdb_set_memory(m, 0, r->nr_pages * MDB_PAGE, r->dst_ram);
	if (!rc)
		rc = mdb_set_disk(m, RIG_DISK, disk, RIG_SERIAL);
	return rc;
}

int rig_dest(struct rig *r, int disk)
{
	int rc = rig_dest_idle(r, &r->dst, disk);

	return rc ? rc : mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "rig-dest");
}

int rig_snapshot(struct rig *r)
{
	struct migdb_snapshot snap = {};
	int rc = mdb_armed(&r->src, 0, r->nr_pages);

	if (!rc)
		rc = mdb_snapshot(&r->src, &snap);
	r->candidates = snap.out_candidates;
	return rc;
}

int rig_hash(struct rig *r, struct wire *w)
{
	u64 hashed, left;
	int rc;

	do {
		rc = mdb_hash(&r->src, 4096, &hashed, &left);
		if (!rc)
			rc = w ? wire_pull(w, &r->src) : rig_pump(r);
	} while (!rc && left);
	return rc;
}

int rig_start(struct rig *r, u64 nr_pages)
{
	int rc = rig_init(r, nr_pages);

	if (!rc)
		rc = rig_source(r);
	if (!rc)
		rc = rig_dest(r, r->disk);
	if (!rc)
		rc = rig_snapshot(r);
	return rc ? rc : rig_hash(r, NULL);
}

int wire_pull(struct wire *w, struct mdb *from)
{
	ssize_t n;

	for (;;) {
		if (w->room - w->bytes < MIGDB_MAX_FRAME_BYTES) {
			w->room = w->room * 2 + 4 * MIGDB_MAX_FRAME_BYTES;
			w->data = realloc(w->data, w->room);
			if (!w->data)
				return -ENOMEM;
		}
		n = read(from->tx, w->data + w->bytes, w->room - w->bytes);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return 0;
		w->bytes += n;
	}
}

int wire_push(struct wire *w, struct mdb *to)
{
	ssize_t n = w->bytes ? write(to->rx, w->data, w->bytes) : 0;

	if (n < 0)
		return -errno;
	if ((size_t)n != w->bytes)
		return -EIO;
	w->bytes = 0;
	return 0;
}

void wire_free(struct wire *w)
{
	free(w->data);
	*w = (struct wire){};
}

size_t wire_frame(const struct wire *w, size_t at)
{
	u32 bytes;

	/* The third field: magic, type and version, length of the frame. */
	if (w->bytes - at < 12)
		return 0;
	memcpy(&bytes, w->data + at + 8, sizeof(bytes));
	return bytes <= w->bytes - at ? bytes : 0;
}

struct wire_head {
	u32 magic;
	u16 type, version;
	u32 bytes, seq;
	u64 session, mac;
};

static int wire_seal(struct wire *w, const struct wire *hello, u32 type, u32 seq, u32 nr[2],
		     const void *body, size_t body_bytes, size_t tag_bytes)
{
	struct wire_head h = {
		.magic = 0x4244474d, .type = type, .version = 1, .seq = seq,
		.bytes = sizeof(h) + 8 + body_bytes + tag_bytes,
	};
	u64 key[2], sum[4];
	u8 *f;

	if (hello->bytes < 64)
		return -EINVAL;
	if (w->room - w->bytes < h.bytes) {
		w->room = w->bytes + h.bytes;
		w->data = realloc(w->data, w->room);
		if (!w->data)
			return -ENOMEM;
	}
	f = w->data + w->bytes;
	memcpy(&h.session, hello->data + 32, 8);
	memcpy(f + sizeof(h), nr, 8);
	memcpy(f + sizeof(h) + 8, body, body_bytes);
	memset(f + sizeof(h) + 8 + body_bytes, 0x5a, tag_bytes);
	memcpy(key, hello->data + 48, sizeof(key));
	key[0] ^= 0x656d6172666dULL;
	memcpy(sum, &h, 24);
	sum[3] = siphash64(key, f + sizeof(h), h.bytes - sizeof(h));
	h.mac = siphash64(key, sum, sizeof(sum));
	memcpy(f, &h, sizeof(h));
	w->bytes += h.bytes;
	return 0;
}

int wire_list(struct wire *w, const struct wire *hello, u32 type, u32 seq,
	      const struct wire_range *ranges, u32 nr)
{
	return wire_seal(w, hello, type, seq, (u32[]){ nr, 0 }, ranges, nr * sizeof(*ranges), 0);
}

int wire_end(struct wire *w, const struct wire *hello, u32 type, u32 seq, u64 recorded)
{
	u32 nr[2];

	memcpy(nr, &recorded, sizeof(nr));
	/* built, returned, reason and what is reserved */
	return wire_seal(w, hello, type, seq, nr, (u64[3]){}, 24, 0);
}

int wire_records(struct wire *w, const struct wire *hello, u32 seq,
		 const struct wire_run *runs, u32 nr)
{
	u32 pages = 0, i;

	for (i = 0; i < nr; i++)
		pages += runs[i].nr;
	return wire_seal(w, hello, FRAME_RECORDS, seq, (u32[]){ nr, pages }, runs,
			 nr * sizeof(*runs), pages * 8);
}

int rig_pump(struct rig *r)
{
	struct wire *w = &r->pump;
	int rc;

	w->bytes = 0;
	rc = wire_pull(w, &r->src);
	if (!rc)
		rc = wire_push(w, &r->dst);
	w->bytes = 0;
	if (!rc)
		rc = wire_pull(w, &r->dst);
	if (!rc)
		rc = wire_push(w, &r->src);
	return rc;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

int rig_settle(struct rig *r, u32 ms)
{
	u64 end = now_ms() + ms;
	struct migdb_stats st;
	int rc;

	for (;;) {
		rc = rig_pump(r);
		if (!rc)
			rc = mdb_stats(&r->src, &st);
		if (rc || !st.out_unconfirmed)
			return rc;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(2000);
	}
}

void rig_deliver(struct rig *r, u64 page)
{
	mdb_claim_byte(&r->dst, page);
	memcpy(r->dst_ram + page * MDB_PAGE, r->src_ram + page * MDB_PAGE, MDB_PAGE);
	r->delivered[page] = 1;
}

int rig_dirty(struct rig *r, u64 page)
{
	u64 word = 1ULL << (page % 64), count = r->nr_pages - page / 64 * 64;

	r->src_ram[page * MDB_PAGE] ^= 0x55;
	return mdb_dirty(&r->src, page / 64 * 64, count < 64 ? count : 64, &word, NULL);
}

s64 rig_deliver_queue(struct rig *r)
{
	struct migdb_run runs[64];
	u64 left, i, n = 0;
	u32 nr, k;
	int rc;

	do {
		rc = mdb_dequeue(&r->src, runs, 64, ~0ULL, &nr, &left);
		if (rc)
			return rc;
		for (k = 0; k < nr; k++)
			for (i = 0; i < runs[k].count; i++, n++)
				rig_deliver(r, runs[k].first + i);
	} while (nr);
	return n;
}

u64 rig_deliver_bitmap(struct rig *r)
{
	u64 page, n = 0;

	for (page = 0; page < r->nr_pages; page++)
		if (mdb_bit(&r->src, page)) {
			rig_deliver(r, page);
			n++;
		}
	return n;
}

void rig_deliver_rest(struct rig *r)
{
	u64 page;

	for (page = 0; page < r->nr_pages; page++)
		if (!mdb_bit(&r->src, page))
			rig_deliver(r, page);
}

int rig_compare(struct rig *r, u64 *bad_page)
{
	u64 page;

	for (page = 0; page < r->nr_pages; page++)
		if (memcmp(r->src_ram + page * MDB_PAGE, r->dst_ram + page * MDB_PAGE,
			   MDB_PAGE)) {
			*bad_page = page;
			return -EILSEQ;
		}
	return 0;
}

int rig_end(struct rig *r)
{
	struct migdb_drain drain;
	s64 n;
	int rc;

	rc = rig_pump(r);
	if (!rc)
		rc = mdb_drain(&r->dst, 2000000000ULL, &drain);
	if (!rc)
		rc = rig_pump(r);
	if (!rc)
		rc = mdb_reclaim(&r->src, NULL);
	if (rc)
		return rc;
	n = rig_deliver_queue(r);
	return n < 0 ? n : 0;
}

int rig_finish(struct rig *r, u64 *bad_page)
{
	int rc;

	*bad_page = ~0ULL;
	rc = mdb_seal(&r->src, NULL, NULL);
	if (!rc)
		rc = rig_end(r);
	if (rc)
		return rc;
	rig_deliver_rest(r);
	rc = mdb_complete(&r->dst, NULL);
	if (!rc)
		rc = mdb_complete(&r->src, NULL);
	return rc ? rc : rig_compare(r, bad_page);
}
