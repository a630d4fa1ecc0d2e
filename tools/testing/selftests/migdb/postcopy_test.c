// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy: the switch and its refusals, placement, faults, and what breaks.  At the
 * end of each run both memories are the same; the guest is whoever touches a page.
 */
#define _GNU_SOURCE
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "postcopy.h"
#include "slow_disk.h"
#include "test_util.h"

#define PAGES	1024
#define SET	(PAGES - RIG_FIRST)
#define BYTES	(PAGES * MDB_PAGE)
#define SECTORS	(PAGES * 8)
#define NEVER	MIGDB_DEADLINE_NEVER

FIXTURE(pc) {
	struct rig r;
	struct server v;
	char loop[DISK_PATH_BYTES], dm[DISK_PATH_BYTES], name[32];
	int dm_fd;
};

static void defaults(void)
{
	mdb_sysfs_write("enabled", 1);
	mdb_sysfs_write("fetch_max_bytes_per_s", 0);
	mdb_sysfs_write("postcopy_bulk_reads", 2);
	mdb_sysfs_write("postcopy_deadline_floor_us", 2000);
}

FIXTURE_SETUP(pc)
{
	int fd;

	REQUIRE_DEVICE();
	/* a test that fails in the middle is not torn down */
	defaults();
	self->dm_fd = -1;
	fd = uffd_open();
	if (fd < 0)
		SKIP(return, "no userfaultfd");
	close(fd);
	ASSERT_OK(rig_init(&self->r, PAGES));
}

FIXTURE_TEARDOWN(pc)
{
	defaults();
	if (!self->r.nr_pages)
		return;
	if (self->name[0])
		dm_suspend(self->name, false);
	server_stop(&self->v);
	mdb_close(&self->r.src);
	mdb_close(&self->r.dst);
	if (self->dm_fd >= 0)
		close(self->dm_fd);
	if (self->name[0])
		dm_remove(self->name);
	if (self->loop[0])
		loop_detach(self->loop);
	rig_exit(&self->r);
}

/*
 * The rig's disk behind a device-mapper target, opened for the destination.  Its first
 * @bad_pages cannot be read.
 */
static int dm_make_bad(FIXTURE_DATA(pc) *f, u64 bad_pages, const char *type, const char *params)
{
	u64 bad = bad_pages * (MDB_PAGE / 512);
	char text[DISK_PATH_BYTES + 64];
	struct dm_part part[] = {
		{ 0, bad, "error", "" },
		{ bad, SECTORS - bad, type, text },
	};
	unsigned int first = !bad, nr = 2 - first;
	int rc = f->loop[0] ? 0 : loop_attach(f->r.disk_path, f->loop);

	if (rc)
		return rc;
	if (strcmp(type, "error"))
		snprintf(text, sizeof(text), "%s %llu%s", f->loop, (unsigned long long)bad, params);
	else
		text[0] = 0;
	if (f->name[0])
		return dm_reload(f->name, part + first, nr);
	snprintf(f->name, sizeof(f->name), "migdb-pc-%d", getpid());
	rc = dm_create(f->name, part + first, nr, f->dm);
	if (rc) {
		f->name[0] = 0;
		return rc;
	}
	f->dm_fd = disk_open(f->dm, O_RDONLY);
	return f->dm_fd < 0 ? f->dm_fd : 0;
}

static int dm_make(FIXTURE_DATA(pc) *f, const char *type, const char *params)
{
	return dm_make_bad(f, 0, type, params);
}

/* Sessions and records; bulk reads stop at the bucket's burst of 1 MiB, 256 pages. */
static int begin(struct rig *r, int disk)
{
	int rc = mdb_sysfs_write("fetch_max_bytes_per_s", 1);

	if (!rc)
		rc = rig_source(r);
	if (!rc)
		rc = rig_dest(r, disk);
	if (!rc)
		rc = rig_snapshot(r);
	return rc ? rc : rig_hash(r, NULL);
}

/* And the switch, somewhere in the middle of building. */
static int switched(struct rig *r, int disk)
{
	int rc = begin(r, disk);

	if (!rc)
		rc = rig_hold(r);
	return rc ? rc : rig_postcopy(r);
}

static int full_speed(void)
{
	return mdb_sysfs_write("fetch_max_bytes_per_s", 0);
}

#define ARRIVE()							\
	do {								\
		u64 bad_;						\
		int rc_ = rig_arrive(&self->r, &self->v, &bad_);	\
		ASSERT_EQ(0, rc_) TH_LOG("%s, page %llu", strerror(-rc_),\
					 (unsigned long long)bad_);	\
		ASSERT_EQ(MIGDB_STATE_DONE, state_of(&self->r.dst));	\
		ASSERT_EQ(0, stats_of(&self->r.dst).out_by_reason[MIGDB_REASON_PRESENT]); \
	} while (0)

static u64 first_claimed(struct rig *r, u8 claim)
{
	u64 page;

	for (page = RIG_FIRST; page < r->nr_pages; page++)
		if (mdb_claim_of(&r->dst, page) == claim)
			return page;
	return 0;
}

/* Reads in flight when it was held may be placed at once: wait for a page that is not. */
static u64 late_page(struct rig *r)
{
	u64 page;

	for (page = r->nr_pages - 8; page > RIG_FIRST; page--)
		if (mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_TODO)
			return page;
	return 0;
}

static bool wait_claim(struct rig *r, u64 page, u8 claim)
{
	u64 end = clock_ms() + 20000;

	while (mdb_claim_of(&r->dst, page) != claim && clock_ms() < end)
		usleep(1000);
	return mdb_claim_of(&r->dst, page) == claim;
}

static bool same(struct rig *r, u64 page)
{
	return !memcmp(r->src_ram + page * MDB_PAGE, r->dst_ram + page * MDB_PAGE, MDB_PAGE);
}

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
 * the source has since done about it nobody here knows.  It is missing.
 */
TEST_F(pc, hold_mistrusts_a_page_that_was_sent_before_its_record)
{
	struct rig *r = &self->r;
	u64 page = PAGES - 3;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	rig_deliver(r, page);
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_hold(r));
	ASSERT_EQ(MIGDB_CLAIM_SENT, mdb_claim_of(&r->dst, page));
	ASSERT_TRUE(r->missing[page / 64] >> (page % 64) & 1);
}

/* No page is written while it is held, whatever comes home; then it goes on. */
TEST_F_TIMEOUT(pc, nothing_is_written_while_held, 60)
{
	struct rig *r = &self->r;
	u64 built;

	ASSERT_OK(dm_make(self, "delay", " 2000"));
	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, self->dm_fd));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	/* reads are under way, and none is back */
	ASSERT_OK(rig_hold(r));
	built = stats_of(&r->dst).out_built;
	ASSERT_GT(SET, built);
	usleep(3000000);
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

/* Placement. */

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
	/* the source pushes from the other end; it races with the server for some */
	for (page = PAGES - 1; page > PAGES / 2; page -= 3) {
		int asked = mdb_request(&r->src, page, 1, NULL);
		u8 before = mdb_claim_byte(&r->dst, page);
		int rc = asked ? asked : before == MIGDB_CLAIM_DONE ? 0 :
			 uffd_copy(r->uffd, r->dst_ram + page * MDB_PAGE,
				   r->src_ram + page * MDB_PAGE);

		/* only because the server was there between the two */
		ASSERT_TRUE(!rc || (rc == -EEXIST && before == MIGDB_CLAIM_SENT))
			TH_LOG("page %llu, claim %u: %s", (unsigned long long)page, before,
			       strerror(-rc));
		r->delivered[page] = 1;
	}
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(t[i].thread, NULL));
		ASSERT_EQ(0, t[i].bad);
	}
	self->v.errors = 0;	/* EEXIST of the server's own, for the same reason */
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

	ASSERT_OK(dm_make(self, "delay", " 1000"));
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
	page = late_page(r);
	ASSERT_LT(0, page);
	ASSERT_EQ(MIGDB_FAULT_FETCHING, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 50000000,
						  NULL));
	/* a second who waits for it changes nothing */
	ASSERT_EQ(MIGDB_FAULT_FETCHING, mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, 50000000,
						  NULL));
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
	usleep(1500000);
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
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
	ASSERT_LE(2000000, stats_of(&r->dst).out_fault_deadline_ns);
	for (i = 0; i < 8; i++) {
		page = late_page(r);
		ASSERT_LT(0, page);
		ASSERT_EQ(MIGDB_FAULT_FETCHING,
			  mdb_fault(&r->dst, r->dst_ram + page * MDB_PAGE, NEVER, NULL));
		ASSERT_TRUE(wait_claim(r, page, MIGDB_CLAIM_DONE));
	}
	ASSERT_LE(30000000, stats_of(&r->dst).out_fault_read_ns);
	ASSERT_LE(4 * 30000000, stats_of(&r->dst).out_fault_deadline_ns);
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
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
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

/* Ends, early ones too. */

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

	ASSERT_OK(dm_make(self, "delay", " 300"));
	ASSERT_OK(begin(r, self->dm_fd));
	ASSERT_OK(rig_hold(r));
	ASSERT_OK(rig_postcopy(r));
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
	ASSERT_OK(dm_make_bad(self, hole, "delay", " 3000"));
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
	ASSERT_OK(server_start(&self->v, r));
	ASSERT_OK(full_speed());
	ARRIVE();
	ASSERT_EQ(MIGDB_FAULT_BUILT,
		  mdb_fault(&r->dst, r->dst_ram + (PAGES - 1) * MDB_PAGE, 0, NULL));
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

/* A VMM that is killed in the middle, with reads under way and somebody waiting. */
TEST_F_TIMEOUT(pc, killed_in_the_middle, 120)
{
	u64 end = clock_ms() + 20000;
	int status, i;
	pid_t pid;

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
		while (mdb_sysfs_read("nr_sessions") && clock_ms() < end)
			usleep(10000);
		ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
	}
}

TEST_HARNESS_MAIN
