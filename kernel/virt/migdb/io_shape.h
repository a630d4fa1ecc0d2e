/* SPDX-License-Identifier: GPL-2.0 */
/* How runs of records become large reads: pure arithmetic. */
#ifndef _MIGDB_IO_SHAPE_H
#define _MIGDB_IO_SHAPE_H

#include <linux/types.h>
#include "limits.h"

/* One read: blocks [first, first + nr) of @disk; nr == 0: empty. */
struct migdb_io_shape {
	u32 disk;
	u32 nr_blocks;
	u64 first_block;
};

/*
 * Grow the read so that it covers @nr blocks from @block on.  True if it does
 * now; false, and unchanged, if the run is of another disk, starts before the
 * read's first block, lies more than @gap blocks behind its end, or would make it
 * longer than @max blocks.  A run inside the read (two pages that want the same
 * block) costs nothing.  An empty read takes any run of at most @max blocks.
 * Never true for no blocks, or for blocks past MIGDB_MAX_BLOCK.
 */
bool migdb_io_add(struct migdb_io_shape *io, u32 disk, u64 block, u32 nr, u32 max, u32 gap);

#endif /* _MIGDB_IO_SHAPE_H */
