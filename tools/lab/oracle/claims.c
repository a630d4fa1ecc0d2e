// SPDX-License-Identifier: GPL-2.0
/*
 * Which pages a destination has built: the claim bytes that the kernel and QEMU
 * share, looked at from outside through /proc/PID/mem until QEMU unmaps them.
 *
 * What was seen last counts.  It is complete when building had ended by then, which
 * the caller knows from the number: "pages" must be what the session says it built.
 * One line "0xGFN" for each page whose claim is DONE, and a JSON summary to stdout.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <linux/migdb.h>

#define MAP_NAME	"[migdb-map]"
#define POLL_US		3000

/* The writable one: the source's map is a bitmap and read-only. */
static int find_map(int pid, uint64_t *start, size_t *len)
{
	unsigned long long a, b;
	char path[64], line[512], perm[8];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	while (!found && fgets(line, sizeof(line), f)) {
		if (!strstr(line, MAP_NAME) || sscanf(line, "%llx-%llx %7s", &a, &b, perm) != 3 ||
		    perm[1] != 'w')
			continue;
		*start = a;
		*len = b - a;
		found = 1;
	}
	fclose(f);
	return found;
}

int main(int argc, char **argv)
{
	uint64_t start = 0, again = 0, first, looks = 0, done = 0, i;
	unsigned char *seen, *next;
	size_t len = 0, len_again = 0;
	char path[64];
	time_t end;
	int pid, fd;
	FILE *out;

	if (argc != 5) {
		fputs("usage: claims FIRST_GFN SECONDS PID OUT\n"
		      "Waits SECONDS for a session to begin, then until it ends.\n", stderr);
		return 2;
	}
	first = strtoull(argv[1], NULL, 0);
	end = time(NULL) + atoi(argv[2]);
	pid = atoi(argv[3]);
	while (!find_map(pid, &start, &len)) {
		if (time(NULL) > end)
			errx(2, "process %d has no session within %s s", pid, argv[2]);
		usleep(20000);
	}
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY);
	seen = calloc(1, len);
	next = calloc(1, len);
	if (fd < 0 || !seen || !next)
		errx(2, "cannot open %s: %s", path, strerror(errno));
	/* Only what was read while the map was still there, before and after. */
	while (pread(fd, next, len, (off_t)start) == (ssize_t)len &&
	       find_map(pid, &again, &len_again) && again == start && len_again == len) {
		unsigned char *t = seen;

		seen = next;
		next = t;
		looks++;
		usleep(POLL_US);
	}
	if (!looks)
		errx(2, "the session ended before it was looked at");
	out = fopen(argv[4], "w");
	if (!out)
		errx(2, "cannot write %s: %s", argv[4], strerror(errno));
	for (i = 0; i < len; i++) {
		if (seen[i] != MIGDB_CLAIM_DONE)
			continue;
		fprintf(out, "0x%" PRIx64 "\n", first + i);
		done++;
	}
	if (ferror(out) || fclose(out))
		errx(2, "cannot write %s", argv[4]);
	printf("{\"pages\":%" PRIu64 ",\"looks\":%" PRIu64 "}\n", done, looks);
	return 0;
}
