// SPDX-License-Identifier: GPL-2.0
/*
 * Policies: struct mem_hint_ops, implemented by BPF programs.
 *
 * Lock: mhint_policy_lock is held while a callback runs, so that a policy
 * that was detached or replaced is not running any more when unreg() or
 * update() return.  It is taken by nothing but this file, and last.  Callbacks
 * run between mhint_policy_start() and mhint_policy_complete(), which the one
 * thread calls that freezes and thaws; in between the table stands still.
 *
 * A module cannot go while a map or a program for its struct_ops is there:
 * the BPF core holds a reference for each.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/ctype.h>
#include <linux/kdev_t.h>
#include <linux/ktime.h>
#include <linux/mem_hint_ops.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "internal.h"
#include "limits.h"
#include "policy.h"
#include "runs.h"
#include "table.h"

static uint policy_slack_us = MHINT_POLICY_SLACK_US;
module_param(policy_slack_us, uint, 0644);
MODULE_PARM_DESC(policy_slack_us, "microseconds that a BPF policy may use in a migration in any case");

static uint policy_run_ns = MHINT_POLICY_RUN_NS;
module_param(policy_run_ns, uint, 0644);
MODULE_PARM_DESC(policy_run_ns, "nanoseconds that it may use besides for each run of pages");

enum policy_state {
	POLICY_NONE,
	POLICY_ACTIVE,
	POLICY_OVER_BUDGET,
	POLICY_BAD_ANSWER,
};

static const char * const state_names[] = {
	[POLICY_NONE]		= "none",
	[POLICY_ACTIVE]		= "active",
	[POLICY_OVER_BUDGET]	= "over_budget",
	[POLICY_BAD_ANSWER]	= "bad_answer",
};

static DEFINE_MUTEX(mhint_policy_lock);

/*
 * Under mhint_policy_lock.
 * @started: @ops was there at the last START; only then it hears of the rest.
 * @changed: the table has classes that a policy gave.
 */
static struct {
	struct mem_hint_ops *ops;
	enum policy_state state;
	bool started;
	bool changed;
	struct mem_hint_migration migration;
	struct mhint_spent spent;
	u64 nr_expelled;
} policy;

/* ---- calls ---------------------------------------------------------------- */

static bool callable(void)
{
	return policy.state == POLICY_ACTIVE && policy.started;
}

static void expel(enum policy_state why)
{
	policy.state = why;
	policy.nr_expelled++;
	if (why == POLICY_OVER_BUDGET)
		pr_warn("policy %s took %llu us for %llu runs, the longest call %llu us: not called any more\n",
			policy.ops->name, policy.spent.ns / 1000,
			policy.spent.runs, policy.spent.max_ns / 1000);
	else
		pr_warn("policy %s returned what is no decision: not called any more\n",
			policy.ops->name);
}

static void account(u64 since)
{
	if (!mhint_spend(&policy.spent, ktime_get_ns() - since,
			 1000ULL * READ_ONCE(policy_slack_us),
			 READ_ONCE(policy_run_ns)))
		expel(POLICY_OVER_BUDGET);
}

/* Called in place of struct mem_hint_ops' other two callbacks. */
static void tell(void (*callback)(const struct mem_hint_migration *migration))
{
	u64 since = ktime_get_ns();

	if (!callback)
		return;
	callback(&policy.migration);
	account(since);
}

/**
 * mhint_policy_start - a migration has begun
 * @generation: of the root from now on
 * @nr_valid: entries
 * @classes: that the host agrees to, as bits
 *
 * Return: is there a policy that is to be asked?
 */
bool mhint_policy_start(u64 generation, u64 nr_valid, u64 classes)
{
	bool ask;

	mutex_lock(&mhint_policy_lock);
	memset(&policy.spent, 0, sizeof(policy.spent));
	policy.migration.generation = generation;
	policy.migration.nr_valid = nr_valid;
	policy.migration.classes = classes;
	policy.started = policy.state == POLICY_ACTIVE;
	if (policy.started)
		tell(policy.ops->start);
	ask = callable() && policy.ops->decide;
	mutex_unlock(&mhint_policy_lock);
	return ask;
}

/**
 * mhint_policy_leaf - let the policy decide on the runs of a leaf page
 * @ctx: unused
 * @leaf_frame: frame of the page's first entry
 * @leaf: the page
 *
 * For mhint_table_walk().  The lock is held for one page: 512 calls at most.
 *
 * Return: 0, or 1 to end the walk.
 */
int mhint_policy_leaf(void *ctx, u64 leaf_frame, __le64 *leaf)
{
	struct mem_hint_run run;
	u32 slot = 0;
	int n, ret;

	mutex_lock(&mhint_policy_lock);
	while (callable() && policy.ops->decide) {
		u64 since;

		slot = mhint_run_next(leaf, leaf_frame, slot, &run);
		if (slot == MEM_HINT_SLOTS)
			break;
		run.dev = mhint_disk_dev(run.disk);
		policy.spent.runs++;
		since = ktime_get_ns();
		n = policy.ops->decide(&run);
		account(since);
		n = mhint_run_apply(leaf, slot, run.nr, n,
				    policy.migration.classes);
		if (n < 0 && policy.state == POLICY_ACTIVE)
			expel(POLICY_BAD_ANSWER);
		policy.changed |= n > 0;
		slot += run.nr;
	}
	ret = !callable();
	mutex_unlock(&mhint_policy_lock);
	return ret;
}

/**
 * mhint_policy_complete - a migration is over
 *
 * Return: has the table classes that a policy gave?  Said once.
 */
bool mhint_policy_complete(void)
{
	bool changed;

	mutex_lock(&mhint_policy_lock);
	if (callable())
		tell(policy.ops->complete);
	policy.started = false;
	changed = policy.changed;
	policy.changed = false;
	mutex_unlock(&mhint_policy_lock);
	return changed;
}

/* For mhint_table_walk(). */
int mhint_policy_reset_leaf(void *ctx, u64 leaf_frame, __le64 *leaf)
{
	mhint_leaf_reset(leaf);
	return 0;
}

/* ---- sysfs ---------------------------------------------------------------- */

ssize_t mhint_policy_show_name(char *buf)
{
	ssize_t len;

	mutex_lock(&mhint_policy_lock);
	len = sysfs_emit(buf, "%s\n", policy.ops ? policy.ops->name : "none");
	mutex_unlock(&mhint_policy_lock);
	return len;
}

ssize_t mhint_policy_show_state(char *buf)
{
	return sysfs_emit(buf, "%s\n", state_names[READ_ONCE(policy.state)]);
}

void mhint_policy_get_stats(struct mhint_policy_stats *stats)
{
	mutex_lock(&mhint_policy_lock);
	stats->nr_runs = policy.spent.runs;
	stats->ns = policy.spent.ns;
	stats->max_ns = policy.spent.max_ns;
	stats->nr_expelled = policy.nr_expelled;
	mutex_unlock(&mhint_policy_lock);
}

/* ---- struct_ops ----------------------------------------------------------- */

static int policy_init(struct btf *btf)
{
	return 0;
}

static int policy_init_name(char *to, const char *from)
{
	size_t i, len = strnlen(from, MEM_HINT_OPS_NAME_LEN);

	if (!len || len == MEM_HINT_OPS_NAME_LEN)
		return -EINVAL;
	for (i = 0; i < len; i++)
		if (!isalnum(from[i]) && !strchr("._-", from[i]))
			return -EINVAL;
	memcpy(to, from, len);
	return 1;
}

/* 1: done; 0: the core takes callbacks, and refuses data that is not 0. */
static int policy_init_member(const struct btf_type *t,
			      const struct btf_member *member, void *kdata,
			      const void *udata)
{
	const struct mem_hint_ops *from = udata;
	struct mem_hint_ops *to = kdata;

	if (__btf_member_bit_offset(t, member) ==
	    offsetof(struct mem_hint_ops, name) * BITS_PER_BYTE)
		return policy_init_name(to->name, from->name);
	return 0;
}

/*
 * The time of a call is looked at when it has returned, so it must return soon.
 * The verifier follows each path through a program for a million instructions at
 * most, which bounds plain loops.  It does not follow what is left to run time:
 * may_goto, kfuncs (bpf_for() is three of them; eight million rounds, and they
 * nest), and global functions, which it looks at once however often they are
 * called.  No policy needs any of these.  (bpf_loop() and other helpers that call
 * back, and tail calls, are not in policy_func_proto().)
 */
static bool ends_soon(const struct bpf_prog *prog)
{
	const struct bpf_insn *insn = prog->insnsi;
	u32 i;

	for (i = 0; i < prog->len; i++, insn++) {
		if (insn->code == (BPF_JMP | BPF_JCOND))
			return false;
		if (insn->code == (BPF_JMP | BPF_CALL) &&
		    insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
			return false;
	}
	/* The first one is the program. */
	for (i = 1; prog->aux->func_info_aux && i < prog->aux->func_info_cnt; i++)
		if (prog->aux->func_info_aux[i].linkage == BTF_FUNC_GLOBAL)
			return false;
	return true;
}

/* When a program is loaded.  What sleeps would hold up the host. */
static int policy_check_member(const struct btf_type *t,
			       const struct btf_member *member,
			       const struct bpf_prog *prog)
{
	return prog->sleepable || !ends_soon(prog) ? -EINVAL : 0;
}

static int policy_validate(void *kdata)
{
	const struct mem_hint_ops *ops = kdata;

	return ops->start || ops->decide || ops->complete ? 0 : -EINVAL;
}

static void put_in_place(struct mem_hint_ops *ops)
{
	lockdep_assert_held(&mhint_policy_lock);
	policy.ops = ops;
	policy.state = ops ? POLICY_ACTIVE : POLICY_NONE;
	policy.started = false;
	memset(&policy.spent, 0, sizeof(policy.spent));
}

static int policy_reg(void *kdata, struct bpf_link *link)
{
	struct mem_hint_ops *ops = kdata;
	int err = 0;

	mutex_lock(&mhint_policy_lock);
	if (policy.ops)
		err = -EBUSY;
	else
		put_in_place(ops);
	mutex_unlock(&mhint_policy_lock);
	if (!err)
		pr_info("policy %s is attached\n", ops->name);
	return err;
}

static void policy_unreg(void *kdata, struct bpf_link *link)
{
	struct mem_hint_ops *ops = kdata;

	mutex_lock(&mhint_policy_lock);
	if (policy.ops == ops)
		put_in_place(NULL);
	mutex_unlock(&mhint_policy_lock);
	pr_info("policy %s is detached\n", ops->name);
}

static int policy_update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	struct mem_hint_ops *ops = kdata, *old = old_kdata;
	int err = 0;

	mutex_lock(&mhint_policy_lock);
	if (policy.ops != old)
		err = -ENOENT;
	else
		put_in_place(ops);
	mutex_unlock(&mhint_policy_lock);
	if (!err)
		pr_info("policy %s replaces %s\n", ops->name, old->name);
	return err;
}

/* Helpers that end soon and have no effect but on the program's own maps. */
static const struct bpf_func_proto *
policy_func_proto(enum bpf_func_id func_id, const struct bpf_prog *prog)
{
	switch (func_id) {
	case BPF_FUNC_map_lookup_elem:
	case BPF_FUNC_map_update_elem:
	case BPF_FUNC_map_delete_elem:
	case BPF_FUNC_map_push_elem:
	case BPF_FUNC_map_pop_elem:
	case BPF_FUNC_map_peek_elem:
	case BPF_FUNC_map_lookup_percpu_elem:
	case BPF_FUNC_get_prandom_u32:
	case BPF_FUNC_get_smp_processor_id:
	case BPF_FUNC_get_numa_node_id:
	case BPF_FUNC_ktime_get_ns:
	case BPF_FUNC_ktime_get_boot_ns:
	case BPF_FUNC_jiffies64:
	case BPF_FUNC_ringbuf_output:
	case BPF_FUNC_ringbuf_reserve:
	case BPF_FUNC_ringbuf_submit:
	case BPF_FUNC_ringbuf_discard:
	case BPF_FUNC_ringbuf_query:
	case BPF_FUNC_spin_lock:
	case BPF_FUNC_spin_unlock:
	case BPF_FUNC_per_cpu_ptr:
	case BPF_FUNC_this_cpu_ptr:
	case BPF_FUNC_trace_printk:
	case BPF_FUNC_trace_vprintk:
		return bpf_base_func_proto(func_id, prog);
	default:
		return NULL;
	}
}

/* Without btf_struct_access() the verifier lets nothing be written. */
static const struct bpf_verifier_ops policy_verifier_ops = {
	.get_func_proto		= policy_func_proto,
	.is_valid_access	= bpf_tracing_btf_ctx_access,
};

/* Never called: their types are those of the callbacks. */
static void stub_start(const struct mem_hint_migration *migration)
{
}

static int stub_decide(const struct mem_hint_run *run)
{
	return MEM_HINT_DECIDE_DEFAULT;
}

static void stub_complete(const struct mem_hint_migration *migration)
{
}

static struct mem_hint_ops policy_stubs = {
	.start		= stub_start,
	.decide		= stub_decide,
	.complete	= stub_complete,
};

static struct bpf_struct_ops policy_struct_ops = {
	.verifier_ops	= &policy_verifier_ops,
	.init		= policy_init,
	.check_member	= policy_check_member,
	.init_member	= policy_init_member,
	.reg		= policy_reg,
	.unreg		= policy_unreg,
	.update		= policy_update,
	.validate	= policy_validate,
	.cfi_stubs	= &policy_stubs,
	.name		= "mem_hint_ops",
	.owner		= THIS_MODULE,
};

/* There is no way back: it goes with the module's BTF. */
int mhint_policy_init(void)
{
	return register_bpf_struct_ops(&policy_struct_ops, mem_hint_ops);
}
