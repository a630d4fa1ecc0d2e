// SPDX-License-Identifier: GPL-2.0
/* Attaching the BPF program, and its lists of disks and cgroups. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "hintd.h"
#include "migdb_hints.skel.h"
#include "program.h"

const char * const hintd_state_names[] = {
	[HINTD_WAITING]		= "waiting",
	[HINTD_ATTACHED]	= "attached",
	[HINTD_BLOCKED]		= "blocked",
	[HINTD_RELEASED]	= "released",
	[HINTD_FAILED]		= "failed",
};

uint64_t module_there(void)
{
	struct stat st;

	return stat(MEM_HINTS_SYSFS "root_gpa", &st) ? 0 : st.st_ino;
}

void wants_init(struct hintd *d)
{
	int i;

	memset(d->disks, 0, sizeof(d->disks));
	memset(d->groups, 0, sizeof(d->groups));
	d->nr_disks = d->config.nr_disks;
	d->nr_groups = 0;
	for (i = 0; i < d->config.nr_disks; i++)
		d->disks[i].name = d->config.disks[i];
	for (i = 0; i < d->config.nr_units; i++) {
		d->groups[d->nr_groups].unit = true;
		d->groups[d->nr_groups++].name = d->config.units[i];
	}
	for (i = 0; i < d->config.nr_cgroups; i++)
		d->groups[d->nr_groups++].name = d->config.cgroups[i];
}

static void disk_look(struct hintd_want *want)
{
	char path[HINTD_PATH_LEN + 8];
	struct stat st;

	want->key = disk_number(want->name);
	want->why[0] = 0;
	if (want->key)
		return;
	snprintf(path, sizeof(path), "%s%s", *want->name == '/' ? "" : "/dev/", want->name);
	if (stat(path, &st))
		snprintf(want->why, sizeof(want->why), "it is not there");
	else if (!S_ISBLK(st.st_mode))
		snprintf(want->why, sizeof(want->why), "it is no block device");
	else
		snprintf(want->why, sizeof(want->why), "it is a partition: name the whole disk");
}

/* One that has this key, beside @want: a disk has many names. */
static const struct hintd_want *same_as(const struct hintd_want *wants, int nr,
					const struct hintd_want *want, uint64_t key)
{
	int i;

	for (i = 0; i < nr; i++)
		if (&wants[i] != want && wants[i].key == key)
			return &wants[i];
	return NULL;
}

static int map_set(int fd, size_t key_size, uint64_t key, bool there)
{
	uint32_t key32 = key;
	const void *k = key_size == 4 ? (void *)&key32 : (void *)&key;
	__u8 one = 1;

	return there ? bpf_map_update_elem(fd, k, &one, BPF_ANY) : bpf_map_delete_elem(fd, k);
}

/*
 * Puts what has changed into the program's map, and says so once.  A key stays in
 * the map as long as one of @wants has it.
 */
static void want_update(struct hintd_want *wants, int nr, struct hintd_want *want,
			void (*look)(struct hintd_want *), int map_fd, size_t key_size,
			const char *kind)
{
	const struct hintd_want *same;
	uint64_t before = want->key;
	char why[HINTD_WHY_LEN];

	memcpy(why, want->why, sizeof(why));
	look(want);
	if (want->key != before && map_fd >= 0) {
		if (before && !same_as(wants, nr, want, before))
			map_set(map_fd, key_size, before, false);
		if (want->key && map_set(map_fd, key_size, want->key, true)) {
			snprintf(want->why, sizeof(want->why), "cannot be listed: %s", strerror(errno));
			want->key = 0;
		}
	}
	if (want->key && want->key != before) {
		same = same_as(wants, nr, want, want->key);
		if (same)
			say(LOG_NOTICE_, "%s %s is the same as %s", kind, want->name, same->name);
		else
			say(LOG_INFO_, "%s %s is hinted", kind, want->name);
	} else if (!want->key && strcmp(why, want->why)) {
		say(LOG_WARNING_, "%s %s is not hinted: %s", kind, want->name, want->why);
	}
}

void wants_refresh(struct hintd *d)
{
	int i, disks = -1, groups = -1;

	if (d->skel) {
		disks = bpf_map__fd(d->skel->maps.wanted_disks);
		groups = bpf_map__fd(d->skel->maps.wanted_cgroups);
	}
	for (i = 0; i < d->nr_disks; i++)
		want_update(d->disks, d->nr_disks, &d->disks[i], disk_look, disks, 4, "disk");
	for (i = 0; i < d->nr_groups; i++)
		want_update(d->groups, d->nr_groups, &d->groups[i], group_look, groups, 8,
			    d->groups[i].unit ? "unit" : "cgroup");
}

static void set_state(struct hintd *d, enum hintd_state state, const char *why)
{
	bool new = d->state != state || strcmp(d->why, why);

	d->state = state;
	snprintf(d->why, sizeof(d->why), "%s", why);
	if (new && state != HINTD_ATTACHED)
		say(state == HINTD_FAILED ? LOG_ERR_ : LOG_NOTICE_, "%s: %s",
		    hintd_state_names[state], why);
}

static void failed(struct hintd *d, const char *what, int err)
{
	char why[HINTD_WHY_LEN];

	snprintf(why, sizeof(why), "%s: %s", what, strerror(err));
	migdb_hints_bpf__destroy(d->skel);
	d->skel = NULL;
	set_state(d, HINTD_FAILED, why);
}

/* Sets @d->state. */
void hintd_attach(struct hintd *d)
{
	struct bpf_prog_info info;
	int err, fd, i;

	if (!module_there()) {
		set_state(d, HINTD_WAITING, "mem_hints is not loaded");
		return;
	}
	fd = program_find(&info);
	if (fd >= 0) {
		close(fd);
		set_state(d, HINTD_BLOCKED, "another process has attached the program already; one is enough");
		return;
	}
	d->skel = migdb_hints_bpf__open();
	if (!d->skel) {
		failed(d, "cannot open the BPF program", errno);
		return;
	}
	d->skel->rodata->all_disks = !d->nr_disks;
	d->skel->rodata->all_cgroups = !d->nr_groups;
	err = migdb_hints_bpf__load(d->skel);
	if (err) {
		failed(d, "cannot load the BPF program (--verbose says more)", -err);
		return;
	}
	/* The maps are new and empty; complete before the first request comes. */
	for (i = 0; i < d->nr_disks; i++)
		d->disks[i].key = 0;
	for (i = 0; i < d->nr_groups; i++)
		d->groups[i].key = 0;
	wants_refresh(d);
	err = migdb_hints_bpf__attach(d->skel);
	if (err) {
		failed(d, "cannot attach to block_rq_complete", -err);
		return;
	}
	set_state(d, HINTD_ATTACHED, "");
	say(LOG_INFO_, "attached");
}

/*
 * Users of the module; 0: it can be unloaded.  A program that is gone keeps it
 * until RCU frees it.
 */
unsigned long module_users(void)
{
	unsigned long users = 0;
	FILE *f = fopen("/sys/module/mem_hints/refcnt", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu", &users) != 1)
		users = 0;
	fclose(f);
	return users;
}

/* Returns when the program is not to be found any more. */
void hintd_detach(struct hintd *d)
{
	struct bpf_prog_info info;

	if (!d->skel)
		return;
	migdb_hints_bpf__destroy(d->skel);
	d->skel = NULL;
	program_gone(&info);
}
