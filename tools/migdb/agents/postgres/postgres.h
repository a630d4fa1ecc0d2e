/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* The agent for PostgreSQL: what its files share. */
#ifndef MIGDB_POSTGRES_H
#define MIGDB_POSTGRES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config {
	char data[PATH_MAX];	/* the cluster's directory */
	char psql[1024];	/* a command line that queries can be appended to */
	bool sync;
};

/* What the server says of itself, and its shared memory as we have mapped it. */
struct server {
	int pid;		/* 0: there is none */
	uint32_t version;	/* major */
	uint32_t block_size;
	uint32_t segment_blocks; /* blocks of a file; 0: all */
	uint64_t nr_buffers;
	uint64_t blocks_at;	/* offsets in the shared memory */
	uint64_t descs_at;
	uint64_t wal_buffers_kib;
	char catalog[64];	/* of tablespaces: PG_15_202209061 */
	const char *memory;	/* it could be written to, which is not for us */
	size_t len;
};

/* A block, as the descriptor of a buffer names it. */
struct tag {
	uint32_t tablespace;
	uint32_t database;
	uint32_t relation;
	int32_t fork;
	uint32_t block;
};

enum buffer { BUFFER_NOTHING, BUFFER_CLEAN, BUFFER_DIRTY };

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_us(void);	/* CLOCK_MONOTONIC */

/* server.c */
int server_pid(const struct config *config);
/* 0; 1: it does not answer, it may be starting; -1 after it has said why. */
int server_attach(struct server *server, const struct config *config, int pid);
void server_detach(struct server *server);

/* buffers.c */
/* Are there descriptors of the form that we know? */
bool buffers_known(const struct server *server);
enum buffer buffer_state(const struct server *server, uint64_t i, struct tag *tag);
/*
 * Says in @desc what @describe() says of each buffer.  Of those that are left when the
 * time is over nothing is said, whatever was said before.
 */
void buffers_describe(const struct server *server, uint64_t *desc,
		      uint64_t (*describe)(uint64_t i), uint64_t until_us);
/* False: it is no file that keeps its blocks. */
bool tag_path(const struct server *server, const struct tag *tag, char *path, size_t size);

#endif
