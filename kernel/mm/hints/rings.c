// SPDX-License-Identifier: GPL-2.0
/*
 * From completions to the registry: a pair of buffers for each CPU.
 *
 * Completions append to one of them, in any context but NMI.  Draining swaps it for the
 * other one, which is empty, and reads what is in it at its leisure: one thread at a
 * time, under mhint_drain_lock.  Notes of one CPU keep their order.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/io.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "internal.h"
#include "rings.h"

/*
 * @lock: guards the rest against the drain; taken with interrupts off, held
 *	for one request's pages at most.
 * @active: being appended to; the other one is empty or being entered.
 */
struct mhint_ring {
	raw_spinlock_t lock;
	struct mhint_buf *active;
	struct mhint_counts counts;
	struct mhint_buf bufs[2];
};

static DEFINE_PER_CPU(struct mhint_ring, mhint_rings);

/**
 * mhint_note - note the pages of bios whose transfer is complete
 * @io: disk, position and direction; the position is that of each bio
 * @bio: first of a request's chain, not advanced yet
 * @left: bytes that are complete
 * @delta: added to with what became of the frames
 *
 * Context: any but NMI.
 */
void mhint_note(struct mhint_io *io, struct bio *bio, u32 left,
		struct mhint_counts *delta)
{
	u32 before, after, half;
	struct mhint_ring *ring;
	struct bvec_iter iter;
	struct bio_vec bv;
	unsigned long flags;

	local_irq_save(flags);
	ring = this_cpu_ptr(&mhint_rings);
	raw_spin_lock(&ring->lock);
	half = ring->active->size / 2;
	before = ring->active->nr;
	for (; bio && left; bio = bio->bi_next) {
		io->pos = (u64)bio->bi_iter.bi_sector << SECTOR_SHIFT;
		bio_for_each_bvec(bv, bio, iter) {
			u32 len = min(bv.bv_len, left);

			mhint_note_span(ring->active, delta, io,
					page_to_phys(bv.bv_page) + bv.bv_offset,
					len);
			left -= len;
			if (!left)
				break;
		}
	}
	after = ring->active->nr;
	ring->counts.noted += delta->noted;
	ring->counts.dropped += delta->dropped;
	ring->counts.misaligned += delta->misaligned;
	raw_spin_unlock(&ring->lock);
	local_irq_restore(flags);

	if (after >= half && before < half)
		mhint_drain_soon();
	else if (!before && after)
		mhint_drain_later();
}

static void drain_cpu(struct mhint_ring *ring, mhint_take_fn take)
{
	struct mhint_buf *full;
	u32 nr, i;

	raw_spin_lock_irq(&ring->lock);
	full = ring->active;
	nr = full->nr;
	if (nr)
		ring->active = full == &ring->bufs[0] ? &ring->bufs[1] :
							&ring->bufs[0];
	raw_spin_unlock_irq(&ring->lock);
	if (!nr)	/* not swapped: it is being appended to */
		return;

	/* Every disk that these notes name has its slot by now: ask the new ones. */
	mhint_disks_resolve();
	for (i = 0; i < nr; i++) {
		take(&full->notes[i]);
		if (!(i % MEM_HINT_SLOTS))
			cond_resched();
	}
	full->nr = 0;
}

void mhint_rings_drain(mhint_take_fn take)
{
	int cpu;

	lockdep_assert_held(&mhint_drain_lock);
	for_each_possible_cpu(cpu)
		drain_cpu(per_cpu_ptr(&mhint_rings, cpu), take);
}

void mhint_rings_count(struct mhint_counts *counts, u64 *bytes)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct mhint_ring *r = per_cpu_ptr(&mhint_rings, cpu);

		counts->noted += READ_ONCE(r->counts.noted);
		counts->dropped += READ_ONCE(r->counts.dropped);
		counts->misaligned += READ_ONCE(r->counts.misaligned);
		*bytes += (r->bufs[0].size + r->bufs[1].size) * sizeof(struct mhint_note);
	}
}

void mhint_rings_free(void)
{
	int cpu, i;

	for_each_possible_cpu(cpu)
		for (i = 0; i < 2; i++) {
			struct mhint_ring *r = per_cpu_ptr(&mhint_rings, cpu);

			kvfree(r->bufs[i].notes);
			r->bufs[i].notes = NULL;
		}
}

int mhint_rings_alloc(unsigned int notes)
{
	int cpu, i;

	for_each_possible_cpu(cpu) {
		struct mhint_ring *r = per_cpu_ptr(&mhint_rings, cpu);

		raw_spin_lock_init(&r->lock);
		r->active = &r->bufs[0];
		for (i = 0; i < 2; i++) {
			r->bufs[i].size = notes;
			r->bufs[i].notes =
				kvmalloc_node(array_size(notes, sizeof(struct mhint_note)),
					      GFP_KERNEL, cpu_to_node(cpu));
			if (!r->bufs[i].notes)
				return -ENOMEM;
		}
	}
	return 0;
}
