// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* The tablespaces that the server has open; see files.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"

/* *.ibd, ibdata*, undo*: what InnoDB keeps pages in. */
static bool may_be_space(const char *path)
{
	const char *name = strrchr(path, '/'), *dot;

	if (*path != '/' || !name)
		return false;
	name++;
	dot = strrchr(name, '.');
	return (dot && !strcmp(dot, ".ibd")) || !strncmp(name, "ibdata", 6) ||
	       !strncmp(name, "undo", 4);
}

static bool read_first(int fd, struct innodb_space *space)
{
	static uint8_t first[65536] __attribute__((aligned(65536)));

	/* The server's descriptor may be one for direct I/O. */
	return pread(fd, first, 4096, 0) == 4096 && innodb_space_parse(first, space);
}

static struct innodb_file *known(struct innodb_files *files, const struct statx *x)
{
	size_t i;

	for (i = 0; i < files->nr; i++) {
		struct innodb_file *f = &files->file[i];

		if (f->ino == x->stx_ino &&
		    f->dev == makedev(x->stx_dev_major, x->stx_dev_minor) &&
		    f->born_s == x->stx_btime.tv_sec && f->born_ns == x->stx_btime.tv_nsec)
			return f;
	}
	return NULL;
}

static void look(struct innodb_files *files, int fd)
{
	struct innodb_file f = { .fd = fd, .seen = true }, *old;
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &x) ||
	    !S_ISREG(x.stx_mode))
		return;
	old = known(files, &x);
	if (old) {
		old->fd = fd;
		old->seen = true;
		old->nr_pages = x.stx_size / old->space.page_size;
		return;
	}
	if (!read_first(fd, &f.space) || !f.space.plain)
		return;
	if (files->nr == files->room) {
		size_t room = files->room ? 2 * files->room : 64;
		void *more = realloc(files->file, room * sizeof(*files->file));

		if (!more)
			return;
		files->file = more;
		files->room = room;
	}
	f.dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	f.ino = x.stx_ino;
	f.born_s = x.stx_btime.tv_sec;
	f.born_ns = x.stx_btime.tv_nsec;
	f.nr_pages = x.stx_size / f.space.page_size;
	files->file[files->nr++] = f;
}

static int by_id(const void *a, const void *b)
{
	const struct innodb_file *f = a, *g = b;

	return f->space.id < g->space.id ? -1 : f->space.id > g->space.id;
}

void innodb_files_refresh(struct innodb_files *files)
{
	char target[PATH_MAX];
	struct dirent *d;
	size_t i, kept = 0;
	ssize_t n;
	DIR *dir;

	for (i = 0; i < files->nr; i++)
		files->file[i].seen = false;
	dir = opendir("/proc/self/fd");
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (may_be_space(target))
			look(files, atoi(d->d_name));
	}
	closedir(dir);
	for (i = 0; i < files->nr; i++)
		if (files->file[i].seen)
			files->file[kept++] = files->file[i];
	files->nr = kept;
	if (kept)
		qsort(files->file, kept, sizeof(*files->file), by_id);
}

struct innodb_file *innodb_files_find(const struct innodb_files *files, uint32_t id)
{
	struct innodb_file key = { .space.id = id };

	if (!files->nr)
		return NULL;
	return bsearch(&key, files->file, files->nr, sizeof(key), by_id);
}
