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
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "migdb_hints.h"
#include "migdb_hints.skel.h"

#define SYSFS "/sys/kernel/mm/hints/"

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

/* An fd of our program, whoever loaded it; -1: there is none. */
static int find_program(struct bpf_prog_info *info)
{
	__u32 id = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		__u32 len = sizeof(*info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		memset(info, 0, sizeof(*info));
		if (!bpf_obj_get_info_by_fd(fd, info, &len) &&
		    info->type == BPF_PROG_TYPE_TRACING &&
		    !strcmp(info->name, MIGDB_HINTS_PROG))
			return fd;
		close(fd);
	}
	return -1;
}

/* The counts map is found among the maps that the program uses. */
static int sum_counts(int prog_fd, struct migdb_hints_counts *sum)
{
	struct migdb_hints_counts *per_cpu;
	struct bpf_prog_info info = {};
	int n = libbpf_num_possible_cpus();
	__u32 len = sizeof(info), ids[8], zero = 0, i;
	int err = -ENOENT;

	memset(sum, 0, sizeof(*sum));
	info.nr_map_ids = ARRAY_SIZE(ids);
	info.map_ids = (__u64)(unsigned long)ids;
	if (n < 1 || bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return -errno;
	per_cpu = calloc(n, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (i = 0; i < info.nr_map_ids && err; i++) {
		struct bpf_map_info map = {};
		__u32 map_len = sizeof(map);
		int c, fd = bpf_map_get_fd_by_id(ids[i]);

		if (fd < 0)
			continue;
		if (!bpf_obj_get_info_by_fd(fd, &map, &map_len) &&
		    map.type == BPF_MAP_TYPE_PERCPU_ARRAY &&
		    map.value_size == sizeof(*sum))
			err = bpf_map_lookup_elem(fd, &zero, per_cpu);
		for (c = 0; !err && c < n; c++) {
			sum->requests += per_cpu[c].requests;
			sum->frames += per_cpu[c].frames;
			sum->others += per_cpu[c].others;
			sum->errors += per_cpu[c].errors;
		}
		close(fd);
	}
	free(per_cpu);
	return err;
}

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
	if (!sum_counts(fd, &sum))
		printf("requests %llu\nframes %llu\nothers %llu\nerrors %llu\n",
		       sum.requests, sum.frames, sum.others, sum.errors);
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
	fd = find_program(&info);
	if (fd < 0) {
		printf("program none\n");
		return 3;
	}
	print_program(fd, &info);
	close(fd);
	return EXIT_SUCCESS;
}

/* ---- attach --------------------------------------------------------------- */

/* Device number of a whole disk, as the kernel has it; 0 if it is none. */
static __u32 disk_number(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", *name == '/' ? "" : "/dev/", name);
	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return 0;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue",
		 major(st.st_rdev), minor(st.st_rdev));
	if (access(path, F_OK))
		return 0;
	return major(st.st_rdev) << 20 | minor(st.st_rdev);
}

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

/* A program that was detached just now is still there for a moment. */
static bool wait_for_none(struct bpf_prog_info *info)
{
	int tries, fd;

	for (tries = 0; tries < 40; tries++) {
		fd = find_program(info);
		if (fd < 0)
			return false;
		close(fd);
		usleep(50000);
	}
	return true;
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
	if (wait_for_none(&info))
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

	fd = find_program(&info);
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
