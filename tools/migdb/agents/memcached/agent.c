// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * migdb-memcached: has a memcached drop what is cold before the machine is moved.
 * migdb-memcached(8) is about its use.
 *
 * Nothing of a cache's memory is on a disk.  What can be done without is the cold
 * part of it.  When a migration starts, the coldest items are deleted, and in the
 * place of each one an item of zeros of the same size is stored, which takes the
 * memory that has just become free: pages of zeros are not sent by any VMM.  They are
 * deleted when the migration is over.
 *
 * So nobody needs to agree to anything, and no client ever sees anything but a
 * miss.  Pages that are discardable by mem_hint(2) would not do: items of one
 * memory page have their links in it, which the server follows at any time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <migdb/hints.h>

#include "items.h"
#include "stream.h"

#define CONFIG		"/etc/migdb/memcached.conf"
#define RUN		"/run/migdb-memcached"
#define OVERHEAD	80	/* more than an item's header needs */
#define PREFIX		"~migdb"

static struct {
	char server[256];	/* HOST:PORT, or the path of a socket */
	unsigned int keep;	/* per cent */
	unsigned int min_bytes;
	unsigned int ttl_s;	/* of zeros, if we do not come to delete them */
} config = { "127.0.0.1:11211", 100, 8192, 600 };

static struct {
	uint64_t starts;
	uint64_t items;
	uint64_t bytes;
	uint64_t dropped;
	uint64_t dropped_bytes;
	uint64_t us;
} status;

static struct migdb_hints *hints;
static volatile sig_atomic_t stop;
static uint64_t nr_zeros;	/* stored and not deleted */
static unsigned int *zero_len;	/* lengths of their keys */

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list args;

	fputs("migdb-memcached: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void write_status(const char *state)
{
	FILE *f = fopen(RUN "/status.new", "we");

	if (!f)
		return;
	fprintf(f, "{\"state\":\"%s\",\"starts\":%" PRIu64 ",\"items\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"dropped_bytes\":%" PRIu64
		",\"us\":%" PRIu64 "}\n", state, status.starts, status.items, status.bytes,
		status.dropped, status.dropped_bytes, status.us);
	fclose(f);
	rename(RUN "/status.new", RUN "/status");
}

/* ---- the server ------------------------------------------------------------- */

/* A socket whose connect() takes no longer than that. */
static int limited_socket(int family, int protocol, uint64_t until_us)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	uint64_t now = now_us(), us = now < until_us ? until_us - now : 1;
	struct timeval limit = { us / 1000000, us % 1000000 };

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return fd;
}

static int connect_unix(uint64_t until_us)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = limited_socket(AF_UNIX, 0, until_us);

	if (fd < 0)
		return -1;
	if (strlen(config.server) >= sizeof(to.sun_path)) {
		close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to.sun_path, config.server, strlen(config.server));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int connect_tcp(uint64_t until_us)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM }, *found, *a;
	char host[256], *port;
	int fd = -1;

	snprintf(host, sizeof(host), "%s", config.server);
	port = strrchr(host, ':');
	if (!port)
		return -1;
	*port++ = 0;
	if (getaddrinfo(host, port, &hint, &found))
		return -1;
	for (a = found; a && fd < 0; a = a->ai_next) {
		fd = limited_socket(a->ai_family, a->ai_protocol, until_us);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen)) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd;
}

/* A server that hangs, or is slow, must not hold up the start. */
static bool server_open(struct stream *server, uint64_t until_us)
{
	int fd = config.server[0] == '/' ? connect_unix(until_us) : connect_tcp(until_us);

	if (fd < 0) {
		say("%s: %s", config.server, strerror(errno));
		return false;
	}
	return stream_open(server, fd, until_us);
}

/* All that was sent has been done once this is answered. */
static bool settle(struct stream *server)
{
	char line[128];

	return fputs("version\r\n", server->out) >= 0 && !fflush(server->out) &&
	       fgets(line, sizeof(line), server->in) && !strncmp(line, "VERSION ", 8);
}

static bool list(struct stream *server, struct items *items)
{
	char line[1024];

	if (fputs("lru_crawler metadump all\r\n", server->out) < 0 || fflush(server->out))
		return false;
	while (fgets(line, sizeof(line), server->in)) {
		if (!strncmp(line, "END", 3))
			return true;
		if (strncmp(line, "key=", 4)) {
			say("%s does not list its items: %s", config.server, line);
			return false;
		}
		if (strncmp(line + 4, PREFIX, sizeof(PREFIX) - 1) &&
		    !items_add(items, line, config.min_bytes))
			return false;
	}
	return false;
}

/* Of the length of the item's own key, where that is long enough. */
static void zero_key(uint64_t n, unsigned int len, char *key)
{
	int digits = len > sizeof(PREFIX) + 9 ? (int)(len - sizeof(PREFIX) + 1) : 10;

	snprintf(key, KEY_MAX_BYTES + 1, PREFIX "%0*" PRIu64, digits, n);
}

static bool replace(FILE *to, const struct item *item)
{
	static const char zeros[4096];
	unsigned int len = strlen(item->key), left;
	char key[KEY_MAX_BYTES + 1];

	zero_key(nr_zeros, len, key);
	left = item->size - OVERHEAD - strlen(key);
	if (fprintf(to, "delete %s noreply\r\nset %s 0 %u %u noreply\r\n", item->key, key,
		    config.ttl_s, left) < 0)
		return false;
	while (left) {
		unsigned int n = left < sizeof(zeros) ? left : sizeof(zeros);

		if (fwrite(zeros, 1, n, to) != n)
			return false;
		left -= n;
	}
	zero_len[nr_zeros++] = len;
	return fputs("\r\n", to) >= 0;
}

static void drop_zeros(void)
{
	char key[KEY_MAX_BYTES + 1];
	struct stream server;
	uint64_t i;

	if (!nr_zeros)
		return;
	if (server_open(&server, now_us() + 5000000)) {
		for (i = 0; i < nr_zeros; i++) {
			zero_key(i, zero_len[i], key);
			if (fprintf(server.out, "delete %s noreply\r\n", key) < 0)
				break;
		}
		settle(&server);
		stream_close(&server);
	}
	nr_zeros = 0;
}

static void start(uint64_t wait_us)
{
	uint64_t began = now_us();
	struct items items = {};
	unsigned int *lens;
	struct stream server;
	size_t i, cold;

	drop_zeros();
	status.starts++;
	status.dropped = 0;
	status.dropped_bytes = 0;
	if (config.keep >= 100)
		return;
	if (!server_open(&server, began + wait_us))
		return;
	if (!list(&server, &items))
		goto out;
	status.items = items.nr;
	status.bytes = items.bytes;
	cold = items_cold(&items, config.keep);
	lens = realloc(zero_len, (cold ?: 1) * sizeof(*lens));
	if (!lens)
		goto out;
	zero_len = lens;
	/* What is sent is done in the time that is left then. */
	for (i = 0; i < cold && now_us() - began < wait_us / 10 * 9; i++) {
		if (!replace(server.out, &items.item[i]))
			break;
		status.dropped++;
		status.dropped_bytes += items.item[i].size;
	}
	settle(&server);
out:
	stream_close(&server);
	items_free(&items);
	status.us = now_us() - began;
}

/* ---- configuration and events ------------------------------------------------- */

static bool number(const char *text, unsigned int min, unsigned int max, unsigned int *to)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (end == text || *end || v < min || v > max)
		return false;
	*to = v;
	return true;
}

static int configure(const char *path, bool must)
{
	FILE *f = fopen(path, "re");
	char line[512], key[64], value[256];
	bool ok = true;
	int n = 0;

	if (!f) {
		if (must)
			say("%s: %s", path, strerror(errno));
		return must ? -1 : 0;
	}
	while (ok && fgets(line, sizeof(line), f)) {
		n++;
		value[0] = 0;
		if (sscanf(line, " %63[a-z_] = %255s", key, value) < 1)
			continue;	/* empty, or a comment */
		if (!strcmp(key, "server"))
			ok = snprintf(config.server, sizeof(config.server), "%s", value) > 0;
		else if (!strcmp(key, "keep"))
			ok = number(value, 0, 100, &config.keep);
		else if (!strcmp(key, "min_bytes"))
			ok = number(value, 4096, 1 << 30, &config.min_bytes);
		else if (!strcmp(key, "ttl"))
			ok = number(value, 1, 86400, &config.ttl_s);
		else
			ok = false;
	}
	fclose(f);
	if (!ok)
		say("%s: line %d is not understood", path, n);
	return ok ? 0 : -1;
}

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int usage(int code)
{
	fprintf(code ? stderr : stdout, "Usage: migdb-memcached [-c FILE]\n");
	return code;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct pollfd p = { .events = POLLIN };
	struct migdb_hints_event event;
	const char *path = CONFIG;
	bool must = false;
	int err, opt;

	if (argc > 1 && !strcmp(argv[1], "--help"))
		return usage(0);
	while ((opt = getopt(argc, argv, "c:h")) != -1) {
		if (opt == 'h')
			return usage(0);
		if (opt != 'c')
			return usage(2);
		path = optarg;
		must = true;
	}
	if (optind < argc)
		return usage(2);
	if (configure(path, must))
		return 2;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	err = migdb_hints_open(&hints, 0);
	if (err) {
		say("%s", migdb_hints_strerror(MIGDB_HINTS_CALL_OPEN, err));
		return 1;
	}
	p.fd = migdb_hints_events(hints, MIGDB_HINTS_EVENTS_READY | MIGDB_HINTS_EVENTS_NONBLOCK);
	if (p.fd < 0) {
		say("%s", migdb_hints_strerror(MIGDB_HINTS_CALL_EVENTS, p.fd));
		return 1;
	}
	write_status("waiting");
	while (!stop) {
		if (poll(&p, 1, -1) <= 0 || migdb_hints_read_event(p.fd, &event))
			continue;
		if (event.type == MIGDB_HINTS_EVENT_START) {
			start(event.wait_ms * 900ULL);	/* of 1000 */
			migdb_hints_ready(hints, p.fd, event.seq);
			write_status("migration");
		} else if (event.type == MIGDB_HINTS_EVENT_COMPLETE) {
			drop_zeros();
			write_status("waiting");
		}
	}
	drop_zeros();
	free(zero_len);
	migdb_hints_close(hints);
	return 0;
}
