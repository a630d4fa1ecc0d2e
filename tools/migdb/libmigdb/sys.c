// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * System calls of the library.  No number of mem_hint(2) is compiled in: it has
 * none that is the same everywhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "sys.h"

/* Tests have others. */
#ifndef MIGDB_SYSCALL_NR
#define MIGDB_SYSCALL_NR	"/sys/kernel/mm/hints/syscall_nr"
#endif
#ifndef MIGDB_DEVICE
#define MIGDB_DEVICE		"/dev/mem_hints"
#endif

int migdb_sys_read_nr(char *buf, size_t size)
{
	int fd = open(MIGDB_SYSCALL_NR, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct statfs fs;
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	/*
	 * A number is a call that we make: only the kernel may name it, not who
	 * has laid a file over it in some container.
	 */
	if (fstatfs(fd, &fs)) {
		err = -errno;
	} else if (fs.f_type != SYSFS_MAGIC) {
		err = -ENOENT;
	} else {
		n = read(fd, buf, size);
		err = n < 0 ? -errno : (int)n;
	}
	close(fd);
	return err;
}

int migdb_sys_open_device(void)
{
	int fd = open(MIGDB_DEVICE, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode)) {
		close(fd);
		return -ENODEV;
	}
	return fd;
}

void migdb_sys_close(int fd)
{
	close(fd);
}

long migdb_sys_call(long nr, unsigned int op, void *attr, size_t size,
		    unsigned int flags)
{
	long ret = syscall(nr, (unsigned long)op, attr, size,
			   (unsigned long)flags);

	return ret < 0 ? -errno : ret;
}

long migdb_sys_ioctl(int fd, unsigned long cmd, void *attr)
{
	return ioctl(fd, cmd, attr) < 0 ? -errno : 0;
}

long migdb_sys_read(int fd, void *buf, size_t size)
{
	ssize_t n = read(fd, buf, size);

	return n < 0 ? -errno : n;
}
