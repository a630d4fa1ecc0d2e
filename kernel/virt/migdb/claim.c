// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's side of the claim bytes, see claim.h.
 *
 * cmpxchg() is fully ordered when it succeeds: what was written to the page
 * before migdb_claim_done() is visible to a VMM that reads DONE with acquire,
 * and a VMM that stored SENT before it writes the page has stopped us for good.
 */
#include <linux/types.h>
#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/migdb.h>
#include "claim.h"

/*
 * A correct VMM changes a byte once, to SENT; one retry is enough for it.  One
 * that keeps storing other values gets what it asks for: the page is its own.
 */
#define RETURN_TRIES	4

static bool step(u8 *claim, u8 from, u8 to)
{
	return cmpxchg(claim, from, to) == from;
}

bool migdb_claim_todo(u8 *claim)
{
	return step(claim, MIGDB_CLAIM_NONE, MIGDB_CLAIM_TODO);
}

bool migdb_claim_busy(u8 *claim)
{
	return step(claim, MIGDB_CLAIM_TODO, MIGDB_CLAIM_BUSY);
}

bool migdb_claim_done(u8 *claim)
{
	return step(claim, MIGDB_CLAIM_BUSY, MIGDB_CLAIM_DONE);
}

bool migdb_claim_again(u8 *claim)
{
	return step(claim, MIGDB_CLAIM_RETURNED, MIGDB_CLAIM_TODO);
}

static bool value_is_sent(u8 v)
{
	switch (v) {
	case MIGDB_CLAIM_NONE:
	case MIGDB_CLAIM_TODO:
	case MIGDB_CLAIM_BUSY:
	case MIGDB_CLAIM_DONE:
	case MIGDB_CLAIM_RETURNED:
		return false;
	default:
		return true;
	}
}

bool migdb_claim_return(u8 *claim)
{
	u8 old = READ_ONCE(*claim), seen;
	int i;

	for (i = 0; i < RETURN_TRIES; i++) {
		if (value_is_sent(old))
			return false;
		seen = cmpxchg(claim, old, MIGDB_CLAIM_RETURNED);
		if (seen == old)
			return true;
		old = seen;
	}
	return false;
}

void migdb_claim_sent(u8 *claim)
{
	/* as ordered as the others: what follows is a write to the page */
	xchg(claim, MIGDB_CLAIM_SENT);
}

void migdb_claim_revert(u8 *claim)
{
	xchg(claim, MIGDB_CLAIM_RETURNED);
}

bool migdb_claim_is_sent(const u8 *claim)
{
	/* pairs with the VMM's store of SENT: what it wrote before is visible */
	return value_is_sent(smp_load_acquire(claim));
}
