// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * The files that buffers are of, by what the descriptors say; see files.h.  With many
 * tables each buffer may be of another one, while a migration waits.
 */
#define _GNU_SOURCE 1	/* tdestroy(); as where it is tested */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"

/* A tag has no gaps. */
static int by_tag(const void *a, const void *b)
{
	_Static_assert(sizeof(struct tag) == 5 * sizeof(uint32_t), "a tag has no gaps");
	return memcmp(&((const struct file *)a)->tag, &((const struct file *)b)->tag,
		      sizeof(struct tag));
}

/* Blocks of one relation are often in a row: the last one is looked at first. */
struct file *files_get(struct files *files, const struct server *server,
		       const struct tag *tag, bool *made)
{
	struct file key = { .tag = *tag, .fd = -1 }, **found, *f;

	*made = false;
	key.tag.block = server->segment_blocks ?
		tag->block / server->segment_blocks * server->segment_blocks : 0;
	if (files->last && !by_tag(files->last, &key))
		return files->last;
	found = tfind(&key, &files->tree, by_tag);
	if (found) {
		files->last = *found;
		return *found;
	}
	f = malloc(sizeof(*f));
	if (!f)
		return NULL;
	*f = key;
	if (!tsearch(f, &files->tree, by_tag)) {
		free(f);
		return NULL;
	}
	f->next = files->first;
	files->first = f;
	files->last = f;
	*made = true;
	return f;
}

static void nothing(void *node)
{
	(void)node;	/* they are freed by the list */
}

void files_free(struct files *files, void (*drop)(struct file *file))
{
	struct file *f;

	tdestroy(files->tree, nothing);
	while ((f = files->first)) {
		files->first = f->next;
		drop(f);
		free(f);
	}
	memset(files, 0, sizeof(*files));
}
