/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory whose size depends on the guest: zeroed, charged to the caller's
 * memcg, from order-0 pages, and never worth an OOM kill or a stack trace.
 */
#ifndef _MIGDB_ALLOC_H
#define _MIGDB_ALLOC_H

#ifdef __KERNEL__
#include <linux/gfp.h>
#include <linux/vmalloc.h>

#define MIGDB_GFP	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

static inline void *migdb_zalloc(size_t bytes)
{
	return bytes ? __vmalloc(bytes, MIGDB_GFP | __GFP_ZERO) : NULL;
}

static inline void migdb_free(const void *p)
{
	vfree(p);
}
#else
void *migdb_zalloc(size_t bytes);
void migdb_free(const void *p);
#endif

#endif /* _MIGDB_ALLOC_H */
