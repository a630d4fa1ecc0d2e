/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel with checkers takes several times as long: MIGDB_TIMEOUT_FACTOR.  For
 * tests of kselftest_harness.h, which is included before.  They have registered
 * themselves by constructors with a priority, which come first.
 */
#ifndef STRETCH_H
#define STRETCH_H

#include <stdlib.h>

/* For what a test itself waits for. */
static inline int stretch(int time)
{
	const char *factor = getenv("MIGDB_TIMEOUT_FACTOR");

	return factor && atoi(factor) > 1 ? time * atoi(factor) : time;
}

static void __attribute__((constructor)) stretch_timeouts(void)
{
	struct __fixture_metadata *f;
	struct __test_metadata *t;

	for (f = __fixture_list; f; f = f->next)
		for (t = f->tests; t; t = t->next)
			t->timeout = stretch(t->timeout);
}

#endif
