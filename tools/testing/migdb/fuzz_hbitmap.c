// SPDX-License-Identifier: GPL-2.0
/* libFuzzer: a sequence of operations on a bitmap, against an array of bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <linux/types.h>
#include "hbitmap.h"

#define CHECK(c)	do { if (!(c)) abort(); } while (0)

static u64 model_next(const u8 *model, u64 nr, u64 from)
{
	while (from < nr && !model[from])
		from++;
	return from < nr ? from : nr;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const u64 sizes[] = { 1, 63, 64, 65, 4095, 4096, 4097, 9000 };
	struct migdb_hbitmap b;
	u64 nr, set = 0;
	u8 *model;

	if (!size)
		return 0;
	nr = sizes[data[0] % 8];
	model = calloc(1, nr);
	CHECK(!migdb_hbitmap_init(&b, nr));
	for (data++, size--; size >= 4; data += 4, size -= 4) {
		u64 bit = (data[1] | (u64)data[2] << 8) % nr, n = data[3], first, want, i;

		switch (data[0] & 3) {
		case 0:
			for (i = bit; i < nr && i <= bit + n; i++) {
				CHECK(migdb_hbitmap_set(&b, i) == !model[i]);
				set += !model[i];
				model[i] = 1;
			}
			break;
		case 1:
			CHECK(migdb_hbitmap_clear(&b, bit) == !!model[bit]);
			set -= model[bit];
			model[bit] = 0;
			break;
		case 2:
			CHECK(migdb_hbitmap_next(&b, bit) == model_next(model, nr, bit));
			break;
		default:
			i = model_next(model, nr, bit);
			for (want = 0; want < n && i + want < nr && model[i + want]; want++)
				model[i + want] = 0;
			set -= want;
			CHECK(migdb_hbitmap_pop_run(&b, bit, n, &first) == want);
			CHECK(first == i);
		}
		CHECK(b.nr_set == set);
	}
	migdb_hbitmap_destroy(&b);
	free(model);
	return 0;
}
