/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/* A connection that has a deadline for all that is done on it. */
#ifndef MIGDB_MEMCACHED_STREAM_H
#define MIGDB_MEMCACHED_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct stream {
	int fd;
	uint64_t until_us;	/* of now_us() */
	FILE *in;
	FILE *out;
};

/* CLOCK_MONOTONIC */
uint64_t now_us(void);
/*
 * Takes @fd, a socket, in any case.  From @until_us on all that is read or written
 * fails with ETIMEDOUT, also if the other end is never quiet.  False: no memory.
 */
bool stream_open(struct stream *stream, int fd, uint64_t until_us);
void stream_close(struct stream *stream);

#endif
