/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pure: notes of completed I/O on their way to the table.
 *
 * A note says "this frame now has this entry".  The completion path only
 * appends to the buffer of its CPU; a worker takes full buffers away.
 */
#ifndef MM_HINTS_NOTES_H
#define MM_HINTS_NOTES_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

/*
 * In @entry of a note, where an entry has the generation.
 * WRITTEN: the block was written, so no other frame holds its content any more.
 * PARTIAL: a part of the block was; the frame's own entry is left as it is.
 *	@frame is MHINT_NO_FRAME if it is not the same part of the frame.
 */
#define MHINT_NOTE_WRITTEN	((u64)1 << MEM_HINT_GEN_SHIFT)
#define MHINT_NOTE_PARTIAL	((u64)2 << MEM_HINT_GEN_SHIFT)

/* @entry: as from mhint_entry(); 0: the frame's content is not known. */
struct mhint_note {
	u64 frame;
	u64 entry;
};

struct mhint_buf {
	u32 nr;
	u32 size;
	struct mhint_note *notes;
};

/*
 * Counters are in frames.
 * @noted: appended with an entry.
 * @dropped: lost because the buffer was full.
 * @misaligned: touched by I/O that was not a whole aligned 4 KiB page on
 *	both sides, so that no entry can describe it.
 */
struct mhint_counts {
	u64 noted;
	u64 dropped;
	u64 misaligned;
};

/**
 * struct mhint_io - a completed transfer, as far as notes care
 * @pos: byte position on the whole disk; moves on as spans are noted
 * @disk: disk id
 * @known: the disk has an identity; otherwise a read only clears
 * @read: memory was written by the device
 */
struct mhint_io {
	u64 pos;
	u32 disk;
	bool known;
	bool read;
};

void mhint_note_span(struct mhint_buf *buf, struct mhint_counts *counts,
		     struct mhint_io *io, u64 phys, u32 len);

#endif
