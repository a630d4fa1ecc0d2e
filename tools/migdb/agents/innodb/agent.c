// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * The agent for InnoDB: a library that the server loads, as the function
 * migdb_innodb_status() or by LD_PRELOAD.  migdb-innodb(7) is about its use.
 *
 * It has a thread that sleeps until a migration starts.  Then it looks at the
 * heads of all frames of the buffer pool, names the tablespaces and what the
 * frames hold, and lets the start go on; when the migration is over it takes all
 * of that back.  Between migrations nothing is named and no file kept open.
 *
 * It knows nothing of the server's structures: pages say themselves which they
 * are (page.h), and are looked for in all large private mappings.  They are read
 * without any lock.  So what it says may be wrong, as a page is changed, evicted
 * or resized away under its eyes; the host verifies each page.  Memory is read by
 * process_vm_readv(), which does not mind that it goes away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <migdb/hints.h>

#include "files.h"
#include "page.h"

#define CONFIG		"/etc/migdb/innodb.conf"
#define MAX_REGIONS	64	/* as many pools as a process may have */
#define BATCH		256	/* frames a call; 1024 pieces are the most */
#define RETRY_MS	10000	/* until the module is there */
#define REFRESH_MS	30000	/* tablespaces that are new */

struct region {
	uint64_t addr;
	uint64_t nr_frames;
	uint64_t *desc;
	uint32_t pool;
	bool named;
};

struct status {
	const char *state;
	uint64_t starts;
	uint64_t files;
	uint64_t regions;
	uint64_t clean;
	uint64_t dirty;
	uint64_t us;		/* of the last start */
};

static struct {
	pthread_t thread;
	pid_t pid;		/* that has the thread: a child has none */
	int stop;		/* eventfd */
	uint64_t min_bytes;
	struct migdb_hints *hints;
	struct innodb_files files;
	struct region region[MAX_REGIONS];
	unsigned int nr_regions;
	pthread_mutex_t lock;	/* of status */
	struct status status;
} agent = {
	.stop = -1,
	.min_bytes = 5 << 20,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.status.state = "not started",
};

static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	va_list args;

	fputs("migdb_innodb: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void set_state(const char *state)
{
	pthread_mutex_lock(&agent.lock);
	agent.status.state = state;
	pthread_mutex_unlock(&agent.lock);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

/* ---- regions ---------------------------------------------------------------- */

/* Frames are at multiples of their size, whatever the mapping begins at. */
static void add_region(uint64_t from, uint64_t to, uint32_t frame)
{
	struct region *r = &agent.region[agent.nr_regions];

	from = (from + frame - 1) & -(uint64_t)frame;
	to &= -(uint64_t)frame;
	if (to <= from || to - from < agent.min_bytes || agent.nr_regions == MAX_REGIONS)
		return;
	memset(r, 0, sizeof(*r));
	r->addr = from;
	r->nr_frames = (to - from) / frame;
	agent.nr_regions++;
}

/* Private memory that is no file's: anonymous, or huge pages. */
static void find_regions(uint32_t frame)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t from, to, inode;
	char line[512], perms[8], name[256];

	if (!maps)
		return;
	while (fgets(line, sizeof(line), maps)) {
		name[0] = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*x:%*x %" SCNu64 " %255s",
			   &from, &to, perms, &inode, name) < 4)
			continue;
		if (strcmp(perms, "rw-p") ||
		    (inode && strcmp(name, "/anon_hugepage")))
			continue;
		add_region(from, to, frame);
	}
	fclose(maps);
}

static void drop_regions(void)
{
	unsigned int i;

	for (i = 0; i < agent.nr_regions; i++) {
		struct region *r = &agent.region[i];

		if (r->named)
			migdb_hints_unpool(agent.hints, r->pool);
		if (r->desc)
			munmap(r->desc, r->nr_frames * sizeof(*r->desc));
	}
	agent.nr_regions = 0;
}

/* ---- frames ----------------------------------------------------------------- */

struct peek {
	uint8_t head[INNODB_HEAD_BYTES];
	uint8_t tail[INNODB_TAIL_BYTES];
};

/* How many of the frames from @addr on could be read. */
static unsigned int peek_frames(uint64_t addr, uint32_t frame, unsigned int nr,
				struct peek *to)
{
	struct iovec from[2 * BATCH], here = { to, nr * sizeof(*to) };
	unsigned int i;
	ssize_t n;

	for (i = 0; i < nr; i++) {
		char *at = (char *)(uintptr_t)(addr + (uint64_t)i * frame);

		from[2 * i] = (struct iovec){ at, INNODB_HEAD_BYTES };
		from[2 * i + 1] = (struct iovec){ at + frame - INNODB_TAIL_BYTES,
						  INNODB_TAIL_BYTES };
	}
	n = process_vm_readv(agent.pid, &here, 1, from, 2 * nr, 0);
	return n < 0 ? 0 : n / sizeof(*to);
}

/* The descriptor of a frame; 0: it says nothing that we know. */
static uint64_t describe(const struct peek *p, struct status *s)
{
	struct innodb_head h;
	struct innodb_file *f;

	innodb_head_parse(p->head, &h);
	if (!h.any)
		return 0;
	f = innodb_files_find(&agent.files, h.space);
	if (!f || h.page >= f->nr_pages)
		return 0;
	if (!innodb_clean(&h, p->tail, &f->space)) {
		s->dirty++;
		return MIGDB_DESC_VALID | MIGDB_DESC_EMPTY;	/* what I/O said is old */
	}
	if (!f->named) {
		if (migdb_hints_file(agent.hints, f->fd, &f->number))
			return 0;
		f->named = true;
		s->files++;
	}
	s->clean++;
	return migdb_desc_make(f->number, (uint64_t)h.page * f->space.page_size);
}

/* Only what is in memory: looking at the rest would bring it there. */
static bool resident(const unsigned char *vec, uint64_t frame, uint32_t pages)
{
	return (vec[frame * pages] & 1) && (vec[frame * pages + pages - 1] & 1);
}

static void scan_region(struct region *r, uint32_t frame, struct status *s)
{
	uint32_t pages = frame / MIGDB_HINTS_PAGE_SIZE;
	uint64_t i, before = s->clean + s->dirty;
	static struct peek peeks[BATCH];
	unsigned int n, got, k;
	unsigned char *vec;

	vec = malloc(r->nr_frames * pages);
	r->desc = mmap(NULL, r->nr_frames * sizeof(*r->desc), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (r->desc == MAP_FAILED)
		r->desc = NULL;
	if (!vec || !r->desc ||
	    mincore((void *)(uintptr_t)r->addr, r->nr_frames * frame, vec))
		goto out;
	for (i = 0; i < r->nr_frames; i += n) {
		n = 1;
		if (!resident(vec, i, pages))
			continue;
		while (n < BATCH && i + n < r->nr_frames && resident(vec, i + n, pages))
			n++;
		got = peek_frames(r->addr + i * frame, frame, n, peeks);
		for (k = 0; k < got; k++)
			r->desc[i + k] = describe(&peeks[k], s);
	}
	if (s->clean + s->dirty == before)
		goto out;
	r->named = !migdb_hints_pool(agent.hints, (void *)(uintptr_t)r->addr, frame,
				     r->nr_frames, r->desc, &r->pool);
	if (r->named)
		s->regions++;
out:
	free(vec);
}

/* ---- migrations --------------------------------------------------------------- */

static void forget(void)
{
	size_t i;

	drop_regions();
	for (i = 0; i < agent.files.nr; i++) {
		struct innodb_file *f = &agent.files.file[i];

		if (f->named)
			migdb_hints_unfile(agent.hints, f->number);
		f->named = false;
	}
}

static void start(void)
{
	struct status s = {};
	uint64_t began = now_us();
	unsigned int i;

	forget();
	innodb_files_refresh(&agent.files);
	if (agent.files.nr) {
		/* One size for all files of a server. */
		uint32_t frame = agent.files.file[0].space.page_size;

		find_regions(frame);
		for (i = 0; i < agent.nr_regions; i++)
			scan_region(&agent.region[i], frame, &s);
	}
	s.us = now_us() - began;
	pthread_mutex_lock(&agent.lock);
	s.starts = agent.status.starts + 1;
	s.state = "migration";
	agent.status = s;
	pthread_mutex_unlock(&agent.lock);
}

/* False: stop. */
static bool wait_for(int fd, int timeout_ms, bool *ready)
{
	struct pollfd p[2] = {
		{ .fd = agent.stop, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	*ready = false;
	if (poll(p, fd < 0 ? 1 : 2, timeout_ms) > 0) {
		if (p[0].revents)
			return false;
		*ready = p[1].revents;
	}
	return true;
}

static void serve(int events)
{
	struct migdb_hints_event event;
	bool ready;

	innodb_files_refresh(&agent.files);
	while (wait_for(events, REFRESH_MS, &ready)) {
		if (!ready) {
			/* not while files are named: it forgets those that are closed */
			if (!agent.nr_regions)
				innodb_files_refresh(&agent.files);
			continue;
		}
		if (migdb_hints_read_event(events, &event))
			break;
		if (event.type == MIGDB_HINTS_EVENT_START) {
			start();
			migdb_hints_ready(agent.hints, events, event.seq);
		} else if (event.type == MIGDB_HINTS_EVENT_COMPLETE) {
			forget();
			set_state("waiting");
		}
	}
	forget();
}

static void *run(void *unused)
{
	int err, events, said = 0;
	bool ready;

	(void)unused;
	for (;;) {
		err = migdb_hints_open(&agent.hints, 0);
		if (!err) {
			events = migdb_hints_events(agent.hints, MIGDB_HINTS_EVENTS_READY);
			if (events >= 0) {
				set_state("waiting");
				serve(events);
				close(events);
				migdb_hints_close(agent.hints);
				set_state("stopped");
				return NULL;
			}
			migdb_hints_close(agent.hints);
			err = events;
			if (said != err)
				say("%s", migdb_hints_strerror(MIGDB_HINTS_CALL_EVENTS, err));
		} else if (said != err) {
			say("%s", migdb_hints_strerror(MIGDB_HINTS_CALL_OPEN, err));
		}
		said = err;
		set_state("no mem_hints");
		if (!wait_for(-1, RETRY_MS, &ready))
			return NULL;
	}
}

/* ---- loading ---------------------------------------------------------------- */

/* False: it is switched off. */
static bool configure(void)
{
	FILE *f = fopen(CONFIG, "re");
	char line[256], key[64], value[64];
	bool enabled = true;

	if (!f)
		return true;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, " %63[a-z_] = %63s", key, value) != 2)
			continue;	/* empty, or a comment */
		if (!strcmp(key, "enabled"))
			enabled = !strcmp(value, "yes");
		else if (!strcmp(key, "min_mib") && atoi(value) > 0)
			agent.min_bytes = (uint64_t)atoi(value) << 20;
		else
			say("%s: not understood: %s = %s", CONFIG, key, value);
	}
	fclose(f);
	return enabled;
}

/* LD_PRELOAD reaches whatever the server's scripts start, too. */
static bool in_server(void)
{
	char exe[PATH_MAX], *name;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n <= 0)
		return false;
	exe[n] = 0;
	name = strrchr(exe, '/');
	return name && (!strcmp(name, "/mariadbd") || !strcmp(name, "/mysqld"));
}

__attribute__((constructor)) static void load(void)
{
	sigset_t all, old;
	int err;

	if (!in_server())
		return;
	if (!configure()) {
		set_state("switched off");
		return;
	}
	agent.stop = eventfd(0, EFD_CLOEXEC);
	if (agent.stop < 0)
		return;
	agent.pid = getpid();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);	/* the server's own threads take them */
	err = pthread_create(&agent.thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		say("no thread: %s", strerror(err));
		close(agent.stop);
		agent.stop = -1;
	}
}

/* DROP FUNCTION, or the server's end: nothing of us may run after that. */
__attribute__((destructor)) static void unload(void)
{
	uint64_t one = 1;

	if (agent.stop < 0 || agent.pid != getpid())
		return;
	if (write(agent.stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(agent.thread, NULL);
	close(agent.stop);
	agent.stop = -1;
	free(agent.files.file);
}

/* ---- the function ------------------------------------------------------------- */

/*
 * As servers call user-defined functions; of their arguments only the result's
 * buffer of 255 bytes matters.
 */
__attribute__((visibility("default")))
char migdb_innodb_status_init(void *init, void *args, char *message)
{
	(void)init;
	(void)args;
	(void)message;
	return 0;
}

__attribute__((visibility("default")))
char *migdb_innodb_status(void *init, void *args, char *result, unsigned long *length,
			  unsigned char *is_null, unsigned char *error)
{
	struct status s;

	(void)init;
	(void)args;
	pthread_mutex_lock(&agent.lock);
	s = agent.status;
	pthread_mutex_unlock(&agent.lock);
	*length = snprintf(result, 255,
			   "{\"state\":\"%s\",\"starts\":%" PRIu64 ",\"files\":%" PRIu64
			   ",\"pools\":%" PRIu64 ",\"clean\":%" PRIu64 ",\"dirty\":%" PRIu64
			   ",\"us\":%" PRIu64 "}",
			   s.state, s.starts, s.files, s.regions, s.clean, s.dirty, s.us);
	*is_null = 0;
	*error = 0;
	return result;
}
