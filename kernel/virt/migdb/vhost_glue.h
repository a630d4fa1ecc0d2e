/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only door to the vhost core.  A session is a vhost device with
 * MIGDB_NR_LANES dummy virtqueues; a lane's work runs on the vhost worker that
 * its virtqueue is attached to, in the owner's process: its mm, its cgroups.
 */
#ifndef _MIGDB_VHOST_GLUE_H
#define _MIGDB_VHOST_GLUE_H

#include <linux/types.h>
#include "regions.h"

struct migdb_vhost;

/* @fn runs in worker context, one call at a time per lane. */
struct migdb_vhost *migdb_vhost_create(void (*fn)(void *ctx, unsigned int lane), void *ctx);

/*
 * VHOST_SET_OWNER, VHOST_SET_MEM_TABLE (refused with EBUSY when @frozen) and the
 * worker ioctls; ENOTTY for everything else.
 */
long migdb_vhost_ioctl(struct migdb_vhost *v, unsigned int cmd, unsigned long arg, bool frozen);

bool migdb_vhost_has_owner(struct migdb_vhost *v);
bool migdb_vhost_is_owner(struct migdb_vhost *v);

/* Copy the memory table: number of regions, -EINVAL (none, unaligned) or -E2BIG. */
int migdb_vhost_regions(struct migdb_vhost *v, struct migdb_region *out, u32 max);

/* Run the lane's work.  Any context.  False if its worker is gone. */
bool migdb_vhost_kick(struct migdb_vhost *v, unsigned int lane);

/* Wait until work queued before has run. */
void migdb_vhost_flush(struct migdb_vhost *v);

/* Stop the workers and let go of the owner.  Nobody kicks any more. */
void migdb_vhost_destroy(struct migdb_vhost *v);

#endif /* _MIGDB_VHOST_GLUE_H */
