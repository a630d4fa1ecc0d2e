// SPDX-License-Identifier: MIT
/*
 * The source's side of the migdb API in the order in which a migration uses it.
 * See session.h for what the VMM around it does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "session.h"

#define HASH_PAGES	2048	/* per call: keeps the VMM's rounds short */
#define MAX_RUNS	512

/* START would refuse it for want of memory, too, but only the VMM knows its budget. */
int session_ask(struct mdb *m, const struct vm *vm, const struct options *o, u32 role)
{
	struct migdb_get_info info;
	u64 need;
	int rc = mdb_info(m, vm->nr_pages, &info);

	if (rc)
		return rc;
	if (info.out_abi_version != MIGDB_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (role == MIGDB_ROLE_SOURCE && vm->ring_entries &&
	    !(info.out_features & MIGDB_FEATURE_RING))
		return -EOPNOTSUPP;
	need = role == MIGDB_ROLE_SOURCE ? info.out_source_need_bytes : info.out_dest_need_bytes;
	progress(o, "a session may need %llu KiB of kernel memory",
		 (unsigned long long)need >> 10);
	return o->session_bytes && need > o->session_bytes ? -ENOMEM : 0;
}

/*
 * 1. IDLE: who we are, where memory is, which disks there are, where the guest
 *    says which page holds which block.  MIGDB_START takes all the memory that
 *    the session will ever need, so "no" is said here and not half-way.
 */
bool session_setup(struct session *s, struct vm *vm, struct workload *w, const struct options *o,
		   struct channel *chan, const u8 uuid[MIGDB_UUID_BYTES])
{
	struct mdb *m = &s->mdb;
	const char *step = "open";
	static char why[128];
	int rc;

	*s = (struct session){ .vm = vm, .chan = chan, .ring = vm->ring_entries };
	rc = mdb_open(m);
	if (!rc) {
		step = "MIGDB_GET_INFO";
		rc = session_ask(m, vm, o, MIGDB_ROLE_SOURCE);
	}
	if (!rc) {
		step = "VHOST_SET_OWNER";
		rc = mdb_set_owner(m);
	}
	if (!rc) {
		step = "VHOST_SET_MEM_TABLE";
		rc = mdb_set_memory(m, 0, vm->bytes, vm->ram);
	}
	if (!rc) {
		step = "MIGDB_SET_DISK";
		rc = mdb_set_disk(m, WORKLOAD_HOST_DISK, w->disk, WORKLOAD_SERIAL);
	}
	if (!rc) {
		step = "MIGDB_SET_GUEST_TABLE";
		rc = mdb_set_guest_table(m, w->hints.root_gpa, WORKLOAD_GUEST_DISK,
					 WORKLOAD_SERIAL);
	}
	if (!rc && s->ring) {
		step = "MIGDB_BIND_KVM";
		rc = mdb_bind_kvm(m, vm->fd);
	}
	if (!rc) {
		step = "MIGDB_START";
		rc = mdb_start(m, MIGDB_ROLE_SOURCE, uuid, "refvmm-source");
	}
	s->live = !rc;
	if (rc) {
		snprintf(why, sizeof(why), "%s: %s", step, strerror(-rc));
		s->why = why;
		mdb_close(m);
	}
	return s->live;
}

/*
 * 2. ARMING: every log is on and clear; only now may pages be hashed.  With
 *    SNAPSHOT the kernel reads the guest's table, and pages whose bit is then
 *    set need not be sent any more.
 */
int session_arm(struct session *s, u64 *todo)
{
	struct migdb_snapshot snap = {};
	u64 page;
	int rc;

	rc = mdb_armed(&s->mdb, 0, s->mdb.nr_pages);
	if (!rc)
		rc = mdb_snapshot(&s->mdb, &snap);
	if (rc)
		return rc;
	s->snapshotted = true;
	s->skipped = snap.out_candidates;
	s->left = snap.out_candidates;
	for (page = 0; page < s->mdb.nr_pages; page++)
		if (mdb_bit(&s->mdb, page))
			todo[page / 64] &= ~(1ULL << (page % 64));
	return 0;
}

/*
 * 3. TRACKING, each round, in this order: the logs, the send queue, and only
 *    then are pages copied.  A page that the guest wrote to is thereby out of
 *    the set before anybody sends or hashes it again.
 */
int session_harvest(struct session *s)
{
	return mdb_harvest(&s->mdb, NULL, NULL);
}

int session_dirty(struct session *s, const u64 *dirty)
{
	return mdb_dirty(&s->mdb, 0, s->mdb.nr_pages, dirty, NULL);
}

int session_discard(struct session *s, u64 first, u64 count)
{
	return mdb_invalidate(&s->mdb, first, count);
}

int session_take(struct session *s, u64 *todo)
{
	struct migdb_run runs[MAX_RUNS];
	u64 left = 0, page;
	u32 nr, i;
	int rc;

	do {
		rc = mdb_dequeue(&s->mdb, runs, MAX_RUNS, ~0ULL, &nr, &left);
		if (rc)
			return rc;
		for (i = 0; i < nr; i++)
			for (page = runs[i].first; page < runs[i].first + runs[i].count; page++)
				todo[page / 64] |= 1ULL << (page % 64);
	} while (left && nr);
	return 0;
}

/* The stream is cargo: whole frames out of one fd, over our channel, into the other. */
static int carry(struct session *s)
{
	static u8 buf[4 * MIGDB_MAX_FRAME_BYTES];
	ssize_t n;
	int rc;

	for (;;) {
		n = read(s->mdb.tx, buf, sizeof(buf));
		if (n == 0 || (n < 0 && errno == EAGAIN))
			return 0;
		if (n < 0)
			return -errno;
		rc = chan_send(s->chan, MSG_MIGDB, 0, buf, n);
		if (rc)
			return rc;
	}
}

int session_advance(struct session *s)
{
	u64 hashed = 0;
	int rc = 0;

	if (s->left)
		rc = mdb_hash(&s->mdb, HASH_PAGES, &hashed, &s->left);
	return rc ? rc : carry(s);
}

/*
 * Room in a round: the far end of the set, which the destination reads last.  The
 * stream first: what is revoked there in time is not read.
 */
int session_spare(struct session *s, u64 room, bool *more)
{
	struct migdb_take t;
	int rc = mdb_take(&s->mdb, room, &t);

	*more = !rc && (t.out_result == MIGDB_TAKE_DONE || t.out_result == MIGDB_TAKE_SOONER ||
			t.out_result == MIGDB_TAKE_AGAIN);
	return rc || !t.out_taken ? rc : carry(s);
}

/*
 * 4. SEALED: no page enters or leaves the set by itself any more.  What the
 *    destination cannot build comes back to the send queue by its stream.
 */
int session_seal(struct session *s)
{
	int rc = mdb_seal(&s->mdb, NULL, NULL);

	return rc ? rc : carry(s);
}

/* The bitmap says whether the page was left out; it leaves the set by this. */
int session_request(struct session *s, u64 page)
{
	u64 taken = 0;
	int rc = mdb_request(&s->mdb, page, 1, &taken);

	return rc ? rc : (int)taken;
}

int session_reclaim(struct session *s)
{
	return mdb_reclaim(&s->mdb, NULL);
}

/* 5. DONE: fails as long as there is something in the send queue. */
int session_complete(struct session *s)
{
	int rc = mdb_complete(&s->mdb, NULL);

	mdb_stats(&s->mdb, &s->stats);
	return rc;
}

/*
 * At any point: after an abort the bitmap stays as it is, and every bit in it
 * is a page that was skipped and has to be sent after all.
 */
void session_lose(struct session *s, u64 *todo, int error)
{
	static char why[128];
	u64 page;

	mdb_abort(&s->mdb, 0);
	for (page = 0; s->snapshotted && page < s->mdb.nr_pages; page++)
		if (mdb_bit(&s->mdb, page))
			todo[page / 64] |= 1ULL << (page % 64);
	session_take(s, todo);
	mdb_stats(&s->mdb, &s->stats);
	snprintf(why, sizeof(why), "%s, reason %s", strerror(-error),
		 mdb_reason_name(s->stats.out_reason));
	s->why = why;
	session_close(s);
}

void session_close(struct session *s)
{
	s->live = false;
	mdb_close(&s->mdb);
}
