/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files with kernel internals share.
 *
 * Lock order: mhint_drain_lock -> a CPU's ring lock.  No I/O path takes the
 * former, and nothing waits for I/O under it.
 */
#ifndef MM_HINTS_INTERNAL_H
#define MM_HINTS_INTERNAL_H

#include <linux/types.h>
#include <linux/blkdev.h>
#include <linux/mutex.h>
#include <uapi/linux/mem_hints.h>

#include "notes.h"

/* What is known of a disk by its completions; see disks.c. */
enum mhint_disk_state {
	MHINT_DISK_FREE,	/* no disk */
	MHINT_DISK_NEW,		/* seen; to be asked for its identity */
	MHINT_DISK_ASKED,	/* and has not answered yet */
	MHINT_DISK_KNOWN,	/* entries may name it */
	MHINT_DISK_REFUSED,	/* no usable identity; reads only clear */
	MHINT_DISK_GONE,	/* being forgotten */
};

/* registry.c */
extern struct mutex mhint_drain_lock;

int mhint_registry_init(unsigned int ring_notes, unsigned int drain_ms);
void mhint_registry_exit(void);
void mhint_drain(void);
void mhint_drain_soon(void);
void mhint_drain_later(void);
int mhint_freeze(u64 classes, struct mem_hint_started *out);
void mhint_thaw(void);
int mhint_set_enabled(bool on);
bool mhint_enabled(void);
bool mhint_frozen(void);
u32 mhint_list_disks(struct mem_hint_disk *disks, u32 max);
ssize_t mhint_show_disks(char *buf);
u64 mhint_root_gpa(void);
u64 mhint_generation(void);
int mhint_disk_hinted(struct gendisk *disk);

struct mhint_stats {
	struct mhint_counts counts;
	u64 nr_valid;
	u64 nr_frames;
	u64 table_pages;	/* the root included */
	u64 nr_stale;		/* entries cleared: the block was written elsewhere */
	u64 index_bytes;
	u64 note_bytes;		/* buffers, and what waits while frozen */
};

void mhint_get_stats(struct mhint_stats *stats);

/* rings.c; its other calls are in rings.h, for the registry */
void mhint_note(struct mhint_io *io, struct bio *bio, u32 left,
		struct mhint_counts *delta);

/* process.c */
void mhint_processes_unhold(void);

/*
 * disks.c; mhint_disk_find(), _settle(), _id(), _dev(), _there(), mhint_ask() and
 * those that wait are called without mhint_drain_lock, the others under it
 */
int mhint_disks_init(void);
void mhint_disks_exit(void);
int mhint_disk_find(struct gendisk *disk, bool *known);
void mhint_disk_settle(u32 id);
bool mhint_disk_usable(u32 id);
bool mhint_disk_id(u64 diskseq, u32 *id);
u32 mhint_disk_dev(u32 id);
void mhint_disks_resolve(void);
void mhint_disks_recheck(void);
int mhint_disks_wait(void);
int mhint_disk_wait(u64 diskseq);
bool mhint_disk_there(dev_t devt, u64 diskseq);
bool mhint_ask(struct work_struct *work);
void mhint_disks_release(u32 id);
bool mhint_disk_next_stale(u32 *id, bool *gone);
u32 mhint_disks_fill(struct mem_hint_disk *disks, u32 max);
ssize_t mhint_disks_text(char *buf);

/* disk_ident.c */
struct mhint_ident;
int mhint_disk_identify(struct gendisk *disk, struct mhint_ident *ident);

/* kfunc.c */
int bpf_mhint_note_rq(struct request *rq, unsigned int nr_bytes, u64 flags);
int mhint_kfunc_init(void);

/* channel.c */
int mhint_channel_start(bool allow_local, bool privileged_peer, u32 max_freeze_ms);
void mhint_channel_stop(void);

/* held.c */
void mhint_held_init(void);
void mhint_held_exit(void);

/* sysfs.c */
int mhint_sysfs_init(void);
void mhint_sysfs_exit(void);

#endif
