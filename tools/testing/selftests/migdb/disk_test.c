// SPDX-License-Identifier: GPL-2.0
/*
 * What MIGDB_SET_DISK takes and what it refuses: everything that is not readable,
 * not direct, or would be answered by a page cache of this host.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "fuse_server.h"
#include "test_util.h"

#define BLOCKS	256

FIXTURE(disk) {
	struct mdb m;
	char path[DISK_PATH_BYTES];
	int fd;
};

FIXTURE_SETUP(disk)
{
	REQUIRE_DEVICE();
	ASSERT_OK(mdb_open(&self->m));
	ASSERT_OK(mdb_set_owner(&self->m));
	self->fd = disk_create(self->path, "disk", BLOCKS * MDB_PAGE);
	ASSERT_LE(0, self->fd) TH_LOG("%s: %s (set MIGDB_TEST_DIR)", disk_dir(),
				      strerror(-self->fd));
	ASSERT_OK(rig_fill_disk(self->fd, BLOCKS));
}

FIXTURE_TEARDOWN(disk)
{
	mdb_close(&self->m);
	if (self->fd > 0)
		close(self->fd);
	unlink(self->path);
}

static int set(struct mdb *m, struct migdb_set_disk *s)
{
	s->size = sizeof(*s);
	return ioctl(m->fd, MIGDB_SET_DISK, s) ? -errno : 0;
}

/* Opens, sets, closes: the session takes its own reference. */
static int set_path(struct mdb *m, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), rc;

	if (fd < 0)
		return -ENXIO;
	rc = mdb_set_disk(m, 0, fd, "id");
	close(fd);
	return rc;
}

TEST_F(disk, file_with_direct_io)
{
	struct migdb_set_disk s = {
		.disk = 126, .fd = self->fd, .type = MIGDB_DISK_NVME_NGUID, .identity = "x",
	};

	ASSERT_OK(set(&self->m, &s));
	ASSERT_EQ(BLOCKS * MDB_PAGE, s.out_capacity_bytes);
}

TEST_F(disk, block_device)
{
	char dev[DISK_PATH_BYTES];
	struct migdb_set_disk s = { .type = MIGDB_DISK_SCSI_WWID, .identity = "naa.1" };

	ASSERT_OK(loop_attach(self->path, dev));
	EXPECT_EQ(-EINVAL, set_path(&self->m, dev, O_RDONLY));
	s.fd = disk_open(dev, O_RDONLY);
	ASSERT_LE(0, s.fd);
	EXPECT_EQ(0, set(&self->m, &s));
	EXPECT_EQ(BLOCKS * MDB_PAGE, s.out_capacity_bytes);
	close(s.fd);
	mdb_close(&self->m);
	loop_detach(dev);
}

TEST_F(disk, not_readable)
{
	ASSERT_EQ(-EACCES, set_path(&self->m, self->path, O_WRONLY | O_DIRECT));
}

TEST_F(disk, path_only)
{
	ASSERT_EQ(-EBADF, set_path(&self->m, self->path, O_PATH));
}

TEST_F(disk, not_direct)
{
	ASSERT_EQ(-EINVAL, set_path(&self->m, self->path, O_RDWR));
}

TEST_F(disk, direct_taken_away_later)
{
	/* The flag of the open file counts when it is set, the reads are direct anyway. */
	ASSERT_OK(mdb_set_disk(&self->m, 0, self->fd, "id"));
	ASSERT_EQ(0, fcntl(self->fd, F_SETFL, 0));
	ASSERT_EQ(-EINVAL, mdb_set_disk(&self->m, 1, self->fd, "id2"));
}

TEST_F(disk, tmpfs)
{
	char path[] = "/dev/shm/migdb-disk-XXXXXX";
	int fd = mkstemp(path), rc;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 1 << 20));
	rc = mdb_set_disk(&self->m, 0, fd, "id");
	EXPECT_TRUE(rc == -EINVAL || rc == -EOPNOTSUPP) TH_LOG("%s", strerror(-rc));
	close(fd);
	/* Where tmpfs lets O_DIRECT be opened, it is still the page cache. */
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd >= 0) {
		EXPECT_EQ(-EOPNOTSUPP, mdb_set_disk(&self->m, 0, fd, "id"));
		close(fd);
	}
	unlink(path);
}

/* ext4 with data=journal falls back to buffered I/O for every file. */
TEST_F(disk, buffered_fallback)
{
	char img[DISK_PATH_BYTES], dev[DISK_PATH_BYTES], dir[] = "/tmp/migdb-mnt-XXXXXX";
	char command[600], file[64];
	int fd, rc;

	snprintf(img, sizeof(img), "%s/migdb-%d-img", disk_dir(), getpid());
	snprintf(command, sizeof(command),
		 "truncate -s 32M %s && mke2fs -q -t ext4 %s >/dev/null 2>&1", img, img);
	if (system(command)) {
		unlink(img);
		SKIP(return, "no mke2fs here");
	}
	ASSERT_OK(loop_attach(img, dev));
	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, mount(dev, dir, "ext4", 0, "data=journal")) TH_LOG("%s", strerror(errno));
	snprintf(file, sizeof(file), "%s/f", dir);
	fd = open(file, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (fd >= 0) {
		ASSERT_EQ(0, ftruncate(fd, 1 << 20));
		rc = mdb_set_disk(&self->m, 0, fd, "id");
		EXPECT_EQ(-EOPNOTSUPP, rc) TH_LOG("%s", strerror(-rc));
		close(fd);
	} else {
		EXPECT_EQ(EINVAL, errno);
	}
	umount2(dir, MNT_DETACH);
	loop_detach(dev);
	rmdir(dir);
	unlink(img);
}

TEST_F(disk, fuse)
{
	struct fuse_server f = {};
	char path[128];
	int fd, rc;

	if (access("/dev/fuse", R_OK | W_OK))
		SKIP(return, "no /dev/fuse");
	ASSERT_OK(fuse_server_start(&f, BLOCKS * MDB_PAGE));
	snprintf(path, sizeof(path), "%s/disk", f.dir);
	fd = open(path, O_RDONLY | O_DIRECT);
	if (fd >= 0) {
		u8 page[MDB_PAGE];

		EXPECT_EQ(0, disk_read(fd, 3, page));	/* it is a working file */
		rc = mdb_set_disk(&self->m, 0, fd, "id");
		EXPECT_EQ(-EOPNOTSUPP, rc) TH_LOG("%s", strerror(-rc));
		close(fd);
	} else {
		EXPECT_LE(0, fd) TH_LOG("%s", strerror(errno));
	}
	fuse_server_stop(&f);
}

TEST_F(disk, not_files)
{
	int p[2], s[2], fd;

	EXPECT_EQ(-EBADF, mdb_set_disk(&self->m, 0, 999, "id"));
	EXPECT_EQ(-EBADF, mdb_set_disk(&self->m, 0, -2, "id"));
	ASSERT_EQ(0, pipe2(p, O_DIRECT));
	EXPECT_EQ(-EOPNOTSUPP, mdb_set_disk(&self->m, 0, p[0], "id"));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	EXPECT_EQ(-EOPNOTSUPP, mdb_set_disk(&self->m, 0, s[0], "id"));
	fd = open("/", O_RDONLY | O_DIRECTORY);
	EXPECT_EQ(-EOPNOTSUPP, mdb_set_disk(&self->m, 0, fd, "id"));
	close(fd);
	EXPECT_EQ(-EOPNOTSUPP, set_path(&self->m, "/dev/zero", O_RDONLY));
	EXPECT_EQ(-EOPNOTSUPP, set_path(&self->m, "/dev/null", O_RDWR));
	EXPECT_EQ(-EOPNOTSUPP, mdb_set_disk(&self->m, 0, self->m.fd, "id"));
	EXPECT_GT(0, set_path(&self->m, "/proc/self/maps", O_RDONLY));
}

TEST_F(disk, identities)
{
	struct migdb_set_disk s = { .fd = self->fd, .type = MIGDB_DISK_VIRTIO_SERIAL };
	struct mdb *m = &self->m;

	EXPECT_EQ(-EINVAL, set(m, &s));		/* empty */
	s.identity[1] = 'x';
	EXPECT_EQ(-EINVAL, set(m, &s));		/* not NUL-padded */
	strcpy((char *)s.identity, "one");
	s.identity[63] = 1;
	EXPECT_EQ(-EINVAL, set(m, &s));
	s.identity[63] = 0;
	EXPECT_EQ(0, set(m, &s));
	EXPECT_EQ(0, set(m, &s));		/* the same one again replaces it */
	s.disk = 1;
	EXPECT_EQ(-EEXIST, set(m, &s));
	s.type = MIGDB_DISK_PCI_ADDRESS;	/* same text, other kind of name */
	EXPECT_EQ(0, set(m, &s));
	s.type = MIGDB_DISK_PCI_ADDRESS + 1;
	EXPECT_EQ(-EOPNOTSUPP, set(m, &s));
	s.type = MIGDB_DISK_VIRTIO_SERIAL;
	s.disk = 0;
	s.fd = -1;				/* out */
	EXPECT_EQ(0, set(m, &s));
	s.disk = 2;
	s.fd = self->fd;
	EXPECT_EQ(0, set(m, &s));
	memset(s.identity, 'y', sizeof(s.identity));
	s.disk = 3;
	EXPECT_EQ(0, set(m, &s));		/* all 64 bytes */
}

TEST_F(disk, numbers)
{
	EXPECT_EQ(-EINVAL, mdb_set_disk(&self->m, MIGDB_MAX_DISKS, self->fd, "id"));
	EXPECT_EQ(-EINVAL, mdb_set_disk(&self->m, ~0u, self->fd, "id"));
	EXPECT_EQ(0, mdb_set_disk(&self->m, MIGDB_MAX_DISKS - 1, self->fd, "id"));
}

TEST_F(disk, as_many_as_there_may_be)
{
	char name[16];
	u32 i;

	for (i = 0; i < MIGDB_MAX_DISKS; i++) {
		snprintf(name, sizeof(name), "disk%u", i);
		ASSERT_OK(mdb_set_disk(&self->m, i, self->fd, name));
	}
}

/* The capacity is what was found; the tail that is no whole block is not read. */
TEST_F(disk, odd_size)
{
	struct migdb_set_disk s = {
		.fd = self->fd, .type = MIGDB_DISK_VIRTIO_SERIAL, .identity = "x",
	};

	ASSERT_EQ(0, ftruncate(self->fd, 10 * MDB_PAGE + 512));
	ASSERT_OK(set(&self->m, &s));
	ASSERT_EQ(10 * MDB_PAGE + 512, s.out_capacity_bytes);
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	ASSERT_OK(set(&self->m, &s));
	ASSERT_EQ(0, s.out_capacity_bytes);
}

/* A refused replacement leaves the disk that was there. */
TEST_F(disk, failed_replacement_changes_nothing)
{
	struct migdb_guest_disk d = { .type = MIGDB_DISK_VIRTIO_SERIAL, .identity = "id" };
	struct migdb_set_guest_table t = {
		.size = sizeof(t), .disks_uptr = (uintptr_t)&d, .nr_disks = 1,
	};

	ASSERT_OK(mdb_set_disk(&self->m, 0, self->fd, "id"));
	ASSERT_EQ(-EOPNOTSUPP, set_path(&self->m, "/dev/zero", O_RDONLY));
	ASSERT_EQ(0, ioctl(self->m.fd, MIGDB_SET_GUEST_TABLE, &t));
	ASSERT_EQ(1, t.out_nr_matched);
}

TEST_HARNESS_MAIN
