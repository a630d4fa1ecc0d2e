// SPDX-License-Identifier: GPL-2.0
/*
 * The dirty ring, consumed in the kernel.
 *
 * KVM pushes an entry when a vCPU first writes to a protected page; the consumer
 * marks it harvested (RESET) and asks for a reset, which re-protects the page and
 * flushes TLBs; only then may the page be read (Documentation/virt/kvm/api.rst,
 * KVM_CAP_DIRTY_LOG_RING).  user space normally does that through the mmapped
 * ring.  Here the module walks vcpu->dirty_ring.dirty_gfns itself.  On a stock KVM it
 * resets through the VM file's ioctl, so that no symbol beyond file_is_kvm() is
 * needed; a KVM with patches/linux has calls for that (kvm_ring.h).
 *
 * The protocol has a single consumer.  A second one (a VMM that goes on reaping)
 * would take entries that we never see: each vCPU's reset index is compared with
 * the one that we left behind, and a difference is reported as -ESTALE.  So is an
 * entry that somebody else has marked, where KVM let nobody else reset it.
 *
 * An entry names a slot by its number; what memory is in that slot is looked up when
 * the entry is consumed.  If slots were changed in between, the number may be other
 * memory's: entries are believed only while the generation of the slots is the one
 * at which the rings were last seen empty (or at which the pages were armed).  New
 * slots must log, as those did that the pages were armed for.
 *
 * Pairing: our acquire of entry->flags pairs with the write barrier in
 * kvm_dirty_ring_push(); our release of RESET pairs with the acquire in
 * kvm_dirty_ring_reset().
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>
#include <linux/kvm_dirty_ring.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "kvm_ring.h"
#include "kvm_shim.h"

struct migdb_kvm {
	struct file *file;	/* keeps the VM */
	struct kvm *kvm;
	u32 *next;		/* per vCPU index: next ring entry to consume */
	bool gen_known;
	u64 gen[KVM_MAX_NR_ADDRESS_SPACES];	/* of the slots that entries may name */
};

/* kvm.ko may be absent: this must not keep the module from loading. */
static bool migdb_file_is_kvm(struct file *file)
{
	bool (*is_kvm)(struct file *file) = symbol_get(file_is_kvm);
	bool ret;

	if (!is_kvm)
		return false;
	ret = is_kvm(file);
	symbol_put(file_is_kvm);
	return ret;
}

static int migdb_kvm_check_vm(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (kvm->mm != current->mm)
		return -EPERM;
	if (!kvm->dirty_ring_size)
		return -EOPNOTSUPP;
	/* pages would be unprotected although their log is "on" */
	if (kvm->manual_dirty_log_protect & KVM_DIRTY_LOG_INITIALLY_SET)
		return -EOPNOTSUPP;
	if (kvm_arch_has_private_mem(kvm))
		return -EOPNOTSUPP;
	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (vcpu->arch.guest_state_protected)
			return -EOPNOTSUPP;
	}
	return 0;
}

struct migdb_kvm *migdb_kvm_bind(int fd)
{
	struct migdb_kvm *k;
	int ret;

	k = kzalloc(sizeof(*k), GFP_KERNEL_ACCOUNT);
	if (!k)
		return ERR_PTR(-ENOMEM);
	ret = -EBADF;
	k->file = fget(fd);
	if (!k->file)
		goto out_free;
	ret = -EOPNOTSUPP;
	if (!migdb_file_is_kvm(k->file))
		goto out_put;
	k->kvm = k->file->private_data;
	ret = migdb_kvm_check_vm(k->kvm);
	if (ret)
		goto out_put;
	ret = -ENOMEM;
	k->next = kvcalloc(KVM_MAX_VCPUS, sizeof(*k->next), GFP_KERNEL_ACCOUNT);
	if (!k->next)
		goto out_put;
	return k;

out_put:
	fput(k->file);
out_free:
	kfree(k);
	return ERR_PTR(ret);
}

void migdb_kvm_unbind(struct migdb_kvm *k)
{
	if (!k)
		return;
	migdb_kvm_leave_ring(k);
	fput(k->file);
	kvfree(k->next);
	kfree(k);
}

const void *migdb_kvm_id(const struct migdb_kvm *k)
{
	return k->kvm;
}

int migdb_kvm_take_ring(struct migdb_kvm *k)
{
	int ret = migdb_ring_acquire(k->kvm, k);
	struct kvm_vcpu *vcpu;
	unsigned long i;

	if (ret)
		return ret;
	kvm_for_each_vcpu(i, vcpu, k->kvm)
		k->next[vcpu->vcpu_idx] = READ_ONCE(vcpu->dirty_ring.reset_index);
	return 0;
}

void migdb_kvm_leave_ring(struct migdb_kvm *k)
{
	migdb_ring_release(k->kvm, k);
}

/*
 * Under kvm->srcu.  False while slots are being exchanged: a vCPU may still push
 * entries of the old ones.
 */
static bool migdb_kvm_generations(struct migdb_kvm *k, u64 *gen)
{
	bool stable = true;
	int as_id;

	for (as_id = 0; as_id < kvm_arch_nr_memslot_as_ids(k->kvm); as_id++) {
		gen[as_id] = READ_ONCE(__kvm_memslots(k->kvm, as_id)->generation);
		if (gen[as_id] & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS)
			stable = false;
	}
	return stable;
}

/* Does every slot that a vCPU can write to log what it writes?  Under kvm->srcu. */
static bool migdb_kvm_slots_log(struct migdb_kvm *k)
{
	struct kvm_memory_slot *slot;
	struct kvm_memslots *slots;
	int bkt, as_id;

	for (as_id = 0; as_id < kvm_arch_nr_memslot_as_ids(k->kvm); as_id++) {
		slots = __kvm_memslots(k->kvm, as_id);
		kvm_for_each_memslot(slot, bkt, slots) {
			/* a read-only slot has no writers; KVM's own have no owner address */
			if (slot->id >= KVM_USER_MEM_SLOTS || (slot->flags & KVM_MEM_READONLY))
				continue;
			if (!(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) ||
			    kvm_slot_can_be_private(slot))
				return false;
		}
	}
	return true;
}

int migdb_kvm_check_slots(struct migdb_kvm *k)
{
	u64 gen[KVM_MAX_NR_ADDRESS_SPACES] = {};
	int idx, ret;

	idx = srcu_read_lock(&k->kvm->srcu);
	ret = !migdb_kvm_generations(k, gen) ? -EBUSY :
	      migdb_kvm_slots_log(k) ? 0 : -EOPNOTSUPP;
	srcu_read_unlock(&k->kvm->srcu, idx);
	/* turning the logs on was the last change before this */
	if (!ret && !k->gen_known) {
		memcpy(k->gen, gen, sizeof(k->gen));
		k->gen_known = true;
	}
	return ret;
}

/*
 * The rings were empty while @gen was that of the slots: what comes from here on is
 * of these slots.  0, or -EIO if they do not log.
 */
static int migdb_kvm_adopt(struct migdb_kvm *k, const u64 *gen)
{
	u64 now[KVM_MAX_NR_ADDRESS_SPACES] = {};
	int idx, ret = 0;

	if (!memcmp(k->gen, gen, sizeof(k->gen)))
		return 0;
	idx = srcu_read_lock(&k->kvm->srcu);
	migdb_kvm_generations(k, now);
	/* changed again: the next harvest sees it */
	if (!memcmp(now, gen, sizeof(now))) {
		if (migdb_kvm_slots_log(k))
			memcpy(k->gen, gen, sizeof(k->gen));
		else
			ret = -EIO;
	}
	srcu_read_unlock(&k->kvm->srcu, idx);
	return ret;
}

/*
 * Owner address of a ring entry, under kvm->srcu; 0 if its slot is gone, or the
 * slots are not those that the entry was made for.
 */
static u64 migdb_kvm_hva(struct migdb_kvm *k, u32 slot_as_id, u64 offset)
{
	int as_id = slot_as_id >> 16, id = (u16)slot_as_id;
	struct kvm_memory_slot *slot;
	struct kvm_memslots *slots;

	if (as_id >= kvm_arch_nr_memslot_as_ids(k->kvm) || id >= KVM_USER_MEM_SLOTS)
		return 0;
	slots = __kvm_memslots(k->kvm, as_id);
	if (k->gen_known && READ_ONCE(slots->generation) != k->gen[as_id])
		return 0;
	slot = id_to_memslot(slots, id);
	if (!slot || offset >= slot->npages)
		return 0;
	return slot->userspace_addr + (offset << PAGE_SHIFT);
}

/*
 * Entries of one vCPU up to pass->end, until *n is @max.  0, -ESTALE or -EIO; *n
 * counts what was marked, also before an error: it must be re-protected in any case.
 */
static int migdb_kvm_harvest_vcpu(struct migdb_kvm *k, struct kvm_vcpu *vcpu,
				  const struct migdb_kvm_pass *pass, unsigned int max,
				  migdb_dirty_fn fn, void *ctx, unsigned int *n)
{
	struct kvm_dirty_ring *ring = &vcpu->dirty_ring;
	u32 *next = &k->next[vcpu->vcpu_idx];
	struct kvm_dirty_gfn *e;
	u32 flags;
	u64 hva;

	if (!ring->dirty_gfns)
		return 0;
	if (READ_ONCE(ring->reset_index) != *next)
		return -ESTALE;
	/* another pass may have got beyond our end: hence the sign */
	while (*n < max && (s32)(pass->end - *next) > 0) {
		e = &ring->dirty_gfns[*next & (ring->size - 1)];
		/* pairs with smp_wmb() in kvm_dirty_ring_push() */
		flags = smp_load_acquire(&e->flags);
		if (flags & KVM_DIRTY_GFN_F_RESET)
			return -ESTALE;		/* marked, but not by us */
		if (!(flags & KVM_DIRTY_GFN_F_DIRTY))
			break;
		/* the VMM can write to the mapped ring: read once, check once */
		hva = migdb_kvm_hva(k, READ_ONCE(e->slot), READ_ONCE(e->offset));
		/*
		 * Before the mark: an entry whose page nobody took must stay, or its
		 * page is re-protected and the write known to no one.
		 */
		if (!hva || !fn(ctx, hva))
			return -EIO;
		/* pairs with KVM's acquire when it resets the ring */
		smp_store_release(&e->flags, KVM_DIRTY_GFN_F_RESET);
		(*next)++;
		(*n)++;
	}
	return 0;
}

int migdb_kvm_harvest(struct migdb_kvm *k, struct migdb_kvm_pass *pass, unsigned int max,
		      migdb_dirty_fn fn, void *ctx, unsigned int *n)
{
	bool first = !pass->vcpu && !pass->entered;
	u64 gen[KVM_MAX_NR_ADDRESS_SPACES] = {};
	struct kvm_vcpu *vcpu;
	int idx, ret = 0;
	bool stable;
	long nr_reset;

	*n = 0;
	idx = srcu_read_lock(&k->kvm->srcu);
	stable = migdb_kvm_generations(k, gen);
	/*
	 * Generation, then rings: a change after this is noticed next time.  KVM
	 * ends the exchange of slots when nobody uses the old ones any more, after it
	 * has waited for them (synchronize_srcu): what they pushed is seen.
	 */
	smp_rmb();
	for (;;) {
		vcpu = kvm_get_vcpu(k->kvm, pass->vcpu);
		if (!vcpu)
			break;
		if (!pass->entered) {
			pass->end = READ_ONCE(vcpu->dirty_ring.dirty_index);
			pass->entered = true;
		}
		ret = migdb_kvm_harvest_vcpu(k, vcpu, pass, max, fn, ctx, n);
		if (ret || *n == max)
			break;
		pass->vcpu++;
		pass->entered = false;
	}
	srcu_read_unlock(&k->kvm->srcu, idx);

	/* Even after an error: what was marked must be re-protected. */
	if (*n) {
		nr_reset = migdb_ring_reset(k->file, k, *n);
		if (!ret && nr_reset != *n)
			ret = -ESTALE;
	} else if (!ret && first && k->gen_known && stable) {
		ret = migdb_kvm_adopt(k, gen);
	}
	return ret;
}

bool migdb_kvm_vcpus_out(struct migdb_kvm *k)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	/* KVM_RUN holds vcpu->mutex from entry to exit */
	kvm_for_each_vcpu(i, vcpu, k->kvm) {
		if (!mutex_trylock(&vcpu->mutex))
			return false;
		mutex_unlock(&vcpu->mutex);
	}
	return true;
}
