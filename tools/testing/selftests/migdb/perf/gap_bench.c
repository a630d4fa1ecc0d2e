// SPDX-License-Identifier: MIT
/*
 * Which shape of reads brings most pages from a disk: an experiment for the
 * limits MIGDB_IO_MAX_PAGES, MIGDB_IO_GAP_PAGES and MIGDB_IO_SHORT_PAGES, without
 * migdb.
 *
 * Of all 16 KiB extents of the disk, --fill percent are wanted.  Reads are made
 * in disk order as migdb does it: they may hold up to --gap blocks between two
 * wanted ones as long as they are shorter than --short blocks, are at most --max
 * blocks long, and --depth of them are in flight.  The figure is wanted bytes
 * per second; one JSON line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include "disk.h"
#include "perf.h"

#define UNIT		4	/* blocks of an InnoDB page */
#define MAX_DEPTH	256

struct shape {
	u64 first;
	u32 nr, wanted;
};

struct plan {
	u32 fill, gap, short_blocks, max, depth;
	u64 blocks, next;	/* of the disk; extent to look at */
	u64 left;		/* wanted blocks still to be planned */
};

static bool wanted(const struct plan *p, u64 extent)
{
	return perf_mix(extent, 12) % 100 < p->fill;
}

/* The next read: extents as long as they fit.  False: no more. */
static bool plan_read(struct plan *p, struct shape *s)
{
	u64 end = p->blocks / UNIT, at;

	*s = (struct shape){};
	for (; p->next < end && p->left; p->next++) {
		if (!wanted(p, p->next))
			continue;
		at = p->next * UNIT;
		if (!s->nr)
			s->first = at;
		else if (at - (s->first + s->nr) > (s->nr < p->short_blocks ? p->gap : 0) ||
			 at + UNIT - s->first > p->max)
			break;
		s->nr = at + UNIT - s->first;
		s->wanted += UNIT;
		p->left -= p->left < UNIT ? p->left : UNIT;
	}
	return s->nr;
}

static void submit(aio_context_t ctx, int fd, struct iocb *cb, const struct shape *s, void *buf)
{
	*cb = (struct iocb){
		.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd,
		.aio_buf = (u64)(uintptr_t)buf, .aio_nbytes = s->nr * MDB_PAGE,
		.aio_offset = s->first * MDB_PAGE, .aio_data = (u64)(uintptr_t)cb,
	};
	if (syscall(SYS_io_submit, ctx, 1, &cb) != 1)
		perf_die("io_submit", errno);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "disk", 1, NULL, 'd' }, { "fill", 1, NULL, 'f' }, { "gap", 1, NULL, 'g' },
		{ "short", 1, NULL, 's' },
		{ "max", 1, NULL, 'x' }, { "depth", 1, NULL, 'q' }, { "mib", 1, NULL, 'm' }, {}
	};
	static struct iocb cb[MAX_DEPTH];
	static struct io_event events[MAX_DEPTH];
	static void *buf[MAX_DEPTH];
	struct plan p = { .fill = 60, .gap = 4, .short_blocks = 8, .max = 128, .depth = 64 };
	u64 mib = 32, start, ns, bytes = 0, got = 0, reads = 0;
	const char *disk = NULL;
	aio_context_t ctx = 0;
	struct shape s;
	u32 inflight, i;
	int opt, fd, n;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			disk = optarg;
			break;
		case 'f':
			p.fill = perf_number(optarg);
			break;
		case 'g':
			p.gap = perf_number(optarg);
			break;
		case 's':
			p.short_blocks = perf_number(optarg);
			break;
		case 'x':
			p.max = perf_number(optarg);
			break;
		case 'q':
			p.depth = perf_number(optarg);
			break;
		case 'm':
			mib = perf_number(optarg);
			break;
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc || !disk || !p.fill || p.fill > 100 || p.max < UNIT || p.max > 4096 ||
	    !p.depth || p.depth > MAX_DEPTH || !mib) {
		fprintf(stderr, "usage: gap_bench --disk PATH [--fill PERCENT] [--gap BLOCKS] [--short BLOCKS] [--max BLOCKS] [--depth N] [--mib N]\n");
		return 1;
	}
	fd = disk_open(disk, O_RDONLY);
	if (fd < 0)
		perf_die(disk, -fd);
	p.blocks = perf_disk_blocks(fd);
	p.left = (mib << 20) / MDB_PAGE;
	if (syscall(SYS_io_setup, p.depth, &ctx))
		perf_die("io_setup", errno);
	for (i = 0; i < p.depth; i++) {
		if (posix_memalign(&buf[i], MDB_PAGE, p.max * MDB_PAGE))
			perf_die("buffers", ENOMEM);
		memset(buf[i], 0, p.max * MDB_PAGE);
	}
	start = perf_now_ns();
	for (inflight = 0; inflight < p.depth && plan_read(&p, &s); inflight++) {
		submit(ctx, fd, &cb[inflight], &s, buf[inflight]);
		got += s.wanted;
	}
	while (inflight) {
		n = syscall(SYS_io_getevents, ctx, 1, p.depth, events, NULL);
		if (n < 0)
			perf_die("io_getevents", errno);
		for (i = 0; i < n; i++) {
			struct iocb *c = (void *)(uintptr_t)events[i].data;

			if (events[i].res != (s64)c->aio_nbytes)
				perf_die(disk, EIO);
			bytes += c->aio_nbytes;
			reads++;
			inflight--;
			if (!plan_read(&p, &s))
				continue;
			submit(ctx, fd, c, &s, buf[c - cb]);
			got += s.wanted;
			inflight++;
		}
	}
	ns = perf_now_ns() - start;
	printf("{\"bench\":\"gap\",\"fill\":%u,\"gap\":%u,\"short\":%u,\"max\":%u,\"depth\":%u,\"reads\":%llu,\"mean_read_bytes\":%.0f,\"wanted_bytes_per_s\":%.0f,\"read_bytes_per_s\":%.0f}\n",
	       p.fill, p.gap, p.short_blocks, p.max, p.depth,
	       (unsigned long long)reads, (double)bytes / reads,
	       got * MDB_PAGE * 1e9 / ns, bytes * 1e9 / ns);
	return 0;
}
