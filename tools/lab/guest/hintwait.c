// SPDX-License-Identifier: GPL-2.0
/*
 * A DBMS that has nothing to do but to be told of migrations, and says what it
 * hears: when the console is its output, on which host it heard it can be seen.
 *
 *   hintwait answers FILE   names its pool when a migration starts, then is ready
 *   hintwait silent FILE    has named it before, and never says that it is ready
 *
 * The pool is 1 MiB of memory of which FILE, made anew, has a copy.  One line for
 * each thing that is heard: its name, then NAME=VALUE words.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <migdb/hints.h>

enum { FRAME = 16384, NR_FRAMES = 64 };

static struct migdb_hints *hints;
static uint64_t desc[NR_FRAMES];
static uint32_t file;
static char *pool;

static void fatal(const char *what, int err)
{
	printf("hintwait: error %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

/* Every page is another one, and none is zero. */
static uint64_t word(size_t n)
{
	return (n + 1) * 0x9e3779b97f4a7c15ULL;
}

static void fill(void)
{
	uint64_t *p = (uint64_t *)pool;
	size_t n;

	for (n = 0; n < FRAME * NR_FRAMES / sizeof(*p); n++)
		p[n] = word(n);
}

static bool whole(void)
{
	const uint64_t *p = (const uint64_t *)pool;
	size_t n;

	for (n = 0; n < FRAME * NR_FRAMES / sizeof(*p); n++)
		if (p[n] != word(n))
			return false;
	return true;
}

/* By way of the page cache, so that block I/O knows nothing of the pool itself. */
static void make_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), err, tries = 10;

	if (fd < 0 || write(fd, pool, FRAME * NR_FRAMES) != FRAME * NR_FRAMES || fsync(fd))
		fatal(path, errno);
	/* Again, while the disk has not said who it is. */
	do {
		err = migdb_hints_file(hints, fd, &file);
	} while (err == -EAGAIN && tries--);
	if (err)
		fatal("file", err);
	close(fd);
}

static void name_pool(bool named)
{
	unsigned int n;

	for (n = 0; n < NR_FRAMES; n++) {
		if (named)
			migdb_desc_set(&desc[n], file, (uint64_t)n * FRAME);
		else
			migdb_desc_forget(&desc[n]);
	}
}

static const char *state(void)
{
	struct migdb_hints_info info;
	int err = migdb_hints_query(hints, &info);

	if (err)
		fatal("query", err);
	switch (info.state) {
	case MIGDB_HINTS_IDLE:
		return "idle";
	case MIGDB_HINTS_FROZEN:
		return "frozen";
	default:
		return "off";
	}
}

static bool readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* How long after @event the snapshot was taken; unless it is all over by then. */
static void until_frozen(int fd, const struct migdb_hints_event *event)
{
	struct timespec now;
	uint64_t ns;

	while (strcmp(state(), "frozen"))
		if (readable(fd, 1))
			return;
	clock_gettime(CLOCK_BOOTTIME, &now);
	ns = now.tv_sec * 1000000000ULL + now.tv_nsec - event->time_ns;
	printf("hintwait: frozen generation=%" PRIu64 " ms=%" PRIu64 "\n", event->generation, ns / 1000000);
}

static void started(int fd, const struct migdb_hints_event *event, bool answers)
{
	const char *before = state();
	int err = -EAGAIN;

	if (answers) {
		name_pool(true);
		err = migdb_hints_ready(hints, fd, event->seq);
	}
	/* Not before: the console takes its time. */
	printf("hintwait: start seq=%" PRIu64 " generation=%" PRIu64 " classes=%#" PRIx64 " state=%s wait_ms=%u lost=%u ready=%s\n",
	       event->seq, event->generation, event->classes, before, event->wait_ms, event->nr_lost,
	       !answers ? "never" : err ? strerror(-err) : "taken");
	until_frozen(fd, event);
}

static unsigned long in_snapshot(void)
{
	FILE *f = fopen("/sys/kernel/mm/hints/snapshot/frames", "re");
	unsigned long frames = 0;

	if (!f || fscanf(f, "%lu", &frames) != 1)
		fatal("snapshot/frames", errno);
	fclose(f);
	return frames;
}

static void completed(const struct migdb_hints_event *event, bool answers)
{
	static const char * const outcomes[] = {
		[MIGDB_HINTS_DONE]	= "done",
		[MIGDB_HINTS_CANCELLED]	= "cancelled",
		[MIGDB_HINTS_UNKNOWN]	= "unknown",
	};

	printf("hintwait: complete seq=%" PRIu64 " generation=%" PRIu64 " state=%s outcome=%s lost=%u frames=%lu pool=%s\n",
	       event->seq, event->generation, state(),
	       event->outcome <= MIGDB_HINTS_UNKNOWN ? outcomes[event->outcome] : "bad",
	       event->nr_lost, in_snapshot(), whole() ? "whole" : "other");
	if (answers)
		name_pool(false);
}

int main(int argc, char **argv)
{
	bool answers = argc == 3 && !strcmp(argv[1], "answers");
	struct migdb_hints_event event;
	uint32_t number;
	int fd, err;

	if (!answers && (argc != 3 || strcmp(argv[1], "silent"))) {
		fputs("usage: hintwait answers|silent FILE\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	pool = mmap(NULL, FRAME * NR_FRAMES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pool == MAP_FAILED)
		fatal("memory", errno);
	fill();
	err = migdb_hints_open(&hints, 0);
	if (err)
		fatal("open", err);
	make_file(argv[2]);
	err = migdb_hints_pool(hints, pool, FRAME, NR_FRAMES, desc, &number);
	if (err)
		fatal("pool", err);
	name_pool(!answers);
	fd = migdb_hints_events(hints, MIGDB_HINTS_EVENTS_READY);
	if (fd < 0)
		fatal("events", fd);
	puts("hintwait: waits");
	for (;;) {
		err = migdb_hints_read_event(fd, &event);
		if (err)
			fatal("read", err);
		if (event.type == MIGDB_HINTS_EVENT_START)
			started(fd, &event, answers);
		else if (event.type == MIGDB_HINTS_EVENT_COMPLETE)
			completed(&event, answers);
		else
			fatal("an event of no type", EPROTO);
	}
}
