// SPDX-License-Identifier: GPL-2.0
/* What a session has done: statistics while it runs, a record at its end. */
#include <linux/ktime.h>
#include <linux/printk.h>

#include "dest.h"
#include "internal.h"
#include "record.h"
#include "source.h"

/*
 * The page counts change under the lock that is taken here: they add up.
 * @pending: recorded, and not decided yet.
 */
static void migdb_session_count(struct migdb_session *s, struct migdb_stats *out, u64 *pending)
{
	struct mutex *lock = s->src ? &s->src->set_lock : s->dst ? &s->dst->lock : NULL;
	unsigned int i;

	if (lock)
		mutex_lock(lock);
	out->out_candidates = atomic64_read(&s->n.candidates);
	out->out_recorded = atomic64_read(&s->n.recorded);
	out->out_built = atomic64_read(&s->n.built);
	out->out_revoked = atomic64_read(&s->n.revoked);
	out->out_returned = atomic64_read(&s->n.returned);
	out->out_dropped = atomic64_read(&s->n.dropped);
	for (i = 0; i < MIGDB_NR_REASONS; i++)
		out->out_by_reason[i] = atomic64_read(&s->n.by_reason[i]);
	*pending = 0;
	if (s->src) {
		out->out_unconfirmed = s->src->nr_unconfirmed;
		out->out_queued = s->src->send.nr_set;
		*pending = s->src->nr_unconfirmed;
	} else if (s->dst) {
		*pending = s->dst->todo.nr_set;
		out->out_todo = s->dst->todo.nr_set;
		migdb_fault_stats(s, out);
	}
	if (lock)
		mutex_unlock(lock);
}

static void migdb_session_stats_pending(struct migdb_session *s, struct migdb_stats *out,
					u64 *pending)
{
	out->out_state = migdb_state(s);
	out->out_reason = READ_ONCE(s->reason);
	migdb_session_count(s, out, pending);
	out->out_harvested = atomic64_read(&s->n.harvested);
	out->out_read_bytes = atomic64_read(&s->n.read_bytes);
	out->out_reads = atomic64_read(&s->n.reads);
	out->out_hash_ns = atomic64_read(&s->n.hash_ns);
	out->out_postcopy_built = atomic64_read(&s->n.postcopy_built);
	out->out_faults = atomic64_read(&s->n.faults);
	out->out_faults_fetching = atomic64_read(&s->n.faults_fetching);
	out->out_faults_built = atomic64_read(&s->n.faults_built);
	out->out_faults_late = atomic64_read(&s->n.faults_late);
	out->out_requested = atomic64_read(&s->n.requested);
	out->out_memory_bytes = s->memory_bytes;
	if (s->dst)
		out->out_memory_bytes += atomic64_read(&s->dst->chunk_bytes);
}

void migdb_session_stats(struct migdb_session *s, struct migdb_stats *out)
{
	u64 pending;

	migdb_session_stats_pending(s, out, &pending);
}

static DEFINE_SPINLOCK(migdb_log_lock);
static struct migdb_log_limit migdb_log_limit;	/* migdb_log_lock */

/* Both lines, or none of them.  Whoever calls owns s->text. */
static void migdb_record_print(struct migdb_session *s, const struct migdb_record *r)
{
	bool admitted;
	u32 lost;

	spin_lock(&migdb_log_lock);
	admitted = migdb_log_admit(&migdb_log_limit, ktime_get_ns(), &lost);
	spin_unlock(&migdb_log_lock);
	if (lost)
		pr_warn("migdb: records of %u sessions are lost: too many at a time\n", lost);
	if (!admitted)
		return;
	migdb_record_line(s->text, sizeof(s->text), r);
	pr_info("migdb: %s\n", s->text);
	migdb_record_json(s->text, sizeof(s->text), r);
	pr_info("migdb-json: %s\n", s->text);
}

const char *migdb_role_str(u32 role)
{
	return role == MIGDB_ROLE_SOURCE ? "source" : "destination";
}

static u64 migdb_span_ns(const struct migdb_span *span)
{
	s64 ns = atomic64_read(&span->last_ns) - atomic64_read(&span->first_ns);

	return max(ns, 0LL);
}

/* From the first record to the last one, in bytes of their pages; source. */
u64 migdb_session_record_rate(struct migdb_session *s)
{
	return migdb_rate(atomic64_read(&s->n.recorded) * MIGDB_PAGE_BYTES,
			  migdb_span_ns(&s->n.recording));
}

/* From the first read to the last one; destination. */
u64 migdb_session_fetch_rate(struct migdb_session *s)
{
	return migdb_rate(atomic64_read(&s->n.read_bytes), migdb_span_ns(&s->n.fetching));
}

/* The one record of a session that was started. */
void migdb_session_log(struct migdb_session *s, const char *outcome)
{
	struct migdb_record r = {
		.label = s->label, .role = migdb_role_str(s->role), .outcome = outcome,
	};
	struct migdb_stats st = {};
	unsigned int i;

	mutex_lock(&s->lock);
	if (s->logged || !s->started) {
		mutex_unlock(&s->lock);
		return;
	}
	s->logged = true;
	mutex_unlock(&s->lock);

	migdb_session_stats_pending(s, &st, &r.pending);
	r.reason = migdb_reason_str(st.out_reason);
	r.peer_reason = READ_ONCE(s->peer_reason);
	r.candidates = st.out_candidates;
	r.recorded = st.out_recorded;
	r.built = st.out_built;
	r.revoked = st.out_revoked;
	r.returned = st.out_returned;
	r.dropped = st.out_dropped;
	if (s->role == MIGDB_ROLE_SOURCE)
		r.left = st.out_candidates - st.out_recorded - st.out_dropped;
	for (i = 0; i < MIGDB_NR_REASONS; i++)
		r.by_reason[i] = st.out_by_reason[i];
	r.sent = atomic64_read(&s->n.sent);
	r.harvested = st.out_harvested;
	r.reads = st.out_reads;
	r.read_bytes = st.out_read_bytes;
	r.tx_bytes = atomic64_read(&s->n.tx_bytes);
	r.rx_bytes = atomic64_read(&s->n.rx_bytes);
	r.hash_bytes_per_s = migdb_rate(atomic64_read(&s->n.hashed) * MIGDB_PAGE_BYTES,
					st.out_hash_ns);
	r.record_bytes_per_s = migdb_session_record_rate(s);
	r.fetch_bytes_per_s = migdb_session_fetch_rate(s);
	r.memory_bytes = st.out_memory_bytes;
	r.ms = div_u64(ktime_get_ns() - s->started_ns, NSEC_PER_MSEC);
	migdb_record_print(s, &r);
}

/*
 * START said no, and not because the VMM was wrong: it makes an ordinary migration.
 * Any other error is the VMM's to report, and before those three @arg is checked.
 */
void migdb_session_log_refused(struct migdb_session *s, const struct migdb_start *arg, int err)
{
	struct migdb_record r = {
		.label = arg->label, .role = migdb_role_str(arg->role), .outcome = "refused",
	};

	lockdep_assert_held(&s->lock);
	switch (err) {
	case -ENODEV:
		r.reason = migdb_reason_str(MIGDB_REASON_DISABLED);
		break;
	case -ENOMEM:
		r.reason = migdb_reason_str(MIGDB_REASON_NO_MEMORY);
		break;
	case -EUSERS:
		r.reason = "max_sessions";
		break;
	default:
		return;
	}
	if (s->refused)		/* it may try again and again */
		return;
	s->refused = true;
	migdb_record_print(s, &r);
}
