// SPDX-License-Identifier: GPL-2.0
/* The record of a session as text, see record.h. */
#include <linux/types.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include "fsm.h"
#include "record.h"

#define US_PER_S	1000000u
#define NS_PER_US	1000u
#define NS_PER_MS	1000000u
/* Times 1000 it still fits. */
#define MAX_BYTES	BIT_ULL(53)

u64 migdb_rate(u64 bytes, u64 ns)
{
	if (!bytes || !ns)
		return 0;
	if (bytes <= div_u64(U64_MAX, US_PER_S))
		return div64_u64(bytes * US_PER_S, max(div_u64(ns, NS_PER_US), 1ULL));
	return div64_u64(min(bytes, MAX_BYTES), max(div_u64(ns, NS_PER_MS), 1ULL)) * 1000;
}

static int record_reasons(char *buf, size_t size, const struct migdb_record *r)
{
	unsigned int i;
	int n = 0;

	/* MIGDB_REASON_NONE is none for which a page is not built */
	for (i = MIGDB_REASON_NONE + 1; i < MIGDB_NR_REASONS; i++)
		n += scnprintf(buf + n, size - n, "%s\"%s\":%llu", n ? "," : "",
			       migdb_reason_str(i), r->by_reason[i]);
	return n;
}

int migdb_record_json(char *buf, size_t size, const struct migdb_record *r)
{
	int n;

	n = scnprintf(buf, size,
		      "{\"label\":\"%s\",\"role\":\"%s\",\"outcome\":\"%s\",\"reason\":\"%s\",",
		      r->label, r->role, r->outcome, r->reason);
	n += scnprintf(buf + n, size - n,
		       "\"peer_reason\":%llu,\"candidates\":%llu,\"recorded\":%llu,\"built\":%llu,\"revoked\":%llu,\"returned\":%llu,\"sent\":%llu,\"pending\":%llu,\"dropped\":%llu,\"left\":%llu,\"by_reason\":{",
		       r->peer_reason, r->candidates, r->recorded, r->built, r->revoked,
		       r->returned, r->sent, r->pending, r->dropped, r->left);
	n += record_reasons(buf + n, size - n, r);
	n += scnprintf(buf + n, size - n,
		       "},\"harvested\":%llu,\"reads\":%llu,\"read_bytes\":%llu,\"tx_bytes\":%llu,\"rx_bytes\":%llu,",
		       r->harvested, r->reads, r->read_bytes, r->tx_bytes, r->rx_bytes);
	n += scnprintf(buf + n, size - n,
		       "\"hash_bytes_per_s\":%llu,\"record_bytes_per_s\":%llu,\"fetch_bytes_per_s\":%llu,\"memory_bytes\":%llu,\"ms\":%llu}",
		       r->hash_bytes_per_s, r->record_bytes_per_s,
		       r->fetch_bytes_per_s, r->memory_bytes, r->ms);
	return n;
}

int migdb_record_line(char *buf, size_t size, const struct migdb_record *r)
{
	bool ordinary = r->reason != migdb_reason_str(MIGDB_REASON_NONE);
	const char *because = r->peer_reason ? ", ordinary because the other side says: " :
					       ", ordinary because: ";

	return scnprintf(buf, size,
			 "%s: %s %s%s%s: %llu of %llu recorded pages built, %llu revoked, %llu returned, %llu ms; %llu sent; bytes/s: %llu hashed, %llu recorded, %llu fetched",
			 r->label, r->role, r->outcome, ordinary ? because : "",
			 ordinary ? r->reason : "", r->built, r->recorded, r->revoked,
			 r->returned, r->ms, r->sent, r->hash_bytes_per_s,
			 r->record_bytes_per_s, r->fetch_bytes_per_s);
}

bool migdb_log_admit(struct migdb_log_limit *l, u64 now_ns, u32 *lost)
{
	u64 nr = div64_u64(now_ns - l->since_ns, MIGDB_LOG_EVERY_NS);

	*lost = 0;
	l->since_ns += nr * MIGDB_LOG_EVERY_NS;
	l->nr -= min_t(u64, nr, l->nr);
	if (l->nr >= MIGDB_LOG_SESSIONS) {
		l->lost++;
		return false;
	}
	l->nr++;
	*lost = l->lost;
	l->lost = 0;
	return true;
}
