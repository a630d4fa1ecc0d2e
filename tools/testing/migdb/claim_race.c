// SPDX-License-Identifier: GPL-2.0
/*
 * The claim protocol between threads, for ThreadSanitizer: two recorders, one of
 * which fills, use the kernel's functions; a VMM writes pages of the stream as
 * the uapi header says.  The pages are plain memory, so every access that the
 * claims do not order is a data race that the sanitizer reports; and what a page
 * holds at the end must be what its claim says.
 *
 * With an argument one rule is broken on purpose: "early" writes the page before
 * it is BUSY, "rude" lets the VMM write without waiting for BUSY, "unordered"
 * takes a page for built without looking at its claim.  The run then goes on until
 * the sanitizer stops it, as it must (TSAN_OPTIONS=halt_on_error=1).
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/types.h>
#include <linux/migdb.h>
#include "claim.h"

#define PAGES		64
#define WORDS		8

enum { BLOCK = 1, STREAM = 2 };

static u8 claims[PAGES];
static u64 pages[PAGES][WORDS];
static pthread_barrier_t barrier;
static unsigned int rounds = 400;
static bool early, rude, unordered;
static volatile bool sink;
static unsigned long built, sent, returned, wrong;

/* Now and then another thread gets its turn in the middle, however few CPUs. */
static void write_page(unsigned int i, u64 what, u32 seed)
{
	unsigned int w;

	for (w = 0; w < WORDS; w++) {
		pages[i][w] = what;
		if (w == WORDS / 2 && !(seed >> 8 & 7))
			sched_yield();
	}
}

static bool page_is(unsigned int i, u64 what)
{
	unsigned int w;

	for (w = 0; w < WORDS; w++) {
		if (pages[i][w] != what)
			return false;
	}
	return true;
}

static u32 rnd(u32 *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 16;
}

/* Kernel: consumes records and fills what they name. */
static void fill_some(u32 *seed)
{
	unsigned int i, n;

	for (n = 0; n < 2 * PAGES; n++) {
		i = rnd(seed) % PAGES;
		migdb_claim_todo(&claims[i]);
		if (early)
			write_page(i, BLOCK, *seed);
		if (!migdb_claim_busy(&claims[i]))
			continue;
		write_page(i, BLOCK, *seed);
		migdb_claim_done(&claims[i]);
	}
}

/* VMM: the stream has brought a page. */
static void receive_some(u32 *seed)
{
	unsigned int i, n;

	for (n = 0; n < PAGES / 2; n++) {
		u8 old;

		i = rnd(seed) % PAGES;
		do {
			old = __atomic_load_n(&claims[i], __ATOMIC_ACQUIRE);
		} while ((old == MIGDB_CLAIM_BUSY && !rude) ||
			 !__atomic_compare_exchange_n(&claims[i], &old, MIGDB_CLAIM_SENT, false,
						      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
		write_page(i, STREAM, *seed);
	}
}

/* VMM: looks at pages that are built, as a guest would that runs already. */
static void read_some(u32 *seed)
{
	unsigned int i, n;

	for (n = 0; n < PAGES; n++) {
		i = rnd(seed) % PAGES;
		if (unordered)
			sink = page_is(i, BLOCK);
		else if (__atomic_load_n(&claims[i], __ATOMIC_ACQUIRE) == MIGDB_CLAIM_DONE)
			wrong += !page_is(i, BLOCK);
	}
}

static void *kernel_fill(void *arg)
{
	u32 seed = 1, r;

	for (r = 0; r < rounds; r++) {
		pthread_barrier_wait(&barrier);
		fill_some(&seed);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

/* Kernel: a second consumer of records, and looks at the claims in passing. */
static void *kernel_record(void *arg)
{
	u32 seed = 2, r, n;

	for (r = 0; r < rounds; r++) {
		pthread_barrier_wait(&barrier);
		for (n = 0; n < PAGES / 4; n++) {
			u8 *claim = &claims[rnd(&seed) % PAGES];

			if (!migdb_claim_is_sent(claim))
				migdb_claim_todo(claim);
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void check_round(void)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		switch (claims[i]) {
		case MIGDB_CLAIM_DONE:
			built++;
			wrong += !page_is(i, BLOCK);
			break;
		case MIGDB_CLAIM_SENT:
			sent++;
			wrong += !page_is(i, STREAM);
			break;
		case MIGDB_CLAIM_BUSY:
			wrong++;
			break;
		default:
			/* nobody built it: it goes back, and nothing was written */
			returned += migdb_claim_return(&claims[i]);
			wrong += !page_is(i, 0);
		}
	}
	memset(claims, 0, sizeof(claims));
	memset(pages, 0, sizeof(pages));
}

int main(int argc, char **argv)
{
	pthread_t fill, record;
	u32 seed = 3, r;

	if (argc > 1) {
		early = !strcmp(argv[1], "early");
		rude = !strcmp(argv[1], "rude");
		unordered = !strcmp(argv[1], "unordered");
		/* until the sanitizer stops it */
		rounds = 100000;
	}
	pthread_barrier_init(&barrier, NULL, 3);
	pthread_create(&fill, NULL, kernel_fill, NULL);
	pthread_create(&record, NULL, kernel_record, NULL);
	for (r = 0; r < rounds; r++) {
		pthread_barrier_wait(&barrier);
		if (r % 2)
			read_some(&seed);
		receive_some(&seed);
		if (!(r % 2))
			read_some(&seed);
		pthread_barrier_wait(&barrier);
		check_round();
	}
	pthread_join(fill, NULL);
	pthread_join(record, NULL);
	printf("# built %lu, sent %lu, returned %lu, wrong %lu\n", built, sent, returned, wrong);
	return wrong || !built || !sent || !returned;
}
