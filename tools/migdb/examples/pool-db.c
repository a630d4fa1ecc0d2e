// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* A DBMS as small as can be: a pool of 16 KiB frames over one file, with hints. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <migdb/hints.h>

enum { FRAME = 16384, NR_FRAMES = 4096 };

static char *pool;		/* the frames */
static uint64_t *desc;		/* what each of them holds, for the host */
static uint32_t file;		/* the file's number in descriptors */

static int load(int fd, unsigned int frame, off_t offset)
{
	migdb_desc_empty(&desc[frame]);		/* the old block goes ... */
	if (pread(fd, pool + (size_t)frame * FRAME, FRAME, offset) != FRAME)
		return -1;
	migdb_desc_set(&desc[frame], file, offset);	/* ... a new one is there */
	return 0;
}

/* Without hints all works as ever: say why there are none, once, and go on. */
static void say(enum migdb_hints_call call, int err)
{
	if (err)
		fprintf(stderr, "no hints: %s\n", migdb_hints_strerror(call, err));
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECT) : -1, err;
	struct migdb_hints *hints;
	unsigned int n = 0;
	uint32_t number;

	pool = mmap(NULL, (size_t)FRAME * NR_FRAMES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	desc = calloc(NR_FRAMES, sizeof(*desc));
	if (fd < 0 || pool == MAP_FAILED || !desc)
		return fprintf(stderr, "usage: pool-db FILE\n"), EXIT_FAILURE;
	err = migdb_hints_open(&hints, 0);
	say(MIGDB_HINTS_CALL_OPEN, err);
	if (!err) {
		say(MIGDB_HINTS_CALL_FILE, migdb_hints_file(hints, fd, &file));
		say(MIGDB_HINTS_CALL_POOL,
		    migdb_hints_pool(hints, pool, FRAME, NR_FRAMES, desc, &number));
		migdb_hints_close(hints);	/* what was said holds */
	}
	while (n < NR_FRAMES && !load(fd, n, (off_t)n * FRAME))
		n++;
	printf("%u frames loaded; migrate the machine now, then press Enter\n", n);
	getchar();
	return EXIT_SUCCESS;
}
