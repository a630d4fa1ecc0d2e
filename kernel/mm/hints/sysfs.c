// SPDX-License-Identifier: GPL-2.0
/* /sys/kernel/mm/hints/; each file: Documentation/ABI/testing/sysfs-kernel-mm-hints */
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include <asm/unistd.h>

#include "internal.h"
#include "policy.h"
#include "process.h"
#include "snapshot.h"

static ssize_t root_gpa_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "0x%llx\n", mhint_root_gpa());
}

static struct kobj_attribute root_gpa_attr = __ATTR_RO_MODE(root_gpa, 0400);

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", mhint_enabled());
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t len)
{
	bool on;
	int err;

	err = kstrtobool(buf, &on);
	if (!err)
		err = mhint_set_enabled(on);
	return err ?: len;
}

static struct kobj_attribute enabled_attr = __ATTR_RW(enabled);

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", mhint_frozen() ? "frozen" : "idle");
}

static struct kobj_attribute state_attr = __ATTR_RO(state);

static ssize_t disks_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return mhint_show_disks(buf);
}

static struct kobj_attribute disks_attr = __ATTR_RO_MODE(disks, 0400);

static ssize_t abi_show(struct kobject *kobj, struct kobj_attribute *attr,
			char *buf)
{
	return sysfs_emit(buf, "%d\n", MEM_HINT_ABI_VERSION);
}

static struct kobj_attribute abi_attr = __ATTR_RO(abi);

/* There where there is a mem_hint() system call to this module. */
#if defined(CONFIG_MEM_HINTS_SYSCALL) && defined(__NR_mem_hint)
static ssize_t syscall_nr_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", __NR_mem_hint);
}

static struct kobj_attribute syscall_nr_attr = __ATTR_RO(syscall_nr);
#define SYSCALL_NR_ATTR	(&syscall_nr_attr.attr)
#else
#define SYSCALL_NR_ATTR	NULL
#endif

#define STAT_ATTR(name, expr)						\
static ssize_t name##_show(struct kobject *kobj,			\
			   struct kobj_attribute *attr, char *buf)	\
{									\
	struct mhint_stats stats;					\
									\
	mhint_get_stats(&stats);					\
	return sysfs_emit(buf, "%llu\n", (u64)(expr));			\
}									\
static struct kobj_attribute name##_attr = __ATTR_RO(name)

STAT_ATTR(nr_noted, stats.counts.noted);
STAT_ATTR(nr_dropped, stats.counts.dropped);
STAT_ATTR(nr_misaligned, stats.counts.misaligned);
STAT_ATTR(nr_frames_valid, stats.nr_valid);
STAT_ATTR(nr_stale, stats.nr_stale);
STAT_ATTR(index_bytes, stats.index_bytes);
STAT_ATTR(note_bytes, stats.note_bytes);
STAT_ATTR(table_bytes, stats.table_pages * MEM_HINT_FRAME_SIZE);

static ssize_t nr_taken_back_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", mhint_processes_taken_back());
}

static struct kobj_attribute nr_taken_back_attr = __ATTR_RO(nr_taken_back);

static ssize_t policy_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return mhint_policy_show_name(buf);
}

static struct kobj_attribute policy_attr = __ATTR_RO(policy);

static ssize_t policy_state_show(struct kobject *kobj,
				 struct kobj_attribute *attr, char *buf)
{
	return mhint_policy_show_state(buf);
}

static struct kobj_attribute policy_state_attr = __ATTR_RO(policy_state);

#define POLICY_ATTR(name, expr)						\
static ssize_t name##_show(struct kobject *kobj,			\
			   struct kobj_attribute *attr, char *buf)	\
{									\
	struct mhint_policy_stats stats;				\
									\
	mhint_policy_get_stats(&stats);					\
	return sysfs_emit(buf, "%llu\n", expr);			\
}									\
static struct kobj_attribute name##_attr = __ATTR_RO(name)

POLICY_ATTR(policy_runs, stats.nr_runs);
POLICY_ATTR(policy_ns, stats.ns);
POLICY_ATTR(policy_max_ns, stats.max_ns);
POLICY_ATTR(policy_nr_expelled, stats.nr_expelled);

#define COUNT_ATTR(name)						\
static ssize_t nr_##name##_show(struct kobject *kobj,			\
				struct kobj_attribute *attr, char *buf)	\
{									\
	u32 processes, files, pools;					\
									\
	mhint_processes_count(&processes, &files, &pools);		\
	return sysfs_emit(buf, "%u\n", name);				\
}									\
static struct kobj_attribute nr_##name##_attr = __ATTR_RO(nr_##name)

COUNT_ATTR(processes);
COUNT_ATTR(files);
COUNT_ATTR(pools);

/* Of the last snapshot, in the directory snapshot. */
#define SNAPSHOT_ATTR(name, expr)					\
static ssize_t name##_show(struct kobject *kobj,			\
			   struct kobj_attribute *attr, char *buf)	\
{									\
	struct mhint_snapshot_stats stats;				\
									\
	mhint_snapshot_get_stats(&stats);				\
	return sysfs_emit(buf, "%llu\n", (u64)(expr));			\
}									\
static struct kobj_attribute name##_attr = __ATTR_RO(name)

SNAPSHOT_ATTR(frames, stats.frames);
SNAPSHOT_ATTR(discardable, stats.discardable);
SNAPSHOT_ATTR(us, stats.us);
SNAPSHOT_ATTR(max_batch, stats.max_batch);
SNAPSHOT_ATTR(cut, stats.cut);
SNAPSHOT_ATTR(hung_processes, stats.nr_hung);
SNAPSHOT_ATTR(skipped_absent, stats.skipped[MHINT_SKIP_ABSENT]);
SNAPSHOT_ATTR(skipped_memory, stats.skipped[MHINT_SKIP_MEMORY]);
SNAPSHOT_ATTR(skipped_file, stats.skipped[MHINT_SKIP_FILE]);
SNAPSHOT_ATTR(skipped_dirty, stats.skipped[MHINT_SKIP_DIRTY]);
SNAPSHOT_ATTR(skipped_hole, stats.skipped[MHINT_SKIP_HOLE]);
SNAPSHOT_ATTR(skipped_disk, stats.skipped[MHINT_SKIP_DISK]);
SNAPSHOT_ATTR(skipped_desc, stats.skipped[MHINT_SKIP_DESC]);

static struct attribute *snapshot_attrs[] = {
	&frames_attr.attr,
	&discardable_attr.attr,
	&us_attr.attr,
	&max_batch_attr.attr,
	&cut_attr.attr,
	&hung_processes_attr.attr,
	&skipped_absent_attr.attr,
	&skipped_memory_attr.attr,
	&skipped_file_attr.attr,
	&skipped_dirty_attr.attr,
	&skipped_hole_attr.attr,
	&skipped_disk_attr.attr,
	&skipped_desc_attr.attr,
	NULL
};

static struct attribute *mhint_attrs[] = {
	&root_gpa_attr.attr,
	&enabled_attr.attr,
	&state_attr.attr,
	&disks_attr.attr,
	&abi_attr.attr,
	&nr_noted_attr.attr,
	&nr_dropped_attr.attr,
	&nr_misaligned_attr.attr,
	&nr_frames_valid_attr.attr,
	&nr_stale_attr.attr,
	&nr_taken_back_attr.attr,
	&table_bytes_attr.attr,
	&index_bytes_attr.attr,
	&note_bytes_attr.attr,
	&policy_attr.attr,
	&policy_state_attr.attr,
	&policy_runs_attr.attr,
	&policy_ns_attr.attr,
	&policy_max_ns_attr.attr,
	&policy_nr_expelled_attr.attr,
	&nr_processes_attr.attr,
	&nr_files_attr.attr,
	&nr_pools_attr.attr,
	SYSCALL_NR_ATTR,	/* last: may be the end */
	NULL
};

static const struct attribute_group mhint_group = {
	.attrs = mhint_attrs,
};

static const struct attribute_group snapshot_group = {
	.name	= "snapshot",
	.attrs	= snapshot_attrs,
};

static const struct attribute_group *mhint_groups[] = {
	&mhint_group,
	&snapshot_group,
	NULL
};

static struct kobject *hints_kobj;

#ifdef MODULE
/*
 * mm_kobj is not exported; the directory that it stands for is found by name.
 * A sysfs directory's private data is its kobject, and this one never goes.
 */
static struct kobject *find_mm_kobj(void)
{
	struct kernfs_node *kn = kernfs_find_and_get(kernel_kobj->sd, "mm");
	struct kobject *kobj = kn ? kn->priv : NULL;

	kernfs_put(kn);
	return kobj;
}
#else
static struct kobject *find_mm_kobj(void)
{
	return mm_kobj;
}
#endif

int mhint_sysfs_init(void)
{
	struct kobject *parent = find_mm_kobj();
	int err;

	if (!parent)
		return -ENOENT;
	hints_kobj = kobject_create_and_add("hints", parent);
	if (!hints_kobj)
		return -ENOMEM;
	err = sysfs_create_groups(hints_kobj, mhint_groups);
	if (err)
		kobject_put(hints_kobj);
	return err;
}

void mhint_sysfs_exit(void)
{
	sysfs_remove_groups(hints_kobj, mhint_groups);
	kobject_put(hints_kobj);
}
