// SPDX-License-Identifier: GPL-2.0
/*
 * migdb: live migration that rebuilds database pages from shared storage.
 *
 * /dev/vhost-migdb.  One open is one session; see internal.h for its parts and
 * locks, include/uapi/linux/migdb.h for the contract with the VMM.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "dest.h"
#include "internal.h"
#include "vhost_glue.h"

static int migdb_open(struct inode *inode, struct file *file)
{
	struct migdb_session *s = migdb_session_create();

	if (!s)
		return -ENOMEM;
	file->private_data = s;
	return 0;
}

static int migdb_release(struct inode *inode, struct file *file)
{
	migdb_session_close(file->private_data);
	return 0;
}

static long migdb_unlocked_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct migdb_session *s = file->private_data;
	long ret;

	if (_IOC_TYPE(cmd) == MIGDB_TYPE)
		return migdb_ioctl(s, cmd, arg);
	/* under the lock: START copies the memory table and freezes it */
	mutex_lock(&s->lock);
	ret = migdb_vhost_ioctl(s->vhost, cmd, arg, s->state != MIGDB_STATE_IDLE);
	mutex_unlock(&s->lock);
	return ret;
}

static const struct file_operations migdb_fops = {
	.owner		= THIS_MODULE,
	.open		= migdb_open,
	.release	= migdb_release,
	.unlocked_ioctl	= migdb_unlocked_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice migdb_misc = {
	.minor		= MISC_DYNAMIC_MINOR,
	.name		= "vhost-migdb",
	.nodename	= "vhost-migdb",
	.fops		= &migdb_fops,
	.mode		= 0660,		/* root; udev gives it to group kvm */
};

static int __init migdb_init(void)
{
	int ret;

	ret = migdb_fetch_init();
	if (ret)
		return ret;
	ret = migdb_sysfs_init();
	if (ret)
		goto out_fetch;
	ret = misc_register(&migdb_misc);
	if (ret)
		goto out_sysfs;
	return 0;

out_sysfs:
	migdb_sysfs_exit();
out_fetch:
	migdb_fetch_exit();
	return ret;
}
module_init(migdb_init);

static void __exit migdb_exit(void)
{
	misc_deregister(&migdb_misc);
	migdb_sysfs_exit();
	migdb_fetch_exit();
}
module_exit(migdb_exit);

MODULE_DESCRIPTION("Live migration with database pages rebuilt from shared storage");
MODULE_LICENSE("GPL");
MODULE_ALIAS("vhost-migdb");
