// SPDX-License-Identifier: GPL-2.0
/*
 * Where an address space has nothing in memory, by its page tables.
 *
 * Anyone can name terabytes of addresses that hold nothing.  So what is absent is
 * stepped over by page-table entries, 512 GiB, 1 GiB or 2 MiB at once, instead of
 * by pages.
 *
 * Interrupts are off while entries are read, as in the lock-free lookup of pages:
 * whoever frees a page table waits for that, by an IPI or by RCU.  The IPI goes only
 * to CPUs that use the address space, so it is looked at from within.  Each entry is
 * read once: it may change to that of a huge page or to none in between, and what
 * is decided then was so a moment ago.  That will do: a page that comes later says
 * nothing in this snapshot, one that has gone is not found when it is looked up.
 */
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <linux/sched.h>

#include "limits.h"
#include "snapshot.h"

/* From @addr up to the next entry of a level, and no further than @end. */
#define NEXT(addr, end, level)						\
	min_t(u64, ((addr) & level##_MASK) + level##_SIZE, end)

/* The first page from @addr on, in a table of them, that may be in memory. */
static u64 skip_ptes(pmd_t pmd, u64 addr, u64 end, u32 *left)
{
	pte_t *pte = pte_offset_kernel(&pmd, addr);

	/* No high memory: 64BIT. */
	for (; addr < end && *left; addr += PAGE_SIZE, pte++, --*left)
		if (pte_present(ptep_get_lockless(pte)))
			break;
	return addr;
}

/*
 * One step: beyond the entry that says that there is nothing at @addr, or @addr if
 * there may be something.
 */
static u64 skip_entry(u64 addr, u64 end, u32 *left)
{
	pgd_t *pgdp = pgd_offset(current->mm, addr), pgd = READ_ONCE(*pgdp);
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;

	if (pgd_none(pgd) || !pgd_present(pgd))
		return NEXT(addr, end, PGDIR);
	p4dp = p4d_offset_lockless(pgdp, pgd, addr);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || !p4d_present(p4d))
		return NEXT(addr, end, P4D);
	pudp = pud_offset_lockless(p4dp, p4d, addr);
	pud = READ_ONCE(*pudp);
	if (pud_none(pud) || !pud_present(pud))
		return NEXT(addr, end, PUD);
	if (pud_leaf(pud))
		return addr;
	pmdp = pmd_offset_lockless(pudp, pud, addr);
	pmd = pmdp_get_lockless(pmdp);
	if (pmd_none(pmd) || !pmd_present(pmd))
		return NEXT(addr, end, PMD);
	if (pmd_leaf(pmd))
		return addr;
	return skip_ptes(pmd, addr, NEXT(addr, end, PMD), left);
}

/**
 * mhint_absent - step over what current->mm does not have in memory
 * @addr: where to begin, whole pages
 * @end: where to stop
 *
 * Looks at MHINT_ABSENT_BATCH entries, about, with interrupts off.
 *
 * Return: the first address from @addr on, below @end, that may be in memory, or up
 * to which it has looked; @end: there is none.
 */
u64 mhint_absent(u64 addr, u64 end)
{
	u32 left = MHINT_ABSENT_BATCH;
	unsigned long flags;
	u64 next;

	local_irq_save(flags);
	while (addr < end && left) {
		next = skip_entry(addr, end, &left);
		if (next == addr)
			break;
		addr = next;
		if (left)
			left--;
	}
	local_irq_restore(flags);
	return addr;
}
