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

struct hintd {
	struct hintd_config config;
	enum hintd_state state;
	char why[HINTD_WHY_LEN];
	struct migdb_hints_bpf *skel;
	int nr_disks;
	int nr_groups;
	struct hintd_want disks[HINTD_MAX_DISKS];
	struct hintd_want groups[HINTD_MAX_UNITS + HINTD_MAX_CGROUPS];
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

/* status.c */
int status_lock(const char *dir);	/* an fd; -EBUSY: another one runs */
int status_write(const char *dir, const struct hintd *d);
void status_remove(const char *dir);
int status_print(const char *dir, bool json);
int status_release(const char *dir);

#endif
