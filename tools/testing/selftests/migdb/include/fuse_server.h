/* SPDX-License-Identifier: MIT */
/*
 * The smallest FUSE file system: a directory with one file, "disk", whose
 * content is rig_fill() of each block.  Without libfuse.
 */
#ifndef FUSE_SERVER_H
#define FUSE_SERVER_H

#include <sys/types.h>
#include "mdb.h"

struct fuse_server {
	pid_t pid;
	char dir[64];
};

/* 0, or -errno; the server is a child process. */
int fuse_server_start(struct fuse_server *s, u64 bytes);
void fuse_server_stop(struct fuse_server *s);

#endif /* FUSE_SERVER_H */
