// SPDX-License-Identifier: GPL-2.0
/* libmigdb and its example, on a real kernel, by either way in. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <migdb/hints.h>

#include "mem_hint_test.h"

struct answer {
	struct migdb_hints *hints;
	int fd, err;
};

static void *say_ready(void *arg)
{
	struct answer *a = arg;
	struct migdb_hints_event e;

	a->err = migdb_hints_read_event(a->fd, &e);
	if (!a->err && e.type == MIGDB_HINTS_EVENT_START && e.wait_ms)
		a->err = migdb_hints_ready(a->hints, a->fd, e.seq);
	return NULL;
}

static int map_volume(struct migdb_hints *h, uint64_t nr, bool forget)
{
	struct migdb_hints_segment seg = {
		.nr_sectors = DM_SECTORS, .target = 2048, .nr_stripes = 1,
	};
	struct stat st;

	if (stat("/dev/vdd", &st))
		return -errno;
	seg.major = major(st.st_rdev);
	seg.minor = minor(st.st_rdev);
	return migdb_hints_segments(h, major(nr), minor(nr), &seg, !forget);
}

T(every_call)
{
	unsigned int only = by_syscall ? MIGDB_HINTS_ONLY_SYSCALL : MIGDB_HINTS_ONLY_DEVICE;
	char *p = data_pages(self->data, 4, 0), *frames = locked_pages(4);
	char *can_go = locked_pages(4);
	uint64_t *d = locked_pages(1), frame[4], nr = 0;
	struct migdb_hints_event e = {};
	struct migdb_hints_info info;
	uint32_t errata = 1, file, same, pool;
	struct answer a = { .err = -EIO };
	int ctl = dm_control(), fd, c;
	struct migdb_hints *h;
	pthread_t thread;

	ASSERT_EQ(migdb_hints_open(&h, only), 0);
	EXPECT_EQ(migdb_hints_way(h), by_syscall ? MIGDB_HINTS_BY_SYSCALL : MIGDB_HINTS_BY_DEVICE);
	EXPECT_EQ(migdb_hints_abi(h), MEM_HINT_ABI_VERSION);
	EXPECT_EQ(migdb_hints_errata(h, &errata), 0);
	EXPECT_EQ(errata, 0);
	ASSERT_EQ(migdb_hints_file(h, self->data, &file), 0);
	ASSERT_EQ(migdb_hints_bind(h, p, 4 * PAGE, self->data, 0, &same), 0);
	EXPECT_EQ(same, file);
	ASSERT_EQ(migdb_hints_pool(h, frames, PAGE, 4, d, &pool), 0);
	migdb_desc_set(&d[0], file, 100 * PAGE);
	migdb_desc_empty(&d[1]);
	migdb_desc_forget(&d[2]);
	ASSERT_EQ(migdb_hints_class(h, can_go, 4 * PAGE, MIGDB_HINTS_DISCARDABLE), 0);
	ASSERT_EQ(migdb_hints_query(h, &info), 0);
	EXPECT_EQ(info.nr_files, 1);
	EXPECT_EQ(info.nr_binds, 2);
	EXPECT_EQ(info.nr_pools, 1);
	EXPECT_EQ(info.state, MIGDB_HINTS_IDLE);
	ASSERT_EQ(migdb_hints_translate(h, p, 4, frame), 0);
	EXPECT_EQ(frame[3], frame_of(p + 3 * PAGE));

	a.hints = h;
	a.fd = migdb_hints_events(h, MIGDB_HINTS_EVENTS_READY);
	ASSERT_GE(a.fd, 0);
	fd = migdb_hints_events(h, MIGDB_HINTS_EVENTS_NONBLOCK);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(migdb_hints_read_event(fd, &e), -EAGAIN);
	EXPECT_EQ(migdb_hints_wait(h, info.event_seq, 0, &e), -ETIMEDOUT);
	ASSERT_EQ(pthread_create(&thread, NULL, say_ready, &a), 0);
	c = migration_start(DISCARDABLE);
	ASSERT_GE(c, 0);
	pthread_join(thread, NULL);
	EXPECT_EQ(a.err, 0);
	EXPECT_EQ(snapshot("frames"), 4 + 2 + 4);
	EXPECT_EQ(snapshot("discardable"), 4);
	EXPECT_TRUE(names(p + 3 * PAGE, self->data, 3 * PAGE));
	EXPECT_TRUE(names(frames, self->data, 100 * PAGE));
	EXPECT_EQ(bare_entry(frames + PAGE), 0);
	EXPECT_TRUE(migration_complete(c));
	EXPECT_EQ(migdb_hints_read_event(fd, &e), 0);
	EXPECT_EQ(e.type, MIGDB_HINTS_EVENT_START);
	EXPECT_EQ(e.classes, 1 | DISCARDABLE);
	EXPECT_EQ(migdb_hints_wait(h, e.seq, MIGDB_HINTS_FOREVER, &e), 0);
	EXPECT_EQ(e.type, MIGDB_HINTS_EVENT_COMPLETE);
	EXPECT_EQ(e.outcome, MIGDB_HINTS_DONE);

	EXPECT_EQ(migdb_hints_unpool(h, pool), 0);
	EXPECT_EQ(migdb_hints_unbind(h, p, 4 * PAGE), 0);
	EXPECT_EQ(migdb_hints_class(h, can_go, 4 * PAGE, MIGDB_HINTS_BACKED), 0);
	EXPECT_EQ(migdb_hints_unfile(h, file), 0);
	EXPECT_EQ(migdb_hints_unfile(h, file), -ENOENT);
	EXPECT_EQ(migdb_hints_query(h, &info), 0);
	EXPECT_EQ(info.nr_files + info.nr_binds + info.nr_pools, 0);

	ASSERT_GE(ctl, 0);
	ASSERT_EQ(dm_named(ctl, DM_DEV_CREATE, "lib", NULL, NULL, 0, &nr), 0);
	ASSERT_EQ(dm_named(ctl, DM_TABLE_LOAD, "lib", "linear", "/dev/vdd 2048", DM_SECTORS,
			   NULL), 0);
	ASSERT_EQ(dm_named(ctl, DM_DEV_SUSPEND, "lib", NULL, NULL, 0, NULL), 0);
	EXPECT_EQ(map_volume(h, nr, false), 0);
	EXPECT_EQ(map_volume(h, nr, true), 0);
	EXPECT_EQ(map_volume(h, nr, true), -ENOENT);
	EXPECT_EQ(dm_named(ctl, DM_DEV_REMOVE, "lib", NULL, NULL, 0, NULL), 0);
	migdb_hints_close(h);
}

/* ---- the example ---------------------------------------------------------- */

#define POOL_FRAME	16384	/* as pool-db.c has it */
#define POOL_BYTES	(4096UL * POOL_FRAME)

/* Where the process has its pool. */
static uint64_t pool_of(pid_t pid)
{
	unsigned long start, end;
	uint64_t found = 0;
	char path[32], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && end - start >= POOL_BYTES)
			found = start;
	if (f)
		fclose(f);
	return found;
}

static uint64_t entry_of(pid_t pid, uint64_t addr)
{
	uint64_t v = 0;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &v, sizeof(v), addr / PAGE * sizeof(v)) != sizeof(v))
		v = 0;
	close(fd);
	return table_entry(v & ((1ULL << 55) - 1)) & ~(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);
}

/* It has loaded what there is and waits for Enter. */
static bool waits(pid_t pid)
{
	char path[32], text[32];
	int tries, fd;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (tries = 0; tries < 2000; tries++) {
		ssize_t n = -1;

		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			n = read(fd, text, sizeof(text));
		close(fd);
		if (n > 6 && !strncmp(text, "0 0x0 ", 6))	/* read(0, */
			return true;
		usleep(20000);
	}
	return false;
}

/* A database whose pool holds all of DATA. */
T(example)
{
	int in[2], out[2], status, c, i, vda;
	char line[80] = "";
	uint64_t pool;
	pid_t pid;

	ASSERT_EQ(pipe(in) | pipe(out), 0);
	pid = fork();
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execl("/bin/pool-db", "pool-db", DATA, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	ASSERT_TRUE(waits(pid));
	c = migration_start(0);
	ASSERT_GE(c, 0);
	EXPECT_GE(snapshot("frames"), DATA_PAGES);
	vda = disk_id("vda");
	pool = pool_of(pid);
	ASSERT_NE(pool, 0);
	for (i = 0; i < DATA_PAGES; i++) {
		ASSERT_EQ(entry_of(pid, pool + i * PAGE),
			  entry_for(vda, PART_BLOCKS + file_block(self->data, i * PAGE)));
	}
	EXPECT_TRUE(migration_complete(c));
	ASSERT_EQ(write(in[1], "\n", 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_GT(read(out[0], line, sizeof(line) - 1), 0);
	EXPECT_EQ(strncmp(line, "256 frames loaded", 17), 0) TH_LOG("%s", line);
}

TEST_HARNESS_MAIN
