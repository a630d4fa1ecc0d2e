// SPDX-License-Identifier: GPL-2.0
/*
 * From units to the cgroups that their I/O is charged to.
 *
 * I/O is charged to the nearest cgroup that has the io controller.  A unit has
 * it if IOAccounting= or another I/O setting is on; without it the I/O counts
 * as its parent's, and the unit could not be told from its neighbours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hintd.h"

/* Exit status of a command, or -1; its output, cut to @size. */
static int run(const char * const argv[], char *out, size_t size)
{
	size_t len = 0;
	int pipes[2], status, null;
	ssize_t n;
	pid_t pid;
	char rest[256];

	if (pipe2(pipes, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	close(pipes[1]);
	while (pid > 0) {
		char *to = len < size - 1 ? out + len : rest;

		n = read(pipes[0], to, to == rest ? sizeof(rest) : size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (to != rest)
			len += n;
	}
	close(pipes[0]);
	out[len] = 0;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void first_line(char *text)
{
	text[strcspn(text, "\n")] = 0;
}

/* Where the unit is, "" while it does not run. */
static bool unit_cgroup(struct hintd_want *want)
{
	const char * const argv[] = { "systemctl", "show", "--property=ControlGroup", "--", want->name, NULL };
	static const char key[] = "ControlGroup=";
	char out[HINTD_PATH_LEN + sizeof(key) - 1];	/* so that it fits */
	int status = run(argv, out, sizeof(out));

	first_line(out);
	want->cgroup[0] = 0;
	if (status == 127) {
		snprintf(want->why, sizeof(want->why), "there is no systemctl");
		return false;
	}
	if (status || strncmp(out, key, strlen(key))) {
		snprintf(want->why, sizeof(want->why), "systemctl show failed: %.100s", out);
		return false;
	}
	if (!out[strlen(key)]) {
		snprintf(want->why, sizeof(want->why), "it does not run");
		return false;
	}
	memcpy(want->cgroup, out + strlen(key), strlen(out + strlen(key)) + 1);
	return true;
}

static bool has_io(const char *cgroup)
{
	char path[HINTD_PATH_LEN + 64], text[512], *word, *save;
	FILE *f;
	bool found = false;

	snprintf(path, sizeof(path), HINTD_CGROUPS "%s/cgroup.controllers", cgroup);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(text, sizeof(text), f))
		for (word = strtok_r(text, " \n", &save); word && !found;
		     word = strtok_r(NULL, " \n", &save))
			found = !strcmp(word, "io");
	fclose(f);
	return found;
}

/* The id is the inode's number; 0 if there is no such cgroup. */
static uint64_t cgroup_id(const char *cgroup)
{
	char path[HINTD_PATH_LEN + 64];
	struct stat st;

	snprintf(path, sizeof(path), HINTD_CGROUPS "%s", cgroup);
	return !stat(path, &st) && S_ISDIR(st.st_mode) ? st.st_ino : 0;
}

static bool unified(void)
{
	struct statfs fs;

	return !statfs(HINTD_CGROUPS, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool account_io(struct hintd_want *want)
{
	const char * const argv[] = {
		"systemctl", "set-property", "--runtime", "--", want->name,
		"IOAccounting=yes", NULL
	};
	char out[256];

	if (run(argv, out, sizeof(out))) {
		first_line(out);
		snprintf(want->why, sizeof(want->why), "IOAccounting=yes was refused: %.100s", out);
		return false;
	}
	if (has_io(want->cgroup))
		return true;
	snprintf(want->why, sizeof(want->why),
		 "IOAccounting=yes is set, but %.60s has no io controller", want->cgroup);
	return false;
}

/*
 * Cheap while nothing changes: the same cgroup, and it still has the
 * controller.  A unit that was restarted has another one.
 */
void group_look(struct hintd_want *want)
{
	uint64_t id;

	if (want->key && cgroup_id(want->cgroup) == want->key && has_io(want->cgroup))
		return;
	want->key = 0;
	want->why[0] = 0;
	if (!unified()) {
		snprintf(want->why, sizeof(want->why), "no cgroup2 at " HINTD_CGROUPS);
		return;
	}
	if (want->unit && !unit_cgroup(want))
		return;
	if (!want->unit)
		snprintf(want->cgroup, sizeof(want->cgroup), "%s", want->name);
	id = cgroup_id(want->cgroup);
	if (!id) {
		snprintf(want->why, sizeof(want->why), "there is no cgroup %.100s", want->cgroup);
		return;
	}
	if (!has_io(want->cgroup)) {
		if (!want->unit) {
			snprintf(want->why, sizeof(want->why),
				 "it has no io controller: \"+io\" to cgroup.subtree_control above it");
			return;
		}
		if (!account_io(want))
			return;
	}
	want->key = id;
}
