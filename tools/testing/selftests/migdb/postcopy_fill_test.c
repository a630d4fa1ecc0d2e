// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy: how pages come, from storage and from the source, asked for and not.  At the
 * end of each run both memories are the same.
 */
#define _GNU_SOURCE
#include "postcopy_fixture.h"

static void all_pages(struct __test_metadata *_metadata, FIXTURE_DATA(pc) *self)
{
	struct rig *r = &self->r;
	u64 built;

	ASSERT_OK(switched(r, r->disk));
	built = stats_of(&r->dst).out_built;
	ASSERT_GT(SET, built);
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, NEVER, NULL);
	ASSERT_EQ(SET, wait_built(&r->dst, SET));
	ASSERT_LT(0, stats_of(&r->dst).out_postcopy_built);
	ARRIVE();
	ASSERT_EQ(SET, stats_of(&r->src).out_built);
}

TEST_F_TIMEOUT(pc, all_pages_shmem, 60)
{
	all_pages(_metadata, self);
}

TEST_F_TIMEOUT(pc, all_pages_anonymous, 60)
{
	ASSERT_OK(rig_anonymous(&self->r));
	all_pages(_metadata, self);
}

/* The guest gets its page from storage while all other reading stands still. */
static void fault_comes_first(struct __test_metadata *_metadata, FIXTURE_DATA(pc) *self)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	u64 page, group, i;

	self->v.deadline_ns = NEVER;
	ASSERT_OK(switched(r, r->disk));
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_TRUE(same(r, page));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_DONE));
	/* its neighbours of the same 16 KiB of disk, too */
	group = page / 4 * 4;
	for (i = group; i < group + 4; i++)
		ASSERT_TRUE(wait_claim(r, i, MIGDB_CLAIM_DONE));
	st = stats_of(&r->dst);
	ASSERT_EQ(1, st.out_faults);
	ASSERT_EQ(1, st.out_faults_fetching);
	ASSERT_EQ(0, st.out_faults_late);
	ASSERT_LT(0, st.out_todo);
	ASSERT_LT(0, st.out_fault_read_ns);
	ASSERT_OK(full_speed());
	ARRIVE();
	ASSERT_EQ(0, stats_of(&r->dst).out_returned);
}

TEST_F_TIMEOUT(pc, fault_comes_first_shmem, 60)
{
	fault_comes_first(_metadata, self);
}

TEST_F_TIMEOUT(pc, fault_comes_first_anonymous, 60)
{
	ASSERT_OK(rig_anonymous(&self->r));
	fault_comes_first(_metadata, self);
}

/* Many who wait, all over memory, while bulk reads go on and the source sends, too. */
struct toucher {
	pthread_t thread;
	struct rig *r;
	u64 seed, bad;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	struct rig *r = t->r;
	u64 i, page, x = t->seed;
	u8 copy[MDB_PAGE];

	for (i = 0; i < 2 * PAGES; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		page = (x >> 33) % PAGES;
		/* the last word first: what comes is whole when any of it is there */
		copy[MDB_PAGE - 1] = *(volatile u8 *)(r->dst_ram + (page + 1) * MDB_PAGE - 1);
		memcpy(copy, r->dst_ram + page * MDB_PAGE, MDB_PAGE);
		t->bad += !!memcmp(copy, r->src_ram + page * MDB_PAGE, MDB_PAGE);
	}
	return NULL;
}

static void hammer(struct __test_metadata *_metadata, FIXTURE_DATA(pc) *self, u32 workers)
{
	struct toucher t[4];
	struct rig *r = &self->r;
	u64 page;
	int i;

	ASSERT_OK(begin(r, r->disk));
	for (i = 0; i < (int)workers; i++)
		ASSERT_OK(mdb_add_worker(&r->dst, 1u << i));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	for (i = 0; i < 4; i++) {
		t[i] = (struct toucher){ .r = r, .seed = 11 * i + 1 };
		ASSERT_EQ(0, pthread_create(&t[i].thread, NULL, touch, &t[i]));
	}
	/* the source pushes from the other end */
	for (page = PAGES - 1; page > PAGES / 2; page -= 3) {
		ASSERT_OK(mdb_request(&r->src, page, 1, NULL));
		ASSERT_EQ(0, rig_place(r, page)) TH_LOG("page %llu", (unsigned long long)page);
	}
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(t[i].thread, NULL));
		ASSERT_EQ(0, t[i].bad);
	}
	ARRIVE();
}

TEST_F_TIMEOUT(pc, whole_pages_one_worker, 120)
{
	hammer(_metadata, self, 0);
}

TEST_F_TIMEOUT(pc, whole_pages_four_workers_anonymous, 120)
{
	ASSERT_OK(rig_anonymous(&self->r));
	hammer(_metadata, self, 4);
}

/*
 * A page that was not taken out of memory: it is not overwritten, nobody calls it built,
 * and who would send it finds out, too.
 */
static void not_punched(struct __test_metadata *_metadata, FIXTURE_DATA(pc) *self)
{
	struct rig *r = &self->r;
	u64 page, i;
	u8 *at;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_OK(rig_hold(r));
	page = late_page(r);
	ASSERT_LT(0, page);
	r->missing[page / 64] &= ~(1ULL << (page % 64));
	r->delivered[page] = 1;
	at = r->dst_ram + page * MDB_PAGE;
	memset(at, 0x66, MDB_PAGE);
	ASSERT_OK(rig_postcopy(r));
	r->delivered[page] = 0;
	ASSERT_EQ(MIGDB_FAULT_FETCHING, mdb_fault(&r->dst, at, NEVER, NULL));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_RETURNED));
	ASSERT_EQ(1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_PRESENT]);
	ASSERT_EQ(0x66, at[77]);
	/* its neighbours are stepped on to */
	for (i = page / 4 * 4; i < page / 4 * 4 + 4; i++)
		ASSERT_TRUE(i == page || wait_claim(r, i, MIGDB_CLAIM_DONE));
	ASSERT_EQ(-EEXIST, rig_place(r, page));
	ASSERT_EQ(0x66, at[MDB_PAGE - 1]);
}

TEST_F_TIMEOUT(pc, not_punched_shmem, 60)
{
	not_punched(_metadata, self);
}

TEST_F_TIMEOUT(pc, not_punched_anonymous, 60)
{
	ASSERT_OK(rig_anonymous(&self->r));
	not_punched(_metadata, self);
}

/* The source was first, and the guest has written since: that stays. */
TEST_F_TIMEOUT(pc, newer_page_is_not_overwritten, 60)
{
	struct rig *r = &self->r;
	u64 page, n = 0;

	ASSERT_OK(switched(r, r->disk));
	for (page = RIG_FIRST; page < PAGES; page++) {
		if (mdb_claim_of(&r->dst, page) != MIGDB_CLAIM_TODO)
			continue;
		ASSERT_OK(rig_place(r, page));
		memset(r->dst_ram + page * MDB_PAGE, 0x33, MDB_PAGE);
		memset(r->src_ram + page * MDB_PAGE, 0x33, MDB_PAGE);
		n++;
	}
	ASSERT_LT(0, n);
	ASSERT_OK(full_speed());
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, 0, NULL));
	ASSERT_OK(server_start(&self->v, r));
	mdb_reclaim(&r->src, NULL);
	ARRIVE();
}

/* Faults. */

TEST_F(pc, fault_arguments)
{
	struct rig *r = &self->r;
	struct migdb_fault f = { .size = sizeof(f), .__reserved = 1 };
	u64 page, done;

	ASSERT_OK(switched(r, r->disk));
	f.addr = (uintptr_t)r->dst_ram;
	ASSERT_EQ(-1, ioctl(r->dst.fd, MIGDB_FAULT, &f));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(-EINVAL, mdb_fault(&r->dst, r->dst_ram, MIGDB_MAX_DEADLINE_NS + 1, NULL));
	ASSERT_EQ(-EINVAL, mdb_fault(&r->dst, r->dst_ram, NEVER - 1, NULL));
	ASSERT_EQ(-ENOENT, mdb_fault(&r->dst, r->src_ram, 0, NULL));
	ASSERT_EQ(-ENOENT, mdb_fault(&r->dst, NULL, 0, NULL));
	ASSERT_EQ(-ENOENT, mdb_fault(&r->dst, r->dst_ram + BYTES, 0, NULL));
	ASSERT_EQ(0, stats_of(&r->dst).out_faults);
	/* any byte of the page; not recorded: the source's */
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + 3 * MDB_PAGE + 99, 0, &page));
	ASSERT_EQ(3, page);
	ASSERT_LT(0, wait_built(&r->dst, 1));
	done = first_claimed(r, MIGDB_CLAIM_DONE);
	ASSERT_LT(0, done);
	ASSERT_EQ(MIGDB_FAULT_BUILT, mdb_fault(&r->dst, r->dst_ram + done * MDB_PAGE, 0, &page));
	ASSERT_EQ(done, page);
	ASSERT_EQ(2, stats_of(&r->dst).out_faults);
	ASSERT_EQ(0, stats_of(&r->dst).out_faults_fetching);
}

/* The deadline is over first: the source brings it, and the late read changes nothing. */
TEST_F_TIMEOUT(pc, late_fault_goes_to_the_source, 60)
{
	struct rig *r = &self->r;
	u64 page, taken;

	ASSERT_OK(dm_make(self, "delay", " 3000"));
	ASSERT_OK(switched(r, self->dm_fd));
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_EQ(MIGDB_FAULT_FETCHING, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE,
						  1000000000, NULL));
	/* a second who waits for it changes nothing */
	ASSERT_EQ(MIGDB_FAULT_FETCHING, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE,
						  1000000000, NULL));
	ASSERT_EQ(1, stats_of(&r->dst).out_faults_fetching);
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_RETURNED));
	ASSERT_EQ(1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_LATE]);
	ASSERT_EQ(1, stats_of(&r->dst).out_faults_late);
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 0, NULL));
	/* it is in the set there, by the bitmap, until the destination asks */
	ASSERT_TRUE(mdb_bit(&r->src, page));
	ASSERT_OK(mdb_request(&r->src, page, 1, &taken));
	ASSERT_EQ(1, taken);
	ASSERT_FALSE(mdb_bit(&r->src, page));
	ASSERT_OK(rig_place(r, page));
	memset(r->dst_ram + page * MDB_PAGE, 0x44, MDB_PAGE);
	memset(r->src_ram + page * MDB_PAGE, 0x44, MDB_PAGE);
	/* the return list names it as well: it is out of the set, and not queued again */
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(0, stats_of(&r->src).out_queued);
	usleep(3500000);
	ASSERT_EQ(0x44, r->dst_ram[page * MDB_PAGE + 5]);
	ASSERT_OK(full_speed());
	ASSERT_OK(server_start(&self->v, r));
	ARRIVE();
}

/* What reads take becomes what they are given; of its own accord, never more than that. */
TEST_F_TIMEOUT(pc, deadline_follows_storage, 60)
{
	struct rig *r = &self->r;
	u64 page, i;

	ASSERT_OK(dm_make(self, "delay", " 30"));
	ASSERT_OK(switched(r, self->dm_fd));
	ASSERT_LE(2000000, stats_of(&r->dst).out_fault_deadline_ns);
	for (i = 0; i < 8; i++) {
		page = late_page(r);
		ASSERT_LT(0, page);
		ASSERT_EQ(MIGDB_FAULT_FETCHING,
			  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
		ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_DONE));
	}
	/* the delay is counted in ticks, and the first one has begun */
	ASSERT_LE(20000000, stats_of(&r->dst).out_fault_read_ns);
	ASSERT_LE(4 * 20000000, stats_of(&r->dst).out_fault_deadline_ns);
	/* counted when the read is put away, a moment after the page is there */
	for (i = 0; i < 1000 && stats_of(&r->dst).out_faults_built < 8; i++)
		usleep(2000);
	ASSERT_EQ(8, stats_of(&r->dst).out_faults_built);
	ASSERT_OK(full_speed());
	ASSERT_OK(server_start(&self->v, r));
	ARRIVE();
}

/* Storage that hangs: nobody waits for it but who said so. */
TEST_F_TIMEOUT(pc, storage_hangs, 60)
{
	struct rig *r = &self->r;
	u64 page, fetching = 0, asked = 0, start;

	ASSERT_OK(dm_make(self, "linear", ""));
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_OK(dm_suspend(self->name, true));
	start = clock_ms();
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
	for (page = PAGES - 1; page > PAGES / 2; page -= 4) {
		switch (mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 3000000000ULL,
				  NULL)) {
		case MIGDB_FAULT_FETCHING:
			fetching++;
			break;
		case MIGDB_FAULT_ASK:
			asked++;
			break;
		default:
			ASSERT_TRUE(mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_DONE);
		}
	}
	ASSERT_LT(0, fetching);
	/* there is room for so many only: the others go to the source at once */
	ASSERT_LT(0, asked);
	/* the guest gets every one of its pages */
	ASSERT_OK(server_start(&self->v, r));
	for (page = PAGES - 1; page > PAGES / 2; page -= 4)
		ASSERT_TRUE(same(r, page)) TH_LOG("page %llu", (unsigned long long)page);
	ASSERT_LT(clock_ms() - start, 30000);
	ASSERT_OK(dm_suspend(self->name, false));
	ASSERT_OK(full_speed());
	ARRIVE();
}

TEST_F_TIMEOUT(pc, dead_storage, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats st;

	ASSERT_OK(dm_make(self, "error", ""));
	ASSERT_OK(switched(r, self->dm_fd));
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	st = stats_of(&r->dst);
	ASSERT_EQ(0, st.out_built);
	ASSERT_LT(0, st.out_by_reason[MIGDB_REASON_IO_ERROR]);
}

/* The destination's guest writes to its disk before a page of it was fetched. */
TEST_F_TIMEOUT(pc, blocks_change_after_the_switch, 60)
{
	struct rig *r = &self->r;
	u8 buf[MDB_PAGE];
	u64 page, n = 0;

	ASSERT_OK(switched(r, r->disk));
	for (page = PAGES / 2; page < PAGES; page++) {
		rig_fill(buf, page + 1000000);
		ASSERT_OK(disk_write(r->disk, page, buf));
		n += mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_TODO;
	}
	ASSERT_LT(0, n);
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	/* each of them is known to exist at the source alone */
	ASSERT_LT(0, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
}

/* Requests. */

TEST_F(pc, request_arguments)
{
	struct rig *r = &self->r;
	u64 taken;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_EQ(-EBUSY, mdb_request(&r->src, 0, 1, NULL));
	ASSERT_OK(rig_hold(r));
	ASSERT_EQ(-EINVAL, mdb_request(&r->src, 0, 0, NULL));
	ASSERT_EQ(-EINVAL, mdb_request(&r->src, PAGES, 1, NULL));
	ASSERT_EQ(-EINVAL, mdb_request(&r->src, 1, PAGES, NULL));
	ASSERT_EQ(-EINVAL, mdb_request(&r->src, ~0ULL, 2, NULL));
	/* never in the set: the VMM's to send, as it always was */
	ASSERT_OK(mdb_request(&r->src, 0, RIG_FIRST, &taken));
	ASSERT_EQ(0, taken);
	ASSERT_OK(mdb_request(&r->src, 0, PAGES, &taken));
	ASSERT_EQ(SET, taken);
	ASSERT_OK(mdb_request(&r->src, 0, PAGES, &taken));
	ASSERT_EQ(0, taken);
	ASSERT_EQ(SET, stats_of(&r->src).out_requested);
}

/* Out of the queue, too: what the VMM sends now it does not send again. */
TEST_F(pc, request_takes_from_the_queue)
{
	struct rig *r = &self->r;
	u64 moved, taken;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(mdb_reclaim(&r->src, &moved));
	ASSERT_LT(1, moved);
	ASSERT_EQ(moved, stats_of(&r->src).out_queued);
	ASSERT_OK(mdb_request(&r->src, PAGES - 1, 1, &taken));
	ASSERT_EQ(1, taken);
	ASSERT_EQ(moved - 1, stats_of(&r->src).out_queued);
}

TEST_HARNESS_MAIN
