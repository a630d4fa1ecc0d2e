// SPDX-License-Identifier: GPL-2.0
/*
 * Who a disk is.
 *
 * The identity by which SCSI and NVMe disks go is what ->get_unique_id() says: a
 * call of the block layer's, for whoever has the disk open.
 *
 * The serial of a virtio disk is only in sysfs, as an attribute of the driver's, and
 * is asked for by the attribute's ->show() itself: a kernel thread cannot be sure of
 * a mounted sysfs.  A reader by sysfs would hold off device_del() meanwhile (the
 * kernfs active reference).  We have the disk open instead, and for virtio_blk that
 * is as good:
 *
 * - An open disk holds a reference of the driver's module, so the attribute and its
 *   function stay, and of the gendisk, so the device and the driver's struct stay
 *   (it is freed by ->free_disk()).
 * - What else ->show() uses, the virtqueues, it uses for a request.  del_gendisk()
 *   comes before the driver takes them away; it waits for requests that have been
 *   begun, and none can be begun afterwards (-ENODEV: the disk owns its queue,
 *   which stays dying).
 *
 * That is so for virtio_blk, so it is asked of its disks and of no others, whatever
 * attributes they have.
 *
 * What an open disk does not keep is its parent device: device_del() lets go of that,
 * and leaves the pointer as it is.  So that is looked at while the disk is live and
 * its open_mutex held, which del_gendisk() takes, and marks the disk as not live,
 * before it gets there.  A live disk's parent is not deleted either, as its driver's
 * remove() comes first: so it has its own parent.
 */
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/gfp.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/virtio.h>
#include <linux/virtio_ids.h>

#include "ident.h"
#include "internal.h"

/*
 * What a disk sits on.
 * @virtio_blk: it is one of that driver's.
 * @function: the PCI function that it alone sits on, directly or as its virtio
 *	device; empty: none.
 */
struct place {
	bool virtio_blk;
	char function[MEM_HINT_IDENTITY_LEN];
};

/* The bus is not exported; its name is nobody else's. */
static bool is_virtio(const struct device *dev)
{
	return dev && dev->bus && !strcmp(dev->bus->name, "virtio");
}

/* Return: false: the disk is being removed. */
static bool get_place(struct gendisk *disk, struct place *p)
{
	struct device *dev;
	bool live;

	mutex_lock(&disk->open_mutex);
	live = disk_live(disk);
	dev = live ? disk_to_dev(disk)->parent : NULL;
	if (is_virtio(dev)) {
		p->virtio_blk = dev_to_virtio(dev)->id.device == VIRTIO_ID_BLOCK;
		dev = dev->parent;
	}
	if (dev && dev_is_pci(dev))
		strscpy(p->function, dev_name(dev));
	mutex_unlock(&disk->open_mutex);
	return live;
}

static struct device_attribute *disk_attr(struct gendisk *disk, const char *name)
{
	const struct attribute_group **group = disk_to_dev(disk)->groups;
	struct attribute **attr;

	for (; group && *group; group++)
		for (attr = (*group)->attrs; attr && *attr; attr++)
			if (!strcmp((*attr)->name, name))
				return container_of(*attr, struct device_attribute, attr);
	return NULL;
}

/* Of a disk of virtio_blk. */
static int disk_serial(struct gendisk *disk, struct mhint_ident *ident)
{
	struct device_attribute *attr;
	int err = -ENODATA;
	ssize_t len;
	char *page;

	attr = disk_attr(disk, "serial");
	if (!attr || !attr->show)
		return err;
	page = (char *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	len = attr->show(disk_to_dev(disk), attr, page);
	if (len > 0)
		err = mhint_ident_text(ident, MEM_HINT_DISK_VIRTIO_SERIAL, page, len);
	free_page((unsigned long)page);
	return err;
}

static int disk_unique_id(struct gendisk *disk, struct mhint_ident *ident)
{
	static const struct {
		enum blk_unique_id type;
		const char *prefix;
	} kinds[] = {
		{ BLK_UID_NAA, "naa." },
		{ BLK_UID_EUI64, "eui." },
		{ BLK_UID_T10, "t10." },
	};
	bool scsi = !strncmp(disk->disk_name, "sd", 2);
	u8 bytes[16];
	int i, len;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		len = disk->fops->get_unique_id(disk, bytes, kinds[i].type);
		if (len <= 0 || len > sizeof(bytes))
			continue;
		if (scsi)
			return mhint_ident_hex(ident, MEM_HINT_DISK_SCSI_WWID,
					       kinds[i].prefix, bytes, len);
		return mhint_ident_hex(ident, MEM_HINT_DISK_NVME_NGUID, "",
				       bytes, len);
	}
	return -ENODATA;
}

/**
 * mhint_disk_identify - ask a disk who it is
 * @disk: the caller has it open
 * @ident: the answer
 *
 * Context: may take as long as the disk does.
 *
 * Return: 0; -ENODATA: it has no identity; -E2BIG: its identity is too long;
 * -ENODEV: it is being removed.
 */
int mhint_disk_identify(struct gendisk *disk, struct mhint_ident *ident)
{
	struct place place = {};
	int err = -ENODATA;

	if (!get_place(disk, &place))
		return -ENODEV;
	if (disk->fops->get_unique_id)
		err = disk_unique_id(disk, ident);
	else if (place.virtio_blk)
		err = disk_serial(disk, ident);
	if (err && place.function[0])
		err = mhint_ident_text(ident, MEM_HINT_DISK_PCI, place.function,
				       sizeof(place.function));
	return err;
}
