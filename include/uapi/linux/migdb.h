/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * migdb: live migration that rebuilds pages from shared storage.
 *
 * One open of /dev/vhost-migdb is one session: one side of one migration of one
 * VM.  The session is a vhost device: VHOST_SET_OWNER binds it to the calling
 * process and starts its worker, VHOST_SET_MEM_TABLE tells where guest memory
 * is; the vhost worker ioctls (VHOST_NEW_WORKER, VHOST_ATTACH_VRING_WORKER, ...)
 * spread its MIGDB_NR_LANES lanes over several workers.  Vring and log ioctls
 * are refused with ENOTTY.
 *
 * General ioctl format
 * --------------------
 * Every MIGDB_* ioctl takes a struct that begins with
 *
 *	__u32 size;	size of the struct that the caller was built with
 *	__u32 flags;	0, or bits that the command defines
 *
 * The struct may grow: a kernel that knows less refuses a longer struct only if
 * what it does not know is not zero (E2BIG); a kernel that knows more reads the
 * missing tail as zero.  Ioctl numbers do not change when a struct grows.
 *
 * What an errno means, for all of them:
 *
 *	ENOTTY		no such command
 *	E2BIG		the struct is longer than the kernel knows and not zero there
 *	EOPNOTSUPP	an unknown flag or value of an enum, or a kind of object
 *			(disk, VM, memory) that cannot be used
 *	EINVAL		size too small, reserved field not zero, bad range
 *	EBUSY		not in this state (see enum migdb_state), or still in use
 *	EFAULT		bad user pointer
 *	EBADF		bad file descriptor
 *	EPERM		the caller is not the owner's process
 *	ENOMEM		no memory, or the memcg refused it; nothing was changed
 *	ECANCELED	the session was aborted; send all pages whose bit is set
 *
 * A failed command changes nothing unless it says so.
 *
 * Page index
 * ----------
 * Bitmaps, claims and ranges are indexed by page: the regions of the memory
 * table, sorted by guest address, laid end to end, in 4 KiB pages.  A VMM that
 * has one region from guest address 0 on has index = gfn.
 *
 * Which thread, what beside it: ioctls of one session may run in any thread of
 * the owner's process and beside each other; they are serialised inside where
 * it matters.  None waits for storage; MIGDB_HASH and MIGDB_SNAPSHOT touch
 * guest memory and may sleep for its page faults.
 */
#ifndef _UAPI_LINUX_MIGDB_H
#define _UAPI_LINUX_MIGDB_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MIGDB_ABI_VERSION	1
#define MIGDB_TYPE		0xBC
#define MIGDB_PAGE_SHIFT	12
#define MIGDB_MAX_DISKS		127	/* ids 0..126, as in the hint table */
#define MIGDB_IDENTITY_BYTES	64
#define MIGDB_LABEL_BYTES	64
#define MIGDB_UUID_BYTES	16
#define MIGDB_MAX_FRAME_BYTES	65536
#define MIGDB_NR_LANES		4
#define MIGDB_MAX_REASONS	32	/* room in structs; see enum migdb_reason */

/**
 * enum migdb_state - where a session stands
 * @MIGDB_STATE_INVALID: never
 * @MIGDB_STATE_IDLE: set-up: owner, memory, disks, guest table, VM
 * @MIGDB_STATE_ARMING: source: memory is allocated; MIGDB_ARMED, then SNAPSHOT
 * @MIGDB_STATE_TRACKING: source: pages are hashed, dropped when written to
 * @MIGDB_STATE_SEALED: source: guest stopped, last revokes are in the stream
 * @MIGDB_STATE_FILLING: destination: records come in, pages are built
 * @MIGDB_STATE_DRAINED: destination: no page will be built any more
 * @MIGDB_STATE_DONE: the migration is complete
 * @MIGDB_STATE_ABORTED: ordinary migration from here on
 * @MIGDB_STATE_HELD: destination: nothing is written until it is known how
 * @MIGDB_STATE_POSTCOPY: destination: the guest may run; pages are placed atomically
 *
 * ::
 *
 *	IDLE --START(source)--> ARMING --SNAPSHOT--> TRACKING --SEAL--> SEALED
 *	IDLE --START(dest)----> FILLING --DRAIN--> DRAINED
 *	                        FILLING --HOLD--> HELD --POSTCOPY--> POSTCOPY
 *	                                          HELD --DRAIN--> DRAINED
 *	SEALED --COMPLETE--> DONE          DRAINED, POSTCOPY --COMPLETE--> DONE
 *	any but IDLE, DONE --ABORT, error--> ABORTED
 *
 * - IDLE -> ARMING, FILLING: all that depends on the size of the guest is
 *   allocated here.  From here on the memory table cannot change.
 * - ARMING -> TRACKING: the hint table is read once; what it names and what is
 *   armed becomes the construct set.
 * - TRACKING -> SEALED: allowed only with the guest stopped (checked when a VM is
 *   bound) and after the last dirty log has been handed in.
 * - SEALED -> DONE: the source has nothing left in its send queue, and every recorded
 *   page of the set is confirmed.
 * - FILLING -> DRAINED: what was not built by then is on the return list.
 * - DRAINED -> DONE: every recorded page was built here or sent; otherwise
 *   COMPLETE fails, and the guest must not be started.
 * - FILLING -> HELD: the source stands still and its end mark is here.  No fill is in
 *   flight, none begins: the VMM takes out of memory what must not be seen.
 * - HELD -> POSTCOPY: missing pages are the userfaultfd's from here on, and so is
 *   every way to write one.
 * - HELD -> DRAINED: as from FILLING: no post-copy after all.
 * - POSTCOPY -> DONE: as from DRAINED; the guest runs meanwhile.
 * - any -> ABORTED: never loses a page: on the source every set bit of the
 *   construct-target bitmap means "skipped: send it", on the destination all
 *   that was not built is RETURNED and COMPLETE still checks that it was sent.
 *
 * There is no arc back: a new attempt is a new open.
 */
enum migdb_state {
	MIGDB_STATE_INVALID = 0,
	MIGDB_STATE_IDLE = 1,
	MIGDB_STATE_ARMING = 2,
	MIGDB_STATE_TRACKING = 3,
	MIGDB_STATE_SEALED = 4,
	MIGDB_STATE_FILLING = 5,
	MIGDB_STATE_DRAINED = 6,
	MIGDB_STATE_DONE = 7,
	MIGDB_STATE_ABORTED = 8,
	MIGDB_STATE_HELD = 9,
	MIGDB_STATE_POSTCOPY = 10,
};

enum migdb_role {
	MIGDB_ROLE_INVALID = 0,
	MIGDB_ROLE_SOURCE = 1,
	MIGDB_ROLE_DEST = 2,
};

/**
 * enum migdb_tag_alg - keyed hash that proves a built page
 * @MIGDB_TAG_DEFAULT: let the kernel choose; the stream header names the choice
 * @MIGDB_TAG_SIPHASH24: SipHash-2-4, 64 bits
 */
enum migdb_tag_alg {
	MIGDB_TAG_DEFAULT = 0,
	MIGDB_TAG_SIPHASH24 = 1,
};

/**
 * enum migdb_disk_type - how a disk is named, same on guest and host
 * @MIGDB_DISK_INVALID: refused
 * @MIGDB_DISK_VIRTIO_SERIAL: serial of a virtio-blk disk, text; the guest sees at
 *	most 20 bytes of it
 * @MIGDB_DISK_SCSI_WWID: "naa.", "eui." or "t10." and hex digits
 * @MIGDB_DISK_NVME_NGUID: 32 (NGUID) or 16 (EUI-64) hex digits
 * @MIGDB_DISK_PCI_ADDRESS: "dddd:bb:dd.f", as the guest sees it
 */
enum migdb_disk_type {
	MIGDB_DISK_INVALID = 0,
	MIGDB_DISK_VIRTIO_SERIAL = 1,
	MIGDB_DISK_SCSI_WWID = 2,
	MIGDB_DISK_NVME_NGUID = 3,
	MIGDB_DISK_PCI_ADDRESS = 4,
};

/**
 * enum migdb_reason - why a page is not built, or a session is ordinary
 * @MIGDB_REASON_NONE: no reason: it is built, or not ordinary
 * @MIGDB_REASON_DIRTY: written to after it was recorded
 * @MIGDB_REASON_ZERO: all zero: cheaper to send
 * @MIGDB_REASON_MISMATCH: the block is not what the page holds
 * @MIGDB_REASON_IO_ERROR: read failed or was short
 * @MIGDB_REASON_LATE: not fetched by the end
 * @MIGDB_REASON_NO_MEMORY: no memory, or the memcg refused it
 * @MIGDB_REASON_NO_DISK: disk unknown here, or block past its end
 * @MIGDB_REASON_TWICE: a record for a page already spoken for
 * @MIGDB_REASON_BAD_RANGE: not inside a region of this side
 * @MIGDB_REASON_FAULT: guest memory could not be read or written
 * @MIGDB_REASON_INVALIDATED: balloon, unplug, discard
 * @MIGDB_REASON_DISABLED: sysfs "enabled" was set to 0
 * @MIGDB_REASON_ABORTED: MIGDB_ABORT, or the other side gave up
 * @MIGDB_REASON_BAD_STREAM: corrupt, cut or foreign stream
 * @MIGDB_REASON_FOREIGN_REAPER: somebody else reset the dirty ring
 * @MIGDB_REASON_UNCOVERED: dirty page outside the memory table
 * @MIGDB_REASON_UNARMED: not armed when it was to be hashed
 * @MIGDB_REASON_TAKEN: the link had nothing else to do (MIGDB_TAKE)
 * @MIGDB_REASON_PRESENT: post-copy: something was there already, and nobody knows what
 * @MIGDB_NR_REASONS: number of values
 *
 * Part of the stream and of the statistics; new values are added at the end.
 */
enum migdb_reason {
	MIGDB_REASON_NONE = 0,
	MIGDB_REASON_DIRTY = 1,
	MIGDB_REASON_ZERO = 2,
	MIGDB_REASON_MISMATCH = 3,
	MIGDB_REASON_IO_ERROR = 4,
	MIGDB_REASON_LATE = 5,
	MIGDB_REASON_NO_MEMORY = 6,
	MIGDB_REASON_NO_DISK = 7,
	MIGDB_REASON_TWICE = 8,
	MIGDB_REASON_BAD_RANGE = 9,
	MIGDB_REASON_FAULT = 10,
	MIGDB_REASON_INVALIDATED = 11,
	MIGDB_REASON_DISABLED = 12,
	MIGDB_REASON_ABORTED = 13,
	MIGDB_REASON_BAD_STREAM = 14,
	MIGDB_REASON_FOREIGN_REAPER = 15,
	MIGDB_REASON_UNCOVERED = 16,
	MIGDB_REASON_UNARMED = 17,
	MIGDB_REASON_TAKEN = 18,
	MIGDB_REASON_PRESENT = 19,
	MIGDB_NR_REASONS = 20,
};

enum {
	MIGDB_CMD_BASE = 0x80,
	MIGDB_CMD_GET_INFO = MIGDB_CMD_BASE,
	MIGDB_CMD_SET_DISK,
	MIGDB_CMD_SET_GUEST_TABLE,
	MIGDB_CMD_BIND_KVM,
	MIGDB_CMD_START,
	MIGDB_CMD_ARMED,
	MIGDB_CMD_SNAPSHOT,
	MIGDB_CMD_HASH,
	MIGDB_CMD_DIRTY,
	MIGDB_CMD_HARVEST,
	MIGDB_CMD_INVALIDATE,
	MIGDB_CMD_DEQUEUE,
	MIGDB_CMD_RECLAIM,
	MIGDB_CMD_SEAL,
	MIGDB_CMD_CLAIM,
	MIGDB_CMD_DRAIN,
	MIGDB_CMD_COMPLETE,
	MIGDB_CMD_ABORT,
	MIGDB_CMD_STATS,
	MIGDB_CMD_TAKE,
	MIGDB_CMD_HOLD,
	MIGDB_CMD_POSTCOPY,
	MIGDB_CMD_FAULT,
	MIGDB_CMD_REQUEST,
	MIGDB_CMD_END,
};

/**
 * struct migdb_get_info - ioctl(MIGDB_GET_INFO)
 * @size: sizeof(struct migdb_get_info)
 * @flags: must be 0
 * @nr_pages: in: guest pages for which to compute the memory need, or 0
 * @out_abi_version: MIGDB_ABI_VERSION of the running kernel
 * @out_state: enum migdb_state
 * @out_features: MIGDB_FEATURE_*
 * @out_tag_algs: bit n: enum migdb_tag_alg n is there
 * @out_page_bytes: size of a page of the index, 4096
 * @out_source_need_bytes: kernel memory of a source session of @nr_pages
 * @out_dest_need_bytes: the same for a destination, all pages recorded
 * @out_enabled: sysfs "enabled"
 * @__reserved: 0
 *
 * Works in every state and before VHOST_SET_OWNER.  Errors: general ones.
 */
struct migdb_get_info {
	__u32 size;
	__u32 flags;
	__aligned_u64 nr_pages;
	__u32 out_abi_version;
	__u32 out_state;
	__aligned_u64 out_features;
	__aligned_u64 out_tag_algs;
	__aligned_u64 out_page_bytes;
	__aligned_u64 out_source_need_bytes;
	__aligned_u64 out_dest_need_bytes;
	__u32 out_enabled;
	__u32 __reserved;
};

#define MIGDB_FEATURE_RING	(1ULL << 0)	/* MIGDB_BIND_KVM, MIGDB_HARVEST */
#define MIGDB_FEATURE_TAKE	(1ULL << 1)	/* MIGDB_TAKE */
#define MIGDB_FEATURE_POSTCOPY	(1ULL << 2)	/* MIGDB_HOLD, MIGDB_POSTCOPY, MIGDB_FAULT */

#define MIGDB_GET_INFO _IO(MIGDB_TYPE, MIGDB_CMD_GET_INFO)

/**
 * struct migdb_set_disk - ioctl(MIGDB_SET_DISK)
 * @size: sizeof(struct migdb_set_disk)
 * @flags: must be 0
 * @disk: 0..MIGDB_MAX_DISKS-1; setting one again replaces it
 * @fd: regular file or block device with the raw bytes of the guest's disk, or
 *	-1 to take the disk out
 * @type: enum migdb_disk_type
 * @__reserved: must be 0
 * @identity: as the guest sees it, NUL-padded; not empty, not used twice
 * @out_capacity_bytes: size that was found; blocks past it are never read
 *
 * State IDLE.  The file must be open for reading with O_DIRECT and really do
 * direct I/O at 4 KiB granularity.  Errors besides the general ones: EOPNOTSUPP
 * (not a file or block device; FUSE; direct I/O absent or falling back to the
 * page cache), EACCES (not open for reading), EINVAL (not O_DIRECT; empty
 * identity), EEXIST (identity in use).
 */
struct migdb_set_disk {
	__u32 size;
	__u32 flags;
	__u32 disk;
	__s32 fd;
	__u32 type;
	__u32 __reserved;
	__u8 identity[MIGDB_IDENTITY_BYTES];
	__aligned_u64 out_capacity_bytes;
};

#define MIGDB_SET_DISK _IO(MIGDB_TYPE, MIGDB_CMD_SET_DISK)

/**
 * struct migdb_guest_disk - one disk of the guest's announcement
 * @guest_disk: its number in hint table entries
 * @type: enum migdb_disk_type
 * @identity: NUL-padded
 */
struct migdb_guest_disk {
	__u32 guest_disk;
	__u32 type;
	__u8 identity[MIGDB_IDENTITY_BYTES];
};

/**
 * struct migdb_set_guest_table - ioctl(MIGDB_SET_GUEST_TABLE)
 * @size: sizeof(struct migdb_set_guest_table)
 * @flags: must be 0
 * @root_gpa: guest address of the hint table's root page
 * @disks_uptr: array of struct migdb_guest_disk
 * @nr_disks: its length, at most MIGDB_MAX_DISKS
 * @out_nr_matched: how many of them are disks of MIGDB_SET_DISK
 *
 * State IDLE, after MIGDB_SET_DISK.  Nothing that the guest says is trusted:
 * the table is read and checked by MIGDB_SNAPSHOT.  A guest disk that matches
 * none of the session's is ignored, and so is the number 127, which the table has
 * bits for and no disk should have.  Errors: EINVAL also for @root_gpa not
 * 4 KiB-aligned, a number that is above 127 or given twice, and an identity that
 * MIGDB_SET_DISK would refuse: leave such disks of the guest out.
 */
struct migdb_set_guest_table {
	__u32 size;
	__u32 flags;
	__aligned_u64 root_gpa;
	__aligned_u64 disks_uptr;
	__u32 nr_disks;
	__u32 out_nr_matched;
};

#define MIGDB_SET_GUEST_TABLE _IO(MIGDB_TYPE, MIGDB_CMD_SET_GUEST_TABLE)

/**
 * struct migdb_bind_kvm - ioctl(MIGDB_BIND_KVM)
 * @size: sizeof(struct migdb_bind_kvm)
 * @flags: must be 0
 * @vm_fd: KVM VM of the calling process, with a dirty ring
 * @__reserved: must be 0
 *
 * State IDLE; source only.  From START on migdb is the only consumer of the
 * VM's dirty rings: the VMM neither reads them nor calls KVM_RESET_DIRTY_RINGS,
 * it calls MIGDB_HARVEST each round and whenever a vCPU exits with
 * KVM_EXIT_DIRTY_RING_FULL.  A reset by anybody else aborts the session
 * (MIGDB_REASON_FOREIGN_REAPER).
 *
 * Ring entries name memory slots by number.  To change any slot
 * (KVM_SET_USER_MEMORY_REGION) between MIGDB_ARMED and the end: take all vCPUs out
 * of KVM_RUN, MIGDB_HARVEST, change, MIGDB_HARVEST.  Slots that do not log then, and
 * entries of which it is not certain that they are of the present slots, abort the
 * session (MIGDB_REASON_UNCOVERED).
 *
 * After an abort, or close, the rings are the VMM's again.  migdb has moved KVM's own
 * position in each of them and cannot move the VMM's: the entries that are left are
 * one run per ring, which begins at the first dirty entry behind one that is not.
 *
 * Errors: EOPNOTSUPP (fd is no KVM VM, no dirty ring, guest_memfd or encrypted
 * guest, KVM_DIRTY_LOG_INITIALLY_SET), EPERM (a VM of another process), EBUSY
 * (another session has it).
 */
struct migdb_bind_kvm {
	__u32 size;
	__u32 flags;
	__s32 vm_fd;
	__u32 __reserved;
};

#define MIGDB_BIND_KVM _IO(MIGDB_TYPE, MIGDB_CMD_BIND_KVM)

/**
 * struct migdb_start - ioctl(MIGDB_START)
 * @size: sizeof(struct migdb_start)
 * @flags: must be 0
 * @role: enum migdb_role
 * @tag_alg: enum migdb_tag_alg (source; the destination takes the header's)
 * @eventfd: signalled when the stream becomes readable or the session aborts, or -1
 * @__reserved: must be 0
 * @uuid: of this migration attempt (source; not zero)
 * @label: names the VM in the log: NUL-terminated, 1..MIGDB_LABEL_BYTES-1 printable
 *	ASCII characters, none of them a blank, quote ("), slash or backslash
 * @out_nr_pages: length of bitmap and claims
 * @out_tx_fd: read(2) yields what the VMM carries to the other side
 * @out_rx_fd: write(2) takes what the VMM received from the other side
 * @out_map_fd: mmap(2): source: construct-target bitmap, one bit per page,
 *	little-endian, PROT_READ only; destination: claims, one byte per page
 * @__reserved2: 0
 *
 * State IDLE, after VHOST_SET_OWNER and VHOST_SET_MEM_TABLE.  Allocates all that
 * depends on the size of the guest, or fails with ENOMEM and changes nothing.
 * Errors: EPERM (no owner), EINVAL (no memory table, overlapping or unaligned
 * regions, @label not as above, @uuid of a source all zero, a destination with a
 * bound VM, more than 16 TiB), E2BIG (more than 64 regions), ENOMEM (also: all sessions
 * together would take more than half of the host's memory), EUSERS (sysfs
 * "max_sessions" reached), ENODEV (sysfs "enabled" is 0: make an ordinary migration).
 *
 * read(2) on @out_tx_fd returns whole frames of at most MIGDB_MAX_FRAME_BYTES
 * each, as many as fit.  When there are none it waits, or returns EAGAIN if the VMM
 * has set O_NONBLOCK by fcntl(2); 0 when the session is closed, ENOMEM when there is
 * no memory now, EMSGSIZE when the next one does not fit.  write(2) on @out_rx_fd takes whole
 * frames; EBADMSG (nothing is to be believed any more, the session is aborted)
 * for a frame that is cut, corrupt, of another attempt or out of order.
 */
struct migdb_start {
	__u32 size;
	__u32 flags;
	__u32 role;
	__u32 tag_alg;
	__s32 eventfd;
	__u32 __reserved;
	__u8 uuid[MIGDB_UUID_BYTES];
	__u8 label[MIGDB_LABEL_BYTES];
	__aligned_u64 out_nr_pages;
	__s32 out_tx_fd;
	__s32 out_rx_fd;
	__s32 out_map_fd;
	__u32 __reserved2;
};

#define MIGDB_START _IO(MIGDB_TYPE, MIGDB_CMD_START)

/**
 * struct migdb_armed - ioctl(MIGDB_ARMED)
 * @size: sizeof(struct migdb_armed)
 * @flags: must be 0
 * @first: first page index
 * @count: pages
 *
 * States ARMING, TRACKING.  The VMM states that every dirty log (KVM's, its own
 * DMA, vhost, vhost-user, VFIO) is on and was cleared for these pages, that no
 * unlogged write begun earlier can still land, and that what the logs held
 * before was kept as "send".  With a bound VM the kernel checks KVM's part.
 * Errors: EOPNOTSUPP (a slot of the bound VM does not log, or can be private), EBUSY
 * also while its slots are being changed.
 */
struct migdb_armed {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
};

#define MIGDB_ARMED _IO(MIGDB_TYPE, MIGDB_CMD_ARMED)

/**
 * struct migdb_snapshot - ioctl(MIGDB_SNAPSHOT)
 * @size: sizeof(struct migdb_snapshot)
 * @flags: must be 0
 * @exclude_uptr: bitmap over all pages, set bit: already sent, leave it out; or 0
 * @out_candidates: pages of the construct set
 * @out_bad_entries: table entries refused: disk unknown, block past its end,
 *	page outside the memory table
 * @out_table_bytes: guest memory read
 *
 * State ARMING.  Reads the hint table and sets the bits of all armed pages that
 * it names; from its return on the VMM need not send a page whose bit is set.
 * Errors: ENOENT (no MIGDB_SET_GUEST_TABLE, or no table at its address), EBUSY
 * (no page was armed).
 */
struct migdb_snapshot {
	__u32 size;
	__u32 flags;
	__aligned_u64 exclude_uptr;
	__aligned_u64 out_candidates;
	__aligned_u64 out_bad_entries;
	__aligned_u64 out_table_bytes;
};

#define MIGDB_SNAPSHOT _IO(MIGDB_TYPE, MIGDB_CMD_SNAPSHOT)

/**
 * struct migdb_hash - ioctl(MIGDB_HASH)
 * @size: sizeof(struct migdb_hash)
 * @flags: must be 0
 * @max_pages: stop after so many
 * @out_hashed: pages hashed by this call; 0 with @out_left not 0: read the stream,
 *	and call again
 * @out_left: candidates not yet looked at
 *
 * State TRACKING.  Hashes the next candidates in disk order and puts their
 * records into the stream.  A candidate that cannot be used (zero, unreadable)
 * goes to the send queue.  Reads the hint table once at most per call; an abort ends
 * it early (ECANCELED).
 */
struct migdb_hash {
	__u32 size;
	__u32 flags;
	__aligned_u64 max_pages;
	__aligned_u64 out_hashed;
	__aligned_u64 out_left;
};

#define MIGDB_HASH _IO(MIGDB_TYPE, MIGDB_CMD_HASH)

/**
 * struct migdb_dirty - ioctl(MIGDB_DIRTY)
 * @size: sizeof(struct migdb_dirty)
 * @flags: must be 0
 * @first: page index of the bitmap's first bit, a multiple of 64
 * @count: bits
 * @bitmap_uptr: the VMM's merged bitmap, set bit: written to, the VMM sends it
 * @out_dropped: pages that left the set by this call
 *
 * States ARMING, TRACKING.  Called after each round's log read and *before* the
 * pages of that round are copied.  Pages dropped are the VMM's to send; they do
 * not enter the send queue.
 */
struct migdb_dirty {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
	__aligned_u64 bitmap_uptr;
	__aligned_u64 out_dropped;
};

#define MIGDB_DIRTY _IO(MIGDB_TYPE, MIGDB_CMD_DIRTY)

/**
 * struct migdb_harvest - ioctl(MIGDB_HARVEST)
 * @size: sizeof(struct migdb_harvest)
 * @flags: must be 0
 * @out_harvested: ring entries consumed
 * @out_queued: pages that entered the send queue
 *
 * States ARMING, TRACKING, with a bound VM.  Takes all that is in the dirty rings
 * of the vCPUs when it is called: pages leave the set and enter the send queue, the
 * rings are reset and the TLBs flushed before it returns; only then may the pages
 * be copied.
 * Errors: EOPNOTSUPP (no bound VM), ESTALE (foreign reaper: the session is aborted),
 * ECANCELED (the session is aborted: it was, or now is because a page was written to
 * that is not in the memory table, or slots do not log, MIGDB_REASON_UNCOVERED), EINTR
 * (killed; there is more).  After ESTALE and ECANCELED the entries that it has not
 * taken, that page's among them, are still dirty in the rings, and the VMM's.
 */
struct migdb_harvest {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_harvested;
	__aligned_u64 out_queued;
};

#define MIGDB_HARVEST _IO(MIGDB_TYPE, MIGDB_CMD_HARVEST)

/**
 * struct migdb_range - ioctl(MIGDB_INVALIDATE), ioctl(MIGDB_CLAIM)
 * @size: sizeof(struct migdb_range)
 * @flags: must be 0
 * @first: first page index
 * @count: pages
 *
 * MIGDB_INVALIDATE: the content of these pages changes, or changed, without a
 * dirty bit (balloon, unplug, discard).  Source (ARMING, TRACKING): they leave
 * the set and enter the send queue.  Destination (FILLING, DRAINED, HELD, POSTCOPY):
 * they will not be built; fills under way are waited for.  Call it before the discard.
 * In POSTCOPY they are on the return list, too: claim them (SENT) if the source's
 * content is not wanted.
 *
 * MIGDB_CLAIM: destination, any state after START: the stream is about to write
 * these pages: SENT for ever.  Same as setting the claim bytes, for VMMs that do
 * not map them; waits for a fill under way.  It does not say which pages were DONE:
 * for post-copy, where these are not written to again, map the bytes.
 */
struct migdb_range {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
};

#define MIGDB_INVALIDATE _IO(MIGDB_TYPE, MIGDB_CMD_INVALIDATE)
#define MIGDB_CLAIM _IO(MIGDB_TYPE, MIGDB_CMD_CLAIM)

/**
 * struct migdb_run - a run of pages
 * @first: first page index
 * @count: pages
 */
struct migdb_run {
	__aligned_u64 first;
	__aligned_u64 count;
};

/**
 * struct migdb_dequeue - ioctl(MIGDB_DEQUEUE)
 * @size: sizeof(struct migdb_dequeue)
 * @flags: must be 0
 * @runs_uptr: array of struct migdb_run, filled in
 * @max_runs: its length
 * @out_nr_runs: how many were filled in
 * @max_pages: stop after so many pages
 * @out_left_pages: pages still in the queue
 *
 * Source, any state after START.  Takes pages off the send queue: the VMM sends
 * each of them, in the state that it has after this call.  Costs O(taken).  At most
 * 256 runs at a time: ask again until @out_left_pages is 0.
 * After EFAULT the pages are back in the queue.  Needs no memory.
 */
struct migdb_dequeue {
	__u32 size;
	__u32 flags;
	__aligned_u64 runs_uptr;
	__u32 max_runs;
	__u32 out_nr_runs;
	__aligned_u64 max_pages;
	__aligned_u64 out_left_pages;
};

#define MIGDB_DEQUEUE _IO(MIGDB_TYPE, MIGDB_CMD_DEQUEUE)

/**
 * struct migdb_reclaim - ioctl(MIGDB_RECLAIM)
 * @size: sizeof(struct migdb_reclaim)
 * @flags: must be 0
 * @out_pages: pages moved
 *
 * Source, TRACKING and SEALED: moves every recorded page that the destination has
 * not confirmed as built from the set to the send queue (the peer is too slow).
 * Candidates without a record stay: MIGDB_HASH, or MIGDB_SEAL, deals with them.
 */
struct migdb_reclaim {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_pages;
};

#define MIGDB_RECLAIM _IO(MIGDB_TYPE, MIGDB_CMD_RECLAIM)

/**
 * enum migdb_take_result - what came of MIGDB_TAKE
 * @MIGDB_TAKE_DONE: pages were taken: send them, then ask again
 * @MIGDB_TAKE_MET: nothing is left: the destination has confirmed the rest
 * @MIGDB_TAKE_SOONER: none now: storage has what is left sooner than the link; ask
 *	again after some ms, rates change
 * @MIGDB_TAKE_AGAIN: none found by this call: go on with MIGDB_HASH if it has
 *	something left, then ask again
 * @MIGDB_TAKE_LOST: the guest's table does not name any more what is left: wait for
 *	it, or MIGDB_RECLAIM
 * @MIGDB_TAKE_NO_PEER: the destination has not answered yet
 * @MIGDB_TAKE_OFF: sysfs "adaptive" is 0: wait for the destination
 */
enum migdb_take_result {
	MIGDB_TAKE_DONE = 0,
	MIGDB_TAKE_MET = 1,
	MIGDB_TAKE_SOONER = 2,
	MIGDB_TAKE_AGAIN = 3,
	MIGDB_TAKE_LOST = 4,
	MIGDB_TAKE_NO_PEER = 5,
	MIGDB_TAKE_OFF = 6,
};

/**
 * struct migdb_take - ioctl(MIGDB_TAKE)
 * @size: sizeof(struct migdb_take)
 * @flags: must be 0
 * @max_pages: take no more than so many; not 0
 * @out_taken: pages that entered the send queue
 * @out_left: pages that are still the destination's to build
 * @out_build_bytes_per_s: how fast it builds, as of now; 0: not known, or not at all
 * @out_send_bytes_per_s: how fast what was taken has left, likewise
 * @out_result: enum migdb_take_result
 * @__reserved: must be 0
 *
 * Source, TRACKING and SEALED, for a sender that has nothing to send: moves pages
 * from the far end of the set, which the destination reads last, to the send queue,
 * as many as the link is likely to carry before storage has brought the others.  Send
 * all of them (MIGDB_DEQUEUE), and the stream before them, and call it again when
 * they have left: the time in between is how the kernel learns what the link can do.
 * Beside MIGDB_HASH it waits for that.  Reads the hint table once at most.
 * After EINTR (killed) and ECANCELED some may have been taken: they are in the send
 * queue.
 */
struct migdb_take {
	__u32 size;
	__u32 flags;
	__aligned_u64 max_pages;
	__aligned_u64 out_taken;
	__aligned_u64 out_left;
	__aligned_u64 out_build_bytes_per_s;
	__aligned_u64 out_send_bytes_per_s;
	__u32 out_result;
	__u32 __reserved;
};

#define MIGDB_TAKE _IO(MIGDB_TYPE, MIGDB_CMD_TAKE)

/**
 * struct migdb_seal - ioctl(MIGDB_SEAL)
 * @size: sizeof(struct migdb_seal)
 * @flags: must be 0
 * @out_unconfirmed: recorded pages in the set that the destination has not confirmed
 * @out_queued: pages in the send queue
 *
 * TRACKING -> SEALED.  The guest is stopped, device I/O drained, all logs handed
 * in; with a bound VM the kernel checks that no vCPU runs (EBUSY) and harvests a
 * last time.  Candidates not yet hashed enter the send queue; the last revokes
 * and the end mark are put into the stream.  Errors: those of MIGDB_HARVEST.
 */
struct migdb_seal {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_unconfirmed;
	__aligned_u64 out_queued;
};

#define MIGDB_SEAL _IO(MIGDB_TYPE, MIGDB_CMD_SEAL)

/**
 * enum migdb_claim - who may write a page of the destination
 * @MIGDB_CLAIM_NONE: nobody spoke for it
 * @MIGDB_CLAIM_TODO: recorded: the kernel will build it
 * @MIGDB_CLAIM_BUSY: the kernel is writing it, for about a microsecond
 * @MIGDB_CLAIM_DONE: built and verified
 * @MIGDB_CLAIM_SENT: the stream wrote it, or is about to: for ever, but for MIGDB_HOLD
 * @MIGDB_CLAIM_RETURNED: will not be built; the stream must bring it
 *
 *	who     from                           to         how
 *	kernel  NONE                           TODO       record
 *	kernel  TODO                           BUSY       block read and verified
 *	kernel  BUSY                           DONE       page written
 *	kernel  TODO, BUSY, DONE, NONE         RETURNED   error, late, revoke
 *	kernel  RETURNED                       TODO       MIGDB_DEADLINE_NEVER
 *	kernel  SENT                           RETURNED   MIGDB_HOLD: sent before its record
 *	VMM     all but BUSY                   SENT       before it writes the page
 *
 * In post-copy BUSY lasts as long as an UFFDIO_COPY of some pages, and a page that
 * was DONE before it was claimed is there: the VMM does not write it.
 *
 * All of them are compare-and-exchange; the VMM waits while it sees BUSY.  A
 * value that is not in this list counts as SENT.  The bytes are a rendezvous,
 * not the kernel's own state: it waits for none of them.
 */
enum migdb_claim {
	MIGDB_CLAIM_NONE = 0,
	MIGDB_CLAIM_TODO = 1,
	MIGDB_CLAIM_BUSY = 2,
	MIGDB_CLAIM_DONE = 3,
	MIGDB_CLAIM_SENT = 4,
	MIGDB_CLAIM_RETURNED = 5,
};

/**
 * struct migdb_drain - ioctl(MIGDB_DRAIN)
 * @size: sizeof(struct migdb_drain)
 * @flags: must be 0
 * @grace_ns: wait so long at most for reads that are under way or queued
 * @out_recorded: pages recorded
 * @out_built: pages built and not revoked
 * @out_returned: pages on the return list, all told
 *
 * FILLING, HELD -> DRAINED.  Ends building: what is not built after @grace_ns is
 * RETURNED; no fill is in flight when it returns.  The stream then holds the
 * last of the return list and the end mark.  Errors: EINVAL (@grace_ns above 10 s),
 * EINTR (a signal; still FILLING).
 */
struct migdb_drain {
	__u32 size;
	__u32 flags;
	__aligned_u64 grace_ns;
	__aligned_u64 out_recorded;
	__aligned_u64 out_built;
	__aligned_u64 out_returned;
};

#define MIGDB_DRAIN _IO(MIGDB_TYPE, MIGDB_CMD_DRAIN)

/**
 * struct migdb_complete - ioctl(MIGDB_COMPLETE)
 * @size: sizeof(struct migdb_complete)
 * @flags: must be 0
 * @out_missing: pages that were recorded but neither built nor sent
 *
 * Destination, DRAINED or ABORTED: the last check before the guest may start.
 * EUCLEAN with @out_missing: do not start it.  An aborted session stays ABORTED.
 * POSTCOPY: all that was recorded is here; EUCLEAN: not yet.  Lets go of the uffd.
 * Source, SEALED: the other side runs; EBUSY while pages are in the send queue or
 * recorded, in the set and not confirmed (MIGDB_RECLAIM moves these).
 */
struct migdb_complete {
	__u32 size;
	__u32 flags;
	__aligned_u64 out_missing;
};

#define MIGDB_COMPLETE _IO(MIGDB_TYPE, MIGDB_CMD_COMPLETE)

/**
 * struct migdb_abort - ioctl(MIGDB_ABORT)
 * @size: sizeof(struct migdb_abort)
 * @flags: must be 0
 * @reason: enum migdb_reason, for the log; 0 is MIGDB_REASON_ABORTED
 * @__reserved: must be 0
 *
 * Any state after START but DONE.  Idempotent.  The bitmap stays readable, and at the
 * source nothing moves any more once the session is aborted, by this or by an error:
 * no bit of the bitmap changes and no page enters the send queue, whatever other
 * calls are under way.  Both together are what the VMM has to send.
 */
struct migdb_abort {
	__u32 size;
	__u32 flags;
	__u32 reason;
	__u32 __reserved;
};

#define MIGDB_ABORT _IO(MIGDB_TYPE, MIGDB_CMD_ABORT)

/**
 * struct migdb_stats - ioctl(MIGDB_STATS)
 * @size: sizeof(struct migdb_stats)
 * @flags: must be 0
 * @out_state: enum migdb_state
 * @out_reason: enum migdb_reason: why it is ordinary, or 0
 * @out_candidates: pages named by the guest at snapshot
 * @out_recorded: pages whose record went out (source) or came in (destination)
 * @out_built: source: confirmed and still in the set; destination: built
 * @out_revoked: recorded, then written to by the guest
 * @out_returned: recorded, then given back by the destination
 * @out_dropped: candidates that left before they were recorded
 * @out_unconfirmed: source: recorded, in the set, not confirmed yet
 * @out_queued: source: pages in the send queue
 * @out_harvested: ring entries consumed
 * @out_read_bytes: destination: read from storage
 * @out_reads: destination: number of reads
 * @out_hash_ns: time spent in hashing and verifying
 * @out_memory_bytes: kernel memory of the session, without the pages of reads in flight
 * @out_by_reason: pages not built, by enum migdb_reason
 * @out_todo: destination: recorded, and neither built nor given back yet
 * @out_postcopy_built: of @out_built: after MIGDB_POSTCOPY
 * @out_faults: calls of MIGDB_FAULT
 * @out_faults_fetching: of these, answered MIGDB_FAULT_FETCHING for the first time
 * @out_faults_built: of these, built in time
 * @out_faults_late: of these, given back when the deadline was over
 * @out_fault_read_ns: post-copy: median time that the last reads took
 * @out_fault_deadline_ns: post-copy: what a page that is asked for now is given
 * @out_requested: source: pages of MIGDB_REQUEST that were in the set or queue
 *
 * recorded = built + revoked + returned + unconfirmed, on the source;
 * candidates = recorded + dropped + not yet hashed.  Works in every state.  The
 * struct grows with enum migdb_reason: who has less of it gets less.
 */
struct migdb_stats {
	__u32 size;
	__u32 flags;
	__u32 out_state;
	__u32 out_reason;
	__aligned_u64 out_candidates;
	__aligned_u64 out_recorded;
	__aligned_u64 out_built;
	__aligned_u64 out_revoked;
	__aligned_u64 out_returned;
	__aligned_u64 out_dropped;
	__aligned_u64 out_unconfirmed;
	__aligned_u64 out_queued;
	__aligned_u64 out_harvested;
	__aligned_u64 out_read_bytes;
	__aligned_u64 out_reads;
	__aligned_u64 out_hash_ns;
	__aligned_u64 out_memory_bytes;
	__aligned_u64 out_by_reason[MIGDB_MAX_REASONS];
	__aligned_u64 out_todo;
	__aligned_u64 out_postcopy_built;
	__aligned_u64 out_faults;
	__aligned_u64 out_faults_fetching;
	__aligned_u64 out_faults_built;
	__aligned_u64 out_faults_late;
	__aligned_u64 out_fault_read_ns;
	__aligned_u64 out_fault_deadline_ns;
	__aligned_u64 out_requested;
};

#define MIGDB_STATS _IO(MIGDB_TYPE, MIGDB_CMD_STATS)

/**
 * struct migdb_hold - ioctl(MIGDB_HOLD)
 * @size: sizeof(struct migdb_hold)
 * @flags: must be 0
 * @missing_uptr: room for a bitmap over all pages, little-endian, or 0
 * @out_missing: number of its bits that are set
 * @out_copy_bytes: length of what @out_copy_fd maps
 * @out_copy_fd: mmap(2), shared, readable and writable: where pages stand that are
 *	being placed; the VMM leaves it alone
 * @__reserved: must be 0
 *
 * Destination, FILLING -> HELD; again in HELD it says the same.  The source is sealed,
 * and all its frames have been written to the stream.  When it returns, no page is
 * being written, and none will be before MIGDB_POSTCOPY.  A set bit: recorded, and
 * what is in memory there, if anything, must not be seen: the VMM takes the page out
 * of memory (MADV_DONTNEED, hole) before the guest starts.  Pages whose bit is set and
 * whose claim is not TODO will not be built: ask the source for them.  A page that was
 * sent before its record came is one of them, its claim is RETURNED from here on, and it
 * has to come again, also if the switch is given up.  Pages that are DONE stay in memory,
 * also if the source has still to send them.
 *
 * Any thread; sleeps while a page is written, not for storage.  Errors: EAGAIN (the
 * source's end mark is not here yet), EFAULT (the state is HELD: call again), EINTR
 * (killed), EOPNOTSUPP (no userfaultfd in this kernel).
 */
struct migdb_hold {
	__u32 size;
	__u32 flags;
	__aligned_u64 missing_uptr;
	__aligned_u64 out_missing;
	__aligned_u64 out_copy_bytes;
	__s32 out_copy_fd;
	__u32 __reserved;
};

#define MIGDB_HOLD _IO(MIGDB_TYPE, MIGDB_CMD_HOLD)

/**
 * struct migdb_postcopy - ioctl(MIGDB_POSTCOPY)
 * @size: sizeof(struct migdb_postcopy)
 * @flags: must be 0
 * @uffd: userfaultfd of the calling process; all of the memory table is registered
 *	with it for missing pages
 * @__reserved: must be 0
 * @copy_uptr: where all of @out_copy_fd of MIGDB_HOLD is mapped, from its start
 * @out_todo: pages that are still to be built
 *
 * HELD -> POSTCOPY.  From here on a page is placed by UFFDIO_COPY: whole, waking who
 * waits for it, and never over another one.  A page that is there already although
 * nobody has placed it is given back (MIGDB_REASON_PRESENT): the VMM finds EEXIST,
 * too, then, and must end the migration, for the guest may have seen what is there.
 *
 * The session keeps the userfaultfd open until it is DONE, ABORTED or closed: closing
 * the descriptor does not end the registration before that.
 *
 * Any thread; takes mmap_lock, does not sleep for storage.  Errors: EBADF, EOPNOTSUPP
 * (no userfaultfd; memory of huge pages), EPERM (of another process), ENOENT (some of
 * the memory table is not mapped, or not registered with it for missing pages),
 * EINVAL (@copy_uptr), EINTR (killed).  It stays HELD then.
 */
struct migdb_postcopy {
	__u32 size;
	__u32 flags;
	__s32 uffd;
	__u32 __reserved;
	__aligned_u64 copy_uptr;
	__aligned_u64 out_todo;
};

#define MIGDB_POSTCOPY _IO(MIGDB_TYPE, MIGDB_CMD_POSTCOPY)

/**
 * enum migdb_fault_answer - who brings a page that the guest waits for
 * @MIGDB_FAULT_INVALID: never
 * @MIGDB_FAULT_FETCHING: migdb: it is placed, or given back when the deadline is over:
 *	the eventfd is signalled, its claim is RETURNED, and the return stream tells
 *	the source
 * @MIGDB_FAULT_ASK: not migdb: the source has it, or it is on its way from there
 * @MIGDB_FAULT_BUILT: it is there; UFFDIO_WAKE does no harm
 */
enum migdb_fault_answer {
	MIGDB_FAULT_INVALID = 0,
	MIGDB_FAULT_FETCHING = 1,
	MIGDB_FAULT_ASK = 2,
	MIGDB_FAULT_BUILT = 3,
};

/**
 * struct migdb_fault - ioctl(MIGDB_FAULT)
 * @size: sizeof(struct migdb_fault)
 * @flags: must be 0
 * @addr: owner address, as userfaultfd tells it
 * @deadline_ns: how long storage has from now on, at most MIGDB_MAX_DEADLINE_NS; 0: four
 *	times the median of the last reads, and no less than sysfs
 *	"postcopy_deadline_floor_us"; MIGDB_DEADLINE_NEVER: there is no source any more
 * @out_page: page index
 * @out_answer: enum migdb_fault_answer
 * @__reserved: must be 0
 *
 * Destination, POSTCOPY; DONE and ABORTED too, where nothing is fetched any more.  A
 * page of the set that is not here yet is read at once, in front of what is read in
 * bulk, with its neighbours in the same 16 KiB of disk.  Asking again for a page that
 * is being fetched changes nothing but for a deadline of MIGDB_DEADLINE_NEVER, which
 * also takes up pages again that were given back since the switch because storage was
 * slow or failed, or memory was short.
 *
 * Any thread; never sleeps for storage or for guest memory.  Errors: ENOENT (@addr is
 * not in the memory table), EINVAL (@deadline_ns).
 */
struct migdb_fault {
	__u32 size;
	__u32 flags;
	__aligned_u64 addr;
	__aligned_u64 deadline_ns;
	__aligned_u64 out_page;
	__u32 out_answer;
	__u32 __reserved;
};

#define MIGDB_MAX_DEADLINE_NS	10000000000ULL
#define MIGDB_DEADLINE_NEVER	(~0ULL)

#define MIGDB_FAULT _IO(MIGDB_TYPE, MIGDB_CMD_FAULT)

/**
 * struct migdb_request - ioctl(MIGDB_REQUEST)
 * @size: sizeof(struct migdb_request)
 * @flags: must be 0
 * @first: first page index
 * @count: pages
 * @out_taken: pages that were in the set or in the send queue
 *
 * Source, SEALED: the destination has asked for these pages, and the VMM sends them
 * now, whether they were in the set or not.  They leave the set and the send queue.
 * After ECANCELED the bitmap stays as it is; send them all the same.
 *
 * Any thread; does not sleep for storage or guest memory.  Errors: general ones.
 */
struct migdb_request {
	__u32 size;
	__u32 flags;
	__aligned_u64 first;
	__aligned_u64 count;
	__aligned_u64 out_taken;
};

#define MIGDB_REQUEST _IO(MIGDB_TYPE, MIGDB_CMD_REQUEST)

#endif /* _UAPI_LINUX_MIGDB_H */
