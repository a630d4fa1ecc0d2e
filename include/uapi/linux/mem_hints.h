/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * Memory hints: which guest page holds which block of which disk.
 *
 * A guest publishes a table in its own RAM; its host reads it to leave those
 * pages out of a migration and to read them from storage at the destination.
 * An entry is a hint: the host believes nothing that it has not verified.
 *
 * Four things are described here: the entry, the radix of guest pages that
 * holds the entries, the messages of the channel on which a host asks where
 * the table is and says when a migration starts and ends, and the calls by
 * which a process says what its pages hold.
 *
 * Everything in the table and on the wire is little-endian; calls are of the
 * machine.
 */
#ifndef _UAPI_LINUX_MEM_HINTS_H
#define _UAPI_LINUX_MEM_HINTS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Version of the table and of the channel; see struct mem_hint_hello. */
#define MEM_HINT_ABI_VERSION		1

/*
 * The unit of everything: guest frames, disk blocks and table pages are
 * 4 KiB, whatever page size the guest runs with.
 */
#define MEM_HINT_FRAME_SHIFT		12
#define MEM_HINT_FRAME_SIZE		(1U << MEM_HINT_FRAME_SHIFT)

/**
 * DOC: Entry
 *
 * One __le64 per guest frame, always written by a single 64-bit store:
 *
 * ===== ========== ====================================================
 * bits  name       meaning
 * ===== ========== ====================================================
 * 63    valid      0: nothing is known of this frame, ignore the rest
 * 62-56 disk       id of struct mem_hint_disk, 0..126; 127 names none
 * 55-53 class      enum mem_hint_class
 * 52-44 generation low 9 bits of the root's generation when noted
 * 43-0  block      512-byte sector / 8, counted from the start of the
 *                  whole disk, not of a partition
 * ===== ========== ====================================================
 *
 * An entry that is not valid is 0.  A reader ignores entries whose class it
 * does not know.
 */
#define MEM_HINT_VALID			(1ULL << 63)
#define MEM_HINT_DISK_SHIFT		56
#define MEM_HINT_DISK_BITS		7
#define MEM_HINT_CLASS_SHIFT		53
#define MEM_HINT_CLASS_BITS		3
#define MEM_HINT_GEN_SHIFT		44
#define MEM_HINT_GEN_BITS		9
#define MEM_HINT_BLOCK_BITS		44

#define MEM_HINT_DISK_MASK		((1ULL << MEM_HINT_DISK_BITS) - 1)
#define MEM_HINT_CLASS_MASK		((1ULL << MEM_HINT_CLASS_BITS) - 1)
#define MEM_HINT_GEN_MASK		((1ULL << MEM_HINT_GEN_BITS) - 1)
#define MEM_HINT_BLOCK_MASK		((1ULL << MEM_HINT_BLOCK_BITS) - 1)

#define MEM_HINT_MAX_DISKS		127	/* as MIGDB_MAX_DISKS */
#define MEM_HINT_SECTORS_PER_BLOCK	8

/**
 * enum mem_hint_class - what an entry says of its frame
 * @MEM_HINT_CLASS_BACKED: the frame holds what the block holds.
 * @MEM_HINT_CLASS_DISCARDABLE: the guest can do without the content; only
 *	where START has agreed to it.
 * @MEM_HINT_CLASS_HOT: backed, and wanted early at the destination.
 */
enum mem_hint_class {
	MEM_HINT_CLASS_BACKED		= 0,
	MEM_HINT_CLASS_DISCARDABLE	= 1,
	MEM_HINT_CLASS_HOT		= 2,
};

/* ---- table -------------------------------------------------------------- */

#define MEM_HINT_ROOT_MAGIC		0x544e4948U	/* "HINT" */
#define MEM_HINT_MAX_LEVELS		5
#define MEM_HINT_LEVEL_BITS		9
#define MEM_HINT_SLOTS			(1U << MEM_HINT_LEVEL_BITS)

/*
 * Root flags.  FROZEN: a migration is under way, entries do not change.
 * DISABLED: hints are switched off in the guest, the radix is empty.
 */
#define MEM_HINT_ROOT_FROZEN		(1ULL << 0)
#define MEM_HINT_ROOT_DISABLED		(1ULL << 1)

/**
 * struct mem_hint_root - head of the table, one 4 KiB-aligned guest page
 * @magic: MEM_HINT_ROOT_MAGIC.
 * @version: MEM_HINT_ABI_VERSION of the writer; a reader refuses others.
 * @levels: radix levels from @table to the entries inclusive, 1 to
 *	MEM_HINT_MAX_LEVELS; fixed for the life of the root.
 * @reserved0: 0.
 * @nr_frames: first guest frame that the table has no entry for; at most
 *	512 to the power of @levels.
 * @generation: one more at each START; never 0.
 * @table: gpa of the top-level page; 0: no entries at all.
 * @flags: MEM_HINT_ROOT_*; a reader ignores unknown ones.
 * @nr_valid: how many entries are valid, for information.
 * @reserved: 0.
 *
 * @table and the slots of every page above the last level hold the gpa of
 * the next page, aligned to 4 KiB, or 0 where no frame below has an entry.
 * A page has 512 slots; the slot at level l (0 = entries) for frame f is
 * (f >> (9 * l)) & 511.  Pages are zeroed before they are linked, and, while
 * FROZEN is set, neither unlinked nor freed.
 */
struct mem_hint_root {
	__le32 magic;
	__le32 version;
	__le32 levels;
	__le32 reserved0;
	__le64 nr_frames;
	__le64 generation;
	__le64 table;
	__le64 flags;
	__le64 nr_valid;
	__le64 reserved[9];
};

/* ---- channel ------------------------------------------------------------ */

/**
 * DOC: Channel
 *
 * The guest kernel listens on a vsock stream at MEM_HINT_VSOCK_PORT, below
 * 1024 so that no unprivileged guest process can stand there in its stead.
 * It takes connections from CID 2 (the host) only, one at a time: a second
 * one gets ERROR with EBUSY and is closed.
 *
 * The host asks, the guest answers with the same @seq:
 *
 * ========== ================== ========================================
 * request    answer             state after it
 * ========== ================== ========================================
 * HELLO      INFO, then DISKS   ready (may be asked again until START)
 * START      STARTED            frozen: the table stands still
 * COMPLETE   COMPLETED          ready: what was noted meanwhile is in
 * ========== ================== ========================================
 *
 * HELLO comes first.  Anything else at the wrong time, an unknown type, a
 * bad magic, version or length, or a message that is not whole after
 * MEM_HINT_MSG_TIMEOUT_MS is answered by ERROR; then the guest closes the
 * connection.  However a connection ends, a frozen table is thawed; a
 * migration resets vsock connections, so this is also the way in which the
 * guest at the destination is thawed.
 */
#define MEM_HINT_VSOCK_PORT		771

#define MEM_HINT_MSG_MAGIC		0x4d474948U	/* "HIGM" */
#define MEM_HINT_MSG_VERSION		1
#define MEM_HINT_MSG_MAX_PAYLOAD	16384
#define MEM_HINT_MSG_TIMEOUT_MS		5000

/**
 * enum mem_hint_msg_type - message types
 * @MEM_HINT_MSG_INVALID: never sent.
 * @MEM_HINT_MSG_HELLO: host to guest, struct mem_hint_hello.
 * @MEM_HINT_MSG_INFO: guest to host, struct mem_hint_info.
 * @MEM_HINT_MSG_DISKS: guest to host, struct mem_hint_disks.
 * @MEM_HINT_MSG_START: host to guest, struct mem_hint_start.
 * @MEM_HINT_MSG_STARTED: guest to host, struct mem_hint_started.
 * @MEM_HINT_MSG_COMPLETE: host to guest, struct mem_hint_complete.
 * @MEM_HINT_MSG_COMPLETED: guest to host, no payload.
 * @MEM_HINT_MSG_ERROR: guest to host, struct mem_hint_error; the last
 *	message of its connection.
 */
enum mem_hint_msg_type {
	MEM_HINT_MSG_INVALID		= 0,
	MEM_HINT_MSG_HELLO		= 1,
	MEM_HINT_MSG_INFO		= 2,
	MEM_HINT_MSG_DISKS		= 3,
	MEM_HINT_MSG_START		= 4,
	MEM_HINT_MSG_STARTED		= 5,
	MEM_HINT_MSG_COMPLETE		= 6,
	MEM_HINT_MSG_COMPLETED		= 7,
	MEM_HINT_MSG_ERROR		= 8,
};

/**
 * struct mem_hint_msg - head of every message
 * @magic: MEM_HINT_MSG_MAGIC.
 * @type: enum mem_hint_msg_type.
 * @version: MEM_HINT_MSG_VERSION.
 * @len: bytes of payload that follow, at most MEM_HINT_MSG_MAX_PAYLOAD.
 * @seq: chosen by the host; an answer carries that of its request.
 *
 * A payload may be longer than the receiver's idea of its struct (the rest
 * is ignored), never shorter than version 1's.
 */
struct mem_hint_msg {
	__le32 magic;
	__le16 type;
	__le16 version;
	__le32 len;
	__le32 seq;
};

/**
 * struct mem_hint_hello - HELLO
 * @abi: highest MEM_HINT_ABI_VERSION that the host reads.
 * @flags: 0.
 * @features: MEM_HINT_FEATURE_* that the host knows.
 */
struct mem_hint_hello {
	__le32 abi;
	__le32 flags;
	__le64 features;
};

/* No feature bit is defined in version 1. */
#define MEM_HINT_FEATURES_V1		0ULL

/**
 * struct mem_hint_info - INFO
 * @abi: the version that the table has; not above the host's.
 * @flags: 0.
 * @features: those of HELLO that the guest has too.
 * @root_gpa: gpa of struct mem_hint_root.
 * @nr_frames: as in the root.
 * @nr_valid: valid entries now; grows until START.
 * @table_pages: 4 KiB pages of the table, the root included.
 * @nr_disks: entries of the DISKS message that follows.
 * @reserved: 0.
 */
struct mem_hint_info {
	__le32 abi;
	__le32 flags;
	__le64 features;
	__le64 root_gpa;
	__le64 nr_frames;
	__le64 nr_valid;
	__le64 table_pages;
	__le32 nr_disks;
	__le32 reserved;
};

#define MEM_HINT_IDENTITY_LEN		64
#define MEM_HINT_DISK_NAME_LEN		32

/**
 * enum mem_hint_disk_type - what the identity of a disk is
 * @MEM_HINT_DISK_INVALID: never sent.
 * @MEM_HINT_DISK_VIRTIO_SERIAL: the serial of a virtio-blk disk, as text.
 * @MEM_HINT_DISK_SCSI_WWID: text "naa.", "eui." or "t10." and hex digits.
 * @MEM_HINT_DISK_NVME_NGUID: 32 (NGUID) or 16 (EUI-64) hex digits.
 * @MEM_HINT_DISK_PCI: "dddd:bb:dd.f", the guest's address of the PCI function
 *	that this disk alone sits on.
 */
enum mem_hint_disk_type {
	MEM_HINT_DISK_INVALID		= 0,
	MEM_HINT_DISK_VIRTIO_SERIAL	= 1,
	MEM_HINT_DISK_SCSI_WWID		= 2,
	MEM_HINT_DISK_NVME_NGUID	= 3,
	MEM_HINT_DISK_PCI		= 4,
};

/**
 * struct mem_hint_disk - one disk that entries may name
 * @id: the number in the entries' disk field.
 * @type: enum mem_hint_disk_type.
 * @nr_sectors: capacity in 512-byte sectors, as the guest sees it.
 * @flags: 0.
 * @reserved: 0.
 * @identity: never empty, NUL-padded; all 64 bytes may be used.
 * @name: the guest's own name ("vda"), NUL-terminated; for messages only.
 *
 * No two disks of a guest have the same (type, identity): those that do are
 * not listed and never named by an entry.
 */
struct mem_hint_disk {
	__le32 id;
	__le32 type;
	__le64 nr_sectors;
	__le32 flags;
	__le32 reserved;
	__u8 identity[MEM_HINT_IDENTITY_LEN];
	__u8 name[MEM_HINT_DISK_NAME_LEN];
};

/**
 * struct mem_hint_disks - DISKS
 * @nr: how many follow.
 * @disk_size: sizeof(struct mem_hint_disk) of the sender; the step.
 * @disks: in the order of their ids.
 */
struct mem_hint_disks {
	__le32 nr;
	__le32 disk_size;
	struct mem_hint_disk disks[];
};

/**
 * struct mem_hint_start - START
 * @classes: bit (1 << class) for each enum mem_hint_class that the host
 *	agrees to for this migration; bit 0 (backed) must be set.
 * @max_freeze_ms: the guest thaws by itself and closes with ERROR ETIMEDOUT
 *	when COMPLETE has not come after so long; 0: no limit of the host's.  The
 *	guest has one of its own.
 * @flags: 0.
 *
 * Every I/O that completed before START was received is in the table when
 * STARTED is sent, and so is what processes have said by then (see Calls), as
 * far as the guest's limits for that allow.
 *
 * DISCARDABLE is the one class that a host cannot verify.  A host agrees to it
 * only if, before it sends START, every dirty log has been switched on and
 * cleared: a page that is written to after START was sent is not discardable
 * any more, whoever writes to it.  If the connection ends before COMPLETE in
 * any other way than by the guest's going to the destination, the host sends
 * these pages like any other.  Such an entry names disk 127, none.
 */
struct mem_hint_start {
	__le64 classes;
	__le32 max_freeze_ms;
	__le32 flags;
};

/**
 * struct mem_hint_started - STARTED
 * @generation: as in the root, from now on.
 * @nr_valid: valid entries; exact until COMPLETE.
 * @table_pages: 4 KiB pages of the table, the root included.
 */
struct mem_hint_started {
	__le64 generation;
	__le64 nr_valid;
	__le64 table_pages;
};

/* How a migration ended; for the guest's statistics only. */
#define MEM_HINT_OUTCOME_DONE		0
#define MEM_HINT_OUTCOME_CANCELLED	1

/**
 * struct mem_hint_complete - COMPLETE
 * @outcome: MEM_HINT_OUTCOME_*.
 * @flags: 0.
 */
struct mem_hint_complete {
	__le32 outcome;
	__le32 flags;
};

#define MEM_HINT_ERROR_TEXT_LEN		120

/**
 * struct mem_hint_error - ERROR
 * @error: a positive errno in the numbers of asm-generic/errno.h:
 *	EBUSY (another connection is served), EACCES (not from the host),
 *	EPROTO (bad magic, version or wrong order), EMSGSIZE (length),
 *	EOPNOTSUPP (unknown type, no common abi), EINVAL (a field),
 *	ETIMEDOUT (half a message, no START for long, or max_freeze_ms), ENOMEM,
 *	ESHUTDOWN (the module is being unloaded or hints are disabled).
 * @type: type of the message that is answered, 0 if there is none.
 * @text: why, for a log; NUL-terminated.
 */
struct mem_hint_error {
	__le32 error;
	__le32 type;
	__u8 text[MEM_HINT_ERROR_TEXT_LEN];
};

/* ---- calls -------------------------------------------------------------- */

/**
 * DOC: Calls
 *
 * What a process says of its own memory.  There are two ways in, and one
 * meaning behind both:
 *
 * - ``long mem_hint(unsigned int op, void *attr, size_t size, unsigned int
 *   flags)``, where the kernel has the system call.  Its number is in
 *   /sys/kernel/mm/hints/syscall_nr and nowhere else; the file is absent
 *   where there is no such call.
 * - ``ioctl(fd, MEM_HINT_IOC_..., attr)`` on /dev/mem_hints.  The number
 *   carries the size of the struct.
 *
 * A call is about the memory of the caller, whoever opened the device.  What
 * was said holds for the address space: threads share it, a child after fork()
 * starts with nothing, exec and exit drop it, closing the device does not.
 *
 * Structs grow at their end.  A shorter struct than the kernel's has zeros in
 * the tail; a longer one is taken if its tail is zero.  An out field of a
 * struct that is too short for it is not told.
 *
 * @flags of mem_hint() is 0, or with @op, @attr and @size 0 one of
 * MEM_HINT_GET_ABI and MEM_HINT_GET_ERRATA, and the call returns that number.
 *
 * Errnos that every call can return:
 *
 * ============ ==============================================================
 * EINVAL       struct shorter than its first version, a reserved field or a
 *              flag that is not 0, a range that is not aligned to 4 KiB,
 *              empty, or wraps around
 * E2BIG        struct longer than 4096 bytes, or than the kernel knows and not
 *              zero there
 * EFAULT       bad pointer
 * EOPNOTSUPP   mem_hint(): no such op (ioctl(): ENOTTY); or a kind of memory,
 *              file or class that cannot be used
 * ENOMEM       no memory, or the memcg refused it
 * ENOSPC       a limit of the process or of the system is reached
 * EDQUOT       the user has its share of what the system has
 * EINTR        a signal came
 * ESHUTDOWN    hints are switched off
 * ============ ==============================================================
 *
 * A call that fails has changed nothing.
 */
#define MEM_HINT_GET_ABI		(1U << 0)
#define MEM_HINT_GET_ERRATA		(1U << 1)

/* Fixes that a program can ask for by bit; none yet. */
#define MEM_HINT_ERRATA_V1		0U

/**
 * enum mem_hint_op - calls
 * @MEM_HINT_OP_INVALID: no call.
 * @MEM_HINT_OP_QUERY: struct mem_hint_query.
 * @MEM_HINT_OP_FILE: struct mem_hint_file.
 * @MEM_HINT_OP_UNFILE: struct mem_hint_unfile.
 * @MEM_HINT_OP_BIND: struct mem_hint_bind.
 * @MEM_HINT_OP_UNBIND: struct mem_hint_unbind.
 * @MEM_HINT_OP_POOL: struct mem_hint_pool.
 * @MEM_HINT_OP_UNPOOL: struct mem_hint_unpool.
 * @MEM_HINT_OP_CLASS: struct mem_hint_set_class.
 * @MEM_HINT_OP_TRANSLATE: struct mem_hint_translate.
 * @MEM_HINT_OP_SEGMENTS: struct mem_hint_segments.
 * @MEM_HINT_OP_EVENTS: struct mem_hint_events.
 * @MEM_HINT_OP_WAIT: struct mem_hint_wait.
 * @MEM_HINT_OP_READY: struct mem_hint_ready.
 */
enum mem_hint_op {
	MEM_HINT_OP_INVALID		= 0,
	MEM_HINT_OP_QUERY		= 1,
	MEM_HINT_OP_FILE		= 2,
	MEM_HINT_OP_UNFILE		= 3,
	MEM_HINT_OP_BIND		= 4,
	MEM_HINT_OP_UNBIND		= 5,
	MEM_HINT_OP_POOL		= 6,
	MEM_HINT_OP_UNPOOL		= 7,
	MEM_HINT_OP_CLASS		= 8,
	MEM_HINT_OP_TRANSLATE		= 9,
	MEM_HINT_OP_SEGMENTS		= 10,
	MEM_HINT_OP_EVENTS		= 11,
	MEM_HINT_OP_WAIT		= 12,
	MEM_HINT_OP_READY		= 13,
};

/**
 * struct mem_hint_query - what there is, and what the caller uses of it
 * @flags: 0.
 * @out_abi: MEM_HINT_ABI_VERSION.
 * @out_errata: as from MEM_HINT_GET_ERRATA.
 * @out_max_op: the highest op.
 * @out_state: MEM_HINT_STATE_*.
 * @out_max_files: files that a process may have.
 * @out_max_binds: ranges that a process may have bound, and as many of each
 *	class.
 * @out_max_pools: pools that a process may have.
 * @out_nr_files: files that the caller has.
 * @out_nr_binds: ranges that the caller has bound or given a class; ranges
 *	that continue each other are one.
 * @out_nr_pools: pools that the caller has.
 * @__reserved: 0.
 * @out_seq: number of the newest event; see struct mem_hint_wait.
 *
 * Works while hints are switched off, too.
 */
struct mem_hint_query {
	__u32 flags;
	__u32 out_abi;
	__u32 out_errata;
	__u32 out_max_op;
	__u32 out_state;
	__u32 out_max_files;
	__u32 out_max_binds;
	__u32 out_max_pools;
	__u32 out_nr_files;
	__u32 out_nr_binds;
	__u32 out_nr_pools;
	__u32 __reserved;
	__aligned_u64 out_seq;
};

/* IDLE; FROZEN: a migration is under way; OFF: hints are switched off. */
#define MEM_HINT_STATE_IDLE		0
#define MEM_HINT_STATE_FROZEN		1
#define MEM_HINT_STATE_OFF		2

/**
 * struct mem_hint_file - make a file known, for the descriptors of pools
 * @flags: 0.
 * @fd: a regular file, open for reading.
 * @out_file: its number, the same if the process has named the same file
 *	before; from 0 on, below @out_max_files of struct mem_hint_query.
 * @__reserved: 0.
 *
 * The kernel keeps the file open until UNFILE, as dup() would: a deleted file
 * keeps its blocks so long.
 *
 * EBADF: no such fd, or not open for reading.  EOPNOTSUPP: not a regular file,
 * not on ext4 or XFS, encrypted, in persistent memory, or on a device that is
 * neither a hinted disk, a partition of one, nor described by SEGMENTS.
 * EAGAIN: the disk has not said yet who it is, for two seconds.
 * EMFILE: the process has named RLIMIT_NOFILE files.  ENOSPC: @out_max_files, or
 * the system's number of files.
 */
struct mem_hint_file {
	__u32 flags;
	__s32 fd;
	__u32 out_file;
	__u32 __reserved;
};

/**
 * struct mem_hint_unfile - forget a file
 * @flags: 0.
 * @file: as from FILE.
 *
 * Descriptors and ranges that name it say nothing any more; its number may be
 * used again for another file.
 *
 * ENOENT: there is no such file.
 */
struct mem_hint_unfile {
	__u32 flags;
	__u32 file;
};

/**
 * struct mem_hint_bind - a range of memory holds a range of a file
 * @flags: 0.
 * @fd: as for FILE, which this does, too, where it was not done.
 * @addr: begin of the range, a multiple of 4 KiB.
 * @len: its bytes, a multiple of 4 KiB, not 0.
 * @offset: where it is in the file, a multiple of 4 KiB.
 * @out_file: the file's number.
 * @__reserved: 0.
 *
 * All of the range must be mapped and be private anonymous memory, shared
 * memory (shmem, memfd, System V) that the process may write to, or huge
 * pages (hugetlb).  What was bound in the range before is replaced.
 *
 * Where the file's blocks are is looked up when a migration starts.  Pages are
 * left out where the file has a hole, is dirty or under writeback, or has
 * blocks that are unwritten, delayed, inline or shared.
 *
 * Errors of FILE.  ENOMEM: some of the range is not mapped.  EOPNOTSUPP:
 * another kind of memory.  EACCES: shared memory that the process may only
 * read.  EINVAL: @offset is beyond what a file can have.
 */
struct mem_hint_bind {
	__u32 flags;
	__s32 fd;
	__aligned_u64 addr;
	__aligned_u64 len;
	__aligned_u64 offset;
	__u32 out_file;
	__u32 __reserved;
};

/**
 * struct mem_hint_unbind - forget what was bound in a range
 * @flags: 0.
 * @__reserved: 0.
 * @addr: begin of the range, a multiple of 4 KiB.
 * @len: its bytes, a multiple of 4 KiB, not 0.
 *
 * The range need not be mapped, nor bound.  Classes stay; files stay known.
 */
struct mem_hint_unbind {
	__u32 flags;
	__u32 __reserved;
	__aligned_u64 addr;
	__aligned_u64 len;
};

/**
 * DOC: Descriptors of a pool
 *
 * One 64-bit word in the byte order of the machine for each frame of the pool,
 * written by a single store:
 *
 * ===== ======== ==============================================================
 * bits  name     meaning
 * ===== ======== ==============================================================
 * 63    valid    0: nothing is said of this frame, ignore the rest
 * 62    empty    1: the frame holds no block: what else is known of it is wrong
 * 61-60          0
 * 59-44 file     as from FILE
 * 43-0  block    byte offset in the file / 4096
 * ===== ======== ==============================================================
 *
 * The kernel reads them when a migration starts, and only what is in memory
 * then: a descriptor that is not, or does not fit this form, says nothing.
 */
#define MEM_HINT_DESC_VALID		(1ULL << 63)
#define MEM_HINT_DESC_EMPTY		(1ULL << 62)
#define MEM_HINT_DESC_FILE_SHIFT	44
#define MEM_HINT_DESC_FILE_BITS		16
#define MEM_HINT_DESC_FILE_MASK		((1ULL << MEM_HINT_DESC_FILE_BITS) - 1)
#define MEM_HINT_DESC_BLOCK_BITS	44
#define MEM_HINT_DESC_BLOCK_MASK	((1ULL << MEM_HINT_DESC_BLOCK_BITS) - 1)

/**
 * struct mem_hint_pool - a buffer pool and its descriptors
 * @flags: 0.
 * @frame_shift: a frame has 1 << @frame_shift bytes, 4 KiB (12) to 2 MiB (21).
 * @addr: the first frame, a multiple of 4 KiB.
 * @nr_frames: how many frames follow each other, not 0.
 * @desc_uptr: @nr_frames descriptors, a multiple of 8.
 * @out_pool: a number for UNPOOL.
 * @__reserved: 0.
 *
 * Neither the frames nor the descriptors need be mapped yet, or stay mapped:
 * they are looked at when a migration starts, by address.  Frames may be any
 * memory that BIND takes; other memory is left out.  Of the frames and the
 * descriptors nothing is brought in from swap, and no page fault is waited for.
 *
 * EINVAL also: @frame_shift, or a range beyond the address space.  EEXIST:
 * the frames overlap those of another pool of the process.
 */
struct mem_hint_pool {
	__u32 flags;
	__u32 frame_shift;
	__aligned_u64 addr;
	__aligned_u64 nr_frames;
	__aligned_u64 desc_uptr;
	__u32 out_pool;
	__u32 __reserved;
};

/**
 * struct mem_hint_unpool - forget a pool
 * @flags: 0.
 * @pool: as from POOL.
 *
 * A migration that starts later does not look at the descriptors; one that is
 * just starting may, which harms nothing.
 *
 * ENOENT: there is no such pool.
 */
struct mem_hint_unpool {
	__u32 flags;
	__u32 pool;
};

/**
 * struct mem_hint_set_class - what a range is to the process
 * @flags: 0.
 * @class: enum mem_hint_class.
 * @addr: begin of the range, a multiple of 4 KiB.
 * @len: its bytes, a multiple of 4 KiB, not 0.
 *
 * BACKED takes back what was said of the range before.  HOT makes hints of the
 * range's pages hot.
 *
 * DISCARDABLE: the process can do without the content.  If the host agrees to
 * that for a migration, each page of the range reads after it either as before
 * or as zeros, until the process writes to it; the COMPLETE event names the
 * classes that were agreed to.  To keep a page while a migration is under way,
 * write to it: BACKED, and moving it, work for the next one only.  Only private
 * anonymous memory that is neither mergeable (MADV_MERGEABLE) nor registered with
 * a userfaultfd, and of this only pages that no other process shares when a
 * migration starts.  What is made so later is left out.  A fork while a migration
 * is under way keeps all pages that its child then shares, as if they had been
 * written to; MADV_DONTFORK avoids that.  Unmapping or moving pages of a
 * discardable range takes the class back for these pages, and for all of the range
 * where the process has as many ranges as it may have.  Pages that UFFDIO_MOVE has
 * moved to a range which is not registered any more count as written there.
 *
 * ENOMEM: some of the range is not mapped (not for BACKED).  EOPNOTSUPP:
 * another class, or another kind of memory.
 */
struct mem_hint_set_class {
	__u32 flags;
	__u32 class;
	__aligned_u64 addr;
	__aligned_u64 len;
};

#define MEM_HINT_NO_FRAME		(~0ULL)
#define MEM_HINT_TRANSLATE_MAX		65536

/**
 * struct mem_hint_translate - guest frames of the caller's pages
 * @flags: 0.
 * @__reserved: 0.
 * @addr: the first page, a multiple of 4 KiB.
 * @nr: how many pages, 1 to MEM_HINT_TRANSLATE_MAX.
 * @frames_uptr: to @nr words of 64 bits: the frame of each page, or
 *	MEM_HINT_NO_FRAME where there is none in memory.
 *
 * What it says can be wrong by the time that it is read, unless the pages are
 * locked; even then compaction may move them.
 *
 * EPERM: CAP_SYS_ADMIN in the initial user namespace is needed.
 */
struct mem_hint_translate {
	__u32 flags;
	__u32 __reserved;
	__aligned_u64 addr;
	__aligned_u64 nr;
	__aligned_u64 frames_uptr;
};

/**
 * struct mem_hint_segment - a run of a virtual disk and where it is
 * @start: its first 512-byte sector.
 * @nr_sectors: how many.
 * @target: the first sector on the device below.
 * @major: of the device below, a hinted disk or a partition of one.
 * @minor: likewise.
 * @nr_stripes: 1: linear; else the run is striped over so many devices, each
 *	of which has a segment with the same @start and @nr_sectors.
 * @stripe: which one this is, from 0 on.
 * @chunk_sectors: sectors in a row on one device; 0 if linear.
 * @__reserved: 0.
 */
struct mem_hint_segment {
	__aligned_u64 start;
	__aligned_u64 nr_sectors;
	__aligned_u64 target;
	__u32 major;
	__u32 minor;
	__u32 nr_stripes;
	__u32 stripe;
	__u32 chunk_sectors;
	__u32 __reserved;
};

#define MEM_HINT_MAX_SEGMENTS		4096

/**
 * struct mem_hint_segments - what a virtual disk (LVM) consists of
 * @flags: 0.
 * @major: of the virtual disk.
 * @minor: likewise.
 * @nr: segments; 0: forget the disk.
 * @segments_uptr: to @nr struct mem_hint_segment in the order of @start and
 *	@stripe; they do not overlap, what is between them is not hinted.
 *
 * Replaces what was said of the disk before.  Forgotten when the disk goes; to
 * be said again when its table is loaded anew.
 *
 * EPERM: CAP_SYS_ADMIN in the initial user namespace is needed.  ENODEV: there
 * is no such virtual disk, or no such disk below.  EINVAL: the segments do not
 * fit each other or the disks.  EOPNOTSUPP: the disk needs no map, or what is
 * below is not a hinted disk.  E2BIG: more than MEM_HINT_MAX_SEGMENTS.  EAGAIN:
 * a disk below has not said yet who it is.  ENOENT: @nr is 0, and nothing was said
 * of the disk.  ENOSPC: too many disks or segments; those of disks that have gone
 * do not count.
 */
struct mem_hint_segments {
	__u32 flags;
	__u32 major;
	__u32 minor;
	__u32 nr;
	__aligned_u64 segments_uptr;
};

/**
 * enum mem_hint_event_type - what happens to the machine
 * @MEM_HINT_EVENT_NONE: nothing yet.
 * @MEM_HINT_EVENT_START: a migration starts.  For at most @wait_ms the
 *	snapshot waits for those who said so by MEM_HINT_EVENTS_READY.
 * @MEM_HINT_EVENT_COMPLETE: the migration is over, here or at the destination.
 */
enum mem_hint_event_type {
	MEM_HINT_EVENT_NONE		= 0,
	MEM_HINT_EVENT_START		= 1,
	MEM_HINT_EVENT_COMPLETE		= 2,
};

/* How it ended: MEM_HINT_OUTCOME_*, or nobody knows: the channel was cut. */
#define MEM_HINT_OUTCOME_UNKNOWN	2

/**
 * struct mem_hint_event - one event
 * @type: enum mem_hint_event_type.
 * @outcome: COMPLETE: MEM_HINT_OUTCOME_*; else 0.
 * @seq: one more for each event, from 1 on.
 * @generation: of the table after START; as many migrations were started.
 * @classes: bit (1 << class) for each enum mem_hint_class agreed to.
 * @time_ns: CLOCK_BOOTTIME.
 * @wait_ms: START: how long the snapshot waits; else 0.
 * @nr_lost: events before this one that came too fast for this reader.
 */
struct mem_hint_event {
	__u32 type;
	__u32 outcome;
	__aligned_u64 seq;
	__aligned_u64 generation;
	__aligned_u64 classes;
	__aligned_u64 time_ns;
	__u32 wait_ms;
	__u32 nr_lost;
};

/**
 * struct mem_hint_events - a file descriptor that events are read from
 * @flags: 0 or MEM_HINT_EVENTS_*.
 * @out_fd: close-on-exec; poll() says POLLIN, read() gives whole struct
 *	mem_hint_event and waits for one unless O_NONBLOCK is set.
 *
 * The first event read is the first one after this call.  /dev/mem_hints
 * itself can be polled and read in the same way, from open() on.
 *
 * EMFILE, ENFILE: no file descriptor is left.  EBUSY: MEM_HINT_EVENTS_READY,
 * and too many have asked for that.  EDQUOT: the same of the user.
 */
struct mem_hint_events {
	__u32 flags;
	__s32 out_fd;
};

/* The snapshot waits for READY of this fd, for a bounded time. */
#define MEM_HINT_EVENTS_READY		(1U << 0)
/* read() returns EAGAIN instead of waiting. */
#define MEM_HINT_EVENTS_NONBLOCK	(1U << 1)

/**
 * struct mem_hint_wait - wait for an event
 * @flags: 0.
 * @timeout_ms: 0: do not wait; MEM_HINT_WAIT_FOREVER.
 * @seq: number of the last event that the caller knows; 0 at first, or
 *	@out_seq of struct mem_hint_query.
 * @out_event: the first event after that one.
 *
 * ETIMEDOUT: there was none.  EINVAL: @seq is of the future.
 */
struct mem_hint_wait {
	__u32 flags;
	__u32 timeout_ms;
	__aligned_u64 seq;
	struct mem_hint_event out_event;
};

#define MEM_HINT_WAIT_FOREVER		(~0U)

/**
 * struct mem_hint_ready - the snapshot need not wait for this one any more
 * @flags: 0.
 * @fd: from EVENTS with MEM_HINT_EVENTS_READY.
 * @seq: of the START event.
 *
 * EBADF: no such fd, or of another kind.  EINVAL: @fd is not waited for.
 * ESTALE: there is no such START, or its snapshot has been taken.
 */
struct mem_hint_ready {
	__u32 flags;
	__s32 fd;
	__aligned_u64 seq;
};

/* Of a row with <linux/migdb.h>: 0xBC 40-5F. */
#define MEM_HINT_IOC_TYPE		0xBC
#define MEM_HINT_IOC_BASE		0x40
#define MEM_HINT_IOC_NR(op)		(MEM_HINT_IOC_BASE + (op))

/* MEM_HINT_IOC_NR() of the op; the kernel looks at type and number only. */
#define MEM_HINT_IOC_QUERY	_IOWR(MEM_HINT_IOC_TYPE, 0x41, struct mem_hint_query)
#define MEM_HINT_IOC_FILE	_IOWR(MEM_HINT_IOC_TYPE, 0x42, struct mem_hint_file)
#define MEM_HINT_IOC_UNFILE	_IOWR(MEM_HINT_IOC_TYPE, 0x43, struct mem_hint_unfile)
#define MEM_HINT_IOC_BIND	_IOWR(MEM_HINT_IOC_TYPE, 0x44, struct mem_hint_bind)
#define MEM_HINT_IOC_UNBIND	_IOWR(MEM_HINT_IOC_TYPE, 0x45, struct mem_hint_unbind)
#define MEM_HINT_IOC_POOL	_IOWR(MEM_HINT_IOC_TYPE, 0x46, struct mem_hint_pool)
#define MEM_HINT_IOC_UNPOOL	_IOWR(MEM_HINT_IOC_TYPE, 0x47, struct mem_hint_unpool)
#define MEM_HINT_IOC_CLASS	_IOWR(MEM_HINT_IOC_TYPE, 0x48, struct mem_hint_set_class)
#define MEM_HINT_IOC_TRANSLATE	_IOWR(MEM_HINT_IOC_TYPE, 0x49, struct mem_hint_translate)
#define MEM_HINT_IOC_SEGMENTS	_IOWR(MEM_HINT_IOC_TYPE, 0x4a, struct mem_hint_segments)
#define MEM_HINT_IOC_EVENTS	_IOWR(MEM_HINT_IOC_TYPE, 0x4b, struct mem_hint_events)
#define MEM_HINT_IOC_WAIT	_IOWR(MEM_HINT_IOC_TYPE, 0x4c, struct mem_hint_wait)
#define MEM_HINT_IOC_READY	_IOWR(MEM_HINT_IOC_TYPE, 0x4d, struct mem_hint_ready)

#endif /* _UAPI_LINUX_MEM_HINTS_H */
