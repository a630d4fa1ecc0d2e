/* SPDX-License-Identifier: GPL-2.0 */
/* Page memory of a table for its tests: from the slab, its address is the gpa. */
#ifndef MM_HINTS_TESTS_FAKE_PAGES_H
#define MM_HINTS_TESTS_FAKE_PAGES_H

#include <linux/slab.h>

#include "../table.h"

/* @out: pages that are not free again; @budget: how many more there are. */
struct fake_pages {
	int out;
	int budget;
};

static void *fake_alloc(void *ctx, u64 *gpa)
{
	struct fake_pages *f = ctx;
	void *page;

	if (f->budget <= 0)
		return NULL;
	page = kzalloc(MEM_HINT_FRAME_SIZE, GFP_KERNEL);
	if (!page)
		return NULL;
	f->budget--;
	f->out++;
	*gpa = (unsigned long)page;
	return page;
}

static void fake_free(void *ctx, void *page, u64 gpa)
{
	struct fake_pages *f = ctx;

	f->out--;
	kfree(page);
}

static void *fake_at(void *ctx, u64 gpa)
{
	return (void *)(unsigned long)gpa;
}

static const struct mhint_table_ops fake_ops = {
	.alloc	= fake_alloc,
	.free	= fake_free,
	.at	= fake_at,
};

#endif
