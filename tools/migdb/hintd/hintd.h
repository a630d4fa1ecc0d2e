/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of migdb-hintd share. */
#ifndef HINTD_H
#define HINTD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bpf/libbpf.h>

#include "config.h"

#define HINTD_CONF	"/etc/migdb/hintd.conf"
#define HINTD_RUN	"/run/migdb-hintd"
#define HINTD_CGROUPS	"/sys/fs/cgroup"
#define HINTD_WHY_LEN	160
#define HINTD_MAX_VOLUMES 256	/* as many as mem_hints takes */

/* Log levels as syslog has them, so that the journal sorts them. */
enum { LOG_ERR_ = 3, LOG_WARNING_ = 4, LOG_NOTICE_ = 5, LOG_INFO_ = 6 };

void say(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/**
 * enum hintd_state - what the daemon is at
 * @HINTD_WAITING: mem_hints is not loaded.
 * @HINTD_ATTACHED: requests are noted.
 * @HINTD_BLOCKED: somebody else has attached the program.
 * @HINTD_RELEASED: asked to let go of the module, which may be unloaded now.
 * @HINTD_FAILED: the program cannot be loaded.
 */
enum hintd_state {
	HINTD_WAITING,
	HINTD_ATTACHED,
	HINTD_BLOCKED,
	HINTD_RELEASED,
	HINTD_FAILED,
};

extern const char * const hintd_state_names[];

/* A disk or cgroup that is wanted.  @key: 0: it is not there; @why says more. */
struct hintd_want {
	const char *name;
	bool unit;
	uint64_t key;
	char cgroup[HINTD_PATH_LEN];
	char why[HINTD_WHY_LEN];
};

/**
 * struct hintd_volume - a logical volume
 * @dev: its device number.
 * @diskseq: whose that was when it was told.
 * @name: of device-mapper.
 * @seen: it was there at the last look.
 * @told: mem_hints was told what follows.
 * @hinted: and has taken it.
 * @wait: looks until it is tried again.
 * @nr: segments; 0: it cannot be described.
 * @nr_sectors: its size.
 * @segs: @nr of them.
 * @why: why it is not hinted.
 */
struct hintd_volume {
	uint64_t dev;
	uint64_t diskseq;
	char name[128];
	bool seen, told, hinted;
	unsigned int wait;
	unsigned int nr;
	unsigned long long nr_sectors;
	struct mem_hint_segment *segs;
	char why[HINTD_WHY_LEN];
};

struct hintd {
	struct hintd_config config;
	enum hintd_state state;
	char why[HINTD_WHY_LEN];
	struct migdb_hints_bpf *skel;
	int nr_disks;
	int nr_groups;
	struct hintd_want disks[HINTD_MAX_DISKS];
	struct hintd_want groups[HINTD_MAX_UNITS + HINTD_MAX_CGROUPS];
	int nr_volumes;
	bool more_volumes;
	uint64_t volumes_module;
	struct hintd_volume volumes[HINTD_MAX_VOLUMES];
};

/* attach.c */
uint64_t module_there(void);	/* another number each time it is loaded; 0: it is not */
void wants_init(struct hintd *d);
void wants_refresh(struct hintd *d);
void hintd_attach(struct hintd *d);
void hintd_detach(struct hintd *d);
unsigned long module_users(void);

/* units.c: @want->key and, if it is 0, @want->why */
void group_look(struct hintd_want *want);

/* volumes.c */
void volumes_refresh(struct hintd *d);
void volumes_drop(struct hintd *d);

/* status.c */
int status_lock(const char *dir);	/* an fd; -EBUSY: another one runs */
int status_write(const char *dir, const struct hintd *d);
void status_remove(const char *dir);
int status_print(const char *dir, bool json);
int status_release(const char *dir);

#endif
