// SPDX-License-Identifier: GPL-2.0
/* Pure: cutting a transfer into notes. */
#include <linux/types.h>
#include <linux/minmax.h>

#include "entry.h"
#include "index.h"
#include "notes.h"

static void push(struct mhint_buf *buf, struct mhint_counts *counts,
		 u64 frame, u64 entry)
{
	if (buf->nr == buf->size) {
		counts->dropped++;
		return;
	}
	buf->notes[buf->nr].frame = frame;
	buf->notes[buf->nr].entry = entry;
	buf->nr++;
	if (entry && !(entry & MHINT_NOTE_PARTIAL))
		counts->noted++;
}

/* Parts of one or two blocks were written, from one page. */
static void note_partial(struct mhint_buf *buf, struct mhint_counts *counts,
			 const struct mhint_io *io, u64 phys, u32 len)
{
	u64 pos = io->pos, end = io->pos + len;
	bool in_place = (pos & (MEM_HINT_FRAME_SIZE - 1)) ==
			(phys & (MEM_HINT_FRAME_SIZE - 1));

	while (pos < end) {
		u64 block = pos >> MEM_HINT_FRAME_SHIFT;

		if (block <= MEM_HINT_BLOCK_MASK)
			push(buf, counts,
			     in_place ? phys >> MEM_HINT_FRAME_SHIFT : MHINT_NO_FRAME,
			     mhint_entry(io->disk, MEM_HINT_CLASS_BACKED, block) |
			     MHINT_NOTE_WRITTEN | MHINT_NOTE_PARTIAL);
		pos = (block + 1) << MEM_HINT_FRAME_SHIFT;
	}
}

/**
 * mhint_note_span - note a physically contiguous part of a transfer
 * @buf: where notes go
 * @counts: what became of the frames
 * @io: the transfer; its position moves on by @len
 * @phys: guest-physical address of the part
 * @len: its bytes
 *
 * Whole 4 KiB pages at 4 KiB-aligned positions get an entry.  For the rest a
 * read clears what was known of the frame, because it has changed the frame;
 * a write has not, but the blocks are not what other frames hold any more.
 *
 * Context: any; no sleep, no allocation; at most @len / 4096 + 2 rounds of
 * two notes.
 */
void mhint_note_span(struct mhint_buf *buf, struct mhint_counts *counts,
		     struct mhint_io *io, u64 phys, u32 len)
{
	while (len) {
		u32 in_page = phys & (MEM_HINT_FRAME_SIZE - 1);
		u32 step = min_t(u32, len, MEM_HINT_FRAME_SIZE - in_page);
		u64 frame = phys >> MEM_HINT_FRAME_SHIFT;
		u64 block = io->pos >> MEM_HINT_FRAME_SHIFT;
		bool whole = step == MEM_HINT_FRAME_SIZE &&
			     !(io->pos & (MEM_HINT_FRAME_SIZE - 1)) &&
			     block <= MEM_HINT_BLOCK_MASK;

		if (io->known && whole) {
			push(buf, counts, frame,
			     mhint_entry(io->disk, MEM_HINT_CLASS_BACKED,
					 block) |
			     (io->read ? 0 : MHINT_NOTE_WRITTEN));
		} else {
			counts->misaligned += io->known;
			if (io->read)
				push(buf, counts, frame, 0);
			else if (io->known)
				note_partial(buf, counts, io, phys, step);
		}
		phys += step;
		io->pos += step;
		len -= step;
	}
}
