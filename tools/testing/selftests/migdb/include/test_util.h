/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests add to kselftest_harness.h. */
#ifndef TEST_UTIL_H
#define TEST_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "kselftest_harness.h"
#include "stretch.h"
#include "rig.h"

/* Into a file of cgroup, tracing and the like. */
static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* A machine without the device has nothing to test. */
#define REQUIRE_DEVICE()						\
	do {								\
		if (access(MDB_DEV, R_OK | W_OK))			\
			SKIP(return, "no " MDB_DEV);			\
	} while (0)

#define ASSERT_OK(_expr)						\
	do {								\
		int rc_ = (_expr);					\
		ASSERT_EQ(0, rc_) TH_LOG(#_expr ": %s", strerror(-rc_));\
	} while (0)

/* Not mapped, and the compiler does not know. */
static volatile uintptr_t bad_address __attribute__((unused)) = 8;
#define BAD_PTR ((void *)bad_address)

static inline u32 state_of(struct mdb *m)
{
	struct migdb_stats st;

	return mdb_stats(m, &st) ? 0 : st.out_state;
}

static inline struct migdb_stats stats_of(struct mdb *m)
{
	struct migdb_stats st;

	if (mdb_stats(m, &st))
		memset(&st, 0, sizeof(st));
	return st;
}

static inline u64 clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* Where some page is never confirmed, rig_settle() waits in vain. */
static inline u64 wait_built(struct mdb *m, u64 nr)
{
	u64 end = clock_ms() + 20000, built;

	while ((built = stats_of(m).out_built) < nr && clock_ms() < end)
		usleep(2000);
	return built;
}

/* How many pages of the destination have this claim. */
static inline u64 count_claims(struct rig *r, u8 claim)
{
	u64 page, n = 0;

	for (page = 0; page < r->nr_pages; page++)
		n += mdb_claim_of(&r->dst, page) == claim;
	return n;
}

#endif /* TEST_UTIL_H */
