// SPDX-License-Identifier: GPL-2.0
/*
 * Source side: what the destination says of pages (built, returned), and the frames
 * that are not records: HELLO, revokes, the end mark.  Records are in source_hash.c.
 *
 * Frames come in one at a time, under session.rx_lock.
 */
#include <linux/bitmap.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "source.h"

/* First frame of the stream: who, how, with which key. */
int migdb_source_hello(struct migdb_session *s)
{
	struct migdb_wire_hello *h;
	struct migdb_tx_frame *f;
	u32 i, n = 0, bytes;

	for (i = 0; i < MIGDB_MAX_DISKS; i++)
		n += !!s->disk[i].file;
	bytes = struct_size(h, disks, n);
	f = migdb_tx_alloc(bytes);
	if (!f)
		return -ENOMEM;
	h = (struct migdb_wire_hello *)f->data;
	memcpy(h->uuid, s->uuid, sizeof(h->uuid));
	h->key = s->key;
	h->page_bytes = cpu_to_le32(MIGDB_PAGE_BYTES);
	h->tag_alg = cpu_to_le32(s->tag_alg);
	h->nr_disks = cpu_to_le32(n);
	for (i = 0, n = 0; i < MIGDB_MAX_DISKS; i++) {
		if (!s->disk[i].file)
			continue;
		h->disks[n].disk = cpu_to_le32(i);
		h->disks[n].type = cpu_to_le32(s->disk[i].type);
		memcpy(h->disks[n].identity, s->disk[i].identity, MIGDB_IDENTITY_BYTES);
		h->disks[n].nr_blocks = cpu_to_le64(s->disk[i].nr_blocks);
		n++;
	}
	migdb_tx_append(s, f, MIGDB_FRAME_HELLO, bytes);
	return 0;
}

/*
 * A run of the destination's list: pages [index, end) of the set.  Those that were
 * revoked meanwhile are the VMM's to send, and stepped over a word at a time.
 */
static void migdb_source_answer(struct migdb_session *s, u32 type, u64 index, u64 end, u32 reason)
{
	struct migdb_source *src = s->src;
	u64 built = 0;

	lockdep_assert_held(&src->set_lock);
	for (index = find_next_and_bit(src->set, src->recorded, end, index); index < end;
	     index = find_next_and_bit(src->set, src->recorded, end, index + 1)) {
		if (type == MIGDB_FRAME_BUILT) {
			if (!__test_and_set_bit(index, src->confirmed)) {
				src->nr_unconfirmed--;
				atomic64_inc(&s->n.built);
				built++;
			}
		} else {
			/*
			 * Also a page that was confirmed before: the last word counts.
			 * Only this side takes pages.
			 */
			if (!reason || reason == MIGDB_REASON_TAKEN)
				reason = MIGDB_REASON_ABORTED;
			migdb_source_take(s, index, reason, true, true);
		}
	}
	if (built)
		migdb_split_built(&src->split, built, ktime_get_ns());
}

static void migdb_source_welcome(struct migdb_session *s, const struct migdb_wire_end *end)
{
	struct migdb_source *src = s->src;

	mutex_lock(&src->set_lock);
	src->welcomed = true;
	src->says_taken = le64_to_cpu(end->recorded) & MIGDB_OFFER_TAKEN;
	mutex_unlock(&src->set_lock);
}

/*
 * One range of a list.  -EINTR: the caller is being killed.  -EBADMSG: the peer has
 * named our pages more often than building and giving back each of them takes; what
 * it wants is our time.
 */
static int migdb_source_range(struct migdb_session *s, u32 type, const struct migdb_wire_range *r)
{
	u64 gfn = le64_to_cpu(r->gfn), end = gfn + le32_to_cpu(r->nr_pages), index;
	u64 most = s->regions.nr_pages * MIGDB_NAMED_TIMES;
	struct migdb_source *src = s->src;
	u32 nr;

	while ((nr = migdb_regions_next(&s->regions, &gfn, end, MIGDB_HARVEST_BATCH, &index))) {
		src->nr_named += nr;
		if (src->nr_named > most)
			return -EBADMSG;
		mutex_lock(&src->set_lock);
		migdb_source_answer(s, type, index, index + nr, le32_to_cpu(r->reason));
		mutex_unlock(&src->set_lock);
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

int migdb_source_rx(struct migdb_session *s, const struct migdb_frame *f)
{
	const struct migdb_wire_range *ranges;
	const struct migdb_wire_list *list;
	int ret = 0;
	u32 i, n;

	switch (f->type) {
	case MIGDB_FRAME_WELCOME:
		migdb_source_welcome(s, f->data);
		fallthrough;
	case MIGDB_FRAME_DRAINED:
		migdb_tx_wake(s);	/* the eventfd: look at the statistics */
		return 0;
	case MIGDB_FRAME_ABORT:
		migdb_session_peer_abort(s, f);
		return 0;
	case MIGDB_FRAME_BUILT:
	case MIGDB_FRAME_RETURN:
		break;
	default:
		return -EBADMSG;
	}
	list = f->data;
	ranges = migdb_list_ranges(list);
	n = le32_to_cpu(list->nr_runs);
	for (i = 0; i < n && !ret; i++)
		ret = migdb_source_range(s, f->type, &ranges[i]);
	migdb_tx_wake(s);
	return ret;
}

bool migdb_source_tx_pending(struct migdb_session *s)
{
	struct migdb_source *src = s->src;

	return READ_ONCE(src->revoke.nr_set) || READ_ONCE(src->revoke_taken.nr_set) ||
	       READ_ONCE(src->finish_due);
}

/* A frame of revokes.  Under set_lock; 0 or -ENOMEM: they are still queued then. */
static int migdb_tx_revokes(struct migdb_session *s, struct migdb_hbitmap *b, u32 reason)
{
	struct migdb_source *src = s->src;
	struct migdb_wire_range *ranges;
	const struct migdb_region *r;
	struct migdb_wire_list *list;
	struct migdb_tx_frame *f;
	u64 first, count;
	u32 n, max;

	lockdep_assert_held(&src->set_lock);
	max = min_t(u64, b->nr_set, MIGDB_LIST_FRAME_RUNS);
	f = migdb_tx_alloc(migdb_list_bytes(max));
	if (!f)
		return -ENOMEM;
	list = (struct migdb_wire_list *)f->data;
	ranges = migdb_list_ranges(list);
	for (n = 0; n < max && b->nr_set; n++) {
		/* a run may go on in the next region, which is elsewhere for the guest */
		first = migdb_hbitmap_next(b, 0);
		r = migdb_region_of_index(&s->regions, first);
		count = min_t(u64, migdb_region_left(r, first), MIGDB_HARVEST_BATCH);
		count = migdb_hbitmap_pop_run(b, first, count, &first);
		ranges[n].gfn = cpu_to_le64(migdb_region_gfn(r, first));
		ranges[n].nr_pages = cpu_to_le32(count);
		ranges[n].reason = cpu_to_le32(reason);
	}
	list->nr_runs = cpu_to_le32(n);
	migdb_tx_append(s, f, MIGDB_FRAME_REVOKE, migdb_list_bytes(n));
	return 0;
}

/*
 * Move revokes, then the end mark, into the stream while there is room.  Mostly
 * there are none, and a reader need not wait for the hasher to find that out;
 * whoever adds one wakes readers afterwards.  0, or -ENOMEM: something was left
 * unsaid, and not because there was no room.
 */
int migdb_source_tx(struct migdb_session *s)
{
	struct migdb_source *src = s->src;
	bool more = migdb_source_tx_pending(s);
	int ret = 0;

	while (more && !ret) {
		mutex_lock(&src->set_lock);
		more = (src->revoke.nr_set || src->revoke_taken.nr_set) && migdb_tx_has_room(s);
		if (more && src->revoke.nr_set)
			ret = migdb_tx_revokes(s, &src->revoke, MIGDB_REASON_DIRTY);
		else if (more)
			ret = migdb_tx_revokes(s, &src->revoke_taken, MIGDB_REASON_TAKEN);
		if (src->finish_due && !src->revoke.nr_set && !src->revoke_taken.nr_set) {
			ret = migdb_tx_end(s, MIGDB_FRAME_FINISH, 0);
			src->finish_due = ret;
		}
		mutex_unlock(&src->set_lock);
		cond_resched();
	}
	return ret;
}
