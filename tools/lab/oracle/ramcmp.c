// SPDX-License-Identifier: GPL-2.0
/*
 * Compares two files of ramhash: every block of each side must be in the other
 * one with the same size and the same hash for each page, and both must have left
 * out the same bytes, none of them in a page of the construct set.
 *
 * Differing pages go to stdout, "differs BLOCK OFFSET gfn GFN", a JSON summary
 * is the last line.  Exit code 0: identical, 1: not, 2: could not compare.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ramhash.h"

struct image {
	const char *path;
	char *data;
	size_t size;
	struct ramhash_file *hdr;
	struct ramhash_mask *mask;
	struct ramhash_block **block;
};

/* Guest frames, one bit each. */
struct set {
	unsigned char *bits;
	uint64_t bytes, count;
};

static const char *ram = "pc.ram";
static uint64_t below_4g = ~0ull;

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
		errx(2, "cannot open %s: %s", path, strerror(errno));
	size = fseek(f, 0, SEEK_END) ? -1 : ftell(f);
	if (size < 0)
		errx(2, "cannot size %s", path);
	rewind(f);
	img->path = path;
	img->size = size;
	img->data = malloc(size + 1);
	if (!img->data || fread(img->data, 1, size, f) != (size_t)size)
		errx(2, "cannot read %s", path);
	fclose(f);
	img->hdr = (struct ramhash_file *)img->data;
	if (img->size < sizeof(*img->hdr) || memcmp(img->hdr->magic, RAMHASH_MAGIC, 8) ||
	    img->hdr->page_size != RAMHASH_PAGE || !img->hdr->nr_blocks)
		errx(2, "%s is no file of ramhash", path);
	img->block = calloc(img->hdr->nr_blocks, sizeof(*img->block));
	if (!img->block)
		errx(2, "out of memory");
	pos = sizeof(*img->hdr);
	img->mask = (struct ramhash_mask *)(img->data + pos);
	if ((img->size - pos) / sizeof(*img->mask) < img->hdr->nr_masks)
		errx(2, "%s is cut short", path);
	pos += img->hdr->nr_masks * sizeof(*img->mask);
	for (i = 0; i < img->hdr->nr_blocks; i++) {
		struct ramhash_block *b = (struct ramhash_block *)(img->data + pos);

		if (img->size - pos < sizeof(*b))
			errx(2, "%s is cut short", path);
		pos += sizeof(*b);
		if ((img->size - pos) / sizeof(struct ramhash_hash) < b->pages ||
		    b->name[RAMHASH_NAME - 1])
			errx(2, "%s is cut short", path);
		pos += b->pages * sizeof(struct ramhash_hash);
		img->block[i] = b;
	}
	if (pos != img->size)
		errx(2, "%s has %zu bytes too many", path, img->size - pos);
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
	errx(2, "%s: all pages of %s are the same: no guest has run there", im->path, x->name);
}

/* Where in the guest an offset of its RAM is. */
static uint64_t gfn_of(uint64_t off)
{
	return (off < below_4g ? off : off - below_4g + (1ull << 32)) / RAMHASH_PAGE;
}

/* A text file whose lines begin with a frame number in hexadecimal. */
static void load_set(struct set *set, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256];

	if (!f)
		errx(2, "cannot open %s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		unsigned long long gfn;
		char *end;

		if (*line == '#')
			continue;
		gfn = strtoull(line, &end, 16);
		if (end == line || gfn > 1ull << 40)
			errx(2, "%s: bad line: %s", path, line);
		if (gfn / 8 >= set->bytes) {
			uint64_t bytes = (gfn / 8 + 1) * 2;

			set->bits = realloc(set->bits, bytes);
			if (!set->bits)
				errx(2, "out of memory");
			memset(set->bits + set->bytes, 0, bytes - set->bytes);
			set->bytes = bytes;
		}
		set->count += !(set->bits[gfn / 8] >> gfn % 8 & 1);
		set->bits[gfn / 8] |= 1 << gfn % 8;
	}
	if (ferror(f))
		errx(2, "cannot read %s", path);
	fclose(f);
}

static int in_set(const struct set *set, uint64_t gfn)
{
	return gfn / 8 < set->bytes && set->bits[gfn / 8] >> gfn % 8 & 1;
}

/*
 * Nothing is left out on one side only, and never a page that migdb may have built:
 * it would be the one that nobody looks at.
 */
static void check_masks(const struct image *a, const struct image *b, const struct set *construct)
{
	uint32_t i;

	if (a->hdr->nr_masks != b->hdr->nr_masks ||
	    memcmp(a->mask, b->mask, a->hdr->nr_masks * sizeof(*a->mask)))
		errx(2, "%s and %s leave out different bytes", a->path, b->path);
	for (i = 0; i < a->hdr->nr_masks; i++) {
		const struct ramhash_mask *m = &a->mask[i];
		uint64_t p;

		if (strcmp(m->name, ram))
			continue;
		for (p = m->start / RAMHASH_PAGE; p <= (m->start + m->len - 1) / RAMHASH_PAGE; p++)
			if (in_set(construct, gfn_of(p * RAMHASH_PAGE)))
				errx(2, "the mask %.*s is in gfn 0x%llx, which is in the construct set: refused",
				     RAMHASH_KIND, m->kind,
				     (unsigned long long)gfn_of(p * RAMHASH_PAGE));
	}
}

int main(int argc, char **argv)
{
	uint64_t pages = 0, bytes = 0, differing = 0, blocks = 0, max = 100, masked = 0;
	struct set construct = {}, built = {};
	struct image a, b;
	uint32_t i;
	int c;

	while ((c = getopt(argc, argv, "r:l:n:s:b:")) != -1) {
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
		case 's':
			load_set(&construct, optarg);
			break;
		case 'b':
			load_set(&built, optarg);
			break;
		default:
			goto usage;
		}
	}
	if (argc - optind != 2)
		goto usage;
	load(&a, argv[optind]);
	load(&b, argv[optind + 1]);
	check_masks(&a, &b, &construct);
	for (i = 0; i < a.hdr->nr_masks; i++)
		masked += a.mask[i].len;
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
			uint64_t off = p * RAMHASH_PAGE, gfn;

			if (!memcmp(&hashes(x)[p], &hashes(y)[p], sizeof(struct ramhash_hash)))
				continue;
			if (differing++ >= max)
				continue;
			/* Other blocks are ROMs and BARs: their place is not ours to know. */
			if (strcmp(x->name, ram)) {
				printf("differs %s 0x%llx\n", x->name, (unsigned long long)off);
				continue;
			}
			gfn = gfn_of(off);
			printf("differs %s 0x%llx gfn 0x%llx%s%s\n", x->name, (unsigned long long)off,
			       (unsigned long long)gfn,
			       in_set(&construct, gfn) ? " in the construct set" : "",
			       in_set(&built, gfn) ? ", built" : "");
		}
		pages += x->pages;
		bytes += x->used;
	}
	if (differing > max)
		printf("and %llu more\n", (unsigned long long)(differing - max));
	printf("{\"identical\":%s,\"blocks\":%u,\"bad_blocks\":%llu,\"pages\":%llu,\"bytes\":%llu,"
	       "\"differing\":%llu,\"masked_bytes\":%llu,\"construct\":%llu}\n",
	       differing || blocks ? "false" : "true", a.hdr->nr_blocks,
	       (unsigned long long)blocks, (unsigned long long)pages, (unsigned long long)bytes,
	       (unsigned long long)differing, (unsigned long long)masked,
	       (unsigned long long)construct.count);
	return differing || blocks ? 1 : 0;
usage:
	fputs("usage: ramcmp [-r RAMBLOCK] [-l BYTES_BELOW_4G] [-n MAX_LINES] [-s SET] [-b BUILT] A B\n"
	      "RAMBLOCK (pc.ram) is the one whose offsets are guest addresses; what is above\n"
	      "BYTES_BELOW_4G (default: everything is below) begins at 4 GiB in the guest.\n"
	      "SET and BUILT: lines that begin with a guest frame number in hexadecimal: the\n"
	      "construct set, in which nothing may be masked, and the pages built of it.\n",
	      stderr);
	return 2;
}
