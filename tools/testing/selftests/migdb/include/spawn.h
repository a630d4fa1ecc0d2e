/* SPDX-License-Identifier: GPL-2.0 */
/* Running refvmm, which stands beside the tests, from a test. */
#ifndef SPAWN_H
#define SPAWN_H

#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "test_util.h"
#include "vm.h"

struct refvmm {
	pid_t pid;
	char json[64], log[64], disk[DISK_PATH_BYTES];
	char last[4096];	/* last line of its output */
};

#define REQUIRE_GUEST()							\
	do {								\
		REQUIRE_DEVICE();					\
		if (!vm_supported(4096))				\
			SKIP(return, "no /dev/kvm with dirty rings");	\
	} while (0)

/* @options: blanks between them.  A process group of its own, for killing. */
static inline int refvmm_start(struct refvmm *v, const char *name, const char *options)
{
	char exe[DISK_PATH_BYTES], text[1024], *argv[64], *at;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 16);
	int argc = 0, fd;

	if (n < 0)
		return -errno;
	exe[n] = 0;
	strcpy(strrchr(exe, '/') + 1, "refvmm");
	snprintf(v->json, sizeof(v->json), "/tmp/migdb-%d-%s.json", getpid(), name);
	snprintf(v->log, sizeof(v->log), "/tmp/migdb-%d-%s.log", getpid(), name);
	if (!v->disk[0])
		snprintf(v->disk, sizeof(v->disk), "%s/migdb-%d-%s.disk", disk_dir(), getpid(),
			 name);
	snprintf(text, sizeof(text), "refvmm --disk %s %s", v->disk, options);
	for (at = strtok(text, " "); at && argc < 63; at = strtok(NULL, " "))
		argv[argc++] = at;
	argv[argc] = NULL;
	v->pid = fork();
	if (v->pid)
		return v->pid < 0 ? -errno : 0;
	setpgid(0, 0);
	/* A test that is ended by its timeout leaves no session to the next one. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(v->json, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, 1);
	fd = open(v->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, 2);
	execv(exe, argv);
	_exit(127);
}

/* Exit status, or 1000 + signal.  @last gets the JSON line. */
static inline int refvmm_wait(struct refvmm *v)
{
	char line[4096];
	int status;
	FILE *f;

	waitpid(v->pid, &status, 0);
	v->last[0] = 0;
	f = fopen(v->json, "r");
	while (f && fgets(line, sizeof(line), f))
		strcpy(v->last, line);
	if (f)
		fclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline bool refvmm_ended(const struct refvmm *v)
{
	siginfo_t info = {};

	return waitid(P_PID, v->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

static inline void refvmm_clean(struct refvmm *v)
{
	unlink(v->json);
	unlink(v->log);
	unlink(v->disk);
}

static inline int refvmm_run(struct refvmm *v, const char *name, const char *options)
{
	int rc = refvmm_start(v, name, options);

	if (rc)
		return rc;
	rc = refvmm_wait(v);
	return rc;
}

/* What it printed to stderr, for a failure. */
static inline const char *refvmm_said(const struct refvmm *v)
{
	static char text[2048];
	FILE *f = fopen(v->log, "r");
	size_t n = 0;

	if (f) {
		fseek(f, 0, SEEK_END);
		fseek(f, ftell(f) > 2000 ? -2000 : 0, ftell(f) > 2000 ? SEEK_END : SEEK_SET);
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = 0;
	return text;
}

/* "@name":number of the JSON line; the @nth of that name, from 0. */
static inline s64 refvmm_number(const struct refvmm *v, const char *name, int nth)
{
	char key[64];
	const char *at = v->last;

	snprintf(key, sizeof(key), "\"%s\":", name);
	do {
		at = strstr(at, key);
		if (!at)
			return -1;
		at += strlen(key);
	} while (nth--);
	return strtoll(at, NULL, 10);
}

static inline bool refvmm_has(const struct refvmm *v, const char *text)
{
	return strstr(v->last, text);
}

/* Sessions end a little after their processes. */
static inline s64 sessions_left(u32 ms)
{
	u64 end = clock_ms() + ms;
	s64 n;

	while ((n = mdb_sysfs_read("nr_sessions")) && clock_ms() < end)
		usleep(20000);
	return n;
}

#endif /* SPAWN_H */
