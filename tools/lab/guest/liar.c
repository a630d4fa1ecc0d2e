// SPDX-License-Identifier: GPL-2.0
/*
 * The only program of a guest that talks to its host as mem_hints does, but is
 * not to be trusted: each connection to the channel gets the next of its lies,
 * and when there are none left, the truth.  "liar=frees" on the command line: the
 * truth, but then it frees that memory for the balloon to take.  "liar=discards":
 * it keeps that memory, but discards what it was read from.
 *
 * The truth is that some of its memory holds what the begin of its disk holds.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/mem_hints.h>
#include <linux/vm_sockets.h>

#define PAGE 4096UL
#define POOL_PAGES 4096UL
#define SLOTS 512UL
#define DISK "/dev/vda"
#define SERIAL "mixed"
/* What "discards" gives up at a time, and the block by which the host says when. */
#define PART_PAGES (POOL_PAGES / 4)
#define WORD_BLOCK POOL_PAGES

static uint8_t *pool;
static uint64_t *root_page, *top_page, *leaves[SLOTS];

static void die(const char *what)
{
	printf("liar: %s: %s\n", what, strerror(errno));
	for (;;)
		pause();
}

/* Memory that stays where it is. */
static void *pages(size_t nr)
{
	void *p = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED || mlock(p, nr * PAGE))
		die("memory");
	return p;
}

static uint64_t gpa_of(const void *addr)
{
	static int fd = -1;
	uint64_t entry;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY);
	if (pread(fd, &entry, 8, (uintptr_t)addr / PAGE * 8) != 8 || !(entry >> 63))
		die("pagemap");
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* Entries that say that page i of the pool holds block (i * step) of the disk. */
static void build_table(uint64_t step)
{
	struct mem_hint_root *root = (struct mem_hint_root *)root_page;
	uint64_t i, gfn;

	for (i = 0; i < POOL_PAGES; i++) {
		gfn = gpa_of(pool + i * PAGE) / PAGE;
		if (gfn >= SLOTS * SLOTS)
			die("too much memory");
		if (!leaves[gfn / SLOTS]) {
			leaves[gfn / SLOTS] = pages(1);
			top_page[gfn / SLOTS] = htole64(gpa_of(leaves[gfn / SLOTS]));
		}
		leaves[gfn / SLOTS][gfn % SLOTS] =
			htole64(MEM_HINT_VALID | i * step % POOL_PAGES);
	}
	root->magic = htole32(MEM_HINT_ROOT_MAGIC);
	root->version = htole32(MEM_HINT_ABI_VERSION);
	root->levels = htole32(2);
	root->nr_frames = htole64(SLOTS * SLOTS);
	root->generation = htole64(1);
	root->table = htole64(gpa_of(top_page));
	root->flags = htole64(MEM_HINT_ROOT_FROZEN);
	root->nr_valid = htole64(POOL_PAGES);
}

static void send_header(int fd, uint16_t type, uint32_t seq, uint32_t len, int flags)
{
	struct mem_hint_msg msg = {
		.magic = htole32(MEM_HINT_MSG_MAGIC),
		.type = htole16(type),
		.version = htole16(MEM_HINT_MSG_VERSION),
		.len = htole32(len),
		.seq = htole32(seq),
	};

	send(fd, &msg, sizeof(msg), MSG_NOSIGNAL | flags);
}

static void send_msg(int fd, uint16_t type, uint32_t seq, const void *payload, uint32_t len)
{
	send_header(fd, type, seq, len, MSG_MORE);
	send(fd, payload, len, MSG_NOSIGNAL);
}

static void send_info(int fd, uint64_t root)
{
	struct mem_hint_info info = {
		.abi = htole32(MEM_HINT_ABI_VERSION),
		.root_gpa = htole64(root),
		.nr_frames = htole64(SLOTS * SLOTS),
		.nr_valid = htole64(POOL_PAGES),
		.nr_disks = htole32(1),
	};

	send_msg(fd, MEM_HINT_MSG_INFO, 1, &info, sizeof(info));
}

static void send_disks(int fd, uint32_t nr)
{
	static struct {
		struct mem_hint_disks head;
		struct mem_hint_disk disk[MEM_HINT_MAX_DISKS];
	} list;
	uint32_t i;

	list.head.nr = htole32(nr);
	list.head.disk_size = htole32(sizeof(list.disk[0]));
	for (i = 0; i < nr; i++) {
		list.disk[i].id = 0;
		list.disk[i].type = htole32(MEM_HINT_DISK_VIRTIO_SERIAL);
		list.disk[i].nr_sectors = htole64(64 << 11);
		memcpy(list.disk[i].identity, SERIAL, sizeof(SERIAL));
	}
	send_msg(fd, MEM_HINT_MSG_DISKS, 1, &list, sizeof(list.head) + nr * sizeof(list.disk[0]));
}

/* False: it is gone. */
static bool hear(int fd, uint16_t type)
{
	struct mem_hint_msg msg;
	uint8_t payload[64];
	uint32_t len;

	if (recv(fd, &msg, sizeof(msg), MSG_WAITALL) != sizeof(msg))
		return false;
	len = le32toh(msg.len);
	return len <= sizeof(payload) && recv(fd, payload, len, MSG_WAITALL) == len &&
	       le16toh(msg.type) == type;
}

static void send_started(int fd)
{
	struct mem_hint_started started = {
		.generation = htole64(1),
		.nr_valid = htole64(POOL_PAGES),
	};

	if (hear(fd, MEM_HINT_MSG_START))
		send_msg(fd, MEM_HINT_MSG_STARTED, 2, &started, sizeof(started));
}

static void send_garbage(int fd, size_t bytes)
{
	uint8_t buf[1024];
	size_t i, n;

	while (bytes) {
		n = bytes < sizeof(buf) ? bytes : sizeof(buf);
		for (i = 0; i < n; i++)
			buf[i] = rand();
		if (send(fd, buf, n, MSG_NOSIGNAL) <= 0)
			return;
		bytes -= n;
	}
}

static void garbage(int fd)
{
	send_garbage(fd, 1 << 20);
}

static void oversized(int fd)
{
	send_header(fd, MEM_HINT_MSG_INFO, 1, 0xfffffff0, 0);
	send_garbage(fd, 1 << 20);
}

static void half(int fd)
{
	send_header(fd, MEM_HINT_MSG_INFO, 1, sizeof(struct mem_hint_info), 0);
	send_garbage(fd, sizeof(struct mem_hint_info) / 2);
}

static void silence(int fd)
{
}

static void hangs_up(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void out_of_order(int fd)
{
	send_disks(fd, 1);
	send_info(fd, gpa_of(root_page));
}

/* One disk, again and again. */
static void too_many(int fd)
{
	send_info(fd, gpa_of(root_page));
	send_disks(fd, MEM_HINT_MAX_DISKS);
	send_started(fd);
}

static void no_table_there(int fd)
{
	send_info(fd, 1ULL << 45);
	send_disks(fd, 1);
	send_started(fd);
}

/* All is in order, but nothing is where the table says. */
static void false_hints(int fd)
{
	build_table(17);
	send_info(fd, gpa_of(root_page));
	send_disks(fd, 1);
	send_started(fd);
}

static void truth(int fd)
{
	build_table(1);
	send_info(fd, gpa_of(root_page));
	send_disks(fd, 1);
	send_started(fd);
}

/* The truth, and then more than anybody has asked for. */
static void talks_on(int fd)
{
	truth(fd);
	send_garbage(fd, 1 << 20);
}

/* Nothing is written to these pages: no log tells that they change. */
static void frees(int fd)
{
	truth(fd);
	sleep(1);
	munmap(pool, POOL_PAGES * PAGE);
	printf("liar: freed\n");
}

static int open_disk(int flags)
{
	int fd = -1, i;

	for (i = 0; fd < 0 && i < 200; i++, usleep(50000))
		fd = open(DISK, flags | O_DIRECT);
	if (fd < 0)
		die(DISK);
	return fd;
}

/* Half of a part is discarded, the other half overwritten with zeros. */
static void discard(int disk, int part)
{
	uint64_t half = PART_PAGES / 2 * PAGE, range[2] = { 2 * part * half, half };

	if (ioctl(disk, BLKDISCARD, range))
		die("discard");
	range[0] += half;
	if (ioctl(disk, BLKZEROOUT, range))
		die("write zeroes");
	printf("liar: discarded %d\n", part);
}

static void wait_for_word(int disk, uint8_t word)
{
	static uint8_t *block;

	if (!block)
		block = pages(1);
	while (block[0] != word) {
		usleep(50000);
		if (pread(disk, block, PAGE, WORD_BLOCK * PAGE) != PAGE)
			die("word");
	}
}

/*
 * Nothing is written to these pages, and no log tells that their blocks change:
 * those of part 1 before anybody asks, of 2 and 0 when the host says so.
 */
static void discards(int fd)
{
	int disk = open_disk(O_RDWR);

	truth(fd);
	wait_for_word(disk, '2');
	discard(disk, 2);
	wait_for_word(disk, '0');
	discard(disk, 0);
	close(disk);
}

static void (*const lies[])(int fd) = {
	garbage, oversized, half, silence, hangs_up, out_of_order, too_many, no_table_there,
	false_hints, talks_on, truth,
};

/* The modules that /lib/load names, in this order. */
static void load_modules(void)
{
	char name[64], path[80];
	FILE *list = fopen("/lib/load", "r");
	int fd;

	while (list && fscanf(list, "%63s", name) == 1) {
		snprintf(path, sizeof(path), "/lib/%s", name);
		fd = open(path, O_RDONLY);
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			die(name);
		close(fd);
	}
}

static void read_disk(void)
{
	int fd = open_disk(O_RDONLY);

	if (pread(fd, pool, POOL_PAGES * PAGE, 0) != POOL_PAGES * PAGE)
		die(DISK);
	close(fd);
}

int main(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_port = MEM_HINT_VSOCK_PORT,
		.svm_cid = VMADDR_CID_ANY,
	};
	size_t lie = 0, last = sizeof(lies) / sizeof(lies[0]) - 1;
	const char *word = getenv("liar");
	void (*only)(int fd) = NULL;
	struct sockaddr_vm peer;
	socklen_t len;
	int listener, fd;

	mount("none", "/dev", "devtmpfs", 0, NULL);
	mount("none", "/proc", "proc", 0, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	load_modules();
	pool = pages(POOL_PAGES);
	root_page = pages(1);
	top_page = pages(1);
	read_disk();
	if (word && !strcmp(word, "frees")) {
		only = frees;
	} else if (word) {
		only = discards;
		discard(open_disk(O_RDWR), 1);
	}

	listener = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 8))
		die("vsock");
	printf("liar: ready\n");
	for (;;) {
		len = sizeof(peer);
		fd = accept(listener, (struct sockaddr *)&peer, &len);
		if (fd < 0)
			continue;
		printf("liar: lie %zu, to port %u\n", lie, peer.svm_port);
		if (hear(fd, MEM_HINT_MSG_HELLO))
			(only ? only : lies[lie])(fd);
		/* until the host, or a migration, ends it */
		while (recv(fd, &addr, 1, 0) > 0)
			;
		close(fd);
		if (lie < last)
			lie++;
	}
}
