/* SPDX-License-Identifier: GPL-2.0 */
/* Between mem_hint(2), which is built in, and the rest, which may be a module. */
#ifndef _LINUX_MEM_HINTS_H
#define _LINUX_MEM_HINTS_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

struct module;

/**
 * struct mem_hints_entry - where mem_hint(2) goes
 * @owner: a reference is held during each call.
 * @call: with the arguments of the system call.
 */
struct mem_hints_entry {
	struct module *owner;
	long (*call)(unsigned int op, void __user *attr, size_t size,
		     unsigned int flags);
};

#ifdef CONFIG_MEM_HINTS_SYSCALL
void mem_hints_register(const struct mem_hints_entry *e);
void mem_hints_unregister(void);
#else
static inline void mem_hints_register(const struct mem_hints_entry *e)
{
}

static inline void mem_hints_unregister(void)
{
}
#endif

#endif
