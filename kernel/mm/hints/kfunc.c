// SPDX-License-Identifier: GPL-2.0
/*
 * What a BPF program on tp_btf/block_rq_complete calls.
 *
 * The tracepoint comes before the bios are advanced, so their pages and
 * sectors are those of the part that has just completed; bi_sector is counted
 * on the whole disk since the bio was submitted.
 */
#include <linux/bio.h>
#include <linux/blk-crypto.h>
#include <linux/blk-mq.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include "internal.h"

__bpf_kfunc_start_defs();

/**
 * bpf_mhint_note_rq - note what the pages of a completed request hold
 * @rq: the request, as given to block_rq_complete
 * @nr_bytes: as given to block_rq_complete
 * @flags: 0
 *
 * To be called only if the tracepoint's error is 0.  Does not sleep or
 * allocate; its time grows with @nr_bytes.
 *
 * Context: hard IRQ, soft IRQ or task, under RCU.
 *
 * Return: frames noted; -EINVAL: unknown @flags; -EOPNOTSUPP: neither a read
 * nor a write of data; -ENODEV: a disk that is never hinted; -ENOSPC: too many
 * disks; -ESHUTDOWN: hints are disabled.
 */
__bpf_kfunc int bpf_mhint_note_rq(struct request *rq, unsigned int nr_bytes,
				  u64 flags)
{
	struct mhint_counts delta = {};
	struct mhint_io io = {};
	struct gendisk *disk;
	int id;

	if (flags)
		return -EINVAL;
	if (!mhint_enabled())
		return -ESHUTDOWN;
	if (!rq->bio || (req_op(rq) != REQ_OP_READ && req_op(rq) != REQ_OP_WRITE))
		return -EOPNOTSUPP;
	/* Encrypted by the device: the disk holds something else. */
	if (bio_has_crypt_ctx(rq->bio))
		return -EOPNOTSUPP;
	/* cleared when the disk goes */
	disk = READ_ONCE(rq->q->disk);
	if (!disk)
		return -ENODEV;

	id = mhint_disk_find(disk, &io.known);
	if (id < 0)
		return id;
	io.disk = id;
	io.read = req_op(rq) == REQ_OP_READ;
	if (!io.known && !io.read)
		return 0;
	mhint_note(&io, rq->bio, min(nr_bytes, blk_rq_bytes(rq)), &delta);
	return delta.noted;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(mhint_kfunc_ids)
BTF_ID_FLAGS(func, bpf_mhint_note_rq, KF_TRUSTED_ARGS)
BTF_KFUNCS_END(mhint_kfunc_ids)

static const struct btf_kfunc_id_set mhint_kfunc_set = {
	.owner	= THIS_MODULE,
	.set	= &mhint_kfunc_ids,
};

/* There is no way back: the set goes with the module's BTF. */
int mhint_kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &mhint_kfunc_set);
}
