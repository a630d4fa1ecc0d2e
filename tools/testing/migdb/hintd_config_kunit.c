// SPDX-License-Identifier: GPL-2.0
/* The configuration of migdb-hintd: what it takes, and what it says of the rest. */
#include <kunit/test.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

struct parsed {
	struct hintd_config c;
	char why[160];
	int line;
};

static struct parsed *parse_bytes(struct kunit *test, const char *text, size_t len)
{
	struct parsed *p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	char *copy = kunit_kzalloc(test, len + 1, GFP_KERNEL);

	memcpy(copy, text, len);	/* so that ASan sees reads beyond the end */
	p->line = hintd_config_parse(&p->c, copy, len, p->why, sizeof(p->why));
	return p;
}

static struct parsed *parse(struct kunit *test, const char *text)
{
	return parse_bytes(test, text, strlen(text));
}

static void nothing_is_all(struct kunit *test)
{
	static const char * const texts[] = {
		"", "\n", "\n\n  \t\n", "# disks = vda", "  # x\r\n#y", "\t\r\n",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed *p = parse(test, texts[i]);

		KUNIT_EXPECT_EQ(test, p->line, 0);
		KUNIT_EXPECT_EQ(test, p->c.nr_disks + p->c.nr_units + p->c.nr_cgroups, 0);
		KUNIT_EXPECT_EQ(test, p->c.interval, 2);
		KUNIT_EXPECT_TRUE(test, p->c.volumes);
	}
}

static void everything(struct kunit *test)
{
	struct parsed *p = parse(test,
		"# for the database\n"
		"disks = vdb  /dev/sdc /dev/disk/by-id/virtio-db # the data\n"
		"\tdisks=nvme0n1\r\n"
		"units = mariadb.service postgresql@15-main\n"
		"units = db.slice a\\x2db.scope foo.bar\n"
		"cgroups = /db/one/ two /\n"
		"volumes = none\n"
		"interval = 10");

	KUNIT_ASSERT_EQ(test, p->line, 0);
	KUNIT_ASSERT_EQ(test, p->c.nr_disks, 4);
	KUNIT_EXPECT_STREQ(test, p->c.disks[0], "vdb");
	KUNIT_EXPECT_STREQ(test, p->c.disks[1], "sdc");
	KUNIT_EXPECT_STREQ(test, p->c.disks[2], "/dev/disk/by-id/virtio-db");
	KUNIT_EXPECT_STREQ(test, p->c.disks[3], "nvme0n1");
	KUNIT_ASSERT_EQ(test, p->c.nr_units, 5);
	KUNIT_EXPECT_STREQ(test, p->c.units[0], "mariadb.service");
	KUNIT_EXPECT_STREQ(test, p->c.units[1], "postgresql@15-main.service");
	KUNIT_EXPECT_STREQ(test, p->c.units[2], "db.slice");
	KUNIT_EXPECT_STREQ(test, p->c.units[3], "a\\x2db.scope");
	KUNIT_EXPECT_STREQ(test, p->c.units[4], "foo.bar.service");
	KUNIT_ASSERT_EQ(test, p->c.nr_cgroups, 3);
	KUNIT_EXPECT_STREQ(test, p->c.cgroups[0], "/db/one");
	KUNIT_EXPECT_STREQ(test, p->c.cgroups[1], "/two");
	KUNIT_EXPECT_STREQ(test, p->c.cgroups[2], "/");
	KUNIT_EXPECT_EQ(test, p->c.interval, 10);
	KUNIT_EXPECT_FALSE(test, p->c.volumes);
	KUNIT_EXPECT_TRUE(test, parse(test, "volumes = all")->c.volumes);
}

static void refused(struct kunit *test)
{
	static const struct {
		const char *text;
		int line;
		const char *why;
	} bad[] = {
		{ "disks", 1, "no \"=\"" },
		{ "\n\ndisk = vda", 3, "unknown key \"disk\"" },
		{ "= vda", 1, "unknown key \"\"" },
		{ "my disks = vda", 1, "more than one word" },
		{ "disks =", 1, "has no value" },
		{ "units = # none", 1, "has no value" },
		{ "disks = vda vda", 1, "named twice" },
		{ "disks = vda\ndisks = /dev/vda", 2, "named twice" },
		{ "disks = --all", 1, "no disk" },
		{ "disks = /dev/", 1, "no disk" },
		{ "disks = a/b", 1, "no disk" },
		{ "disks = /dev/../etc", 1, "no disk" },
		{ "disks = ..", 1, "no disk" },
		{ "units = --root=/x", 1, "no name of a unit" },
		{ "units = a;reboot", 1, "no name of a unit" },
		{ "units = a/b", 1, "no name of a unit" },
		{ "units = a b a.service", 1, "named twice" },
		{ "cgroups = ../x", 1, "no path of a cgroup" },
		{ "cgroups = /a/..", 1, "no path of a cgroup" },
		{ "cgroups = -x", 1, "no path of a cgroup" },
		{ "cgroups = db /db/", 1, "named twice" },
		{ "interval = 0", 1, "1 to 3600" },
		{ "interval = 3601", 1, "1 to 3600" },
		{ "interval = 2s", 1, "1 to 3600" },
		{ "interval = -1", 1, "1 to 3600" },
		{ "interval = 99999999999999999999", 1, "1 to 3600" },
		{ "interval = 1 2", 1, "twice" },
		{ "interval = 1\ninterval = 1", 2, "twice" },
		{ "volumes = vg/db", 1, "all or none" },
		{ "volumes = all none", 1, "twice" },
		{ "volumes = all\nvolumes = all", 2, "twice" },
		{ "volumes =", 1, "has no value" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct parsed *p = parse(test, bad[i].text);

		if (p->line != bad[i].line || !strstr(p->why, bad[i].why))
			printf("# %s: line %d: %s\n", bad[i].text, p->line, p->why);
		KUNIT_EXPECT_EQ(test, p->line, bad[i].line);
		KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, bad[i].why));
	}
}

/* What comes after the first fault is not read: nothing is half configured. */
static void stops(struct kunit *test)
{
	struct parsed *p = parse(test, "disks = vda\nx\ndisks = vdb\n");

	KUNIT_EXPECT_EQ(test, p->line, 2);
	KUNIT_EXPECT_EQ(test, p->c.nr_disks, 1);
}

static void binary(struct kunit *test)
{
	struct parsed *p = parse_bytes(test, "disks = vda\0 vdb\n", 17);

	KUNIT_EXPECT_EQ(test, p->line, 1);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "NUL"));
}

/* n times @word with its number, on one line after @key. */
static struct parsed *many(struct kunit *test, const char *key, int n)
{
	char *text = kunit_kzalloc(test, 1 << 16, GFP_KERNEL);
	int i, len = 0;

	for (i = 0; i < n; i++)
		len += sprintf(text + len, "%s = x%d\n", key, i);
	return parse(test, text);
}

static void bounds(struct kunit *test)
{
	static char text[10000];
	struct parsed *p;

	KUNIT_EXPECT_EQ(test, many(test, "disks", HINTD_MAX_DISKS)->line, 0);
	p = many(test, "disks", HINTD_MAX_DISKS + 1);
	KUNIT_EXPECT_EQ(test, p->line, HINTD_MAX_DISKS + 1);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "more than"));
	KUNIT_EXPECT_EQ(test, many(test, "units", HINTD_MAX_UNITS)->line, 0);
	KUNIT_EXPECT_EQ(test, many(test, "units", HINTD_MAX_UNITS + 1)->line, HINTD_MAX_UNITS + 1);
	KUNIT_EXPECT_EQ(test, many(test, "cgroups", HINTD_MAX_CGROUPS)->line, 0);
	KUNIT_EXPECT_EQ(test, many(test, "cgroups", HINTD_MAX_CGROUPS + 1)->line, HINTD_MAX_CGROUPS + 1);

	memset(text, 'a', sizeof(text));
	memcpy(text, "units = ", 8);
	text[8 + HINTD_NAME_LEN - 9] = 0;
	KUNIT_EXPECT_EQ(test, parse(test, text)->line, 0);
	text[8 + HINTD_NAME_LEN - 9] = 'a';
	text[8 + HINTD_NAME_LEN - 8] = 0;
	KUNIT_EXPECT_EQ(test, parse(test, text)->line, 1);
	text[8 + HINTD_NAME_LEN - 8] = 'a';
	memcpy(text, "disks = ", 8);
	text[8 + HINTD_PATH_LEN] = 0;
	KUNIT_EXPECT_EQ(test, parse(test, text)->line, 1);
	text[8 + HINTD_PATH_LEN] = 'a';
	p = parse_bytes(test, text, sizeof(text));
	KUNIT_EXPECT_EQ(test, p->line, 1);
	KUNIT_EXPECT_NOT_NULL(test, strstr(p->why, "a line of more than"));
}

static struct kunit_case config_cases[] = {
	KUNIT_CASE(nothing_is_all),
	KUNIT_CASE(everything),
	KUNIT_CASE(refused),
	KUNIT_CASE(stops),
	KUNIT_CASE(binary),
	KUNIT_CASE(bounds),
	{}
};

static struct kunit_suite config_suite = {
	.name = "hintd_config",
	.test_cases = config_cases,
};

kunit_test_suite(config_suite);
