/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where guest memory is: guest frame <-> owner address <-> page index.
 * Immutable once built, so it needs no lock.
 */
#ifndef _MIGDB_REGIONS_H
#define _MIGDB_REGIONS_H

#include <linux/types.h>
#include "limits.h"

struct migdb_region {
	u64 first_gfn;
	u64 nr_pages;
	u64 hva;	/* owner address of the first page */
	u64 base;	/* page index of the first page; set by migdb_regions_build */
};

struct migdb_regions {
	u32 nr;
	u64 nr_pages;
	struct migdb_region r[MIGDB_MAX_REGIONS];	/* sorted by first_gfn */
	u32 by_hva[MIGDB_MAX_REGIONS];			/* indexes into r, sorted by hva */
};

/*
 * Sort and check: nothing empty, unaligned, overlapping (in guest addresses or
 * owner addresses) or wrapping, at most MIGDB_MAX_PAGES in all.
 * 0 or -EINVAL; -E2BIG for more than MIGDB_MAX_REGIONS.
 */
int migdb_regions_build(struct migdb_regions *rs, const struct migdb_region *in, u32 nr);

/* Region that holds it, or NULL. */
const struct migdb_region *migdb_region_of_gfn(const struct migdb_regions *rs, u64 gfn);
const struct migdb_region *migdb_region_of_hva(const struct migdb_regions *rs, u64 hva);
const struct migdb_region *migdb_region_of_index(const struct migdb_regions *rs, u64 index);

static inline u64 migdb_region_index(const struct migdb_region *r, u64 gfn)
{
	return r->base + (gfn - r->first_gfn);
}

static inline u64 migdb_region_gfn(const struct migdb_region *r, u64 index)
{
	return r->first_gfn + (index - r->base);
}

static inline u64 migdb_region_hva(const struct migdb_region *r, u64 index)
{
	return r->hva + (index - r->base) * MIGDB_PAGE_BYTES;
}

/*
 * Walk the pages that we have of the frames [*gfn, end): the next batch of at most
 * @max consecutive ones from *gfn on.  Returns their number and the index of the
 * first, and moves *gfn behind them; 0 when there are no more.  Costs the regions
 * stepped over, not the frames.
 */
u32 migdb_regions_next(const struct migdb_regions *rs, u64 *gfn, u64 end, u32 max, u64 *index);

/* Pages from @index to the end of its region. */
static inline u64 migdb_region_left(const struct migdb_region *r, u64 index)
{
	return r->base + r->nr_pages - index;
}

#endif /* _MIGDB_REGIONS_H */
