// SPDX-License-Identifier: GPL-2.0
/* Guest frame <-> owner address <-> page index, see regions.h. */
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/sort.h>
#include <linux/string.h>
#include "regions.h"

/* First frame number whose address does not fit 64 bits. */
#define END_GFN		(1ULL << (64 - 12))

static int cmp_gfn(const void *a, const void *b)
{
	const struct migdb_region *ra = a, *rb = b;

	return (ra->first_gfn > rb->first_gfn) - (ra->first_gfn < rb->first_gfn);
}

static int cmp_hva(const void *a, const void *b, const void *priv)
{
	const struct migdb_regions *rs = priv;
	u64 ha = rs->r[*(const u32 *)a].hva, hb = rs->r[*(const u32 *)b].hva;

	return (ha > hb) - (ha < hb);
}

static bool region_sane(const struct migdb_region *r)
{
	if (!r->nr_pages || r->nr_pages > MIGDB_MAX_PAGES)
		return false;
	if (r->first_gfn >= END_GFN || r->nr_pages > END_GFN - r->first_gfn)
		return false;
	if (r->hva & (MIGDB_PAGE_BYTES - 1))
		return false;
	/* the byte after the last one must have an address, too */
	return r->hva + r->nr_pages * MIGDB_PAGE_BYTES > r->hva;
}

static int regions_fill(struct migdb_regions *rs, const struct migdb_region *in, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++) {
		if (!region_sane(&in[i]))
			return -EINVAL;
		rs->r[i] = in[i];
		rs->by_hva[i] = i;
	}
	sort(rs->r, nr, sizeof(rs->r[0]), cmp_gfn, NULL);

	for (i = 0; i < nr; i++) {
		struct migdb_region *r = &rs->r[i];

		if (i && r->first_gfn - r[-1].first_gfn < r[-1].nr_pages)
			return -EINVAL;
		r->base = rs->nr_pages;
		rs->nr_pages += r->nr_pages;
		if (rs->nr_pages > MIGDB_MAX_PAGES)
			return -EINVAL;
	}

	sort_r(rs->by_hva, nr, sizeof(rs->by_hva[0]), cmp_hva, NULL, rs);
	for (i = 1; i < nr; i++) {
		const struct migdb_region *lo = &rs->r[rs->by_hva[i - 1]];

		if (rs->r[rs->by_hva[i]].hva - lo->hva < lo->nr_pages * MIGDB_PAGE_BYTES)
			return -EINVAL;
	}
	rs->nr = nr;
	return 0;
}

int migdb_regions_build(struct migdb_regions *rs, const struct migdb_region *in, u32 nr)
{
	int rc;

	memset(rs, 0, sizeof(*rs));
	if (!nr)
		return -EINVAL;
	if (nr > MIGDB_MAX_REGIONS)
		return -E2BIG;
	rc = regions_fill(rs, in, nr);
	/* nothing half-built stays behind */
	if (rc)
		memset(rs, 0, sizeof(*rs));
	return rc;
}

const struct migdb_region *migdb_region_of_gfn(const struct migdb_regions *rs, u64 gfn)
{
	u32 lo = 0, hi = rs->nr;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;
		const struct migdb_region *r = &rs->r[mid];

		if (gfn < r->first_gfn)
			hi = mid;
		else if (gfn - r->first_gfn >= r->nr_pages)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

const struct migdb_region *migdb_region_of_hva(const struct migdb_regions *rs, u64 hva)
{
	u32 lo = 0, hi = rs->nr;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;
		const struct migdb_region *r = &rs->r[rs->by_hva[mid]];

		if (hva < r->hva)
			hi = mid;
		else if (hva - r->hva >= r->nr_pages * MIGDB_PAGE_BYTES)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

const struct migdb_region *migdb_region_of_index(const struct migdb_regions *rs, u64 index)
{
	u32 lo = 0, hi = rs->nr;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;
		const struct migdb_region *r = &rs->r[mid];

		if (index < r->base)
			hi = mid;
		else if (index - r->base >= r->nr_pages)
			lo = mid + 1;
		else
			return r;
	}
	return NULL;
}

u32 migdb_regions_next(const struct migdb_regions *rs, u64 *gfn, u64 end, u32 max, u64 *index)
{
	const struct migdb_region *r;
	u64 first, stop;
	u32 i, nr;

	for (i = 0; i < rs->nr; i++) {
		r = &rs->r[i];
		first = max(*gfn, r->first_gfn);
		stop = min(end, r->first_gfn + r->nr_pages);
		if (first >= stop)
			continue;
		nr = min_t(u64, stop - first, max);
		*index = migdb_region_index(r, first);
		*gfn = first + nr;
		return nr;
	}
	return 0;
}
