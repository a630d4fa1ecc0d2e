// SPDX-License-Identifier: GPL-2.0
/* Pure: lines of "key = values", and "#" comments. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define BLANKS " \t\r"
#define LINE_MAX_LEN 4096

struct reader {
	struct hintd_config *config;
	bool seen_interval;
	bool seen_volumes;
	char *why;
	size_t why_size;
};

static bool __attribute__((format(printf, 2, 3)))
wrong(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->why, r->why_size, fmt, ap);
	va_end(ap);
	return false;
}

/* A path without "..", or what could pass for an option. */
static bool sane_path(const char *s)
{
	const char *p;

	if (*s == '-' || strlen(s) >= HINTD_PATH_LEN)
		return false;
	for (p = s; (p = strstr(p, "..")); p += 2)
		if ((p == s || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return false;
	return true;
}

static bool add_disk(struct reader *r, const char *word)
{
	struct hintd_config *c = r->config;
	int i;

	if (!strncmp(word, "/dev/", 5) && !strchr(word + 5, '/'))
		word += 5;
	if (!*word || !sane_path(word) || (*word != '/' && strchr(word, '/')))
		return wrong(r, "\"%s\" is no disk: a name in /dev, or a path", word);
	for (i = 0; i < c->nr_disks; i++)
		if (!strcmp(c->disks[i], word))
			return wrong(r, "disk %s is named twice", word);
	if (c->nr_disks == HINTD_MAX_DISKS)
		return wrong(r, "more than %d disks", HINTD_MAX_DISKS);
	strcpy(c->disks[c->nr_disks++], word);
	return true;
}

static bool add_unit(struct reader *r, const char *word)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
	static const char * const kinds[] = { ".service", ".slice", ".scope" };
	struct hintd_config *c = r->config;
	char unit[HINTD_NAME_LEN];
	const char *dot = strrchr(word, '.');
	size_t i, len = strlen(word);

	if (*word == '-' || strspn(word, allowed) != len || len + sizeof(".service") > sizeof(unit))
		return wrong(r, "\"%.80s\" is no name of a unit", word);
	/* names may have dots of their own: no known kind means a service */
	for (i = 0; i < 3; i++)
		if (dot && dot != word && !strcmp(dot, kinds[i]))
			break;
	snprintf(unit, sizeof(unit), "%s%s", word, i < 3 ? "" : ".service");
	for (i = 0; i < (size_t)c->nr_units; i++)
		if (!strcmp(c->units[i], unit))
			return wrong(r, "unit %s is named twice", unit);
	if (c->nr_units == HINTD_MAX_UNITS)
		return wrong(r, "more than %d units", HINTD_MAX_UNITS);
	strcpy(c->units[c->nr_units++], unit);
	return true;
}

static bool add_cgroup(struct reader *r, const char *word)
{
	struct hintd_config *c = r->config;
	char path[HINTD_PATH_LEN];
	size_t len;
	int i;

	if (!sane_path(word) || strlen(word) + 2 > sizeof(path))
		return wrong(r, "\"%.80s\" is no path of a cgroup", word);
	snprintf(path, sizeof(path), "%s%s", *word == '/' ? "" : "/", word);
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = 0;
	for (i = 0; i < c->nr_cgroups; i++)
		if (!strcmp(c->cgroups[i], path))
			return wrong(r, "cgroup %s is named twice", path);
	if (c->nr_cgroups == HINTD_MAX_CGROUPS)
		return wrong(r, "more than %d cgroups", HINTD_MAX_CGROUPS);
	strcpy(c->cgroups[c->nr_cgroups++], path);
	return true;
}

static bool set_interval(struct reader *r, const char *word)
{
	char *end;
	long v = strtol(word, &end, 10);

	if (*end || end == word || v < 1 || v > HINTD_INTERVAL_MAX)
		return wrong(r, "interval: 1 to %d seconds", HINTD_INTERVAL_MAX);
	if (r->seen_interval)
		return wrong(r, "interval is set twice");
	r->seen_interval = true;
	r->config->interval = v;
	return true;
}

static bool set_volumes(struct reader *r, const char *word)
{
	if (strcmp(word, "all") && strcmp(word, "none"))
		return wrong(r, "volumes: all or none");
	if (r->seen_volumes)
		return wrong(r, "volumes is set twice");
	r->seen_volumes = true;
	r->config->volumes = !strcmp(word, "all");
	return true;
}

static bool read_line(struct reader *r, char *line)
{
	static const struct {
		const char *name;
		bool (*add)(struct reader *r, const char *word);
	} keys[] = {
		{ "disks", add_disk },
		{ "units", add_unit },
		{ "cgroups", add_cgroup },
		{ "interval", set_interval },
		{ "volumes", set_volumes },
	};
	char *key, *value, *word, *save = NULL;
	size_t i, len, nr = 0;

	key = line + strspn(line, BLANKS);
	if (!*key || *key == '#')
		return true;
	value = strchr(key, '=');
	if (!value)
		return wrong(r, "no \"=\": lines are \"key = value ...\"");
	*value++ = 0;
	len = strcspn(key, BLANKS);
	if (key[len + strspn(key + len, BLANKS)])
		return wrong(r, "more than one word before \"=\"");
	key[len] = 0;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i].name))
			break;
	if (i == sizeof(keys) / sizeof(keys[0]))
		return wrong(r, "unknown key \"%.80s\": disks, units, cgroups, volumes, interval", key);

	for (word = strtok_r(value, BLANKS, &save); word; word = strtok_r(NULL, BLANKS, &save)) {
		if (*word == '#')
			break;
		if (!keys[i].add(r, word))
			return false;
		nr++;
	}
	return nr ? true : wrong(r, "%s has no value; leave the line out for all", key);
}

void hintd_config_init(struct hintd_config *config)
{
	memset(config, 0, sizeof(*config));
	config->interval = 2;
	config->volumes = true;
}

int hintd_config_parse(struct hintd_config *config, const char *text, size_t len,
		       char *why, size_t why_size)
{
	struct reader r = { .config = config, .why = why, .why_size = why_size };
	const char *end, *stop = text + len;
	char line[LINE_MAX_LEN];
	int nr = 0;

	hintd_config_init(config);
	for (; text < stop; text = end + 1) {
		size_t n;

		nr++;
		end = memchr(text, '\n', stop - text);
		if (!end)
			end = stop;
		n = end - text;
		if (n >= sizeof(line))
			wrong(&r, "a line of more than %d characters", LINE_MAX_LEN - 1);
		else if (memchr(text, 0, n))
			wrong(&r, "a NUL: is this a text file?");
		else {
			memcpy(line, text, n);
			line[n] = 0;
			if (read_line(&r, line))
				continue;
		}
		return nr;
	}
	return 0;
}
