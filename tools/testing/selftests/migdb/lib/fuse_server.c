// SPDX-License-Identifier: MIT
/* See fuse_server.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fuse.h>
#include "fuse_server.h"
#include "rig.h"

#define FILE_NODE	2

static void reply(int fd, u64 unique, int error, const void *data, size_t bytes)
{
	static u8 buf[sizeof(struct fuse_out_header) + (1 << 20)];
	struct fuse_out_header h = {
		.len = sizeof(h) + bytes, .error = -error, .unique = unique,
	};

	memcpy(buf, &h, sizeof(h));
	if (bytes)
		memcpy(buf + sizeof(h), data, bytes);
	if (write(fd, buf, h.len) < 0 && errno != ENOENT)
		_exit(1);
}

static struct fuse_attr attr_of(u64 node, u64 bytes)
{
	return (struct fuse_attr){
		.ino = node, .nlink = 1, .blksize = 4096,
		.mode = node == FILE_NODE ? S_IFREG | 0644 : S_IFDIR | 0755,
		.size = node == FILE_NODE ? bytes : 0,
	};
}

static void do_read(int fd, u64 unique, const struct fuse_read_in *in, u64 bytes)
{
	static u8 data[1 << 20];
	u64 at = in->offset, n = in->size < sizeof(data) ? in->size : sizeof(data), i;
	u8 page[MDB_PAGE];

	if (at >= bytes)
		n = 0;
	else if (n > bytes - at)
		n = bytes - at;
	for (i = 0; i < n; i++) {
		if (!i || !((at + i) % MDB_PAGE))
			rig_fill(page, (at + i) / MDB_PAGE);
		data[i] = page[(at + i) % MDB_PAGE];
	}
	reply(fd, unique, 0, data, n);
}

static void serve(int fd, u64 bytes)
{
	static u8 buf[(1 << 20) + 4096] __attribute__((aligned(8)));
	const struct fuse_in_header *in = (void *)buf;
	const void *body = in + 1;
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 65536, .max_write = 65536,
	};
	struct fuse_entry_out entry = { .nodeid = FILE_NODE };
	struct fuse_attr_out attr = {};
	struct fuse_open_out opened = {};

	entry.attr = attr_of(FILE_NODE, bytes);
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n <= 0)
			_exit(0);
		switch (in->opcode) {
		case FUSE_INIT:
			reply(fd, in->unique, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			if (strcmp(body, "disk"))
				reply(fd, in->unique, ENOENT, NULL, 0);
			else
				reply(fd, in->unique, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			attr.attr = attr_of(in->nodeid, bytes);
			reply(fd, in->unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
		case FUSE_OPENDIR:
			reply(fd, in->unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:
			do_read(fd, in->unique, body, bytes);
			break;
		case FUSE_RELEASE:
		case FUSE_RELEASEDIR:
		case FUSE_FLUSH:
			reply(fd, in->unique, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			reply(fd, in->unique, ENOSYS, NULL, 0);
		}
	}
}

int fuse_server_start(struct fuse_server *s, u64 bytes)
{
	char options[128];
	int fd, rc = 0;

	snprintf(s->dir, sizeof(s->dir), "/tmp/migdb-fuse-%d", getpid());
	mkdir(s->dir, 0700);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("migdb", s->dir, "fuse", MS_NOSUID | MS_NODEV, options)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	s->pid = fork();
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(fd, bytes);
	}
	close(fd);
	return s->pid < 0 ? -errno : 0;
}

void fuse_server_stop(struct fuse_server *s)
{
	umount2(s->dir, MNT_DETACH);
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
	}
	rmdir(s->dir);
}
