/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's side of the claim bytes (enum migdb_claim in the uapi header).
 * The other writer is user space, which may store anything at any time: every
 * step is one compare-and-exchange from an expected value, and "not expected"
 * always means SENT: the stream has the page, the kernel keeps its hands off.
 */
#ifndef _MIGDB_CLAIM_H
#define _MIGDB_CLAIM_H

#include <linux/types.h>

/* Each: true if the step was made, false if the page is the stream's. */
bool migdb_claim_todo(u8 *claim);	/* NONE -> TODO */
bool migdb_claim_busy(u8 *claim);	/* TODO -> BUSY */
bool migdb_claim_done(u8 *claim);	/* BUSY -> DONE */
/*
 * NONE, TODO, BUSY, DONE, RETURNED -> RETURNED; anything else stays.  Also false
 * after a few attempts against a writer that never leaves the byte alone.
 */
bool migdb_claim_return(u8 *claim);
bool migdb_claim_again(u8 *claim);	/* RETURNED -> TODO: nobody will send it */
/* Unconditional, for MIGDB_CLAIM; the caller has excluded fills. */
void migdb_claim_sent(u8 *claim);
/* Unconditional, SENT too, for MIGDB_HOLD; likewise, and no page comes meanwhile. */
void migdb_claim_revert(u8 *claim);
/* True for SENT and for any value that is not in the enum. */
bool migdb_claim_is_sent(const u8 *claim);

#endif /* _MIGDB_CLAIM_H */
