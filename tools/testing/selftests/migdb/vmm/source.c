// SPDX-License-Identifier: MIT
/*
 * The source: an ordinary pre-copy that asks a session what it need not send.
 *
 * Threads: the caller of source_migrate() sends; one thread receives; vCPUs
 * come in by source_ring_full().
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "source.h"

#define CHUNK_PAGES	64	/* per MSG_PAGES */
#define ROUND_PAGES	1024	/* sent between two looks at the logs */
#define STOP_PAGES	128	/* few enough to stop the guest for */
#define CONFIRM_MS	2000	/* wait for the destination before we stop the guest */

/* The vCPU threads' way to the migration that runs, if one does. */
static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct source *current;

void source_ring_full(struct vm_cpu *cpu)
{
	struct vm *vm = cpu->vm;
	struct source *s;

	pthread_mutex_lock(&current_lock);
	s = current;
	if (s) {
		pthread_mutex_lock(&s->lock);
		s->out->ring_full++;
		/* If the session is lost, collect() sees that and puts all back. */
		if (!s->session.live || session_harvest(&s->session))
			vm_ring_reap(vm, s->reaped);
		pthread_mutex_unlock(&s->lock);
	} else {
		u64 *unused = calloc((vm->nr_pages + 63) / 64, 8);

		vm_ring_reap(vm, unused);
		free(unused);
	}
	pthread_mutex_unlock(&current_lock);
}

void source_lose(struct source *s, int error)
{
	pthread_mutex_lock(&s->lock);
	if (s->session.live) {
		session_lose(&s->session, s->taken, error);
		source_heed(s, s->taken);
		s->out->ordinary = s->session.why;
		s->out->reason = s->session.stats.out_reason;
	}
	pthread_mutex_unlock(&s->lock);
	progress(s->o, "source: ordinary from here on: %s", s->session.why);
	chan_send(&s->chan, MSG_ORDINARY, MIGDB_REASON_ABORTED, NULL, 0);
}

/* A failure of the session is not a failure of the migration. */
bool source_ok(struct source *s, int rc)
{
	if (rc && s->session.live)
		source_lose(s, rc);
	return s->session.live;
}

/* What the kernel wants sent, into @todo. */
int source_take(struct source *s)
{
	int rc = session_take(&s->session, s->taken);

	source_heed(s, s->taken);
	return rc;
}

/* One look at all logs.  What is then in @todo may be copied. */
void source_collect(struct source *s)
{
	u64 i;
	int rc = 0;

	memset(s->dirty, 0, s->words * 8);
	pthread_mutex_lock(&s->lock);
	s->out->harvests++;
	if (s->session.live && s->session.ring)
		rc = session_harvest(&s->session);
	pthread_mutex_unlock(&s->lock);
	source_ok(s, rc);

	pthread_mutex_lock(&s->lock);
	if (!s->vm->ring_entries)
		vm_get_dirty_bitmap(s->vm, s->dirty);
	else if (!s->session.live)
		vm_ring_reap(s->vm, s->dirty);
	for (i = 0; i < s->words; i++) {
		s->dirty[i] |= s->reaped[i];
		s->reaped[i] = 0;
	}
	pthread_mutex_unlock(&s->lock);

	vm_dma_collect(s->vm, s->dirty);
	if (s->session.live && source_ok(s, session_dirty(&s->session, s->dirty)))
		source_ok(s, source_take(s));
	source_heed(s, s->dirty);
}

u64 source_count(const struct source *s)
{
	u64 i, n = 0;

	for (i = 0; i < s->words; i++)
		n += __builtin_popcountll(s->todo[i]);
	return n;
}

static bool is_zero(const u8 *page)
{
	const u64 *p = (const u64 *)page, *end = p + MDB_PAGE / 8;

	while (p < end)
		if (*p++)
			return false;
	return true;
}

static int send_run(struct source *s, u64 first, u64 count, bool zero)
{
	if (zero) {
		s->out->pages_zero += count;
		return chan_send(&s->chan, MSG_ZERO, first, &count, sizeof(count));
	}
	s->out->pages_sent += count;
	return chan_send(&s->chan, MSG_PAGES, first, s->vm->ram + first * MDB_PAGE,
			 count * MDB_PAGE);
}

/* Sends @budget pages of @todo, in runs of the same kind. */
int source_send_pages(struct source *s, u64 budget)
{
	u64 page = 0, first = 0, n = 0, sent = 0;
	bool zero = false;
	int rc = 0;

	for (; page < s->vm->nr_pages && sent < budget && !rc; page++) {
		u64 *word = &s->todo[page / 64], bit = 1ULL << (page % 64);
		bool z;

		if (!*word) {
			page |= 63;
			continue;
		}
		if (!(*word & bit))
			continue;
		*word &= ~bit;
		sent++;
		/* written to meanwhile: a log has it, and it goes again */
		z = source_discards(s, page) || is_zero(s->vm->ram + page * MDB_PAGE);
		if (n && (page != first + n || z != zero || n == CHUNK_PAGES)) {
			rc = send_run(s, first, n, zero);
			n = 0;
		}
		if (!n) {
			first = page;
			zero = z;
		}
		n++;
	}
	return rc || !n ? rc : send_run(s, first, n, zero);
}

static void tell(struct source *s, bool *what)
{
	pthread_mutex_lock(&s->news_lock);
	*what = true;
	pthread_cond_broadcast(&s->news);
	pthread_mutex_unlock(&s->news_lock);
}

static void receive_frames(struct source *s, const void *data, u32 bytes)
{
	pthread_mutex_lock(&s->lock);
	/* An error has aborted the session: the sender's next command says so. */
	if (s->session.live && !source_unheard(s, data, bytes) &&
	    write(s->session.mdb.rx, data, bytes) < 0)
		perror("refvmm: return stream");
	pthread_mutex_unlock(&s->lock);
}

static void *receive(void *arg)
{
	struct source *s = arg;
	u8 *data = malloc(MSG_MAX_BYTES);
	struct msg m;

	while (data && !chan_recv_head(&s->chan, &m) &&
	       !chan_recv_data(&s->chan, data, m.bytes)) {
		switch (m.type) {
		case MSG_MIGDB:
			receive_frames(s, data, m.bytes);
			break;
		case MSG_ORDINARY:
			s->peer_reason = m.arg;
			tell(s, &s->peer_ordinary);
			break;
		case MSG_DRAINED:
			tell(s, &s->drained);
			break;
		case MSG_READY:
			tell(s, &s->ready);
			break;
		case MSG_FAILED:
			s->missing = m.arg;
			tell(s, &s->failed);
			break;
		case MSG_REQUEST:
			source_wanted(s, m.arg);
			break;
		case MSG_LACKING:
			tell(s, &s->more);
			break;
		case MSG_SWITCHED:
			s->refused = -(int)m.arg;
			tell(s, &s->answered);
			break;
		case MSG_RESULT:
			if (m.bytes == sizeof(s->out->dest))
				memcpy(&s->out->dest, data, m.bytes);
			tell(s, &s->have_result);
			break;
		default:
			fprintf(stderr, "refvmm: message %u from the destination\n", m.type);
		}
	}
	free(data);
	tell(s, &s->closed);
	return NULL;
}

/* Waits for @what, at most @ms; false when it did not come. */
bool source_wait(struct source *s, const bool *what, u32 ms)
{
	struct timespec t;
	bool came;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&s->news_lock);
	while (!*what && !s->closed && !s->failed)
		if (pthread_cond_timedwait(&s->news, &s->news_lock, &t))
			break;
	came = *what;
	pthread_mutex_unlock(&s->news_lock);
	return came;
}

static int hello(struct source *s, bool *peer_has_migdb, u8 uuid[MIGDB_UUID_BYTES])
{
	struct hello h = { .bytes = s->vm->bytes, .nr_cpus = s->vm->nr_cpus,
			   .migdb = s->o->use_migdb };
	struct msg m;
	int rc;

	if (getrandom(h.uuid, sizeof(h.uuid), 0) != sizeof(h.uuid))
		return -EIO;
	memcpy(uuid, h.uuid, sizeof(h.uuid));
	rc = chan_send(&s->chan, MSG_HELLO, 0, &h, sizeof(h));
	if (!rc)
		rc = chan_recv_head(&s->chan, &m);
	if (!rc && (m.type != MSG_HELLO || m.bytes != sizeof(h)))
		rc = -EPROTO;
	if (!rc)
		rc = chan_recv_data(&s->chan, &h, sizeof(h));
	if (!rc && h.bytes != s->vm->bytes)
		rc = -EINVAL;
	*peer_has_migdb = h.migdb;
	return rc;
}

bool source_unconfirmed(struct source *s)
{
	struct migdb_stats st;

	return s->session.live && !mdb_stats(&s->session.mdb, &st) && st.out_unconfirmed;
}

/*
 * The guest gives every second of some pages back, from the @odd-th on: the page is
 * zero then, whatever was sent or recorded of it.  First the session is told, then the
 * page goes.
 */
static void balloon(struct source *s, u32 odd)
{
	u64 i, page;

	for (i = odd; i < s->w->balloon_pages; i += 2) {
		page = s->w->balloon_first + i * BALLOON_STRIDE;
		if (s->session.live && s->o->fault != FAULT_UNSEEN_DISCARD)
			source_ok(s, session_discard(&s->session, page, 1));
		if (!s->session.live)
			s->todo[page / 64] |= 1ULL << (page % 64);
		vm_discard(s->vm, page, 1);
	}
}

/* A round that is not full; true: storage and link are still at it. */
static bool spare(struct source *s, u64 room)
{
	bool more = false;

	if (source_ok(s, session_spare(&s->session, room, &more)))
		source_ok(s, source_take(s));
	return more;
}

/* Pre-copy rounds with the guest running. */
static int iterate(struct source *s)
{
	u64 start = now_ns(), quiet = 0, left;
	u32 given_back = s->o->balloon ? 0 : 2;
	bool more = false;
	int rc;

	for (;;) {
		s->out->rounds++;
		if (__atomic_load_n(&s->peer_ordinary, __ATOMIC_ACQUIRE) && s->session.live)
			source_lose(s, -ECANCELED);
		if (s->session.live)
			source_ok(s, session_advance(&s->session));
		/* once while pages are hashed, and once when all are */
		if (given_back < 2 && (!given_back || !s->session.live || !s->session.left))
			balloon(s, given_back++);
		source_collect(s);
		left = source_count(s);
		/* after the logs: what is dirty is to be sent anyway */
		if (s->o->adaptive && s->session.live && left < ROUND_PAGES) {
			more = spare(s, ROUND_PAGES - left);
			left = source_count(s);
		}
		progress(s->o, "source: round %llu, %llu pages to send, %llu to hash",
			 (unsigned long long)s->out->rounds, (unsigned long long)left,
			 (unsigned long long)s->session.left);
		if (now_ns() - start > s->o->max_ms * 1000000ULL)
			return 0;
		/* nothing has to be small for that: the rest follows the guest */
		if (s->o->postcopy && now_ns() - start > s->o->switch_ms * 1000000ULL)
			return 0;
		if (!s->o->postcopy && left <= STOP_PAGES && !(s->session.live && s->session.left)) {
			if (!quiet || more)
				quiet = now_ns();
			if (!source_unconfirmed(s) || now_ns() - quiet > CONFIRM_MS * 1000000ULL)
				return 0;
		}
		rc = source_send_pages(s, ROUND_PAGES);
		if (rc)
			return rc;
		if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
			return -ECONNRESET;
		/* Nothing to send: let the destination have the machine. */
		if (s->o->round_ms || !left)
			usleep(s->o->round_ms ? s->o->round_ms * 1000 : 2000);
	}
}

int source_send_digests(struct source *s)
{
	enum { N = 1024 };
	static const u8 zero[MDB_PAGE];
	static struct digest d[N];
	u64 page, i, n;
	int rc = 0;

	for (page = 0; page < s->vm->nr_pages && !rc; page += n) {
		n = s->vm->nr_pages - page < N ? s->vm->nr_pages - page : N;
		for (i = 0; i < n; i++)
			d[i] = siphash128(DIGEST_KEY, source_discards(s, page + i) ? zero :
					  s->vm->ram + (page + i) * MDB_PAGE, MDB_PAGE);
		rc = chan_send(&s->chan, MSG_DIGESTS, page, d, n * sizeof(*d));
	}
	return rc;
}

/* The guest is stopped: the rest of memory, its vCPUs, and the answer. */
static int switch_over(struct source *s)
{
	struct vm_cpu_state state[GUEST_MAX_CPUS];
	u64 start = now_ns(), oracle;
	int rc;

	vm_pause(s->vm);
	source_collect(s);
	if (s->session.live && source_ok(s, session_seal(&s->session)))
		source_ok(s, source_take(s));
	rc = source_send_pages(s, ~0ULL);
	if (!rc && s->session.live) {
		rc = chan_send(&s->chan, MSG_SEALED, 0, NULL, 0);
		/* Too slow or gone: then what it has not confirmed is sent. */
		if (!rc && !source_wait(s, &s->drained, s->o->grace_ms + ANSWER_MS))
			progress(s->o, "source: the destination does not drain");
		if (__atomic_load_n(&s->peer_ordinary, __ATOMIC_ACQUIRE))
			source_lose(s, -ECANCELED);
		else if (source_ok(s, session_reclaim(&s->session)))
			source_ok(s, source_take(s));
		if (!rc)
			rc = source_send_pages(s, ~0ULL);
	}
	vm_save(s->vm, state);
	if (!rc)
		rc = chan_send(&s->chan, MSG_STATE, 0, state,
			       s->vm->nr_cpus * sizeof(state[0]));
	if (!rc)
		rc = chan_send(&s->chan, MSG_LAST, 0, NULL, 0);
	if (rc)
		return rc;
	if (!source_wait(s, &s->ready, ANSWER_MS)) {
		if (s->failed)
			fprintf(stderr, "refvmm: the destination lacks %llu pages\n",
				(unsigned long long)s->missing);
		return s->failed ? -EUCLEAN : -ECONNRESET;
	}
	s->out->downtime_ns = now_ns() - start;
	/* Too late to go back to "ordinary" silently: fail, the guest is still here. */
	if (s->session.live) {
		rc = session_complete(&s->session);
		if (rc)
			return rc;
	}
	oracle = now_ns();
	rc = source_send_digests(s);
	s->out->oracle_ns = now_ns() - oracle;
	/* From here on the guest belongs to the destination. */
	return rc ? rc : chan_send(&s->chan, MSG_RUN, 0, NULL, 0);
}

static int start(struct source *s)
{
	u8 uuid[MIGDB_UUID_BYTES];
	bool peer_has_migdb;
	int rc = hello(s, &peer_has_migdb, uuid);

	if (rc)
		return rc;
	if (!s->o->use_migdb)
		s->out->ordinary = "not asked for";
	else if (!peer_has_migdb)
		s->out->ordinary = "the destination has no migdb";
	else if (!session_setup(&s->session, s->vm, s->w, s->o, &s->chan, uuid))
		s->out->ordinary = s->session.why;
	memset(s->todo, 0xff, s->words * 8);
	if (s->vm->nr_pages % 64)
		s->todo[s->words - 1] = (1ULL << (s->vm->nr_pages % 64)) - 1;

	/*
	 * Every log is on and clear before anything is armed.  What they held
	 * needs no keeping: all of memory is still to be sent.
	 */
	if (s->o->fault != FAULT_HASH_BEFORE_ARM)
		vm_log(s->vm, true);
	vm_dma_collect(s->vm, s->dirty);
	source_agree(s);
	if (s->session.live && source_ok(s, session_arm(&s->session, s->todo)))
		s->out->pages_skipped = s->session.skipped;
	if (s->o->fault == FAULT_HASH_BEFORE_ARM) {
		while (s->session.live && s->session.left)
			source_ok(s, session_advance(&s->session));
		usleep(200000);	/* the guest writes, and nobody sees it */
		vm_log(s->vm, true);
	}
	return 0;
}

static bool allocate(struct source *s)
{
	s->words = (s->vm->nr_pages + 63) / 64;
	s->todo = calloc(s->words, 8);
	s->dirty = calloc(s->words, 8);
	s->taken = calloc(s->words, 8);
	s->discard = calloc(s->words, 8);
	s->reaped = calloc(s->words, 8);
	s->wanted = calloc(s->words, 8);
	return s->todo && s->dirty && s->taken && s->discard && s->reaped && s->wanted;
}

static void set_current(struct source *s)
{
	pthread_mutex_lock(&current_lock);
	current = s;
	pthread_mutex_unlock(&current_lock);
}

int source_migrate(struct vm *vm, struct workload *w, const struct options *o,
		   struct outcome *out)
{
	struct source s = {
		.vm = vm, .w = w, .o = o, .out = out,
		.chan = { .fd = -1, .bytes_per_s = o->bandwidth, .cut_after = o->cut_after },
		.session.mdb = MDB_CLOSED,
		.lock = PTHREAD_MUTEX_INITIALIZER, .news_lock = PTHREAD_MUTEX_INITIALIZER,
		.news = PTHREAD_COND_INITIALIZER,
	};
	bool receiving = false;
	u64 begin = now_ns();
	int rc;

	*out = (struct outcome){};
	if (!allocate(&s))
		return -ENOMEM;
	rc = chan_connect(&s.chan, o->to);
	if (!rc) {
		set_current(&s);
		rc = start(&s);
	}
	if (!rc) {
		rc = -pthread_create(&s.receiver, NULL, receive, &s);
		receiving = !rc;
	}
	if (!rc)
		rc = iterate(&s);
	if (!rc)
		rc = o->postcopy ? source_switch(&s) : switch_over(&s);
	out->total_ns = now_ns() - begin - out->oracle_ns;
	/* after a switch it is, however the rest of it went */
	out->migrated |= !rc;
	out->sent_bytes = s.chan.sent_bytes;
	if (!rc && !source_wait(&s, &s.have_result, o->after_ms + 120000))
		rc = -ECONNRESET;
	if (receiving) {
		shutdown(s.chan.fd, SHUT_RDWR);
		pthread_join(s.receiver, NULL);
	}
	set_current(NULL);
	if (s.session.live)
		mdb_stats(&s.session.mdb, &s.session.stats);
	out->stats = s.session.stats;
	out->discarded = source_discarded(&s);
	/* A session that an operator switched off ends well, and empty-handed. */
	if (!out->ordinary && out->stats.out_reason)
		out->ordinary = "switched off in the middle";
	if (!out->reason)
		out->reason = out->stats.out_reason;
	session_close(&s.session);
	chan_close(&s.chan);
	if (!out->migrated) {
		vm_log(vm, false);
		/* all of memory is still here; the guest agrees anew, or not */
		if (o->discard)
			workload_complete(w);
		vm_resume(vm);
	}
	free(s.todo);
	free(s.dirty);
	free(s.taken);
	free(s.discard);
	free(s.reaped);
	free(s.wanted);
	free(s.unheard);
	return rc;
}
