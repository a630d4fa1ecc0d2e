// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/*
 * Finding the server, asking it once where its buffers are, and mapping its
 * shared memory.  Only memory that the process could write to may be named, so the
 * mapping is not read-only; the pointer to it is to const, so that nothing writes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postgres.h"

int server_pid(const struct config *config)
{
	char path[PATH_MAX + 32];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/postmaster.pid", config->data);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1 || pid <= 0 || (kill(pid, 0) && errno == ESRCH))
		pid = 0;
	fclose(f);
	return pid;
}

/*
 * One row, its columns by blanks.  It runs as a superuser, in a database where
 * others make functions and operators: nothing of theirs may be what a name or an
 * operator here means.  Both statements are one string, so that they are of one
 * session, and the second one is not reached without the first.
 */
static const char query[] =
	"SET search_path = pg_catalog;"
	" SELECT current_setting('server_version_num')::int / 10000,"
	" current_setting('block_size'),"
	" (SELECT setting FROM pg_settings WHERE name = 'segment_size'),"
	" (SELECT setting FROM pg_settings WHERE name = 'shared_buffers'),"
	" (SELECT off FROM pg_shmem_allocations WHERE name = 'Buffer Blocks'),"
	" (SELECT off FROM pg_shmem_allocations WHERE name = 'Buffer Descriptors'),"
	" (SELECT setting::int * 8 FROM pg_settings WHERE name = 'wal_buffers'),"
	" 'PG_' || current_setting('server_version_num')::int / 10000 || '_' ||"
	" (SELECT catalog_version_no FROM pg_control_system())";

static int ask(struct server *s, const struct config *config)
{
	char command[4096];
	FILE *out;
	int n;

	snprintf(command, sizeof(command), "%s -XAtq -F ' ' -c \"%s\"", config->psql, query);
	out = popen(command, "re");
	if (!out)
		return -1;
	n = fscanf(out, "%u %u %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %63s",
		   &s->version, &s->block_size, &s->segment_blocks, &s->nr_buffers,
		   &s->blocks_at, &s->descs_at, &s->wal_buffers_kib, s->catalog);
	return pclose(out) || n != 8 ? -1 : 0;
}

/* The largest shared mapping that can be written to is the server's memory. */
static int map(struct server *s)
{
	uint64_t from, to, best_from = 0, best_to = 0;
	char path[128], line[512], perms[8];
	FILE *maps;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", s->pid);
	maps = fopen(path, "re");
	if (!maps) {
		say("%s: %s", path, strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, perms) == 3 &&
		    !strcmp(perms, "rw-s") && to - from > best_to - best_from) {
			best_from = from;
			best_to = to;
		}
	fclose(maps);
	s->len = best_to - best_from;
	if (s->blocks_at + s->nr_buffers * s->block_size > s->len ||
	    s->descs_at + s->nr_buffers * 64 > s->len) {
		say("the server's shared memory is not where it was looked for");
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, s->pid,
		 best_from, best_to);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		say("%s: %s%s", path, strerror(errno),
		    errno == EPERM ? " (CAP_CHECKPOINT_RESTORE is needed)" : "");
		return -1;
	}
	s->memory = mmap(NULL, s->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (s->memory == MAP_FAILED) {
		say("mapping %s: %s", path, strerror(errno));
		s->memory = NULL;
		return -1;
	}
	return 0;
}

/*
 * Before PostgreSQL 16 buffers begin wherever what is allocated before them ends,
 * in steps of 128 bytes.  There is one page for each 8 KiB of WAL buffers, and 8
 * bytes in an array before them: so many KiB more move the buffers by as many
 * bytes.
 */
static bool aligned(const struct server *s)
{
	uint64_t off = s->blocks_at % 4096;

	if (!off)
		return true;
	say("shared_buffers are not at a multiple of 4 KiB, no page of them is a block's; "
	    "with wal_buffers = %" PRIu64 "kB they will be",
	    s->wal_buffers_kib + 4096 - off);
	return false;
}

int server_attach(struct server *s, const struct config *config, int pid)
{
	memset(s, 0, sizeof(*s));
	s->pid = pid;
	if (ask(s, config)) {
		server_detach(s);
		return 1;
	}
	if (map(s) || !aligned(s))
		goto failed;
	if (s->version < 13 || !buffers_known(s)) {
		say("PostgreSQL %u has its buffers' descriptors in another form", s->version);
		goto failed;
	}
	return 0;
failed:
	server_detach(s);
	return -1;
}

void server_detach(struct server *s)
{
	if (s->memory)
		munmap((void *)s->memory, s->len);
	s->memory = NULL;
	s->pid = 0;
}
