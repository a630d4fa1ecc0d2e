// SPDX-License-Identifier: GPL-2.0
/* The BPF program as it runs in the kernel, whoever loaded it. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "program.h"

#define MAX_MAPS 8

int program_find(struct bpf_prog_info *info)
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

bool program_gone(struct bpf_prog_info *info)
{
	int tries, fd;

	for (tries = 0; tries < 40; tries++) {
		fd = program_find(info);
		if (fd < 0)
			return true;
		close(fd);
		usleep(50000);
	}
	return false;
}

/* The counts map is found among the maps that the program uses. */
int program_counts(int prog_fd, struct migdb_hints_counts *sum)
{
	struct migdb_hints_counts *per_cpu;
	struct bpf_prog_info info = {};
	int n = libbpf_num_possible_cpus();
	__u32 len = sizeof(info), ids[MAX_MAPS], zero = 0, i;
	int err = -ENOENT;

	memset(sum, 0, sizeof(*sum));
	info.nr_map_ids = MAX_MAPS;
	info.map_ids = (__u64)(unsigned long)ids;
	if (n < 1 || bpf_obj_get_info_by_fd(prog_fd, &info, &len))
		return -errno;
	per_cpu = calloc(n, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (i = 0; i < info.nr_map_ids && i < MAX_MAPS && err; i++) {
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
			sum->filtered += per_cpu[c].filtered;
		}
		close(fd);
	}
	free(per_cpu);
	return err;
}

__u32 disk_number(const char *name)
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
