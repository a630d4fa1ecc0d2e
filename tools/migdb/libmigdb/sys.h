/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * The library's way out of the process; all else is in files that know of no
 * kernel, so that tests put one of their own in the place of sys.c.
 */
#ifndef LIBMIGDB_SYS_H
#define LIBMIGDB_SYS_H

#include <stddef.h>

/* Fills @buf with what syscall_nr says; bytes, or a negative errno. */
int migdb_sys_read_nr(char *buf, size_t size);

/* An fd of /dev/mem_hints, or a negative errno. */
int migdb_sys_open_device(void);
void migdb_sys_close(int fd);

/* What the call returns, or a negative errno. */
long migdb_sys_call(long nr, unsigned int op, void *attr, size_t size,
		    unsigned int flags);
long migdb_sys_ioctl(int fd, unsigned long cmd, void *attr);
long migdb_sys_read(int fd, void *buf, size_t size);

#endif
