// SPDX-License-Identifier: MIT
/* See channel.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "channel.h"

u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
};

static int parse(const char *text, union address *a, socklen_t *len)
{
	char host[64];
	unsigned int port;

	memset(a, 0, sizeof(*a));
	if (!strncmp(text, "unix:", 5) && strlen(text + 5) < sizeof(a->un.sun_path)) {
		a->un.sun_family = AF_UNIX;
		strcpy(a->un.sun_path, text + 5);
		*len = sizeof(a->un);
		return 0;
	}
	if (sscanf(text, "tcp:%63[0-9.]:%u", host, &port) == 2 &&
	    inet_pton(AF_INET, host, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		*len = sizeof(a->in);
		return 0;
	}
	return -EINVAL;
}

int chan_connect(struct channel *c, const char *address)
{
	union address a;
	socklen_t len;
	int rc = parse(address, &a, &len), tries;

	if (rc)
		return rc;
	/* The other side may still be starting. */
	for (tries = 0; tries < 200; tries++) {
		c->fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd < 0)
			return -errno;
		if (!connect(c->fd, &a.any, len))
			return 0;
		rc = -errno;
		close(c->fd);
		c->fd = -1;
		usleep(50000);
	}
	return rc;
}

int chan_accept(struct channel *c, const char *address)
{
	union address a;
	socklen_t len;
	int rc = parse(address, &a, &len), fd, one = 1;

	if (rc)
		return rc;
	if (a.any.sa_family == AF_UNIX)
		unlink(a.un.sun_path);
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &a.any, len) || listen(fd, 1)) {
		rc = -errno;
	} else {
		c->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		rc = c->fd < 0 ? -errno : 0;
	}
	close(fd);
	return rc;
}

void chan_close(struct channel *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static int send_all(struct channel *c, const void *data, size_t bytes)
{
	const u8 *p = data;

	while (bytes) {
		ssize_t n = send(c->fd, p, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		p += n;
		bytes -= n;
		c->sent_bytes += n;
	}
	return 0;
}

static void pace(struct channel *c, u32 bytes)
{
	u64 now = now_ns(), due;

	if (!c->bytes_per_s)
		return;
	due = c->started_ns + c->paced_bytes * 1000000000ULL / c->bytes_per_s;
	/* An idle link does not save up. */
	if (!c->started_ns || now > due + 20000000) {
		c->started_ns = now;
		c->paced_bytes = 0;
	} else if (due > now) {
		usleep((due - now) / 1000);
	}
	c->paced_bytes += bytes;
}

int chan_send(struct channel *c, u32 type, u64 arg, const void *data, u32 bytes)
{
	struct msg m = { .type = type, .bytes = bytes, .arg = arg };
	int rc;

	pace(c, sizeof(m) + bytes);
	if (c->cut_after && c->sent_bytes + bytes > c->cut_after) {
		c->cut_after = 0;
		/* In the middle of a message, as a link would be cut. */
		rc = send_all(c, &m, sizeof(m));
		if (!rc && bytes)
			send_all(c, data, bytes / 2);
		shutdown(c->fd, SHUT_RDWR);
		return -ECONNRESET;
	}
	rc = send_all(c, &m, sizeof(m));
	return rc || !bytes ? rc : send_all(c, data, bytes);
}

int chan_recv_data(struct channel *c, void *data, u32 bytes)
{
	u8 *p = data;

	while (bytes) {
		ssize_t n = recv(c->fd, p, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		p += n;
		bytes -= n;
	}
	return 0;
}

int chan_recv_head(struct channel *c, struct msg *m)
{
	int rc = chan_recv_data(c, m, sizeof(*m));

	if (!rc && m->bytes > MSG_MAX_BYTES)
		rc = -EPROTO;
	return rc;
}
