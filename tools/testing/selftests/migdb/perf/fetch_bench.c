// SPDX-License-Identifier: MIT
/*
 * How fast a destination builds pages, and what a migration costs in memory.
 *
 * A source and a destination session in one process.  Extents of --unit pages
 * of the disk, --fill percent of all there are, lie in guest memory in random
 * order (--unit 0: the disk's first part as it is).  The source hashes all of
 * it; its stream is held back until it is complete, so that what is timed is
 * the destination alone: from the first byte of the stream to the last page.
 *
 *	fetch_bench --make-disk FILE
 *	fetch_bench --disk PATH [--mem MIB] [--unit N] [--fill PERCENT] [--workers N]
 *	fetch_bench --disk PATH --memory ...
 *
 * --memory is for a slow disk: it looks at the kernel's memory while all pages
 * are recorded and hardly one is built, and does not wait for the rest.  One
 * JSON line each; a page that was built wrong is an error, not a figure.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <linux/vhost.h>
#include "perf.h"
#include "rig.h"

#define STALL_MS	60000	/* nothing built for so long: give up */

/* Since Linux 6.5; the C library's headers may be older. */
#ifndef VHOST_NEW_WORKER
struct vhost_worker_state {
	unsigned int worker_id;
};

struct vhost_vring_worker {
	unsigned int index;
	unsigned int worker_id;
};

#define VHOST_NEW_WORKER		_IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER	_IOW(VHOST_VIRTIO, 0x15, struct vhost_vring_worker)
#endif

typedef unsigned long long ull;

struct bench {
	const char *disk_path;
	u64 mem_mib;
	u32 unit, fill, workers;
	bool memory;
	struct rig r;
	u64 hinted;		/* pages that hold a block */
};

/* Bytes of the kernel's, as the memcg of this process and as the host see them. */
struct kmem {
	s64 charged;			/* memcg: all of it */
	s64 charged_slab, charged_vmalloc;
	s64 available, slab, vmalloc;	/* host; other things move them, too */
};

static u64 line_number(FILE *f, const char *name)
{
	char line[256];
	size_t len = strlen(name);

	rewind(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && (line[len] == ' ' || line[len] == ':'))
			return strtoull(line + len + 1, NULL, 10);
	return 0;
}

/* The memcg's own account; zeros where it has none (root, or no controller). */
static void read_charged(struct kmem *k)
{
	char line[256], path[320];
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (!f || !fgets(line, sizeof(line), f) || strncmp(line, "0::", 3))
		perf_die("/proc/self/cgroup", f ? EINVAL : errno);
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.stat", line + 3);
	f = fopen(path, "re");
	if (!f)
		return;
	k->charged = line_number(f, "kernel");
	k->charged_slab = line_number(f, "slab");
	k->charged_vmalloc = line_number(f, "vmalloc");
	fclose(f);
}

static struct kmem kmem_now(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	struct kmem k = {};

	if (!f)
		perf_die("/proc/meminfo", errno);
	k.available = line_number(f, "MemAvailable") * 1024;
	k.slab = line_number(f, "Slab") * 1024;
	k.vmalloc = line_number(f, "VmallocUsed") * 1024;
	fclose(f);
	read_charged(&k);
	return k;
}

static void print_kmem(const char *name, const struct kmem *now, const struct kmem *base)
{
	printf("\"%s\":{\"charged\":%lld,\"charged_slab\":%lld,\"charged_vmalloc\":%lld,\"available\":%lld,\"slab\":%lld,\"vmalloc\":%lld},",
	       name, (long long)(now->charged - base->charged),
	       (long long)(now->charged_slab - base->charged_slab),
	       (long long)(now->charged_vmalloc - base->charged_vmalloc),
	       (long long)(base->available - now->available),
	       (long long)(now->slab - base->slab), (long long)(now->vmalloc - base->vmalloc));
}

static int make_disk(const char *path)
{
	enum { CHUNK = 256 };
	int fd = disk_open(path, O_RDWR);
	u64 blocks, block, i, n;
	u8 *buf;

	if (fd < 0)
		perf_die(path, -fd);
	blocks = perf_disk_blocks(fd);
	if (posix_memalign((void **)&buf, MDB_PAGE, CHUNK * MDB_PAGE))
		perf_die("buffer", ENOMEM);
	for (block = 0; block < blocks; block += n) {
		n = blocks - block < CHUNK ? blocks - block : CHUNK;
		for (i = 0; i < n; i++)
			perf_fill(buf + i * MDB_PAGE, block + i);
		if (pwrite(fd, buf, n * MDB_PAGE, block * MDB_PAGE) != (ssize_t)(n * MDB_PAGE))
			perf_die(path, errno);
	}
	if (fsync(fd))
		perf_die(path, errno);
	free(buf);
	close(fd);
	return 0;
}

static void hold_block(struct bench *b, u64 page, u64 block)
{
	perf_fill(b->r.src_ram + page * MDB_PAGE, block);
	hints_set(&b->r.hints, page, hint_entry(RIG_GUEST_DISK, block));
	b->hinted++;
}

/* Extents in disk order, each at a random place of memory. */
static void lay_out(struct bench *b, u64 first, u64 blocks)
{
	u64 room = (b->r.nr_pages - first) / b->unit, nr = 0, e, i, k, t, *place;

	place = malloc(room * sizeof(*place));
	if (!place)
		perf_die("layout", ENOMEM);
	for (i = 0; i < room; i++)
		place[i] = i;
	for (i = 0; i + 1 < room; i++) {
		k = i + perf_mix(i, 11) % (room - i);
		t = place[i];
		place[i] = place[k];
		place[k] = t;
	}
	for (e = 0; e < blocks / b->unit && nr < room; e++) {
		if (perf_mix(e, 12) % 100 >= b->fill)
			continue;
		for (i = 0; i < b->unit; i++)
			hold_block(b, first + place[nr] * b->unit + i, e * b->unit + i);
		nr++;
	}
	free(place);
	if (nr < room)
		fprintf(stderr, "fetch_bench: the disk is too small: %llu of %llu extents\n",
			(ull)nr, (ull)room);
}

static void *ram(u64 bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		perf_die("memory", errno);
	return p;
}

static void set_up(struct bench *b)
{
	struct rig *r = &b->r;
	u64 first, page, blocks;

	*r = (struct rig){ .nr_pages = (b->mem_mib << 20) / MDB_PAGE, .src.fd = -1, .dst.fd = -1 };
	if (getrandom(r->uuid, sizeof(r->uuid), 0) != sizeof(r->uuid))
		perf_die("getrandom", EIO);
	r->disk = disk_open(b->disk_path, O_RDONLY);
	if (r->disk < 0)
		perf_die(b->disk_path, -r->disk);
	r->src_ram = ram(r->nr_pages * MDB_PAGE);
	r->dst_ram = ram(r->nr_pages * MDB_PAGE);
	memset(r->dst_ram, RIG_POISON, r->nr_pages * MDB_PAGE);
	hints_init(&r->hints, r->src_ram, 0, r->nr_pages);
	first = r->hints.end_gpa / MDB_PAGE;
	blocks = perf_disk_blocks(r->disk);
	if (b->unit)
		lay_out(b, first, blocks);
	else
		for (page = first; page < r->nr_pages && page - first < blocks; page++)
			hold_block(b, page, page - first);
}

/* Lanes 0, n, 2n... stay with the first worker, the others get one of n-1 more. */
static int spread_lanes(struct mdb *m, u32 workers)
{
	struct vhost_worker_state state;
	struct vhost_vring_worker ring;
	u32 w, lane;

	for (w = 1; w < workers; w++) {
		if (ioctl(m->fd, VHOST_NEW_WORKER, &state))
			return -errno;
		for (lane = w; lane < MIGDB_NR_LANES; lane += workers) {
			ring.index = lane;
			ring.worker_id = state.worker_id;
			if (ioctl(m->fd, VHOST_ATTACH_VRING_WORKER, &ring))
				return -errno;
		}
	}
	return 0;
}

static void start_dest(struct bench *b)
{
	struct rig *r = &b->r;
	int rc = rig_dest_idle(r, &r->dst, r->disk);

	if (!rc)
		rc = spread_lanes(&r->dst, b->workers);
	if (!rc)
		rc = mdb_start(&r->dst, MIGDB_ROLE_DEST, r->uuid, "fetch-bench");
	if (rc)
		perf_die("destination", -rc);
}

/* All of the source's work; its stream ends up in @w. */
static void hash_all(struct bench *b, struct wire *w)
{
	int rc = rig_snapshot(&b->r);

	if (!rc)
		rc = rig_hash(&b->r, w);
	if (rc)
		perf_die("snapshot", -rc);
	if (b->r.candidates != b->hinted) {
		fprintf(stderr, "fetch_bench: %llu candidates of %llu\n", (ull)b->r.candidates,
			(ull)b->hinted);
		exit(1);
	}
}

/* Until each record is built or returned. */
static struct migdb_stats wait_built(struct bench *b)
{
	u64 last = 0, since = perf_now_ns();
	struct migdb_stats st;
	int rc;

	for (;;) {
		rc = mdb_stats(&b->r.dst, &st);
		if (rc)
			perf_die("MIGDB_STATS", -rc);
		if (st.out_built + st.out_returned >= b->hinted)
			return st;
		if (st.out_built != last) {
			last = st.out_built;
			since = perf_now_ns();
		} else if (perf_now_ns() - since > STALL_MS * 1000000ULL) {
			perf_die("destination", ETIMEDOUT);
		}
		usleep(2000);
	}
}

static void verify(struct bench *b)
{
	struct rig *r = &b->r;
	u64 page;

	for (page = 0; page < r->nr_pages; page++)
		if (mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_DONE &&
		    memcmp(r->src_ram + page * MDB_PAGE, r->dst_ram + page * MDB_PAGE, MDB_PAGE)) {
			fprintf(stderr, "fetch_bench: page %#llx was built wrong\n", (ull)page);
			exit(1);
		}
}

static void print_head(const struct bench *b, const struct migdb_stats *src)
{
	printf("{\"bench\":\"%s\",\"mem_mib\":%llu,\"unit\":%u,\"fill\":%u,\"workers\":%u,\"pages\":%llu,\"source_hash_ns_per_page\":%.1f,",
	       b->memory ? "memory" : "fetch", (ull)b->mem_mib, b->unit, b->fill, b->workers,
	       (ull)b->hinted, (double)src->out_hash_ns / b->hinted);
}

static void run_fetch(struct bench *b)
{
	struct migdb_stats src, st;
	struct wire w = {};
	u64 start, taken, end;
	int rc = rig_source(&b->r);

	if (rc)
		perf_die("source", -rc);
	hash_all(b, &w);
	start_dest(b);
	start = perf_now_ns();
	rc = wire_push(&w, &b->r.dst);
	if (rc)
		perf_die("stream", -rc);
	taken = perf_now_ns();
	st = wait_built(b);
	end = perf_now_ns();
	verify(b);
	mdb_stats(&b->r.src, &src);
	print_head(b, &src);
	printf("\"ms\":%.1f,\"consume_ms\":%.1f,\"built\":%llu,\"returned\":%llu,\"bytes_per_s\":%.0f,\"reads\":%llu,\"read_bytes\":%llu,\"mean_read_bytes\":%.0f,\"read_bytes_per_s\":%.0f,\"dest_hash_ns_per_page\":%.1f}\n",
	       (end - start) / 1e6, (taken - start) / 1e6, (ull)st.out_built, (ull)st.out_returned,
	       st.out_built * MDB_PAGE * 1e9 / (end - start), (ull)st.out_reads,
	       (ull)st.out_read_bytes, (double)st.out_read_bytes / st.out_reads,
	       st.out_read_bytes * 1e9 / (end - start),
	       (double)st.out_hash_ns / (st.out_built + st.out_returned));
	wire_free(&w);
}

static void run_memory(struct bench *b)
{
	struct kmem base, opened, hashed, idle, full, closed;
	struct migdb_stats src, st;
	struct wire w = {};
	struct mdb extra;
	int rc;

	/* The wire is the VMM's memory, and grows: have it before we look. */
	w.room = b->hinted * 48 + (4 << 20);
	w.data = malloc(w.room);
	if (!w.data)
		perf_die("wire", ENOMEM);
	memset(w.data, 1, w.room);
	base = kmem_now();
	rc = mdb_open(&extra);
	if (!rc)
		rc = mdb_set_owner(&extra);
	if (rc)
		perf_die(MDB_DEV, -rc);
	opened = kmem_now();
	mdb_close(&extra);

	base = kmem_now();
	rc = rig_source(&b->r);
	if (rc)
		perf_die("source", -rc);
	hash_all(b, &w);
	hashed = kmem_now();
	mdb_stats(&b->r.src, &src);
	mdb_close(&b->r.src);

	idle = kmem_now();
	start_dest(b);
	rc = wire_push(&w, &b->r.dst);
	if (rc)
		perf_die("stream", -rc);
	usleep(300000);		/* all reads that it will ever have at once */
	full = kmem_now();
	mdb_stats(&b->r.dst, &st);
	mdb_close(&b->r.dst);
	usleep(300000);
	closed = kmem_now();

	print_head(b, &src);
	print_kmem("idle_session", &opened, &base);
	print_kmem("source", &hashed, &base);
	print_kmem("dest", &full, &idle);
	print_kmem("left", &closed, &base);
	printf("\"source_says\":%llu,\"dest_says\":%llu,\"built\":%llu}\n",
	       (ull)src.out_memory_bytes, (ull)st.out_memory_bytes, (ull)st.out_built);
	wire_free(&w);
}

static void parse(int argc, char **argv, struct bench *b)
{
	static const struct option options[] = {
		{ "disk", 1, NULL, 'd' }, { "mem", 1, NULL, 'm' }, { "unit", 1, NULL, 'u' },
		{ "fill", 1, NULL, 'f' }, { "workers", 1, NULL, 'w' }, { "memory", 0, NULL, 'k' },
		{ "make-disk", 1, NULL, 'M' }, {}
	};
	int opt;

	*b = (struct bench){ .mem_mib = 256, .fill = 60, .workers = 1 };
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			b->disk_path = optarg;
			break;
		case 'm':
			b->mem_mib = perf_number(optarg);
			break;
		case 'u':
			b->unit = perf_number(optarg);
			break;
		case 'f':
			b->fill = perf_number(optarg);
			break;
		case 'w':
			b->workers = perf_number(optarg);
			break;
		case 'k':
			b->memory = true;
			break;
		case 'M':
			exit(make_disk(optarg));
		default:
			optind = argc + 1;
		}
	}
	if (optind != argc || !b->disk_path || b->mem_mib < 16 || b->mem_mib > 4096 ||
	    b->unit > 1024 || !b->fill || b->fill > 100 || !b->workers ||
	    b->workers > MIGDB_NR_LANES) {
		fprintf(stderr, "usage: fetch_bench --make-disk FILE | --disk PATH [--mem MIB] [--unit PAGES] [--fill PERCENT] [--workers N] [--memory]\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct bench b;

	parse(argc, argv, &b);
	set_up(&b);
	if (b.memory)
		run_memory(&b);
	else
		run_fetch(&b);
	return 0;
}
