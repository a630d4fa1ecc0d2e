// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * A connection with a deadline; see stream.h.  SO_RCVTIMEO would be for each byte
 * anew, so that a server that sends a few at a time could keep us for ever.
 */
#define _GNU_SOURCE 1	/* fopencookie(); as where it is tested */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "stream.h"

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

/* Is there something to read, or room, before the time is over? */
static bool in_time(const struct stream *s, short events)
{
	struct pollfd p = { .fd = s->fd, .events = events };
	uint64_t now = now_us(), ms;

	if (now >= s->until_us) {
		errno = ETIMEDOUT;
		return false;
	}
	ms = (s->until_us - now) / 1000 + 1;
	switch (poll(&p, 1, ms < INT_MAX ? ms : INT_MAX)) {
	case 1:
		return true;
	case 0:
		errno = ETIMEDOUT;
	}
	return false;	/* a signal, too: we are to end */
}

static ssize_t stream_read(void *cookie, char *buf, size_t size)
{
	struct stream *s = cookie;

	return in_time(s, POLLIN) ? recv(s->fd, buf, size, MSG_DONTWAIT) : -1;
}

/* stdio takes less than @size for an error. */
static ssize_t stream_write(void *cookie, const char *buf, size_t size)
{
	struct stream *s = cookie;
	size_t done = 0;
	ssize_t n;

	while (done < size && in_time(s, POLLOUT)) {
		n = send(s->fd, buf + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		if (n > 0)
			done += n;
	}
	return done;
}

/* Two streams: one that was read from cannot be written to on a socket. */
bool stream_open(struct stream *s, int fd, uint64_t until_us)
{
	s->fd = fd;
	s->until_us = until_us;
	s->in = fopencookie(s, "r", (cookie_io_functions_t){ .read = stream_read });
	s->out = fopencookie(s, "w", (cookie_io_functions_t){ .write = stream_write });
	if (s->in && s->out)
		return true;
	stream_close(s);
	return false;
}

void stream_close(struct stream *s)
{
	if (s->in)
		fclose(s->in);
	if (s->out)
		fclose(s->out);
	close(s->fd);
}
