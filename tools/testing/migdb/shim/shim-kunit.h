/* SPDX-License-Identifier: GPL-2.0 */
/* As much of KUnit as the suites use; prints KTAP.  shim/kunit.c runs them. */
#ifndef _MIGDB_SHIM_KUNIT_H
#define _MIGDB_SHIM_KUNIT_H

#include <setjmp.h>
#include <linux/types.h>

#define KUNIT_PARAM_DESC_SIZE	128

struct kunit {
	const void *param_value;
	void *priv;
	bool failed;
	bool skipped;
	jmp_buf out;		/* of a failed assertion */
	struct kunit_block *blocks;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
};

struct kunit_suite {
	const char *name;
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
	struct kunit_suite *next;
};

void kunit_register(struct kunit_suite *suite);
void kunit_failed(struct kunit *test, const char *file, int line, const char *what, bool stop,
		  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void *kunit_kzalloc(struct kunit *test, size_t bytes, gfp_t gfp);
void kunit_kfree(struct kunit *test, const void *p);

#define kunit_kmalloc(test, bytes, gfp)		kunit_kzalloc(test, bytes, gfp)
#define kunit_kcalloc(test, n, size, gfp)	kunit_kzalloc(test, (n) * (size), gfp)
#define kunit_kmalloc_array(test, n, size, gfp)	kunit_kzalloc(test, (n) * (size), gfp)
#define kunit_skip(test, ...)	do { (test)->skipped = true; longjmp((test)->out, 1); } while (0)
#define kunit_info(test, fmt, ...)	printf("    # " fmt "\n", ##__VA_ARGS__)

#define KUNIT_CASE(fn)			{ .run_case = fn, .name = #fn }
#define KUNIT_CASE_SLOW(fn)		KUNIT_CASE(fn)
#define KUNIT_CASE_PARAM(fn, gen)	{ .run_case = fn, .name = #fn, .generate_params = gen }

#define KUNIT_ARRAY_PARAM(name, array, get_desc)					\
	static const void *name##_gen_params(const void *prev, char *desc)		\
	{										\
		typeof((array)[0]) *next = prev ? (typeof(next))prev + 1 : (array);	\
											\
		if (next - (array) >= (ptrdiff_t)ARRAY_SIZE(array))			\
			return NULL;							\
		void (*d)(typeof(next), char *) = get_desc;				\
		if (d)									\
			d(next, desc);							\
		return next;								\
	}

#define kunit_test_suite(s)							\
	__attribute__((constructor)) static void register_##s(void)		\
	{									\
		kunit_register(&(s));						\
	}									\
	_Static_assert(1, "")

#define KUNIT_CHECK(test, cond, stop, what, ...) do {				\
	if (!(cond))								\
		kunit_failed(test, __FILE__, __LINE__, what, stop, "" __VA_ARGS__);	\
} while (0)

#define KUNIT_BINARY(test, l, op, r, stop, ...) do {				\
	typeof(l) _l = (l);							\
	typeof(r) _r = (r);							\
	if (!(_l op _r))							\
		kunit_failed(test, __FILE__, __LINE__, #l " " #op " " #r, stop,	\
			     "left %lld, right %lld. " KUNIT_FMT(__VA_ARGS__),	\
			     (long long)(uintptr_t)_l, (long long)(uintptr_t)_r	\
			     KUNIT_ARGS(__VA_ARGS__));				\
} while (0)
#define KUNIT_FMT(...)		KUNIT_FMT_(__VA_ARGS__ __VA_OPT__(,) "")
#define KUNIT_FMT_(fmt, ...)	fmt
#define KUNIT_ARGS(...)		__VA_OPT__(KUNIT_ARGS_(__VA_ARGS__))
#define KUNIT_ARGS_(fmt, ...)	__VA_OPT__(,) __VA_ARGS__

#define KUNIT_FAIL(test, ...)		KUNIT_CHECK(test, false, false, "failed", __VA_ARGS__)
#define KUNIT_EXPECT_TRUE(test, c)	KUNIT_CHECK(test, c, false, #c)
#define KUNIT_EXPECT_FALSE(test, c)	KUNIT_CHECK(test, !(c), false, "not " #c)
#define KUNIT_ASSERT_TRUE(test, c)	KUNIT_CHECK(test, c, true, #c)
#define KUNIT_ASSERT_FALSE(test, c)	KUNIT_CHECK(test, !(c), true, "not " #c)
#define KUNIT_EXPECT_TRUE_MSG(test, c, ...)	KUNIT_CHECK(test, c, false, #c, __VA_ARGS__)
#define KUNIT_EXPECT_FALSE_MSG(test, c, ...)	KUNIT_CHECK(test, !(c), false, "not " #c, __VA_ARGS__)
#define KUNIT_EXPECT_NULL(test, p)	KUNIT_CHECK(test, !(p), false, #p " is NULL")
#define KUNIT_EXPECT_NOT_NULL(test, p)	KUNIT_CHECK(test, p, false, #p " is not NULL")
#define KUNIT_ASSERT_NOT_NULL(test, p)	KUNIT_CHECK(test, p, true, #p " is not NULL")
#define KUNIT_ASSERT_NOT_ERR_OR_NULL(test, p)	KUNIT_ASSERT_NOT_NULL(test, p)

#define KUNIT_EXPECT_EQ(test, l, r)	KUNIT_BINARY(test, l, ==, r, false)
#define KUNIT_EXPECT_NE(test, l, r)	KUNIT_BINARY(test, l, !=, r, false)
#define KUNIT_EXPECT_LT(test, l, r)	KUNIT_BINARY(test, l, <, r, false)
#define KUNIT_EXPECT_LE(test, l, r)	KUNIT_BINARY(test, l, <=, r, false)
#define KUNIT_EXPECT_GT(test, l, r)	KUNIT_BINARY(test, l, >, r, false)
#define KUNIT_EXPECT_GE(test, l, r)	KUNIT_BINARY(test, l, >=, r, false)
#define KUNIT_EXPECT_PTR_EQ(test, l, r)	KUNIT_BINARY(test, l, ==, r, false)
#define KUNIT_EXPECT_EQ_MSG(test, l, r, ...)	KUNIT_BINARY(test, l, ==, r, false, __VA_ARGS__)
#define KUNIT_EXPECT_NE_MSG(test, l, r, ...)	KUNIT_BINARY(test, l, !=, r, false, __VA_ARGS__)
#define KUNIT_ASSERT_EQ(test, l, r)	KUNIT_BINARY(test, l, ==, r, true)
#define KUNIT_ASSERT_NE(test, l, r)	KUNIT_BINARY(test, l, !=, r, true)
#define KUNIT_ASSERT_LT(test, l, r)	KUNIT_BINARY(test, l, <, r, true)
#define KUNIT_ASSERT_LE(test, l, r)	KUNIT_BINARY(test, l, <=, r, true)
#define KUNIT_ASSERT_GT(test, l, r)	KUNIT_BINARY(test, l, >, r, true)
#define KUNIT_ASSERT_GE(test, l, r)	KUNIT_BINARY(test, l, >=, r, true)
#define KUNIT_ASSERT_PTR_EQ(test, l, r)	KUNIT_BINARY(test, l, ==, r, true)
#define KUNIT_ASSERT_EQ_MSG(test, l, r, ...)	KUNIT_BINARY(test, l, ==, r, true, __VA_ARGS__)
#define KUNIT_EXPECT_STREQ(test, l, r)	KUNIT_CHECK(test, !strcmp(l, r), false, #l " is " #r)
#define KUNIT_EXPECT_STRNEQ(test, l, r)	KUNIT_CHECK(test, strcmp(l, r), false, #l " is not " #r)
#define KUNIT_EXPECT_MEMEQ(test, l, r, n)	KUNIT_CHECK(test, !memcmp(l, r, n), false, #l " is " #r)
#define KUNIT_EXPECT_MEMNEQ(test, l, r, n)	KUNIT_CHECK(test, memcmp(l, r, n), false, #l " is not " #r)

#endif /* _MIGDB_SHIM_KUNIT_H */
