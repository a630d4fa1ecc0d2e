/* SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause */
/*
 * libmigdb, guest half: a process says which blocks of which files its memory
 * holds, so that the host can build these pages at the destination of a live
 * migration instead of sending them.  libmigdb(7) is the way in.
 *
 * Functions return 0 (or the number that they are asked for), or a negative
 * errno; migdb_hints_strerror() says what it means.  There is no thread and no
 * state outside of the handle; a handle does not change once it is open, and all
 * threads may use it at once.
 */
#ifndef MIGDB_HINTS_H
#define MIGDB_HINTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Blocks, offsets and ranges are of whole pages of this size, everywhere. */
#define MIGDB_HINTS_PAGE_SHIFT	12
#define MIGDB_HINTS_PAGE_SIZE	4096

struct migdb_hints;

/* ---- open ----------------------------------------------------------------- */

/* Flags of migdb_hints_open(): only this way to the kernel, not the other. */
#define MIGDB_HINTS_ONLY_SYSCALL	(1U << 0)
#define MIGDB_HINTS_ONLY_DEVICE		(1U << 1)

/* What migdb_hints_way() returns. */
#define MIGDB_HINTS_BY_SYSCALL	1
#define MIGDB_HINTS_BY_DEVICE	2

int migdb_hints_open(struct migdb_hints **hints, unsigned int flags);
void migdb_hints_close(struct migdb_hints *hints);
int migdb_hints_way(const struct migdb_hints *hints);
int migdb_hints_abi(const struct migdb_hints *hints);
int migdb_hints_errata(const struct migdb_hints *hints, uint32_t *errata);

/* States of struct migdb_hints_info. */
#define MIGDB_HINTS_IDLE	0
#define MIGDB_HINTS_FROZEN	1	/* a migration is under way */
#define MIGDB_HINTS_OFF		2	/* hints are switched off */

/* What there is, and what the process uses of it. */
struct migdb_hints_info {
	uint32_t abi;
	uint32_t errata;
	uint32_t max_call;	/* the last of enum migdb_hints_call there is */
	uint32_t state;
	uint32_t max_files;
	uint32_t max_binds;
	uint32_t max_pools;
	uint32_t nr_files;
	uint32_t nr_binds;
	uint32_t nr_pools;
	uint64_t event_seq;	/* of the newest event */
	uint64_t reserved[6];	/* 0 */
};

int migdb_hints_query(const struct migdb_hints *hints,
		      struct migdb_hints_info *info);

/* ---- what memory holds ---------------------------------------------------- */

enum migdb_hints_kind {
	MIGDB_HINTS_BACKED	= 0,	/* what the file holds */
	MIGDB_HINTS_DISCARDABLE	= 1,	/* the process can do without it */
	MIGDB_HINTS_HOT		= 2	/* backed, and wanted early */
};

int migdb_hints_file(const struct migdb_hints *hints, int fd, uint32_t *file);
int migdb_hints_unfile(const struct migdb_hints *hints, uint32_t file);
int migdb_hints_bind(const struct migdb_hints *hints, const void *addr,
		     size_t len, int fd, uint64_t offset, uint32_t *file);
int migdb_hints_unbind(const struct migdb_hints *hints, const void *addr,
		       size_t len);
int migdb_hints_pool(const struct migdb_hints *hints, const void *frames,
		     size_t frame_size, size_t nr_frames, const uint64_t *desc,
		     uint32_t *pool);
int migdb_hints_unpool(const struct migdb_hints *hints, uint32_t pool);
int migdb_hints_class(const struct migdb_hints *hints, const void *addr,
		      size_t len, enum migdb_hints_kind kind);

/* ---- descriptors of a pool ------------------------------------------------ */

#define MIGDB_DESC_VALID	((uint64_t)1 << 63)
#define MIGDB_DESC_EMPTY	((uint64_t)1 << 62)
#define MIGDB_DESC_FILE_SHIFT	44
#define MIGDB_DESC_MAX_FILE	0xffffU
#define MIGDB_DESC_MAX_BLOCK	(((uint64_t)1 << MIGDB_DESC_FILE_SHIFT) - 1)

/*
 * The descriptor of a frame whose first page holds what is at this offset of
 * the file; of an empty frame where no descriptor can say that.
 */
static inline uint64_t migdb_desc_make(uint32_t file, uint64_t offset)
{
	uint64_t block = offset >> MIGDB_HINTS_PAGE_SHIFT;

	if (offset % MIGDB_HINTS_PAGE_SIZE || block > MIGDB_DESC_MAX_BLOCK ||
	    file > MIGDB_DESC_MAX_FILE)
		return MIGDB_DESC_VALID | MIGDB_DESC_EMPTY;
	return MIGDB_DESC_VALID | (uint64_t)file << MIGDB_DESC_FILE_SHIFT |
	       block;
}

/* One store: a snapshot sees the old descriptor or the new one. */
static inline void migdb_desc_store(uint64_t *desc, uint64_t value)
{
	__atomic_store_n(desc, value, __ATOMIC_RELEASE);
}

/* The frame holds this: after the block was read, or written back. */
static inline void migdb_desc_set(uint64_t *desc, uint32_t file,
				  uint64_t offset)
{
	migdb_desc_store(desc, migdb_desc_make(file, offset));
}

/* It holds no block: before it is filled anew, or changed. */
static inline void migdb_desc_empty(uint64_t *desc)
{
	migdb_desc_store(desc, MIGDB_DESC_VALID | MIGDB_DESC_EMPTY);
}

/* Nothing is said of the frame; what the block layer saw holds. */
static inline void migdb_desc_forget(uint64_t *desc)
{
	migdb_desc_store(desc, 0);
}

/* ---- for the privileged --------------------------------------------------- */

#define MIGDB_HINTS_NO_FRAME	(~(uint64_t)0)

/* A run of a virtual disk (LVM), and where it is. */
struct migdb_hints_segment {
	uint64_t start;		/* in 512-byte sectors, like the next two */
	uint64_t nr_sectors;
	uint64_t target;
	uint32_t major;		/* of the device below */
	uint32_t minor;
	uint32_t nr_stripes;	/* 1: linear */
	uint32_t stripe;
	uint32_t chunk_sectors;	/* 0: linear */
	uint32_t reserved;	/* 0 */
};

int migdb_hints_translate(const struct migdb_hints *hints, const void *addr,
			  size_t nr_pages, uint64_t *frames);
int migdb_hints_segments(const struct migdb_hints *hints, unsigned int major,
			 unsigned int minor,
			 const struct migdb_hints_segment *segments,
			 size_t nr);

/* ---- start and completion of migrations ----------------------------------- */

#define MIGDB_HINTS_EVENT_START		1
#define MIGDB_HINTS_EVENT_COMPLETE	2

#define MIGDB_HINTS_DONE		0
#define MIGDB_HINTS_CANCELLED		1
#define MIGDB_HINTS_UNKNOWN		2	/* the host did not say */

struct migdb_hints_event {
	uint32_t type;
	uint32_t outcome;	/* of a COMPLETE */
	uint64_t seq;		/* one more for each event */
	uint64_t generation;	/* one more for each migration */
	uint64_t classes;	/* 1 << enum migdb_hints_kind: agreed to */
	uint64_t time_ns;	/* CLOCK_BOOTTIME */
	uint32_t wait_ms;	/* START: how long the snapshot waits */
	uint32_t nr_lost;	/* events that this reader was too slow for */
};

/* Flags of migdb_hints_events(). */
#define MIGDB_HINTS_EVENTS_READY	(1U << 0) /* wait for our ready() */
#define MIGDB_HINTS_EVENTS_NONBLOCK	(1U << 1)

#define MIGDB_HINTS_FOREVER	(~0U)

int migdb_hints_events(const struct migdb_hints *hints, unsigned int flags);
int migdb_hints_read_event(int fd, struct migdb_hints_event *event);
int migdb_hints_ready(const struct migdb_hints *hints, int fd, uint64_t seq);
int migdb_hints_wait(const struct migdb_hints *hints, uint64_t seq,
		     unsigned int timeout_ms, struct migdb_hints_event *event);

/* ---- errors --------------------------------------------------------------- */

/* Calls, as the kernel numbers them; OPEN is of this library. */
enum migdb_hints_call {
	MIGDB_HINTS_CALL_OPEN		= 0,
	MIGDB_HINTS_CALL_QUERY		= 1,
	MIGDB_HINTS_CALL_FILE		= 2,
	MIGDB_HINTS_CALL_UNFILE		= 3,
	MIGDB_HINTS_CALL_BIND		= 4,
	MIGDB_HINTS_CALL_UNBIND		= 5,
	MIGDB_HINTS_CALL_POOL		= 6,
	MIGDB_HINTS_CALL_UNPOOL		= 7,
	MIGDB_HINTS_CALL_CLASS		= 8,
	MIGDB_HINTS_CALL_TRANSLATE	= 9,
	MIGDB_HINTS_CALL_SEGMENTS	= 10,
	MIGDB_HINTS_CALL_EVENTS		= 11,
	MIGDB_HINTS_CALL_WAIT		= 12,
	MIGDB_HINTS_CALL_READY		= 13
};

const char *migdb_hints_strerror(enum migdb_hints_call call, int error);

#ifdef __cplusplus
}
#endif

#endif
