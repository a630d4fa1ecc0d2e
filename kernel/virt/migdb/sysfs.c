// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/migdb: the operator's switches, host-wide, one value a file.  Those of
 * one session are in session_dir.c.
 * See Documentation/ABI/testing/sysfs-kernel-migdb.
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "dest.h"
#include "internal.h"
#include "postcopy.h"
#include "source.h"

/* What was written to a file of one number.  @count, which is not 0, or -errno. */
ssize_t migdb_sysfs_u64(const char *buf, size_t count, u64 *value)
{
	int ret = kstrtou64(buf, 0, value);

	return ret ? ret : count;
}

/* The same of a switch. */
ssize_t migdb_sysfs_bool(const char *buf, size_t count, bool *value)
{
	int ret = kstrtobool(buf, value);

	return ret ? ret : count;
}

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(migdb_enabled));
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool on;
	ssize_t ret = migdb_sysfs_bool(buf, count, &on);

	if (ret > 0)
		migdb_set_enabled(on);
	return ret;
}

static ssize_t max_sessions_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(migdb_max_sessions));
}

static ssize_t max_sessions_store(struct kobject *kobj, struct kobj_attribute *attr,
				  const char *buf, size_t count)
{
	unsigned int n;
	int ret;

	ret = kstrtouint(buf, 0, &n);
	if (ret)
		return ret;
	mutex_lock(&migdb_sessions_lock);
	migdb_max_sessions = n;
	mutex_unlock(&migdb_sessions_lock);
	return count;
}

static ssize_t nr_sessions_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(migdb_nr_sessions));
}

static ssize_t fetch_max_bytes_per_s_show(struct kobject *kobj, struct kobj_attribute *attr,
					  char *buf)
{
	return sysfs_emit(buf, "%llu\n", migdb_fetch_rate());
}

static ssize_t fetch_max_bytes_per_s_store(struct kobject *kobj, struct kobj_attribute *attr,
					   const char *buf, size_t count)
{
	u64 rate;
	ssize_t ret = migdb_sysfs_u64(buf, count, &rate);

	if (ret > 0)
		migdb_fetch_set_rate(rate);
	return ret;
}

static ssize_t max_inflight_bytes_show(struct kobject *kobj, struct kobj_attribute *attr,
				       char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(migdb_max_inflight_bytes));
}

static ssize_t max_inflight_bytes_store(struct kobject *kobj, struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	u64 bytes;
	ssize_t ret = migdb_sysfs_u64(buf, count, &bytes);

	if (ret > 0 && !bytes)
		return -EINVAL;
	if (ret > 0)
		WRITE_ONCE(migdb_max_inflight_bytes, bytes);
	return ret;
}

static ssize_t adaptive_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(migdb_adaptive));
}

static ssize_t adaptive_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	bool on;
	ssize_t ret = migdb_sysfs_bool(buf, count, &on);

	if (ret > 0)
		WRITE_ONCE(migdb_adaptive, on);
	return ret;
}

static ssize_t postcopy_bulk_reads_show(struct kobject *kobj, struct kobj_attribute *attr,
					char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(migdb_postcopy_bulk_reads));
}

static ssize_t postcopy_bulk_reads_store(struct kobject *kobj, struct kobj_attribute *attr,
					 const char *buf, size_t count)
{
	unsigned int n;
	int ret;

	ret = kstrtouint(buf, 0, &n);
	if (ret)
		return ret;
	/* 0 would be a migration that never ends */
	if (!n || n > MIGDB_LANE_DEPTH)
		return -EINVAL;
	WRITE_ONCE(migdb_postcopy_bulk_reads, n);
	return count;
}

static ssize_t postcopy_deadline_floor_us_show(struct kobject *kobj,
					       struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(migdb_postcopy_floor_us));
}

static ssize_t postcopy_deadline_floor_us_store(struct kobject *kobj,
						struct kobj_attribute *attr, const char *buf,
						size_t count)
{
	u64 us;
	ssize_t ret = migdb_sysfs_u64(buf, count, &us);

	if (ret > 0 && (!us || us > MIGDB_MAX_FLOOR_US))
		return -EINVAL;
	if (ret > 0)
		WRITE_ONCE(migdb_postcopy_floor_us, us);
	return ret;
}

static struct kobj_attribute enabled_attr = __ATTR_RW(enabled);
static struct kobj_attribute max_sessions_attr = __ATTR_RW(max_sessions);
static struct kobj_attribute nr_sessions_attr = __ATTR_RO(nr_sessions);
static struct kobj_attribute fetch_max_bytes_per_s_attr = __ATTR_RW(fetch_max_bytes_per_s);
static struct kobj_attribute max_inflight_bytes_attr = __ATTR_RW(max_inflight_bytes);
static struct kobj_attribute adaptive_attr = __ATTR_RW(adaptive);
static struct kobj_attribute postcopy_bulk_reads_attr = __ATTR_RW(postcopy_bulk_reads);
static struct kobj_attribute postcopy_deadline_floor_us_attr =
	__ATTR_RW(postcopy_deadline_floor_us);

static struct attribute *migdb_attrs[] = {
	&enabled_attr.attr,
	&max_sessions_attr.attr,
	&nr_sessions_attr.attr,
	&fetch_max_bytes_per_s_attr.attr,
	&max_inflight_bytes_attr.attr,
	&adaptive_attr.attr,
	&postcopy_bulk_reads_attr.attr,
	&postcopy_deadline_floor_us_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(migdb);

struct kset *migdb_kset;

/* Is it one of the files here? */
bool migdb_sysfs_has(const char *name)
{
	unsigned int i;

	for (i = 0; migdb_attrs[i]; i++)
		if (!strcmp(migdb_attrs[i]->name, name))
			return true;
	return false;
}

int migdb_sysfs_init(void)
{
	int ret;

	migdb_session_dir_init();
	migdb_kset = kset_create_and_add("migdb", NULL, kernel_kobj);
	if (!migdb_kset)
		return -ENOMEM;
	ret = sysfs_create_groups(&migdb_kset->kobj, migdb_groups);
	if (ret)
		kset_unregister(migdb_kset);
	return ret;
}

void migdb_sysfs_exit(void)
{
	sysfs_remove_groups(&migdb_kset->kobj, migdb_groups);
	kset_unregister(migdb_kset);
	migdb_session_dir_exit();
}
