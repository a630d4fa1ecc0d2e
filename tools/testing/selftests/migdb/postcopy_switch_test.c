// SPDX-License-Identifier: GPL-2.0
/* Post-copy: HOLD and POSTCOPY, what they say and what they refuse. */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "postcopy_fixture.h"

/* HOLD. */

TEST_F(pc, hold_before_the_end_mark)
{
	struct rig *r = &self->r;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_EQ(-EAGAIN, mdb_hold(&r->dst, NULL, NULL));
	ASSERT_EQ(MIGDB_STATE_FILLING, state_of(&r->dst));
	ASSERT_OK(full_speed());
	FINISH();
}

TEST_F(pc, hold_arguments)
{
	struct rig *r = &self->r;
	struct migdb_hold h = { .size = sizeof(h), .__reserved = 1 };

	ASSERT_OK(begin(r, r->disk));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ(-1, ioctl(r->dst.fd, MIGDB_HOLD, &h));
	ASSERT_EQ(EINVAL, errno);
	ASSERT_EQ(MIGDB_STATE_FILLING, state_of(&r->dst));
	ASSERT_EQ(-EFAULT, mdb_hold(&r->dst, BAD_PTR, NULL));
	ASSERT_EQ(MIGDB_STATE_HELD, state_of(&r->dst));
	ASSERT_OK(mdb_hold(&r->dst, NULL, NULL));
}

/* What it says: recorded and not built, and not what the stream has brought since. */
TEST_F(pc, hold_says_what_is_missing)
{
	struct rig *r = &self->r;
	u64 page, n = 0, missing, sent = PAGES - 3;
	u8 claim;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_LT(0, wait_built(&r->dst, 64));
	/* known to have been written to: revoked, sent again */
	ASSERT_OK(rig_dirty(r, sent));
	ASSERT_OK(rig_pump(r));
	rig_deliver(r, sent);
	ASSERT_OK(rig_hold(r));
	for (page = 0; page < PAGES; page++) {
		bool bit = r->missing[page / 64] >> (page % 64) & 1;

		claim = mdb_claim_of(&r->dst, page);
		ASSERT_EQ(claim == MIGDB_CLAIM_TODO || claim == MIGDB_CLAIM_RETURNED, bit)
			TH_LOG("page %llu, claim %u", (unsigned long long)page, claim);
		n += bit;
	}
	ASSERT_FALSE(r->missing[sent / 64] >> (sent % 64) & 1);
	ASSERT_OK(mdb_hold(&r->dst, r->missing, &missing));
	ASSERT_EQ(n, missing);
	ASSERT_LT(0, n);
	ASSERT_GT(SET, n);
}

/*
 * A record for a page that the stream had brought before: it was given back, and what
 * the source has since done about it nobody here knows.  It is missing, until it is
 * claimed anew.
 */
TEST_F(pc, hold_mistrusts_a_page_that_was_sent_before_its_record)
{
	struct rig *r = &self->r;
	u64 page = PAGES - 3;

	ASSERT_OK(hold_sent_before_record(r, page));
	ASSERT_TRUE(r->missing[page / 64] >> (page % 64) & 1);
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_of(&r->dst, page));
	ASSERT_EQ(MIGDB_CLAIM_RETURNED, mdb_claim_byte(&r->dst, page));
	ASSERT_OK(mdb_hold(&r->dst, r->missing, NULL));
	ASSERT_FALSE(r->missing[page / 64] >> (page % 64) & 1);
	ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, page));
}

/* The same, and the switch is given up: what HOLD has named has to come again. */
TEST_F(pc, held_and_drained_with_a_page_that_was_sent_before_its_record)
{
	struct rig *r = &self->r;
	u64 page = PAGES - 3, bad, missing;

	ASSERT_OK(hold_sent_before_record(r, page));
	/* the VMM has taken it out of memory already */
	ASSERT_EQ(0, madvise(r->dst_ram + page * MDB_PAGE, MDB_PAGE, MADV_REMOVE));
	ASSERT_OK(mdb_drain(&r->dst, 0, &(struct migdb_drain){}));
	ASSERT_OK(rig_pump(r));
	for (bad = 0; bad < PAGES; bad++)
		if (bad != page && mdb_claim_of(&r->dst, bad) != MIGDB_CLAIM_DONE)
			rig_deliver(r, bad);
	ASSERT_EQ(-EUCLEAN, mdb_complete(&r->dst, &missing));
	ASSERT_EQ(1, missing);
	rig_deliver(r, page);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(rig_compare(r, &bad));
}

/*
 * The source has not heard of all that is built, and does not wait: such a page is DONE,
 * not missing, and among what is to be sent.  It is to stay where it is.
 */
TEST_F_TIMEOUT(pc, built_and_to_be_sent, 60)
{
	u64 page, i, moved, left, both = 0;
	struct rig *r = &self->r;
	struct migdb_run runs[64];
	struct wire w = {};
	u8 todo[PAGES] = {};
	u32 nr, k;

	ASSERT_OK(mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_pump(r));
	/* by hand from here on, and only there: no answer comes back */
	ASSERT_OK(rig_hash(r, &w));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_LT(0, wait_built(&r->dst, 64));
	ASSERT_OK(mdb_seal(&r->src, NULL, NULL));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_OK(wire_push(&w, &r->dst));
	wire_free(&w);
	ASSERT_OK(mdb_reclaim(&r->src, &moved));
	ASSERT_LT(0, moved);
	do {
		ASSERT_OK(mdb_dequeue(&r->src, runs, 64, ~0ULL, &nr, &left));
		for (k = 0; k < nr; k++)
			for (i = 0; i < runs[k].count; i++)
				todo[runs[k].first + i] = 1;
	} while (nr);
	r->missing = calloc(PAGES / 64, 8);
	ASSERT_OK(mdb_hold(&r->dst, r->missing, NULL));
	for (page = 0; page < PAGES; page++) {
		if (!todo[page] || mdb_claim_of(&r->dst, page) != MIGDB_CLAIM_DONE)
			continue;
		ASSERT_FALSE(r->missing[page / 64] >> (page % 64) & 1);
		both++;
	}
	ASSERT_LT(0, both);
	ASSERT_OK(rig_postcopy(r));
	for (page = 0; page < PAGES; page++)
		if (todo[page])
			ASSERT_OK(rig_place(r, page));
	ASSERT_OK(full_speed());
	ASSERT_OK(server_start(&self->v, r));
	ARRIVE();
}

/* No page is written while it is held, whatever comes home; then it goes on. */
TEST_F_TIMEOUT(pc, nothing_is_written_while_held, 60)
{
	struct rig *r = &self->r;
	u64 built;

	ASSERT_OK(dm_make(self, "linear", ""));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, self->dm_fd));
	ASSERT_OK(rig_snapshot(r));
	/* reads are under way, and none comes back before it is held */
	ASSERT_OK(dm_suspend(self->name, true));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_hold(r));
	built = stats_of(&r->dst).out_built;
	ASSERT_GT(SET, built);
	ASSERT_OK(dm_suspend(self->name, false));
	usleep(2000000);
	ASSERT_EQ(built, stats_of(&r->dst).out_built);
	ASSERT_EQ(0, count_claims(r, MIGDB_CLAIM_BUSY));
	ASSERT_OK(rig_postcopy(r));
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_EQ(SET, wait_built(&r->dst, SET));
	ASSERT_EQ(SET - built, stats_of(&r->dst).out_postcopy_built);
	ARRIVE();
}

/* No post-copy after all. */
TEST_F(pc, held_and_drained)
{
	struct rig *r = &self->r;
	struct migdb_drain d;
	u64 bad;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(mdb_drain(&r->dst, 0, &d));
	ASSERT_EQ(MIGDB_STATE_DRAINED, state_of(&r->dst));
	ASSERT_EQ(SET, d.out_built + d.out_returned);
	ASSERT_OK(rig_pump(r));
	ASSERT_EQ((s64)d.out_returned, rig_deliver_queue(r));
	rig_deliver_rest(r);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(mdb_complete(&r->src, NULL));
	ASSERT_OK(rig_compare(r, &bad));
}

TEST_F(pc, held_and_aborted)
{
	struct rig *r = &self->r;
	u64 bad;

	ASSERT_OK(begin(r, r->disk));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(mdb_abort(&r->dst, 0));
	ASSERT_EQ(-ECANCELED, rig_postcopy(r));
	close(r->uffd);
	r->uffd = 0;
	ASSERT_OK(mdb_abort(&r->src, 0));
	rig_deliver_bitmap(r);
	ASSERT_LE(0, rig_deliver_queue(r));
	rig_deliver_rest(r);
	ASSERT_OK(mdb_complete(&r->dst, NULL));
	ASSERT_OK(rig_compare(r, &bad));
}

/* POSTCOPY: what is refused, and leaves it HELD. */

#define REFUSED(_errno, _uffd)						\
	do {								\
		EXPECT_EQ(-(_errno), mdb_postcopy(&self->r.dst, _uffd, NULL)) \
			TH_LOG(#_uffd);					\
		EXPECT_EQ(MIGDB_STATE_HELD, state_of(&self->r.dst));	\
	} while (0)

static int held(struct rig *r)
{
	int rc = begin(r, r->disk);

	if (!rc)
		rc = rig_hold(r);
	r->uffd = uffd_open();
	return rc;
}

TEST_F(pc, not_a_userfaultfd)
{
	struct rig *r = &self->r;
	int event = eventfd(0, EFD_CLOEXEC), null = open("/dev/null", O_RDWR);
	char path[64];
	int named;

	ASSERT_OK(held(r));
	REFUSED(EBADF, -1);
	REFUSED(EBADF, 12345);
	REFUSED(EOPNOTSUPP, event);
	REFUSED(EOPNOTSUPP, null);
	REFUSED(EOPNOTSUPP, r->disk);
	REFUSED(EOPNOTSUPP, r->dst.fd);
	REFUSED(EOPNOTSUPP, r->dst.tx);
	REFUSED(EOPNOTSUPP, r->dst.map_fd);
	/* only called so */
	snprintf(path, sizeof(path), "/tmp/[userfaultfd]");
	named = open(path, O_CREAT | O_RDWR, 0600);
	ASSERT_LE(0, named);
	unlink(path);
	REFUSED(EOPNOTSUPP, named);
	named = memfd_create("[userfaultfd]", 0);
	REFUSED(EOPNOTSUPP, named);
	close(event);
	close(null);
}

static int send_fd(int sock, int fd)
{
	char data = 0, room[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { &data, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char data, room[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { &data, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd;

	if (recvmsg(sock, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* At the same addresses, even: it would fill another process's memory. */
TEST_F(pc, uffd_of_another_process)
{
	struct rig *r = &self->r;
	int sock[2], fd;
	pid_t pid;

	ASSERT_OK(held(r));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = uffd_open();
		if (fd < 0 || uffd_register(fd, r->dst_ram, BYTES, UFFDIO_REGISTER_MODE_MISSING) ||
		    send_fd(sock[0], fd))
			_exit(1);
		pause();
		_exit(0);
	}
	fd = receive_fd(sock[1]);
	ASSERT_LE(0, fd);
	REFUSED(EPERM, fd);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	REFUSED(EPERM, fd);
	close(fd);
}

TEST_F(pc, memory_that_is_not_registered)
{
	struct rig *r = &self->r;
	int other = uffd_open();

	ASSERT_OK(held(r));
	REFUSED(ENOENT, r->uffd);
	/* all but one page in the middle, and all but the last */
	ASSERT_OK(uffd_register(r->uffd, r->dst_ram, 500 * MDB_PAGE,
				UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_OK(uffd_register(r->uffd, r->dst_ram + 501 * MDB_PAGE, BYTES - 501 * MDB_PAGE,
				UFFDIO_REGISTER_MODE_MISSING));
	REFUSED(ENOENT, r->uffd);
	/* registered, but with another one */
	ASSERT_OK(uffd_register(other, r->dst_ram + 500 * MDB_PAGE, MDB_PAGE,
				UFFDIO_REGISTER_MODE_MISSING));
	REFUSED(ENOENT, r->uffd);
	REFUSED(ENOENT, other);
	close(other);
	REFUSED(ENOENT, r->uffd);
	/* not mapped at all */
	ASSERT_EQ(0, munmap(r->dst_ram + 500 * MDB_PAGE, MDB_PAGE));
	REFUSED(ENOENT, r->uffd);
}

/* Write protection alone tells of no missing page. */
TEST_F(pc, registered_for_something_else)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_anonymous(r));
	ASSERT_OK(held(r));
	ASSERT_OK(uffd_register(r->uffd, r->dst_ram, BYTES, UFFDIO_REGISTER_MODE_WP));
	REFUSED(ENOENT, r->uffd);
}

TEST_F(pc, window_elsewhere)
{
	struct rig *r = &self->r;
	struct migdb_postcopy s = { .size = sizeof(s) };
	u64 at, bad[5];
	void *readonly;
	int i;

	ASSERT_OK(held(r));
	ASSERT_OK(uffd_register(r->uffd, r->dst_ram, BYTES, UFFDIO_REGISTER_MODE_MISSING));
	at = (uintptr_t)r->dst.copy;
	bad[0] = 0;
	bad[1] = at + MDB_PAGE;
	bad[2] = at + 1;
	bad[3] = (uintptr_t)r->dst.map;		/* the claims */
	bad[4] = (uintptr_t)r->src_ram;
	s.uffd = r->uffd;
	for (i = 0; i < 5; i++) {
		s.copy_uptr = bad[i];
		EXPECT_EQ(-1, ioctl(r->dst.fd, MIGDB_POSTCOPY, &s));
		EXPECT_EQ(EINVAL, errno) TH_LOG("%d", i);
	}
	s.copy_uptr = at;
	s.__reserved = 1;
	EXPECT_EQ(-1, ioctl(r->dst.fd, MIGDB_POSTCOPY, &s));
	EXPECT_EQ(EINVAL, errno);
	s.__reserved = 0;
	/* all of it, and writable */
	readonly = r->dst.copy;
	ASSERT_EQ(0, mprotect(readonly, r->dst.copy_bytes, PROT_READ));
	REFUSED(EINVAL, r->uffd);
	ASSERT_EQ(0, mprotect(readonly, r->dst.copy_bytes, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, munmap(readonly + r->dst.copy_bytes - MDB_PAGE, MDB_PAGE));
	REFUSED(EINVAL, r->uffd);
}

TEST_F(pc, huge_pages_of_hugetlbfs)
{
	struct rig *r = &self->r;
	void *huge;
	int fd;

	ASSERT_OK(write_file("/proc/sys/vm/nr_hugepages", "4"));
	huge = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	ASSERT_NE(MAP_FAILED, huge);
	munmap(r->dst_ram, BYTES);
	r->dst_ram = huge;
	ASSERT_OK(held(r));
	fd = r->uffd;
	ASSERT_OK(uffd_register(fd, huge, BYTES, UFFDIO_REGISTER_MODE_MISSING));
	REFUSED(EOPNOTSUPP, fd);
	ASSERT_OK(write_file("/proc/sys/vm/nr_hugepages", "0"));
}

TEST_F(pc, knobs)
{
	ASSERT_EQ(2, mdb_sysfs_read("postcopy_bulk_reads"));
	ASSERT_EQ(2000, mdb_sysfs_read("postcopy_deadline_floor_us"));
	ASSERT_EQ(-EINVAL, mdb_sysfs_write("postcopy_bulk_reads", 0));
	ASSERT_EQ(-EINVAL, mdb_sysfs_write("postcopy_bulk_reads", 17));
	ASSERT_OK(mdb_sysfs_write("postcopy_bulk_reads", 16));
	ASSERT_EQ(-EINVAL, mdb_sysfs_write("postcopy_deadline_floor_us", 0));
	ASSERT_EQ(-EINVAL, mdb_sysfs_write("postcopy_deadline_floor_us", 10000001));
	ASSERT_OK(mdb_sysfs_write("postcopy_deadline_floor_us", 500000));
	ASSERT_OK(begin(&self->r, self->r.disk));
	ASSERT_OK(rig_hold(&self->r));
	ASSERT_EQ(500000000, stats_of(&self->r.dst).out_fault_deadline_ns);
}

TEST_HARNESS_MAIN
