// SPDX-License-Identifier: GPL-2.0
/*
 * The pages that a guest's hint table names, read out of the guest's own memory.
 *
 * They are the most that the construct set of a migration can be: the table stands
 * still from the snapshot to the end, and the set only shrinks.  So this needs
 * neither QEMU nor a kernel module, whose idea of the set it is to check.  The VM
 * must not run.
 *
 * One line for each page, by frame: "0xGFN DISK BLOCK", after a comment with totals.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/mem_hints.h>

#include "ramhash.h"

static uint64_t hva, ram_bytes;
static uint64_t nr_frames, nr_pages;
static int mem_fd;
static FILE *out;

/* Guest addresses are offsets in RAM here: the lab's guests end below the hole. */
static void read_page(void *buf, uint64_t gpa)
{
	if (gpa % MEM_HINT_FRAME_SIZE || gpa >= ram_bytes || ram_bytes - gpa < MEM_HINT_FRAME_SIZE)
		errx(2, "a table page at guest address %#" PRIx64 ", the guest has %#" PRIx64 " bytes",
		     gpa, ram_bytes);
	if (pread(mem_fd, buf, MEM_HINT_FRAME_SIZE, (off_t)(hva + gpa)) != MEM_HINT_FRAME_SIZE)
		errx(2, "cannot read guest address %#" PRIx64 ": %s", gpa, strerror(errno));
}

static void entry(uint64_t gfn, uint64_t e)
{
	if (!(e & MEM_HINT_VALID))
		return;
	fprintf(out, "0x%" PRIx64 " %u %" PRIu64 "\n", gfn,
		(unsigned int)(e >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK),
		(uint64_t)(e & MEM_HINT_BLOCK_MASK));
	nr_pages++;
}

static void walk(uint64_t gpa, unsigned int level, uint64_t first)
{
	uint64_t slots[MEM_HINT_SLOTS];
	unsigned int i;

	read_page(slots, gpa);
	for (i = 0; i < MEM_HINT_SLOTS; i++) {
		uint64_t gfn = first + ((uint64_t)i << MEM_HINT_LEVEL_BITS * level);

		if (gfn >= nr_frames)
			return;
		if (!slots[i])
			continue;
		if (level)
			walk(slots[i], level - 1, gfn);
		else
			entry(gfn, slots[i]);
	}
}

/* The block of guest RAM out of ramhash's input. */
static void find_ram(FILE *in)
{
	char line[512], name[RAMHASH_NAME];
	unsigned long long at, used;

	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "%llx %llx %255[^\n]", &at, &used, name) != 3)
			errx(2, "bad block line: %s", line);
		if (!strcmp(name, "pc.ram")) {
			hva = at;
			ram_bytes = used;
		}
	}
	if (!ram_bytes)
		errx(2, "no block pc.ram on standard input");
}

int main(int argc, char **argv)
{
	char page[MEM_HINT_FRAME_SIZE], path[64];
	struct mem_hint_root *root = (void *)page;
	uint64_t gpa, table;
	uint32_t levels;
	char *end;

	if (argc != 4) {
		fputs("usage: hintset ROOT PID OUT <BLOCKS\n"
		      "ROOT: guest address of the hint table's root; BLOCKS as for ramhash.\n", stderr);
		return 2;
	}
	gpa = strtoull(argv[1], &end, 0);
	if (*end || end == argv[1])
		errx(2, "'%s' is no address", argv[1]);
	snprintf(path, sizeof(path), "/proc/%d/mem", atoi(argv[2]));
	mem_fd = open(path, O_RDONLY);
	if (mem_fd < 0)
		errx(2, "cannot open %s: %s", path, strerror(errno));
	out = fopen(argv[3], "w");
	if (!out)
		errx(2, "cannot write %s: %s", argv[3], strerror(errno));
	find_ram(stdin);
	read_page(page, gpa);
	if (root->magic != MEM_HINT_ROOT_MAGIC || root->version != MEM_HINT_ABI_VERSION)
		errx(2, "there is no hint table at guest address %#" PRIx64, gpa);
	levels = root->levels;
	nr_frames = root->nr_frames;
	table = root->table;
	if (!levels || levels > MEM_HINT_MAX_LEVELS)
		errx(2, "a table of %u levels", levels);
	/* Bounds the walk: a page of it for every 512 frames, whatever it links. */
	if (nr_frames > ram_bytes / MEM_HINT_FRAME_SIZE)
		errx(2, "a table of %" PRIu64 " frames, the guest has %" PRIu64, nr_frames,
		     ram_bytes / MEM_HINT_FRAME_SIZE);
	fprintf(out, "# root %#" PRIx64 " frames %" PRIu64 " generation %" PRIu64 " frozen %d\n", gpa,
		nr_frames, (uint64_t)root->generation, !!(root->flags & MEM_HINT_ROOT_FROZEN));
	if (table)
		walk(table, levels - 1, 0);
	if (ferror(out) || fclose(out))
		errx(2, "cannot write %s", argv[3]);
	printf("%" PRIu64 "\n", nr_pages);
	return 0;
}
