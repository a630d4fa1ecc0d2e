// SPDX-License-Identifier: GPL-2.0
/* See slow_disk.h. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "slow_disk.h"

int slow_disk_make(struct slow_disk *s, u64 nr_pages, u32 delay_ms)
{
	char params[DISK_PATH_BYTES + 32];
	struct dm_part part = { 0, nr_pages * 8, "delay", params };
	int fd, rc;

	if (access("/dev/mapper/control", F_OK))
		return -ENODEV;
	fd = disk_create(s->path, "slow", nr_pages * MDB_PAGE);
	if (fd < 0)
		return fd;
	rc = rig_fill_disk(fd, nr_pages);
	close(fd);
	if (!rc)
		rc = loop_attach(s->path, s->loop);
	snprintf(params, sizeof(params), "%s 0 %u", s->loop, delay_ms);
	snprintf(s->name, sizeof(s->name), "migdb-slow-%d", getpid());
	return rc ? rc : dm_create(s->name, &part, 1, s->dm);
}

void slow_disk_remove(struct slow_disk *s)
{
	int i;

	for (i = 0; i < 100 && dm_remove(s->name); i++)
		usleep(50000);
	loop_detach(s->loop);
	unlink(s->path);
}
