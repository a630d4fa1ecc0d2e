// SPDX-License-Identifier: GPL-2.0
/*
 * migdb-hintd: keeps the BPF program attached that feeds mem_hints.ko, for the
 * disks and units of its configuration, and says how it fares.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hintd.h"

static const char usage[] =
"Usage: migdb-hintd [options]            attach, and stay in the foreground\n"
"       migdb-hintd --status [--json]    how the one that runs fares\n"
"       migdb-hintd --release            let the one that runs let go of\n"
"                                        mem_hints.ko, to unload it\n"
"       migdb-hintd --check              read the configuration and end\n"
"\n"
"  -c, --config FILE   instead of " HINTD_CONF "\n"
"      --run-dir DIR   instead of " HINTD_RUN "\n"
"  -v, --verbose       say what libbpf says\n"
"  -h, --help          this text\n"
"\n"
"Exit status of --status: 0 attached and all that was asked for is hinted,\n"
"3 no daemon runs, 4 it is not attached, 5 a disk or unit is not hinted.\n";

#define RELEASE_SECONDS	60
#define RELEASE_TRIES	400	/* 4 seconds for RCU */
#define CONFIG_MAX	(1 << 20)

static bool verbose, journal;
static const char *config_path = HINTD_CONF;
static bool config_named;

void say(int level, const char *fmt, ...)
{
	va_list ap;

	if (journal)
		fprintf(stderr, "<%d>", level);
	else
		fputs("migdb-hintd: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return verbose ? vfprintf(stderr, fmt, ap) : 0;
}

/* Type=notify, in the few lines that it takes. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	size_t len;
	int fd;

	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	len = strlen(path);
	memcpy(to.sun_path, path, len);
	if (*path == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
	       offsetof(struct sockaddr_un, sun_path) + len);
	close(fd);
}

static bool read_config(struct hintd_config *config)
{
	static char text[CONFIG_MAX];
	char why[HINTD_WHY_LEN];
	ssize_t n = 0, len = 0;
	int fd, line;

	fd = open(config_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !config_named) {
		hintd_config_init(config);
		return true;
	}
	if (fd >= 0) {
		while ((n = read(fd, text + len, sizeof(text) - len)) > 0)
			len += n;
		close(fd);
	}
	if (fd < 0 || n < 0) {
		say(LOG_ERR_, "cannot read %s: %s", config_path, strerror(errno));
		return false;
	}
	if (len == sizeof(text)) {
		say(LOG_ERR_, "%s is too long", config_path);
		return false;
	}
	line = hintd_config_parse(config, text, len, why, sizeof(why));
	if (line)
		say(LOG_ERR_, "%s:%d: %s", config_path, line, why);
	return !line;
}

static void describe(const struct hintd_config *c)
{
	char disks[32] = "all disks", groups[64] = "all I/O";

	if (c->nr_disks)
		snprintf(disks, sizeof(disks), "%d disk%s", c->nr_disks, c->nr_disks > 1 ? "s" : "");
	if (c->nr_units || c->nr_cgroups)
		snprintf(groups, sizeof(groups), "I/O of %d unit%s and %d cgroup%s", c->nr_units,
			 c->nr_units == 1 ? "" : "s", c->nr_cgroups, c->nr_cgroups == 1 ? "" : "s");
	say(LOG_INFO_, "%s, %s", disks, groups);
}

/* ---- the daemon ------------------------------------------------------------- */

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static uint64_t released_module;
static time_t released_until;

/* Let go; then wait for the module to go, and to come back. */
static void release(struct hintd *d)
{
	unsigned long users;
	int tries;

	hintd_detach(d);
	for (tries = 0; (users = module_users()) && tries < RELEASE_TRIES; tries++)
		usleep(10000);
	released_module = module_there();
	released_until = now() + RELEASE_SECONDS;
	d->state = HINTD_RELEASED;
	if (users)
		snprintf(d->why, sizeof(d->why), "mem_hints has %lu other users (a policy, a migration)", users);
	else
		snprintf(d->why, sizeof(d->why), "mem_hints can be unloaded for %d seconds", RELEASE_SECONDS);
	say(LOG_NOTICE_, "released: %s", d->why);
}

/* All or nothing: with a bad configuration nothing changes. */
static void reload(struct hintd *d)
{
	static struct hintd_config fresh;

	if (!read_config(&fresh)) {
		say(LOG_ERR_, "the configuration stays as it was");
		return;
	}
	hintd_detach(d);
	d->config = fresh;
	wants_init(d);
	describe(&d->config);
	hintd_attach(d);
	if (!d->config.volumes)
		volumes_drop(d);
	volumes_refresh(d);
}

/* What is to be done once per interval. */
static void look(struct hintd *d)
{
	switch (d->state) {
	case HINTD_ATTACHED:
		wants_refresh(d);
		break;
	case HINTD_RELEASED:
		if (module_there() == released_module && now() < released_until)
			break;
		/* fall through */
	default:
		hintd_attach(d);
		break;
	}
	/* Asking mem_hints would hold it. */
	if (d->state != HINTD_RELEASED)
		volumes_refresh(d);
}

static int serve(struct hintd *d, const char *run_dir)
{
	char text[HINTD_WHY_LEN + 64];
	bool ready = false;
	sigset_t set;
	int sig, lock;

	lock = status_lock(run_dir);
	if (lock < 0) {
		if (lock == -EBUSY)
			say(LOG_ERR_, "another migdb-hintd runs");
		else
			say(LOG_ERR_, "cannot write to %s: %s", run_dir, strerror(-lock));
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);

	describe(&d->config);
	wants_init(d);
	d->state = HINTD_WAITING;
	hintd_attach(d);
	volumes_refresh(d);
	for (;;) {
		/* While released, what we wait for may be short. */
		struct timespec wait = {
			.tv_sec = d->state == HINTD_RELEASED ? 0 : d->config.interval,
			.tv_nsec = d->state == HINTD_RELEASED ? 100000000 : 0,
		};

		if (status_write(run_dir, d))
			say(LOG_WARNING_, "cannot write to %s: %s", run_dir, strerror(errno));
		snprintf(text, sizeof(text), "%sSTATUS=%s%s%s\n", ready ? "" : "READY=1\n",
			 hintd_state_names[d->state], *d->why ? ": " : "", d->why);
		notify(text);
		ready = true;

		sig = sigtimedwait(&set, NULL, &wait);
		if (sig == SIGINT || sig == SIGTERM)
			break;
		if (sig == SIGHUP) {
			notify("RELOADING=1\n");
			reload(d);
			notify("READY=1\n");
		} else if (sig == SIGUSR1) {
			release(d);
		} else {
			look(d);
		}
	}
	notify("STOPPING=1\n");
	hintd_detach(d);
	say(LOG_INFO_, "detached");
	status_remove(run_dir);
	close(lock);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	enum { OPT_RUN_DIR = 256, OPT_CHECK, OPT_RELEASE, OPT_JSON };
	static const struct option options[] = {
		{ "config",	required_argument, NULL, 'c' },
		{ "run-dir",	required_argument, NULL, OPT_RUN_DIR },
		{ "status",	no_argument, NULL, 's' },
		{ "json",	no_argument, NULL, OPT_JSON },
		{ "release",	no_argument, NULL, OPT_RELEASE },
		{ "check",	no_argument, NULL, OPT_CHECK },
		{ "verbose",	no_argument, NULL, 'v' },
		{ "help",	no_argument, NULL, 'h' },
		{ }
	};
	bool want_status = false, json = false, check = false, want_release = false;
	const char *run_dir = HINTD_RUN;
	static struct hintd d;
	int c;

	while ((c = getopt_long(argc, argv, "c:svh", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			config_path = optarg;
			config_named = true;
			break;
		case OPT_RUN_DIR:
			run_dir = optarg;
			break;
		case 's':
			want_status = true;
			break;
		case OPT_JSON:
			json = true;
			break;
		case OPT_RELEASE:
			want_release = true;
			break;
		case OPT_CHECK:
			check = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc || (json && !want_status) || want_status + check + want_release > 1) {
		fputs(usage, stderr);
		return 2;
	}
	journal = getenv("JOURNAL_STREAM");
	libbpf_set_print(print_libbpf);
	if (check) {
		if (!read_config(&d.config))
			return EXIT_FAILURE;
		describe(&d.config);
		return EXIT_SUCCESS;
	}
	if (geteuid()) {
		say(LOG_ERR_, "this needs root");
		return EXIT_FAILURE;
	}
	if (want_status)
		return status_print(run_dir, json);
	if (want_release)
		return status_release(run_dir);
	if (!read_config(&d.config))
		return EXIT_FAILURE;
	return serve(&d, run_dir);
}
