// SPDX-License-Identifier: MIT
/* See disk.h.  Device-mapper by its ioctls: dmsetup need not be there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include "disk.h"

const char *disk_dir(void)
{
	const char *dir = getenv("MIGDB_TEST_DIR");

	return dir ? dir : "/var/tmp";
}

int disk_open(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : fd;
}

int disk_create(char path[DISK_PATH_BYTES], const char *name, u64 bytes)
{
	static unsigned int nr;		/* who is still reading one of that name keeps it */
	int fd;

	snprintf(path, DISK_PATH_BYTES, "%s/migdb-%d-%u-%s", disk_dir(), getpid(), nr++, name);
	fd = disk_open(path, O_RDWR | O_CREAT | O_TRUNC);
	if (fd >= 0 && ftruncate(fd, bytes)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int disk_rw(int fd, u64 block, void *page, bool write)
{
	void *buf;
	ssize_t n;

	if (posix_memalign(&buf, MDB_PAGE, MDB_PAGE))
		return -ENOMEM;
	if (write) {
		memcpy(buf, page, MDB_PAGE);
		n = pwrite(fd, buf, MDB_PAGE, block * MDB_PAGE);
	} else {
		n = pread(fd, buf, MDB_PAGE, block * MDB_PAGE);
		memcpy(page, buf, MDB_PAGE);
	}
	free(buf);
	return n == MDB_PAGE ? 0 : n < 0 ? -errno : -EIO;
}

int disk_write(int fd, u64 block, const void *page)
{
	return disk_rw(fd, block, (void *)page, true);
}

int disk_read(int fd, u64 block, void *page)
{
	return disk_rw(fd, block, page, false);
}

int loop_attach(const char *file, char dev[DISK_PATH_BYTES])
{
	struct loop_config cfg = { .info.lo_flags = LO_FLAGS_DIRECT_IO };
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int fd = open(file, O_RDWR | O_CLOEXEC), loop, n, rc = -EBUSY, tries;

	cfg.fd = fd;
	for (tries = 0; ctl >= 0 && fd >= 0 && tries < 16; tries++) {
		n = ioctl(ctl, LOOP_CTL_GET_FREE);
		snprintf(dev, DISK_PATH_BYTES, "/dev/loop%d", n);
		loop = open(dev, O_RDWR | O_CLOEXEC);
		rc = loop < 0 || ioctl(loop, LOOP_CONFIGURE, &cfg) ? -errno : 0;
		if (loop >= 0)
			close(loop);
		if (rc != -EBUSY)
			break;
	}
	if (ctl < 0 || fd < 0)
		rc = -errno;
	if (ctl >= 0)
		close(ctl);
	if (fd >= 0)
		close(fd);
	return rc;
}

void loop_detach(const char *dev)
{
	int fd = open(dev, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	ioctl(fd, LOOP_CLR_FD);
	close(fd);
}

union dm_buf {
	struct dm_ioctl head;
	u8 bytes[4096];
};

static int dm_ctl(unsigned long cmd, union dm_buf *b, const char *name)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	b->head.version[0] = DM_VERSION_MAJOR;
	b->head.data_size = sizeof(*b);
	b->head.data_start = sizeof(b->head);
	snprintf(b->head.name, sizeof(b->head.name), "%s", name);
	if (ioctl(fd, cmd, b))
		rc = -errno;
	close(fd);
	return rc;
}

static int dm_load(const char *name, const struct dm_part *parts, u32 nr_parts)
{
	union dm_buf b = {};
	size_t at = sizeof(b.head);
	u32 i;

	b.head.target_count = nr_parts;
	for (i = 0; i < nr_parts; i++) {
		struct dm_target_spec *spec = (void *)(b.bytes + at);
		size_t len = (sizeof(*spec) + strlen(parts[i].params) + 1 + 7) & ~7UL;

		if (at + len > sizeof(b))
			return -E2BIG;
		spec->sector_start = parts[i].start;
		spec->length = parts[i].sectors;
		spec->next = len;
		strcpy(spec->target_type, parts[i].type);
		strcpy((char *)(spec + 1), parts[i].params);
		at += len;
	}
	return dm_ctl(DM_TABLE_LOAD, &b, name);
}

int dm_suspend(const char *name, bool suspend)
{
	union dm_buf b = { .head.flags = suspend ? DM_SUSPEND_FLAG : 0 };

	return dm_ctl(DM_DEV_SUSPEND, &b, name);
}

int dm_remove(const char *name)
{
	union dm_buf b = {};

	return dm_ctl(DM_DEV_REMOVE, &b, name);
}

int dm_reload(const char *name, const struct dm_part *parts, u32 nr_parts)
{
	int rc = dm_load(name, parts, nr_parts);

	return rc ? rc : dm_suspend(name, false);
}

int dm_create(const char *name, const struct dm_part *parts, u32 nr_parts,
	      char dev[DISK_PATH_BYTES])
{
	union dm_buf b = {};
	int rc = dm_ctl(DM_DEV_CREATE, &b, name);

	if (rc)
		return rc;
	snprintf(dev, DISK_PATH_BYTES, "/dev/dm-%u", minor(b.head.dev));
	rc = dm_reload(name, parts, nr_parts);
	if (!rc && access(dev, F_OK))
		rc = mknod(dev, S_IFBLK | 0600, b.head.dev) ? -errno : 0;
	if (rc)
		dm_remove(name);
	return rc;
}
