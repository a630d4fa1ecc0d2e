// SPDX-License-Identifier: MIT
/*
 * The destination.  One thread: messages from the source, and the session's
 * eventfd for what the kernel wants carried back.
 *
 * The API in the order of a migration:
 *	MIGDB_GET_INFO, VHOST_SET_OWNER, workers, VHOST_SET_MEM_TABLE, MIGDB_SET_DISK,
 *	MIGDB_START(dest)
 *	write(rx) what comes; read(tx) what goes back; claim each page that the
 *	stream brings, before it is written
 *	MIGDB_DRAIN when the source is sealed; MIGDB_COMPLETE before the guest runs
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dest.h"

/* FAULT_LATE_RECORD: time for the reads that its records ask for. */
#define HELD_PAUSE_US	200000
#define HELD_PAUSES	10	/* not after each: the source waits for MSG_DRAINED */

/* @nr workers share the lanes, each of which fetches and verifies by itself. */
static int add_workers(struct dest *d, u32 nr)
{
	u32 i, lane, lanes;
	int rc = 0;

	for (i = 0; i < nr && !rc; i++) {
		for (lane = i, lanes = 0; lane < MIGDB_NR_LANES; lane += nr)
			lanes |= 1u << lane;
		rc = mdb_add_worker(&d->mdb, lanes);
		d->result.workers += !rc;
	}
	return rc;
}

static void setup(struct dest *d, const u8 uuid[MIGDB_UUID_BYTES])
{
	struct mdb *m = &d->mdb;
	int rc = mdb_open(m);

	if (!rc)
		rc = session_ask(m, d->vm, d->o, MIGDB_ROLE_DEST);
	if (!rc)
		rc = mdb_set_owner(m);
	if (!rc)
		rc = add_workers(d, d->o->workers);
	if (!rc)
		rc = mdb_set_memory(m, 0, d->vm->bytes, d->vm->ram);
	if (!rc)
		rc = mdb_set_disk(m, WORKLOAD_HOST_DISK, d->w->disk, WORKLOAD_SERIAL);
	if (!rc)
		rc = mdb_start(m, MIGDB_ROLE_DEST, uuid, "refvmm-dest");
	d->live = !rc;
	if (rc) {
		progress(d->o, "destination: no session: %s", strerror(-rc));
		mdb_close(m);
	}
}

/* The fault thread asks the source beside whatever the other one has to say. */
int dest_send(struct dest *d, u32 type, u64 arg, const void *data, u32 bytes)
{
	int rc;

	pthread_mutex_lock(&d->send_lock);
	rc = chan_send(&d->chan, type, arg, data, bytes);
	pthread_mutex_unlock(&d->send_lock);
	return rc;
}

/* Carries what the kernel has to say to the source. */
int dest_carry(struct dest *d)
{
	static u8 buf[4 * MIGDB_MAX_FRAME_BYTES];
	struct migdb_stats st;
	u64 count;
	ssize_t n;
	int rc = 0;

	if (!d->live)
		return 0;
	if (read(d->mdb.event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	while (!rc && (n = read(d->mdb.tx, buf, sizeof(buf))) > 0)
		rc = dest_send(d, MSG_MIGDB, 0, buf, n);
	if (!rc && !d->told && !mdb_stats(&d->mdb, &st) && st.out_state == MIGDB_STATE_ABORTED) {
		d->told = true;
		progress(d->o, "destination: aborted: %s", mdb_reason_name(st.out_reason));
		rc = dest_send(d, MSG_ORDINARY, st.out_reason, NULL, 0);
	}
	return rc;
}

static int take_frames(struct dest *d, const void *data, u32 bytes)
{
	if (d->live && write(d->mdb.rx, data, bytes) < 0)
		progress(d->o, "destination: stream: %s", strerror(errno));
	return dest_carry(d);
}

static int claim(struct dest *d, u64 first, u64 count)
{
	u64 page;

	if (!d->live)
		return 0;
	if (d->o->fault == FAULT_LATE_RECORD && !d->released) {
		memset(d->unclaimed + first, 1, count);
		return 0;
	}
	/* A page that could not be claimed must not be written: no migration, then. */
	if (d->o->claim_by_ioctl)
		return mdb_claim(&d->mdb, first, count);
	for (page = first; page < first + count; page++)
		mdb_claim_byte(&d->mdb, page);
	return 0;
}

static int take_pages(struct dest *d, const struct msg *m)
{
	u64 count = m->bytes / MDB_PAGE;
	int rc;

	if (m->bytes % MDB_PAGE || m->arg > d->vm->nr_pages || count > d->vm->nr_pages - m->arg)
		return -EPROTO;
	/* First the claim, then the bytes: straight into guest memory. */
	rc = count ? claim(d, m->arg, count) : 0;
	return rc ? rc : chan_recv_data(&d->chan, d->vm->ram + m->arg * MDB_PAGE, m->bytes);
}

static int take_zero(struct dest *d, const struct msg *m)
{
	u64 count;
	int rc;

	if (m->bytes != sizeof(count))
		return -EPROTO;
	rc = chan_recv_data(&d->chan, &count, sizeof(count));
	if (rc)
		return rc;
	if (m->arg > d->vm->nr_pages || count > d->vm->nr_pages - m->arg)
		return -EPROTO;
	rc = count ? claim(d, m->arg, count) : 0;
	if (rc)
		return rc;
	memset(d->vm->ram + m->arg * MDB_PAGE, 0, count * MDB_PAGE);
	return 0;
}

/* FAULT_LATE_RECORD: what came before is old by now; the kernel cannot know. */
static void hold(struct dest *d, const void *data, u32 bytes)
{
	struct held *h = malloc(sizeof(*h) + bytes);

	if (!h)
		return;
	h->next = NULL;
	h->bytes = bytes;
	memcpy(h->data, data, bytes);
	*d->held_tail = h;
	d->held_tail = &h->next;
}

static void release_held(struct dest *d)
{
	struct held *h;
	u32 pauses = 0;
	u64 page;

	d->released = true;
	while ((h = d->held)) {
		d->held = h->next;
		take_frames(d, h->data, h->bytes);
		free(h);
		if (pauses++ < HELD_PAUSES)
			usleep(HELD_PAUSE_US);
	}
	for (page = 0; d->live && page < d->vm->nr_pages; page++)
		if (d->unclaimed[page])
			mdb_claim_byte(&d->mdb, page);
}

static void flip(struct dest *d)
{
	u64 page;

	for (page = 0; d->live && page < d->vm->nr_pages; page++)
		if (mdb_claim_of(&d->mdb, page) == MIGDB_CLAIM_DONE) {
			d->vm->ram[page * MDB_PAGE + 1234] ^= 0x10;
			progress(d->o, "destination: flipped a bit of page %llu",
				 (unsigned long long)page);
			return;
		}
}

static int sealed(struct dest *d)
{
	struct migdb_drain out;
	u64 start = now_ns();
	int rc;

	if (d->o->fault == FAULT_LATE_RECORD)
		release_held(d);
	if (d->live) {
		rc = mdb_drain(&d->mdb, d->o->grace_ms * 1000000ULL, &out);
		if (rc)
			progress(d->o, "destination: MIGDB_DRAIN: %s", strerror(-rc));
	}
	d->result.drain_ns = now_ns() - start;
	if (d->o->fault == FAULT_FLIP)
		flip(d);
	rc = dest_carry(d);
	return rc ? rc : dest_send(d, MSG_DRAINED, 0, NULL, 0);
}

void dest_save_stats(struct dest *d)
{
	struct migdb_stats st;

	if (!d->live || mdb_stats(&d->mdb, &st))
		return;
	d->result.recorded = st.out_recorded;
	d->result.built = st.out_built;
	d->result.returned = st.out_returned;
	d->result.read_bytes = st.out_read_bytes;
	d->result.reads = st.out_reads;
	d->result.hash_ns = st.out_hash_ns;
	d->result.memory_bytes = st.out_memory_bytes;
	d->result.state = st.out_state;
	d->result.reason = st.out_reason;
	memcpy(d->result.by_reason, st.out_by_reason, sizeof(d->result.by_reason));
}

static int last(struct dest *d)
{
	u64 missing = 0;
	int rc;

	if (d->late) {
		d->complete = true;
		return late_last(d);
	}
	rc = d->live ? mdb_complete(&d->mdb, &missing) : 0;

	dest_save_stats(d);
	if (!d->have_state)
		return -EPROTO;
	if (rc) {
		fprintf(stderr, "refvmm: MIGDB_COMPLETE: %s, %llu pages are missing\n",
			strerror(-rc), (unsigned long long)missing);
		return dest_send(d, MSG_FAILED, missing, NULL, 0);
	}
	d->complete = true;
	return dest_send(d, MSG_READY, 0, NULL, 0);
}

/* The oracle: each page here against the same page there. */
int dest_compare(struct dest *d, u64 first, const struct digest *want, u64 n)
{
	u64 i;

	if (first > d->vm->nr_pages || n > d->vm->nr_pages - first)
		return -EPROTO;
	for (i = 0; i < n; i++) {
		u64 page = first + i;
		struct digest got = siphash128(DIGEST_KEY, d->vm->ram + page * MDB_PAGE, MDB_PAGE);

		if (got.lo == want[i].lo && got.hi == want[i].hi)
			continue;
		if (d->differ++ < 64)
			fprintf(stderr, "refvmm: gfn %#llx differs (claim %d)\n",
				(unsigned long long)page,
				d->live ? mdb_claim_of(&d->mdb, page) : -1);
	}
	return 0;
}

/* The guest is ours.  The session has done its work and is closed first. */
static int run(struct dest *d)
{
	if (!d->complete)
		return -EPROTO;
	if (d->live)
		mdb_close(&d->mdb);
	d->live = false;
	if (!d->running) {
		vm_load(d->vm, d->state);
		vm_resume(d->vm);
	}
	usleep(d->o->after_ms * 1000);
	d->result.guest_ok = workload_check(d->w);
	d->result.differ = d->differ;
	return dest_send(d, MSG_RESULT, 0, &d->result, sizeof(d->result));
}

/*
 * The source has no session any more, so ours is worth nothing: all that was in its set
 * is in its todo.  In pre-copy it stays open, for claims and for the last look; a switch
 * to come is without one.  After the switch the claims say what is built.
 */
static int ordinary(struct dest *d)
{
	int rc = d->live ? mdb_abort(&d->mdb, MIGDB_REASON_ABORTED) : 0;

	d->told = true;
	if (rc || !d->live || !d->o->postcopy || d->late)
		return rc;
	dest_save_stats(d);
	mdb_close(&d->mdb);
	d->live = false;
	return 0;
}

static int handle(struct dest *d, const struct msg *m)
{
	int rc;

	switch (m->type) {
	case MSG_PAGES:
		return d->late ? late_pages(d, m) : take_pages(d, m);
	case MSG_ZERO:
		return d->late ? late_pages(d, m) : take_zero(d, m);
	}
	rc = chan_recv_data(&d->chan, d->buf, m->bytes);
	if (rc)
		return rc;
	switch (m->type) {
	case MSG_MIGDB:
		if (d->o->fault != FAULT_LATE_RECORD || d->released)
			return take_frames(d, d->buf, m->bytes);
		hold(d, d->buf, m->bytes);
		return 0;
	case MSG_ORDINARY:
		return ordinary(d);
	case MSG_SEALED:
		return sealed(d);
	case MSG_STATE:
		if (m->bytes != d->vm->nr_cpus * sizeof(d->state[0]))
			return -EPROTO;
		memcpy(d->state, d->buf, m->bytes);
		d->have_state = true;
		return 0;
	case MSG_LAST:
		return last(d);
	case MSG_DIGESTS:
		if (d->o->postcopy == POSTCOPY_RUNNING)
			return late_digests(d, m);
		return dest_compare(d, m->arg, (const void *)d->buf,
				    m->bytes / sizeof(struct digest));
	case MSG_TODO:
		return late_todo(d, m);
	case MSG_POSTCOPY:
		return late_switch(d, m->arg);
	case MSG_COMMIT:
		return late_commit(d);
	case MSG_RUN:
		return run(d);
	}
	return -EPROTO;
}

static int hello(struct dest *d)
{
	struct hello h;
	struct msg m;
	int rc = chan_recv_head(&d->chan, &m);

	if (!rc && (m.type != MSG_HELLO || m.bytes != sizeof(h)))
		rc = -EPROTO;
	if (!rc)
		rc = chan_recv_data(&d->chan, &h, sizeof(h));
	if (!rc && (h.bytes != d->vm->bytes || h.nr_cpus != (u32)d->vm->nr_cpus))
		rc = -EINVAL;
	if (rc)
		return rc;
	if (h.migdb && d->o->use_migdb)
		setup(d, h.uuid);
	h.migdb = d->live;
	return dest_send(d, MSG_HELLO, 0, &h, sizeof(h));
}

static int serve(struct dest *d)
{
	struct msg m;
	int rc = 0;

	while (!rc) {
		struct pollfd p[2] = {
			{ .fd = d->chan.fd, .events = POLLIN },
			{ .fd = d->live ? d->mdb.event : -1, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents)
			rc = d->late ? late_look(d) : dest_carry(d);
		if (rc && d->committed)
			late_source_gone(d, rc);	/* it could not be sent to */
		if (rc || !p[0].revents)
			continue;
		rc = chan_recv_head(&d->chan, &m);
		/* before that it is the source's, and runs there */
		if (rc && d->committed)
			late_source_gone(d, rc);
		if (rc)
			break;
		d->received += m.bytes;
		if (d->o->die_after && d->received >= d->o->die_after)
			kill(getpid(), SIGKILL);
		rc = handle(d, &m);
		/* the guest is ours, and cannot be given back: it may be in a message's middle */
		if (rc && d->committed)
			late_source_gone(d, rc);
		if (m.type == MSG_RUN)
			return rc;
	}
	return rc;
}

/* Beside whatever the others are doing: in the middle of an ioctl, or of a page. */
static void *die_later(void *arg)
{
	usleep(*(const u32 *)arg * 1000);
	kill(getpid(), SIGKILL);
	return NULL;
}

static int set_fuse(const struct options *o)
{
	pthread_t thread;

	return o->die_ms ? -pthread_create(&thread, NULL, die_later, (void *)&o->die_ms) : 0;
}

int dest_run(struct vm *vm, struct workload *w, const struct options *o)
{
	struct dest d = { .vm = vm, .w = w, .o = o, .chan.fd = -1, .mdb = MDB_CLOSED,
			  .uffd = -1, .send_lock = PTHREAD_MUTEX_INITIALIZER };
	int rc;

	d.held_tail = &d.held;
	d.buf = malloc(MSG_MAX_BYTES);
	d.unclaimed = calloc(vm->nr_pages, 1);
	rc = d.buf && d.unclaimed ? 0 : -ENOMEM;
	if (!rc && o->postcopy)
		rc = late_prepare(&d);
	if (!rc)
		rc = chan_accept(&d.chan, o->from);
	if (!rc)
		rc = hello(&d);
	if (!rc)
		rc = set_fuse(o);
	if (!rc)
		rc = serve(&d);
	if (rc)
		progress(o, "destination: %s", strerror(-rc));
	if (d.live)
		mdb_close(&d.mdb);
	late_end(&d);
	chan_close(&d.chan);
	free(d.buf);
	free(d.unclaimed);
	if (rc)
		return 1;
	return d.differ || !d.result.guest_ok ? 2 : 0;
}
