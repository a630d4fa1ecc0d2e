// SPDX-License-Identifier: GPL-2.0
/*
 * Post-copy: pages that the guest waits for.  Each has a slot, a read of its own in
 * front of all others, and a deadline after which the source has to bring it.
 *
 *	MIGDB_FAULT --> slot QUEUED --fault lane--> READING --> placed, or given back
 *	timer --> late_work --> given back
 *	MIGDB_DEADLINE_NEVER, when the read has passed it --> QUEUED again
 *
 * Whatever comes first decides, under dest.lock: a page that has been given back is not
 * TODO any more, and one that is being placed (BUSY) is not given back.
 */
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/workqueue.h>

#include "claim.h"
#include "fetch.h"
#include "postcopy.h"
#include "trace.h"
#include "vhost_glue.h"

static struct migdb_fault_slot *migdb_slot_of(struct migdb_placer *pc, u64 index)
{
	u32 i;

	for (i = 0; i < MIGDB_FAULT_SLOTS; i++)
		if (pc->slot[i].state != MIGDB_SLOT_FREE && pc->slot[i].index == index)
			return &pc->slot[i];
	return NULL;
}

static bool migdb_slot_decided(struct migdb_dest *d, const struct migdb_fault_slot *slot)
{
	u32 state = migdb_page_state(d, slot->index);

	return state != MIGDB_PAGE_TODO && state != MIGDB_PAGE_BUSY;
}

static void migdb_slot_free(struct migdb_session *s, struct migdb_fault_slot *slot)
{
	if (migdb_page_state(s->dst, slot->index) == MIGDB_PAGE_DONE && !slot->late)
		atomic64_inc(&s->n.faults_built);
	slot->state = MIGDB_SLOT_FREE;
}

/* Slots of pages that others have brought meanwhile are free again. */
static struct migdb_fault_slot *migdb_slot_get(struct migdb_placer *pc)
{
	struct migdb_fault_slot *slot, *found = NULL;
	u32 i;

	for (i = 0; i < MIGDB_FAULT_SLOTS; i++) {
		slot = &pc->slot[i];
		if ((slot->state == MIGDB_SLOT_QUEUED || slot->state == MIGDB_SLOT_WAITING) &&
		    migdb_slot_decided(pc->s->dst, slot))
			migdb_slot_free(pc->s, slot);
		if (slot->state == MIGDB_SLOT_FREE && !found)
			found = slot;
	}
	return found;
}

/* To the next deadline.  Under dest.lock. */
static void migdb_fault_arm(struct migdb_placer *pc)
{
	u64 due = U64_MAX;
	u32 i;

	for (i = 0; i < MIGDB_FAULT_SLOTS; i++)
		if (pc->slot[i].state != MIGDB_SLOT_FREE && pc->slot[i].due_ns)
			due = min(due, pc->slot[i].due_ns);
	if (due != U64_MAX)
		hrtimer_start(&pc->timer, ns_to_ktime(due), HRTIMER_MODE_ABS);
}

static void migdb_fault_late(struct work_struct *work)
{
	struct migdb_placer *pc = container_of(work, struct migdb_placer, late_work);
	struct migdb_session *s = pc->s;
	struct migdb_dest *d = s->dst;
	struct migdb_fault_slot *slot;
	u64 now = ktime_get_ns();
	u32 i;

	mutex_lock(&d->lock);
	for (i = 0; i < MIGDB_FAULT_SLOTS; i++) {
		slot = &pc->slot[i];
		if (slot->state == MIGDB_SLOT_FREE || !slot->due_ns || slot->due_ns > now)
			continue;
		slot->due_ns = 0;
		if (migdb_page_state(d, slot->index) == MIGDB_PAGE_TODO) {
			slot->late = true;
			atomic64_inc(&s->n.faults_late);
			migdb_dest_return_locked(s, slot->index, MIGDB_REASON_LATE);
		}
		/* a read that is under way has its slot until it is over */
		if (slot->state != MIGDB_SLOT_READING && migdb_slot_decided(d, slot))
			migdb_slot_free(s, slot);
	}
	migdb_fault_arm(pc);
	mutex_unlock(&d->lock);
	migdb_tx_wake(s);
}

static enum hrtimer_restart migdb_fault_timer(struct hrtimer *timer)
{
	struct migdb_placer *pc = container_of(timer, struct migdb_placer, timer);

	migdb_queue_work(&pc->late_work);
	return HRTIMER_NORESTART;
}

void migdb_fault_init(struct migdb_placer *pc)
{
	hrtimer_init(&pc->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	pc->timer.function = migdb_fault_timer;
	INIT_WORK(&pc->late_work, migdb_fault_late);
}

/* Nobody asks any more; the work may start the timer once more. */
void migdb_fault_stop(struct migdb_placer *pc)
{
	u32 i;

	mutex_lock(&pc->s->dst->lock);
	for (i = 0; i < MIGDB_FAULT_SLOTS; i++)
		pc->slot[i].due_ns = 0;
	mutex_unlock(&pc->s->dst->lock);
	hrtimer_cancel(&pc->timer);
	cancel_work_sync(&pc->late_work);
	hrtimer_cancel(&pc->timer);
}

/* What could not be looked up can be now. */
void migdb_fault_indexed(struct migdb_placer *pc)
{
	u32 i;

	mutex_lock(&pc->s->dst->lock);
	for (i = 0; i < MIGDB_FAULT_SLOTS; i++)
		if (pc->slot[i].state == MIGDB_SLOT_WAITING)
			pc->slot[i].state = MIGDB_SLOT_QUEUED;
	mutex_unlock(&pc->s->dst->lock);
	migdb_vhost_kick(pc->s->vhost, MIGDB_FAULT_LANE);
}

/*
 * The read for the oldest page that waits for one: its block and the run's others in
 * the same group, which a database's page consists of.  False: none waits.
 */
bool migdb_fault_plan(struct migdb_session *s, struct migdb_io *io)
{
	struct migdb_placer *pc = s->dst->placer;
	struct migdb_fault_slot *slot, *oldest;
	struct migdb_dest *d = s->dst;
	struct migdb_fetch_run *run;
	struct migdb_chunk *c;
	u64 block, first, at;
	u32 i, from, end;

	mutex_lock(&d->lock);
	for (;;) {
		oldest = NULL;
		for (i = 0; i < MIGDB_FAULT_SLOTS; i++) {
			slot = &pc->slot[i];
			if (slot->state == MIGDB_SLOT_QUEUED &&
			    (!oldest || slot->since_ns < oldest->since_ns))
				oldest = slot;
		}
		if (!oldest)
			break;
		if (migdb_slot_decided(d, oldest)) {
			migdb_slot_free(s, oldest);
			continue;
		}
		if (migdb_run_of_page(pc, oldest->index, &c, &run))
			break;
		oldest->state = MIGDB_SLOT_WAITING;
	}
	if (oldest) {
		first = migdb_where_block(run->where);
		at = oldest->index - run->index;
		block = round_down(first + at, MIGDB_FAULT_GROUP_PAGES);
		from = block > first ? block - first : 0;
		end = min_t(u64, run->nr, block + MIGDB_FAULT_GROUP_PAGES - first);
		migdb_io_add(&io->shape, migdb_where_disk(run->where), first + from, end - from,
			     MIGDB_IO_MAX_PAGES, 0);
		io->target[io->nr_targets++] = (struct migdb_target) {
			.chunk = c, .run = run, .from = from, .nr = end - from,
		};
		c->nr_users++;
		io->fault = oldest - pc->slot + 1;
		oldest->state = MIGDB_SLOT_READING;
	}
	mutex_unlock(&d->lock);
	return oldest;
}

/*
 * Its read is over, or was not made; the page is placed, or was given back.
 *
 * Or it was given back, the read stepped over it, and somebody who has no source any more
 * took it up again (migdb_fault_again()) while the read had its slot still: a read of its
 * own was promised and nobody else makes it.  It is made in this turn of the lane.
 */
void migdb_fault_over(struct migdb_session *s, struct migdb_io *io)
{
	struct migdb_placer *pc = s->dst->placer;
	struct migdb_fault_slot *slot = &pc->slot[io->fault - 1];
	struct migdb_dest *d = s->dst;

	mutex_lock(&d->lock);
	/* in a session that is closing nobody looks at it any more */
	if (migdb_page_state(d, slot->index) == MIGDB_PAGE_TODO)
		slot->state = MIGDB_SLOT_QUEUED;
	else
		migdb_slot_free(s, slot);
	mutex_unlock(&d->lock);
	io->fault = 0;
}

/*
 * There is no source any more: a page that was given back since the switch, because
 * storage was slow or failed or memory was short, is tried again.
 */
static bool migdb_fault_again(struct migdb_session *s, u64 index)
{
	struct migdb_dest *d = s->dst;
	u32 reason = d->page[index] >> 3;
	struct migdb_fetch_run *run;
	struct migdb_chunk *c;

	/* see migdb_dest_returned_state() */
	if (!migdb_page_returned_lately(d, index))
		return false;
	/* nothing but a slot of its own brings it: its run was read already */
	if (d->given_up || !migdb_run_of_page(d->placer, index, &c, &run) ||
	    !(migdb_slot_of(d->placer, index) || migdb_slot_get(d->placer)) ||
	    !migdb_claim_again(&d->claims[index]))
		return false;
	migdb_page_set(d, index, MIGDB_PAGE_TODO, 0);
	migdb_hbitmap_set(&d->todo, index);
	migdb_hbitmap_clear(&d->returned, index);
	atomic64_dec(&s->n.returned);
	atomic64_dec(&s->n.by_reason[reason]);
	return true;
}

/* What a read is given that begins now. */
static u64 migdb_fault_deadline(const struct migdb_placer *pc)
{
	return migdb_latency_deadline(&pc->latency,
				      READ_ONCE(migdb_postcopy_floor_us) * NSEC_PER_USEC);
}

/* A page that is to be built: it has a slot afterwards, or is the source's. */
static u32 migdb_fault_fetch(struct migdb_session *s, u64 index, u64 deadline_ns)
{
	struct migdb_placer *pc = s->dst->placer;
	struct migdb_fault_slot *slot = migdb_slot_of(pc, index);
	u64 now = ktime_get_ns();

	if (slot) {
		if (deadline_ns == MIGDB_DEADLINE_NEVER) {
			slot->due_ns = 0;
			slot->late = false;
		}
		return MIGDB_FAULT_FETCHING;
	}
	slot = migdb_slot_get(pc);
	if (!slot) {
		/* storage stands still, or the guest has many CPUs: bulk may bring it */
		if (deadline_ns == MIGDB_DEADLINE_NEVER)
			return MIGDB_FAULT_FETCHING;
		migdb_dest_return_locked(s, index, MIGDB_REASON_LATE);
		return MIGDB_FAULT_ASK;
	}
	if (!deadline_ns)
		deadline_ns = migdb_fault_deadline(pc);
	*slot = (struct migdb_fault_slot) {
		.index = index, .state = MIGDB_SLOT_QUEUED, .since_ns = now,
		.due_ns = deadline_ns == MIGDB_DEADLINE_NEVER ? 0 : now + deadline_ns,
	};
	atomic64_inc(&s->n.faults_fetching);
	migdb_fault_arm(pc);
	return MIGDB_FAULT_FETCHING;
}

int migdb_dest_fault(struct migdb_session *s, struct migdb_fault *arg)
{
	const struct migdb_region *r = migdb_region_of_hva(&s->regions, arg->addr);
	bool running = migdb_state(s) == MIGDB_STATE_POSTCOPY;
	u64 deadline_ns = arg->deadline_ns, index;
	struct migdb_dest *d = s->dst;

	if (arg->__reserved ||
	    (deadline_ns > MIGDB_MAX_DEADLINE_NS && deadline_ns != MIGDB_DEADLINE_NEVER))
		return -EINVAL;
	if (!r)
		return -ENOENT;
	index = r->base + ((arg->addr - r->hva) >> MIGDB_PAGE_SHIFT);
	arg->out_page = index;
	arg->out_answer = MIGDB_FAULT_ASK;
	atomic64_inc(&s->n.faults);

	mutex_lock(&d->lock);
	switch (migdb_page_state(d, index)) {
	case MIGDB_PAGE_DONE:
		arg->out_answer = MIGDB_FAULT_BUILT;
		break;
	case MIGDB_PAGE_BUSY:
		arg->out_answer = MIGDB_FAULT_FETCHING;
		break;
	case MIGDB_PAGE_RETURNED:
		if (!running || deadline_ns != MIGDB_DEADLINE_NEVER ||
		    !migdb_fault_again(s, index))
			break;
		fallthrough;
	case MIGDB_PAGE_TODO:
		/* aborted, but not given up yet: it will be in a moment */
		if (running && !migdb_claim_is_sent(&d->claims[index]))
			arg->out_answer = migdb_fault_fetch(s, index, deadline_ns);
		break;
	default:
		break;
	}
	trace_migdb_fault(s->label, index, arg->out_answer);
	mutex_unlock(&d->lock);

	if (arg->out_answer == MIGDB_FAULT_FETCHING)
		migdb_vhost_kick(s->vhost, MIGDB_FAULT_LANE);
	else if (READ_ONCE(d->returned.nr_set))
		migdb_tx_wake(s);
	return 0;
}

/* Under dest.lock. */
void migdb_fault_stats(struct migdb_session *s, struct migdb_stats *out)
{
	/* pairs with HOLD */
	struct migdb_placer *pc = smp_load_acquire(&s->dst->placer);

	if (!pc)
		return;
	out->out_fault_read_ns = migdb_latency_median(&pc->latency);
	out->out_fault_deadline_ns = migdb_fault_deadline(pc);
}
