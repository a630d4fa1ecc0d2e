// SPDX-License-Identifier: GPL-2.0
/*
 * Memory hints, guest part: says which pages of this guest hold which blocks
 * of which disk, so that a migration can leave them out.
 * See Documentation/mm/mem_hints.rst.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/minmax.h>
#include <linux/mem_hints.h>
#include <linux/module.h>

#include "call.h"
#include "internal.h"
#include "limits.h"
#include "policy.h"
#include "process.h"
#include "snapshot.h"

static unsigned int ring_notes = MHINT_RING_NOTES_DEFAULT;
module_param(ring_notes, uint, 0444);
MODULE_PARM_DESC(ring_notes, "frames that a CPU can note before they are taken into the table");

static unsigned int drain_ms = MHINT_DRAIN_MS_DEFAULT;
module_param(drain_ms, uint, 0444);
MODULE_PARM_DESC(drain_ms, "milliseconds until noted frames are taken into the table");

static unsigned int ready_ms = MHINT_READY_MS_DEFAULT;
module_param(ready_ms, uint, 0444);
MODULE_PARM_DESC(ready_ms, "milliseconds that a migration's start waits for processes to be ready");

static unsigned int walk_ms = MHINT_WALK_MS_DEFAULT;
module_param(walk_ms, uint, 0444);
MODULE_PARM_DESC(walk_ms, "milliseconds that a migration's start takes for what processes say");

static unsigned int max_freeze_ms = MHINT_FREEZE_MS_DEFAULT;
module_param(max_freeze_ms, uint, 0444);
MODULE_PARM_DESC(max_freeze_ms, "milliseconds after which a migration is taken for over, whatever its host says");

static bool allow_local;
module_param(allow_local, bool, 0444);
MODULE_PARM_DESC(allow_local, "for tests: let processes of this machine use the channel by vsock loopback");

static bool privileged_peer;
module_param(privileged_peer, bool, 0444);
MODULE_PARM_DESC(privileged_peer, "take channel connections from ports below 1024 of the host only");

static const struct mem_hints_entry entry = {
	.owner	= THIS_MODULE,
	.call	= mhint_syscall,
};

static int __init mhint_init(void)
{
	int err;

	ring_notes = clamp(ring_notes, MHINT_RING_NOTES_MIN, MHINT_RING_NOTES_MAX);
	drain_ms = min(drain_ms, MHINT_DRAIN_MS_MAX);
	ready_ms = min(ready_ms, MHINT_READY_MS_MAX);
	walk_ms = min(walk_ms, MHINT_WALK_MS_MAX);
	max_freeze_ms = clamp(max_freeze_ms, MHINT_FREEZE_MS_MIN, MHINT_FREEZE_MS_MAX);

	mhint_events_init(ready_ms);
	err = mhint_registry_init(ring_notes, drain_ms);
	if (err)
		return err;
	err = mhint_snapshot_init(walk_ms);
	if (err)
		goto err_registry;
	err = mhint_sysfs_init();
	if (err)
		goto err_snapshot;
	err = mhint_channel_start(allow_local, privileged_peer, max_freeze_ms);
	if (err)
		goto err_sysfs;
	err = mhint_policy_init();
	if (err)
		goto err_channel;
	/* From here on programs may call in; they hold a reference. */
	err = mhint_kfunc_init();
	if (err)
		goto err_channel;
	/* Last: who has it open already must not see it fail. */
	err = mhint_device_init();
	if (err)
		goto err_channel;
	mhint_held_init();
	mem_hints_register(&entry);
	if (allow_local)
		pr_warn("allow_local is set: any process of this guest can use the channel\n");
	return 0;

err_channel:
	mhint_channel_stop();
err_sysfs:
	mhint_sysfs_exit();
err_snapshot:
	mhint_snapshot_exit();
err_registry:
	mhint_registry_exit();
	return err;
}

/*
 * Not reached while a program that calls us is loaded, the device is open, a
 * migration is under way or a disk has not answered: all hold a reference.
 */
static void __exit mhint_exit(void)
{
	mem_hints_unregister();
	mhint_held_exit();
	mhint_device_exit();
	mhint_channel_stop();
	mhint_sysfs_exit();
	mhint_snapshot_exit();
	mhint_processes_exit();
	mhint_registry_exit();
	mhint_volumes_exit();	/* until now it has asked disks */
}

/* vsock, where it is built in, too, is there by then; a module is loaded at any time */
late_initcall(mhint_init);
module_exit(mhint_exit);

MODULE_DESCRIPTION("Memory hints: which guest page holds which disk block");
MODULE_LICENSE("GPL");
MODULE_SOFTDEP("pre: vsock");
