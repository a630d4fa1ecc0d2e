// SPDX-License-Identifier: GPL-2.0
/*
 * What the daemon says of itself, in a file of its own, and how it is shown
 * with what the kernel counts.  A lock says whether a daemon runs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hintd.h"
#include "program.h"

#define EXIT_NO_DAEMON		3
#define EXIT_NOT_ATTACHED	4
#define EXIT_NOT_HINTED		5

#define MAX_WANTS (HINTD_MAX_DISKS + HINTD_MAX_UNITS + HINTD_MAX_CGROUPS + HINTD_MAX_VOLUMES)

static const char *in_dir(const char *dir, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

int status_lock(const char *dir)
{
	int fd, err;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return -errno;
	fd = open(in_dir(dir, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		return err;
	}
	return fd;
}

static bool daemon_runs(const char *dir)
{
	int fd = open(in_dir(dir, "lock"), O_RDONLY | O_CLOEXEC);
	bool runs;

	if (fd < 0)
		return false;
	runs = flock(fd, LOCK_SH | LOCK_NB);
	close(fd);
	return runs;
}

static void write_wants(FILE *f, const struct hintd_want *w, int nr, const char *kind)
{
	for (; nr; nr--, w++)
		fprintf(f, "%s\t%s\t%llu\t%s\t%s\n", kind && *kind ? kind : w->unit ? "unit" : "cgroup",
			w->name, (unsigned long long)w->key, w->cgroup, w->why);
}

static void write_volumes(FILE *f, const struct hintd_volume *v, int nr)
{
	for (; nr; nr--, v++) {
		if (v->hinted)
			fprintf(f, "volume\t%s\t1\t%u segment%s, %llu sectors\t\n", v->name, v->nr,
				v->nr > 1 ? "s" : "", v->nr_sectors);
		else
			fprintf(f, "volume\t%s\t0\t\t%s\n", v->name, v->why);
	}
}

/* Lines of words with tabs between them; replaced as a whole. */
int status_write(const char *dir, const struct hintd *d)
{
	static char last[1 << 18];
	char *text = NULL;
	size_t len = 0;
	int fd, err;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return -1;
	fprintf(f, "pid\t%d\nstate\t%s\nwhy\t%s\n", getpid(), hintd_state_names[d->state], d->why);
	write_wants(f, d->disks, d->nr_disks, "disk");
	write_wants(f, d->groups, d->nr_groups, NULL);
	write_volumes(f, d->volumes, d->nr_volumes);
	if (fclose(f))
		return -1;
	if (len < sizeof(last) && !strcmp(text, last) && !access(in_dir(dir, "state"), F_OK)) {
		free(text);
		return 0;
	}
	fd = open(in_dir(dir, "state.new"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	err = fd < 0 || write(fd, text, len) != (ssize_t)len;
	if (fd >= 0)
		err |= close(fd);
	if (!err) {
		char from[PATH_MAX];

		snprintf(from, sizeof(from), "%s", in_dir(dir, "state.new"));
		err = rename(from, in_dir(dir, "state"));
	}
	if (!err && len < sizeof(last))
		memcpy(last, text, len + 1);
	free(text);
	return err ? -1 : 0;
}

void status_remove(const char *dir)
{
	unlink(in_dir(dir, "state"));
}

/* ---- and the reader --------------------------------------------------------- */

struct want {
	char *kind, *name, *cgroup, *why;
	bool hinted;
};

struct seen {
	char text[1 << 18];
	pid_t pid;
	const char *state;
	const char *why;
	int nr;
	struct want wants[MAX_WANTS];
};

/* All that there are, asked for or not. */
static bool is_volume(const struct want *w)
{
	return !strcmp(w->kind, "volume");
}

static bool read_state(const char *dir, struct seen *s)
{
	char *line, *next, *f[5];
	ssize_t n, len = 0;
	int fd, i;

	memset(s, 0, sizeof(*s));
	s->state = "unknown";
	s->why = "";
	fd = open(in_dir(dir, "state"), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while ((n = read(fd, s->text + len, sizeof(s->text) - 1 - len)) > 0)
		len += n;
	close(fd);
	for (line = s->text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		for (i = 0; i < 5; i++)
			f[i] = strsep(&line, "\t") ?: "";
		if (!strcmp(f[0], "pid")) {
			s->pid = atoi(f[1]);
		} else if (!strcmp(f[0], "state")) {
			s->state = f[1];
		} else if (!strcmp(f[0], "why")) {
			s->why = f[1];
		} else if (s->nr < MAX_WANTS) {
			struct want *w = &s->wants[s->nr++];

			w->kind = f[0];
			w->name = f[1];
			w->hinted = strcmp(f[2], "0");
			w->cgroup = f[3];
			w->why = *f[4] || w->hinted ? f[4] : "not looked for yet";
		}
	}
	return true;
}

static bool sysfs(const char *name, char *to, size_t size)
{
	char path[PATH_MAX];
	FILE *f;

	*to = 0;
	snprintf(path, sizeof(path), MEM_HINTS_SYSFS "%s", name);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(to, size, f))
		*to = 0;
	fclose(f);
	to[strcspn(to, "\n")] = 0;
	return true;
}

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", *s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void json_wants(const struct seen *s)
{
	int i;

	printf("  \"wanted\": [");
	for (i = 0; i < s->nr; i++) {
		const struct want *w = &s->wants[i];

		printf("%s\n    { \"kind\": \"%s\", \"name\": ", i ? "," : "", w->kind);
		json_string(w->name);
		printf(", \"hinted\": %s", w->hinted ? "true" : "false");
		if (*w->cgroup) {
			printf(", \"%s\": ", is_volume(w) ? "map" : "cgroup");
			json_string(w->cgroup);
		}
		if (!w->hinted) {
			printf(", \"why\": ");
			json_string(w->why);
		}
		printf(" }");
	}
	printf("%s],\n", s->nr ? "\n  " : "");
}

enum { NR_NOTED, NR_DROPPED, NR_MISALIGNED, NR_FRAMES_VALID, NR_STALE, TABLE_BYTES, NR_NUMBERS };

static const char * const numbers[NR_NUMBERS] = {
	[NR_NOTED]		= "nr_noted",
	[NR_DROPPED]		= "nr_dropped",
	[NR_MISALIGNED]		= "nr_misaligned",
	[NR_FRAMES_VALID]	= "nr_frames_valid",
	[NR_STALE]		= "nr_stale",
	[TABLE_BYTES]		= "table_bytes",
};

/* What the module counts, read once, so that the share is that of what is shown. */
struct counted {
	bool there[NR_NUMBERS];
	unsigned long long value[NR_NUMBERS];
};

static void count(struct counted *c)
{
	char text[64];
	int i;

	for (i = 0; i < NR_NUMBERS; i++) {
		c->there[i] = sysfs(numbers[i], text, sizeof(text));
		c->value[i] = c->there[i] ? strtoull(text, NULL, 10) : 0;
	}
}

/* Of all frames noted, those whose block was written from elsewhere, in per cent. */
static bool stale_percent(const struct counted *c, double *percent)
{
	if (!c->there[NR_NOTED] || !c->there[NR_STALE] || !c->value[NR_NOTED])
		return false;
	*percent = 100.0 * c->value[NR_STALE] / c->value[NR_NOTED];
	return true;
}

static void json_print(const struct seen *s, bool runs, bool loaded, int prog,
		       const struct bpf_prog_info *info, const struct migdb_hints_counts *counts)
{
	struct counted c;
	double percent;
	char text[256];
	int i;

	printf("{\n  \"state\": ");
	json_string(runs ? s->state : "none");
	printf(",\n  \"why\": ");
	json_string(runs ? s->why : "no migdb-hintd runs");
	if (runs)
		printf(",\n  \"pid\": %d", s->pid);
	printf(",\n");
	json_wants(s);
	printf("  \"module\": { \"loaded\": %s", loaded ? "true" : "false");
	if (sysfs("enabled", text, sizeof(text)))
		printf(", \"enabled\": %s", *text == '1' ? "true" : "false");
	for (i = 0; i < 2; i++) {
		static const char * const words[] = { "state", "policy" };

		if (sysfs(words[i], text, sizeof(text))) {
			printf(", \"%s\": ", words[i]);
			json_string(text);
		}
	}
	count(&c);
	for (i = 0; i < NR_NUMBERS; i++)
		if (c.there[i])
			printf(", \"%s\": %llu", numbers[i], c.value[i]);
	if (stale_percent(&c, &percent))
		printf(", \"stale_percent\": %.2f", percent);
	printf(" },\n  \"program\": ");
	if (prog < 0)
		printf("null");
	else
		printf("{ \"id\": %u, \"misses\": %llu, \"requests\": %llu, \"frames\": %llu, \"others\": %llu, \"errors\": %llu, \"filtered\": %llu }",
		       info->id, (unsigned long long)info->recursion_misses, counts->requests,
		       counts->frames, counts->others, counts->errors, counts->filtered);
	printf("\n}\n");
}

static void text_print(const struct seen *s, bool runs, bool loaded, int prog,
		       const struct bpf_prog_info *info, const struct migdb_hints_counts *counts)
{
	struct counted c;
	double percent;
	char text[256];
	int i;

	if (runs)
		printf("daemon %s%s%s (pid %d)\n", s->state, *s->why ? ": " : "", s->why, s->pid);
	else
		printf("daemon none\n");
	for (i = 0; i < s->nr; i++) {
		const struct want *w = &s->wants[i];

		printf("%s %s %s%s%s\n", w->kind, w->name, w->hinted ? "hinted" : "not hinted: ",
		       w->hinted ? " " : "", w->hinted ? w->cgroup : w->why);
	}
	printf("module %s\n", loaded ? "loaded" : "not loaded");
	if (sysfs("enabled", text, sizeof(text)))
		printf("enabled %s\n", text);
	if (sysfs("state", text, sizeof(text)))
		printf("state %s\n", text);
	if (sysfs("policy", text, sizeof(text)))
		printf("policy %s\n", text);
	count(&c);
	for (i = 0; i < NR_NUMBERS; i++)
		if (c.there[i])
			printf("%s %llu\n", numbers[i], c.value[i]);
	if (stale_percent(&c, &percent))
		printf("stale_percent %.2f\n", percent);
	if (prog < 0) {
		printf("program none\n");
		return;
	}
	printf("program %u\nmisses %llu\nrequests %llu\nframes %llu\nothers %llu\nerrors %llu\nfiltered %llu\n",
	       info->id, (unsigned long long)info->recursion_misses, counts->requests,
	       counts->frames, counts->others, counts->errors, counts->filtered);
}

int status_print(const char *dir, bool json)
{
	struct migdb_hints_counts counts = {};
	struct bpf_prog_info info = {};
	static struct seen s;
	bool runs, loaded = module_there();
	int prog, i;

	runs = daemon_runs(dir) && read_state(dir, &s);
	prog = loaded ? program_find(&info) : -1;
	if (prog >= 0)
		program_counts(prog, &counts);
	if (json)
		json_print(&s, runs, loaded, prog, &info, &counts);
	else
		text_print(&s, runs, loaded, prog, &info, &counts);
	if (prog >= 0)
		close(prog);
	if (!runs)
		return EXIT_NO_DAEMON;
	if (strcmp(s.state, "attached"))
		return EXIT_NOT_ATTACHED;
	for (i = 0; i < s.nr; i++)
		if (!s.wants[i].hinted && !is_volume(&s.wants[i]))
			return EXIT_NOT_HINTED;
	return EXIT_SUCCESS;
}

int status_release(const char *dir)
{
	static struct seen s;
	int tries;

	if (!daemon_runs(dir) || !read_state(dir, &s) || s.pid <= 0) {
		say(LOG_ERR_, "no migdb-hintd runs");
		return EXIT_NO_DAEMON;
	}
	if (kill(s.pid, SIGUSR1)) {
		say(LOG_ERR_, "cannot signal process %d: %s", s.pid, strerror(errno));
		return EXIT_FAILURE;
	}
	for (tries = 0; tries < 100; tries++) {
		usleep(100000);
		if (!read_state(dir, &s) || strcmp(s.state, "released"))
			continue;
		puts("released");
		if (!module_users())
			return EXIT_SUCCESS;
		say(LOG_WARNING_, "%s", s.why);
		return EXIT_FAILURE;
	}
	say(LOG_ERR_, "the daemon has not let go within 10 s; it is %s", s.state);
	return EXIT_FAILURE;
}
