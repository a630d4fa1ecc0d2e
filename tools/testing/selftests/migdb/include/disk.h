/* SPDX-License-Identifier: MIT */
/*
 * Disks for tests: files with direct I/O, loop devices on them, device-mapper
 * targets on those.  All of them return -errno; the device ones need root.
 */
#ifndef DISK_H
#define DISK_H

#include "mdb.h"

#define DISK_PATH_BYTES	256

/* Where files go: $MIGDB_TEST_DIR, or /var/tmp.  Must be able to do O_DIRECT. */
const char *disk_dir(void);

/* disk_create: a file of that size, open O_RDWR | O_DIRECT; unlink it yourself. */
int disk_create(char path[DISK_PATH_BYTES], const char *name, u64 bytes);
int disk_open(const char *path, int flags);	/* adds O_DIRECT | O_CLOEXEC */

/* Blocks of 4 KiB; @page need not be aligned. */
int disk_write(int fd, u64 block, const void *page);
int disk_read(int fd, u64 block, void *page);

int loop_attach(const char *file, char dev[DISK_PATH_BYTES]);
void loop_detach(const char *dev);

struct dm_part {
	u64 start, sectors;
	const char *type;	/* "linear", "error", "flakey", "delay" */
	const char *params;
};

/* dm_create: makes and resumes @name; @dev gets /dev/dm-N. */
int dm_create(const char *name, const struct dm_part *parts, u32 nr_parts,
	      char dev[DISK_PATH_BYTES]);
/* dm_reload: replaces the table of a live device, as `dmsetup load, resume`. */
int dm_reload(const char *name, const struct dm_part *parts, u32 nr_parts);
int dm_suspend(const char *name, bool suspend);
int dm_remove(const char *name);

#endif /* DISK_H */
