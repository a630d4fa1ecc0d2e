// SPDX-License-Identifier: MIT
/*
 * How long a guest waits in post-copy for a page that storage has, on a disk whose reads
 * take --delay-ms (dm-delay), while all other pages are read in the background:
 *
 *	migdb	MIGDB_FAULT by a thread that serves the userfaultfd, no deadline
 *	user	the same thread reads the block itself, and places it by UFFDIO_COPY
 *	read	nothing but a read of such a block
 *
 * Pages are touched one after the other, far from where the background is.  Both read
 * the same 16 KiB around the page.  At the end of "migdb" all of memory is compared.
 * One JSON line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "perf.h"
#include "postcopy.h"
#include "slow_disk.h"

#define GROUP_BYTES	(4 * MDB_PAGE)
#define BULK_BYTES	(32 * MDB_PAGE)		/* as migdb reads in post-copy */
#define BULK_THREADS	2			/* postcopy_bulk_reads */

struct bench {
	u64 pages;
	u32 faults, delay_ms;
	u64 bulk_rate;			/* bytes per second, both threads */
	struct slow_disk slow;
	int disk;
	u64 *ns;
	u8 *ram;
	int uffd, stop;
	u64 bulk_bytes;			/* atomic */
	bool quit;			/* atomic */
};

static void ok(const char *what, int rc)
{
	if (rc)
		perf_die(what, -rc);
}

static int by_size(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* In the upper half; the background begins below, and does not get there. */
static u64 some_page(const struct bench *b, u32 n)
{
	u64 group = perf_mix(n, 31) % (b->pages / 2 / 4);

	return b->pages / 2 + group * 4 + perf_mix(n, 32) % 4;
}

static u8 *aligned(u64 bytes)
{
	u8 *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		perf_die("memory", errno);
	return at;
}

static void read_at(const struct bench *b, void *to, u64 bytes, u64 at)
{
	if (pread(b->disk, to, bytes, at) != (ssize_t)bytes)
		perf_die("read", errno ? errno : EIO);
}

struct bulk {
	struct bench *b;
	pthread_t thread;
	u64 at, end;
};

/* What migdb does in the background, where there is no migdb. */
static void *bulk(void *arg)
{
	struct bulk *k = arg;
	struct bench *b = k->b;
	u64 start = perf_now_ns(), done = 0, due, now;
	u8 *buf = aligned(BULK_BYTES);

	while (!__atomic_load_n(&b->quit, __ATOMIC_RELAXED) && k->at < k->end) {
		read_at(b, buf, BULK_BYTES, k->at);
		k->at += BULK_BYTES;
		done += BULK_BYTES;
		__atomic_fetch_add(&b->bulk_bytes, BULK_BYTES, __ATOMIC_RELAXED);
		due = start + done * 1000000000 / (b->bulk_rate / BULK_THREADS);
		now = perf_now_ns();
		if (due > now)
			usleep((due - now) / 1000);
	}
	return NULL;
}

static void bulk_start(struct bench *b, struct bulk *k)
{
	u64 half = b->pages / 4 * MDB_PAGE;
	int i;

	for (i = 0; i < BULK_THREADS; i++) {
		k[i] = (struct bulk){ .b = b, .at = i * half, .end = (i + 1) * half };
		if (pthread_create(&k[i].thread, NULL, bulk, &k[i]))
			perf_die("thread", EAGAIN);
	}
}

static void bulk_stop(struct bench *b, struct bulk *k)
{
	int i;

	__atomic_store_n(&b->quit, true, __ATOMIC_RELAXED);
	for (i = 0; i < BULK_THREADS; i++)
		pthread_join(k[i].thread, NULL);
}

/* One after the other; what is there already says nothing. */
static u32 touch_pages(struct bench *b, u8 *ram, const struct rig *r)
{
	u8 *seen = calloc(b->pages / 4 + 1, 1);
	u64 page, start;
	u32 n = 0, i;

	for (i = 0; n < b->faults && i < 4 * b->faults; i++) {
		page = some_page(b, i);
		if (seen[page / 4] || (r && mdb_claim_of(&r->dst, page) != MIGDB_CLAIM_TODO))
			continue;
		seen[page / 4] = 1;
		start = perf_now_ns();
		*(volatile u8 *)(ram + page * MDB_PAGE);
		b->ns[n++] = perf_now_ns() - start;
	}
	free(seen);
	return n;
}

static u32 run_migdb(struct bench *b)
{
	struct server v = { .deadline_ns = MIGDB_DEADLINE_NEVER };
	struct migdb_stats st;
	struct rig r;
	u64 bad;
	u32 n;

	ok("rig", rig_init(&r, b->pages));
	ok("anonymous memory", rig_anonymous(&r));
	ok("fetch_max_bytes_per_s", mdb_sysfs_write("fetch_max_bytes_per_s", 1));
	ok("source", rig_source(&r));
	ok("destination", rig_dest(&r, b->disk));
	ok("snapshot", rig_snapshot(&r));
	ok("hash", rig_hash(&r, NULL));
	ok("hold", rig_hold(&r));
	ok("post-copy", rig_postcopy(&r));
	ok("server", server_start(&v, &r));
	ok("fetch_max_bytes_per_s", mdb_sysfs_write("fetch_max_bytes_per_s", b->bulk_rate));
	/* until the background is at work again */
	usleep(300000);
	ok("statistics", mdb_stats(&r.dst, &st));
	b->bulk_bytes = st.out_read_bytes;
	n = touch_pages(b, r.dst_ram, &r);
	ok("statistics", mdb_stats(&r.dst, &st));
	b->bulk_bytes = st.out_read_bytes - b->bulk_bytes - n * GROUP_BYTES;
	ok("fetch_max_bytes_per_s", mdb_sysfs_write("fetch_max_bytes_per_s", 0));
	ok("comparison", rig_arrive(&r, &v, &bad));
	rig_exit(&r);
	return n;
}

static void *serve(void *arg)
{
	struct bench *b = arg;
	struct pollfd p[2] = {
		{ .fd = b->uffd, .events = POLLIN }, { .fd = b->stop, .events = POLLIN },
	};
	u8 *buf = aligned(GROUP_BYTES);
	struct uffdio_copy copy;
	struct uffd_msg msg;
	u64 at;

	while (!(p[1].revents & POLLIN)) {
		poll(p, 2, -1);
		while (read(b->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
			if (msg.event != UFFD_EVENT_PAGEFAULT)
				continue;
			at = (msg.arg.pagefault.address - (uintptr_t)b->ram) & ~(GROUP_BYTES - 1);
			read_at(b, buf, GROUP_BYTES, at);
			copy = (struct uffdio_copy){
				.dst = (uintptr_t)b->ram + at, .src = (uintptr_t)buf,
				.len = GROUP_BYTES,
			};
			if (ioctl(b->uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
				perf_die("UFFDIO_COPY", errno);
		}
	}
	return NULL;
}

static u32 run_user(struct bench *b)
{
	struct bulk k[BULK_THREADS];
	pthread_t server;
	u64 one = 1;
	u32 n;

	b->ram = aligned(b->pages * MDB_PAGE);
	madvise(b->ram, b->pages * MDB_PAGE, MADV_NOHUGEPAGE);
	b->uffd = uffd_open();
	if (b->uffd < 0)
		perf_die("userfaultfd", -b->uffd);
	b->stop = eventfd(0, EFD_CLOEXEC);
	ok("UFFDIO_REGISTER", uffd_register(b->uffd, b->ram, b->pages * MDB_PAGE,
					    UFFDIO_REGISTER_MODE_MISSING));
	if (pthread_create(&server, NULL, serve, b))
		perf_die("thread", EAGAIN);
	bulk_start(b, k);
	n = touch_pages(b, b->ram, NULL);
	bulk_stop(b, k);
	if (write(b->stop, &one, sizeof(one)) != sizeof(one))
		perf_die("eventfd", errno);
	pthread_join(server, NULL);
	return n;
}

static u32 run_read(struct bench *b)
{
	u8 *buf = aligned(GROUP_BYTES);
	struct bulk k[BULK_THREADS];
	u64 start;
	u32 n;

	bulk_start(b, k);
	for (n = 0; n < b->faults; n++) {
		start = perf_now_ns();
		read_at(b, buf, MDB_PAGE, some_page(b, n) * MDB_PAGE);
		b->ns[n] = perf_now_ns() - start;
	}
	bulk_stop(b, k);
	return n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mode", 1, NULL, 'm' }, { "pages", 1, NULL, 'p' }, { "faults", 1, NULL, 'f' },
		{ "delay-ms", 1, NULL, 'd' }, { "bulk-rate", 1, NULL, 'b' }, {}
	};
	struct bench b = { .pages = 16384, .faults = 200, .delay_ms = 2, .bulk_rate = 8 << 20 };
	const char *mode = "";
	u32 n = 0;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'm':
			mode = optarg;
			break;
		case 'p':
			b.pages = perf_number(optarg);
			break;
		case 'f':
			b.faults = perf_number(optarg);
			break;
		case 'd':
			b.delay_ms = perf_number(optarg);
			break;
		case 'b':
			b.bulk_rate = perf_number(optarg);
			break;
		default:
			mode = "";
			optind = argc + 1;
		}
	}
	if (optind != argc || b.pages < 1024 || b.pages % 256 || !b.faults || !b.bulk_rate ||
	    (strcmp(mode, "migdb") && strcmp(mode, "user") && strcmp(mode, "read"))) {
		fprintf(stderr, "usage: fault_bench --mode migdb|user|read [--pages N] [--faults N] [--delay-ms N] [--bulk-rate BYTES_PER_S]\n");
		return 2;
	}
	b.ns = calloc(b.faults, sizeof(*b.ns));
	ok("slow disk", slow_disk_make(&b.slow, b.pages, b.delay_ms));
	b.disk = disk_open(b.slow.dm, O_RDONLY);
	if (b.disk < 0)
		perf_die(b.slow.dm, -b.disk);
	n = !strcmp(mode, "migdb") ? run_migdb(&b) : !strcmp(mode, "user") ? run_user(&b) :
	    run_read(&b);
	close(b.disk);
	slow_disk_remove(&b.slow);
	if (!n)
		perf_die("no page was waited for", EIO);
	qsort(b.ns, n, sizeof(*b.ns), by_size);
	printf("{\"bench\":\"fault\",\"mode\":\"%s\",\"delay_ms\":%u,\"faults\":%u,\"median_ns\":%llu,\"p95_ns\":%llu,\"bulk_bytes\":%llu}\n",
	       mode, b.delay_ms, n, (unsigned long long)b.ns[n / 2],
	       (unsigned long long)b.ns[n * 95 / 100], (unsigned long long)b.bulk_bytes);
	return 0;
}
