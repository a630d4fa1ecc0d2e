/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls: what a process says of its own memory.  The struct is copied in and
 * checked for size; every function here checks the rest of it.
 */
#ifndef MM_HINTS_CALL_H
#define MM_HINTS_CALL_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

#define MHINT_MAX_OP	MEM_HINT_OP_READY

/* call.c */
long mhint_call(u32 op, void __user *attr, size_t size);
long mhint_syscall(unsigned int op, void __user *attr, size_t size,
		   unsigned int flags);
bool mhint_call_known(u32 op);

/* device.c */
int mhint_device_init(void);
void mhint_device_exit(void);

#endif
