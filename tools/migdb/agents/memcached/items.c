// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
/* Listing and sorting items; see items.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "items.h"

/* Keys come as in URIs.  Blanks and control characters cannot be in one. */
static bool decode(const char *from, char *to)
{
	size_t n = 0;
	unsigned int c;

	while (*from) {
		c = (unsigned char)*from++;
		if (c == '%') {
			if (!isxdigit(from[0]) || !isxdigit(from[1]) ||
			    sscanf(from, "%2x", &c) != 1)
				return false;
			from += 2;
		}
		if (c <= ' ' || c == 127 || n == KEY_MAX_BYTES)
			return false;
		to[n++] = c;
	}
	to[n] = 0;
	return n > 0;
}

bool items_add(struct items *items, const char *line, uint32_t min_size)
{
	char coded[3 * KEY_MAX_BYTES + 1], key[KEY_MAX_BYTES + 1], fetched[4];
	const char *rest = strstr(line, " size=");
	struct item item;
	long used;
	int at;

	if (!rest || sscanf(rest, " size=%u", &item.size) != 1 || item.size < min_size ||
	    items->nr >= ITEMS_MAX)
		return true;
	if (sscanf(line, "key=%750s exp=%*d la=%ld cas=%*u fetch=%3s %n", coded, &used,
		   fetched, &at) != 3 || !decode(coded, key))
		return true;
	if (items->nr == items->room) {
		size_t room = items->room ? 2 * items->room : 4096;
		void *more = realloc(items->item, room * sizeof(*items->item));

		if (!more)
			return false;
		items->item = more;
		items->room = room;
	}
	item.used_s = used;
	item.fetched = !strcmp(fetched, "yes");
	item.key = strdup(key);
	if (!item.key)
		return false;
	items->item[items->nr++] = item;
	items->bytes += item.size;
	return true;
}

static int colder(const void *a, const void *b)
{
	const struct item *i = a, *j = b;

	if (i->fetched != j->fetched)
		return i->fetched - j->fetched;
	return i->used_s < j->used_s ? -1 : i->used_s > j->used_s;
}

size_t items_cold(struct items *items, unsigned int keep)
{
	uint64_t may_go = items->bytes / 100 * (100 - keep), gone = 0;
	size_t n = 0;

	if (items->nr)
		qsort(items->item, items->nr, sizeof(*items->item), colder);
	if (!keep)
		return items->nr;
	while (n < items->nr && gone + items->item[n].size <= may_go)
		gone += items->item[n++].size;
	return n;
}

void items_free(struct items *items)
{
	size_t i;

	for (i = 0; i < items->nr; i++)
		free(items->item[i].key);
	free(items->item);
	memset(items, 0, sizeof(*items));
}
