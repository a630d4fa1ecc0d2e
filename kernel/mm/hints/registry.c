// SPDX-License-Identifier: GPL-2.0
/*
 * The registry: from the notes of completions to the table in guest RAM.
 *
 * Completions append to buffers of their CPU (rings.c).  Draining enters these
 * notes; it is the table's only writer.  Notes of one CPU keep their order.  Two
 * CPUs that do I/O to one frame within a drain period may be entered the wrong
 * way round: the hint is then stale, which the host finds out.
 *
 * A write makes what other frames named the same block old; the index finds
 * them (index.c).  It grows to what the memory at load needs; what is plugged
 * in later shares it.
 *
 * While frozen, notes are kept aside and entered at thaw.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/blkdev.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "entry.h"
#include "index.h"
#include "internal.h"
#include "limits.h"
#include "policy.h"
#include "rings.h"
#include "snapshot.h"
#include "table.h"

/* Notes kept aside while frozen, a page at a time. */
struct mhint_chunk {
	struct list_head list;
	u32 nr;
	struct mhint_note notes[];
};

#define CHUNK_NOTES	((PAGE_SIZE - sizeof(struct mhint_chunk)) / \
			 sizeof(struct mhint_note))

/* The table, disks, and freezing. */
DEFINE_MUTEX(mhint_drain_lock);
static struct workqueue_struct *drain_wq;
static struct delayed_work drain_work;
static unsigned long drain_delay;
static bool enabled;

/* Under mhint_drain_lock; some are read without it for statistics. */
static struct mhint_table table;
static struct mhint_index by_block;
static u64 nr_stale;
static u64 lost;		/* notes that found no memory or no slot */
static bool frozen;
static bool discardable;	/* such entries may be there */
static bool hot;		/* likewise, from processes */
static LIST_HEAD(pending);
static u64 nr_pending, max_pending, pending_bytes;

/* ---- table pages -------------------------------------------------------- */

static void *table_alloc(void *ctx, u64 *gpa)
{
	struct page *page;

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN |
			  __GFP_RETRY_MAYFAIL);
	if (!page)
		return NULL;
	*gpa = page_to_phys(page);
	return page_address(page);
}

static void table_free(void *ctx, void *page, u64 gpa)
{
	free_page((unsigned long)page);
}

static void *table_at(void *ctx, u64 gpa)
{
	return phys_to_virt(gpa);
}

static void table_relax(void *ctx)
{
	cond_resched();
}

static const struct mhint_table_ops table_ops = {
	.alloc	= table_alloc,
	.free	= table_free,
	.at	= table_at,
	.relax	= table_relax,
};

/* First frame above all memory, and how many frames there are. */
static void memory_size(u64 *end, u64 *present)
{
	int nid;

	*end = 0;
	*present = 0;
	for_each_node_state(nid, N_MEMORY) {
		*end = max_t(u64, *end, pgdat_end_pfn(NODE_DATA(nid)));
		*present += node_present_pages(nid);
	}
}

static void update_limits(void)
{
	u64 end, present, leaves;

	memory_size(&end, &present);
	leaves = DIV_ROUND_UP(present, MEM_HINT_SLOTS) + MHINT_TABLE_SLACK_PAGES;
	mhint_table_limit(&table, end,
			  leaves + DIV_ROUND_UP(leaves, MEM_HINT_SLOTS) +
			  table.levels);
	max_pending = present / MHINT_PENDING_FRAMES_PER_NOTE;
}

static void publish(void)
{
	mhint_table_publish(&table,
			    (frozen ? MEM_HINT_ROOT_FROZEN : 0) |
			    (enabled ? 0 : MEM_HINT_ROOT_DISABLED));
}

/* ---- from notes to the table -------------------------------------------- */

static void enter(const struct mhint_note *note)
{
	u64 entry = note->entry;

	if (entry && mhint_entry_class(entry) != MEM_HINT_CLASS_DISCARDABLE &&
	    !mhint_disk_usable(mhint_entry_disk(entry))) {
		if (entry & MHINT_NOTE_PARTIAL)
			return;
		entry = 0;
	}
	lost += mhint_enter(&by_block, note->frame, entry, &nr_stale) != 0;
}

static void put_aside(const struct mhint_note *note)
{
	struct mhint_chunk *c = NULL;

	if (!list_empty(&pending))
		c = list_last_entry(&pending, struct mhint_chunk, list);
	if (!c || c->nr == CHUNK_NOTES) {
		if (nr_pending >= max_pending) {
			lost++;
			return;
		}
		c = (void *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_NOWARN |
					    __GFP_RETRY_MAYFAIL);
		if (!c) {
			lost++;
			return;
		}
		c->nr = 0;
		pending_bytes += PAGE_SIZE;
		list_add_tail(&c->list, &pending);
	}
	c->notes[c->nr++] = *note;
	nr_pending++;
}

static void drain_cpus(void)
{
	mhint_rings_drain(frozen ? put_aside : enter);
}

/* Forget disks that have gone and entries of disks that are refused since. */
static void drop_stale_disks(void)
{
	bool gone;
	u32 id;

	for (id = 0; mhint_disk_next_stale(&id, &gone); id++) {
		mhint_table_purge_disk(&table, id);
		if (!gone)
			continue;
		/* No completion uses the id after this, ... */
		synchronize_rcu();
		/* ... and no note, while it is not usable. */
		drain_cpus();
		mhint_disks_release(id);
	}
}

static void drain_locked(void)
{
	lockdep_assert_held(&mhint_drain_lock);
	if (!frozen)
		update_limits();
	drain_cpus();
	if (!frozen) {
		drop_stale_disks();
		publish();
	}
}

/* Enter all notes of I/O that completed before the call.  May sleep. */
void mhint_drain(void)
{
	mutex_lock(&mhint_drain_lock);
	drain_locked();
	mutex_unlock(&mhint_drain_lock);
}

/* A worker does it. */
void mhint_drain_soon(void)
{
	mod_delayed_work(drain_wq, &drain_work, 0);
}

/* The same in a while, unless it is about to.  As mhint_note(): in any context but NMI. */
void mhint_drain_later(void)
{
	queue_delayed_work(drain_wq, &drain_work, drain_delay);
}

static void drain_fn(struct work_struct *work)
{
	mhint_drain();
}

/* ---- migration ---------------------------------------------------------- */

/**
 * mhint_enter_notes - enter what processes have said
 * @notes: at most MHINT_SNAPSHOT_BATCH, of class discardable where agreed
 * @nr: how many
 * @cancelled: see mhint_enter_cancel()
 * @done: called with @ctx under the lock when they are in
 * @ctx: for @done
 *
 * Return: 0; -ECANCELED: too late, nothing was entered.
 */
int mhint_enter_notes(const struct mhint_note *notes, u32 nr,
		      const bool *cancelled, void (*done)(void *ctx), void *ctx)
{
	int err = -ECANCELED;
	u32 i;

	mutex_lock(&mhint_drain_lock);
	if (*cancelled || frozen || !enabled)
		goto out;
	for (i = 0; i < nr; i++) {
		u32 class = mhint_entry_class(notes[i].entry);

		discardable |= class == MEM_HINT_CLASS_DISCARDABLE;
		hot |= class == MEM_HINT_CLASS_HOT;
		enter(&notes[i]);
	}
	done(ctx);
	publish();
	err = 0;
out:
	mutex_unlock(&mhint_drain_lock);
	return err;
}

/* Whoever was given @cancelled enters nothing after this. */
void mhint_enter_cancel(bool *cancelled)
{
	mutex_lock(&mhint_drain_lock);
	WRITE_ONCE(*cancelled, true);
	mutex_unlock(&mhint_drain_lock);
}

/*
 * Without a migration no page is discardable: clear these entries, then let go
 * of their pages.
 */
static void forget_discardable(void)
{
	lockdep_assert_held(&mhint_drain_lock);
	if (!discardable)
		return;
	mhint_table_purge_class(&table, MEM_HINT_CLASS_DISCARDABLE);
	mhint_processes_unhold();
	discardable = false;
}

/*
 * Nor has it a class that another host may not agree to.  Under mhint_drain_lock,
 * or while frozen.
 */
static void forget_hot(bool by_policy)
{
	if (hot || by_policy)
		mhint_table_walk(&table, mhint_policy_reset_leaf, NULL);
	hot = false;
}

/**
 * mhint_freeze - bring the table up to date and let it stand still
 * @classes: that the host agrees to, as bits; no entry gets another one
 * @out: what STARTED says
 *
 * After mhint_snapshot_run(): what I/O says now is newer.
 *
 * Holds a reference of the module until mhint_thaw(): the host may be reading.
 *
 * Return: 0; -ESHUTDOWN: hints are disabled, or the module is going; -EBUSY.
 */
int mhint_freeze(u64 classes, struct mem_hint_started *out)
{
	bool alive = try_module_get(THIS_MODULE);
	int err = 0;

	mutex_lock(&mhint_drain_lock);
	if (frozen)
		err = -EBUSY;
	else if (!enabled || !alive)
		err = -ESHUTDOWN;
	if (err)
		goto out;
	drain_locked();
	frozen = true;
	table.generation++;
	mutex_unlock(&mhint_drain_lock);

	/*
	 * From here the table is ours until mhint_thaw(): notes are put aside,
	 * nobody else is let in to freeze, thaw or disable.
	 */
	if (mhint_policy_start(table.generation, table.nr_valid, classes))
		mhint_table_walk(&table, mhint_policy_leaf, NULL);

	mutex_lock(&mhint_drain_lock);
	publish();
	out->generation = cpu_to_le64(table.generation);
	out->nr_valid = cpu_to_le64(table.nr_valid);
	out->table_pages = cpu_to_le64(table.nr_pages + 1);
out:
	if (err && !frozen) {
		forget_discardable();
		forget_hot(false);
		publish();
	}
	mutex_unlock(&mhint_drain_lock);
	if (err && alive)
		module_put(THIS_MODULE);
	return err;
}

/* Enter what was noted while frozen.  Once after each mhint_freeze(). */
void mhint_thaw(void)
{
	struct mhint_chunk *c, *next;
	u32 i;

	forget_hot(mhint_policy_complete());
	mutex_lock(&mhint_drain_lock);
	drain_locked();		/* in order: aside first */
	frozen = false;
	forget_discardable();
	list_for_each_entry_safe(c, next, &pending, list) {
		for (i = 0; i < c->nr; i++)
			enter(&c->notes[i]);
		list_del(&c->list);
		free_page((unsigned long)c);
		cond_resched();
	}
	nr_pending = 0;
	pending_bytes = 0;
	drop_stale_disks();
	publish();
	mutex_unlock(&mhint_drain_lock);
	module_put(THIS_MODULE);
}

/* ---- the rest of the module asks ---------------------------------------- */

/**
 * mhint_set_enabled - switch hints on or off
 * @on: off also empties the table and gives its memory back
 *
 * Return: 0; -EBUSY: a migration is under way.
 */
int mhint_set_enabled(bool on)
{
	int err = 0;

	mutex_lock(&mhint_drain_lock);
	if (frozen && !on) {
		err = -EBUSY;
		goto out;
	}
	WRITE_ONCE(enabled, on);
	if (!on) {
		synchronize_rcu();	/* nobody appends any more */
		drain_locked();
		forget_discardable();
		mhint_index_clear(&by_block);
		mhint_table_clear(&table);
	}
	publish();
out:
	mutex_unlock(&mhint_drain_lock);
	return err;
}

/**
 * mhint_disk_hinted - may entries name this disk?
 * @disk: in use by the caller
 *
 * Has the disk asked who it is if that is not known yet, and waits for that.
 *
 * Return: as of mhint_disk_wait().
 */
int mhint_disk_hinted(struct gendisk *disk)
{
	u64 diskseq = disk->diskseq;
	bool known;
	int err;

	rcu_read_lock();
	err = mhint_disk_find(disk, &known);
	rcu_read_unlock();
	if (err < 0)
		return -EOPNOTSUPP;
	mhint_disk_settle(err);
	mutex_lock(&mhint_drain_lock);
	mhint_disks_resolve();
	mutex_unlock(&mhint_drain_lock);
	return mhint_disk_wait(diskseq);
}

/* Events and calls say the number of the migration that comes next. */
u64 mhint_generation(void)
{
	return READ_ONCE(table.generation);
}

bool mhint_enabled(void)
{
	return READ_ONCE(enabled);
}

bool mhint_frozen(void)
{
	return READ_ONCE(frozen);
}

u64 mhint_root_gpa(void)
{
	return virt_to_phys(table.root);
}

/*
 * Enter what there is, ask each disk whether it is still there, and wait for the
 * answers for a while.  Takes mhint_drain_lock, whatever is returned.
 */
static int recheck_disks(void)
{
	int err;

	mutex_lock(&mhint_drain_lock);
	drain_locked();
	if (!frozen)
		mhint_disks_recheck();
	mutex_unlock(&mhint_drain_lock);
	err = mhint_disks_wait();
	mutex_lock(&mhint_drain_lock);
	if (!frozen) {
		drop_stale_disks();
		publish();
	}
	return err;
}

/* The disks that entries may name; those that have not answered yet are none. */
u32 mhint_list_disks(struct mem_hint_disk *disks, u32 max)
{
	u32 nr;

	recheck_disks();	/* a kernel thread's */
	nr = mhint_disks_fill(disks, max);
	mutex_unlock(&mhint_drain_lock);
	return nr;
}

/* The same and those that are refused, as text; -EINTR. */
ssize_t mhint_show_disks(char *buf)
{
	ssize_t len;

	len = recheck_disks();
	if (!len)
		len = mhint_disks_text(buf);
	mutex_unlock(&mhint_drain_lock);
	return len;
}

/* Notes that are still in the buffers are not in @stats->nr_valid. */
void mhint_get_stats(struct mhint_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	mhint_rings_count(&stats->counts, &stats->note_bytes);
	mutex_lock(&mhint_drain_lock);
	stats->counts.dropped += lost;
	stats->nr_valid = table.nr_valid;
	stats->nr_frames = table.nr_frames;
	stats->table_pages = table.nr_pages + 1;
	stats->nr_stale = nr_stale;
	stats->index_bytes = by_block.nr_bytes;
	stats->note_bytes += pending_bytes;
	mutex_unlock(&mhint_drain_lock);
}

int mhint_registry_init(unsigned int ring_notes, unsigned int drain_ms)
{
	struct mem_hint_root *root;
	u64 end, present;
	void ***index_top;
	u32 index_pages;
	int err;

	BUILD_BUG_ON(PAGE_SIZE != MEM_HINT_FRAME_SIZE);
	drain_delay = msecs_to_jiffies(drain_ms);
	INIT_DELAYED_WORK(&drain_work, drain_fn);
	root = (void *)get_zeroed_page(GFP_KERNEL);
	if (!root)
		return -ENOMEM;
	err = mhint_rings_alloc(ring_notes);
	if (err)
		goto err_rings;
	memory_size(&end, &present);
	index_pages = mhint_index_max_pages(present);
	index_top = kvcalloc(mhint_index_top_slots(index_pages),
			     sizeof(*index_top), GFP_KERNEL);
	if (!index_top) {
		err = -ENOMEM;
		goto err_rings;
	}
	drain_wq = alloc_workqueue("mem_hints", WQ_UNBOUND, 1);
	if (!drain_wq) {
		err = -ENOMEM;
		goto err_index;
	}

	err = mhint_disks_init();
	if (err)
		goto err_wq;

	/* Three levels at least, so that hotplugged memory finds its place. */
	mhint_table_init(&table, root, &table_ops, NULL,
			 max(3U, mhint_table_levels(end)));
	mhint_index_init(&by_block, &table, index_top, index_pages);
	update_limits();
	enabled = true;
	publish();
	return 0;

err_wq:
	destroy_workqueue(drain_wq);
err_index:
	kvfree(index_top);
err_rings:
	mhint_rings_free();
	free_page((unsigned long)root);
	return err;
}

/* Nobody notes and nobody is connected any more. */
void mhint_registry_exit(void)
{
	/* Each of the two may start the other one. */
	disable_delayed_work_sync(&drain_work);
	mhint_disks_exit();
	destroy_workqueue(drain_wq);
	mhint_index_clear(&by_block);
	kvfree(by_block.top);
	mhint_table_clear(&table);
	free_page((unsigned long)table.root);
	mhint_rings_free();
}
