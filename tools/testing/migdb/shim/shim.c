// SPDX-License-Identifier: GPL-2.0
/* The functions of shim/shim-kernel.h, as plain as they can be. */
#include <linux/types.h>

void *migdb_zalloc(size_t bytes);
void migdb_free(const void *p);

/* Nothing for nothing, as the kernel's. */
void *migdb_zalloc(size_t bytes)
{
	return bytes ? calloc(1, bytes) : NULL;
}

void migdb_free(const void *p)
{
	free((void *)p);
}

void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *b = p;

	for (; n; n--, b++) {
		if (*b != (u8)c)
			return (void *)b;
	}
	return NULL;
}

void sort(void *base, size_t nr, size_t size, cmp_func_t cmp, void *swap)
{
	qsort(base, nr, size, cmp);
}

struct sort_arg {
	cmp_r_func_t cmp;
	const void *priv;
};

static int sort_cmp(const void *a, const void *b, void *arg)
{
	const struct sort_arg *s = arg;

	return s->cmp(a, b, s->priv);
}

void sort_r(void *base, size_t nr, size_t size, cmp_r_func_t cmp, void *swap, const void *priv)
{
	struct sort_arg arg = { .cmp = cmp, .priv = priv };

	qsort_r(base, nr, size, sort_cmp, &arg);
}

static u64 rol(u64 v, unsigned int by)
{
	return v << by | v >> (64 - by);
}

struct sip {
	u64 a, b, c, d;
};

static void sip_round(struct sip *s)
{
	s->a += s->b;
	s->b = rol(s->b, 13) ^ s->a;
	s->a = rol(s->a, 32);
	s->c += s->d;
	s->d = rol(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = rol(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = rol(s->b, 17) ^ s->c;
	s->c = rol(s->c, 32);
}

static void sip_word(struct sip *s, u64 m)
{
	s->d ^= m;
	sip_round(s);
	sip_round(s);
	s->a ^= m;
}

u64 siphash(const void *data, size_t len, const siphash_key_t *key)
{
	struct sip s = {
		.a = key->key[0] ^ 0x736f6d6570736575ULL, .b = key->key[1] ^ 0x646f72616e646f6dULL,
		.c = key->key[0] ^ 0x6c7967656e657261ULL, .d = key->key[1] ^ 0x7465646279746573ULL,
	};
	const u8 *p = data;
	size_t left = len;
	u64 last = 0;

	for (; left >= 8; left -= 8, p += 8)
		sip_word(&s, get_unaligned_le64(p));
	memcpy(&last, p, left);
	sip_word(&s, last | (u64)len << 56);
	s.c ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

u64 siphash_4u64(u64 a, u64 b, u64 c, u64 d, const siphash_key_t *key)
{
	u64 v[4] = { a, b, c, d };

	return siphash(v, sizeof(v), key);
}
