/* SPDX-License-Identifier: GPL-2.0 */
/* Buffers of each CPU between completions and the registry, see rings.c. */
#ifndef MM_HINTS_RINGS_H
#define MM_HINTS_RINGS_H

#include <linux/types.h>

#include "notes.h"

typedef void (*mhint_take_fn)(const struct mhint_note *note);

/* All that was noted before the call, to @take.  Under mhint_drain_lock; may sleep. */
void mhint_rings_drain(mhint_take_fn take);
/* Adds what was noted so far, and what the buffers take. */
void mhint_rings_count(struct mhint_counts *counts, u64 *bytes);
/* Two of @notes for each CPU; -ENOMEM: mhint_rings_free() has what there is. */
int mhint_rings_alloc(unsigned int notes);
void mhint_rings_free(void);

#endif
