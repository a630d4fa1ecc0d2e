/* SPDX-License-Identifier: MIT */
/* The destination's parts: dest.c (pre-copy, messages), dest_postcopy.c. */
#ifndef DEST_H
#define DEST_H

#include "session.h"
#include "siphash.h"

struct held {
	struct held *next;
	u32 bytes;
	u8 data[];
};

struct dest {
	struct vm *vm;
	struct workload *w;
	const struct options *o;
	struct channel chan;
	struct mdb mdb;
	bool live;		/* there is a session, ABORTED or not */
	bool told;		/* the source knows that it is ABORTED */
	u64 received;
	u64 differ;
	bool have_state, complete;
	struct vm_cpu_state state[GUEST_MAX_CPUS];
	struct result result;
	u8 *buf;
	struct held *held, **held_tail;
	bool released;
	u8 *unclaimed;		/* a byte per page */

	/* Post-copy, see dest_postcopy.c. */
	pthread_mutex_t send_lock;	/* the channel's way out */
	bool late;			/* it has begun: no page is written but by UFFDIO_COPY */
	bool run_late;			/* the guest is to run at once */
	bool committed;			/* the guest is ours, whatever becomes of the source */
	bool running;			/* the guest runs already */
	bool source_gone;
	int uffd;
	pthread_t fault_thread;
	u64 *todo;			/* what the source has still to send */
	u8 *page;			/* enum page_is: a byte per page; atomic */
	struct digest *want;		/* of each page, as the source has it */
	u64 *written;			/* by the guest here, since it runs */
	u8 *scratch;			/* page-aligned: one message */
	u64 faults, asked, lost, missing;
	u64 spared;			/* in @todo, and built: left where they are */
};

/* dest.c */
int dest_send(struct dest *d, u32 type, u64 arg, const void *data, u32 bytes);
int dest_carry(struct dest *d);
int dest_compare(struct dest *d, u64 first, const struct digest *want, u64 n);
void dest_save_stats(struct dest *d);

/*
 * dest_postcopy.c, in the order of calls.  MSG_TODO and MSG_DIGESTS come first;
 * MSG_POSTCOPY asks for the switch, MSG_COMMIT makes it.
 */
int late_prepare(struct dest *d);
int late_todo(struct dest *d, const struct msg *m);
int late_digests(struct dest *d, const struct msg *m);
int late_switch(struct dest *d, bool run);
int late_commit(struct dest *d);
int late_pages(struct dest *d, const struct msg *m);
/* The eventfd, or a frame: what has come back is asked for. */
int late_look(struct dest *d);
int late_last(struct dest *d);
/* The channel is closed: what storage has still comes.  Does not return. */
void late_source_gone(struct dest *d, int error) __attribute__((noreturn));
void late_end(struct dest *d);

#endif /* DEST_H */
