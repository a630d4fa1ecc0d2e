// SPDX-License-Identifier: MIT
/*
 * The destination's part of post-copy.
 *
 * The API in the order of the switch, and why in this one:
 *	write(rx)	all frames, up to the end mark: what is built is what the source has
 *	MIGDB_HOLD	from here on the kernel writes no page, and says which are missing
 *	UFFDIO_REGISTER, then punch: what is taken out of memory stays out, and what is
 *			built stays in
 *	MIGDB_POSTCOPY	missing pages are placed by UFFDIO_COPY only, here and in the kernel
 *	"switched"	until the source has heard that, the guest is its own; if any of these
 *			fails it hears that, and the guest has lost nothing
 *	"commit"	the guest is ours
 *	the guest runs	who touches a missing page waits: MIGDB_FAULT
 *
 * Two threads: this one takes messages and never touches guest memory while pages are
 * missing, for it is the one who brings them; the other one hears of faults.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "dest.h"
#include "postcopy.h"

/* What we know of a page, beside its claim. */
enum page_is {
	PAGE_UNKNOWN,		/* it was there at the switch, or the kernel brings it */
	PAGE_MISSING,		/* not there: punched */
	PAGE_WAITED,		/* the same, and the kernel is fetching it for a fault */
	PAGE_ASKED,		/* the same, and the source was asked */
	PAGE_PLACED,		/* the source's */
};

static u8 page_is(struct dest *d, u64 page)
{
	return __atomic_load_n(&d->page[page], __ATOMIC_ACQUIRE);
}

static bool page_step(struct dest *d, u64 page, u8 from, u8 to)
{
	return __atomic_compare_exchange_n(&d->page[page], &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static u8 claim_of(struct dest *d, u64 page)
{
	return d->live ? mdb_claim_of(&d->mdb, page) : MIGDB_CLAIM_NONE;
}

static bool is_here(struct dest *d, u64 page)
{
	u8 is = page_is(d, page);

	return is == PAGE_UNKNOWN || is == PAGE_PLACED || claim_of(d, page) == MIGDB_CLAIM_DONE;
}

/* Memory that has no huge page yet gets none: they cannot be taken out in pieces. */
int late_prepare(struct dest *d)
{
	u64 words = (d->vm->nr_pages + 63) / 64;

	d->todo = calloc(words, 8);
	d->written = calloc(words, 8);
	d->page = calloc(d->vm->nr_pages, 1);
	d->want = calloc(d->vm->nr_pages, sizeof(*d->want));
	if (!d->todo || !d->written || !d->page || !d->want ||
	    posix_memalign((void **)&d->scratch, MDB_PAGE, MSG_MAX_BYTES))
		return -ENOMEM;
	madvise(d->vm->ram, d->vm->bytes, MADV_NOHUGEPAGE);
	d->uffd = uffd_open();
	return d->uffd < 0 ? d->uffd : 0;
}

int late_todo(struct dest *d, const struct msg *m)
{
	u64 bytes = (d->vm->nr_pages + 63) / 64 * 8;

	if (!d->todo || m->arg % 64 || m->arg / 8 > bytes || m->bytes > bytes - m->arg / 8)
		return -EPROTO;
	memcpy((u8 *)d->todo + m->arg / 8, d->buf, m->bytes);
	return 0;
}

int late_digests(struct dest *d, const struct msg *m)
{
	u64 n = m->bytes / sizeof(*d->want);

	if (m->arg > d->vm->nr_pages || n > d->vm->nr_pages - m->arg)
		return -EPROTO;
	memcpy(d->want + m->arg, d->buf, n * sizeof(*d->want));
	return 0;
}

static int ask(struct dest *d, u64 page, u8 was)
{
	if (!page_step(d, page, was, PAGE_ASKED))
		return 0;	/* on its way, or here */
	__atomic_fetch_add(&d->asked, 1, __ATOMIC_RELAXED);
	return d->source_gone ? 0 : dest_send(d, MSG_REQUEST, page, NULL, 0);
}

static u64 deadline(struct dest *d)
{
	return __atomic_load_n(&d->source_gone, __ATOMIC_ACQUIRE) ? MIGDB_DEADLINE_NEVER : 0;
}

/* Somebody waits for the page. */
static void fault(struct dest *d, u8 *at)
{
	u64 page = (at - d->vm->ram) / MDB_PAGE;
	int answer = d->live ? mdb_fault(&d->mdb, at, deadline(d), NULL) : MIGDB_FAULT_ASK;

	d->faults++;
	switch (answer) {
	case MIGDB_FAULT_FETCHING:
		/* late_look() asks the source when that comes to nothing */
		page_step(d, page, PAGE_MISSING, PAGE_WAITED);
		if (mdb_claim_of(&d->mdb, page) == MIGDB_CLAIM_RETURNED)
			ask(d, page, PAGE_WAITED);	/* it has by now */
		break;
	case MIGDB_FAULT_BUILT:
		uffd_wake(d->uffd, at);
		break;
	default:
		if (page_is(d, page) == PAGE_PLACED)
			uffd_wake(d->uffd, at);
		ask(d, page, PAGE_MISSING);
		ask(d, page, PAGE_WAITED);
	}
}

static void *fault_thread(void *arg)
{
	struct dest *d = arg;
	struct pollfd p = { .fd = d->uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (d->late) {
		poll(&p, 1, 100);
		while (read(d->uffd, &msg, sizeof(msg)) == sizeof(msg))
			if (msg.event == UFFD_EVENT_PAGEFAULT)
				fault(d, (u8 *)(uintptr_t)(msg.arg.pagefault.address &
							   ~(MDB_PAGE - 1)));
	}
	return NULL;
}

/*
 * Out of memory: what migdb calls missing, and what the source has still to send.  But not
 * what is DONE: that is right since HOLD, and the source has it in its todo only because
 * it has not heard of that.  Nobody would place it again: to migdb, and to place(), it is
 * there.
 *
 * The second time after a refusal, what the first one punched is still not there.
 */
static int punch(struct dest *d, const u64 *missing)
{
	u64 page;
	int rc;

	d->missing = 0;
	d->spared = 0;
	for (page = 0; page < d->vm->nr_pages; page++) {
		u64 bit = 1ULL << (page % 64);
		bool gone = missing[page / 64] & bit || page_is(d, page) != PAGE_UNKNOWN;

		if (!gone && !(d->todo[page / 64] & bit))
			continue;
		if (!gone && claim_of(d, page) == MIGDB_CLAIM_DONE) {
			d->spared++;
			continue;
		}
		vm_discard(d->vm, page, 1);
		d->page[page] = PAGE_MISSING;
		d->missing++;
		/* neither of us will bring it unless the source is told */
		if (!(d->todo[page / 64] & bit) && claim_of(d, page) != MIGDB_CLAIM_TODO) {
			rc = ask(d, page, PAGE_MISSING);
			if (rc)
				return rc;
		}
	}
	return 0;
}

/* What may come about at the worst moment. */
static void at_switch(struct dest *d, enum at_switch what)
{
	if (d->o->at_switch != what)
		return;
	if (what == AT_SWITCH_DIES)
		kill(getpid(), SIGKILL);
	if (d->live)
		mdb_abort(&d->mdb, MIGDB_REASON_ABORTED);
}

static int get_ready(struct dest *d, u64 *todo)
{
	u64 *missing = calloc((d->vm->nr_pages + 63) / 64, 8);
	int rc = missing && d->have_state && d->todo ? 0 : -EPROTO;

	at_switch(d, AT_SWITCH_DIES);
	at_switch(d, AT_SWITCH_LOST);
	if (!rc && d->live)
		rc = mdb_hold(&d->mdb, missing, NULL);
	if (!rc)
		rc = uffd_register(d->uffd, d->vm->ram, d->vm->bytes,
				   UFFDIO_REGISTER_MODE_MISSING);
	if (!rc)
		rc = punch(d, missing);
	at_switch(d, AT_SWITCH_LOST_HELD);
	if (!rc && d->live)
		rc = mdb_postcopy(&d->mdb, d->uffd, todo);
	if (!rc && d->o->at_switch == AT_SWITCH_REFUSED)
		rc = -EIO;
	free(missing);
	return rc;
}

/*
 * A session that was aborted just before, by us or an operator, refuses: what it gave
 * back then is not in the source's todo, so we cannot go on without it by ourselves.
 * The source, which can, hears why.
 */
int late_switch(struct dest *d, bool run)
{
	u64 start = now_ns(), todo = 0;
	int rc = d->late ? -EPROTO : get_ready(d, &todo);

	if (!rc) {
		d->late = true;
		rc = -pthread_create(&d->fault_thread, NULL, fault_thread, d);
		d->late = !rc;
	}
	if (rc) {
		progress(d->o, "destination: no switch: %s", strerror(-rc));
		return dest_send(d, MSG_SWITCHED, -rc, NULL, 0);
	}
	d->run_late = run;
	d->result.drain_ns = now_ns() - start;
	progress(d->o, "destination: switched, %llu pages are missing, %llu of them to be built",
		 (unsigned long long)d->missing, (unsigned long long)todo);
	return dest_send(d, MSG_SWITCHED, 0, NULL, 0);
}

int late_commit(struct dest *d)
{
	if (!d->late || d->committed)
		return -EPROTO;
	d->committed = true;
	if (d->run_late) {
		d->running = true;
		vm_log(d->vm, true);	/* the oracle's: whose page is whose */
		vm_load(d->vm, d->state);
		vm_resume(d->vm);
	}
	return 0;
}

/*
 * A page of the source.  The claim says whether the kernel has built it: then it is
 * there, and the guest may have written to it.  Otherwise nobody but us places it, so
 * EEXIST is a page that should not be there.
 */
static int place(struct dest *d, u64 page, const void *data)
{
	struct digest got;
	int rc;

	if (d->live && mdb_claim_byte(&d->mdb, page) == MIGDB_CLAIM_DONE) {
		__atomic_store_n(&d->page[page], PAGE_PLACED, __ATOMIC_RELEASE);
		return 0;
	}
	if (page_is(d, page) == PAGE_PLACED || page_is(d, page) == PAGE_UNKNOWN)
		return 0;	/* asked for twice */
	if (d->o->postcopy == POSTCOPY_RUNNING) {
		got = siphash128(DIGEST_KEY, data, MDB_PAGE);
		d->differ += got.lo != d->want[page].lo || got.hi != d->want[page].hi;
	}
	rc = uffd_copy(d->uffd, d->vm->ram + page * MDB_PAGE, data);
	if (rc) {
		fprintf(stderr, "refvmm: page %#llx: %s\n", (unsigned long long)page,
			strerror(-rc));
		return rc;
	}
	__atomic_store_n(&d->page[page], PAGE_PLACED, __ATOMIC_RELEASE);
	return 0;
}

int late_pages(struct dest *d, const struct msg *m)
{
	u64 count = m->bytes / MDB_PAGE, i;
	bool zero = m->type == MSG_ZERO;
	int rc;

	if (zero && m->bytes != sizeof(count))
		return -EPROTO;
	rc = chan_recv_data(&d->chan, zero ? (void *)&count : d->scratch, m->bytes);
	if (zero)
		memset(d->scratch, 0, MDB_PAGE);
	if (!rc && (m->arg > d->vm->nr_pages || count > d->vm->nr_pages - m->arg))
		rc = -EPROTO;
	for (i = 0; i < count && !rc; i++)
		rc = place(d, m->arg + i, d->scratch + (zero ? 0 : i * MDB_PAGE));
	return rc;
}

/* The kernel has given back what somebody waits for: the source, then. */
int late_look(struct dest *d)
{
	int rc = d->source_gone ? 0 : dest_carry(d);
	u64 page;

	for (page = 0; page < d->vm->nr_pages && !rc; page++)
		if (page_is(d, page) == PAGE_WAITED &&
		    claim_of(d, page) == MIGDB_CLAIM_RETURNED) {
			if (!d->source_gone)
				rc = ask(d, page, PAGE_WAITED);
			else
				fault(d, d->vm->ram + page * MDB_PAGE);
		}
	return rc;
}

/* Pages that nobody here has written to are still what the source had. */
static void compare_clean(struct dest *d)
{
	u64 page;

	vm_pause(d->vm);
	vm_get_dirty_bitmap(d->vm, d->written);
	vm_dma_collect(d->vm, d->written);
	for (page = 0; page < d->vm->nr_pages; page++)
		if (!(d->written[page / 64] >> (page % 64) & 1))
			dest_compare(d, page, &d->want[page], 1);
	vm_log(d->vm, false);
	vm_resume(d->vm);
}

static void save(struct dest *d)
{
	struct migdb_stats st = {};

	dest_save_stats(d);
	if (d->live)
		mdb_stats(&d->mdb, &st);
	d->result.postcopy_built = st.out_postcopy_built;
	d->result.faults = d->faults;
	d->result.faults_fetching = st.out_faults_fetching;
	d->result.faults_built = st.out_faults_built;
	d->result.faults_late = st.out_faults_late;
	d->result.asked = d->asked;
	d->result.spared = d->spared;
}

/* The source has no more.  If we lack some, it is told which. */
int late_last(struct dest *d)
{
	u64 page, n = 0;
	int rc = 0;

	for (page = 0; page < d->vm->nr_pages && !rc; page++) {
		if (is_here(d, page))
			continue;
		n++;
		if (claim_of(d, page) == MIGDB_CLAIM_TODO || claim_of(d, page) == MIGDB_CLAIM_BUSY)
			continue;
		/* what was asked for may have been lost with a session: again */
		page_step(d, page, PAGE_ASKED, PAGE_MISSING);
		rc = ask(d, page, PAGE_MISSING);
		if (!rc)
			rc = ask(d, page, PAGE_WAITED);
	}
	if (rc)
		return rc;
	if (n || (d->live && mdb_complete(&d->mdb, NULL)))
		return dest_send(d, MSG_LACKING, n, NULL, 0);
	save(d);
	if (d->running)
		compare_clean(d);
	return dest_send(d, MSG_READY, 0, NULL, 0);
}

/* What storage has comes still; what only the source had is lost, and is counted. */
void late_source_gone(struct dest *d, int error)
{
	struct migdb_stats st = {};
	u64 page, before, tries;

	if (error == -EEXIST || error == -EPROTO)
		_exit(2);	/* the guest may have seen what it should not */
	__atomic_store_n(&d->source_gone, true, __ATOMIC_RELEASE);
	if (d->live)
		mdb_stats(&d->mdb, &st);
	before = st.out_postcopy_built;
	for (page = 0; page < d->vm->nr_pages; page++)
		if (d->live && !is_here(d, page))
			mdb_fault(&d->mdb, d->vm->ram + page * MDB_PAGE, MIGDB_DEADLINE_NEVER, NULL);
	for (tries = 0; d->live && tries < 3000; tries++) {
		late_look(d);
		if (mdb_stats(&d->mdb, &st) || !st.out_todo)
			break;
		usleep(10000);
	}
	for (page = 0; page < d->vm->nr_pages; page++)
		d->lost += !is_here(d, page);
	save(d);
	printf("{\"source_gone\":true,\"missing\":%llu,\"saved\":%llu,\"lost\":%llu,\"postcopy_built\":%llu}\n",
	       (unsigned long long)d->missing,
	       (unsigned long long)(st.out_postcopy_built - before),
	       (unsigned long long)d->lost, (unsigned long long)st.out_postcopy_built);
	fflush(stdout);
	/* a guest of which a page is lost cannot be helped, nor stopped in peace */
	_exit(d->lost ? 4 : 0);
}

void late_end(struct dest *d)
{
	if (d->late) {
		d->late = false;
		pthread_join(d->fault_thread, NULL);
	}
	if (d->uffd >= 0)
		close(d->uffd);
	free(d->todo);
	free(d->written);
	free(d->page);
	free(d->want);
	free(d->scratch);
}
