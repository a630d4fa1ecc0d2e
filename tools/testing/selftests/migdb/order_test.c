// SPDX-License-Identifier: GPL-2.0
/*
 * What must wait for the kernel's copy of a page, what must win against it, and what
 * must not wait for its hash.  The copy is held in a page fault of the destination's
 * memory, the hash in one of the source's, so that each order is there every time, not
 * once in a thousand runs.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include "test_util.h"

#define PAGES	256
#define SET	(PAGES - RIG_FIRST)
#define HELD	100		/* the page whose copy is held */
#define A_WHILE	200000		/* us; long for what does not wait */

FIXTURE(order) {
	struct rig r;
	struct wire w;
	int uffd;
};

/* Where the last frame of @w begins. */
static size_t last_frame(const struct wire *w)
{
	size_t at = 0, n;

	while ((n = wire_frame(w, at)) && at + n < w->bytes)
		at += n;
	return at;
}

static int userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Takes a page away: who touches it is held until release(). */
static int hold(int uffd, void *page)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)page, MDB_PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return madvise(page, MDB_PAGE, MADV_REMOVE) || ioctl(uffd, UFFDIO_REGISTER, &reg) ?
	       -errno : 0;
}

/* Somebody is. */
static bool held(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };

	return poll(&p, 1, 20000) == 1;
}

/*
 * Records at the destination, the copy of HELD begun and held, the last page due.
 * Reads end in any order, so the last page's comes when the worker is held.
 */
FIXTURE_SETUP(order)
{
	struct rig *r = &self->r;
	size_t at;

	REQUIRE_DEVICE();
	self->uffd = userfaultfd();
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_OK(rig_init(r, PAGES));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_EQ(SET, r->candidates);
	ASSERT_OK(rig_hash(r, &self->w));
	ASSERT_OK(hold(self->uffd, r->dst_ram + HELD * MDB_PAGE));
	at = last_frame(&self->w);
	ASSERT_LT(0, at);
	ASSERT_EQ(at, write(r->dst.rx, self->w.data, at));
	ASSERT_TRUE(held(self->uffd)) TH_LOG("page %d is not being written", HELD);
	self->w.bytes -= at;
	memmove(self->w.data, self->w.data + at, self->w.bytes);
	ASSERT_OK(wire_push(&self->w, &r->dst));
	ASSERT_EQ(MIGDB_CLAIM_BUSY, mdb_claim_of(&r->dst, HELD));
	ASSERT_EQ(MIGDB_CLAIM_TODO, mdb_claim_of(&r->dst, PAGES - 1));
}

FIXTURE_TEARDOWN(order)
{
	if (self->uffd >= 0)
		close(self->uffd);	/* lets a held copy go */
	wire_free(&self->w);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

/* Who is held goes on, with a page of zeros. */
static int release(void *ram, int uffd)
{
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)ram + HELD * MDB_PAGE, MDB_PAGE },
	};

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

static bool built(struct rig *r, u64 pages)
{
	u64 end = clock_ms() + 20000;

	while (stats_of(&r->dst).out_built < pages && clock_ms() < end)
		usleep(2000);
	return stats_of(&r->dst).out_built == pages;
}

/* A call from another thread, and whether it has returned. */
struct call {
	pthread_t thread;
	struct rig *r;
	struct wire w;
	int (*fn)(struct call *c);
	int rc, returned;
};

static void *call_thread(void *arg)
{
	struct call *c = arg;

	c->rc = c->fn(c);
	__atomic_store_n(&c->returned, 1, __ATOMIC_RELEASE);
	return NULL;
}

static bool call_returned(struct call *c)
{
	return __atomic_load_n(&c->returned, __ATOMIC_ACQUIRE);
}

static int claim_held(struct call *c)
{
	return mdb_claim(&c->r->dst, HELD, 1);
}

static int push_frames(struct call *c)
{
	return wire_push(&c->w, &c->r->dst);
}

static int invalidate_held(struct call *c)
{
	return mdb_invalidate(&c->r->dst, HELD, 1);
}

/* The call does not return while the copy is held, and succeeds once it is not. */
static void waits_for_the_copy(struct __test_metadata *_metadata, struct call *c, int uffd)
{
	ASSERT_EQ(0, pthread_create(&c->thread, NULL, call_thread, c));
	usleep(A_WHILE);
	ASSERT_FALSE(call_returned(c));
	ASSERT_OK(release(c->r->dst_ram, uffd));
	ASSERT_EQ(0, pthread_join(c->thread, NULL));
	ASSERT_OK(c->rc);
}

/* MIGDB_CLAIM returns when the kernel writes no more: what follows it stays. */
TEST_F_TIMEOUT(order, claim_waits_for_the_copy, 60)
{
	struct rig *r = &self->r;
	struct call c = { .r = r, .fn = claim_held };

	waits_for_the_copy(_metadata, &c, self->uffd);
	memset(r->dst_ram + HELD * MDB_PAGE, 0x77, MDB_PAGE);
	ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, HELD));
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(0x77, r->dst_ram[HELD * MDB_PAGE + 9]);
	ASSERT_EQ(0x77, r->dst_ram[HELD * MDB_PAGE + MDB_PAGE - 1]);
	rig_deliver(r, HELD);
	FINISH();
}

/*
 * So does a revoke, and each page that it names is the stream's: also the one
 * that the worker has already found wanted when the revoke gets its turn.
 */
TEST_F_TIMEOUT(order, revoke_waits_for_the_copy, 60)
{
	struct rig *r = &self->r;
	struct call c = { .r = r, .fn = push_frames };
	struct migdb_drain drain;
	u64 page, missing;

	for (page = HELD; page < PAGES; page++)
		ASSERT_OK(rig_dirty(r, page));
	ASSERT_OK(wire_pull(&c.w, &r->src));
	ASSERT_LT(0, c.w.bytes);
	waits_for_the_copy(_metadata, &c, self->uffd);
	for (page = HELD; page < PAGES; page++)
		ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page))
			TH_LOG("page %llu", (unsigned long long)page);
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &drain));
	/* none of them has been sent yet: all are missed */
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(PAGES - HELD, missing);
	for (page = HELD; page < PAGES; page++)
		rig_deliver(r, page);
	ASSERT_OK(mdb_complete(&r->dst, &missing));
	wire_free(&c.w);
}

/* And MIGDB_INVALIDATE: what was discarded is not written afterwards. */
TEST_F_TIMEOUT(order, invalidate_waits_for_the_copy, 60)
{
	struct rig *r = &self->r;
	struct call c = { .r = r, .fn = invalidate_held };

	waits_for_the_copy(_metadata, &c, self->uffd);
	memset(r->dst_ram + HELD * MDB_PAGE, 0, MDB_PAGE);
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(0, r->dst_ram[HELD * MDB_PAGE]);
	ASSERT_EQ(SET - 1, stats_of(&r->src).out_built);
	FINISH();
}

/* Read, and wanted when it was read; the stream comes before its copy: it stays. */
TEST_F_TIMEOUT(order, stream_before_the_copy, 60)
{
	struct rig *r = &self->r;
	u64 page;

	for (page = HELD + 1; page < PAGES; page++) {
		mdb_claim_byte(&r->dst, page);
		memset(r->dst_ram + page * MDB_PAGE, 0x77, MDB_PAGE);
	}
	ASSERT_OK(release(r->dst_ram, self->uffd));
	ASSERT_TRUE(built(r, HELD + 1 - RIG_FIRST));
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &(struct migdb_drain){}));
	for (page = HELD + 1; page < PAGES; page++) {
		ASSERT_EQ(0x77, r->dst_ram[page * MDB_PAGE + 11])
			TH_LOG("page %llu was built", (unsigned long long)page);
		ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, page));
	}
	ASSERT_EQ(HELD + 1 - RIG_FIRST, stats_of(&r->dst).out_built);
}

/* A VMM that does not wait for BUSY: the page is its own, and nobody calls it built. */
TEST_F_TIMEOUT(order, stream_during_the_copy, 60)
{
	struct rig *r = &self->r;
	u8 *claims = r->dst.map;

	__atomic_store_n(&claims[HELD], MIGDB_CLAIM_SENT, __ATOMIC_RELEASE);
	ASSERT_OK(release(r->dst_ram, self->uffd));
	ASSERT_TRUE(built(r, SET - 1));
	ASSERT_OK(mdb_drain(&r->dst, 1000000000, &(struct migdb_drain){}));
	ASSERT_EQ(SET - 1, stats_of(&r->dst).out_built);
	ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, HELD));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(1, stats_of(&r->src).out_unconfirmed);
}

/* The source's memory is away: to swap, say. */
FIXTURE(hash) {
	struct rig r;
	int uffd;
};

FIXTURE_SETUP(hash)
{
	struct rig *r = &self->r;

	REQUIRE_DEVICE();
	self->uffd = userfaultfd();
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_OK(rig_init(r, PAGES));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(hold(self->uffd, r->src_ram + HELD * MDB_PAGE));
}

FIXTURE_TEARDOWN(hash)
{
	if (self->uffd >= 0)
		close(self->uffd);
	if (self->r.nr_pages)
		rig_exit(&self->r);
}

static int hash_all(struct call *c)
{
	return rig_hash(c->r, NULL);
}

static int dirty_another(struct call *c)
{
	return rig_dirty(c->r, PAGES - 1);
}

static int invalidate_another(struct call *c)
{
	return mdb_invalidate(&c->r->src, PAGES - 2, 1);
}

/*
 * A VMM hands its logs in, and tells of discards, with locks held that its vCPUs
 * want: it must not wait for a page that is brought in to be hashed.
 */
TEST_F_TIMEOUT(hash, holds_up_no_log, 60)
{
	struct rig *r = &self->r;
	struct call hash = { .r = r, .fn = hash_all };
	struct call other[2] = {
		{ .r = r, .fn = dirty_another }, { .r = r, .fn = invalidate_another },
	};
	u64 end = clock_ms() + 20000;
	int i;

	ASSERT_EQ(0, pthread_create(&hash.thread, NULL, call_thread, &hash));
	ASSERT_TRUE(held(self->uffd)) TH_LOG("page %d is not being hashed", HELD);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&other[i].thread, NULL, call_thread, &other[i]));
	while (!(call_returned(&other[0]) && call_returned(&other[1])) && clock_ms() < end)
		usleep(2000);
	EXPECT_TRUE(call_returned(&other[0])) TH_LOG("MIGDB_DIRTY waits");
	EXPECT_TRUE(call_returned(&other[1])) TH_LOG("MIGDB_INVALIDATE waits");
	EXPECT_FALSE(call_returned(&hash));
	ASSERT_OK(release(r->src_ram, self->uffd));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(other[i].thread, NULL));
		ASSERT_OK(other[i].rc);
	}
	ASSERT_EQ(0, pthread_join(hash.thread, NULL));
	ASSERT_OK(hash.rc);
	rig_deliver(r, PAGES - 1);
	ASSERT_OK(rig_settle(r, 20000));
	ASSERT_EQ(SET - 3, stats_of(&r->dst).out_built);
	FINISH();
}

TEST_HARNESS_MAIN
