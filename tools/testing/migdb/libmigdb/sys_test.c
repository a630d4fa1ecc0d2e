// SPDX-License-Identifier: GPL-2.0
/*
 * The library's sys.c itself, on files that stand for the kernel's: built with
 * MIGDB_SYSCALL_NR and MIGDB_DEVICE of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mem_hints.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys.h"

static int nr, failed;

static void result(int good, const char *name)
{
	failed += !good;
	printf("%s %d %s\n", good ? "ok" : "not ok", ++nr, name);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || dprintf(fd, "%s", text) < 0)
		perror(path);
	close(fd);
}

int main(void)
{
	char buf[16];
	int fd;

	unlink(MIGDB_SYSCALL_NR);
	unlink(MIGDB_DEVICE);
	result(migdb_sys_read_nr(buf, sizeof(buf)) == -ENOENT, "number: there is no file");
	put(MIGDB_SYSCALL_NR, "60\n");
	result(migdb_sys_read_nr(buf, sizeof(buf)) == -ENOENT, "number: only of sysfs");
	unlink(MIGDB_SYSCALL_NR);
	/* any file of sysfs with a number in it */
	if (!access("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", R_OK)) {
		result(!symlink("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", MIGDB_SYSCALL_NR) &&
		       migdb_sys_read_nr(buf, sizeof(buf)) > 1 && buf[0] > '0' && buf[0] <= '9',
		       "number: of sysfs");
		unlink(MIGDB_SYSCALL_NR);
	}

	result(migdb_sys_open_device() == -ENOENT, "device: there is none");
	put(MIGDB_DEVICE, "");
	result(migdb_sys_open_device() == -ENODEV, "device: not a file");
	unlink(MIGDB_DEVICE);
	result(!symlink("/dev/null", MIGDB_DEVICE), "device: a link");
	fd = migdb_sys_open_device();
	result(fd >= 0 && fcntl(fd, F_GETFD) & FD_CLOEXEC, "device: close-on-exec");
	result(migdb_sys_ioctl(fd, MEM_HINT_IOC_QUERY, buf) == -ENOTTY, "ioctl: errno of another device");
	result(migdb_sys_read(fd, buf, sizeof(buf)) == 0, "read: an end");
	migdb_sys_close(fd);
	result(migdb_sys_read(fd, buf, sizeof(buf)) == -EBADF, "read: a closed fd");
	unlink(MIGDB_DEVICE);

	result(migdb_sys_call(SYS_getpid, 0, NULL, 0, 0) == getpid(), "call: what it returns");
	/* fcntl(op, F_GETFD): the words are where they belong */
	result(migdb_sys_call(SYS_fcntl, 1, (void *)F_GETFD, 0, 0) >= 0, "call: its arguments");
	result(migdb_sys_call(SYS_fcntl, ~0U, (void *)F_GETFD, 0, 0) == -EBADF, "call: errno");
	printf("1..%d\n", nr);
	return failed != 0;
}
