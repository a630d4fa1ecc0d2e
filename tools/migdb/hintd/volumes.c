// SPDX-License-Identifier: GPL-2.0
/*
 * Maps of logical volumes: what device-mapper does with a sector is not visible to
 * the rest of the kernel, so it is told to mem_hints for all volumes that are made of
 * linear and striped targets only.
 *
 * Nobody says when a table is loaded anew: all are looked at each interval, and told
 * when they have changed.  Until then hints go by the old map; they do not match, which
 * costs the host reads.  Telling opens the volume for a moment, looking does not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/mem_hints.h>

#include "dmtable.h"
#include "hintd.h"

#define DM_REGISTERED	"/sys/class/misc/device-mapper"
#define DM_CONTROL	"/dev/mapper/control"
#define DEVICE		"/dev/mem_hints"

#define BUFFER_FIRST	16384
#define BUFFER_MAX	(16 << 20)

/*
 * What is rarely another answer is asked for that rarely: each try opens the volume,
 * and where mem_hints is full it looks for disks that have gone.
 */
#define LOOKS_WHEN_REFUSED 32

static struct dm_ioctl *buffer;
static size_t buffer_size;

/*
 * What is in @buffer can be a key: a target's line of the table is all that it was made
 * with.  Tables with others than linear and striped are not asked for (see
 * volume_look()), but one can be loaded in between.
 */
static void dm_wipe(void)
{
	if (buffer)
		explicit_bzero(buffer, buffer_size);
}

/* The answer is in @buffer, and what follows the head of it from dm_data() on. */
static int dm_call(int ctl, unsigned long cmd, uint64_t dev, uint32_t flags)
{
	size_t size;
	void *larger;

	for (;;) {
		size = buffer_size ? buffer_size : BUFFER_FIRST;
		if (!buffer) {
			buffer = malloc(size);
			if (!buffer)
				return -ENOMEM;
			buffer_size = size;
		}
		memset(buffer, 0, sizeof(*buffer));
		buffer->version[0] = DM_VERSION_MAJOR;
		buffer->data_size = buffer_size;
		buffer->data_start = sizeof(*buffer);
		buffer->dev = dev;
		buffer->flags = flags;
		if (ioctl(ctl, cmd, buffer))
			return -errno;
		if (!(buffer->flags & DM_BUFFER_FULL_FLAG))
			break;
		if (buffer_size >= BUFFER_MAX)
			return -E2BIG;
		larger = malloc(buffer_size * 4);
		if (!larger)
			return -ENOMEM;
		dm_wipe();
		free(buffer);
		buffer = larger;
		buffer_size *= 4;
	}
	return buffer->data_size > buffer_size ? -EPROTO : 0;
}

/* Where there is none, as of a volume without a table, the size ends before the begin. */
static const char *dm_data(size_t *size)
{
	*size = buffer->data_size > buffer->data_start ? buffer->data_size - buffer->data_start : 0;
	return (const char *)buffer + buffer->data_start;
}

/* Opening its device would load device-mapper where it is not used. */
static int dm_open(void)
{
	if (access(DM_REGISTERED, F_OK))
		return -1;
	return open(DM_CONTROL, O_RDWR | O_CLOEXEC);
}

/* Another number for each disk of a boot: a device number comes again. */
static uint64_t diskseq(uint64_t dev)
{
	char path[64], text[32];
	uint64_t seq = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/diskseq", major(dev), minor(dev));
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(text, sizeof(text), f))
		seq = strtoull(text, NULL, 10);
	fclose(f);
	return seq;
}

/* Open for the call only: mem_hints cannot be unloaded meanwhile. */
static int tell(uint64_t dev, const struct mem_hint_segment *segs, unsigned int nr)
{
	struct mem_hint_segments a = {
		.major = major(dev), .minor = minor(dev), .nr = nr,
		.segments_uptr = (uintptr_t)segs,
	};
	int fd = open(DEVICE, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = ioctl(fd, MEM_HINT_IOC_SEGMENTS, &a) ? -errno : 0;
	close(fd);
	return !nr && err == -ENOENT ? 0 : err;
}

static void explain(struct hintd_volume *v, int err)
{
	switch (err) {
	case -EOPNOTSUPP:
		snprintf(v->why, sizeof(v->why), "what is below is no disk that is hinted");
		break;
	case -EAGAIN:
		snprintf(v->why, sizeof(v->why), "a disk below has not said yet who it is");
		break;
	case -ENODEV:
		snprintf(v->why, sizeof(v->why), "it or a disk below cannot be opened");
		break;
	case -ENOSPC:
		snprintf(v->why, sizeof(v->why), "mem_hints has as many volumes or segments as it can");
		break;
	default:
		snprintf(v->why, sizeof(v->why), "cannot tell mem_hints: %s", strerror(-err));
		break;
	}
}

static void forget(struct hintd_volume *v)
{
	free(v->segs);
	memset(v, 0, sizeof(*v));
}

/* Names may hold anything but "/"; lines of the state may not. */
static void copy_name(char *to, size_t size, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < size - 1 && i < len && from[i]; i++)
		to[i] = (unsigned char)from[i] < 0x20 || from[i] == 0x7f ? '?' : from[i];
	to[i] = 0;
}

static struct hintd_volume *find(struct hintd *d, uint64_t dev)
{
	int i;

	for (i = 0; i < d->nr_volumes; i++)
		if (d->volumes[i].dev == dev)
			return &d->volumes[i];
	if (d->nr_volumes == HINTD_MAX_VOLUMES)
		return NULL;
	d->volumes[d->nr_volumes].dev = dev;
	return &d->volumes[d->nr_volumes++];
}

/* Keeps what is told, so that only what changes is told again. */
static bool changed(const struct hintd_volume *v, uint64_t seq, const struct dmtable *t)
{
	return !v->told || v->diskseq != seq || v->nr != t->nr || v->nr_sectors != t->nr_sectors ||
	       (t->nr && memcmp(v->segs, t->segs, t->nr * sizeof(t->segs[0])));
}

static bool remember(struct hintd_volume *v, uint64_t seq, const struct dmtable *t)
{
	void *segs = NULL;

	if (t->nr) {
		segs = malloc(t->nr * sizeof(t->segs[0]));
		if (!segs)
			return false;
		memcpy(segs, t->segs, t->nr * sizeof(t->segs[0]));
	}
	free(v->segs);
	v->segs = segs;
	v->nr = t->nr;
	v->nr_sectors = t->nr_sectors;
	v->diskseq = seq;
	return true;
}

static void volume_look(int ctl, struct hintd_volume *v)
{
	static struct dmtable t;
	char before[HINTD_WHY_LEN], table_why[HINTD_WHY_LEN] = "";
	bool hinted = v->hinted;
	uint64_t seq;
	size_t size;
	const char *data;
	int err;

	/* before the table: a disk that comes later is looked at again */
	seq = diskseq(v->dev);
	t.nr = 0;
	t.nr_sectors = 0;
	/* the types first: without what the targets were made with */
	err = dm_call(ctl, DM_TABLE_STATUS, v->dev, DM_NOFLUSH_FLAG);
	if (!err) {
		data = dm_data(&size);
		if (dmtable_types(data, size, buffer->target_count, table_why, sizeof(table_why)))
			err = dm_call(ctl, DM_TABLE_STATUS, v->dev,
				      DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG | DM_SECURE_DATA_FLAG);
	}
	if (err == -ENXIO)
		return;		/* it has just gone: not @seen */
	v->seen = true;
	memcpy(before, v->why, sizeof(before));
	if (err) {
		snprintf(table_why, sizeof(table_why), "its table cannot be read: %s", strerror(-err));
	} else if (!*table_why) {
		data = dm_data(&size);
		dmtable_parse(&t, data, size, buffer->target_count, table_why, sizeof(table_why));
		dm_wipe();
	}
	if (!changed(v, seq, &t) && (!t.nr || v->hinted) && !strcmp(table_why, v->why))
		return;
	if (v->wait && !changed(v, seq, &t)) {
		v->wait--;
		return;
	}
	err = remember(v, seq, &t) ? tell(v->dev, v->segs, v->nr) : -ENOMEM;
	v->told = true;
	v->hinted = !err && v->nr;
	v->wait = err == -ENOSPC || err == -EOPNOTSUPP ? LOOKS_WHEN_REFUSED : 0;
	/* what was known before holds no more, whatever the kernel says of the new one */
	if (err && v->nr)
		tell(v->dev, NULL, 0);
	v->why[0] = 0;
	if (*table_why)
		memcpy(v->why, table_why, sizeof(v->why));
	else if (err)
		explain(v, err);
	if (v->hinted)
		say(LOG_INFO_, "volume %s is hinted: %u segment%s, %llu sectors", v->name, v->nr,
		    v->nr > 1 ? "s" : "", v->nr_sectors);
	else if (hinted || strcmp(before, v->why))
		say(LOG_NOTICE_, "volume %s is not hinted: %s", v->name, v->why);
}

/* Those that were not seen are gone; the kernel forgets their maps by itself. */
static void drop_unseen(struct hintd *d)
{
	int i, kept = 0;

	for (i = 0; i < d->nr_volumes; i++) {
		if (!d->volumes[i].seen) {
			forget(&d->volumes[i]);
			continue;
		}
		if (kept != i) {
			d->volumes[kept] = d->volumes[i];
			memset(&d->volumes[i], 0, sizeof(d->volumes[i]));
		}
		kept++;
	}
	d->nr_volumes = kept;
}

/* Fills in the names of all volumes that there are; false: they cannot be listed. */
static bool list_volumes(struct hintd *d, int ctl)
{
	size_t size, at = 0, head = offsetof(struct dm_name_list, name);
	struct dm_name_list n;
	struct hintd_volume *v;
	const char *data;

	if (dm_call(ctl, DM_LIST_DEVICES, 0, 0))
		return false;
	data = dm_data(&size);
	d->more_volumes = false;
	for (; at < size && size - at > head; at += n.next) {
		memcpy(&n, data + at, head);
		if (!n.dev)
			break;	/* there are none */
		v = find(d, n.dev);
		if (v)
			copy_name(v->name, sizeof(v->name), data + at + head, size - at - head);
		else
			d->more_volumes = true;
		if (!n.next)
			break;
	}
	return true;
}

void volumes_refresh(struct hintd *d)
{
	uint64_t module = module_there();
	bool more = d->more_volumes;
	int i, ctl;

	if (!d->config.volumes)
		return;
	if (!module) {		/* nobody has been told of anything */
		for (i = 0; i < d->nr_volumes; i++)
			forget(&d->volumes[i]);
		d->nr_volumes = 0;
		return;
	}
	if (module != d->volumes_module) {	/* this one knows nothing yet */
		for (i = 0; i < d->nr_volumes; i++)
			d->volumes[i].told = d->volumes[i].hinted = false;
		d->volumes_module = module;
	}
	for (i = 0; i < d->nr_volumes; i++)
		d->volumes[i].seen = false;
	ctl = dm_open();
	if (ctl >= 0 && list_volumes(d, ctl))
		for (i = 0; i < d->nr_volumes; i++)
			volume_look(ctl, &d->volumes[i]);
	if (ctl >= 0)
		close(ctl);
	drop_unseen(d);
	if (d->more_volumes && !more)
		say(LOG_WARNING_, "there are more than %d volumes: the others are not hinted", HINTD_MAX_VOLUMES);
}

/* The configuration does not want them any more. */
void volumes_drop(struct hintd *d)
{
	int i;

	for (i = 0; i < d->nr_volumes; i++) {
		if (d->volumes[i].hinted && module_there())
			tell(d->volumes[i].dev, NULL, 0);
		forget(&d->volumes[i]);
	}
	d->nr_volumes = 0;
}
