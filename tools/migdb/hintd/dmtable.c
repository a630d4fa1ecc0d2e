// SPDX-License-Identifier: GPL-2.0
/*
 * Pure: tables of device-mapper.  Of the targets only "linear" and "striped" can be
 * described to mem_hints; a volume with any other (thin, crypt, snapshot, raid, error)
 * is not described at all: whoever has such a one on top need not look for the part
 * that would be hinted.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/dm-ioctl.h>

#include "dmtable.h"

struct parser {
	struct dmtable *t;
	bool types_only;
	char *why;
	size_t why_size;
};

static bool __attribute__((format(printf, 2, 3)))
wrong(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, p->why_size, fmt, ap);
	va_end(ap);
	return false;
}

/* A decimal number of at most @max that ends with @end, which is stepped over. */
static bool number(const char **s, char end, unsigned long long max, unsigned long long *value)
{
	char *stop;

	if (**s < '0' || **s > '9')
		return false;
	errno = 0;
	*value = strtoull(*s, &stop, 10);
	if (errno || *value > max || *stop != end)
		return false;
	*s = stop + (end ? 1 : 0);
	return true;
}

/* "MAJOR:MINOR SECTOR": a device below, and where the run begins on it. */
static bool device(const char **s, char end, struct mem_hint_segment *seg)
{
	unsigned long long major, minor, target;

	if (!number(s, ':', ~0U, &major) || !number(s, ' ', ~0U, &minor) ||
	    !number(s, end, ~0ULL, &target))
		return false;
	seg->major = major;
	seg->minor = minor;
	seg->target = target;
	return true;
}

static struct mem_hint_segment *add(struct parser *p, const struct dm_target_spec *spec)
{
	struct mem_hint_segment *seg;

	if (p->t->nr == MEM_HINT_MAX_SEGMENTS) {
		wrong(p, "it has more than %d segments", MEM_HINT_MAX_SEGMENTS);
		return NULL;
	}
	seg = &p->t->segs[p->t->nr++];
	memset(seg, 0, sizeof(*seg));
	seg->start = spec->sector_start;
	seg->nr_sectors = spec->length;
	seg->nr_stripes = 1;
	return seg;
}

/* "MAJOR:MINOR SECTOR" */
static bool linear(struct parser *p, const struct dm_target_spec *spec, const char *params)
{
	struct mem_hint_segment *seg = add(p, spec);

	if (!seg)
		return false;
	return device(&params, 0, seg) || wrong(p, "its linear target is not understood");
}

/* "STRIPES CHUNK-SECTORS MAJOR:MINOR SECTOR [MAJOR:MINOR SECTOR]..." */
static bool striped(struct parser *p, const struct dm_target_spec *spec, const char *params)
{
	unsigned long long stripes, chunk, i;

	if (!number(&params, ' ', ~0U, &stripes) || !number(&params, ' ', ~0U, &chunk) || !stripes)
		return wrong(p, "its striped target is not understood");
	for (i = 0; i < stripes; i++) {
		struct mem_hint_segment *seg = add(p, spec);

		if (!seg)
			return false;
		if (!device(&params, i + 1 < stripes ? ' ' : 0, seg))
			return wrong(p, "its striped target is not understood");
		/* one stripe is a linear run, whatever its chunks */
		seg->nr_stripes = stripes;
		seg->stripe = i;
		seg->chunk_sectors = stripes > 1 ? chunk : 0;
	}
	return true;
}

static bool target(struct parser *p, const struct dm_target_spec *spec, const char *params)
{
	char type[DM_MAX_TYPE_NAME + 1];

	memcpy(type, spec->target_type, DM_MAX_TYPE_NAME);
	type[DM_MAX_TYPE_NAME] = 0;
	if (spec->sector_start != p->t->nr_sectors || !spec->length ||
	    spec->length > ~0ULL - p->t->nr_sectors)
		return wrong(p, "its targets do not follow each other");
	p->t->nr_sectors += spec->length;
	if (!strcmp(type, "linear"))
		return p->types_only || linear(p, spec, params);
	if (!strcmp(type, "striped"))
		return p->types_only || striped(p, spec, params);
	return wrong(p, "a target is \"%s\", neither linear nor striped", type);
}

static bool parse(struct parser p, const void *data, size_t size, unsigned int nr_targets)
{
	struct dmtable *t = p.t;
	struct dm_target_spec spec;
	size_t at = 0;
	bool ok = true;

	t->nr = 0;
	t->nr_sectors = 0;
	if (!nr_targets)
		return wrong(&p, "it has no table");
	for (; nr_targets && ok; nr_targets--) {
		const char *params = (const char *)data + at + sizeof(spec);

		/* what the kernel gives is right; this is so that nothing hangs on it */
		if (at > size || size - at <= sizeof(spec) ||
		    !memchr(params, 0, size - at - sizeof(spec))) {
			ok = wrong(&p, "its table is cut off");
			break;
		}
		memcpy(&spec, (const char *)data + at, sizeof(spec));
		ok = target(&p, &spec, params);
		if (nr_targets > 1 && ok && spec.next < at + sizeof(spec))
			ok = wrong(&p, "its table goes backwards");
		at = spec.next;
	}
	if (!ok)
		t->nr = 0;
	return ok;
}

bool dmtable_parse(struct dmtable *t, const void *data, size_t size,
		   unsigned int nr_targets, char *why, size_t why_size)
{
	struct parser p = { .t = t, .why = why, .why_size = why_size };

	return parse(p, data, size, nr_targets);
}

bool dmtable_types(const void *data, size_t size, unsigned int nr_targets,
		   char *why, size_t why_size)
{
	static struct dmtable t;	/* only its sectors are counted */
	struct parser p = { .t = &t, .types_only = true, .why = why, .why_size = why_size };

	return parse(p, data, size, nr_targets);
}
