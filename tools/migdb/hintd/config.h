/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: the configuration of migdb-hintd. */
#ifndef HINTD_CONFIG_H
#define HINTD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#define HINTD_MAX_DISKS		128
#define HINTD_MAX_UNITS		64
#define HINTD_MAX_CGROUPS	64
#define HINTD_NAME_LEN		256	/* as systemd has it */
#define HINTD_PATH_LEN		1024
#define HINTD_INTERVAL_MAX	3600

/**
 * struct hintd_config - what is hinted
 * @disks: whole disks, as names in /dev or as paths; none: all.
 * @units: systemd units; with @cgroups: none: all I/O.
 * @cgroups: paths in the cgroup2 tree, with "/" in front.
 * @interval: seconds between two looks at disks, units, volumes and the module.
 * @volumes: tell mem_hints what logical volumes consist of.
 */
struct hintd_config {
	int nr_disks;
	int nr_units;
	int nr_cgroups;
	int interval;
	bool volumes;
	char disks[HINTD_MAX_DISKS][HINTD_PATH_LEN];
	char units[HINTD_MAX_UNITS][HINTD_NAME_LEN];
	char cgroups[HINTD_MAX_CGROUPS][HINTD_PATH_LEN];
};

void hintd_config_init(struct hintd_config *config);

/*
 * Reads @text, a NUL-terminated string of @len bytes.  0, or the number of the
 * first line that is wrong, and why in @why.
 */
int hintd_config_parse(struct hintd_config *config, const char *text, size_t len,
		       char *why, size_t why_size);

#endif
