/* SPDX-License-Identifier: MIT */
/* Workers of a vhost device, for <linux/vhost.h> of before Linux 6.5. */
#ifndef VHOST_WORKER_H
#define VHOST_WORKER_H

#include <linux/vhost.h>

#ifndef VHOST_NEW_WORKER
#define VHOST_NEW_WORKER _IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_FREE_WORKER _IOW(VHOST_VIRTIO, 0x9, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER _IOW(VHOST_VIRTIO, 0x15, struct vhost_vring_worker)
#define VHOST_GET_VRING_WORKER _IOWR(VHOST_VIRTIO, 0x16, struct vhost_vring_worker)
struct vhost_worker_state {
	unsigned int worker_id;
};

struct vhost_vring_worker {
	unsigned int index;
	unsigned int worker_id;
};
#endif

#endif /* VHOST_WORKER_H */
