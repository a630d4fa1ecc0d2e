// SPDX-License-Identifier: GPL-2.0
/*
 * What the oracle's own test looks at: a process with two "RAM blocks" of known
 * content, a hint table in the first, and a map of claim bytes.  Prints the blocks'
 * lines in ramhash's input form and waits.  SIGUSR1: one claim changes; SIGUSR2: the
 * map of the claims goes.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/mem_hints.h>
#include <linux/migdb.h>

#define CLAIMS	8192

static unsigned char *make(size_t size, unsigned int seed, const char *name)
{
	unsigned char *p = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	/* The second half is not touched here: reading it must work, as zeroes. */
	for (i = 0; i < size / 2; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = seed >> 16;
	}
	printf("%lx %zx %s\n", (unsigned long)p, size, name);
	return p;
}

/* Two levels at 6 MiB; frames 0x7, 0x205 and 0x2ff are named. */
static void make_table(unsigned char *mem)
{
	struct mem_hint_root *root = (void *)(mem + 0x600000);
	uint64_t *top = (void *)(mem + 0x601000);
	uint64_t *leaf0 = (void *)(mem + 0x602000), *leaf1 = (void *)(mem + 0x603000);
	uint64_t disk2 = MEM_HINT_VALID | 2ull << MEM_HINT_DISK_SHIFT;

	*root = (struct mem_hint_root) {
		.magic = MEM_HINT_ROOT_MAGIC, .version = MEM_HINT_ABI_VERSION,
		.levels = 2, .nr_frames = 2048, .generation = 1, .table = 0x601000,
	};
	top[0] = 0x602000;
	top[1] = 0x603000;
	leaf0[7] = disk2 | 1000;
	leaf0[8] = 4711;	/* not valid */
	leaf1[5] = disk2 | 1001;
	leaf1[255] = MEM_HINT_VALID | 12;
}

static unsigned char *make_claims(void)
{
	int fd = memfd_create("[migdb-map]", 0);
	unsigned char *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, CLAIMS))
		p = mmap(NULL, CLAIMS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		perror("claims");
		exit(2);
	}
	close(fd);
	p[0] = MIGDB_CLAIM_DONE;
	p[3] = MIGDB_CLAIM_DONE;
	p[4] = MIGDB_CLAIM_SENT;
	p[5] = MIGDB_CLAIM_TODO;
	p[CLAIMS - 1] = MIGDB_CLAIM_DONE;
	return p;
}

int main(void)
{
	unsigned char *claims;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	make_table(make(8 << 20, 1, "pc.ram"));
	make(100000, 2, "0000:00:02.0/some device.rom");
	claims = make_claims();
	fflush(stdout);
	fclose(stdout);
	while (!sigwait(&set, &sig)) {
		if (sig == SIGUSR1)
			claims[3] = MIGDB_CLAIM_SENT;
		else
			munmap(claims, CLAIMS);
	}
	return 0;
}
