// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * What an errno of a call means.  Constant text only: strerror() would be of
 * one thread at a time, and say less.
 */
#include <errno.h>
#include <stddef.h>

#include <migdb/hints.h>

/* Errnos that a call has a meaning of its own for. */
static const char *of_open(int error)
{
	switch (error) {
	case ENOSYS: return "this kernel has no memory hints, or mem_hints is not loaded";
	case EINVAL: return "an unknown flag, or both ways are excluded";
	case EPROTO: return "what is at the place of memory hints is something else";
	case EACCES:
	case EPERM: return "the process may not use mem_hint(2) or /dev/mem_hints (mode, seccomp, device cgroup)";
	default: return NULL;
	}
}

static const char *of_file(int error)
{
	switch (error) {
	case EBADF: return "no such file descriptor, or not open for reading";
	case EOPNOTSUPP: return "not a regular file of ext4 or XFS on a hinted disk, or one that is encrypted";
	case EAGAIN: return "the disk has not said yet who it is";
	case EMFILE: return "the process has named as many files as it may have open";
	case ENOSPC: return "the process, or the system, has as many files as may be";
	default: return NULL;
	}
}

static const char *of_bind(int error)
{
	switch (error) {
	case EOPNOTSUPP: return "not private anonymous or shared memory, or a file whose blocks cannot be used";
	case EACCES: return "shared memory that the process may only read";
	case EINVAL: return "address, length or offset is not a multiple of 4096, or out of range";
	case ENOMEM: return "some of the range is not mapped, or memory is short";
	case ENOSPC: return "the process, or the system, has as many ranges or files as may be";
	default: return of_file(error);
	}
}

static const char *of_pool(int error)
{
	switch (error) {
	case EEXIST: return "the frames overlap those of another pool";
	case EINVAL: return "frame size is not a power of two from 4 KiB to 2 MiB, or a range is unaligned, empty or out of range";
	case ENOSPC: return "the process, or the system, has as many pools as may be";
	default: return NULL;
	}
}

static const char *of_class(int error)
{
	switch (error) {
	case EOPNOTSUPP: return "no such class, or not a class for this kind of memory (discardable: private anonymous, not mergeable, without a userfaultfd)";
	case ENOMEM: return "some of the range is not mapped, or memory is short";
	case ENOSPC: return "the process, or the system, has as many ranges as may be";
	default: return NULL;
	}
}

static const char *of_segments(int error)
{
	switch (error) {
	case ENODEV: return "there is no such virtual disk, or no such disk below";
	case EINVAL: return "the segments do not fit each other or the disks";
	case EOPNOTSUPP: return "the disk needs no segments, or what is below is not a hinted disk";
	case E2BIG: return "too many segments";
	case ENOENT: return "nothing was said of the disk";
	case EAGAIN: return "a disk below has not said yet who it is";
	case ENOSPC: return "the system has as many virtual disks or segments as may be";
	case EPERM: return "CAP_SYS_ADMIN is needed";
	default: return NULL;
	}
}

static const char *of_wait(int error)
{
	switch (error) {
	case ETIMEDOUT: return "no event came in time";
	case EINVAL: return "the event's number is of the future";
	default: return NULL;
	}
}

static const char *of_events(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE: return "no file descriptor is left";
	case EBUSY: return "too many have asked that a migration waits for them";
	case EDQUOT: return "too many processes of the user have asked that a migration waits for them";
	default: return NULL;
	}
}

static const char *of_ready(int error)
{
	switch (error) {
	case EBADF: return "not a file descriptor that events are read from";
	case EINVAL: return "no migration waits for this file descriptor";
	case ESTALE: return "there is no such start, or its snapshot has been taken";
	default: return NULL;
	}
}

static const char *of_call(enum migdb_hints_call call, int error)
{
	switch (call) {
	case MIGDB_HINTS_CALL_OPEN: return of_open(error);
	case MIGDB_HINTS_CALL_FILE: return of_file(error);
	case MIGDB_HINTS_CALL_UNFILE:
		return error == ENOENT ? "there is no such file number" : NULL;
	case MIGDB_HINTS_CALL_BIND: return of_bind(error);
	case MIGDB_HINTS_CALL_POOL: return of_pool(error);
	case MIGDB_HINTS_CALL_UNPOOL:
		return error == ENOENT ? "there is no such pool" : NULL;
	case MIGDB_HINTS_CALL_CLASS: return of_class(error);
	case MIGDB_HINTS_CALL_TRANSLATE:
		return error == EPERM ? "CAP_SYS_ADMIN is needed" : NULL;
	case MIGDB_HINTS_CALL_SEGMENTS: return of_segments(error);
	case MIGDB_HINTS_CALL_EVENTS: return of_events(error);
	case MIGDB_HINTS_CALL_WAIT: return of_wait(error);
	case MIGDB_HINTS_CALL_READY: return of_ready(error);
	default: return NULL;
	}
}

static const char *of_any(int error)
{
	switch (error) {
	case 0: return "success";
	case EINVAL: return "a range that is empty or not of whole 4 KiB pages, or an unknown flag";
	case EFAULT: return "a bad pointer";
	case E2BIG: return "this kernel does not know so much";
	case EOPNOTSUPP: return "this kernel has no such call";
	case ENOSYS: return "mem_hints is not loaded any more";
	case ENOMEM: return "memory is short, or the memory cgroup is at its limit";
	case ENOSPC: return "a limit of the process or of the system is reached";
	case EDQUOT: return "the user has its share of what the system has";
	case EINTR: return "a signal came";
	case EAGAIN: return "nothing there yet";
	case EPROTO: return "not a file descriptor that events are read from";
	case EPERM:
	case EACCES: return "not permitted";
	case ESHUTDOWN: return "memory hints are switched off";
	default: return "unexpected error";
	}
}

const char *migdb_hints_strerror(enum migdb_hints_call call, int error)
{
	const char *text;

	/* Not -error: that has no meaning for the smallest of all. */
	if (error < 0)
		error = error < -4095 ? 4096 : -error;
	text = of_call(call, error);
	return text ? text : of_any(error);
}
