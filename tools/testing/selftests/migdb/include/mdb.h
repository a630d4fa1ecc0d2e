/* SPDX-License-Identifier: MIT */
/*
 * Thin wrappers of <linux/migdb.h>, one per ioctl: they fill in @size and
 * return 0 or -errno, so that a caller reads as the sequence of commands.
 *
 * Nothing here keeps state beyond struct mdb; a VMM in another language needs
 * the same dozen lines and no more.
 */
#ifndef MDB_H
#define MDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/migdb.h>

#define MDB_DEV		"/dev/vhost-migdb"
#define MDB_PAGE	4096UL

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

/* One session: one side of one migration. */
struct mdb {
	int fd;			/* the device */
	int tx, rx, map_fd;	/* from MIGDB_START, else -1 */
	int event;		/* eventfd given to MIGDB_START, else -1 */
	u64 nr_pages;
	void *map;		/* source: bitmap, destination: claims */
	size_t map_bytes;
	void *copy;		/* destination: the kernel's, from MIGDB_HOLD on */
	size_t copy_bytes;
};

/* What mdb_close() leaves, and what may be closed any time. */
#define MDB_CLOSED	((struct mdb){ .fd = -1, .tx = -1, .rx = -1, .map_fd = -1, .event = -1 })

/* Set-up.  mdb_open() gives -errno of open(2): ENOENT is "no module". */
int mdb_open(struct mdb *m);
void mdb_close(struct mdb *m);
int mdb_info(struct mdb *m, u64 nr_pages, struct migdb_get_info *info);
int mdb_set_owner(struct mdb *m);
/* One more worker, for these lanes (bits of @lanes; below MIGDB_NR_LANES). */
int mdb_add_worker(struct mdb *m, u32 lanes);
int mdb_set_memory(struct mdb *m, u64 gpa, u64 bytes, void *hva);
/* The same as two regions that touch, @first bytes in the first. */
int mdb_set_two_regions(struct mdb *m, u64 gpa, u64 first, u64 bytes, void *hva);
int mdb_set_disk(struct mdb *m, u32 disk, int fd, const char *serial);
int mdb_set_guest_table(struct mdb *m, u64 root_gpa, u32 guest_disk, const char *serial);
int mdb_bind_kvm(struct mdb *m, int vm_fd);
int mdb_start(struct mdb *m, u32 role, const u8 uuid[16], const char *label);

/* Source. */
int mdb_armed(struct mdb *m, u64 first, u64 count);
int mdb_snapshot(struct mdb *m, struct migdb_snapshot *out);
int mdb_hash(struct mdb *m, u64 max_pages, u64 *hashed, u64 *left);
int mdb_dirty(struct mdb *m, u64 first, u64 count, const void *bitmap, u64 *dropped);
int mdb_harvest(struct mdb *m, u64 *harvested, u64 *queued);
int mdb_dequeue(struct mdb *m, struct migdb_run *runs, u32 max_runs, u64 max_pages,
		u32 *nr_runs, u64 *left);
int mdb_reclaim(struct mdb *m, u64 *pages);
int mdb_take(struct mdb *m, u64 max_pages, struct migdb_take *out);
int mdb_seal(struct mdb *m, u64 *unconfirmed, u64 *queued);

/* Destination. */
int mdb_claim(struct mdb *m, u64 first, u64 count);
int mdb_drain(struct mdb *m, u64 grace_ns, struct migdb_drain *out);

/*
 * Post-copy.  @missing: a bitmap over all pages, or NULL.  mdb_hold() maps what the
 * kernel needs for mdb_postcopy().
 */
int mdb_hold(struct mdb *m, u64 *missing, u64 *nr_missing);
int mdb_postcopy(struct mdb *m, int uffd, u64 *todo);
/* enum migdb_fault_answer, or -errno. */
int mdb_fault(struct mdb *m, const void *addr, u64 deadline_ns, u64 *page);
int mdb_request(struct mdb *m, u64 first, u64 count, u64 *taken);

/* Either. */
int mdb_invalidate(struct mdb *m, u64 first, u64 count);
int mdb_complete(struct mdb *m, u64 *missing);
int mdb_abort(struct mdb *m, u32 reason);
int mdb_stats(struct mdb *m, struct migdb_stats *st);
const char *mdb_reason_name(u32 reason);
const char *mdb_state_name(u32 state);
const char *mdb_take_name(u32 result);

/* The bitmap of a source is the kernel's: read it, never cache it. */
static inline bool mdb_bit(const struct mdb *m, u64 page)
{
	const u64 *words = m->map;

	return __atomic_load_n(&words[page / 64], __ATOMIC_ACQUIRE) >> (page % 64) & 1;
}

static inline u8 mdb_claim_of(const struct mdb *m, u64 page)
{
	return __atomic_load_n((u8 *)m->map + page, __ATOMIC_ACQUIRE);
}

/*
 * The VMM's half of the claim protocol, to be called before a stream page is
 * written: wait while the kernel is in the middle of it (about a microsecond),
 * then take it for ever.  Returns what it was: in post-copy a page that was DONE is
 * there.
 */
static inline u8 mdb_claim_byte(struct mdb *m, u64 page)
{
	u8 *claim = (u8 *)m->map + page;
	u8 seen = __atomic_load_n(claim, __ATOMIC_ACQUIRE);

	for (;;) {
		if (seen == MIGDB_CLAIM_SENT)
			return seen;
		if (seen == MIGDB_CLAIM_BUSY) {
			__builtin_ia32_pause();
			seen = __atomic_load_n(claim, __ATOMIC_ACQUIRE);
			continue;
		}
		if (__atomic_compare_exchange_n(claim, &seen, MIGDB_CLAIM_SENT, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return seen;
	}
}

/* /sys/kernel/migdb/<name>; -errno when it is not there, -EINVAL: it is no number. */
s64 mdb_sysfs_read(const char *name);
int mdb_sysfs_write(const char *name, u64 value);

#endif /* MDB_H */
