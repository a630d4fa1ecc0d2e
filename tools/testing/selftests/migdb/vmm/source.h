/* SPDX-License-Identifier: MIT */
/* The source's parts: source.c (pre-copy), source_postcopy.c, source_discard.c. */
#ifndef SOURCE_H
#define SOURCE_H

#include "session.h"
#include "siphash.h"

#define ANSWER_MS	20000

struct source {
	struct vm *vm;
	struct workload *w;
	const struct options *o;
	struct outcome *out;
	struct channel chan;
	struct session session;
	u64 words;
	u64 *todo;		/* pages to send; sending thread only */
	u64 *dirty;		/* scratch of collect() */
	u64 *taken;		/* the same of source_take() */
	u64 *discard;		/* go as zeros, unless they are written to; likewise */

	/*
	 * Protects: who empties the rings, @reaped; session.live against the
	 * receiver's writes.
	 */
	pthread_mutex_t lock;
	u64 *reaped;		/* by source_ring_full(), while there is no session */

	pthread_t receiver;
	pthread_mutex_t news_lock;	/* the rest */
	pthread_cond_t news;
	bool drained, ready, failed, closed, peer_ordinary, have_result, answered;
	u32 peer_reason;
	u64 missing;
	int refused;		/* with @answered: -errno, or 0 */
	bool more;
	u64 *wanted;		/* pages that the destination has asked for */
	u64 nr_wanted;

	/* AT_SWITCH_UNHEARD, under @lock: frames that are put aside until the switch. */
	u8 *unheard;
	size_t unheard_bytes;
	bool deaf, hears;
};

/* source.c */
bool source_ok(struct source *s, int rc);
void source_lose(struct source *s, int error);
void source_collect(struct source *s);
int source_take(struct source *s);
u64 source_count(const struct source *s);
int source_send_pages(struct source *s, u64 budget);
bool source_wait(struct source *s, const bool *what, u32 ms);
bool source_unconfirmed(struct source *s);
int source_send_digests(struct source *s);

/* source_discard.c: every log is on and clear, and nothing has been sent yet. */
void source_agree(struct source *s);
/* @pages are to be sent: written to, or nobody knows.  Empties @pages. */
void source_heed(struct source *s, u64 *pages);
bool source_discards(const struct source *s, u64 page);
u64 source_discarded(const struct source *s);

/* source_postcopy.c: instead of the end of pre-copy, in the middle of it. */
int source_switch(struct source *s);
void source_wanted(struct source *s, u64 page);	/* the receiver's */
bool source_unheard(struct source *s, const void *data, u32 bytes);	/* the same; @lock */

#endif /* SOURCE_H */
