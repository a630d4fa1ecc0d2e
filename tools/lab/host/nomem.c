// SPDX-License-Identifier: GPL-2.0
/*
 * To be loaded before a VMM (LD_PRELOAD): migdb has no memory for one kind of
 * call.  MIGDB_NOMEM is "WHAT N": from the Nth call on WHAT fails, where WHAT is
 * one of the ioctls below, or of a session's streams "records" (read at the source),
 * "last" (the same after SEAL), "feed" (written there at the destination), "answers"
 * or "return" (the way back).  "no-take": an older kernel, which does not have
 * MIGDB_TAKE.  MIGDB_SLOW is in seconds: so long takes SET_DISK, as with storage that
 * stands still.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/migdb.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int tx_fd = -1, rx_fd = -1;
static bool source, sealed;

static bool fails(const char *what)
{
	const char *wanted = getenv("MIGDB_NOMEM");
	static int calls;
	char name[16];
	int from;

	if (!wanted || sscanf(wanted, "%15s %d", name, &from) != 2 || strcmp(name, what) ||
	    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) < from)
		return false;
	errno = ENOMEM;
	return true;
}

static const char *name_of(unsigned long request)
{
	switch (request) {
	case MIGDB_START:
		return "START";
	case MIGDB_SNAPSHOT:
		return "SNAPSHOT";
	case MIGDB_HASH:
		return "HASH";
	case MIGDB_DIRTY:
		return "DIRTY";
	case MIGDB_DEQUEUE:
		return "DEQUEUE";
	case MIGDB_TAKE:
		return "TAKE";
	case MIGDB_SEAL:
		return "SEAL";
	}
	return "";
}

int ioctl(int fd, unsigned long request, ...)
{
	struct migdb_get_info *info;
	struct migdb_start *start;
	va_list args;
	void *arg;
	int ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fails(name_of(request)))
		return -1;
	if (request == MIGDB_SET_DISK && getenv("MIGDB_SLOW"))
		sleep(atoi(getenv("MIGDB_SLOW")));
	ret = REAL(ioctl)(fd, request, arg);
	sealed |= request == MIGDB_SEAL && !ret;
	if (request == MIGDB_GET_INFO && !ret && fails("no-take")) {
		info = arg;
		info->out_features &= ~MIGDB_FEATURE_TAKE;
	}
	if (request == MIGDB_START && !ret) {
		start = arg;
		tx_fd = start->out_tx_fd;
		rx_fd = start->out_rx_fd;
		source = start->role == MIGDB_ROLE_SOURCE;
	}
	return ret;
}

ssize_t read(int fd, void *buf, size_t count)
{
	const char *what = !source ? "answers" : sealed ? "last" : "records";

	return fd == tx_fd && fails(what) ? -1 : REAL(read)(fd, buf, count);
}

ssize_t write(int fd, const void *buf, size_t count)
{
	return fd == rx_fd && fails(source ? "return" : "feed") ? -1 : REAL(write)(fd, buf, count);
}
