// SPDX-License-Identifier: GPL-2.0
/*
 * How much of what a server keeps in memory is hinted, and how much of that is
 * right: starts a migration as a host would, and while the table stands still
 * compares each hinted frame with the block that its entry names.
 *
 *   hintshare [--freeze PID] WHAT...
 *
 * WHAT is "NAME=private:PID:MIB", all private anonymous mappings of a process from
 * that size on; "NAME=files:DIR", what the page cache has of the files below;
 * "NAME=shared:PID:OFFSET:LEN", of the shared memory that is that process's largest
 * mapping; or "NAME=table", all that the table names.  Prints one JSON object for
 * each NAME: pages in memory, those that have an entry, those whose entry is right.
 * --freeze stops a process for the comparison.
 *
 * For root in the guest; needs a mem_hints that was loaded with allow_local=1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest.h"
#include "guest.h"

#define CHUNK	(256 * 1024UL)
#define PFN	((1ULL << 55) - 1)

struct page {
	uint64_t frame;
	uint64_t entry;
};

static struct page *pages;
static size_t nr_pages, room;

static void fatal(const char *what)
{
	fprintf(stderr, "hintshare: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void add(uint64_t frame)
{
	if (nr_pages == room) {
		room = room ? 2 * room : 65536;
		pages = realloc(pages, room * sizeof(*pages));
		if (!pages)
			fatal("memory");
	}
	pages[nr_pages++].frame = frame;
}

/* ---- entries: the same table for all, page by page --------------------------- */

static uint64_t *leaf(uint64_t frame)
{
	static uint64_t slots[512], at = ~0ULL;
	static struct mem_hint_root root;
	uint64_t gpa, level;
	__le64 slot;

	if (at == frame >> 9)
		return slots;
	if (!root.magic && !table_root(&root))
		fatal("the table's root");
	at = frame >> 9;
	memset(slots, 0, sizeof(slots));
	if (frame >= le64toh(root.nr_frames))
		return slots;
	gpa = le64toh(root.table);
	for (level = le32toh(root.levels); gpa && --level;) {
		if (!phys_read(gpa + 8 * ((frame >> (9 * level)) & 511), &slot, 8))
			fatal("the table");
		gpa = le64toh(slot);
	}
	if (gpa && !phys_read(gpa, slots, sizeof(slots)))
		fatal("the table");
	return slots;
}

static uint64_t entry_of(uint64_t frame)
{
	return le64toh(leaf(frame)[frame & 511]);
}

static void all_of_the_table(void)
{
	struct mem_hint_root root;
	uint64_t frame;

	if (!table_root(&root))
		fatal("the table's root");
	for (frame = 0; frame < le64toh(root.nr_frames); frame++)
		if (entry_of(frame) & MEM_HINT_VALID)
			add(frame);
}

/* ---- pages -------------------------------------------------------------------- */

static void add_range(int pagemap, uint64_t from, uint64_t to)
{
	uint64_t v[512];
	ssize_t n, i;

	while (from < to) {
		size_t want = (to - from) / PAGE;

		n = pread(pagemap, v, 8 * (want < 512 ? want : 512), from / PAGE * 8);
		if (n <= 0)
			fatal("pagemap");
		for (i = 0; i < n / 8; i++)
			if (v[i] >> 63)
				add(v[i] & PFN);
		from += n / 8 * PAGE;
	}
}

static int open_pagemap(const char *pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/pagemap", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		fatal(path);
	return fd;
}

static FILE *open_maps(const char *pid)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "r");
	if (!f)
		fatal(path);
	return f;
}

static void private_of(char *pid, uint64_t min)
{
	int pagemap = open_pagemap(pid);
	FILE *maps = open_maps(pid);
	uint64_t from, to, inode;
	char line[512], perms[8];

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*x:%*x %" SCNu64,
			   &from, &to, perms, &inode) == 4 &&
		    !strcmp(perms, "rw-p") && !inode && to - from >= min)
			add_range(pagemap, from, to);
	fclose(maps);
	close(pagemap);
}

/* By our own page tables: no other process has all of it in its own. */
static void shared_of(const char *pid, uint64_t offset, uint64_t len)
{
	uint64_t from, to, best_from = 0, best_to = 0, at = offset & -PAGE;
	char line[512], perms[8], path[128];
	FILE *maps = open_maps(pid);
	unsigned char *vec;
	size_t i, nr;
	char *p;
	int fd;

	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, perms) == 3 &&
		    !strcmp(perms, "rw-s") && to - from > best_to - best_from) {
			best_from = from;
			best_to = to;
		}
	fclose(maps);
	snprintf(path, sizeof(path), "/proc/%s/map_files/%" PRIx64 "-%" PRIx64, pid,
		 best_from, best_to);
	fd = open(path, O_RDONLY);
	nr = (offset + len - at + PAGE - 1) / PAGE;
	vec = malloc(nr);
	p = mmap(NULL, nr * PAGE, PROT_READ, MAP_SHARED, fd, at);
	if (fd < 0 || !vec || p == MAP_FAILED || mincore(p, nr * PAGE, vec))
		fatal(path);
	for (i = 0; i < nr; i++) {
		if (!(vec[i] & 1))
			continue;
		(void)*(volatile char *)(p + i * PAGE);
		add(frame_of(p + i * PAGE));
	}
	munmap(p, nr * PAGE);
	free(vec);
	close(fd);
}

static int file_pages(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	int pagemap, fd;
	unsigned char *vec;
	size_t i, nr;
	char *p;

	if (flag != FTW_F || !S_ISREG(st->st_mode) || !st->st_size)
		return 0;
	fd = open(path, O_RDONLY | O_NOATIME);
	if (fd < 0)
		fatal(path);
	nr = (st->st_size + PAGE - 1) / PAGE;
	vec = malloc(nr);
	p = mmap(NULL, nr * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (!vec || p == MAP_FAILED || mincore(p, nr * PAGE, vec))
		fatal(path);
	pagemap = open_pagemap("self");
	for (i = 0; i < nr; i++) {
		if (!(vec[i] & 1))
			continue;
		(void)*(volatile char *)(p + i * PAGE);
		add_range(pagemap, (uintptr_t)p + i * PAGE, (uintptr_t)p + (i + 1) * PAGE);
	}
	close(pagemap);
	munmap(p, nr * PAGE);
	free(vec);
	close(fd);
	return 0;
}

/* ---- comparison ----------------------------------------------------------------- */

static int by_block(const void *a, const void *b)
{
	const struct page *p = a, *q = b;
	uint64_t gen = ~(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);

	return (p->entry & gen) < (q->entry & gen) ? -1 : (p->entry & gen) > (q->entry & gen);
}

static int disk_fd(unsigned int id)
{
	static int fds[MEM_HINT_MAX_DISKS + 1];
	char text[4096], *line, *save, type[32], name[32], path[64];
	unsigned int n;

	if (fds[id])
		return fds[id];
	if (!hints_text("disks", text, sizeof(text)))
		fatal("disks");
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%u %31s %31s", &n, type, name) != 3 || n != id)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", name);
		fds[id] = open(path, O_RDONLY | O_DIRECT);
		if (fds[id] < 0)
			fatal(path);
		return fds[id];
	}
	errno = ENODEV;
	fatal("an entry's disk");
	return -1;
}

/* The block that an entry names; in the order of blocks, so each chunk is read once. */
static const char *block_of(uint64_t entry)
{
	static char *chunk;
	static uint64_t at = ~0ULL;
	static unsigned int disk;
	unsigned int id = entry >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK;
	uint64_t pos = (entry & MEM_HINT_BLOCK_MASK) * PAGE;

	if (!chunk)
		chunk = aligned_alloc(CHUNK, CHUNK);
	if (!chunk)
		fatal("memory");
	if (id != disk || pos / CHUNK != at) {
		/* the last one of a disk may be short */
		if (pread(disk_fd(id), chunk, CHUNK, pos / CHUNK * CHUNK) <= 0)
			fatal("the disk");
		disk = id;
		at = pos / CHUNK;
	}
	return chunk + pos % CHUNK;
}

static void measure(char *what)
{
	char *spec = strchr(what, '='), *word[4] = {}, frame[PAGE], *save;
	size_t i, n = 0, named = 0, right = 0;

	if (!spec)
		fatal(what);
	*spec++ = 0;
	for (spec = strtok_r(spec, ":", &save); spec && n < 4; spec = strtok_r(NULL, ":", &save))
		word[n++] = spec;
	nr_pages = 0;
	if (!strcmp(word[0], "private") && n == 3) {
		private_of(word[1], strtoull(word[2], NULL, 0) << 20);
	} else if (!strcmp(word[0], "shared") && n == 4) {
		shared_of(word[1], strtoull(word[2], NULL, 0), strtoull(word[3], NULL, 0));
	} else if (!strcmp(word[0], "files") && n == 2) {
		if (nftw(word[1], file_pages, 16, FTW_PHYS | FTW_MOUNT))
			fatal(word[1]);
	} else if (!strcmp(word[0], "table") && n == 1) {
		all_of_the_table();
	} else {
		errno = EINVAL;
		fatal(what);
	}
	for (i = 0; i < nr_pages; i++)
		pages[i].entry = entry_of(pages[i].frame);
	qsort(pages, nr_pages, sizeof(*pages), by_block);
	for (i = 0; i < nr_pages; i++) {
		if (!(pages[i].entry & MEM_HINT_VALID))
			continue;
		named++;
		if (!phys_read(pages[i].frame * PAGE, frame, PAGE))
			fatal("memory");
		right += !memcmp(frame, block_of(pages[i].entry), PAGE);
	}
	printf("{\"what\":\"%s\",\"pages\":%zu,\"named\":%zu,\"right\":%zu}\n", what,
	       nr_pages, named, right);
}

int main(int argc, char **argv)
{
	pid_t frozen = 0;
	int i = 1, fd;

	if (argc > 2 && !strcmp(argv[1], "--freeze")) {
		frozen = atoi(argv[2]);
		i = 3;
	}
	if (i >= argc) {
		fprintf(stderr, "usage: hintshare [--freeze PID] NAME=WHAT...\n");
		return 2;
	}
	fd = migration_start(0);
	if (fd < 0)
		fatal("the channel");
	if (frozen && kill(frozen, SIGSTOP))
		fatal("kill");
	for (; i < argc; i++)
		measure(argv[i]);
	if (frozen)
		kill(frozen, SIGCONT);
	if (!migration_complete(fd)) {
		errno = EPROTO;
		fatal("the end");
	}
	return 0;
}
