/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Everything that migdb asks of KVM.  kvm_shim.c is the only file that knows
 * KVM's insides; on a kernel without KVM these are stubs.
 */
#ifndef _MIGDB_KVM_SHIM_H
#define _MIGDB_KVM_SHIM_H

#include <linux/err.h>
#include <linux/types.h>

struct migdb_kvm;

/* Called for each dirty page, owner address; under the caller's locks. */
typedef void (*migdb_dirty_fn)(void *ctx, u64 hva);

#if IS_ENABLED(CONFIG_KVM)
/*
 * Take the VM behind @fd.  ERR_PTR: EBADF, EOPNOTSUPP (not a KVM VM, no dirty
 * ring, INITIALLY_SET, encrypted), EPERM (VM of another mm), ENOMEM.
 */
struct migdb_kvm *migdb_kvm_bind(int fd);
void migdb_kvm_unbind(struct migdb_kvm *k);
/* Same value for the same VM: to refuse a second session. */
const void *migdb_kvm_id(const struct migdb_kvm *k);
/* From here on a reset by anybody else is seen. */
void migdb_kvm_take_ring(struct migdb_kvm *k);
/* 0 if every slot logs and none is guest_memfd; else EOPNOTSUPP. */
int migdb_kvm_check_slots(struct migdb_kvm *k);
/*
 * Consume at most @max entries of all vCPUs' rings, telling @fn the owner address
 * of each page, then re-protect those pages and flush TLBs.  Returns the number
 * consumed; -ESTALE if somebody else reset a ring, -EIO if an entry names a slot
 * that is gone (the page is unknown).  Caller is in the VM's mm and may sleep.
 */
int migdb_kvm_harvest(struct migdb_kvm *k, unsigned int max, migdb_dirty_fn fn, void *ctx);
/* True if no vCPU is inside KVM_RUN. */
bool migdb_kvm_vcpus_out(struct migdb_kvm *k);
#else
static inline struct migdb_kvm *migdb_kvm_bind(int fd)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void migdb_kvm_unbind(struct migdb_kvm *k) { }

static inline const void *migdb_kvm_id(const struct migdb_kvm *k)
{
	return NULL;
}

static inline void migdb_kvm_take_ring(struct migdb_kvm *k) { }

static inline int migdb_kvm_check_slots(struct migdb_kvm *k)
{
	return -EOPNOTSUPP;
}

static inline int migdb_kvm_harvest(struct migdb_kvm *k, unsigned int max,
				    migdb_dirty_fn fn, void *ctx)
{
	return -EOPNOTSUPP;
}

static inline bool migdb_kvm_vcpus_out(struct migdb_kvm *k)
{
	return false;
}
#endif

#endif /* _MIGDB_KVM_SHIM_H */
