/* SPDX-License-Identifier: GPL-2.0 */
/* At START: from what processes have said to entries of the table. */
#ifndef MM_HINTS_SNAPSHOT_H
#define MM_HINTS_SNAPSHOT_H

#include <linux/types.h>

#include "notes.h"

struct block_device;

/*
 * Why a page that a process named has no entry; shown in sysfs as
 * snapshot/skipped_*.
 */
enum mhint_skip {
	MHINT_SKIP_NONE,
	MHINT_SKIP_ABSENT,	/* not in memory */
	MHINT_SKIP_MEMORY,	/* not of a kind that may be named, or shared */
	MHINT_SKIP_FILE,	/* no such file */
	MHINT_SKIP_DIRTY,	/* the file is dirty, written back, or locked */
	MHINT_SKIP_HOLE,	/* the file has no block of its own there */
	MHINT_SKIP_DISK,	/* not of a hinted disk, or not aligned on it */
	MHINT_SKIP_DESC,	/* the descriptor cannot be read, or is wrong */
	MHINT_NR_SKIPS,
};

/*
 * Of the last snapshot.
 * @frames: that were entered.
 * @discardable: of those.
 * @skipped: by reason.
 * @us: microseconds that it took.
 * @max_batch: entries that were made in one hold of the lock, at most.
 * @nr_hung: processes of which no file was looked at, as an earlier snapshot still
 *	waits for one of their user's.
 * @cut: it took too long, some was left out.
 */
struct mhint_snapshot_stats {
	u64 frames;
	u64 discardable;
	u64 skipped[MHINT_NR_SKIPS];
	u64 us;
	u32 max_batch;
	u32 nr_hung;
	bool cut;
};

/* snapshot.c */
int mhint_snapshot_init(unsigned int ms);
void mhint_snapshot_exit(void);
void mhint_snapshot_run(u64 classes);
void mhint_snapshot_get_stats(struct mhint_snapshot_stats *stats);

/* absent.c */
u64 mhint_absent(u64 addr, u64 end);

/* registry.c */
int mhint_enter_notes(const struct mhint_note *notes, u32 nr,
		      const bool *cancelled, void (*entered)(void *ctx),
		      void *ctx);
void mhint_enter_cancel(bool *cancelled);

/* volumes.c */
int mhint_volume_hinted(struct block_device *bdev);
int mhint_volume_entry(struct block_device *bdev, u64 sector, u64 *entry);
void mhint_volumes_exit(void);

#endif
