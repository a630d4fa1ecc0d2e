// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * migdb-postgres: says what PostgreSQL's shared_buffers hold.  migdb-postgres(8) is
 * about its use.
 *
 * Buffers are copied from the page cache, so block I/O says nothing of them.  They
 * are shared memory: this process maps it, too, and names its own mapping, whose
 * pages are the server's.  When a migration starts, it looks at the descriptor of
 * each buffer, names the files and what the buffers hold, and lets the start go on.
 * The server is asked one query when it has started, and never waits for us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <migdb/hints.h>

#include "files.h"
#include "postgres.h"

#define CONFIG		"/etc/migdb/postgres.conf"
#define RUN		"/run/migdb-postgres"
#define LOOK_MS		5000	/* is it the same server? */
#define BRING_LOOKS	6	/* in each sixth look: what buffers are in use? */
#define BRING_BUFFERS	4096	/* at a time, between looks at the clock */

static struct config config = {
	.data = "/var/lib/postgresql/15/main",
	.psql = "psql -d postgres",
	.sync = true,
};
static struct migdb_hints *hints;
static struct server server;
static struct files files;
static uint64_t *desc;
static uint32_t pool;
static bool named;
static volatile sig_atomic_t stop;

static struct {
	uint64_t starts;
	uint64_t clean;
	uint64_t dirty;
	uint64_t files;
	uint64_t us;
} status;

void say(const char *format, ...)
{
	va_list args;

	fputs("migdb-postgres: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

/* Whole or not at all, for whoever reads it. */
static void write_status(const char *state)
{
	FILE *f = fopen(RUN "/status.new", "we");

	if (!f)
		return;
	fprintf(f, "{\"state\":\"%s\",\"server\":%d,\"starts\":%" PRIu64 ",\"files\":%" PRIu64
		",\"clean\":%" PRIu64 ",\"dirty\":%" PRIu64 ",\"us\":%" PRIu64 "}\n",
		state, server.pid, status.starts, status.files, status.clean, status.dirty,
		status.us);
	fclose(f);
	rename(RUN "/status.new", RUN "/status");
}

/* ---- files ------------------------------------------------------------------ */

static struct file *file_of(const struct tag *tag)
{
	char path[PATH_MAX + 256];
	struct file *f;
	bool made;
	int n;

	f = files_get(&files, &server, tag, &made);
	if (!f || !made || status.files >= FILES_MAX)
		return f;
	n = snprintf(path, sizeof(path), "%s/", config.data);
	if (!tag_path(&server, tag, path + n, sizeof(path) - n))
		return f;
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd >= 0 && migdb_hints_file(hints, f->fd, &f->number)) {
		close(f->fd);
		f->fd = -1;
	}
	if (f->fd >= 0)
		status.files++;
	return f;
}

/* A file that has anything to be written back is left out as a whole. */
static void sync_files(uint64_t until_us)
{
	struct file *f;

	for (f = files.first; f && now_us() < until_us; f = f->next)
		if (f->fd >= 0)
			fdatasync(f->fd);
}

static void drop_file(struct file *f)
{
	if (f->fd < 0)
		return;
	migdb_hints_unfile(hints, f->number);
	close(f->fd);
}

static void forget(void)
{
	if (named)
		migdb_hints_unpool(hints, pool);
	named = false;
	files_free(&files, drop_file);
}

/* ---- buffers ---------------------------------------------------------------- */

/* The kernel finds pages by our page tables: those of used buffers are brought there. */
static void bring(uint64_t from, uint64_t to)
{
	if (to > from)
		madvise((void *)(server.memory + server.blocks_at + from * server.block_size),
			(to - from) * server.block_size, MADV_POPULATE_READ);
}

static void bring_all(uint64_t until_us)
{
	uint64_t i, from = 0;
	struct tag tag;

	for (i = 0; i < server.nr_buffers; i++) {
		bool used = buffer_state(&server, i, &tag) != BUFFER_NOTHING;

		if (used && i - from < BRING_BUFFERS)
			continue;
		bring(from, i);
		if (now_us() >= until_us)
			return;
		from = used ? i : i + 1;
	}
	bring(from, i);
}

static uint64_t describe(uint64_t i)
{
	struct file *f;
	struct tag tag;

	switch (buffer_state(&server, i, &tag)) {
	case BUFFER_CLEAN:
		break;
	case BUFFER_DIRTY:
		status.dirty++;
		return MIGDB_DESC_VALID | MIGDB_DESC_EMPTY;
	default:
		return 0;
	}
	f = file_of(&tag);
	if (!f || f->fd < 0)
		return 0;
	status.clean++;
	return migdb_desc_make(f->number, (uint64_t)(tag.block - f->tag.block) *
			       server.block_size);
}

static void start(uint32_t wait_ms)
{
	uint64_t began = now_us(), until = began + wait_ms * 800;	/* of 1000 */
	int err;

	forget();
	status.starts++;
	status.clean = 0;
	status.dirty = 0;
	status.files = 0;
	if (!server.pid || server_pid(&config) != server.pid)
		return;
	bring_all(until);
	buffers_describe(&server, desc, describe, until);
	err = migdb_hints_pool(hints, server.memory + server.blocks_at, server.block_size,
			       server.nr_buffers, desc, &pool);
	if (err)
		say("%s", migdb_hints_strerror(MIGDB_HINTS_CALL_POOL, err));
	named = !err;
	if (config.sync)
		sync_files(began + wait_ms * 600);
	status.us = now_us() - began;
}

/* ---- the server ------------------------------------------------------------- */

static void drop_server(void)
{
	forget();
	if (desc)
		munmap(desc, server.nr_buffers * sizeof(*desc));
	desc = NULL;
	server_detach(&server);
}

static void look_for_server(void)
{
	static int refused, silent;	/* processes */
	int pid = server_pid(&config);

	if (pid == server.pid || (pid && pid == refused))
		return;
	drop_server();
	refused = 0;
	if (!pid)
		return;
	switch (server_attach(&server, &config, pid)) {
	case 0:
		break;
	case 1:
		if (silent != pid)
			say("the server does not say yet where its buffers are; it is asked by: %s",
			    config.psql);
		silent = pid;
		return;
	default:
		refused = pid;	/* it will not be another one */
		return;
	}
	desc = mmap(NULL, server.nr_buffers * sizeof(*desc), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (desc == MAP_FAILED) {
		desc = NULL;
		drop_server();
		return;
	}
	say("PostgreSQL %u, process %d: %" PRIu64 " buffers", server.version, server.pid,
	    server.nr_buffers);
}

static int configure(const char *path, bool must)
{
	FILE *f = fopen(path, "re");
	char line[2048], key[64], value[1024];
	int n = 0;

	if (!f) {
		if (must)
			say("%s: %s", path, strerror(errno));
		return must ? -1 : 0;
	}
	while (fgets(line, sizeof(line), f)) {
		n++;
		value[0] = 0;
		if (sscanf(line, " %63[a-z_] = %1023[^\n]", key, value) < 1)
			continue;	/* empty, or a comment */
		if (!strcmp(key, "data") && value[0] == '/')
			snprintf(config.data, sizeof(config.data), "%s", value);
		else if (!strcmp(key, "psql") && value[0])
			snprintf(config.psql, sizeof(config.psql), "%s", value);
		else if (!strcmp(key, "sync") && (!strcmp(value, "yes") || !strcmp(value, "no")))
			config.sync = value[0] == 'y';
		else {
			say("%s: line %d is not understood", path, n);
			fclose(f);
			return -1;
		}
	}
	fclose(f);
	return 0;
}

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static int usage(int status_code)
{
	fprintf(status_code ? stderr : stdout, "Usage: migdb-postgres [-c FILE]\n");
	return status_code;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct migdb_hints_event event;
	struct pollfd p = { .events = POLLIN };
	unsigned int looks = 0;
	int err, opt;

	if (argc > 1 && !strcmp(argv[1], "--help"))
		return usage(0);
	err = 1;	/* no -c */
	while ((opt = getopt(argc, argv, "c:h")) != -1) {
		if (opt == 'h')
			return usage(0);
		if (opt != 'c')
			return usage(2);
		if (configure(optarg, true))
			return 2;
		err = 0;
	}
	if (optind < argc)
		return usage(2);
	if (err && configure(CONFIG, false))
		return 2;

	sigaction(SIGTERM, &action, NULL);	/* without SA_RESTART: poll() ends */
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
	while (!stop) {
		look_for_server();
		if (server.pid && !(looks++ % BRING_LOOKS))
			bring_all(UINT64_MAX);	/* now, not when a migration waits for it */
		write_status(server.pid ? "waiting" : "no server");
		while (!stop && poll(&p, 1, LOOK_MS) > 0) {
			if (migdb_hints_read_event(p.fd, &event))
				break;
			if (event.type == MIGDB_HINTS_EVENT_START) {
				start(event.wait_ms);
				migdb_hints_ready(hints, p.fd, event.seq);
				write_status("migration");
			} else if (event.type == MIGDB_HINTS_EVENT_COMPLETE) {
				forget();
				write_status("waiting");
			}
		}
	}
	drop_server();
	migdb_hints_close(hints);
	return 0;
}
