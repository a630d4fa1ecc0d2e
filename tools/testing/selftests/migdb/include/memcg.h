/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A cgroup that a test enters and leaves by descriptors that it opened before:
 * inside, with a limit of nothing, even open(2) would be the end of it.
 */
#ifndef MEMCG_H
#define MEMCG_H

#include <stdio.h>
#include <sys/stat.h>
#include "test_util.h"

#define MEMCG_ROOT	"/sys/fs/cgroup"

struct memcg {
	char dir[64];
	int in, out;		/* cgroup.procs */
};

/* -ENODEV: there is no memory controller here. */
static inline int memcg_create(struct memcg *m, const char *limit)
{
	char path[96];

	snprintf(m->dir, sizeof(m->dir), MEMCG_ROOT "/migdb-test-%d", getpid());
	write_file(MEMCG_ROOT "/cgroup.subtree_control", "+memory");
	if (mkdir(m->dir, 0755) && errno != EEXIST) {
		m->dir[0] = 0;
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "%s/memory.swap.max", m->dir);
	write_file(path, "0");
	snprintf(path, sizeof(path), "%s/memory.max", m->dir);
	if (write_file(path, limit)) {
		rmdir(m->dir);
		m->dir[0] = 0;
		return -ENODEV;
	}
	snprintf(path, sizeof(path), "%s/cgroup.procs", m->dir);
	m->in = open(path, O_WRONLY | O_CLOEXEC);
	m->out = open(MEMCG_ROOT "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	return m->in < 0 || m->out < 0 ? -EIO : 0;
}

/*
 * All threads of the process, the workers of its sessions among them.  What it has
 * stays charged where it was; what it gets from now on is charged here.
 */
static inline int memcg_enter(struct memcg *m)
{
	if (mlockall(MCL_CURRENT))
		return -errno;
	return write(m->in, "0", 1) == 1 ? 0 : -errno;
}

static inline int memcg_leave(struct memcg *m)
{
	return write(m->out, "0", 1) == 1 ? 0 : -errno;
}

static inline void memcg_remove(struct memcg *m)
{
	if (!m->dir[0])
		return;
	close(m->in);
	close(m->out);
	rmdir(m->dir);
}

#endif /* MEMCG_H */
