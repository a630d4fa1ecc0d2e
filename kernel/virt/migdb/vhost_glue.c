// SPDX-License-Identifier: GPL-2.0
/*
 * The only file that knows vhost's insides.  With patches/linux <linux/vhost.h> has them.
 * A stock kernel's vhost.h is private and not installed with its headers, and its structs
 * change between stable releases: it must be the one of exactly the running kernel's
 * source.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vhost.h>
#include <linux/vhost_iotlb.h>

#include <uapi/linux/migdb.h>
#ifndef _VHOST_H
#include "vhost.h"
#endif
#include "vhost_glue.h"

struct migdb_vhost_lane {
	struct vhost_virtqueue vq;
	struct vhost_work work;
	struct migdb_vhost *v;
	unsigned int nr;
};

struct migdb_vhost {
	struct vhost_dev dev;
	struct vhost_virtqueue *vqs[MIGDB_NR_LANES];
	struct migdb_vhost_lane *lanes;
	void (*fn)(void *ctx, unsigned int lane);
	void *ctx;
};

static void migdb_vhost_work(struct vhost_work *work)
{
	struct migdb_vhost_lane *lane = container_of(work, struct migdb_vhost_lane, work);

	lane->v->fn(lane->v->ctx, lane->nr);
}

struct migdb_vhost *migdb_vhost_create(void (*fn)(void *ctx, unsigned int lane), void *ctx)
{
	struct migdb_vhost *v;
	unsigned int i;

	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	if (!v)
		return NULL;
	/* a virtqueue holds two iovec arrays: too much for kmalloc in one piece */
	v->lanes = kvcalloc(MIGDB_NR_LANES, sizeof(*v->lanes), GFP_KERNEL_ACCOUNT);
	if (!v->lanes) {
		kfree(v);
		return NULL;
	}
	v->fn = fn;
	v->ctx = ctx;
	for (i = 0; i < MIGDB_NR_LANES; i++) {
		v->lanes[i].v = v;
		v->lanes[i].nr = i;
		vhost_work_init(&v->lanes[i].work, migdb_vhost_work);
		v->vqs[i] = &v->lanes[i].vq;
	}
	/* no vring is ever set up: no iovecs, and weights that nobody reads */
	vhost_dev_init(&v->dev, v->vqs, MIGDB_NR_LANES, 0, 1, 1, true, NULL);
	return v;
}

bool migdb_vhost_has_owner(struct migdb_vhost *v)
{
	bool ret;

	mutex_lock(&v->dev.mutex);
	ret = vhost_dev_has_owner(&v->dev);
	mutex_unlock(&v->dev.mutex);
	return ret;
}

bool migdb_vhost_is_owner(struct migdb_vhost *v)
{
	/* dev.mm is set once and lives as long as the device */
	return READ_ONCE(v->dev.mm) == current->mm;
}

long migdb_vhost_ioctl(struct migdb_vhost *v, unsigned int cmd, unsigned long arg, bool frozen)
{
	void __user *argp = (void __user *)arg;
	unsigned int i;
	long ret;

	switch (cmd) {
	case VHOST_SET_OWNER:
	case VHOST_NEW_WORKER:
	case VHOST_FREE_WORKER:
	case VHOST_ATTACH_VRING_WORKER:
	case VHOST_GET_VRING_WORKER:
		break;
	case VHOST_SET_MEM_TABLE:
		if (frozen)
			return -EBUSY;
		break;
	default:
		return -ENOTTY;
	}

	mutex_lock(&v->dev.mutex);
	switch (cmd) {
	case VHOST_SET_OWNER:
	case VHOST_SET_MEM_TABLE:
		ret = vhost_dev_ioctl(&v->dev, cmd, argp);
		break;
	default:
		ret = vhost_worker_ioctl(&v->dev, cmd, argp);
	}
	if (cmd == VHOST_SET_OWNER && !ret) {
		/*
		 * vhost drains the old worker of a virtqueue that changes
		 * workers only if the virtqueue looks set up.  Ours is, from
		 * now on: work may be queued at any time.
		 */
		for (i = 0; i < MIGDB_NR_LANES; i++) {
			mutex_lock(&v->vqs[i]->mutex);
			vhost_vq_set_backend(v->vqs[i], v);
			mutex_unlock(&v->vqs[i]->mutex);
		}
	}
	mutex_unlock(&v->dev.mutex);
	return ret == -ENOIOCTLCMD ? -ENOTTY : ret;
}

int migdb_vhost_regions(struct migdb_vhost *v, struct migdb_region *out, u32 max)
{
	struct vhost_iotlb_map *map;
	int nr = 0;

	mutex_lock(&v->dev.mutex);
	if (!v->dev.umem) {
		nr = -EINVAL;
		goto out;
	}
	list_for_each_entry(map, &v->dev.umem->list, link) {
		if (nr == max) {
			nr = -E2BIG;
			goto out;
		}
		if (!PAGE_ALIGNED(map->start) || !PAGE_ALIGNED(map->size) ||
		    !PAGE_ALIGNED(map->addr) || !map->size) {
			nr = -EINVAL;
			goto out;
		}
		out[nr].first_gfn = map->start >> MIGDB_PAGE_SHIFT;
		out[nr].nr_pages = map->size >> MIGDB_PAGE_SHIFT;
		out[nr].hva = map->addr;
		nr++;
	}
	if (!nr)
		nr = -EINVAL;
out:
	mutex_unlock(&v->dev.mutex);
	return nr;
}

bool migdb_vhost_kick(struct migdb_vhost *v, unsigned int lane)
{
	return vhost_vq_work_queue(v->vqs[lane], &v->lanes[lane].work);
}

void migdb_vhost_flush(struct migdb_vhost *v)
{
	mutex_lock(&v->dev.mutex);
	if (vhost_dev_has_owner(&v->dev))
		vhost_dev_flush(&v->dev);
	mutex_unlock(&v->dev.mutex);
}

void migdb_vhost_destroy(struct migdb_vhost *v)
{
	vhost_dev_stop(&v->dev);
	vhost_dev_cleanup(&v->dev);
	kvfree(v->lanes);
	kfree(v);
}
