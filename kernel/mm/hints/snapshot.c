// SPDX-License-Identifier: GPL-2.0
/*
 * At START: what processes have said becomes entries of the table.
 *
 * A worker goes round the users and their address spaces, some of each at a time
 * (walk.c).  It can be stuck in a file system; whoever waits for the snapshot gives
 * up after a time and goes on with what is there, and a worker that comes late is
 * told so under the table's lock before it enters anything.
 *
 * Users take turns by time, so that what one has said, however much and by however
 * many processes, leaves the others their share of it.  A user whose file keeps a
 * worker waiting has had that: until it has ended no other worker asks for a block of
 * that user's, so each user keeps one of them waiting at most, and one start.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/workqueue.h>

#include "internal.h"
#include "process.h"
#include "shares.h"
#include "snapshot.h"
#include "walk.h"

static struct workqueue_struct *walk_wq;
static atomic_t nr_walks = ATOMIC_INIT(0);
static unsigned int walk_ms;
/* Walks that nobody waits for any more and that have not ended. */
static DEFINE_SPINLOCK(late_lock);
static LIST_HEAD(late_walks);
static DEFINE_MUTEX(stats_lock);
static struct mhint_snapshot_stats last_stats;

static void walk_put(struct mhint_walk *w)
{
	if (refcount_dec_and_test(&w->refs))
		kvfree(w);
}

/* @cursors by user, and @turns for as many users as there may be. */
struct round {
	struct mhint_cursor *cursors;
	struct mhint_turns *turns;
	u32 nr_users;
};

static int by_user(const void *a, const void *b)
{
	const struct mhint_mm *x = a, *y = b;

	return x->user < y->user ? -1 : x->user > y->user;
}

/* Does an earlier walk wait for a file of @user's? */
static bool is_hung(u32 user)
{
	struct mhint_walk *w;
	bool found = false;

	spin_lock(&late_lock);
	list_for_each_entry(w, &late_walks, late)
		found |= READ_ONCE(w->user) == user;
	spin_unlock(&late_lock);
	return found;
}

static bool round_init(struct mhint_walk *w, struct round *r, struct mhint_mm *mms, u32 nr)
{
	u32 i, *users = kvcalloc(nr, sizeof(*users), GFP_KERNEL);
	bool hung = false;

	r->cursors = kvcalloc(nr, sizeof(*r->cursors), GFP_KERNEL);
	r->turns = kvcalloc(nr, sizeof(*r->turns), GFP_KERNEL);
	if (!users || !r->cursors || !r->turns) {
		kvfree(users);
		return false;
	}
	sort(mms, nr, sizeof(*mms), by_user, NULL);
	for (i = 0; i < nr; i++) {
		r->cursors[i].mm = mms[i].mm;
		r->cursors[i].user = mms[i].user;
		users[i] = mms[i].user;
		if (!i || users[i] != users[i - 1])
			hung = is_hung(users[i]);
		/* what needs no file is looked at all the same */
		if (hung)
			r->cursors[i].stage = MHINT_STAGE_DISCARD;
		w->stats.nr_hung += hung;
	}
	r->nr_users = mhint_turns_group(r->turns, users, nr);
	kvfree(users);
	return true;
}

/* One user's turn: each process that has something left once, as time allows. */
static bool turn_of_user(struct mhint_walk *w, struct round *r, struct mhint_turns *t)
{
	bool ok = true;
	u32 i;

	t->asked = 0;
	w->slice = ktime_add_us(ktime_get(), MHINT_SLICE_US);
	w->over = false;
	while (ok && t->left && !w->over && mhint_turns_next(t, &i)) {
		struct mhint_cursor *c = &r->cursors[i];

		if (c->stage == MHINT_STAGE_DONE)
			continue;
		WRITE_ONCE(w->user, c->user);
		ok = mhint_walk_mm(w, c);
		if (c->stage == MHINT_STAGE_DONE)
			t->left--;
		mhint_walk_clock(w);
	}
	return ok;
}

static void go_round(struct mhint_walk *w, struct round *r)
{
	bool ok = true;
	u32 i, more;

	do {
		more = 0;
		w->nr_locked = 0;
		for (i = 0; i < r->nr_users && ok; i++) {
			ok = turn_of_user(w, r, &r->turns[i]);
			more += r->turns[i].left;
		}
		/* one wait for all of them, when there is no other work */
		if (more && ok && w->nr_locked >= more)
			usleep_range(MHINT_MM_RETRY_US, 2 * MHINT_MM_RETRY_US);
	} while (more && ok);
}

static void walk_all(struct mhint_walk *w)
{
	struct round r = {};
	struct mhint_mm *mms;
	u32 nr;

	mms = mhint_process_mms(&nr);
	if (!mms) {
		w->stats.cut = true;
		return;
	}
	if (nr && round_init(w, &r, mms, nr))
		go_round(w, &r);
	else if (nr)
		w->stats.cut = true;
	kvfree(r.cursors);
	kvfree(r.turns);
	mhint_process_mms_free(mms, nr);
}

static void walk_fn(struct work_struct *work)
{
	struct mhint_walk *w = container_of(work, struct mhint_walk, work);

	walk_all(w);
	w->stats.us = ktime_us_delta(ktime_get(), w->begin);
	spin_lock(&late_lock);
	w->ended = true;
	list_del_init(&w->late);
	spin_unlock(&late_lock);
	complete(&w->done);
	atomic_dec(&nr_walks);
	walk_put(w);
	/* mhint_snapshot_exit() waits for the rest of this function. */
	module_put(THIS_MODULE);
}

static struct mhint_walk *walk_start(u64 classes)
{
	struct mhint_walk *w;

	if (atomic_inc_return(&nr_walks) > MHINT_MAX_WALKS) {
		pr_warn_ratelimited("what processes say is left out: %u snapshots are stuck\n",
				    MHINT_MAX_WALKS);
		goto err;
	}
	if (!try_module_get(THIS_MODULE))
		goto err;
	w = kvzalloc(sizeof(*w), GFP_KERNEL);
	if (!w) {
		module_put(THIS_MODULE);
		goto err;
	}
	INIT_WORK(&w->work, walk_fn);
	INIT_LIST_HEAD(&w->held);
	INIT_LIST_HEAD(&w->late);
	w->user = MHINT_NO_USER;
	init_completion(&w->done);
	refcount_set(&w->refs, 2);
	w->classes = classes;
	w->begin = ktime_get();
	w->deadline = ktime_add_ms(w->begin, walk_ms);
	queue_work(walk_wq, &w->work);
	return w;

err:
	atomic_dec(&nr_walks);
	return NULL;
}

/* Nobody waits for it any more; that it has not ended may be its user's doing. */
static void walk_leave(struct mhint_walk *w)
{
	spin_lock(&late_lock);
	if (!w->ended)
		list_add(&w->late, &late_walks);
	spin_unlock(&late_lock);
}

/**
 * mhint_snapshot_run - enter what processes have said, as far as time allows
 * @classes: that the host has agreed to, as bits
 *
 * Nothing is entered any more when it returns.
 */
void mhint_snapshot_run(u64 classes)
{
	struct mhint_snapshot_stats stats = {};
	u32 processes, files, pools;
	struct mhint_walk *w;
	unsigned long left;

	mhint_processes_count(&processes, &files, &pools);
	w = processes ? walk_start(classes) : NULL;
	if (w) {
		/* It looks at the clock itself; this is for when it is stuck. */
		left = wait_for_completion_timeout(&w->done,
						   msecs_to_jiffies(walk_ms +
								    MHINT_WALK_GRACE_MS));
		mhint_enter_cancel(&w->cancelled);
		if (left) {
			stats = w->stats;
		} else {
			walk_leave(w);
			stats.cut = true;
			stats.us = ktime_us_delta(ktime_get(), w->begin);
		}
		walk_put(w);
	} else if (processes) {
		stats.cut = true;
	}
	if (stats.cut || stats.nr_hung)
		pr_info_ratelimited("not all that processes say is in this snapshot\n");
	mutex_lock(&stats_lock);
	last_stats = stats;
	mutex_unlock(&stats_lock);
}

void mhint_snapshot_get_stats(struct mhint_snapshot_stats *stats)
{
	mutex_lock(&stats_lock);
	*stats = last_stats;
	mutex_unlock(&stats_lock);
}

int mhint_snapshot_init(unsigned int ms)
{
	walk_ms = ms;
	walk_wq = alloc_workqueue("mem_hints_walk", WQ_UNBOUND, MHINT_MAX_WALKS);
	return walk_wq ? 0 : -ENOMEM;
}

/* No walk is under way: each holds a reference of the module. */
void mhint_snapshot_exit(void)
{
	destroy_workqueue(walk_wq);
}
