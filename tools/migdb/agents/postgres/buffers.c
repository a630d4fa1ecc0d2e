// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * The buffers' descriptors in shared memory, and the files that they name.
 *
 * They are of the server's own, 64 bytes each, and begin in the same way in
 * versions 13 to 18: the tag, the buffer's number, the state.  The numbers tell
 * whether that is so.  They are read without locks: a buffer that is replaced
 * meanwhile is named wrongly, which the host finds out.
 */
#include <stdio.h>
#include <string.h>

#include <migdb/hints.h>

#include "postgres.h"

#define CLOCK_BUFFERS	64	/* between looks at the clock */

enum {
	DESC_BYTES	= 64,
	DESC_NUMBER	= 20,
	DESC_STATE	= 24,
};

#define STATE_DIRTY	(1U << 23)
#define STATE_VALID	(1U << 24)
#define STATE_TAG_VALID	(1U << 25)

enum { TABLESPACE_DEFAULT = 1663, TABLESPACE_GLOBAL = 1664 };

static const char *desc(const struct server *server, uint64_t i)
{
	return server->memory + server->descs_at + i * DESC_BYTES;
}

static uint32_t word(const char *at)
{
	return __atomic_load_n((const uint32_t *)at, __ATOMIC_RELAXED);
}

bool buffers_known(const struct server *server)
{
	uint64_t i;

	for (i = 0; i < server->nr_buffers; i++)
		if (word(desc(server, i) + DESC_NUMBER) != i)
			return false;
	return true;
}

enum buffer buffer_state(const struct server *server, uint64_t i, struct tag *tag)
{
	const char *d = desc(server, i);
	uint32_t state = word(d + DESC_STATE);

	if (!(state & STATE_VALID) || !(state & STATE_TAG_VALID))
		return BUFFER_NOTHING;
	tag->tablespace = word(d);
	tag->database = word(d + 4);
	tag->relation = word(d + 8);
	tag->fork = word(d + 12);
	tag->block = word(d + 16);
	return state & STATE_DIRTY ? BUFFER_DIRTY : BUFFER_CLEAN;
}

void buffers_describe(const struct server *server, uint64_t *desc,
		      uint64_t (*describe)(uint64_t i), uint64_t until_us)
{
	bool in_time = true;
	uint64_t i;

	for (i = 0; i < server->nr_buffers; i++) {
		if (in_time && i % CLOCK_BUFFERS == 0)
			in_time = now_us() < until_us;
		migdb_desc_store(&desc[i], in_time ? describe(i) : 0);
	}
}

bool tag_path(const struct server *server, const struct tag *tag, char *path, size_t size)
{
	static const char * const fork[] = { "", "_fsm", "_vm", "_init" };
	uint32_t segment = server->segment_blocks ? tag->block / server->segment_blocks : 0;
	char dir[160], end[16] = "";

	if (tag->fork < 0 || tag->fork > 3 || !tag->relation)
		return false;
	if (tag->tablespace == TABLESPACE_GLOBAL)
		snprintf(dir, sizeof(dir), "global");
	else if (tag->tablespace == TABLESPACE_DEFAULT)
		snprintf(dir, sizeof(dir), "base/%u", tag->database);
	else
		snprintf(dir, sizeof(dir), "pg_tblspc/%u/%s/%u", tag->tablespace,
			 server->catalog, tag->database);
	if (segment)
		snprintf(end, sizeof(end), ".%u", segment);
	return (size_t)snprintf(path, size, "%s/%u%s%s", dir, tag->relation,
				fork[tag->fork], end) < size;
}
