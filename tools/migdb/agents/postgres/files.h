/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* The files that buffers are of: one for each segment of each fork. */
#ifndef MIGDB_POSTGRES_FILES_H
#define MIGDB_POSTGRES_FILES_H

#include "postgres.h"

/* More than that mem_hints takes of no process. */
#define FILES_MAX	16384

struct file {
	struct tag tag;		/* of its first block */
	int fd;			/* -1: it is not named */
	uint32_t number;
	struct file *next;
};

struct files {
	void *tree;		/* tsearch()'s */
	struct file *first;
	struct file *last;	/* that was asked for */
};

/* The file of that block.  One that is @made has fd -1.  NULL: no memory. */
struct file *files_get(struct files *files, const struct server *server,
		       const struct tag *tag, bool *made);
/* Forgets all of them, each after @drop() of it. */
void files_free(struct files *files, void (*drop)(struct file *file));

#endif
