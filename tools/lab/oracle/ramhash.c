// SPDX-License-Identifier: GPL-2.0
/*
 * One 128-bit hash per 4 KiB page of another process's RAM blocks.
 *
 * The VM must not run while this reads: the caller stops the source and keeps
 * the destination paused.  Memory is read through /proc/PID/mem, so neither
 * QEMU nor its kernel side takes part: a bug in them cannot hide itself.
 */
#define XXH_INLINE_ALL
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "ramhash.h"

#define MAX_BLOCKS	256
#define MAX_MASKS	64
#define CHUNK		0x100000u

struct block {
	struct ramhash_block hdr;
	uint64_t hva;
};

/*
 * What the host's KVM writes by itself, and so may differ: nothing else can be
 * left out, and never more than the area's size.  See the x86 headers
 * kvm_para.h and pvclock-abi.h.
 */
static const struct {
	const char *kind;
	uint64_t max_len;
} areas[] = {
	{ "wall-clock", 12 },
	{ "steal-time", 64 },
};

static struct block blocks[MAX_BLOCKS];
static struct ramhash_mask masks[MAX_MASKS];
static uint64_t masked[MAX_MASKS];
static int nr_blocks, nr_masks;

static void usage(void)
{
	fputs("usage: ramhash [-m AREA=BLOCK:OFFSET,LEN]... PID OUT <BLOCKS\n"
	      "       ramhash -p ADDRESS,LEN PID        hex dump of the process's memory\n"
	      "       ramhash -f ADDRESS PID            invert the byte at ADDRESS\n"
	      "BLOCKS: lines of \"HVA USED NAME\"; -m leaves these bytes out of the hash;\n"
	      "AREA says what KVM keeps there: wall-clock, steal-time.\n"
	      "ADDRESS is a virtual address of the process, numbers may be hexadecimal.\n",
	      stderr);
	exit(2);
}

static uint64_t number(const char *s, char **end)
{
	uint64_t v;

	errno = 0;
	v = strtoull(s, end, 0);
	if (errno || *end == s)
		errx(2, "'%s' is no number", s);
	return v;
}

static void add_mask(const char *arg)
{
	const char *equals = strchr(arg, '='), *colon = strrchr(arg, ':');
	struct ramhash_mask *m = &masks[nr_masks];
	unsigned int i;
	char *end;

	if (!equals || !colon || colon < equals || nr_masks == MAX_MASKS)
		errx(2, "bad mask '%s'", arg);
	if ((size_t)(equals - arg) >= sizeof(m->kind) ||
	    (size_t)(colon - equals - 1) >= sizeof(m->name))
		errx(2, "name too long in '%s'", arg);
	memcpy(m->kind, arg, equals - arg);
	memcpy(m->name, equals + 1, colon - equals - 1);
	m->start = number(colon + 1, &end);
	if (*end != ',')
		errx(2, "bad mask '%s'", arg);
	m->len = number(end + 1, &end);
	if (*end || !m->len)
		errx(2, "bad mask '%s'", arg);
	for (i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		if (strcmp(areas[i].kind, m->kind))
			continue;
		if (m->len > areas[i].max_len)
			errx(2, "mask '%s': %s has %llu bytes", arg, m->kind,
			     (unsigned long long)areas[i].max_len);
		nr_masks++;
		return;
	}
	errx(2, "mask '%s': KVM writes no area of that name by itself", arg);
}

static void read_blocks(FILE *in)
{
	unsigned long long hva, used;
	char name[RAMHASH_NAME];
	char line[512];

	while (fgets(line, sizeof(line), in)) {
		struct block *b = &blocks[nr_blocks];

		if (sscanf(line, "%llx %llx %255[^\n]", &hva, &used, name) != 3)
			errx(2, "bad block line: %s", line);
		if (nr_blocks == MAX_BLOCKS)
			errx(2, "more than %d blocks", MAX_BLOCKS);
		strcpy(b->hdr.name, name);
		b->hva = hva;
		b->hdr.used = used;
		b->hdr.pages = (used + RAMHASH_PAGE - 1) / RAMHASH_PAGE;
		nr_blocks++;
	}
	if (!nr_blocks)
		errx(2, "no RAM block on standard input");
}

static void read_mem(int fd, void *buf, size_t len, uint64_t addr)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, (char *)buf + done, len - done, (off_t)(addr + done));
		if (n <= 0)
			errx(2, "cannot read %zu bytes at %#llx: %s", len - done,
			     (unsigned long long)(addr + done), n ? strerror(errno) : "end of file");
		done += n;
	}
}

/* Zero what the masks name in a chunk. */
static void apply_masks(const char *name, unsigned char *buf, uint64_t off, size_t len)
{
	uint64_t a, b;
	int i;

	for (i = 0; i < nr_masks; i++) {
		if (strcmp(masks[i].name, name))
			continue;
		a = masks[i].start > off ? masks[i].start : off;
		b = masks[i].start + masks[i].len;
		if (b > off + len)
			b = off + len;
		if (a >= b)
			continue;
		memset(buf + (a - off), 0, b - a);
		masked[i] += b - a;
	}
}

/* One that leaves nothing out was meant for something else. */
static void check_masks(void)
{
	int i;

	for (i = 0; i < nr_masks; i++)
		if (masked[i] != masks[i].len)
			errx(2, "mask %s=%s:%#llx,%llu is not inside a block", masks[i].kind,
			     masks[i].name, (unsigned long long)masks[i].start,
			     (unsigned long long)masks[i].len);
}

static void hash_blocks(int fd, const char *path)
{
	struct ramhash_file fh = {
		.magic = RAMHASH_MAGIC, .page_size = RAMHASH_PAGE, .nr_blocks = nr_blocks,
		.nr_masks = nr_masks,
	};
	static struct ramhash_hash hash[CHUNK / RAMHASH_PAGE];
	unsigned char *buf = aligned_alloc(RAMHASH_PAGE, CHUNK);
	FILE *out = fopen(path, "w");
	int i;

	if (!buf || !out)
		errx(2, "cannot write %s: %s", path, strerror(errno));
	fwrite(&fh, sizeof(fh), 1, out);
	fwrite(masks, sizeof(masks[0]), nr_masks, out);
	for (i = 0; i < nr_blocks; i++) {
		struct block *b = &blocks[i];
		uint64_t off;

		fwrite(&b->hdr, sizeof(b->hdr), 1, out);
		for (off = 0; off < b->hdr.used; off += CHUNK) {
			size_t len = b->hdr.used - off < CHUNK ? b->hdr.used - off : CHUNK;
			size_t p, n = (len + RAMHASH_PAGE - 1) / RAMHASH_PAGE;

			read_mem(fd, buf, len, b->hva + off);
			memset(buf + len, 0, n * RAMHASH_PAGE - len);
			apply_masks(b->hdr.name, buf, off, len);
			for (p = 0; p < n; p++) {
				XXH128_hash_t h = XXH3_128bits(buf + p * RAMHASH_PAGE,
							       RAMHASH_PAGE);

				hash[p].lo = h.low64;
				hash[p].hi = h.high64;
			}
			fwrite(hash, sizeof(hash[0]), n, out);
		}
	}
	check_masks();
	if (ferror(out) || fclose(out))
		errx(2, "cannot write %s", path);
	free(buf);
}

static void dump(int fd, const char *arg)
{
	unsigned char buf[RAMHASH_PAGE];
	uint64_t addr, len, i;
	char *end;

	addr = number(arg, &end);
	if (*end != ',')
		usage();
	len = number(end + 1, &end);
	if (*end || !len || len > sizeof(buf))
		errx(2, "a length from 1 to %zu is wanted", sizeof(buf));
	read_mem(fd, buf, len, addr);
	for (i = 0; i < len; i++)
		printf("%02x%c", buf[i], i % 16 == 15 || i + 1 == len ? '\n' : ' ');
}

static void flip(int fd, const char *arg)
{
	unsigned char byte;
	uint64_t addr;
	char *end;

	addr = number(arg, &end);
	if (*end)
		usage();
	read_mem(fd, &byte, 1, addr);
	byte = ~byte;
	if (pwrite(fd, &byte, 1, (off_t)addr) != 1)
		errx(2, "cannot write at %#llx: %s", (unsigned long long)addr, strerror(errno));
}

int main(int argc, char **argv)
{
	const char *dump_arg = NULL, *flip_arg = NULL;
	char path[64];
	int fd, c;

	while ((c = getopt(argc, argv, "m:p:f:")) != -1) {
		switch (c) {
		case 'm':
			add_mask(optarg);
			break;
		case 'p':
			dump_arg = optarg;
			break;
		case 'f':
			flip_arg = optarg;
			break;
		default:
			usage();
		}
	}
	if (argc - optind != (dump_arg || flip_arg ? 1 : 2))
		usage();
	snprintf(path, sizeof(path), "/proc/%d/mem", atoi(argv[optind]));
	fd = open(path, flip_arg ? O_RDWR : O_RDONLY);
	if (fd < 0)
		errx(2, "cannot open %s: %s", path, strerror(errno));
	if (dump_arg) {
		dump(fd, dump_arg);
	} else if (flip_arg) {
		flip(fd, flip_arg);
	} else {
		read_blocks(stdin);
		hash_blocks(fd, argv[optind + 1]);
	}
	return 0;
}
