/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Who consumes a VM's dirty rings, and how they are reset.
 *
 * With patches/linux KVM knows its consumer: user space cannot reset what is ours, and
 * how long a reset holds slots_lock is ours to say.  A stock KVM has a call for the VM's
 * file alone, and everybody who has one may use it: kvm_shim.c finds out afterwards.
 */
#ifndef _MIGDB_KVM_RING_H
#define _MIGDB_KVM_RING_H

#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/kvm_dirty_ring.h>
#include <linux/module.h>

#include "limits.h"

#ifdef KVM_DIRTY_RING_OWNER
MODULE_IMPORT_NS(KVM_DIRTY_RING);

/* 0, or EBUSY: the kernel has another consumer. */
static inline int migdb_ring_acquire(struct kvm *kvm, const void *owner)
{
	return kvm_dirty_ring_acquire(kvm, owner);
}

static inline void migdb_ring_release(struct kvm *kvm, const void *owner)
{
	kvm_dirty_ring_release(kvm, owner);
}

/*
 * How many entries were reset: @nr if those that we have marked are all that are marked.
 * More, if user space marks entries, too.  Then theirs may lie before ours, which are to
 * be reset in any case: all are, a batch at a time, and no more than fit the rings, as
 * user space may never cease.
 */
static inline long migdb_ring_reset(struct file *file, const void *owner, unsigned int nr)
{
	struct kvm *kvm = file->private_data;
	long total = kvm_dirty_ring_reset_all(kvm, owner, nr + 1);
	long most = (long)kvm->dirty_ring_size / (long)sizeof(struct kvm_dirty_gfn) *
		    atomic_read(&kvm->online_vcpus);
	long n = total;

	while (total > nr && n > 0 && total < most) {
		cond_resched();
		n = kvm_dirty_ring_reset_all(kvm, owner, MIGDB_HARVEST_BATCH);
		total += max(n, 0L);
	}
	return total;
}
#else
static inline int migdb_ring_acquire(struct kvm *kvm, const void *owner)
{
	return 0;
}

static inline void migdb_ring_release(struct kvm *kvm, const void *owner) { }

static inline long migdb_ring_reset(struct file *file, const void *owner, unsigned int nr)
{
	return vfs_ioctl(file, KVM_RESET_DIRTY_RINGS, 0);
}
#endif

#endif /* _MIGDB_KVM_RING_H */
