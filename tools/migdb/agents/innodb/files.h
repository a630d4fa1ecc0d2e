/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * The tablespaces that the server has open.  For the agent's thread only.
 *
 * The server's own descriptors are used and none is ever closed here: closing
 * any descriptor of a file takes away the process's locks on it.
 */
#ifndef MIGDB_INNODB_FILES_H
#define MIGDB_INNODB_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "page.h"

struct innodb_file {
	struct innodb_space space;
	int fd;			/* the server's; may be another file's by now */
	uint64_t nr_pages;
	uint32_t number;	/* the kernel's, while it is named */
	bool named;
	/* Which file it is: numbers of inodes are used again. */
	dev_t dev;
	ino_t ino;
	int64_t born_s;
	uint32_t born_ns;
	bool seen;
};

struct innodb_files {
	struct innodb_file *file;	/* in the order of space ids */
	size_t nr;
	size_t room;
};

/* Looks at what is open now; reads first pages of files that it does not know. */
void innodb_files_refresh(struct innodb_files *files);
struct innodb_file *innodb_files_find(const struct innodb_files *files, uint32_t id);

#endif
