// SPDX-License-Identifier: GPL-2.0
/*
 * What the oracle's own test looks at: a process with two "RAM blocks" of known
 * content.  Prints their lines in ramhash's input form and waits to be killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned char *make(size_t size, unsigned int seed, const char *name)
{
	unsigned char *p = mmap(NULL, size + 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	/* The second half is never touched: reading it must work, as zeroes. */
	for (i = 0; i < size / 2; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = seed >> 16;
	}
	printf("%lx %zx %s\n", (unsigned long)p, size, name);
	return p;
}

int main(void)
{
	make(8 << 20, 1, "pc.ram");
	make(100000, 2, "0000:00:02.0/some device.rom");
	fflush(stdout);
	fclose(stdout);
	pause();
	return 0;
}
