/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: from a table of device-mapper to the segments that mem_hints wants. */
#ifndef HINTD_DMTABLE_H
#define HINTD_DMTABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/mem_hints.h>

/**
 * struct dmtable - a volume as mem_hints wants it
 * @nr: segments.
 * @nr_sectors: of the volume.
 * @segs: in the order of their start and stripe.
 */
struct dmtable {
	unsigned int nr;
	unsigned long long nr_sectors;
	struct mem_hint_segment segs[MEM_HINT_MAX_SEGMENTS];
};

/*
 * Reads what DM_TABLE_STATUS with DM_STATUS_TABLE_FLAG has put behind struct
 * dm_ioctl: @nr_targets targets in @size bytes.  False: @t->nr is 0, and @why says
 * what cannot be described: a target that is neither linear nor striped, too many of
 * them, or what is not written as the kernel writes it.
 */
bool dmtable_parse(struct dmtable *t, const void *data, size_t size,
		   unsigned int nr_targets, char *why, size_t why_size);

/*
 * The same of what it has put there without that flag: are all targets of types that
 * dmtable_parse() takes?  The line of a crypt or integrity target can be its key.
 */
bool dmtable_types(const void *data, size_t size, unsigned int nr_targets,
		   char *why, size_t why_size);

#endif
