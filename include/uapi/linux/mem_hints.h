/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
/*
 * Memory hints: which guest page holds which block of which disk.
 *
 * A guest publishes a table in its own RAM; its host reads it to leave those
 * pages out of a migration and to read them from storage at the destination.
 * An entry is a hint: the host believes nothing that it has not verified.
 *
 * Three things are described here: the entry, the radix of guest pages that
 * holds the entries, and the messages of the channel on which a host asks
 * where the table is and says when a migration starts and ends.
 *
 * Everything in memory and on the wire is little-endian.
 */
#ifndef _UAPI_LINUX_MEM_HINTS_H
#define _UAPI_LINUX_MEM_HINTS_H

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
 *	when COMPLETE has not come after so long; 0: no limit.
 * @flags: 0.
 *
 * Every I/O that completed before START was received is in the table when
 * STARTED is sent.
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
 *	ETIMEDOUT (half a message, or max_freeze_ms), ENOMEM, ESHUTDOWN (the
 *	module is being unloaded or hints are disabled).
 * @type: type of the message that is answered, 0 if there is none.
 * @text: why, for a log; NUL-terminated.
 */
struct mem_hint_error {
	__le32 error;
	__le32 type;
	__u8 text[MEM_HINT_ERROR_TEXT_LEN];
};

#endif /* _UAPI_LINUX_MEM_HINTS_H */
