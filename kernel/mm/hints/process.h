/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a process has said of its memory.
 *
 * Locks: mhint_process.lock (mutex: calls that change something, one at a time)
 * -> mhint_process.spin (the content of the sets; also taken by the mmu
 * notifier, so nothing is allocated and no fault is taken under it).
 * The lock of the list of processes comes before @spin; an xarray's and that of
 * users.c are leaves.
 */
#ifndef MM_HINTS_PROCESS_H
#define MM_HINTS_PROCESS_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "limits.h"
#include "spans.h"

struct file;
struct mhint_user;
struct pid;
struct vm_area_struct;

/**
 * struct mhint_file - a file that a process has named
 * @refs: one of the process, one of each snapshot that looks at it.
 * @file: open as long as this is here.
 * @busy: a snapshot is asking for a block, and may be stuck.
 */
struct mhint_file {
	refcount_t refs;
	struct file *file;
	unsigned long busy;
};

#define MHINT_FILE_BUSY		0

/**
 * struct mhint_pool - a pool as the process described it
 * @id: for UNPOOL; 0: this entry is free.
 * @frame_shift: of struct mem_hint_pool, like the rest.
 */
struct mhint_pool {
	u32 id;
	u32 frame_shift;
	u64 addr;
	u64 nr_frames;
	u64 desc;
};

/* References of pages that the host may drop. */
struct mhint_held {
	struct list_head list;
	u32 nr;
	struct page *pages[];
};

#define MHINT_HELD_PAGES	((PAGE_SIZE - sizeof(struct mhint_held)) / \
				 sizeof(struct page *))

/**
 * struct mhint_process - an address space and what was said of it
 * @mn: ties it to the address space: gone when that goes.
 * @node: in the list of all; empty once it is dropped.
 * @by_mm: in the same list, by address space.
 * @user: for whom what it says counts; a reference, and what was charged, from
 *	when it is listed until it is dropped.
 * @pid: of the process that said the first of it; likewise.
 * @lock: guards the rest against other calls.
 * @spin: guards @binds, @hot, @discard, @pools, @held, @strayed.
 * @binds: which range is where in which file.
 * @hot: ranges of class hot.
 * @discard: ranges of class discardable.
 * @files: struct mhint_file by number.
 * @nr_files: of them.
 * @last_file: number that was looked up last.
 * @next_pool: the next pool's id.
 * @pools: in no order.
 * @held: struct mhint_held, from the snapshot to the end of a migration.
 * @strayed: pages of @held may be elsewhere than in @discard.  Reset where @held
 *	ends: a snapshot that was left behind must not do it for a later one.
 */
struct mhint_process {
	struct mmu_notifier mn;
	struct list_head node;
	struct hlist_node by_mm;
	struct mhint_user *user;
	struct pid *pid;
	struct mutex lock;	/* calls */
	spinlock_t spin;	/* sets */
	struct mhint_spans binds;
	struct mhint_spans hot;
	struct mhint_spans discard;
	struct xarray files;
	u32 nr_files;
	u32 last_file;
	u32 next_pool;
	struct mhint_pool pools[MHINT_MAX_POOLS];
	struct list_head held;
	bool strayed;
};

/**
 * struct mhint_mm - an address space about which something was said
 * @mm: a reference of it, not of its users.
 * @user: mhint_user_id().
 */
struct mhint_mm {
	struct mm_struct *mm;
	u32 user;
};

#define MHINT_NO_USER		U32_MAX	/* no uid */

struct mhint_process *mhint_process_current(bool create);
struct mhint_process *mhint_process_of(struct mm_struct *mm);
struct mhint_mm *mhint_process_mms(u32 *nr);
void mhint_process_mms_free(struct mhint_mm *mms, u32 nr);
void mhint_held_free(struct list_head *held);
bool mhint_page_exclusive(struct page *page);	/* walk.c */
bool mhint_vma_discardable(struct vm_area_struct *vma);	/* ops.c */
int mhint_process_room(struct mhint_process *p, struct mhint_spans *s);
u64 mhint_processes_taken_back(void);
void mhint_process_count_pools(int more);
void mhint_processes_count(u32 *processes, u32 *files, u32 *pools);
void mhint_processes_exit(void);

/* files.c */
int mhint_file_add(struct mhint_process *p, int fd, u32 *id);
int mhint_file_remove(struct mhint_process *p, u32 id);
struct mhint_file *mhint_file_get(struct mhint_process *p, u32 id);
void mhint_file_put(struct mhint_file *f);
void mhint_files_drop(struct mhint_process *p);
int mhint_file_entry(struct mhint_file *f, u64 block, u64 *entry);
u32 mhint_files_count(void);

#endif
