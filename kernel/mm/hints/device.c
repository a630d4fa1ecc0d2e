// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/mem_hints: the calls of mem_hint(2) as ioctls, for kernels without the
 * system call.  Anyone may open it: every call is about the caller's own memory
 * or asks for a capability.
 */
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "call.h"
#include "internal.h"

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	u32 op = _IOC_NR(cmd) - MEM_HINT_IOC_BASE;

	/* The direction is that of the header; a size that grew is no other call. */
	if (_IOC_TYPE(cmd) != MEM_HINT_IOC_TYPE ||
	    _IOC_DIR(cmd) != (_IOC_READ | _IOC_WRITE) || !mhint_call_known(op))
		return -ENOTTY;
	return mhint_call(op, (void __user *)arg, _IOC_SIZE(cmd));
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.open		= mhint_events_open,
	.release	= mhint_events_release,
	.read		= mhint_events_read,
	.poll		= mhint_events_poll,
	.llseek		= noop_llseek,
	.unlocked_ioctl	= device_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "mem_hints",
	.fops	= &device_fops,
	.mode	= 0666,
};

int mhint_device_init(void)
{
	return misc_register(&device);
}

/* No file is open: each holds a reference of the module. */
void mhint_device_exit(void)
{
	misc_deregister(&device);
}
