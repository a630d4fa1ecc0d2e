// SPDX-License-Identifier: GPL-2.0
/* How runs of records become large reads, see io_shape.h. */
#include <linux/types.h>
#include <linux/minmax.h>
#include "io_shape.h"

bool migdb_io_add(struct migdb_io_shape *io, u32 disk, u64 block, u32 nr, u32 max, u32 gap)
{
	u64 end, new_end;

	if (!nr || nr > max || block >= MIGDB_MAX_BLOCK || nr > MIGDB_MAX_BLOCK - block)
		return false;
	if (!io->nr_blocks) {
		io->disk = disk;
		io->first_block = block;
		io->nr_blocks = nr;
		return true;
	}
	if (disk != io->disk || block < io->first_block)
		return false;
	end = io->first_block + io->nr_blocks;
	if (block > end && block - end > gap)
		return false;
	new_end = max_t(u64, end, block + nr);
	if (new_end - io->first_block > max)
		return false;
	io->nr_blocks = new_end - io->first_block;
	return true;
}
