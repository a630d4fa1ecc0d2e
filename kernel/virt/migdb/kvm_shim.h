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

/*
 * Called for each dirty page, owner address; under the caller's locks.  False: the
 * page is not the caller's.  Its entry is then not consumed and ends the harvest.
 */
typedef bool (*migdb_dirty_fn)(void *ctx, u64 hva);

/*
 * Place of one pass over all rings, zeroed before its first batch.  Each ring is
 * emptied up to where it was when the pass came to it: a pass ends however fast
 * the guest writes, and misses nothing that was there when it began.
 */
struct migdb_kvm_pass {
	unsigned long vcpu;
	u32 end;		/* of @vcpu's ring */
	bool entered;		/* @end is valid */
};

#if IS_ENABLED(CONFIG_KVM)
/*
 * Take the VM behind @fd.  ERR_PTR: EBADF, EOPNOTSUPP (not a KVM VM, no dirty
 * ring, INITIALLY_SET, encrypted), EPERM (VM of another mm), ENOMEM.
 */
struct migdb_kvm *migdb_kvm_bind(int fd);
void migdb_kvm_unbind(struct migdb_kvm *k);
/* Same value for the same VM: to refuse a second session. */
const void *migdb_kvm_id(const struct migdb_kvm *k);
/*
 * From here on a reset by anybody else is seen, or refused to them where KVM knows
 * its consumer: 0, or EBUSY if that is another one.
 */
int migdb_kvm_take_ring(struct migdb_kvm *k);
/* User space has the ring again.  Also without having had it. */
void migdb_kvm_leave_ring(struct migdb_kvm *k);
/*
 * 0 if every slot logs and none is guest_memfd; else EOPNOTSUPP.  The first success
 * fixes the memory slots that entries may name, see migdb_kvm_harvest().
 */
int migdb_kvm_check_slots(struct migdb_kvm *k);
/*
 * One batch of a pass: consume at most @max entries, telling @fn the owner address
 * of each page, then re-protect those pages and flush TLBs.  *@n: how many, also
 * after an error; @max: there may be more.
 *
 * 0; -ESTALE if somebody else reset a ring; -EIO if the page of an entry is not
 * known: its slot is gone, slots were changed since rings were last seen empty (the
 * number may be another slot's by now), or @fn refused it.  That entry and those
 * behind it stay dirty in the ring, for whoever owns it next.
 * Caller is in the VM's mm and may sleep; one caller at a time.
 */
int migdb_kvm_harvest(struct migdb_kvm *k, struct migdb_kvm_pass *pass, unsigned int max,
		      migdb_dirty_fn fn, void *ctx, unsigned int *n);
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

static inline int migdb_kvm_take_ring(struct migdb_kvm *k)
{
	return -EOPNOTSUPP;
}

static inline void migdb_kvm_leave_ring(struct migdb_kvm *k) { }

static inline int migdb_kvm_check_slots(struct migdb_kvm *k)
{
	return -EOPNOTSUPP;
}

static inline int migdb_kvm_harvest(struct migdb_kvm *k, struct migdb_kvm_pass *pass,
				    unsigned int max, migdb_dirty_fn fn, void *ctx,
				    unsigned int *n)
{
	*n = 0;
	return -EOPNOTSUPP;
}

static inline bool migdb_kvm_vcpus_out(struct migdb_kvm *k)
{
	return false;
}
#endif

#endif /* _MIGDB_KVM_SHIM_H */
