/* SPDX-License-Identifier: GPL-2.0 */
/*
 * As much of the kernel as the pure logic needs, in user space.  The run script
 * makes a header of every name in HEADERS that includes this one, so the sources
 * are compiled as they are.
 */
#ifndef _MIGDB_SHIM_KERNEL_H
#define _MIGDB_SHIM_KERNEL_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include_next <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef unsigned int gfp_t;

#define U8_MAX			((u8)~0u)
#define U16_MAX			((u16)~0u)
#define U32_MAX			((u32)~0u)
#define U64_MAX			((u64)~0ULL)
#define S64_MAX			((s64)(U64_MAX >> 1))

#define __aligned(n)		__attribute__((aligned(n)))
#define __packed		__attribute__((packed))
#define __maybe_unused		__attribute__((unused))

#define noinline		__attribute__((noinline))
#define fallthrough		__attribute__((fallthrough))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define __user
#define __force

#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define GENMASK(h, l)		((~0UL << (l)) & (~0UL >> (63 - (h))))
#define GENMASK_ULL(h, l)	((~0ULL << (l)) & (~0ULL >> (63 - (h))))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BUILD_BUG_ON(c)		_Static_assert(!(c), #c)
#define static_assert		_Static_assert
#define sizeof_field(t, f)	sizeof(((t *)0)->f)
#define WARN_ON_ONCE(c)		({ bool _w = (c); if (_w) abort(); _w; })
#define ALIGN_DOWN(x, a)	((x) & ~((typeof(x))(a) - 1))
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))
#define SZ_4K			0x1000
#define PAGE_SHIFT		12
#define PAGE_SIZE		4096UL

#define min(a, b)		({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define max(a, b)		({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define min_t(t, a, b)		({ t _a = (a); t _b = (b); _a < _b ? _a : _b; })
#define max_t(t, a, b)		({ t _a = (a); t _b = (b); _a > _b ? _a : _b; })
#define min3(a, b, c)		min(min(a, b), c)
#define clamp(v, lo, hi)	min(max(v, lo), hi)
#define min_not_zero(a, b)	({ typeof(a) _p = (a); typeof(b) _q = (b); \
				   _p && (!_q || _p < _q) ? _p : _q; })
#define swap(a, b)		do { typeof(a) _t = (a); (a) = (b); (b) = _t; } while (0)

#define __ffs64(x)		((unsigned int)__builtin_ctzll(x))
#define fls64(x)		({ u64 _x = (x); _x ? 64 - __builtin_clzll(_x) : 0; })
#define hweight64(x)		__builtin_popcountll(x)

/* The kernel's are fully ordered. */
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define cmpxchg(p, o, n) ({						\
	typeof(*(p)) _o = (o);						\
	__atomic_compare_exchange_n(p, &_o, n, false, __ATOMIC_SEQ_CST,	\
				    __ATOMIC_SEQ_CST);			\
	_o; })

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "for little-endian machines"
#endif
#define cpu_to_le16(x)		((__le16)(u16)(x))
#define cpu_to_le32(x)		((__le32)(u32)(x))
#define cpu_to_le64(x)		((__le64)(u64)(x))
#define le16_to_cpu(x)		((u16)(x))
#define le32_to_cpu(x)		((u32)(x))
#define le64_to_cpu(x)		((u64)(x))
#define le64_to_cpup(p)		le64_to_cpu(*(p))

static inline u64 get_unaligned_le64(const void *p)
{
	u64 v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void put_unaligned_le64(u64 v, void *p)
{
	memcpy(p, &v, sizeof(v));
}

static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

static inline u64 div_u64_rem(u64 a, u32 b, u32 *rem)
{
	*rem = a % b;
	return a / b;
}

static inline ssize_t strscpy_n(char *to, const char *from, size_t size)
{
	size_t n = strnlen(from, size);

	if (!size)
		return -E2BIG;
	if (n == size) {
		memcpy(to, from, size - 1);
		to[size - 1] = 0;
		return -E2BIG;
	}
	memcpy(to, from, n + 1);
	return n;
}

#define strscpy_2(to, from)	strscpy_n(to, from, sizeof(to))
#define strscpy_pick(_1, _2, _3, name, ...)	name
#define strscpy(...)		strscpy_pick(__VA_ARGS__, strscpy_n, strscpy_2,)(__VA_ARGS__)

#define scnprintf(buf, size, ...) ({					\
	size_t _size = (size);						\
	int _n = snprintf(buf, _size, __VA_ARGS__);			\
	!_size ? 0 : (size_t)_n < _size ? _n : (int)_size - 1; })

void *memchr_inv(const void *p, int c, size_t n);

static inline void cond_resched(void)
{
}

typedef int (*cmp_func_t)(const void *a, const void *b);
typedef int (*cmp_r_func_t)(const void *a, const void *b, const void *priv);

void sort(void *base, size_t nr, size_t size, cmp_func_t cmp, void *swap);
void sort_r(void *base, size_t nr, size_t size, cmp_r_func_t cmp, void *swap, const void *priv);

typedef struct {
	u64 key[2];
} siphash_key_t;

u64 siphash(const void *data, size_t len, const siphash_key_t *key);
u64 siphash_4u64(u64 a, u64 b, u64 c, u64 d, const siphash_key_t *key);

#define GFP_KERNEL		0u
#define kmalloc(n, gfp)		malloc(n)
#define kzalloc(n, gfp)		calloc(1, n)
#define kcalloc(n, size, gfp)	calloc(n, size)
#define kfree(p)		free((void *)(p))
#define MODULE_DESCRIPTION(x)	_Static_assert(1, "")
#define MODULE_LICENSE(x)	_Static_assert(1, "")

#endif /* _MIGDB_SHIM_KERNEL_H */
