/* SPDX-License-Identifier: MIT */
/*
 * The VMM's own migration channel: one stream socket, messages of a head and a
 * payload.  migdb's frames are cargo (MSG_MIGDB); the VMM never looks inside.
 *
 *	source				destination
 *	HELLO			->
 *				<-	HELLO (is there a migdb session, too?)
 *	MIGDB, PAGES, ZERO ...	->
 *				<-	MIGDB ..., ORDINARY (session lost)
 *	SEALED			->
 *				<-	MIGDB ..., DRAINED
 *	PAGES, ZERO ...		->
 *	STATE, LAST		->
 *				<-	READY or FAILED
 *	DIGESTS (the oracle)	->
 *	RUN			->
 *				<-	RESULT (tests only)
 *
 * With --postcopy, from SEALED on:
 *
 *	MIGDB (revokes, end mark), STATE
 *	DIGESTS (the oracle), TODO ..., POSTCOPY	->
 *				<-	SWITCHED, or why not
 *	(refused: the source's session is lost, too: ORDINARY, TODO ..., POSTCOPY again)
 *	COMMIT			->
 *				<-	REQUEST, MIGDB ...
 *	PAGES, ZERO ..., LAST	->
 *				<-	MORE, or READY
 *	RUN			->
 *				<-	RESULT (tests only)
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "mdb.h"

enum msg_type {
	MSG_INVALID,
	MSG_HELLO,	/* struct hello */
	MSG_MIGDB,	/* frames, as read from out_tx_fd */
	MSG_ORDINARY,	/* arg: enum migdb_reason */
	MSG_PAGES,	/* arg: first page; payload: pages */
	MSG_ZERO,	/* arg: first page; payload: u64 count */
	MSG_SEALED,
	MSG_DRAINED,
	MSG_STATE,	/* struct vm_cpu_state[] */
	MSG_DIGESTS,	/* arg: first page; struct digest[] */
	MSG_LAST,
	MSG_READY,
	MSG_FAILED,	/* arg: pages that nobody brought */
	MSG_RUN,
	MSG_RESULT,	/* struct result */
	MSG_TODO,	/* arg: first page, of 64; payload: bitmap of what is still to be sent */
	MSG_POSTCOPY,	/* arg: run at once; get ready for the switch */
	MSG_REQUEST,	/* arg: page; from the destination */
	MSG_LACKING,	/* after LAST: some are missing, and have been asked for */
	MSG_SWITCHED,	/* arg: 0, or errno: the guest is still the source's */
	MSG_COMMIT,	/* the switch: from here on the guest is the destination's */
};

struct msg {
	u32 type, bytes;
	u64 arg;
};

struct hello {
	u64 bytes;
	u32 nr_cpus, migdb;
	u8 uuid[MIGDB_UUID_BYTES];
};

struct result {
	u64 differ, guest_ok, recorded, built, returned, read_bytes, reads, hash_ns;
	u64 drain_ns, memory_bytes;
	u64 by_reason[MIGDB_NR_REASONS];
	u32 state, reason;
	u32 workers, reserved;
	u64 postcopy_built, faults, faults_fetching, faults_built, faults_late, asked;
	u64 spared;
};

#define MSG_MAX_BYTES	(1U << 20)

struct channel {
	int fd;
	u64 bytes_per_s;	/* limit of what is sent; 0: none */
	u64 started_ns, paced_bytes;
	u64 sent_bytes;
	u64 cut_after;		/* test: shut the link down after so many bytes; 0: never */
};

u64 now_ns(void);

/* "unix:PATH" or "tcp:HOST:PORT".  -errno. */
int chan_connect(struct channel *c, const char *address);
int chan_accept(struct channel *c, const char *address);
void chan_close(struct channel *c);

int chan_send(struct channel *c, u32 type, u64 arg, const void *data, u32 bytes);
int chan_recv_head(struct channel *c, struct msg *m);	/* -EPIPE: closed */
int chan_recv_data(struct channel *c, void *data, u32 bytes);

#endif /* CHANNEL_H */
