// SPDX-License-Identifier: GPL-2.0
/*
 * Users, and what each has of what there is once for the whole guest.
 *
 * Anyone may say something, so what can be said is bounded for all together; and
 * so that nobody takes it all, it is bounded for each user, and the last of it is
 * kept for CAP_SYS_RESOURCE.
 *
 * A user is a uid of the initial user namespace: the real one, as with
 * RLIMIT_NPROC.  Whoever makes a user namespace has the uids of it, so they all
 * count as the uid that made it.  Where that is root it is a container's: then as
 * that container, by the uid that its root is.  What remains is that a user whom
 * the administrator gives subordinate uids can be each of them outside of a user
 * namespace, too, by set-uid files.
 *
 * What was said counts for the user who said the first of it in an address space,
 * whatever that process becomes.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/hashtable.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "limits.h"
#include "users.h"

/* All under users_lock, which is a leaf. */
struct mhint_user {
	struct hlist_node node;
	kuid_t uid;
	u32 refs;
	u32 used[MHINT_NR_BUDGETS];
};

static DEFINE_SPINLOCK(users_lock);
static DEFINE_HASHTABLE(users, 6);
static u32 used_all[MHINT_NR_BUDGETS];

static const u32 budgets[MHINT_NR_BUDGETS] = {
	[MHINT_BUDGET_PROCESSES]	= MHINT_MAX_PROCESSES,
	[MHINT_BUDGET_FILES]		= MHINT_MAX_FILES_ALL,
	[MHINT_BUDGET_SPANS]		= MHINT_MAX_SPANS_ALL,
	[MHINT_BUDGET_READERS]		= MHINT_MAX_READY,
};

/* For whom what the current task says counts. */
static kuid_t accountable(void)
{
	const struct cred *cred = current_cred();
	struct user_namespace *ns = cred->user_ns;
	kuid_t uid;

	if (ns == &init_user_ns)
		return cred->uid;
	/* The task has its namespace, and that the ones above it. */
	while (ns->parent != &init_user_ns)
		ns = ns->parent;
	if (!uid_eq(ns->owner, GLOBAL_ROOT_UID))
		return ns->owner;
	uid = make_kuid(ns, 0);
	/* made with root's euid for somebody: a set-uid helper */
	return uid_valid(uid) ? uid : cred->uid;
}

static struct mhint_user *find_user_of(kuid_t uid)
{
	struct mhint_user *u;

	lockdep_assert_held(&users_lock);
	hash_for_each_possible(users, u, node, __kuid_val(uid))
		if (uid_eq(u->uid, uid)) {
			u->refs++;
			return u;
		}
	return NULL;
}

/**
 * mhint_user_current - the user for whom what the current task says counts
 *
 * Return: with a reference; NULL: no memory.
 */
struct mhint_user *mhint_user_current(void)
{
	struct mhint_user *found, *new;
	kuid_t uid = accountable();

	spin_lock(&users_lock);
	found = find_user_of(uid);
	spin_unlock(&users_lock);
	if (found)
		return found;
	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	new->uid = uid;
	new->refs = 1;
	spin_lock(&users_lock);
	found = find_user_of(uid);
	if (!found)
		hash_add(users, &new->node, __kuid_val(uid));
	spin_unlock(&users_lock);
	if (!found)
		return new;
	kfree(new);
	return found;
}

/* What was charged with this reference was given back. */
void mhint_user_put(struct mhint_user *u)
{
	bool last;

	spin_lock(&users_lock);
	last = !--u->refs;
	if (last)
		hash_del(&u->node);
	spin_unlock(&users_lock);
	if (last)
		kfree(u);
}

/* For telling users from each other, and for the administrator. */
u32 mhint_user_id(const struct mhint_user *u)
{
	return __kuid_val(u->uid);
}

/**
 * mhint_charge - a user wants more of something
 * @u: the user, of which the caller has a reference until it is given back
 * @what: of which budget
 * @more: how much
 *
 * CAP_SYS_RESOURCE is looked for, and used, only where it is needed.
 *
 * Return: 0; -EDQUOT: the user's share is used up; -ENOSPC: what there is, is.
 */
int mhint_charge(struct mhint_user *u, enum mhint_budget what, u32 more)
{
	bool privileged = false;
	int err;

	for (;;) {
		spin_lock(&users_lock);
		err = mhint_share_check(budgets[what], used_all[what],
					u->used[what], more, privileged);
		if (!err) {
			used_all[what] += more;
			u->used[what] += more;
		}
		spin_unlock(&users_lock);
		if (!err || privileged || !capable(CAP_SYS_RESOURCE))
			return err;
		privileged = true;
	}
}

void mhint_uncharge(struct mhint_user *u, enum mhint_budget what, u32 less)
{
	spin_lock(&users_lock);
	used_all[what] -= less;
	u->used[what] -= less;
	spin_unlock(&users_lock);
}
