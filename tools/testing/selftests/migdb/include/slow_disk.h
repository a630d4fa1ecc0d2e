/* SPDX-License-Identifier: GPL-2.0 */
/* A disk of rig_fill() blocks that takes its time: dm-delay on a loop device. */
#ifndef SLOW_DISK_H
#define SLOW_DISK_H

#include "rig.h"

struct slow_disk {
	char path[DISK_PATH_BYTES], loop[DISK_PATH_BYTES], dm[DISK_PATH_BYTES], name[32];
};

/* 0 or -errno; -ENODEV and -EINVAL: there is no dm-delay here. */
int slow_disk_make(struct slow_disk *s, u64 nr_pages, u32 delay_ms);
void slow_disk_remove(struct slow_disk *s);

#endif /* SLOW_DISK_H */
