// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel that has neither part, though it was built from a tree that has them: nothing
 * of them is there, and what asks for it is told so.  Run by absent.sh.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "guest.h"

/* That of patches/linux; programs take it from sysfs, which is not there. */
#define NR_MEM_HINT 548

static bool test_kernel(void)
{
	struct utsname u;

	CHECK(!uname(&u));
	CHECK(strstr(u.release, "-migdb-n"));
	return true;
}

static bool test_sysfs(void)
{
	CHECK(!access("/sys/kernel/mm", F_OK));
	CHECK(access("/sys/kernel/mm/hints", F_OK) && errno == ENOENT);
	CHECK(access("/sys/module/mem_hints", F_OK) && errno == ENOENT);
	CHECK(access("/sys/module/migdb", F_OK) && errno == ENOENT);
	return true;
}

static bool test_devices(void)
{
	CHECK(!access("/dev/null", F_OK));
	CHECK(access("/dev/mem_hints", F_OK) && errno == ENOENT);
	CHECK(access("/dev/vhost-migdb", F_OK) && errno == ENOENT);
	return true;
}

static bool test_syscall(void)
{
	char buf[64] = {};

	CHECK(syscall(NR_MEM_HINT, MEM_HINT_OP_QUERY, buf, sizeof(buf), 0) == -1);
	CHECK(errno == ENOSYS);
	CHECK(syscall(NR_MEM_HINT, 0, NULL, 0, MEM_HINT_GET_ABI) == -1);
	CHECK(errno == ENOSYS);
	return true;
}

/* No function of either part, but for the one that says ENOSYS. */
static bool test_symbols(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], name[256];
	unsigned int all = 0, ours = 0;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %*s %255s", name) != 1)
			continue;
		all++;
		if (!strncmp(name, "mhint_", 6) || !strncmp(name, "migdb_", 6)) {
			if (!ours++)
				ksft_print_msg("the first one: %s", line);
		}
	}
	fclose(f);
	CHECK(all > 10000);
	CHECK(!ours);
	return true;
}

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool test_tools(void)
{
	CHECK(run("migdb-hints --status >/tmp/said 2>&1") == 1);
	CHECK(run("grep -q 'mem_hints.ko is not loaded' /tmp/said") == 0);
	CHECK(run("migdb-hintd --status >/tmp/said 2>&1") == 3);
	CHECK(run("grep -qx 'module not loaded' /tmp/said") == 0);
	return true;
}

static const struct test tests[] = {
	{ "the kernel is the one without", test_kernel },
	{ "nothing in sysfs", test_sysfs },
	{ "no device", test_devices },
	{ "mem_hint(2) is ENOSYS", test_syscall },
	{ "no function of either part", test_symbols },
	{ "the tools say so", test_tools },
};

int main(void)
{
	return run_tests(tests, ARRAY_SIZE(tests));
}
