// SPDX-License-Identifier: GPL-2.0
/*
 * migdb-hints: attaches the BPF program that feeds mem_hints.ko and stays, or
 * says how it fares.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "migdb_hints.h"
#include "migdb_hints.skel.h"
#include "program.h"

#define SYSFS MEM_HINTS_SYSFS

static const char usage[] =
"Usage: migdb-hints [options]          attach, and stay until SIGTERM\n"
"       migdb-hints --status           say what is attached and what it counted\n"
"\n"
"Tells mem_hints.ko of every block I/O that completes, so that a host can\n"
"leave database pages out of a live migration.  Needs root and mem_hints.ko.\n"
"\n"
"  -d, --disk NAME    only this disk (vda, /dev/sdb); may be given more than\n"
"                     once; default: all disks\n"
"  -D, --daemon       go to the background once attached\n"
"  -p, --pidfile FILE write the process id there\n"
"  -t, --time         let the kernel measure the time that the program takes\n"
"  -s, --status       print status and counts; exit 3 if nothing is attached\n"
"  -v, --verbose      say what libbpf says\n"
"  -h, --help         this text\n";

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define __printf(a, b) __attribute__((format(printf, a, b)))

static bool verbose;

static __printf(1, 2) int fail(const char *fmt, ...)
{
	va_list ap;

	fputs("migdb-hints: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static int print_libbpf(enum libbpf_print_level level, const char *fmt,
			va_list ap)
{
	return verbose ? vfprintf(stderr, fmt, ap) : 0;
}

/* ---- status --------------------------------------------------------------- */

static void print_sysfs(const char *name)
{
	char path[PATH_MAX], line[256];
	FILE *f;

	snprintf(path, sizeof(path), SYSFS "%s", name);
	f = fopen(path, "r");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		printf("%s %s", name, line);
	fclose(f);
}

static void print_program(int fd, const struct bpf_prog_info *info)
{
	struct migdb_hints_counts sum;

	printf("program %u\n", info->id);
	printf("misses %llu\n", (unsigned long long)info->recursion_misses);
	if (!program_counts(fd, &sum))
		printf("requests %llu\nframes %llu\nothers %llu\nerrors %llu\nfiltered %llu\n",
		       sum.requests, sum.frames, sum.others, sum.errors, sum.filtered);
	if (info->run_cnt)
		printf("runs_timed %llu\nns_per_run %llu\n",
		       (unsigned long long)info->run_cnt,
		       (unsigned long long)(info->run_time_ns / info->run_cnt));
}

static int status(void)
{
	static const char * const files[] = {
		"enabled", "state", "nr_noted", "nr_dropped", "nr_misaligned",
		"nr_frames_valid", "table_bytes", "disks",
	};
	struct bpf_prog_info info;
	size_t i;
	int fd;

	if (access(SYSFS, F_OK))
		return fail("mem_hints.ko is not loaded (no " SYSFS ")");
	for (i = 0; i < ARRAY_SIZE(files); i++)
		print_sysfs(files[i]);
	fd = program_find(&info);
	if (fd < 0) {
		printf("program none\n");
		return 3;
	}
	print_program(fd, &info);
	close(fd);
	return EXIT_SUCCESS;
}

/* ---- attach --------------------------------------------------------------- */

static int want_disks(struct migdb_hints_bpf *skel, const __u32 *disks, int nr)
{
	__u8 one = 1;
	int i, err = 0;

	for (i = 0; i < nr && !err; i++)
		err = bpf_map_update_elem(bpf_map__fd(skel->maps.wanted_disks),
					  &disks[i], &one, BPF_ANY);
	return err;
}

static int write_pid(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	fprintf(f, "%d\n", getpid());
	return fclose(f) ? -errno : 0;
}

static int run(const __u32 *disks, int nr_disks, bool background, bool timed,
	       const char *pidfile)
{
	struct migdb_hints_bpf *skel;
	struct bpf_prog_info info;
	int err, fd, sig, stats_fd = -1;
	sigset_t set;

	if (access(SYSFS, F_OK))
		return fail("mem_hints.ko is not loaded (no " SYSFS ")");
	if (!program_gone(&info))
		return fail("already attached (program %u): one is enough", info.id);
	skel = migdb_hints_bpf__open();
	if (!skel)
		return fail("cannot open the BPF program: %s", strerror(errno));
	skel->rodata->all_disks = !nr_disks;
	err = migdb_hints_bpf__load(skel);
	if (err)
		return fail("cannot load the BPF program: %s (--verbose says more)",
			    strerror(-err));
	err = want_disks(skel, disks, nr_disks);
	if (err)
		return fail("cannot fill the list of disks: %s", strerror(-err));
	if (timed) {
		stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
		if (stats_fd < 0)
			return fail("the kernel cannot measure time: %s", strerror(errno));
	}

	/* Before attaching, so that no signal is lost; who read us may be gone. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);

	err = migdb_hints_bpf__attach(skel);
	if (err)
		return fail("cannot attach to block_rq_complete: %s", strerror(-err));
	if (background && daemon(0, 0))
		return fail("cannot go to the background: %s", strerror(errno));
	if (pidfile) {
		err = write_pid(pidfile);
		if (err)
			return fail("cannot write %s: %s", pidfile, strerror(-err));
	}
	if (!background) {
		puts("attached");
		fflush(stdout);
	}
	sigwait(&set, &sig);

	fd = program_find(&info);
	if (fd >= 0) {
		print_program(fd, &info);
		close(fd);
	}
	migdb_hints_bpf__destroy(skel);
	if (stats_fd >= 0)
		close(stats_fd);
	if (pidfile)
		unlink(pidfile);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "disk",	required_argument, NULL, 'd' },
		{ "daemon",	no_argument, NULL, 'D' },
		{ "pidfile",	required_argument, NULL, 'p' },
		{ "time",	no_argument, NULL, 't' },
		{ "status",	no_argument, NULL, 's' },
		{ "verbose",	no_argument, NULL, 'v' },
		{ "help",	no_argument, NULL, 'h' },
		{ }
	};
	bool background = false, timed = false, want_status = false;
	__u32 disks[MIGDB_HINTS_MAX_DISKS];
	const char *pidfile = NULL;
	int c, nr_disks = 0;

	while ((c = getopt_long(argc, argv, "d:Dp:tsvh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			if (nr_disks == MIGDB_HINTS_MAX_DISKS)
				return fail("too many disks");
			disks[nr_disks] = disk_number(optarg);
			if (!disks[nr_disks++])
				return fail("%s is no whole disk", optarg);
			break;
		case 'D':
			background = true;
			break;
		case 'p':
			pidfile = optarg;
			break;
		case 't':
			timed = true;
			break;
		case 's':
			want_status = true;
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
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (geteuid())
		return fail("this needs root");
	libbpf_set_print(print_libbpf);
	return want_status ? status() :
			     run(disks, nr_disks, background, timed, pidfile);
}
