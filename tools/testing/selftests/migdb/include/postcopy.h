/* SPDX-License-Identifier: MIT */
/*
 * Post-copy with a rig: the switch, and a server of page faults, as a VMM has them.
 * The "guest" is whoever touches dst_ram.
 */
#ifndef POSTCOPY_H
#define POSTCOPY_H

#include <pthread.h>
#include <linux/userfaultfd.h>
#include "rig.h"

/* A userfaultfd; -errno. */
int uffd_open(void);
int uffd_register(int uffd, void *at, u64 bytes, u64 mode);
/* One page; 0, -EEXIST, ... */
int uffd_copy(int uffd, void *to, const void *from);
void uffd_wake(int uffd, void *at);

/* The destination's memory is private and anonymous from here on, full of poison. */
int rig_anonymous(struct rig *r);

/* SEAL, its frames, HOLD: r->missing is what it says. */
int rig_hold(struct rig *r);
/*
 * Whatever is not known to be right is taken out of memory: nothing is, but for pages
 * that are built or delivered.  After uffd_register(), so that nobody fills it again.
 */
int rig_punch(struct rig *r);
/* Registers, punches, MIGDB_POSTCOPY. */
int rig_postcopy(struct rig *r);
/* The source sends a page: 0; -EEXIST: something is there that should not be. */
int rig_place(struct rig *r, u64 page);

struct server {
	struct rig *r;
	pthread_t thread;
	int stop;
	u64 deadline_ns;	/* for MIGDB_FAULT */
	bool source_gone;	/* nothing comes from there */
	u64 faults, fetching, asked, built, errors;	/* read when it has stopped */
	u8 *waiting;		/* a byte per page: migdb fetches it */
};

/*
 * A thread that answers faults: by MIGDB_FAULT, and what that does not bring by the
 * source.  It carries the streams, too.
 */
int server_start(struct server *v, struct rig *r);
void server_stop(struct server *v);

/*
 * rig_arrive: with a server, touches and compares all of memory, waits until every
 * recorded page is decided, completes both sides: -EILSEQ and @bad_page if one differs.
 */
int rig_arrive(struct rig *r, struct server *v, u64 *bad_page);

#endif /* POSTCOPY_H */
