/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls: what a process says of its own memory.  The struct is copied in and
 * checked for size; every function here checks the rest of it.
 */
#ifndef MM_HINTS_CALL_H
#define MM_HINTS_CALL_H

#include <linux/fs.h>
#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

#define MHINT_MAX_OP	MEM_HINT_OP_READY

/* call.c */
long mhint_call(u32 op, void __user *attr, size_t size);
long mhint_syscall(unsigned int op, void __user *attr, size_t size,
		   unsigned int flags);
bool mhint_call_known(u32 op);

/* ops.c */
int mhint_op_file(struct mem_hint_file *arg);
int mhint_op_unfile(struct mem_hint_unfile *arg);
int mhint_op_bind(struct mem_hint_bind *arg);
int mhint_op_unbind(struct mem_hint_unbind *arg);
int mhint_op_pool(struct mem_hint_pool *arg);
int mhint_op_unpool(struct mem_hint_unpool *arg);
int mhint_op_class(struct mem_hint_set_class *arg);
int mhint_op_translate(struct mem_hint_translate *arg);
void mhint_op_usage(struct mem_hint_query *q);

/* volumes.c */
int mhint_op_segments(struct mem_hint_segments *arg);

/* events.c */
int mhint_op_events(struct mem_hint_events *arg);
int mhint_op_wait(struct mem_hint_wait *arg);
int mhint_op_ready(struct mem_hint_ready *arg);
void mhint_events_init(unsigned int ms);
u64 mhint_events_newest(void);
void mhint_events_start(u64 classes);
void mhint_events_complete(u32 outcome, u64 classes);
int mhint_events_open(struct inode *inode, struct file *file);
int mhint_events_release(struct inode *inode, struct file *file);
ssize_t mhint_events_read(struct file *file, char __user *buf, size_t len,
			  loff_t *pos);
__poll_t mhint_events_poll(struct file *file, struct poll_table_struct *wait);

/* device.c */
int mhint_device_init(void);
void mhint_device_exit(void);

#endif
