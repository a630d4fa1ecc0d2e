// SPDX-License-Identifier: GPL-2.0
/*
 * mem_hint(2).  A module cannot have a system call, so this part is always
 * built in, and finds the rest if it is there.  The call's number comes from
 * the tables of system calls.
 */
#include <linux/export.h>
#include <linux/mem_hints.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/syscalls.h>

static const struct mem_hints_entry __rcu *entry;

/**
 * mem_hints_register - let mem_hint(2) reach the subsystem
 * @e: what to call; stays until mem_hints_unregister() has returned
 */
void mem_hints_register(const struct mem_hints_entry *e)
{
	rcu_assign_pointer(entry, e);
}
EXPORT_SYMBOL_GPL(mem_hints_register);

/* Calls that are under way hold a reference of the module. */
void mem_hints_unregister(void)
{
	RCU_INIT_POINTER(entry, NULL);
	synchronize_rcu();
}
EXPORT_SYMBOL_GPL(mem_hints_unregister);

/**
 * sys_mem_hint - say what pages of the calling process hold
 * @op: enum mem_hint_op
 * @attr: its struct; see include/uapi/linux/mem_hints.h
 * @size: size of the struct that the caller was built with
 * @flags: 0, or MEM_HINT_GET_ABI or MEM_HINT_GET_ERRATA with all else 0
 *
 * Return: 0, or the number that was asked for; -EOPNOTSUPP also where mem_hints
 * is a module and not loaded; any other errno as the header says.
 */
SYSCALL_DEFINE4(mem_hint, unsigned int, op, void __user *, attr, size_t, size,
		unsigned int, flags)
{
	const struct mem_hints_entry *e;
	long ret;

	rcu_read_lock();
	e = rcu_dereference(entry);
	if (e && !try_module_get(e->owner))
		e = NULL;
	rcu_read_unlock();
	if (!e)
		return -EOPNOTSUPP;
	ret = e->call(op, attr, size, flags);
	module_put(e->owner);
	return ret;
}
