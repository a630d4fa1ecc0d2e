// SPDX-License-Identifier: MIT
/*
 * The source's part of post-copy: stop, seal, tell what is still to come, switch; then
 * send what the destination asks for, what it gives back, and the rest.
 *
 * The switch is ours to make, when the destination has said that it can: until then the
 * guest can go on here, from then on it is the destination's, whatever becomes of us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "source.h"

#define LATE_PAGES	16	/* sent between two looks at what is asked for */
#define RECLAIM_MS	3000	/* the destination has built nothing for so long */
#define TODO_BYTES	(64 << 10)

void source_wanted(struct source *s, u64 page)
{
	pthread_mutex_lock(&s->news_lock);
	if (page < s->vm->nr_pages && !(s->wanted[page / 64] >> (page % 64) & 1)) {
		s->wanted[page / 64] |= 1ULL << (page % 64);
		s->nr_wanted++;
	}
	pthread_cond_broadcast(&s->news);
	pthread_mutex_unlock(&s->news_lock);
}

/* One page that is waited for; false: none is. */
static bool take_wanted(struct source *s, u64 *page)
{
	bool any;
	u64 i;

	pthread_mutex_lock(&s->news_lock);
	any = s->nr_wanted;
	for (i = 0; any && i < s->words; i++)
		if (s->wanted[i]) {
			*page = i * 64 + __builtin_ctzll(s->wanted[i]);
			s->wanted[i] &= s->wanted[i] - 1;
			s->nr_wanted--;
			break;
		}
	pthread_mutex_unlock(&s->news_lock);
	return any;
}

/*
 * Whether it was in the set (its bit says so, and it leaves it by this), still to be
 * sent, or sent before: who asks for it does not have it.
 */
static int send_wanted(struct source *s, u64 page)
{
	int taken = 0;

	if (s->session.live) {
		taken = session_request(&s->session, page);
		source_ok(s, taken < 0 ? taken : 0);
	}
	s->out->requests++;
	s->out->requests_in_set += taken > 0;
	s->todo[page / 64] &= ~(1ULL << (page % 64));
	s->out->pages_sent++;
	return chan_send(&s->chan, MSG_PAGES, page, s->vm->ram + page * MDB_PAGE, MDB_PAGE);
}

/*
 * AT_SWITCH_UNHEARD: from the first page that was built on, nothing is heard of others
 * before the switch.  True: @data is put aside.
 */
bool source_unheard(struct source *s, const void *data, u32 bytes)
{
	struct migdb_stats st;
	u8 *more;

	if (s->o->at_switch != AT_SWITCH_UNHEARD || s->hears)
		return false;
	if (!s->deaf)
		s->deaf = !mdb_stats(&s->session.mdb, &st) && st.out_built;
	more = s->deaf ? realloc(s->unheard, s->unheard_bytes + bytes) : NULL;
	if (!more)
		return false;
	memcpy(more + s->unheard_bytes, data, bytes);
	s->unheard = more;
	s->unheard_bytes += bytes;
	return true;
}

static void hear(struct source *s)
{
	size_t at = 0;
	ssize_t n = 1;

	pthread_mutex_lock(&s->lock);
	s->hears = true;
	for (; s->session.live && n > 0 && at < s->unheard_bytes; at += n)
		n = write(s->session.mdb.rx, s->unheard + at, s->unheard_bytes - at);
	pthread_mutex_unlock(&s->lock);
}

static int send_todo(struct source *s)
{
	u64 bytes = s->words * 8, at, n;
	int rc = 0;

	for (at = 0; at < bytes && !rc; at += n) {
		n = bytes - at < TODO_BYTES ? bytes - at : TODO_BYTES;
		rc = chan_send(&s->chan, MSG_TODO, at * 8, (u8 *)s->todo + at, n);
	}
	return rc;
}

static void *die_later(void *arg)
{
	usleep(*(const u32 *)arg * 1000);
	kill(getpid(), SIGKILL);
	return NULL;
}

static bool news(struct source *s, bool *what)
{
	bool is;

	pthread_mutex_lock(&s->news_lock);
	is = *what;
	*what = false;
	pthread_mutex_unlock(&s->news_lock);
	return is;
}

/* Whom the destination waits for first, then what it gave back, then the rest. */
static int serve(struct source *s)
{
	u64 page = 0, built, last_built = 0, quiet = now_ns();
	bool asked = false;
	int rc = 0;

	while (!rc) {
		if (__atomic_load_n(&s->closed, __ATOMIC_ACQUIRE))
			return -ECONNRESET;
		if (__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
			return 0;
		if (__atomic_load_n(&s->peer_ordinary, __ATOMIC_ACQUIRE) && s->session.live)
			source_lose(s, -ECANCELED);
		if (take_wanted(s, &page)) {
			rc = send_wanted(s, page);
			continue;
		}
		if (s->session.live)
			source_ok(s, source_take(s));
		if (source_count(s)) {
			rc = source_send_pages(s, LATE_PAGES);
			continue;
		}
		if (source_unconfirmed(s)) {
			struct migdb_stats st;

			/* a destination that builds nothing any more is not waited for */
			built = mdb_stats(&s->session.mdb, &st) ? 0 : st.out_built;
			if (built != last_built)
				quiet = now_ns();
			last_built = built;
			if (now_ns() - quiet > RECLAIM_MS * 1000000ULL)
				source_ok(s, session_reclaim(&s->session));
			usleep(2000);
			continue;
		}
		/* nothing left: is that all?  Once per answer. */
		if (!asked || news(s, &s->more)) {
			asked = true;
			rc = chan_send(&s->chan, MSG_LAST, 0, NULL, 0);
		}
		usleep(2000);
	}
	return rc;
}

/* 0 and s->refused, or the channel's error. */
static int ask_to_switch(struct source *s)
{
	int rc = send_todo(s);

	news(s, &s->answered);
	if (!rc)
		rc = chan_send(&s->chan, MSG_POSTCOPY, s->o->postcopy == POSTCOPY_RUNNING, NULL, 0);
	if (!rc && !source_wait(s, &s->answered, ANSWER_MS))
		rc = -ECONNRESET;
	return rc;
}

/*
 * The destination is ready.  If it cannot with the session, which may be lost there just
 * now, then without: all that was left out is in todo then, whatever it is that we have
 * not heard of.  If not even so, the guest goes on here.
 */
static int agree_to_switch(struct source *s)
{
	int rc = ask_to_switch(s);

	if (!rc && s->refused && s->session.live) {
		source_lose(s, s->refused);
		rc = ask_to_switch(s);
	}
	return rc ? rc : s->refused;
}

int source_switch(struct source *s)
{
	struct vm_cpu_state state[GUEST_MAX_CPUS];
	u64 start = now_ns(), oracle = 0;
	pthread_t fuse;
	int rc;

	vm_pause(s->vm);
	source_collect(s);
	/* no page of the set is written to any more; what was is out of it */
	if (s->session.live)
		source_ok(s, session_seal(&s->session));
	if (s->session.live && s->o->at_switch == AT_SWITCH_UNHEARD)
		source_ok(s, session_reclaim(&s->session));
	if (s->session.live)
		source_ok(s, source_take(s));
	vm_save(s->vm, state);
	rc = chan_send(&s->chan, MSG_STATE, 0, state, s->vm->nr_cpus * sizeof(state[0]));
	if (!rc && s->o->postcopy == POSTCOPY_RUNNING) {
		oracle = now_ns();
		rc = source_send_digests(s);
		s->out->oracle_ns = now_ns() - oracle;
	}
	if (!rc)
		rc = agree_to_switch(s);
	if (!rc)
		rc = chan_send(&s->chan, MSG_COMMIT, 0, NULL, 0);
	/* not all of that message has left us: nobody has acted on it */
	if (rc)
		return rc;
	s->out->downtime_ns = now_ns() - start - s->out->oracle_ns;
	progress(s->o, "source: switched, %llu pages to send", (unsigned long long)source_count(s));
	if (s->o->die_after_switch_ms)
		pthread_create(&fuse, NULL, die_later, (void *)&s->o->die_after_switch_ms);
	hear(s);
	/* from here on the guest is not ours, however this ends */
	s->out->migrated = true;
	rc = serve(s);
	if (!rc && s->session.live)
		rc = session_complete(&s->session);
	if (!rc && s->o->postcopy == POSTCOPY_PAUSED) {
		oracle = now_ns();
		rc = source_send_digests(s);
		s->out->oracle_ns = now_ns() - oracle;
	}
	return rc ? rc : chan_send(&s->chan, MSG_RUN, 0, NULL, 0);
}
