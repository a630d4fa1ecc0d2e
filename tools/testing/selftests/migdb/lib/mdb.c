// SPDX-License-Identifier: MIT
/* Wrappers of the migdb ioctls.  See mdb.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "mdb.h"
#include "vhost_worker.h"

static int do_ioctl(struct mdb *m, unsigned long cmd, void *arg)
{
	return ioctl(m->fd, cmd, arg) ? -errno : 0;
}

#define CMD(_m, _cmd, _s) ((_s)->size = sizeof(*(_s)), do_ioctl(_m, _cmd, _s))

int mdb_open(struct mdb *m)
{
	*m = MDB_CLOSED;
	m->fd = open(MDB_DEV, O_RDWR | O_CLOEXEC);
	return m->fd < 0 ? -errno : 0;
}

void mdb_close(struct mdb *m)
{
	if (m->map)
		munmap(m->map, m->map_bytes);
	if (m->copy)
		munmap(m->copy, m->copy_bytes);
	if (m->tx >= 0)
		close(m->tx);
	if (m->rx >= 0)
		close(m->rx);
	if (m->map_fd >= 0)
		close(m->map_fd);
	if (m->event >= 0)
		close(m->event);
	if (m->fd >= 0)
		close(m->fd);
	*m = MDB_CLOSED;
}

int mdb_info(struct mdb *m, u64 nr_pages, struct migdb_get_info *info)
{
	*info = (struct migdb_get_info){ .nr_pages = nr_pages };
	return CMD(m, MIGDB_GET_INFO, info);
}

int mdb_set_owner(struct mdb *m)
{
	return do_ioctl(m, VHOST_SET_OWNER, NULL);
}

int mdb_add_worker(struct mdb *m, u32 lanes)
{
	struct vhost_worker_state w = {};
	struct vhost_vring_worker v;
	int rc = do_ioctl(m, VHOST_NEW_WORKER, &w);
	u32 lane;

	for (lane = 0; !rc && lane < MIGDB_NR_LANES; lane++) {
		v = (struct vhost_vring_worker){ .index = lane, .worker_id = w.worker_id };
		if (lanes >> lane & 1)
			rc = do_ioctl(m, VHOST_ATTACH_VRING_WORKER, &v);
	}
	return rc;
}

int mdb_set_two_regions(struct mdb *m, u64 gpa, u64 first, u64 bytes, void *hva)
{
	u64 addr = (u64)(uintptr_t)hva;
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region[2];
	} mem = {
		.head.nregions = first < bytes ? 2 : 1,
		.region = {
			{ gpa, first, addr },
			{ gpa + first, bytes - first, addr + first },
		},
	};

	return do_ioctl(m, VHOST_SET_MEM_TABLE, &mem);
}

int mdb_set_memory(struct mdb *m, u64 gpa, u64 bytes, void *hva)
{
	return mdb_set_two_regions(m, gpa, bytes, bytes, hva);
}

static void set_identity(u8 identity[MIGDB_IDENTITY_BYTES], const char *text)
{
	memset(identity, 0, MIGDB_IDENTITY_BYTES);
	memcpy(identity, text, strnlen(text, MIGDB_IDENTITY_BYTES));
}

int mdb_set_disk(struct mdb *m, u32 disk, int fd, const char *serial)
{
	struct migdb_set_disk s = {
		.disk = disk, .fd = fd, .type = MIGDB_DISK_VIRTIO_SERIAL,
	};

	set_identity(s.identity, serial);
	return CMD(m, MIGDB_SET_DISK, &s);
}

int mdb_set_guest_table(struct mdb *m, u64 root_gpa, u32 guest_disk, const char *serial)
{
	struct migdb_guest_disk d = {
		.guest_disk = guest_disk, .type = MIGDB_DISK_VIRTIO_SERIAL,
	};
	struct migdb_set_guest_table s = {
		.root_gpa = root_gpa, .disks_uptr = (u64)(uintptr_t)&d, .nr_disks = 1,
	};

	set_identity(d.identity, serial);
	return CMD(m, MIGDB_SET_GUEST_TABLE, &s);
}

int mdb_bind_kvm(struct mdb *m, int vm_fd)
{
	struct migdb_bind_kvm s = { .vm_fd = vm_fd };

	return CMD(m, MIGDB_BIND_KVM, &s);
}

int mdb_start(struct mdb *m, u32 role, const u8 uuid[16], const char *label)
{
	struct migdb_start s = { .role = role };
	int rc;

	if (m->event < 0)
		m->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.eventfd = m->event;
	memcpy(s.uuid, uuid, sizeof(s.uuid));
	snprintf((char *)s.label, sizeof(s.label), "%s", label);
	rc = CMD(m, MIGDB_START, &s);
	if (rc)
		return rc;
	m->tx = s.out_tx_fd;
	m->rx = s.out_rx_fd;
	m->map_fd = s.out_map_fd;
	m->nr_pages = s.out_nr_pages;
	fcntl(m->tx, F_SETFL, fcntl(m->tx, F_GETFL) | O_NONBLOCK);
	if (role == MIGDB_ROLE_SOURCE) {
		m->map_bytes = (m->nr_pages + 63) / 64 * 8;
		m->map = mmap(NULL, m->map_bytes, PROT_READ, MAP_SHARED, m->map_fd, 0);
	} else {
		m->map_bytes = m->nr_pages;
		m->map = mmap(NULL, m->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      m->map_fd, 0);
	}
	if (m->map == MAP_FAILED) {
		m->map = NULL;
		return -errno;
	}
	return 0;
}

int mdb_armed(struct mdb *m, u64 first, u64 count)
{
	struct migdb_armed s = { .first = first, .count = count };

	return CMD(m, MIGDB_ARMED, &s);
}

int mdb_snapshot(struct mdb *m, struct migdb_snapshot *out)
{
	return CMD(m, MIGDB_SNAPSHOT, out);
}

int mdb_hash(struct mdb *m, u64 max_pages, u64 *hashed, u64 *left)
{
	struct migdb_hash s = { .max_pages = max_pages };
	int rc = CMD(m, MIGDB_HASH, &s);

	*hashed = s.out_hashed;
	*left = s.out_left;
	return rc;
}

int mdb_dirty(struct mdb *m, u64 first, u64 count, const void *bitmap, u64 *dropped)
{
	struct migdb_dirty s = {
		.first = first, .count = count, .bitmap_uptr = (u64)(uintptr_t)bitmap,
	};
	int rc = CMD(m, MIGDB_DIRTY, &s);

	if (dropped)
		*dropped = s.out_dropped;
	return rc;
}

int mdb_harvest(struct mdb *m, u64 *harvested, u64 *queued)
{
	struct migdb_harvest s = {};
	int rc = CMD(m, MIGDB_HARVEST, &s);

	if (harvested)
		*harvested = s.out_harvested;
	if (queued)
		*queued = s.out_queued;
	return rc;
}

int mdb_dequeue(struct mdb *m, struct migdb_run *runs, u32 max_runs, u64 max_pages,
		u32 *nr_runs, u64 *left)
{
	struct migdb_dequeue s = {
		.runs_uptr = (u64)(uintptr_t)runs, .max_runs = max_runs, .max_pages = max_pages,
	};
	int rc = CMD(m, MIGDB_DEQUEUE, &s);

	*nr_runs = rc ? 0 : s.out_nr_runs;
	*left = s.out_left_pages;
	return rc;
}

int mdb_reclaim(struct mdb *m, u64 *pages)
{
	struct migdb_reclaim s = {};
	int rc = CMD(m, MIGDB_RECLAIM, &s);

	if (pages)
		*pages = s.out_pages;
	return rc;
}

int mdb_take(struct mdb *m, u64 max_pages, struct migdb_take *out)
{
	*out = (struct migdb_take){ .max_pages = max_pages };
	return CMD(m, MIGDB_TAKE, out);
}

int mdb_seal(struct mdb *m, u64 *unconfirmed, u64 *queued)
{
	struct migdb_seal s = {};
	int rc = CMD(m, MIGDB_SEAL, &s);

	if (unconfirmed)
		*unconfirmed = s.out_unconfirmed;
	if (queued)
		*queued = s.out_queued;
	return rc;
}

int mdb_claim(struct mdb *m, u64 first, u64 count)
{
	struct migdb_range s = { .first = first, .count = count };

	return CMD(m, MIGDB_CLAIM, &s);
}

int mdb_drain(struct mdb *m, u64 grace_ns, struct migdb_drain *out)
{
	*out = (struct migdb_drain){ .grace_ns = grace_ns };
	return CMD(m, MIGDB_DRAIN, out);
}

int mdb_hold(struct mdb *m, u64 *missing, u64 *nr_missing)
{
	struct migdb_hold s = { .missing_uptr = (u64)(uintptr_t)missing };
	int rc = CMD(m, MIGDB_HOLD, &s);

	if (rc)
		return rc;
	if (nr_missing)
		*nr_missing = s.out_missing;
	if (!m->copy) {
		m->copy_bytes = s.out_copy_bytes;
		m->copy = mmap(NULL, m->copy_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			       s.out_copy_fd, 0);
		if (m->copy == MAP_FAILED) {
			m->copy = NULL;
			rc = -errno;
		}
	}
	close(s.out_copy_fd);
	return rc;
}

int mdb_postcopy(struct mdb *m, int uffd, u64 *todo)
{
	struct migdb_postcopy s = { .uffd = uffd, .copy_uptr = (u64)(uintptr_t)m->copy };
	int rc = CMD(m, MIGDB_POSTCOPY, &s);

	if (todo)
		*todo = s.out_todo;
	return rc;
}

int mdb_fault(struct mdb *m, const void *addr, u64 deadline_ns, u64 *page)
{
	struct migdb_fault s = { .addr = (u64)(uintptr_t)addr, .deadline_ns = deadline_ns };
	int rc = CMD(m, MIGDB_FAULT, &s);

	if (page)
		*page = s.out_page;
	return rc ? rc : (int)s.out_answer;
}

int mdb_request(struct mdb *m, u64 first, u64 count, u64 *taken)
{
	struct migdb_request s = { .first = first, .count = count };
	int rc = CMD(m, MIGDB_REQUEST, &s);

	if (taken)
		*taken = s.out_taken;
	return rc;
}

int mdb_invalidate(struct mdb *m, u64 first, u64 count)
{
	struct migdb_range s = { .first = first, .count = count };

	return CMD(m, MIGDB_INVALIDATE, &s);
}

int mdb_complete(struct mdb *m, u64 *missing)
{
	struct migdb_complete s = {};
	int rc = CMD(m, MIGDB_COMPLETE, &s);

	if (missing)
		*missing = s.out_missing;
	return rc;
}

int mdb_abort(struct mdb *m, u32 reason)
{
	struct migdb_abort s = { .reason = reason };

	return CMD(m, MIGDB_ABORT, &s);
}

int mdb_stats(struct mdb *m, struct migdb_stats *st)
{
	memset(st, 0, sizeof(*st));
	return CMD(m, MIGDB_STATS, st);
}

const char *mdb_reason_name(u32 reason)
{
	static const char * const names[MIGDB_NR_REASONS] = {
		[MIGDB_REASON_NONE] = "none",
		[MIGDB_REASON_DIRTY] = "dirty",
		[MIGDB_REASON_ZERO] = "zero",
		[MIGDB_REASON_MISMATCH] = "mismatch",
		[MIGDB_REASON_IO_ERROR] = "io_error",
		[MIGDB_REASON_LATE] = "late",
		[MIGDB_REASON_NO_MEMORY] = "no_memory",
		[MIGDB_REASON_NO_DISK] = "no_disk",
		[MIGDB_REASON_TWICE] = "twice",
		[MIGDB_REASON_BAD_RANGE] = "bad_range",
		[MIGDB_REASON_FAULT] = "fault",
		[MIGDB_REASON_INVALIDATED] = "invalidated",
		[MIGDB_REASON_DISABLED] = "disabled",
		[MIGDB_REASON_ABORTED] = "aborted",
		[MIGDB_REASON_BAD_STREAM] = "bad_stream",
		[MIGDB_REASON_FOREIGN_REAPER] = "foreign_reaper",
		[MIGDB_REASON_UNCOVERED] = "uncovered",
		[MIGDB_REASON_UNARMED] = "unarmed",
		[MIGDB_REASON_TAKEN] = "taken",
		[MIGDB_REASON_PRESENT] = "present",
	};

	return reason < MIGDB_NR_REASONS && names[reason] ? names[reason] : "unknown";
}

const char *mdb_state_name(u32 state)
{
	static const char * const names[] = {
		[MIGDB_STATE_INVALID] = "invalid",
		[MIGDB_STATE_IDLE] = "idle",
		[MIGDB_STATE_ARMING] = "arming",
		[MIGDB_STATE_TRACKING] = "tracking",
		[MIGDB_STATE_SEALED] = "sealed",
		[MIGDB_STATE_FILLING] = "filling",
		[MIGDB_STATE_DRAINED] = "drained",
		[MIGDB_STATE_DONE] = "done",
		[MIGDB_STATE_ABORTED] = "aborted",
		[MIGDB_STATE_HELD] = "held",
		[MIGDB_STATE_POSTCOPY] = "postcopy",
	};

	return state < sizeof(names) / sizeof(*names) ? names[state] : "unknown";
}

const char *mdb_take_name(u32 result)
{
	static const char * const names[] = {
		[MIGDB_TAKE_DONE] = "done",
		[MIGDB_TAKE_MET] = "met",
		[MIGDB_TAKE_SOONER] = "sooner",
		[MIGDB_TAKE_AGAIN] = "again",
		[MIGDB_TAKE_LOST] = "lost",
		[MIGDB_TAKE_NO_PEER] = "no_peer",
		[MIGDB_TAKE_OFF] = "off",
	};

	return result < sizeof(names) / sizeof(*names) ? names[result] : "unknown";
}

static int sysfs_open(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/migdb/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

s64 mdb_sysfs_read(const char *name)
{
	char text[64] = "", *end;
	int fd = sysfs_open(name, O_RDONLY);
	ssize_t n;
	s64 value;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	value = strtoll(text, &end, 0);
	return end == text || strcmp(end, "\n") ? -EINVAL : value;
}

int mdb_sysfs_write(const char *name, u64 value)
{
	char text[32];
	int fd = sysfs_open(name, O_WRONLY);
	int len, rc = 0;

	if (fd < 0)
		return fd;
	len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	if (write(fd, text, len) != len)
		rc = -errno;
	close(fd);
	return rc;
}
