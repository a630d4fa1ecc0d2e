// SPDX-License-Identifier: GPL-2.0
// migdb/hints.h from C++: compiled as C++98 and later, linked, and run.
#include <migdb/hints.h>

int main()
{
	struct migdb_hints *hints;
	uint64_t desc = 0;
	uint32_t file = 0;
	int err = migdb_hints_open(&hints, 0);

	if (!err)
		err = migdb_hints_class(hints, 0, 0, MIGDB_HINTS_HOT) == 0;
	else if (migdb_hints_strerror(MIGDB_HINTS_CALL_OPEN, err))
		err = 0;
	migdb_hints_close(hints);
	migdb_desc_set(&desc, file, 4096);
	return err || desc != (MIGDB_DESC_VALID | 1);
}
