/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The stream between two sessions: self-delimiting frames, little-endian.
 * The VMM carries them without looking inside.  Whoever decodes trusts nothing:
 * lengths, counts and order are checked before use, and each frame carries a MAC
 * under the session's key, so that a flipped bit can never become a wrong page.
 *
 *	source -> destination	HELLO, then RECORDS, REVOKE..., FINISH | ABORT
 *	destination -> source	WELCOME, then BUILT, RETURN..., DRAINED | ABORT
 *
 * HELLO carries the key in the clear: the VMM's channel is as secret as the guest
 * memory that it carries (use TLS).  Its MAC is made with that same key.
 */
#ifndef _MIGDB_WIRE_H
#define _MIGDB_WIRE_H

#include <linux/limits.h>
#include <linux/types.h>
#include <linux/migdb.h>
#include "limits.h"
#include "regions.h"
#include "tag.h"

#define MIGDB_WIRE_MAGIC	0x4244474du	/* "MGDB" */
#define MIGDB_WIRE_VERSION	1
#define MIGDB_WIRE_VERSION_MIN	1

/*
 * What the destination can, in "recorded" of WELCOME: nothing is recorded by then, so
 * a peer that knows of no features says 0, and one that does not look there is not
 * disturbed.  The source uses what it knows of it and ignores the rest.
 */
#define MIGDB_OFFER_TAKEN	BIT_ULL(0)	/* reason "taken" in REVOKE */

enum migdb_frame_type {
	MIGDB_FRAME_INVALID = 0,
	MIGDB_FRAME_HELLO = 1,
	MIGDB_FRAME_RECORDS = 2,
	MIGDB_FRAME_REVOKE = 3,
	MIGDB_FRAME_FINISH = 4,
	MIGDB_FRAME_ABORT = 5,
	MIGDB_FRAME_WELCOME = 16,
	MIGDB_FRAME_BUILT = 17,
	MIGDB_FRAME_RETURN = 18,
	MIGDB_FRAME_DRAINED = 19,
};

struct migdb_wire_hdr {
	__le32 magic;
	__le16 type;
	__le16 version;
	__le32 bytes;		/* whole frame */
	__le32 seq;		/* per direction, from 0, no gaps */
	__le64 session;		/* first 8 bytes of the uuid */
	__le64 mac;		/* of all but this field: migdb_tag_frame() */
};

struct migdb_wire_disk {
	__le32 disk;
	__le32 type;
	u8 identity[MIGDB_IDENTITY_BYTES];
	__le64 nr_blocks;
};

struct migdb_wire_hello {
	struct migdb_wire_hdr hdr;
	u8 uuid[MIGDB_UUID_BYTES];
	struct migdb_key key;
	__le32 page_bytes;
	__le32 tag_alg;
	__le64 features;	/* none yet; unknown ones are refused */
	__le32 nr_disks;
	__le32 reserved;
	struct migdb_wire_disk disks[];
};

/* RECORDS: runs, then the tags of all their pages in the same order. */
struct migdb_wire_records {
	struct migdb_wire_hdr hdr;
	__le32 nr_runs;
	__le32 nr_pages;
	/* struct migdb_wire_run runs[nr_runs]; __le64 tags[nr_pages]; */
};

struct migdb_wire_run {
	__le64 gfn;
	__le64 where;		/* migdb_where(): disk and block */
	__le32 nr_pages;	/* consecutive in both */
	__le32 reserved;
};

/*
 * REVOKE, BUILT, RETURN: a list of runs of guest frames, ascending and disjoint:
 * no list costs more than one walk over memory.
 */
struct migdb_wire_list {
	struct migdb_wire_hdr hdr;
	__le32 nr_runs;
	__le32 reserved;
	/* struct migdb_wire_range ranges[nr_runs]; */
};

struct migdb_wire_range {
	__le64 gfn;
	__le32 nr_pages;
	__le32 reason;		/* enum migdb_reason */
};

/* FINISH, ABORT, WELCOME, DRAINED: a few numbers; @reason: any of an ABORT, a known one else. */
struct migdb_wire_end {
	struct migdb_wire_hdr hdr;
	__le64 recorded;	/* WELCOME: MIGDB_OFFER_* */
	__le64 built;
	__le64 returned;
	__le32 reason;
	__le32 reserved;
};

/* Header fields after all checks that need no session. */
struct migdb_frame {
	u32 type;
	u32 bytes;
	u32 seq;
	u64 session;
	const void *data;
};

/*
 * Look at the first frame of @len bytes at @buf.  0 and *@f; -EBADMSG for
 * anything that is not a whole, well-formed frame of a known type and version
 * (sizes and counts inside the body are checked against the frame's length,
 * runs against MIGDB_MAX_BLOCK, zero lengths and wrap-around; reserved fields
 * must be 0; a list has at least one run, and each lies behind the one before;
 * HELLO's header names HELLO's uuid).
 * Left to the session: MAC, sequence, order, direction, and HELLO's page size,
 * algorithm, features and disk types.  @buf is aligned to 8, as is every frame
 * behind a whole one.
 */
int migdb_frame_parse(const void *buf, size_t len, struct migdb_frame *f);
/* True if the MAC of the frame (f->data, f->bytes) is right under @key. */
bool migdb_frame_authentic(const struct migdb_frame *f, const struct migdb_key *key);
/* Fill in the header, then the MAC.  @frame is aligned to 8, @bytes its length. */
void migdb_frame_seal(void *frame, u32 type, u32 bytes, u32 seq, u64 session,
		      const struct migdb_key *key);
/* Pages that a list names, or 0 if one of them is not in @rs. */
u64 migdb_list_pages(const struct migdb_wire_list *l, const struct migdb_regions *rs);
/* Why the sender of an ABORT gave up; MIGDB_REASON_ABORTED if it says none that is known. */
u32 migdb_abort_reason(const struct migdb_frame *f);
/*
 * Is @seq the number of the frame after @nr others?  Never for the last number:
 * the one after it would be 0, which is HELLO's.
 */
static inline bool migdb_seq_next(u32 nr, u32 seq)
{
	return seq == nr && nr != U32_MAX;
}

/* First 8 bytes of a uuid as a number. */
u64 migdb_session_id(const u8 *uuid);

static inline u32 migdb_records_bytes(u32 nr_runs, u32 nr_pages)
{
	return sizeof(struct migdb_wire_records) + nr_runs * sizeof(struct migdb_wire_run) +
	       nr_pages * sizeof(__le64);
}

static inline bool migdb_frame_is_list(u32 type)
{
	return type == MIGDB_FRAME_REVOKE || type == MIGDB_FRAME_BUILT ||
	       type == MIGDB_FRAME_RETURN;
}

static inline u32 migdb_list_bytes(u32 nr_runs)
{
	return sizeof(struct migdb_wire_list) + nr_runs * sizeof(struct migdb_wire_range);
}

static inline struct migdb_wire_run *migdb_records_runs(const struct migdb_wire_records *r)
{
	return (struct migdb_wire_run *)(r + 1);
}

static inline __le64 *migdb_records_tags(const struct migdb_wire_records *r, u32 nr_runs)
{
	return (__le64 *)(migdb_records_runs(r) + nr_runs);
}

static inline struct migdb_wire_range *migdb_list_ranges(const struct migdb_wire_list *l)
{
	return (struct migdb_wire_range *)(l + 1);
}

#endif /* _MIGDB_WIRE_H */
