// SPDX-License-Identifier: GPL-2.0
/* Post-copy: what ends in the middle, and what is lost by that. */
#define _GNU_SOURCE
#include <poll.h>
#include "postcopy_fixture.h"

TEST_F_TIMEOUT(pc, aborted_in_the_middle, 60)
{
	struct rig *r = &self->r;
	u64 page, bad, set = 0;
	int want;

	ASSERT_OK(switched(r, r->disk));
	ASSERT_OK(mdb_abort(&r->dst, 0));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->dst));
	ASSERT_EQ(0, stats_of(&r->dst).out_todo);
	/* the bitmap says what was left out; what is built among it needs no sending */
	for (page = 0; page < PAGES; page++) {
		set += mdb_bit(&r->src, page);
		want = mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_DONE ? MIGDB_FAULT_BUILT :
								       MIGDB_FAULT_ASK;
		ASSERT_EQ(want, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 0, NULL));
	}
	ASSERT_LT(0, set);
	ASSERT_EQ(-ECANCELED, mdb_request(&r->src, PAGES - 1, 1, NULL));
	for (page = 0; page < PAGES; page++)
		ASSERT_OK(rig_place(r, page));
	ASSERT_OK(rig_compare(r, &bad));
	ASSERT_OK(mdb_complete(&r->dst, NULL));
}

TEST_F_TIMEOUT(pc, disabled_in_the_middle, 60)
{
	struct rig *r = &self->r;

	ASSERT_OK(switched(r, r->disk));
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(mdb_sysfs_write("enabled", 0));
	ASSERT_OK(full_speed());
	ARRIVE();
	/* either side may be the first to take them out */
	ASSERT_LT(0, stats_of(&r->src).out_by_reason[MIGDB_REASON_DISABLED] +
		     stats_of(&r->dst).out_by_reason[MIGDB_REASON_DISABLED]);
}

/* The session has its own reference: placement goes on, faults are nobody's business. */
TEST_F_TIMEOUT(pc, uffd_closed_in_the_middle, 60)
{
	struct rig *r = &self->r;
	u64 page, bad;

	ASSERT_OK(switched(r, r->disk));
	for (page = 0; page < RIG_FIRST; page++)
		ASSERT_OK(rig_place(r, page));
	close(r->uffd);
	r->uffd = 0;
	ASSERT_OK(full_speed());
	mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, NEVER, NULL);
	ASSERT_EQ(SET, wait_built(&r->dst, SET));
	ASSERT_OK(rig_compare(r, &bad));
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(mdb_complete(&r->src, NULL));
}

/* After COMPLETE, and after an abort, closing it ends the registration at once. */
TEST_F_TIMEOUT(pc, uffd_is_let_go, 60)
{
	struct rig *r = &self->r;
	volatile u8 *at = r->dst_ram + 7 * MDB_PAGE;

	ASSERT_OK(switched(r, r->disk));
	ASSERT_OK(mdb_abort(&r->dst, 0));
	close(r->uffd);
	r->uffd = 0;
	/* nobody is asked any more, so nobody waits */
	ASSERT_EQ(0, *at);
}

TEST_F_TIMEOUT(pc, unregistered_in_the_middle, 60)
{
	struct rig *r = &self->r;
	struct uffdio_range range = { (uintptr_t)r->dst_ram, BYTES };

	ASSERT_OK(switched(r, r->disk));
	ASSERT_EQ(0, ioctl(r->uffd, UFFDIO_UNREGISTER, &range));
	ASSERT_OK(full_speed());
	mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, NEVER, NULL);
	while (stats_of(&r->dst).out_todo)
		usleep(10000);
	ASSERT_LT(0, stats_of(&r->dst).out_by_reason[MIGDB_REASON_FAULT]);
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, NULL));
}

TEST_F_TIMEOUT(pc, memory_unmapped_in_the_middle, 60)
{
	struct rig *r = &self->r;
	struct migdb_stats st;
	u64 page, n = 0;

	ASSERT_OK(switched(r, r->disk));
	/* inside what is placed at a time: those before and behind it are still placed */
	for (page = 901; page < 906; page++)
		n += mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_TODO;
	ASSERT_EQ(5, n);
	ASSERT_EQ(0, munmap(r->dst_ram + 901 * MDB_PAGE, 5 * MDB_PAGE));
	ASSERT_OK(full_speed());
	mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, NEVER, NULL);
	ASSERT_EQ(SET - 5, wait_built(&r->dst, SET - 5));
	while (stats_of(&r->dst).out_todo)
		usleep(10000);
	st = stats_of(&r->dst);
	ASSERT_EQ(5, st.out_by_reason[MIGDB_REASON_FAULT]);
	ASSERT_EQ(SET - 5, st.out_built);
	for (page = 901; page < 906; page++)
		ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page));
}

/* The kernel's window is gone: no page comes of it, least of all a wrong one. */
TEST_F_TIMEOUT(pc, window_unmapped_in_the_middle, 60)
{
	struct rig *r = &self->r;
	u64 before;

	ASSERT_OK(switched(r, r->disk));
	/* a page that is placed while it goes is there, and cannot be called so */
	do {
		before = stats_of(&r->dst).out_built;
		usleep(1000000);
	} while (!before || stats_of(&r->dst).out_built != before);
	ASSERT_EQ(0, munmap(r->dst.copy, r->dst.copy_bytes));
	r->dst.copy = NULL;
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	ASSERT_LT(0, stats_of(&r->dst).out_by_reason[MIGDB_REASON_FAULT]);
}

/* A page of the balloon: not built once that was said. */
TEST_F_TIMEOUT(pc, invalidated_page_is_not_built, 60)
{
	struct rig *r = &self->r;
	u64 page;

	ASSERT_OK(switched(r, r->disk));
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_OK(mdb_invalidate(&r->dst, page, 1));
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page));
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	ASSERT_EQ(1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_INVALIDATED]);
}

/* The source does not want to wait: what is built stays built, the rest comes. */
TEST_F_TIMEOUT(pc, reclaim_after_the_switch, 60)
{
	struct rig *r = &self->r;
	u64 moved, built, page;

	ASSERT_OK(switched(r, r->disk));
	ASSERT_LT(0, wait_built(&r->dst, 1));
	ASSERT_OK(mdb_reclaim(&r->src, &moved));
	ASSERT_LT(0, moved);
	built = count_claims(r, MIGDB_CLAIM_DONE);
	ASSERT_LT(0, built);
	ASSERT_OK(rig_pump(r));
	ASSERT_LE(built, count_claims(r, MIGDB_CLAIM_DONE));
	ASSERT_EQ(0, count_claims(r, MIGDB_CLAIM_TODO));
	page = first_claimed(r, MIGDB_CLAIM_DONE);
	/* the guest has it and writes to it; the source sends it all the same */
	r->dst_ram[page * MDB_PAGE] ^= 1;
	ASSERT_OK(rig_place(r, page));
	ASSERT_FALSE(same(r, page));
	r->dst_ram[page * MDB_PAGE] ^= 1;
	ASSERT_OK(server_start(&self->v, r));
	ARRIVE();
}

/*
 * The source dies after the switch.  Whatever storage has comes from there, also what
 * was given back because it was late; the rest is lost, and nobody says otherwise.
 */
TEST_F_TIMEOUT(pc, source_is_gone, 60)
{
	struct rig *r = &self->r;
	u64 page, late, saved = 0, todo;

	ASSERT_OK(dm_make(self, "delay", " 1000"));
	ASSERT_OK(switched(r, self->dm_fd));
	late = late_page(r);
	ASSERT_LT(0, late);
	ASSERT_EQ(MIGDB_FAULT_FETCHING,
		  mdb_fault(&r->dst, r->dst_ram + late * MDB_PAGE, 1000000, NULL));
	ASSERT_TRUE(wait_claim(r, late, MIGDB_CLAIM_RETURNED));
	mdb_close(&r->src);
	todo = stats_of(&r->dst).out_todo;
	ASSERT_LT(0, todo);
	/* once its block can be looked up */
	for (page = 0; page < 5000 && mdb_fault(&r->dst, r->dst_ram + late * MDB_PAGE, NEVER,
						NULL) != MIGDB_FAULT_FETCHING; page++)
		usleep(1000);
	ASSERT_EQ(0, stats_of(&r->dst).out_by_reason[MIGDB_REASON_LATE]);
	self->v.deadline_ns = NEVER;
	self->v.source_gone = true;
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	for (page = RIG_FIRST; page < PAGES; page++)
		ASSERT_TRUE(same(r, page));
	/* a page can be read a moment before it is called built */
	ASSERT_TRUE(wait_claim(r, late, MIGDB_CLAIM_DONE));
	while (stats_of(&r->dst).out_todo)
		usleep(1000);
	saved = stats_of(&r->dst).out_postcopy_built;
	ASSERT_LE(todo + 1, saved);
	TH_LOG("storage had %llu of %u pages that were missing", (unsigned long long)saved,
	       (u32)(saved + RIG_FIRST));
	/* and completes: what it never heard of is not its business */
	server_stop(&self->v);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
}

/* Asked for again, until somebody fetches it: its block cannot be looked up at once. */
static bool taken_up(struct rig *r, u64 page)
{
	u8 *at = r->dst_ram + page * MDB_PAGE;
	u32 i;

	for (i = 0; i < 2000 && mdb_fault(&r->dst, at, NEVER, NULL) != MIGDB_FAULT_FETCHING; i++)
		usleep(1000);
	return i < 2000;
}

/*
 * Storage fails for a moment after the switch, then the source dies: what was given back
 * for that has not changed at the source since, and is read once more.
 */
TEST_F_TIMEOUT(pc, failed_after_the_switch, 60)
{
	struct rig *r = &self->r;
	u64 page, gone, i, n = 0;

	ASSERT_OK(dm_make(self, "linear", ""));
	ASSERT_OK(switched(r, self->dm_fd));
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_OK(dm_make(self, "error", ""));
	ASSERT_TRUE(taken_up(r, page));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_RETURNED));
	ASSERT_LT(0, stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR]);
	/* the source is not asked in vain as long as there is one */
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 0, NULL));
	mdb_close(&r->src);
	/* its neighbour, which failed with it, is discarded: it is wanted no more */
	gone = page ^ 1;
	ASSERT_TRUE(wait_claim(r, gone, MIGDB_CLAIM_RETURNED));
	ASSERT_OK(mdb_invalidate(&r->dst, gone, 1));
	/* storage is well again */
	ASSERT_OK(dm_make(self, "linear", ""));
	for (i = RIG_FIRST; i < PAGES; i++) {
		if (i == gone || mdb_claim_of(&r->dst, i) != MIGDB_CLAIM_RETURNED)
			continue;
		ASSERT_TRUE(taken_up(r, i));
		ASSERT_TRUE(wait_claim(r, i, MIGDB_CLAIM_DONE));
		ASSERT_TRUE(same(r, i));
		n++;
	}
	ASSERT_LT(0, n);
	ASSERT_EQ(1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR]);
	ASSERT_EQ(1, stats_of(&r->dst).out_returned);
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + gone * MDB_PAGE, NEVER, NULL));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, gone));
}

/* A block that did not match does not become the source's page by waiting. */
TEST_F_TIMEOUT(pc, mismatch_after_the_switch_is_for_good, 60)
{
	struct rig *r = &self->r;
	u8 buf[MDB_PAGE];
	u64 page;
	int i;

	ASSERT_OK(switched(r, r->disk));
	page = late_page(r);
	ASSERT_LT(0, page);
	rig_fill(buf, page + 1000000);
	ASSERT_OK(disk_write(r->disk, page, buf));
	ASSERT_TRUE(taken_up(r, page));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_RETURNED));
	ASSERT_EQ(1, stats_of(&r->dst).out_by_reason[MIGDB_REASON_MISMATCH]);
	mdb_close(&r->src);
	for (i = 0; i < 100; i++, usleep(1000))
		ASSERT_EQ(MIGDB_FAULT_ASK,
			  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page));
}

/* Until the worker waits for a page of its window that is not there. */
static bool worker_waits(int uffd)
{
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	return poll(&p, 1, stretch(20000)) == 1 && read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT;
}

/*
 * The source goes away at the worst moment: a page was given back because it was late, its
 * read has come home and stepped over it, and the worker is still at its neighbours.  Who
 * takes it up again then finds its slot, and must get it all the same.
 *
 * For that the worker is made to wait: what it copies from is not there, until we say so.
 */
TEST_F_TIMEOUT(pc, source_is_gone_when_its_read_has_passed, 60)
{
	struct rig *r = &self->r;
	u64 bytes, page, from, before, i;
	u8 *window;
	int uffd;

	ASSERT_OK(dm_make(self, "linear", ""));
	ASSERT_OK(switched(r, self->dm_fd));
	/* once its block can be looked up, as all others then */
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_EQ(MIGDB_FAULT_FETCHING,
		  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_DONE));
	/* and what was under way at the switch has come: the lane has nothing else to place */
	do {
		before = stats_of(&r->dst).out_built;
		usleep(1000000);
	} while (stats_of(&r->dst).out_built != before);
	ASSERT_OK(dm_make(self, "delay", " 3000"));
	page = late_page(r);
	ASSERT_LT(0, page);
	/* the last of its 16 KiB, so that what is read with it begins before it */
	ASSERT_EQ(3, page % 4);
	/* the last lane's part; its last page is the argument of UFFDIO_COPY, and stays */
	bytes = r->dst.copy_bytes / MIGDB_NR_LANES;
	window = (u8 *)r->dst.copy + (MIGDB_NR_LANES - 1) * bytes;
	bytes -= MDB_PAGE;
	ASSERT_EQ((void *)window, mmap(window, bytes, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	uffd = uffd_open();
	ASSERT_LE(0, uffd);
	ASSERT_OK(uffd_register(uffd, window, bytes, UFFDIO_REGISTER_MODE_MISSING));

	/* late enough for its read to have begun, and over long before that comes home */
	ASSERT_EQ(MIGDB_FAULT_FETCHING,
		  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 1000000000, NULL));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_RETURNED));
	ASSERT_TRUE(worker_waits(uffd));
	/* a run may begin among them */
	for (from = page - 3; from < page; from++)
		if (mdb_claim_of(&r->dst, from) == MIGDB_CLAIM_BUSY)
			break;
	ASSERT_GT(page, from);
	ASSERT_EQ(MIGDB_FAULT_FETCHING,
		  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
	ASSERT_EQ(MIGDB_CLAIM_TODO, mdb_claim_of(&r->dst, page));
	/* what the kernel has there of them */
	for (i = 0; i < bytes / MDB_PAGE; i++)
		ASSERT_OK(uffd_copy(uffd, window + i * MDB_PAGE,
				    r->src_ram + (from + (i & 3)) * MDB_PAGE));
	ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_DONE));
	for (i = from; i <= page; i++)
		ASSERT_TRUE(same(r, i));
	close(uffd);
}

/*
 * Given back before the switch, the page was the source's again, which has written to it
 * since and need not have said so: its block is older, whoever is gone.  Another run of
 * its record is being read at the switch, so that its block is known.
 */
TEST_F_TIMEOUT(pc, failed_before_the_switch, 60)
{
	u64 hole = RIG_FIRST + 40, old = RIG_FIRST, late = hole + 1, reason;
	struct rig *r = &self->r;
	int i;

	hints_set(&r->hints, hole, 0);
	ASSERT_OK(dm_make_bad(self, hole, "delay", " 5000"));
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_TRUE(wait_claim(r, old, MIGDB_CLAIM_RETURNED));
	reason = stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR];
	ASSERT_LT(0, reason);
	ASSERT_OK(rig_pump(r));
	ASSERT_OK(rig_dirty(r, old));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
	ASSERT_EQ(MIGDB_CLAIM_TODO, mdb_claim_of(&r->dst, late));
	mdb_close(&r->src);
	/* storage is well again */
	ASSERT_OK(dm_make(self, "linear", ""));
	ASSERT_OK(server_start(&self->v, r));
	mdb_fault(&r->dst, r->dst_ram + late * MDB_PAGE, NEVER, NULL);
	ASSERT_TRUE(wait_claim(r, late, MIGDB_CLAIM_DONE));
	for (i = 0; i < 100; i++, usleep(1000))
		ASSERT_EQ(MIGDB_FAULT_ASK,
			  mdb_fault(&r->dst, r->dst_ram + old * MDB_PAGE, NEVER, NULL));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, old));
	ASSERT_LE(reason, stats_of(&r->dst).out_by_reason[MIGDB_REASON_IO_ERROR]);
}

TEST_F_TIMEOUT(pc, complete_waits_for_the_last_page, 60)
{
	struct rig *r = &self->r;
	u64 missing;

	ASSERT_OK(switched(r, r->disk));
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_LT(0, missing);
	ASSERT_EQ(MIGDB_STATE_POSTCOPY, state_of(&r->dst));
	ASSERT_EQ(-EBUSY, mdb_drain(&r->dst, 0, &(struct migdb_drain){}));
	ASSERT_EQ(-EBUSY, mdb_hold(&r->dst, NULL, NULL));
	/* storage brings all of them, however slow it is */
	self->v.deadline_ns = NEVER;
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	ASSERT_EQ(MIGDB_FAULT_BUILT,
		  mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, 0, NULL));
}

/*
 * A page that was sent before its record, and was punched for that: until it comes again
 * nobody says that all is here.
 */
TEST_F_TIMEOUT(pc, complete_waits_for_a_page_that_was_sent_before_its_record, 60)
{
	u64 page = PAGES - 3, missing, bad;
	struct rig *r = &self->r;

	ASSERT_OK(hold_sent_before_record(r, page));
	ASSERT_OK(rig_postcopy(r));
	ASSERT_EQ(SET - 1, wait_built(&r->dst, SET - 1));
	while (stats_of(&r->dst).out_todo)
		usleep(1000);
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(1, missing);
	ASSERT_EQ(MIGDB_STATE_POSTCOPY, state_of(&r->dst));
	ASSERT_EQ(MIGDB_FAULT_ASK, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
	for (bad = 0; bad < RIG_FIRST; bad++)
		ASSERT_OK(rig_place(r, bad));
	ASSERT_OK(rig_place(r, page));
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(rig_compare(r, &bad));
}

/* A VMM that is killed in the middle, with reads under way and somebody waiting. */
TEST_F_TIMEOUT(pc, killed_in_the_middle, 120)
{
	int status, i;
	pid_t pid;
	u64 end;

	for (i = 0; i < 4; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct rig r;
			struct server v = {};

			if (rig_init(&r, PAGES) || (i % 2 && rig_anonymous(&r)) ||
			    switched(&r, r.disk) || server_start(&v, &r))
				_exit(1);
			unlink(r.disk_path);
			full_speed();
			if (i < 2)
				kill(getpid(), SIGKILL);
			for (;;)
				rig_compare(&r, &end);
		}
		if (i >= 2) {
			usleep(100000 * i);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			TH_LOG("status %#x", status);
		end = clock_ms() + 20000;
		while (mdb_sysfs_read("nr_sessions") && clock_ms() < end)
			usleep(10000);
		ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
	}
}

TEST_HARNESS_MAIN
