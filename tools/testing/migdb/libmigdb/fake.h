/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel in the place of the library's sys.c: it checks calls by the rules of
 * the uapi header, and by mem_hints' own code where that is pure, and remembers
 * what it was told.
 */
#ifndef LIBMIGDB_FAKE_H
#define LIBMIGDB_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/mem_hints.h>

#define FAKE_NR		987	/* of the system call */
#define FAKE_FD		777	/* of the device */
#define FAKE_FILES	4
#define FAKE_POOLS	2

struct fake {
	/* what there is; reset: a system call, no device */
	const char *nr_text;	/* what syscall_nr says, or NULL */
	int nr_errno;		/* else, of opening it */
	int call_errno;		/* of the system call itself */
	int device_errno;	/* 0: there is a device */
	bool stranger;		/* the device is another one */
	unsigned int max_op;
	unsigned int abi, errata;
	/* the next call fails with it, before or after it was checked */
	int fail;

	/* what was done */
	int nr_opens, nr_closes, nr_calls, nr_ioctls;
	unsigned int op;	/* of the last call */
	union {
		struct mem_hint_file file;
		struct mem_hint_bind bind;
		struct mem_hint_unbind unbind;
		struct mem_hint_set_class class;
		struct mem_hint_translate translate;
		struct mem_hint_segments segments;
		struct mem_hint_wait wait;
		struct mem_hint_ready ready;
		struct mem_hint_pool pool;
		unsigned char bytes[64];
	} last;

	int files[FAKE_FILES];	/* fds, -1: none */
	struct mem_hint_pool pools[FAKE_POOLS];
	bool pool_used[FAKE_POOLS];
	int nr_binds;
	struct mem_hint_event events[2];	/* what there is to read, and to wait for */
	int nr_events;
};

extern struct fake fake;

void fake_reset(void);

/* What a snapshot takes a frame of a pool for; by the kernel's own rules. */
int fake_frame(unsigned int pool, size_t frame, uint32_t *file, uint64_t *block);

#endif
