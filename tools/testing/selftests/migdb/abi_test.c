// SPDX-License-Identifier: GPL-2.0
/*
 * The contract of <linux/migdb.h>: sizes, flags, pointers, states, owners, and
 * the stream and map files.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <linux/kvm.h>
#include "postcopy.h"
#include "test_util.h"
#include "vhost_worker.h"

#define PAGES	256

#define STATE(_s)	(1u << MIGDB_STATE_##_s)
#define ALL_STATES	(STATE(IDLE) | STATE(ARMING) | STATE(TRACKING) | STATE(SEALED) | \
			 STATE(FILLING) | STATE(DRAINED) | STATE(DONE) | STATE(ABORTED) | \
			 STATE(HELD) | STATE(POSTCOPY))

/* One line per command: a new one must be added here, see no_command_is_missing. */
static const struct command {
	const char *name;
	unsigned long cmd;
	u32 size;
	u32 least;	/* size that it had at first, or 0: has not grown */
	u32 states;	/* where it is not EBUSY (or ECANCELED when aborted) */
	u32 reserved;	/* offset of a reserved field, or 0 */
	bool anyone;	/* works without being the owner */
} commands[] = {
#define C(_cmd, _struct, _states, ...)					\
	{								\
		.name = #_cmd, .cmd = MIGDB_##_cmd,			\
		.size = sizeof(struct _struct), .states = (_states),	\
		__VA_ARGS__						\
	}
#define R(_struct, _field)	.reserved = offsetof(struct _struct, _field)
	C(GET_INFO, migdb_get_info, ALL_STATES, R(migdb_get_info, __reserved), .anyone = true),
	C(SET_DISK, migdb_set_disk, STATE(IDLE), R(migdb_set_disk, __reserved)),
	C(SET_GUEST_TABLE, migdb_set_guest_table, STATE(IDLE)),
	C(BIND_KVM, migdb_bind_kvm, STATE(IDLE), R(migdb_bind_kvm, __reserved)),
	C(START, migdb_start, STATE(IDLE), R(migdb_start, __reserved)),
	C(ARMED, migdb_armed, STATE(ARMING) | STATE(TRACKING)),
	C(SNAPSHOT, migdb_snapshot, STATE(ARMING)),
	C(HASH, migdb_hash, STATE(TRACKING)),
	C(DIRTY, migdb_dirty, STATE(ARMING) | STATE(TRACKING)),
	C(HARVEST, migdb_harvest, STATE(ARMING) | STATE(TRACKING)),
	C(INVALIDATE, migdb_range, STATE(ARMING) | STATE(TRACKING) | STATE(FILLING) |
	  STATE(DRAINED) | STATE(HELD) | STATE(POSTCOPY)),
	C(DEQUEUE, migdb_dequeue, STATE(ARMING) | STATE(TRACKING) | STATE(SEALED) |
	  STATE(DONE) | STATE(ABORTED)),
	C(RECLAIM, migdb_reclaim, STATE(TRACKING) | STATE(SEALED)),
	C(SEAL, migdb_seal, STATE(TRACKING)),
	C(CLAIM, migdb_range, STATE(FILLING) | STATE(DRAINED) | STATE(ABORTED) | STATE(DONE) |
	  STATE(HELD) | STATE(POSTCOPY)),
	C(DRAIN, migdb_drain, STATE(FILLING) | STATE(HELD)),
	C(COMPLETE, migdb_complete, STATE(SEALED) | STATE(DRAINED) | STATE(ABORTED) |
	  STATE(POSTCOPY)),
	C(ABORT, migdb_abort, ALL_STATES & ~(STATE(IDLE) | STATE(DONE)),
	  R(migdb_abort, __reserved)),
	C(STATS, migdb_stats, ALL_STATES, .anyone = true, .least = 264),
	C(TAKE, migdb_take, STATE(TRACKING) | STATE(SEALED)),
	C(HOLD, migdb_hold, STATE(FILLING) | STATE(HELD)),
	C(POSTCOPY, migdb_postcopy, STATE(HELD)),
	C(FAULT, migdb_fault, STATE(POSTCOPY) | STATE(DONE) | STATE(ABORTED)),
	C(REQUEST, migdb_request, STATE(SEALED)),
};

#define NR_COMMANDS	(ARRAY_SIZE(commands))

static int call(struct mdb *m, unsigned long cmd, void *arg)
{
	return ioctl(m->fd, cmd, arg) ? -errno : 0;
}

/* A struct of @size bytes that says so, and room behind it. */
static u8 *make(const struct command *c, u32 size)
{
	static u8 buf[8192];

	memset(buf, 0, sizeof(buf));
	memcpy(buf, &size, sizeof(size));
	(void)c;
	return buf;
}

FIXTURE(abi) {
	struct rig r;
	struct mdb m;		/* IDLE, set up */
};

FIXTURE_SETUP(abi)
{
	REQUIRE_DEVICE();
	ASSERT_OK(rig_init(&self->r, PAGES));
	ASSERT_OK(rig_source_idle(&self->r, &self->m));
}

FIXTURE_TEARDOWN(abi)
{
	if (!self->r.nr_pages)
		return;
	mdb_close(&self->m);
	rig_exit(&self->r);
}

/* As the module makes it, before any rule of udev's. */
TEST_F(abi, device_mode)
{
	struct stat st;

	ASSERT_EQ(0, stat(MDB_DEV, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0660, st.st_mode & 07777);
}

TEST_F(abi, no_command_is_missing)
{
	ASSERT_EQ(MIGDB_CMD_END - MIGDB_CMD_BASE, NR_COMMANDS);
}

TEST_F(abi, size_zero_and_one_less)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];

		EXPECT_EQ(-EINVAL, call(&self->m, c->cmd, make(c, 0))) TH_LOG("%s", c->name);
		EXPECT_EQ(-EINVAL, call(&self->m, c->cmd, make(c, 4))) TH_LOG("%s", c->name);
		EXPECT_EQ(-EINVAL,
			  call(&self->m, c->cmd, make(c, (c->least ? c->least : c->size) - 1)))
			TH_LOG("%s", c->name);
	}
}

/* From an older user space: it gets what its struct has room for, and no more. */
TEST_F(abi, as_short_as_at_first)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];
		u8 *s;

		if (!c->least)
			continue;
		ASSERT_LT(c->least, c->size);
		s = make(c, c->least);
		memset(s + c->least, 0xa5, 64);
		EXPECT_EQ(0, call(&self->m, c->cmd, s)) TH_LOG("%s", c->name);
		EXPECT_EQ(0xa5, s[c->least]) TH_LOG("%s", c->name);
		EXPECT_EQ(MIGDB_STATE_IDLE, ((struct migdb_stats *)s)->out_state);
	}
}

/* From a newer user space: unknown fields are accepted as long as they are zero. */
TEST_F(abi, longer_with_nonzero_tail)
{
	size_t i;
	u8 *s;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];

		s = make(c, c->size + 1);
		s[c->size] = 1;
		EXPECT_EQ(-E2BIG, call(&self->m, c->cmd, s)) TH_LOG("%s", c->name);
		s = make(c, c->size + 64);
		s[c->size + 63] = 0x80;
		EXPECT_EQ(-E2BIG, call(&self->m, c->cmd, s)) TH_LOG("%s", c->name);
	}
}

TEST_F(abi, longer_with_zero_tail)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];
		int exact, longer;

		if (c->cmd == MIGDB_START || c->cmd == MIGDB_BIND_KVM)
			continue;
		exact = call(&self->m, c->cmd, make(c, c->size));
		longer = call(&self->m, c->cmd, make(c, c->size + 8));
		EXPECT_EQ(exact, longer) TH_LOG("%s", c->name);
		EXPECT_NE(-E2BIG, longer) TH_LOG("%s", c->name);
	}
}

TEST_F(abi, unreasonable_size)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];

		EXPECT_GT(0, call(&self->m, c->cmd, make(c, ~0u))) TH_LOG("%s", c->name);
	}
}

TEST_F(abi, every_flag_bit_is_unknown)
{
	size_t i;
	u32 bit;

	for (i = 0; i < NR_COMMANDS; i++)
		for (bit = 0; bit < 32; bit++) {
			const struct command *c = &commands[i];
			u8 *s = make(c, c->size);
			u32 flags = 1u << bit;

			memcpy(s + 4, &flags, sizeof(flags));
			ASSERT_EQ(-EOPNOTSUPP, call(&self->m, c->cmd, s))
				TH_LOG("%s, bit %u", c->name, bit);
		}
	ASSERT_EQ(MIGDB_STATE_IDLE, state_of(&self->m));
}

TEST_F(abi, reserved_fields_are_zero)
{
	size_t i;

	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];
		u8 *s = make(c, c->size);
		struct mdb m;
		int rc;

		if (!c->reserved)
			continue;
		if (c->states & STATE(IDLE)) {
			m = self->m;
		} else {
			mdb_close(&self->r.src);
			ASSERT_OK(rig_source(&self->r));
			m = self->r.src;
		}
		s[c->reserved] = 1;
		rc = call(&m, c->cmd, s);
		EXPECT_EQ(-EINVAL, rc) TH_LOG("%s: %s", c->name, strerror(-rc));
	}
}

TEST_F(abi, bad_pointer)
{
	size_t i;
	void *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, mprotect(page + 4096, 4096, PROT_NONE));
	for (i = 0; i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];
		void *edge = page + 4096 - 8;

		EXPECT_EQ(-EFAULT, call(&self->m, c->cmd, NULL)) TH_LOG("%s", c->name);
		EXPECT_EQ(-EFAULT, call(&self->m, c->cmd, (void *)-4096UL)) TH_LOG("%s", c->name);
		/* The size is readable, the rest is not. */
		memcpy(edge, &c->size, sizeof(c->size));
		EXPECT_EQ(-EFAULT, call(&self->m, c->cmd, edge)) TH_LOG("%s", c->name);
	}
}

TEST_F(abi, unknown_commands)
{
	static const unsigned long refused[] = {
		_IO(MIGDB_TYPE, MIGDB_CMD_BASE - 1), _IO(MIGDB_TYPE, MIGDB_CMD_END),
		_IO(MIGDB_TYPE, 0), _IO(MIGDB_TYPE, 0xff), _IOW(MIGDB_TYPE, MIGDB_CMD_START, int),
		_IO('M', MIGDB_CMD_STATS), KVM_GET_API_VERSION,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_BASE,
		VHOST_GET_VRING_BASE, VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_ERR, VHOST_SET_LOG_BASE, VHOST_SET_LOG_FD, VHOST_NET_SET_BACKEND,
		VHOST_GET_FEATURES, VHOST_SET_FEATURES, VHOST_RESET_OWNER,
	};
	static u64 arg[512];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		EXPECT_EQ(-ENOTTY, call(&self->m, refused[i], arg)) TH_LOG("%#lx", refused[i]);
}

/* Every command in every state: EBUSY or ECANCELED exactly where it says so. */
static int bring_to(struct rig *r, u32 state, struct mdb **m)
{
	struct migdb_drain drain;
	u64 bad;
	int rc;

	mdb_close(&r->src);
	mdb_close(&r->dst);
	if (r->uffd > 0)
		close(r->uffd);
	r->uffd = 0;
	*m = &r->src;
	switch (state) {
	case MIGDB_STATE_IDLE:
		return rig_source_idle(r, &r->src);
	case MIGDB_STATE_ARMING:
		return rig_source(r);
	case MIGDB_STATE_TRACKING:
		rc = rig_source(r);
		return rc ? rc : rig_snapshot(r);
	case MIGDB_STATE_SEALED:
		rc = rig_source(r);
		if (!rc)
			rc = rig_snapshot(r);
		return rc ? rc : mdb_seal(&r->src, NULL, NULL);
	case MIGDB_STATE_FILLING:
		*m = &r->dst;
		return rig_dest(r, r->disk);
	case MIGDB_STATE_DRAINED:
		*m = &r->dst;
		rc = rig_dest(r, r->disk);
		return rc ? rc : mdb_drain(&r->dst, 0, &drain);
	case MIGDB_STATE_HELD:
	case MIGDB_STATE_POSTCOPY:
		*m = &r->dst;
		rc = rig_source(r);
		if (!rc)
			rc = rig_dest(r, r->disk);
		if (!rc)
			rc = rig_snapshot(r);
		if (!rc)
			rc = rig_hash(r, NULL);
		if (!rc)
			rc = rig_hold(r);
		return rc || state == MIGDB_STATE_HELD ? rc : rig_postcopy(r);
	case MIGDB_STATE_DONE:
		rc = rig_source(r);
		if (!rc)
			rc = rig_dest(r, r->disk);
		if (!rc)
			rc = rig_snapshot(r);
		if (!rc)
			rc = rig_hash(r, NULL);
		return rc ? rc : rig_finish(r, &bad);
	case MIGDB_STATE_ABORTED:
		rc = rig_source(r);
		return rc ? rc : mdb_abort(&r->src, 0);
	}
	return -EINVAL;
}

TEST_F_TIMEOUT(abi, wrong_state, 120)
{
	u32 state;
	size_t i;

	for (state = MIGDB_STATE_IDLE; state <= MIGDB_STATE_POSTCOPY; state++)
		for (i = 0; i < NR_COMMANDS; i++) {
			const struct command *c = &commands[i];
			struct mdb *m;
			int rc;

			if (c->states & 1u << state)
				continue;
			ASSERT_OK(bring_to(&self->r, state, &m));
			ASSERT_EQ(state, state_of(m)) TH_LOG("%s", mdb_state_name(state));
			rc = call(m, c->cmd, make(c, c->size));
			EXPECT_EQ(state == MIGDB_STATE_ABORTED && !(c->states & STATE(IDLE)) ?
				  -ECANCELED : -EBUSY, rc)
				TH_LOG("%s in %s: %d", c->name, mdb_state_name(state), rc);
			EXPECT_EQ(state, state_of(m)) TH_LOG("%s left %s", c->name,
							     mdb_state_name(state));
		}
}

TEST_F(abi, source_commands_at_destination)
{
	struct rig *r = &self->r;
	struct migdb_run run;
	u64 left;
	u32 nr;

	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_EQ(-EBUSY, mdb_dequeue(&r->dst, &run, 1, 1, &nr, &left));
	ASSERT_OK(rig_source(r));
	ASSERT_EQ(-EBUSY, mdb_claim(&r->src, 0, 1));
}

TEST_F(abi, not_the_owner)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		size_t i;

		for (i = 0; i < NR_COMMANDS; i++) {
			const struct command *c = &commands[i];
			int rc = call(&self->m, c->cmd, make(c, c->size));

			if (rc != (c->anyone ? 0 : -EPERM)) {
				fprintf(stderr, "# %s: %s\n", c->name, strerror(-rc));
				_exit(1);
			}
		}
		_exit(mdb_set_owner(&self->m) ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
}

TEST_F(abi, no_owner)
{
	struct mdb m;

	ASSERT_OK(mdb_open(&m));
	EXPECT_EQ(-EPERM, mdb_set_disk(&m, 0, self->r.disk, "x"));
	EXPECT_EQ(-EPERM, mdb_start(&m, MIGDB_ROLE_DEST, self->r.uuid, "x"));
	ASSERT_OK(mdb_set_owner(&m));
	EXPECT_EQ(-EBUSY, mdb_set_owner(&m));
	EXPECT_EQ(-EINVAL, mdb_start(&m, MIGDB_ROLE_DEST, self->r.uuid, "x"));
	mdb_close(&m);
}

TEST_F(abi, get_info)
{
	struct migdb_get_info info, more;

	ASSERT_OK(mdb_info(&self->m, PAGES, &info));
	ASSERT_EQ(MIGDB_ABI_VERSION, info.out_abi_version);
	ASSERT_EQ(MIGDB_STATE_IDLE, info.out_state);
	ASSERT_EQ(4096, info.out_page_bytes);
	ASSERT_EQ(1, info.out_enabled);
	ASSERT_TRUE(info.out_tag_algs & 1u << MIGDB_TAG_SIPHASH24);
	ASSERT_FALSE(info.out_tag_algs & 1);
	ASSERT_LT(0, info.out_source_need_bytes);
	ASSERT_LT(0, info.out_dest_need_bytes);
	/* At most 32 bytes per page more, plus what each session has. */
	ASSERT_OK(mdb_info(&self->m, PAGES + (1 << 20), &more));
	ASSERT_LE(more.out_dest_need_bytes - info.out_dest_need_bytes, 32ULL << 20);
	ASSERT_LE(more.out_source_need_bytes - info.out_source_need_bytes, 32ULL << 20);
	ASSERT_EQ(-EINVAL, mdb_info(&self->m, ~0ULL, &info));
}

static struct migdb_start good_start(struct rig *r)
{
	struct migdb_start s = {
		.size = sizeof(s), .role = MIGDB_ROLE_SOURCE, .eventfd = -1, .label = "vm",
	};

	memcpy(s.uuid, r->uuid, sizeof(s.uuid));
	return s;
}

TEST_F(abi, start_arguments)
{
	struct migdb_start s;
	int fd;

#define REFUSED(_errno, _change)					\
	do {								\
		s = good_start(&self->r);				\
		_change;						\
		EXPECT_EQ(-(_errno), call(&self->m, MIGDB_START, &s))	\
			TH_LOG("%s", #_change);				\
	} while (0)
	REFUSED(EOPNOTSUPP, s.role = 0);
	REFUSED(EOPNOTSUPP, s.role = 3);
	REFUSED(EOPNOTSUPP, s.tag_alg = 77);
	REFUSED(EOPNOTSUPP, s.tag_alg = 63);
	REFUSED(EINVAL, memset(s.uuid, 0, sizeof(s.uuid)));
	REFUSED(EINVAL, s.label[0] = 0);
	REFUSED(EINVAL, memset(s.label, 'x', sizeof(s.label)));
	REFUSED(EINVAL, strcpy((char *)s.label, "two words"));
	REFUSED(EINVAL, strcpy((char *)s.label, "new\nline"));
	REFUSED(EINVAL, strcpy((char *)s.label, "../x"));
	REFUSED(EINVAL, strcpy((char *)s.label, "\xc3\xa9"));
	REFUSED(EINVAL, s.eventfd = -2);
	REFUSED(EBADF, s.eventfd = 999);
	fd = open("/dev/null", O_RDWR);
	REFUSED(EOPNOTSUPP, s.eventfd = fd);
	close(fd);
	ASSERT_EQ(MIGDB_STATE_IDLE, state_of(&self->m));
	ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
	s = good_start(&self->r);
	ASSERT_OK(call(&self->m, MIGDB_START, &s));
	ASSERT_EQ(PAGES, s.out_nr_pages);
	ASSERT_EQ(1, mdb_sysfs_read("nr_sessions"));
	ASSERT_TRUE(fcntl(s.out_tx_fd, F_GETFD) & FD_CLOEXEC);
	ASSERT_TRUE(fcntl(s.out_rx_fd, F_GETFD) & FD_CLOEXEC);
	ASSERT_TRUE(fcntl(s.out_map_fd, F_GETFD) & FD_CLOEXEC);
	ASSERT_EQ(-EBUSY, call(&self->m, MIGDB_START, &s));
}

TEST_F(abi, memory_table)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region[3];
	} t = { .head.nregions = 2 };
	struct migdb_start s;
	u8 *ram = self->r.src_ram;
	u64 bytes = 16 * MDB_PAGE;

	/* Two regions with a hole; the index is laid end to end. */
	t.region[0] = (struct vhost_memory_region){ 1ULL << 32, bytes, (u64)ram, 0 };
	t.region[1] = (struct vhost_memory_region){ 0, bytes, (u64)ram + bytes, 0 };
	ASSERT_OK(call(&self->m, VHOST_SET_MEM_TABLE, &t));
	s = good_start(&self->r);
	ASSERT_OK(call(&self->m, MIGDB_START, &s));
	ASSERT_EQ(32, s.out_nr_pages);
	ASSERT_EQ(-EBUSY, call(&self->m, VHOST_SET_MEM_TABLE, &t));
	mdb_close(&self->m);

	ASSERT_OK(rig_source_idle(&self->r, &self->m));
	t.region[1].guest_phys_addr = 512;
	ASSERT_OK(call(&self->m, VHOST_SET_MEM_TABLE, &t));
	ASSERT_EQ(-EINVAL, call(&self->m, MIGDB_START, &s));
	t.region[1].guest_phys_addr = (1ULL << 32) + MDB_PAGE;
	if (!call(&self->m, VHOST_SET_MEM_TABLE, &t))
		ASSERT_EQ(-EINVAL, call(&self->m, MIGDB_START, &s));
}

TEST_F(abi, ranges)
{
	struct rig *r = &self->r;
	u64 word = 0;

	ASSERT_OK(rig_source(r));
	EXPECT_EQ(-EINVAL, mdb_armed(&r->src, PAGES, 1));
	EXPECT_EQ(-EINVAL, mdb_armed(&r->src, 0, PAGES + 1));
	EXPECT_EQ(-EINVAL, mdb_armed(&r->src, 5, ~0ULL));
	EXPECT_EQ(-EINVAL, mdb_armed(&r->src, 0, 0));
	EXPECT_EQ(-EINVAL, mdb_invalidate(&r->src, PAGES - 1, 2));
	EXPECT_EQ(-EINVAL, mdb_dirty(&r->src, 1, 1, &word, NULL));
	EXPECT_EQ(-EINVAL, mdb_dirty(&r->src, PAGES, 64, &word, NULL));
	EXPECT_EQ(-EFAULT, mdb_dirty(&r->src, 0, 64, BAD_PTR, NULL));
	EXPECT_EQ(-EOPNOTSUPP, mdb_harvest(&r->src, NULL, NULL));
	EXPECT_EQ(0, mdb_dirty(&r->src, 0, PAGES, r->src_ram, NULL));
}

TEST_F(abi, guest_table_arguments)
{
	struct migdb_guest_disk d[3] = {
		{ .guest_disk = 1, .type = MIGDB_DISK_VIRTIO_SERIAL, .identity = RIG_SERIAL },
		{ .guest_disk = 2, .type = MIGDB_DISK_VIRTIO_SERIAL, .identity = "other" },
	};
	struct migdb_set_guest_table s = {
		.size = sizeof(s), .disks_uptr = (uintptr_t)d, .nr_disks = 2,
	};
	struct mdb *m = &self->m;

	ASSERT_OK(call(m, MIGDB_SET_GUEST_TABLE, &s));
	ASSERT_EQ(1, s.out_nr_matched);
	s.root_gpa = 512;
	EXPECT_EQ(-EINVAL, call(m, MIGDB_SET_GUEST_TABLE, &s));
	s.root_gpa = 0;
	s.nr_disks = MIGDB_MAX_DISKS + 1;
	EXPECT_EQ(-EINVAL, call(m, MIGDB_SET_GUEST_TABLE, &s));
	s.nr_disks = 2;
	d[1].guest_disk = 1;
	EXPECT_EQ(-EINVAL, call(m, MIGDB_SET_GUEST_TABLE, &s));
	d[1].guest_disk = MEM_HINT_DISK_MASK + 1;
	EXPECT_EQ(-EINVAL, call(m, MIGDB_SET_GUEST_TABLE, &s));
	/* more than there is room for, but a number: the other disk is matched */
	d[1].guest_disk = MIGDB_MAX_DISKS;
	s.out_nr_matched = 0;
	EXPECT_EQ(0, call(m, MIGDB_SET_GUEST_TABLE, &s));
	EXPECT_EQ(1, s.out_nr_matched);
	d[1].guest_disk = 2;
	memset(d[1].identity, 0, sizeof(d[1].identity));
	EXPECT_EQ(-EINVAL, call(m, MIGDB_SET_GUEST_TABLE, &s));
	s.disks_uptr = (uintptr_t)BAD_PTR;
	EXPECT_EQ(-EFAULT, call(m, MIGDB_SET_GUEST_TABLE, &s));
}

TEST_F(abi, snapshot_needs_a_table)
{
	struct rig *r = &self->r;
	struct migdb_snapshot snap = {};
	struct mdb m;

	ASSERT_OK(mdb_open(&m));
	ASSERT_OK(mdb_set_owner(&m));
	ASSERT_OK(mdb_set_memory(&m, 0, PAGES * MDB_PAGE, r->src_ram));
	ASSERT_OK(mdb_start(&m, MIGDB_ROLE_SOURCE, r->uuid, "x"));
	ASSERT_OK(mdb_armed(&m, 0, PAGES));
	ASSERT_EQ(-ENOENT, mdb_snapshot(&m, &snap));
	mdb_close(&m);
	/* An address, and no table there. */
	memset(r->src_ram, 0, MDB_PAGE);
	ASSERT_OK(rig_source(r));
	ASSERT_OK(mdb_armed(&r->src, 0, PAGES));
	ASSERT_EQ(-ENOENT, mdb_snapshot(&r->src, &snap));
	ASSERT_EQ(MIGDB_STATE_ARMING, state_of(&r->src));
}

TEST_F(abi, abort)
{
	struct rig *r = &self->r;
	u64 hashed, left;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_snapshot(r));
	EXPECT_EQ(-EOPNOTSUPP, mdb_abort(&r->src, MIGDB_NR_REASONS));
	ASSERT_OK(mdb_abort(&r->src, MIGDB_REASON_UNCOVERED));
	ASSERT_OK(mdb_abort(&r->src, MIGDB_REASON_ABORTED));
	ASSERT_EQ(MIGDB_STATE_ABORTED, state_of(&r->src));
	ASSERT_EQ(MIGDB_REASON_UNCOVERED, stats_of(&r->src).out_reason);
	/* The bitmap still says what has to be sent. */
	ASSERT_FALSE(mdb_bit(&r->src, 0));
	ASSERT_TRUE(mdb_bit(&r->src, RIG_FIRST));
	ASSERT_EQ(-ECANCELED, mdb_hash(&r->src, 1, &hashed, &left));
	ASSERT_EQ(PAGES - RIG_FIRST, rig_deliver_bitmap(&(struct rig){
		.nr_pages = PAGES, .src = r->src, .src_ram = r->src_ram, .dst_ram = r->dst_ram,
		.delivered = r->delivered, .dst.map = calloc(1, PAGES) }));
}

TEST_F(abi, stream_read)
{
	struct rig *r = &self->r;
	static u8 buf[MIGDB_MAX_FRAME_BYTES];
	struct pollfd p;
	ssize_t n;

	ASSERT_OK(rig_source(r));
	p = (struct pollfd){ .fd = r->src.tx, .events = POLLIN | POLLOUT };
	ASSERT_EQ(1, poll(&p, 1, 0));
	ASSERT_EQ(POLLIN, p.revents & (POLLIN | POLLOUT));
	ASSERT_EQ(-1, read(r->src.tx, buf, 1));
	ASSERT_EQ(EMSGSIZE, errno);
	ASSERT_EQ(-1, read(r->src.tx, BAD_PTR, sizeof(buf)));
	ASSERT_EQ(EFAULT, errno);
	/* Neither of the two has taken anything away. */
	n = read(r->src.tx, buf, sizeof(buf));
	ASSERT_LT(0, n);
	ASSERT_EQ(-1, read(r->src.tx, buf, sizeof(buf)));
	ASSERT_EQ(EAGAIN, errno);
	ASSERT_EQ(0, poll(&p, 1, 0));
	ASSERT_EQ(-1, write(r->src.tx, buf, n));
	ASSERT_EQ(EBADF, errno);
	ASSERT_EQ(-1, read(r->src.rx, buf, n));
	ASSERT_EQ(EBADF, errno);
	ASSERT_EQ(-1, lseek(r->src.tx, 0, SEEK_END));
}

TEST_F(abi, stream_write)
{
	struct rig *r = &self->r;
	struct wire w = {};

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_EQ(0, write(r->dst.rx, w.data, 0));
	ASSERT_EQ(-1, write(r->dst.rx, BAD_PTR, w.bytes));
	ASSERT_EQ(EFAULT, errno);
	/* A bad pointer is the VMM's mistake, not the stream's. */
	ASSERT_EQ(MIGDB_STATE_FILLING, state_of(&r->dst));
	ASSERT_OK(wire_push(&w, &r->dst));
	wire_free(&w);
}

/* The files outlive the session and say so. */
TEST_F(abi, stream_after_close)
{
	struct rig *r = &self->r;
	struct pollfd p;
	u8 buf[64] = {};

	ASSERT_OK(rig_source(r));
	close(r->src.fd);
	r->src.fd = -1;
	p = (struct pollfd){ .fd = r->src.tx, .events = POLLIN };
	ASSERT_EQ(1, poll(&p, 1, 0));
	ASSERT_TRUE(p.revents & POLLHUP);
	ASSERT_GT(0, write(r->src.rx, buf, sizeof(buf)));
	ASSERT_EQ(0, mdb_bit(&r->src, 0));
}

TEST_F(abi, eventfd_is_signalled)
{
	struct rig *r = &self->r;
	struct pollfd p;
	struct wire w = {};
	u64 count;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	if (read(r->dst.event, &count, sizeof(count)) < 0)
		ASSERT_EQ(EAGAIN, errno);
	p = (struct pollfd){ .fd = r->dst.event, .events = POLLIN };
	ASSERT_EQ(0, poll(&p, 1, 0));
	ASSERT_OK(wire_pull(&w, &r->src));
	ASSERT_OK(wire_push(&w, &r->dst));
	ASSERT_EQ(1, poll(&p, 1, 1000));
	wire_free(&w);
}

TEST_F(abi, map_of_source_is_read_only)
{
	struct rig *r = &self->r;
	void *p;

	ASSERT_OK(rig_source(r));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
				   r->src.map_fd, 0));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, r->src.map_fd, 0));
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, r->src.map_fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(-1, mprotect(p, 4096, PROT_READ | PROT_WRITE));
	ASSERT_EQ(EACCES, errno);
	ASSERT_EQ(MAP_FAILED, mremap(p, 4096, 8192, MREMAP_MAYMOVE));
}

TEST_F(abi, map_bounds)
{
	struct rig *r = &self->r;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, r->src.map_fd, 0));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, r->src.map_fd, 4096));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, r->src.map_fd, 1ULL << 40));
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 8192, PROT_READ, MAP_SHARED, r->dst.map_fd, 0));
	/* Claims that nobody else sees would claim nothing. */
	ASSERT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE,
				   r->dst.map_fd, 0));
}

/* A mapping keeps its pages, and nothing else, after everything is closed. */
TEST_F(abi, map_outlives_the_session)
{
	struct rig *r = &self->r;
	u8 *claims;

	ASSERT_OK(rig_dest(r, r->disk));
	claims = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->dst.map_fd, 0);
	ASSERT_NE(MAP_FAILED, claims);
	mdb_close(&r->dst);
	claims[0] = MIGDB_CLAIM_SENT;
	ASSERT_EQ(MIGDB_CLAIM_SENT, claims[0]);
	ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
}

TEST_F(abi, workers)
{
	struct rig *r = &self->r;
	struct vhost_worker_state w = {};
	struct vhost_vring_worker v = {};
	u32 lane;

	ASSERT_OK(rig_source(r));
	ASSERT_OK(rig_dest(r, r->disk));
	for (lane = 0; lane < MIGDB_NR_LANES; lane++) {
		ASSERT_OK(call(&r->dst, VHOST_NEW_WORKER, &w));
		v = (struct vhost_vring_worker){ .index = lane, .worker_id = w.worker_id };
		ASSERT_OK(call(&r->dst, VHOST_ATTACH_VRING_WORKER, &v));
	}
	v.index = MIGDB_NR_LANES;
	ASSERT_GT(0, call(&r->dst, VHOST_ATTACH_VRING_WORKER, &v));
	ASSERT_EQ(-EBUSY, call(&r->dst, VHOST_FREE_WORKER, &w));
	ASSERT_OK(rig_snapshot(r));
	ASSERT_OK(rig_hash(r, NULL));
	ASSERT_OK(rig_settle(r, 10000));
	ASSERT_EQ(PAGES - RIG_FIRST, stats_of(&r->dst).out_built);
}

/* STATS and GET_INFO may be called by anybody who has the descriptor, at any time. */
static volatile bool asking;

static void *ask(void *arg)
{
	struct mdb *m = arg;
	struct migdb_get_info info;
	struct migdb_stats st;

	while (__atomic_load_n(&asking, __ATOMIC_ACQUIRE)) {
		mdb_stats(m, &st);
		mdb_info(m, 1, &info);
	}
	return NULL;
}

TEST_F_TIMEOUT(abi, stats_beside_start, 60)
{
	struct rig *r = &self->r;
	struct migdb_start s;
	pthread_t thread;
	int i;

	for (i = 0; i < 100; i++) {
		bool dest = i % 2;
		struct mdb m;
		int rc;

		rc = dest ? rig_dest_idle(r, &m, r->disk) : rig_source_idle(r, &m);
		ASSERT_OK(rc);
		asking = true;
		ASSERT_EQ(0, pthread_create(&thread, NULL, ask, &m));
		s = good_start(r);
		s.role = dest ? MIGDB_ROLE_DEST : MIGDB_ROLE_SOURCE;
		/* fails late the first time, and takes back what it has made */
		s.eventfd = 999;
		EXPECT_EQ(-EBADF, call(&m, MIGDB_START, &s));
		s.eventfd = -1;
		EXPECT_EQ(0, call(&m, MIGDB_START, &s));
		asking = false;
		ASSERT_EQ(0, pthread_join(thread, NULL));
		close(s.out_tx_fd);
		close(s.out_rx_fd);
		close(s.out_map_fd);
		mdb_close(&m);
	}
	ASSERT_EQ(0, mdb_sysfs_read("nr_sessions"));
}

/* What the caller left in an out field does not come back to it. */
TEST_F(abi, out_fields_are_written)
{
	struct migdb_dirty dirty = { .size = sizeof(dirty), .count = 64, .out_dropped = 77 };
	struct migdb_harvest harvest = { .size = sizeof(harvest) };
	struct migdb_stats st;
	u64 word = 0;

	ASSERT_OK(rig_source(&self->r));
	dirty.bitmap_uptr = (uintptr_t)&word;
	ASSERT_OK(call(&self->r.src, MIGDB_DIRTY, &dirty));
	ASSERT_EQ(0, dirty.out_dropped);
	memset(&st, 0xff, sizeof(st));
	st.size = sizeof(st);
	st.flags = 0;
	ASSERT_OK(call(&self->r.src, MIGDB_STATS, &st));
	ASSERT_EQ(0, st.out_candidates);
	ASSERT_EQ(0, st.out_unconfirmed);
	ASSERT_EQ(0, st.out_queued);
	ASSERT_EQ(0, st.out_by_reason[MIGDB_NR_REASONS - 1]);
	ASSERT_EQ(-EOPNOTSUPP, call(&self->r.src, MIGDB_HARVEST, &harvest));
}

TEST_HARNESS_MAIN
