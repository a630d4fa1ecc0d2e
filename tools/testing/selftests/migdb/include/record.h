/* SPDX-License-Identifier: GPL-2.0 */
/* A record of the kernel's log, taken apart: each field by name, or not at all. */
#ifndef RECORD_H
#define RECORD_H

#include "test_util.h"

static const char * const strings[] = { "label", "role", "outcome", "reason" };
static const char * const numbers[] = {
	"peer_reason", "candidates", "recorded", "built", "revoked", "returned", "sent", "pending", "dropped",
	"left", "harvested", "reads", "read_bytes", "tx_bytes", "rx_bytes",
	"hash_bytes_per_s", "record_bytes_per_s", "fetch_bytes_per_s", "memory_bytes", "ms",
};

#define NR_STRINGS	(sizeof(strings) / sizeof(strings[0]))
#define NR_NUMBERS	(sizeof(numbers) / sizeof(numbers[0]))

struct record {
	char string[NR_STRINGS][80];
	u64 number[NR_NUMBERS];
	u64 by_reason[MIGDB_NR_REASONS];
};

static inline bool eat(const char **at, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(*at, text, n))
		return false;
	*at += n;
	return true;
}

static inline bool eat_key(const char **at, const char *key)
{
	const char *from = *at;

	if (eat(at, "\"") && eat(at, key) && eat(at, "\":"))
		return true;
	*at = from;
	return false;
}

static inline bool eat_string(const char **at, char *to, size_t room)
{
	size_t n;

	if (!eat(at, "\""))
		return false;
	n = strcspn(*at, "\"\\");
	if ((*at)[n] != '"' || n >= room)
		return false;
	memcpy(to, *at, n);
	to[n] = 0;
	*at += n + 1;
	return true;
}

static inline bool eat_number(const char **at, u64 *to)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*to = strtoull(*at, &end, 10);
	*at = end;
	return !errno;
}

/* Every field, in whatever order, each once, and nothing else. */
static inline bool parse(const char *at, struct record *rec)
{
	u32 seen_strings = 0, seen_numbers = 0, seen_reasons = 0, i;
	bool in_reasons = false, had_reasons = false, first = true;

	if (!eat(&at, "{"))
		return false;
	for (;;) {
		if (eat(&at, "}")) {
			if (!in_reasons)
				break;
			in_reasons = false;
			continue;
		}
		if (!first && !eat(&at, ","))
			return false;
		first = false;
		if (in_reasons) {
			for (i = 1; i < MIGDB_NR_REASONS; i++)
				if (eat_key(&at, mdb_reason_name(i)))
					break;
			if (i == MIGDB_NR_REASONS || seen_reasons >> i & 1 ||
			    !eat_number(&at, &rec->by_reason[i]))
				return false;
			seen_reasons |= 1u << i;
			continue;
		}
		if (eat(&at, "\"by_reason\":{")) {
			if (had_reasons)
				return false;
			had_reasons = true;
			in_reasons = true;
			first = true;
			continue;
		}
		for (i = 0; i < NR_STRINGS; i++)
			if (eat_key(&at, strings[i]))
				break;
		if (i < NR_STRINGS) {
			if (seen_strings >> i & 1 ||
			    !eat_string(&at, rec->string[i], sizeof(rec->string[i])))
				return false;
			seen_strings |= 1u << i;
			continue;
		}
		for (i = 0; i < NR_NUMBERS; i++)
			if (eat_key(&at, numbers[i]))
				break;
		if (i == NR_NUMBERS || seen_numbers >> i & 1 || !eat_number(&at, &rec->number[i]))
			return false;
		seen_numbers |= 1u << i;
	}
	return !*at && seen_strings == (1u << NR_STRINGS) - 1 &&
	       seen_numbers == (1u << NR_NUMBERS) - 1 &&
	       seen_reasons == (1u << MIGDB_NR_REASONS) - 2;
}

static inline const char *str(const struct record *rec, const char *name)
{
	u32 i;

	for (i = 0; i < NR_STRINGS; i++)
		if (!strcmp(strings[i], name))
			return rec->string[i];
	return "no such field";
}

static inline u64 num(const struct record *rec, const char *name)
{
	u32 i;

	for (i = 0; i < NR_NUMBERS; i++)
		if (!strcmp(numbers[i], name))
			return rec->number[i];
	return ~0ULL;
}

static inline u64 all_reasons(const struct record *rec)
{
	u64 sum = 0;
	u32 i;

	for (i = 1; i < MIGDB_NR_REASONS; i++)
		sum += rec->by_reason[i];
	return sum;
}

/* What is true of every record. */
static inline const char *wrong(const struct record *rec)
{
	u64 recorded = num(rec, "built") + num(rec, "revoked") + num(rec, "returned") +
		       num(rec, "pending");

	if (!strcmp(str(rec, "role"), "destination"))
		recorded += num(rec, "sent");
	else if (strcmp(str(rec, "role"), "source"))
		return "role";
	else if (num(rec, "candidates") !=
		 num(rec, "recorded") + num(rec, "dropped") + num(rec, "left"))
		return "candidates";
	if (num(rec, "recorded") != recorded)
		return "recorded";
	if (all_reasons(rec) != num(rec, "revoked") + num(rec, "returned") + num(rec, "dropped"))
		return "reasons";
	return NULL;
}

#endif /* RECORD_H */
