// SPDX-License-Identifier: GPL-2.0
/*
 * Compares two files of ramhash: every block of each side must be in the other
 * one with the same size and the same hash for each page.
 *
 * Differing pages go to stdout, "differs BLOCK OFFSET gfn GFN", a JSON summary
 * is the last line.  Exit code 0: identical, 1: not, 2: could not compare.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ramhash.h"

struct image {
	const char *path;
	char *data;
	size_t size;
	struct ramhash_file *hdr;
	struct ramhash_block **block;
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("ramcmp: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

static struct ramhash_hash *hashes(struct ramhash_block *b)
{
	return (struct ramhash_hash *)(b + 1);
}

static void load(struct image *img, const char *path)
{
	FILE *f = fopen(path, "r");
	size_t pos;
	uint32_t i;
	long size;

	if (!f)
		die("cannot open %s: %s", path, strerror(errno));
	size = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
	if (size < 0)
		die("cannot size %s", path);
	rewind(f);
	img->path = path;
	img->size = size;
	img->data = malloc(size + 1);
	if (!img->data || fread(img->data, 1, size, f) != (size_t)size)
		die("cannot read %s", path);
	fclose(f);
	img->hdr = (struct ramhash_file *)img->data;
	if (img->size < sizeof(*img->hdr) || memcmp(img->hdr->magic, RAMHASH_MAGIC, 8) ||
	    img->hdr->page_size != RAMHASH_PAGE || !img->hdr->nr_blocks)
		die("%s is no file of ramhash", path);
	img->block = calloc(img->hdr->nr_blocks, sizeof(*img->block));
	if (!img->block)
		die("out of memory");
	pos = sizeof(*img->hdr);
	for (i = 0; i < img->hdr->nr_blocks; i++) {
		struct ramhash_block *b = (struct ramhash_block *)(img->data + pos);

		if (img->size - pos < sizeof(*b))
			die("%s is cut short", path);
		pos += sizeof(*b);
		if ((img->size - pos) / sizeof(struct ramhash_hash) < b->pages ||
		    b->name[RAMHASH_NAME - 1])
			die("%s is cut short", path);
		pos += b->pages * sizeof(struct ramhash_hash);
		img->block[i] = b;
	}
	if (pos != img->size)
		die("%s has %zu bytes too many", path, img->size - pos);
}

static struct ramhash_block *find(struct image *img, const char *name)
{
	uint32_t i;

	for (i = 0; i < img->hdr->nr_blocks; i++)
		if (!strcmp(img->block[i]->name, name))
			return img->block[i];
	return NULL;
}

/* Two VMs that never ran are equal, too: that proves nothing. */
static void refuse_empty(const struct image *im, struct ramhash_block *x)
{
	uint64_t p;

	for (p = 1; p < x->pages; p++)
		if (memcmp(&hashes(x)[p], &hashes(x)[0], sizeof(struct ramhash_hash)))
			return;
	die("%s: all pages of %s are the same: no guest has run there", im->path, x->name);
}

int main(int argc, char **argv)
{
	uint64_t pages = 0, bytes = 0, differing = 0, blocks = 0, max = 100;
	const char *ram = "pc.ram";
	uint64_t below_4g = ~0ull;
	struct image a, b;
	uint32_t i;
	int c;

	while ((c = getopt(argc, argv, "r:l:n:")) != -1) {
		switch (c) {
		case 'r':
			ram = optarg;
			break;
		case 'l':
			below_4g = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			max = strtoull(optarg, NULL, 0);
			break;
		default:
			goto usage;
		}
	}
	if (argc - optind != 2)
		goto usage;
	load(&a, argv[optind]);
	load(&b, argv[optind + 1]);
	for (i = 0; i < b.hdr->nr_blocks; i++) {
		if (find(&a, b.block[i]->name))
			continue;
		printf("block %s is only in %s\n", b.block[i]->name, b.path);
		blocks++;
	}
	for (i = 0; i < a.hdr->nr_blocks; i++) {
		struct ramhash_block *x = a.block[i], *y = find(&b, x->name);
		uint64_t p;

		if (!y) {
			printf("block %s is only in %s\n", x->name, a.path);
			blocks++;
			continue;
		}
		if (x->used != y->used) {
			printf("block %s has %llu and %llu bytes\n", x->name,
			       (unsigned long long)x->used, (unsigned long long)y->used);
			blocks++;
			continue;
		}
		if (!strcmp(x->name, ram))
			refuse_empty(&a, x);
		for (p = 0; p < x->pages; p++) {
			uint64_t off = p * RAMHASH_PAGE, gpa;

			if (!memcmp(&hashes(x)[p], &hashes(y)[p], sizeof(struct ramhash_hash)))
				continue;
			if (differing++ >= max)
				continue;
			/* Other blocks are ROMs and BARs: their place is not ours to know. */
			if (strcmp(x->name, ram)) {
				printf("differs %s 0x%llx\n", x->name, (unsigned long long)off);
				continue;
			}
			gpa = off < below_4g ? off : off - below_4g + (1ull << 32);
			printf("differs %s 0x%llx gfn 0x%llx\n", x->name, (unsigned long long)off,
			       (unsigned long long)(gpa / RAMHASH_PAGE));
		}
		pages += x->pages;
		bytes += x->used;
	}
	if (differing > max)
		printf("and %llu more\n", (unsigned long long)(differing - max));
	printf("{\"identical\":%s,\"blocks\":%u,\"bad_blocks\":%llu,\"pages\":%llu,\"bytes\":%llu,"
	       "\"differing\":%llu,\"masked_bytes\":[%llu,%llu]}\n",
	       differing || blocks ? "false" : "true", a.hdr->nr_blocks,
	       (unsigned long long)blocks, (unsigned long long)pages, (unsigned long long)bytes,
	       (unsigned long long)differing, (unsigned long long)a.hdr->masked_bytes,
	       (unsigned long long)b.hdr->masked_bytes);
	return differing || blocks ? 1 : 0;
usage:
	fputs("usage: ramcmp [-r RAMBLOCK] [-l BYTES_BELOW_4G] [-n MAX_LINES] A B\n"
	      "RAMBLOCK (pc.ram) is the one whose offsets are guest addresses; what is above\n"
	      "BYTES_BELOW_4G (default: everything is below) begins at 4 GiB in the guest.\n",
	      stderr);
	return 2;
}
