// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/migdb/<label>: one running session, one value a file.  Only root reads
 * the files; anybody can see which directories there are, as everywhere in sysfs.
 * See Documentation/ABI/testing/sysfs-kernel-migdb.
 *
 * A directory is there from START until the device is closed.  It goes before
 * anything of the session does, and going waits for who is inside: so a file may
 * use the session and its parts without a reference.  It takes none of the session's
 * locks: some of them may be held for as long as a VMM keeps a page fault waiting
 * (internal.h), and no operator waits for a VMM.  So numbers of two files may be of
 * two moments; those that add up are in MIGDB_STATS and in the record.
 */
#define pr_fmt(fmt) "migdb: " fmt

#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/kobject.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uidgid.h>
#include <linux/wait_bit.h>

#include "dest.h"
#include "internal.h"
#include "source.h"

/* @pid, @uid: of the VMM, in the initial namespaces: a label is only what it says. */
struct migdb_session_dir {
	struct kobject kobj;
	struct migdb_session *s;
	pid_t pid;
	uid_t uid;
};

/* released later than removed, if the kernel is to find who relies on the opposite */
static atomic_t migdb_nr_dirs = ATOMIC_INIT(0);

/* a name that was free is still free when it is taken */
static DEFINE_MUTEX(migdb_dirs_lock);

static struct migdb_session_dir *to_dir(struct kobject *kobj)
{
	return container_of(kobj, struct migdb_session_dir, kobj);
}

static struct migdb_session *to_session(struct kobject *kobj)
{
	return to_dir(kobj)->s;
}

#define SHOW(_name, _fmt, _value)						\
static ssize_t _name##_show(struct kobject *kobj, struct kobj_attribute *attr,	\
			    char *buf)						\
{										\
	struct migdb_session *s __maybe_unused = to_session(kobj);		\
										\
	return sysfs_emit(buf, _fmt "\n", _value);				\
}

#define SHOW_COUNT(_name, _counter)						\
SHOW(_name, "%lld", (s64)atomic64_read(&s->n._counter))

#define RO(_name)								\
static struct kobj_attribute _name##_attr = __ATTR_RO_MODE(_name, 0400)

#define RW(_name)								\
static struct kobj_attribute _name##_attr = __ATTR_RW_MODE(_name, 0600)

SHOW(role, "%s", migdb_role_str(s->role))
RO(role);
SHOW(pid, "%d", to_dir(kobj)->pid)
RO(pid);
SHOW(uid, "%u", to_dir(kobj)->uid)
RO(uid);
SHOW(state, "%s", migdb_state_str(migdb_state(s)))
RO(state);
SHOW(reason, "%s", migdb_reason_str(READ_ONCE(s->reason)))
RO(reason);
SHOW(peer_reason, "%d", READ_ONCE(s->peer_reason))
RO(peer_reason);
SHOW(age_ms, "%llu", div_u64(ktime_get_ns() - s->started_ns, NSEC_PER_MSEC))
RO(age_ms);
SHOW_COUNT(recorded_pages, recorded)
RO(recorded_pages);
SHOW_COUNT(built_pages, built)
RO(built_pages);
SHOW_COUNT(revoked_pages, revoked)
RO(revoked_pages);
SHOW_COUNT(returned_pages, returned)
RO(returned_pages);
SHOW_COUNT(sent_pages, sent)
RO(sent_pages);
SHOW_COUNT(stream_tx_bytes, tx_bytes)
RO(stream_tx_bytes);
SHOW_COUNT(stream_rx_bytes, rx_bytes)
RO(stream_rx_bytes);

/* source */
SHOW_COUNT(candidate_pages, candidates)
RO(candidate_pages);
SHOW_COUNT(dropped_pages, dropped)
RO(dropped_pages);
SHOW_COUNT(harvested_pages, harvested)
RO(harvested_pages);
SHOW(unconfirmed_pages, "%llu", READ_ONCE(s->src->nr_unconfirmed))
RO(unconfirmed_pages);
SHOW(queued_pages, "%llu", (u64)READ_ONCE(s->src->send.nr_set))
RO(queued_pages);
SHOW(record_bytes_per_s, "%llu", migdb_session_record_rate(s))
RO(record_bytes_per_s);

/* 0: what the link has to spare stays so */
SHOW(adaptive, "%d", !READ_ONCE(s->src->no_take))

static ssize_t adaptive_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	bool on;
	ssize_t ret = migdb_sysfs_bool(buf, count, &on);

	if (ret > 0)
		WRITE_ONCE(to_session(kobj)->src->no_take, !on);
	return ret;
}

RW(adaptive);

/* destination */
SHOW(pending_pages, "%llu", (u64)READ_ONCE(s->dst->todo.nr_set))
RO(pending_pages);
SHOW_COUNT(read_bytes, read_bytes)
RO(read_bytes);
SHOW_COUNT(inflight_bytes, inflight_bytes)
RO(inflight_bytes);
SHOW(fetch_bytes_per_s, "%llu", migdb_session_fetch_rate(s))
RO(fetch_bytes_per_s);

/* 0 makes it an ordinary migration, for ever */
SHOW(enabled, "%d", !READ_ONCE(s->ordinary))

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	struct migdb_session *s = to_session(kobj);
	bool on;
	ssize_t ret = migdb_sysfs_bool(buf, count, &on);

	if (ret < 0)
		return ret;
	if (on)
		return READ_ONCE(s->ordinary) ? -EINVAL : count;
	migdb_session_disable(s);
	return count;
}

RW(enabled);

SHOW(fetch_max_bytes_per_s, "%llu", READ_ONCE(s->limits.fetch_bytes_per_s))

static ssize_t fetch_max_bytes_per_s_store(struct kobject *kobj, struct kobj_attribute *attr,
					   const char *buf, size_t count)
{
	u64 rate;
	ssize_t ret = migdb_sysfs_u64(buf, count, &rate);

	if (ret > 0)
		migdb_fetch_limit_rate(to_session(kobj), rate);
	return ret;
}

RW(fetch_max_bytes_per_s);

SHOW(max_inflight_bytes, "%llu", READ_ONCE(s->limits.inflight_bytes))

static ssize_t max_inflight_bytes_store(struct kobject *kobj, struct kobj_attribute *attr,
					const char *buf, size_t count)
{
	u64 bytes;
	ssize_t ret = migdb_sysfs_u64(buf, count, &bytes);

	if (ret > 0)
		WRITE_ONCE(to_session(kobj)->limits.inflight_bytes, bytes);
	return ret;
}

RW(max_inflight_bytes);

static struct attribute *common_attrs[] = {
	&role_attr.attr,
	&pid_attr.attr,
	&uid_attr.attr,
	&state_attr.attr,
	&reason_attr.attr,
	&peer_reason_attr.attr,
	&age_ms_attr.attr,
	&enabled_attr.attr,
	&recorded_pages_attr.attr,
	&built_pages_attr.attr,
	&revoked_pages_attr.attr,
	&returned_pages_attr.attr,
	&sent_pages_attr.attr,
	&stream_tx_bytes_attr.attr,
	&stream_rx_bytes_attr.attr,
	NULL,
};

static const struct attribute_group common_group = {
	.attrs = common_attrs,
};

static struct attribute *source_attrs[] = {
	&candidate_pages_attr.attr,
	&dropped_pages_attr.attr,
	&harvested_pages_attr.attr,
	&unconfirmed_pages_attr.attr,
	&queued_pages_attr.attr,
	&record_bytes_per_s_attr.attr,
	&adaptive_attr.attr,
	NULL,
};

static const struct attribute_group source_group = {
	.attrs = source_attrs,
};

static struct attribute *dest_attrs[] = {
	&pending_pages_attr.attr,
	&read_bytes_attr.attr,
	&inflight_bytes_attr.attr,
	&fetch_bytes_per_s_attr.attr,
	&fetch_max_bytes_per_s_attr.attr,
	&max_inflight_bytes_attr.attr,
	NULL,
};

static const struct attribute_group dest_group = {
	.attrs = dest_attrs,
};

/* One file for each reason but "none"; the number of a file is that of its reason. */
static struct kobj_attribute why_attr[MIGDB_NR_REASONS];
static struct attribute *why_attrs[MIGDB_NR_REASONS];

static ssize_t why_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n",
			  (s64)atomic64_read(&to_session(kobj)->n.by_reason[attr - why_attr]));
}

static const struct attribute_group why_group = {
	.name = "by_reason",
	.attrs = why_attrs,
};

static const struct attribute_group *source_groups[] = {
	&common_group, &source_group, &why_group, NULL,
};

static const struct attribute_group *dest_groups[] = {
	&common_group, &dest_group, &why_group, NULL,
};

static void dir_release(struct kobject *kobj)
{
	kfree(to_dir(kobj));
	if (atomic_dec_and_test(&migdb_nr_dirs))
		wake_up_var(&migdb_nr_dirs);
}

static const struct kobj_type source_ktype = {
	.release	= dir_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= source_groups,
};

static const struct kobj_type dest_ktype = {
	.release	= dir_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= dest_groups,
};

/*
 * A label is the VMM's choice, and root will name the directory in commands: nothing
 * in it means something to a shell, hides it, or is an option.
 */
static void name_of(char *name, const char *label)
{
	unsigned int i;

	for (i = 0; label[i]; i++)
		name[i] = isalnum(label[i]) || label[i] == '_' ||
			  (i && (label[i] == '.' || label[i] == '-')) ? label[i] : '_';
	name[i] = 0;
}

/* It may be that of a file or directory which is there. */
static bool name_taken(const char *name)
{
	struct kobject *kobj;

	if (migdb_sysfs_has(name))
		return true;
	kobj = kset_find_obj(migdb_kset, name);
	kobject_put(kobj);
	return kobj;
}

/**
 * migdb_session_dir_add - show a session that has been started
 * @s: its parts are there
 *
 * Without a directory, for lack of memory, the session is as good as with one.
 *
 * Context: under session.lock.
 */
void migdb_session_dir_add(struct migdb_session *s)
{
	struct migdb_session_dir *dir = kzalloc(sizeof(*dir), GFP_KERNEL_ACCOUNT);
	char base[MIGDB_LABEL_BYTES], name[MIGDB_LABEL_BYTES + 12];
	unsigned int i = 1;
	int ret = -ENOMEM;

	if (!dir)
		goto out;
	atomic_inc(&migdb_nr_dirs);
	dir->s = s;
	dir->pid = current->tgid;
	dir->uid = from_kuid_munged(&init_user_ns, current_uid());
	dir->kobj.kset = migdb_kset;
	name_of(base, s->label);
	strscpy(name, base);
	mutex_lock(&migdb_dirs_lock);
	while (name_taken(name))
		snprintf(name, sizeof(name), "%s.%u", base, ++i);
	ret = kobject_init_and_add(&dir->kobj, s->src ? &source_ktype : &dest_ktype, NULL,
				   "%s", name);
	mutex_unlock(&migdb_dirs_lock);
	if (ret)
		kobject_put(&dir->kobj);
	else
		s->dir = dir;
out:
	if (ret)
		pr_warn_ratelimited("%s: no directory in sysfs (error %d)\n", s->label, ret);
}

/**
 * migdb_session_dir_remove - the session is about to go
 * @s: with or without a directory
 *
 * Context: no lock of the session's held.  Waits for who reads or writes a file.
 */
void migdb_session_dir_remove(struct migdb_session *s)
{
	if (!s->dir)
		return;
	kobject_del(&s->dir->kobj);
	kobject_put(&s->dir->kobj);
	s->dir = NULL;
}

/* No session is left: the last of what they showed is gone, or on its way. */
void migdb_session_dir_exit(void)
{
	wait_var_event(&migdb_nr_dirs, !atomic_read(&migdb_nr_dirs));
}

void migdb_session_dir_init(void)
{
	unsigned int i;

	for (i = MIGDB_REASON_NONE + 1; i < MIGDB_NR_REASONS; i++) {
		sysfs_attr_init(&why_attr[i].attr);
		why_attr[i].attr.name = migdb_reason_str(i);
		why_attr[i].attr.mode = 0400;
		why_attr[i].show = why_show;
		why_attrs[i - 1] = &why_attr[i].attr;
	}
}
