// SPDX-License-Identifier: MIT
/*
 * Discardable pages: what the guest can do without arrives as zeros.
 *
 * It is the one class that nobody can verify.  So it counts only in a migration of
 * which the guest was told, by START, that this VMM makes use of it, and only for pages
 * that nobody has written to since.  Both are the VMM's to see to; the kernel's session
 * leaves these pages alone.  A page goes as zeros when its turn comes.  If it is written
 * to before or after that, a log has it, and it goes with what it holds then.
 *
 * They are sent, not left out: nobody knows what the destination's memory held before.
 * Until the guest runs there its memory here is as it was.
 */
#include "source.h"

#define AGREED	(1 << MEM_HINT_CLASS_BACKED | 1 << MEM_HINT_CLASS_DISCARDABLE)

/*
 * The logs first: the guest may take a page back, by a write, as soon as it has said
 * that it can do without it.
 */
void source_agree(struct source *s)
{
	u64 page;

	if (!s->o->discard)
		return;
	workload_start(s->w, AGREED);
	for (page = 0; page < s->vm->nr_pages; page++)
		if (hint_is_discardable(hints_get(&s->w->hints, page))) {
			s->discard[page / 64] |= 1ULL << (page % 64);
			s->out->discardable++;
		}
}

void source_heed(struct source *s, u64 *pages)
{
	u64 i;

	for (i = 0; i < s->words; i++) {
		s->todo[i] |= pages[i];
		if (s->o->fault != FAULT_DISCARD_WRITTEN)
			s->discard[i] &= ~pages[i];
		pages[i] = 0;
	}
}

bool source_discards(const struct source *s, u64 page)
{
	return s->discard[page / 64] >> (page % 64) & 1;
}

u64 source_discarded(const struct source *s)
{
	u64 i, n = 0;

	for (i = 0; i < s->words; i++)
		n += __builtin_popcountll(s->discard[i]);
	return n;
}
