// SPDX-License-Identifier: GPL-2.0
/* Runs every suite that registered itself, prints KTAP, exits with 1 on a failure. */
#include <stdarg.h>
#include "shim-kunit.h"

/* Freed when the case ends, so that a leak check finds only the code's own. */
struct kunit_block {
	struct kunit_block *next;
	void *data;
};

static struct kunit_suite *suites;
static unsigned int nr_passed, nr_failed, nr_skipped;

void kunit_register(struct kunit_suite *suite)
{
	struct kunit_suite **p = &suites;

	while (*p && strcmp((*p)->name, suite->name) < 0)
		p = &(*p)->next;
	suite->next = *p;
	*p = suite;
}

void kunit_failed(struct kunit *test, const char *file, int line, const char *what, bool stop,
		  const char *fmt, ...)
{
	va_list args;

	printf("    # %s:%d: %s: ", file, line, what);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	test->failed = true;
	if (stop)
		longjmp(test->out, 1);
}

/* The block itself is an allocation of its own: sanitizers see every byte past it. */
void *kunit_kzalloc(struct kunit *test, size_t bytes, gfp_t gfp)
{
	struct kunit_block *b = calloc(1, sizeof(*b));

	b->data = calloc(1, bytes);
	b->next = test->blocks;
	test->blocks = b;
	return b->data;
}

void kunit_kfree(struct kunit *test, const void *p)
{
	struct kunit_block **at = &test->blocks, *b;

	while ((*at)->data != p)
		at = &(*at)->next;
	b = *at;
	*at = b->next;
	free(b->data);
	free(b);
}

static bool run_one(struct kunit_suite *s, struct kunit_case *c, const void *param)
{
	struct kunit *test = calloc(1, sizeof(*test));
	bool failed;

	test->param_value = param;
	if (!setjmp(test->out)) {
		if (!s->init || !s->init(test))
			c->run_case(test);
		else
			test->failed = true;
	}
	if (s->exit)
		s->exit(test);
	while (test->blocks)
		kunit_kfree(test, test->blocks->data);
	failed = test->failed;
	if (failed)
		nr_failed++;
	else if (test->skipped)
		nr_skipped++;
	else
		nr_passed++;
	free(test);
	return !failed;
}

static unsigned int run_case(struct kunit_suite *s, struct kunit_case *c, unsigned int nr)
{
	const void *param = NULL;
	char desc[KUNIT_PARAM_DESC_SIZE] = "";
	bool ok;

	if (!c->generate_params) {
		ok = run_one(s, c, NULL);
		printf("%sok %u %s.%s\n", ok ? "" : "not ", nr, s->name, c->name);
		return nr + 1;
	}
	while ((param = c->generate_params(param, desc))) {
		ok = run_one(s, c, param);
		printf("%sok %u %s.%s: %s\n", ok ? "" : "not ", nr++, s->name, c->name, desc);
	}
	return nr;
}

int main(void)
{
	struct kunit_suite *s;
	struct kunit_case *c;
	unsigned int nr = 1;

	printf("KTAP version 1\n");
	for (s = suites; s; s = s->next) {
		for (c = s->test_cases; c->run_case; c++)
			nr = run_case(s, c, nr);
	}
	printf("1..%u\n", nr - 1);
	printf("# passed: %u failed: %u skipped: %u\n", nr_passed, nr_failed, nr_skipped);
	return nr_failed || !nr_passed;
}
