/* SPDX-License-Identifier: MIT */
/*
 * Both sides of a migration in one process, without a VM: two pieces of memory,
 * one disk, two sessions, and a wire between them that a test can hold, cut or
 * spoil.
 *
 * Page p holds what block p of the disk holds, except for the first
 * RIG_FIRST pages, where the hint table is.  Functions return 0 or -errno.
 */
#ifndef RIG_H
#define RIG_H

#include "disk.h"
#include "hints.h"

#define RIG_FIRST	64
#define RIG_GUEST_DISK	3
#define RIG_DISK	1
#define RIG_SERIAL	"rig-disk"
#define RIG_POISON	0xdb

/* Bytes in flight from one side to the other. */
struct wire {
	u8 *data;
	size_t bytes, room;
};

struct rig {
	u64 nr_pages;
	u8 *src_ram, *dst_ram;
	u8 *delivered;		/* a byte per page: the "stream" brought it */
	struct hint_table hints;
	struct mdb src, dst;
	int disk;
	char disk_path[DISK_PATH_BYTES];
	u8 uuid[MIGDB_UUID_BYTES];
	u64 candidates;
	struct wire pump;	/* of rig_pump(); kept, so that it needs memory once */
	int uffd;		/* post-copy: of dst_ram; 0: none yet */
	u64 *missing;		/* post-copy: what MIGDB_HOLD said */
};

/* rig_init: memory, disk and table; no session yet.  @nr_pages >= 128. */
int rig_init(struct rig *r, u64 nr_pages);
void rig_exit(struct rig *r);
/* The content of block and page @n, never zero. */
void rig_fill(void *page, u64 n);
/* Writes @nr blocks of rig_fill() content. */
int rig_fill_disk(int fd, u64 nr);

/* Sessions up to and with MIGDB_START.  @disk: an fd, usually r->disk. */
int rig_source(struct rig *r);
int rig_dest(struct rig *r, int disk);
/* All up to MIGDB_START, not included: for tests of START itself. */
int rig_source_idle(struct rig *r, struct mdb *m);
int rig_dest_idle(struct rig *r, struct mdb *m, int disk);

/* ARMED of all pages, SNAPSHOT. */
int rig_snapshot(struct rig *r);
/* HASH until nothing is left; the frames go to @w, or to the destination. */
int rig_hash(struct rig *r, struct wire *w);
/* All of that: source, destination, snapshot, hash. */
int rig_start(struct rig *r, u64 nr_pages);

/* wire_pull: appends all that @from has to say.  wire_push: into the other. */
int wire_pull(struct wire *w, struct mdb *from);
int wire_push(struct wire *w, struct mdb *to);
void wire_free(struct wire *w);
/* wire_frame: bytes of the frame at @at; by the length field, as frames say. */
size_t wire_frame(const struct wire *w, size_t at);

/*
 * A peer that is hostile: frames that are as they should be, but for what they
 * say.  The layout is the kernel's, see wire.h there.
 */
enum { FRAME_RECORDS = 2, FRAME_REVOKE = 3, FRAME_WELCOME = 16, FRAME_BUILT = 17,
       FRAME_RETURN = 18 };

struct wire_range {
	u64 gfn;
	u32 nr, reason;
};

struct wire_run {
	u64 gfn, where;
	u32 nr, reserved;
};

/* @hello: what a source said first; it has the key. */
int wire_list(struct wire *w, const struct wire *hello, u32 type, u32 seq,
	      const struct wire_range *ranges, u32 nr);
int wire_records(struct wire *w, const struct wire *hello, u32 seq,
		 const struct wire_run *runs, u32 nr);

/* WELCOME, FINISH and the like; @recorded is the first number. */
int wire_end(struct wire *w, const struct wire *hello, u32 type, u32 seq, u64 recorded);

/* rig_pump: both directions, once. */
int rig_pump(struct rig *r);
/* Pumps until every recorded page is built or returned; -ETIMEDOUT. */
int rig_settle(struct rig *r, u32 ms);

/* The stream brings one page: claim it, write it. */
void rig_deliver(struct rig *r, u64 page);
/* The guest (or a device) at the source writes to a page, and a log saw it. */
int rig_dirty(struct rig *r, u64 page);
/* What the source's queue holds is delivered; the number of pages. */
s64 rig_deliver_queue(struct rig *r);
/* After an abort: what the bitmap still has is delivered as well. */
u64 rig_deliver_bitmap(struct rig *r);
/* What was never in the set is delivered. */
void rig_deliver_rest(struct rig *r);

/* After SEAL: DRAIN, and what came back and the queue held is delivered. */
int rig_end(struct rig *r);
/*
 * rig_finish: SEAL, DRAIN, what came back, COMPLETE of both; then all of memory
 * is compared: -EILSEQ and @bad_page when a page differs.
 */
int rig_finish(struct rig *r, u64 *bad_page);
int rig_compare(struct rig *r, u64 *bad_page);

/* For tests whose fixture has a rig r: finishes, or fails with the page that differs. */
#define FINISH()							\
	do {								\
		u64 bad_;						\
		int rc_ = rig_finish(&self->r, &bad_);			\
		ASSERT_EQ(0, rc_) TH_LOG("%s, page %llu", strerror(-rc_),\
					 (unsigned long long)bad_);	\
	} while (0)

#endif /* RIG_H */
