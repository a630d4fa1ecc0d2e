// SPDX-License-Identifier: GPL-2.0
/*
 * migdb-hintd: waiting for the module and letting go of it, disks, cgroups and
 * units, what it says.  systemctl is a script of run.sh's: a unit runs if there
 * is a file of its name in /tmp/units, which names its cgroup.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>

#include "kselftest.h"
#include "guest.h"

#define CONF "/tmp/hintd.conf"
#define CGROUPS "/sys/fs/cgroup"

static int vda;
static pid_t hintd;

static const char *hintd_path(void)
{
	return getenv("MIGDB_HINTD") ?: "/bin/migdb-hintd";
}

static pid_t hintd_start(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl(hintd_path(), "migdb-hintd", "--config", CONF, NULL);
		_exit(127);
	}
	return pid;
}

static int wait_status(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int hintd_stop(void)
{
	kill(hintd, SIGTERM);
	return wait_status(hintd);
}

/* Exit status of the command with these options, and what it printed. */
static int hintd_run(const char *options, char *out, size_t size)
{
	char command[256];
	size_t n;
	FILE *f;
	int status;

	snprintf(command, sizeof(command), "%s %s 2>&1", hintd_path(), options);
	f = popen(command, "r");
	if (!f)
		return -1;
	n = fread(out, 1, size - 1, f);
	out[n] = 0;
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char last[16384];

/* Waits until --status exits like this and says this. */
static bool status_becomes(int want, const char *text)
{
	int tries, status = -1;

	for (tries = 0; tries < 400; tries++) {
		status = hintd_run("--status", last, sizeof(last));
		if (status == want && strstr(last, text))
			return true;
		usleep(100000);
	}
	ksft_print_msg("--status exits with %d and says:\n%s", status, last);
	return false;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

static bool configure(const char *text)
{
	CHECK(write_text(CONF, text));
	kill(hintd, SIGHUP);
	return true;
}

/* One block of vda into a page; in a cgroup if one is named. */
static bool read_in(const char *cgroup, char *page, uint64_t block)
{
	char path[128];
	pid_t pid;

	if (!cgroup)
		return pread(vda, page, PAGE, block * PAGE) == PAGE;
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), CGROUPS "%s/cgroup.procs", cgroup);
		if (!write_text(path, "0"))
			_exit(1);
		_exit(pread(vda, page, PAGE, block * PAGE) == PAGE ? 0 : 2);
	}
	return wait_status(pid) == 0;
}

/* Is the block in the table, which is drained each 20 ms?  No: after a while. */
static bool noted(char *page, uint64_t block, bool want)
{
	int tries, max = want ? 400 : 30;

	for (tries = 0; tries < max; tries++) {
		uint64_t e = table_entry(frame_of(page));

		if ((e & MEM_HINT_VALID) && (e & MEM_HINT_BLOCK_MASK) == block)
			return want;
		usleep(10000);
	}
	return !want;
}

/* Shared, so that a child's read lands in the page that we look at. */
static char *shared_page(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool io_is_noted(const char *cgroup, bool want)
{
	static uint64_t block = 9000;
	char *page = shared_page();
	int tries = want ? 5 : 1;
	bool ok = false;

	/* Not what is read while a daemon that is asked to reload attaches again. */
	while (!ok && tries--) {
		block++;
		CHECK(page && read_in(cgroup, page, block));
		ok = noted(page, block, want);
	}
	CHECK(ok);
	munmap(page, PAGE);
	return true;
}

/* ---- is it JSON?  Just the grammar. ----------------------------------------- */

static const char *json_value(const char *p);

static const char *skip(const char *p)
{
	while (p && isspace((unsigned char)*p))
		p++;
	return p;
}

static const char *json_string(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p == '\\' && !*++p)
			return NULL;
	}
	return *p ? p + 1 : NULL;
}

static const char *json_list(const char *p, char end, bool named)
{
	p = skip(p + 1);
	if (*p == end)
		return p + 1;
	for (;;) {
		if (named) {
			p = skip(json_string(p));
			if (!p || *p++ != ':')
				return NULL;
		}
		p = skip(json_value(skip(p)));
		if (!p || (*p != ',' && *p != end))
			return NULL;
		if (*p++ == end)
			return p;
		p = skip(p);
	}
}

static const char *json_value(const char *p)
{
	static const char * const words[] = { "true", "false", "null" };
	unsigned int i;

	if (*p == '{')
		return json_list(p, '}', true);
	if (*p == '[')
		return json_list(p, ']', false);
	if (*p == '"')
		return json_string(p);
	for (i = 0; i < 3; i++)
		if (!strncmp(p, words[i], strlen(words[i])))
			return p + strlen(words[i]);
	if (!isdigit((unsigned char)*p))
		return NULL;
	while (isdigit((unsigned char)*p))
		p++;
	if (*p == '.' && isdigit((unsigned char)p[1]))
		for (p++; isdigit((unsigned char)*p);)
			p++;
	return p;
}

static bool json_says(int want, const char *text)
{
	const char *end;

	CHECK(hintd_run("--status --json", last, sizeof(last)) == want);
	end = skip(json_value(last));
	if (!end || *end || !strstr(last, text))
		ksft_print_msg("%s", last);
	CHECK(end && !*end);
	CHECK(strstr(last, text));
	return true;
}

/* ---- tests ------------------------------------------------------------------ */

static bool test_options(void)
{
	CHECK(write_text(CONF, "disks = vda\nunits = a b@c\n"));
	CHECK(hintd_run("--check --config " CONF, last, sizeof(last)) == 0);
	CHECK(strstr(last, "1 disk") && strstr(last, "2 units"));
	CHECK(write_text(CONF, "\ndisk = vda\n"));
	CHECK(hintd_run("--check --config " CONF, last, sizeof(last)) == 1);
	CHECK(strstr(last, CONF ":2: unknown key \"disk\""));
	CHECK(hintd_run("--config " CONF, last, sizeof(last)) == 1);
	CHECK(hintd_run("--check --config /tmp/none", last, sizeof(last)) == 1);
	CHECK(hintd_run("--check", last, sizeof(last)) == 0);	/* none: all */
	CHECK(strstr(last, "all disks, all I/O"));
	CHECK(hintd_run("--json", last, sizeof(last)) == 2);
	CHECK(hintd_run("--status --check", last, sizeof(last)) == 2);
	CHECK(hintd_run("more", last, sizeof(last)) == 2);
	CHECK(hintd_run("--status", last, sizeof(last)) == 3);
	CHECK(json_says(3, "\"state\": \"none\""));
	CHECK(hintd_run("--release", last, sizeof(last)) == 3);
	return true;
}

static bool test_waits(void)
{
	CHECK(access(HINTS, F_OK));
	CHECK(write_text(CONF, "interval = 1\n"));
	hintd = hintd_start();
	CHECK(status_becomes(4, "daemon waiting: mem_hints is not loaded"));
	CHECK(json_says(4, "\"state\": \"waiting\""));
	CHECK(strstr(last, "\"loaded\": false") && strstr(last, "\"program\": null"));
	CHECK(!module_load(""));
	CHECK(status_becomes(0, "daemon attached"));
	CHECK(io_is_noted(NULL, true));
	return true;
}

static bool test_only_one(void)
{
	CHECK(hintd_run("--config " CONF, last, sizeof(last)) == 1);
	CHECK(strstr(last, "another migdb-hintd runs"));
	CHECK(hints_start(NULL, NULL) < 0);
	CHECK(status_becomes(0, "daemon attached"));
	return true;
}

static bool test_blocked(void)
{
	pid_t other;

	CHECK(hintd_stop() == 0);
	other = hints_start(NULL, NULL);
	CHECK(other > 0);
	hintd = hintd_start();
	CHECK(status_becomes(4, "daemon blocked: another process"));
	CHECK(hints_stop(other) == 0);
	CHECK(status_becomes(0, "daemon attached"));
	return true;
}

static bool test_status(void)
{
	CHECK(status_becomes(0, "module loaded"));
	CHECK(strstr(last, "enabled 1\n") && strstr(last, "state idle\n"));
	CHECK(strstr(last, "\nnr_noted ") && strstr(last, "\nrequests "));
	CHECK(json_says(0, "\"state\": \"attached\""));
	CHECK(strstr(last, "\"loaded\": true, \"enabled\": true, \"state\": \"idle\""));
	CHECK(strstr(last, "\"wanted\": [],") && strstr(last, "\"filtered\": 0 }"));
	return true;
}

/* A block that one page has is written from another one. */
static bool test_stale(void)
{
	unsigned long long total, stale;
	char *page = shared_page(), *other = shared_page(), *at;
	double percent;

	CHECK(page && other);
	CHECK(read_in(NULL, page, 9900) && noted(page, 9900, true));
	memcpy(other, page, PAGE);
	CHECK(pwrite(vda, other, PAGE, 9900 * PAGE) == PAGE);
	CHECK(noted(other, 9900, true));
	CHECK(status_becomes(0, "\nstale_percent "));
	at = strstr(last, "\nnr_noted ");
	CHECK(at && sscanf(at, "\nnr_noted %llu", &total) == 1 && total);
	at = strstr(last, "\nnr_stale ");
	CHECK(at && sscanf(at, "\nnr_stale %llu", &stale) == 1 && stale);
	at = strstr(last, "\nstale_percent ");
	CHECK(sscanf(at, "\nstale_percent %lf", &percent) == 1);
	CHECK(percent > 0 && percent < 100);
	CHECK(percent * total > 100.0 * stale - 0.006 * total);
	CHECK(percent * total < 100.0 * stale + 0.006 * total);
	CHECK(json_says(0, ", \"stale_percent\": "));
	munmap(page, PAGE);
	munmap(other, PAGE);
	return true;
}

static bool test_reload(void)
{
	int round, err = module_unload();

	CHECK(err == -EAGAIN || err == -EBUSY);
	for (round = 0; round < 2; round++) {
		CHECK(hintd_run("--release", last, sizeof(last)) == 0);
		CHECK(!strcmp(last, "released\n"));
		CHECK(!module_unload());
		/* at once, and after it has seen that there is none */
		if (round)
			CHECK(status_becomes(4, "daemon waiting"));
		CHECK(!module_load(""));
		CHECK(status_becomes(0, "daemon attached"));
		CHECK(io_is_noted(NULL, true));
	}
	return true;
}

static bool test_disks(void)
{
	int sda = open_direct("/dev/sda");
	char *page = locked_pages(1);

	CHECK(sda >= 0);
	CHECK(configure("interval = 1\ndisks = vda\n"));
	CHECK(status_becomes(0, "disk vda hinted"));
	CHECK(io_is_noted(NULL, true));
	CHECK(pread(sda, page, PAGE, 77 * PAGE) == PAGE);
	CHECK(noted(page, 77, false));
	CHECK(configure("interval = 1\ndisks = vda sda\n"));
	CHECK(status_becomes(0, "disk sda hinted"));
	CHECK(pread(sda, page, PAGE, 78 * PAGE) == PAGE);
	CHECK(noted(page, 78, true));
	close(sda);

	CHECK(configure("disks = vda1\n"));
	CHECK(status_becomes(5, "disk vda1 not hinted: it is a partition"));
	CHECK(configure("disks = /dev/null\n"));
	CHECK(status_becomes(5, "disk null not hinted: it is no block device"));
	CHECK(io_is_noted(NULL, false));
	return true;
}

/* A disk that comes and goes: by a link, so that nothing is plugged. */
static bool test_disk_appears(void)
{
	CHECK(configure("interval = 1\ndisks = /tmp/the-disk\n"));
	CHECK(status_becomes(5, "disk /tmp/the-disk not hinted: it is not there"));
	CHECK(json_says(5, "\"hinted\": false, \"why\": \"it is not there\""));
	CHECK(!symlink("/dev/vda", "/tmp/the-disk"));
	CHECK(status_becomes(0, "disk /tmp/the-disk hinted"));
	CHECK(io_is_noted(NULL, true));
	CHECK(!unlink("/tmp/the-disk"));
	CHECK(status_becomes(5, "not hinted: it is not there"));
	CHECK(io_is_noted(NULL, false));
	return true;
}

/* Two names of one disk: it is noted as long as one of them holds. */
static bool test_disk_of_two_names(void)
{
	CHECK(!symlink("/dev/vda", "/tmp/other-name"));
	CHECK(configure("interval = 1\ndisks = vda /tmp/other-name\n"));
	CHECK(status_becomes(0, "disk /tmp/other-name hinted"));
	CHECK(strstr(last, "disk vda hinted"));
	CHECK(io_is_noted(NULL, true));
	CHECK(!unlink("/tmp/other-name"));
	CHECK(status_becomes(5, "disk /tmp/other-name not hinted: it is not there"));
	CHECK(strstr(last, "disk vda hinted"));
	CHECK(io_is_noted(NULL, true));
	CHECK(!symlink("/dev/sda", "/tmp/other-name"));
	CHECK(status_becomes(0, "disk /tmp/other-name hinted"));
	CHECK(!unlink("/tmp/other-name") && !symlink("/dev/vda", "/tmp/other-name"));
	sleep(3);
	CHECK(status_becomes(0, "disk /tmp/other-name hinted"));
	CHECK(io_is_noted(NULL, true));
	CHECK(!unlink("/tmp/other-name"));
	return true;
}

static bool test_bad_config(void)
{
	CHECK(configure("interval = 1\ndisks = vda\n"));
	CHECK(status_becomes(0, "disk vda hinted"));
	CHECK(configure("disks = vda\ndisks = vda\n"));
	sleep(1);
	CHECK(status_becomes(0, "disk vda hinted"));
	CHECK(io_is_noted(NULL, true));
	return true;
}

static bool controller(const char *above, const char *what)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUPS "%s/cgroup.subtree_control", above);
	return write_text(path, what);
}

static bool test_cgroups(void)
{
	CHECK(!mkdir(CGROUPS "/db", 0755) && !mkdir(CGROUPS "/dbx", 0755));
	CHECK(configure("interval = 1\ncgroups = db\n"));
	CHECK(status_becomes(5, "cgroup /db not hinted: it has no io controller"));
	CHECK(io_is_noted("/db", false));
	CHECK(controller("", "+io"));
	CHECK(status_becomes(0, "cgroup /db hinted"));
	CHECK(io_is_noted("/db", true));
	CHECK(io_is_noted("/dbx", false));
	CHECK(io_is_noted(NULL, false));

	/* Below it, without a controller of its own, and with one. */
	CHECK(!mkdir(CGROUPS "/db/a", 0755) && !mkdir(CGROUPS "/db/a/b", 0755));
	CHECK(io_is_noted("/db/a/b", true));
	CHECK(controller("/db", "+io") && controller("/db/a", "+io"));
	CHECK(io_is_noted("/db/a/b", true));
	CHECK(io_is_noted("/dbx", false));
	CHECK(status_becomes(0, "cgroup /db hinted"));
	CHECK(configure("interval = 1\ncgroups = /nowhere\n"));
	CHECK(status_becomes(5, "cgroup /nowhere not hinted: there is no cgroup /nowhere"));
	CHECK(controller("/db/a", "-io") && controller("/db", "-io") && controller("", "-io"));
	return true;
}

static bool test_unit(void)
{
	struct stat before, after;

	CHECK(!mkdir("/tmp/units", 0755) && !mkdir(CGROUPS "/system.slice", 0755));
	CHECK(configure("interval = 1\nunits = db\n"));
	CHECK(status_becomes(5, "unit db.service not hinted: it does not run"));
	CHECK(io_is_noted(NULL, false));

	CHECK(!mkdir(CGROUPS "/system.slice/db.service", 0755));
	CHECK(write_text("/tmp/units/db.service", "/system.slice/db.service"));
	CHECK(status_becomes(0, "unit db.service hinted /system.slice/db.service"));
	CHECK(json_says(0, "\"cgroup\": \"/system.slice/db.service\""));
	CHECK(!access("/tmp/units/set-property.log", F_OK));
	CHECK(io_is_noted("/system.slice/db.service", true));
	CHECK(io_is_noted(NULL, false));

	/* Restarted: another cgroup of the same name. */
	CHECK(!stat(CGROUPS "/system.slice/db.service", &before));
	CHECK(!rmdir(CGROUPS "/system.slice/db.service"));
	CHECK(!mkdir(CGROUPS "/system.slice/db.service", 0755));
	CHECK(!stat(CGROUPS "/system.slice/db.service", &after));
	CHECK(before.st_ino != after.st_ino);
	sleep(3);
	CHECK(status_becomes(0, "unit db.service hinted"));
	CHECK(io_is_noted("/system.slice/db.service", true));

	/* Stopped. */
	CHECK(!unlink("/tmp/units/db.service"));
	CHECK(!rmdir(CGROUPS "/system.slice/db.service"));
	CHECK(status_becomes(5, "unit db.service not hinted: it does not run"));
	return true;
}

/* systemd says yes and nothing happens, or it says no. */
static bool test_unit_refused(void)
{
	CHECK(!mkdir(CGROUPS "/plain", 0755) && !mkdir(CGROUPS "/plain/x.service", 0755));
	CHECK(write_text("/tmp/units/x.service", "/plain/x.service"));
	CHECK(write_text("/tmp/units/ignore", ""));
	CHECK(configure("interval = 1\nunits = x.service\n"));
	CHECK(status_becomes(5, "IOAccounting=yes is set, but /plain/x.service has no io controller"));
	CHECK(io_is_noted("/plain/x.service", false));
	CHECK(!unlink("/tmp/units/ignore") && write_text("/tmp/units/refuse", ""));
	CHECK(status_becomes(5, "IOAccounting=yes was refused: Access denied"));
	CHECK(!unlink("/tmp/units/refuse"));
	CHECK(status_becomes(0, "unit x.service hinted"));
	return true;
}

/* ---- logical volumes -------------------------------------------------------- */

#define VOLUME		"/dev/volume"
#define VOLUME_DIR	"/volume"
#define DATA_PAGES	256UL	/* of the file "data" of each file system that run.sh makes */

static int ctl;

/* Loads a table, by which a volume is made if there is none, and resumes it. */
static int set_table(const char *target, const char *params, uint64_t sectors, uint64_t *nr)
{
	return (nr ? dm_named(ctl, DM_DEV_CREATE, "vol", NULL, NULL, 0, nr) : 0) ?:
	       dm_named(ctl, DM_TABLE_LOAD, "vol", target, params, sectors, NULL) ?:
	       dm_named(ctl, DM_DEV_SUSPEND, "vol", NULL, NULL, 0, NULL);
}

static bool mount_volume(uint64_t nr)
{
	mkdir(VOLUME_DIR, 0700);
	unlink(VOLUME);
	CHECK(!mknod(VOLUME, S_IFBLK | 0600, nr));
	CHECK(!mount(VOLUME, VOLUME_DIR, "ext4", MS_RDONLY, NULL));
	return true;
}

static bool remove_volume(void)
{
	int err = -EBUSY, tries;

	umount(VOLUME_DIR);
	for (tries = 0; tries < 100 && err == -EBUSY; tries++) {
		err = dm_named(ctl, DM_DEV_REMOVE, "vol", NULL, NULL, 0, NULL);
		usleep(20000);
	}
	CHECK(!err);
	return true;
}

static int hint_file(int dev)
{
	struct mem_hint_file f = { .fd = open(VOLUME_DIR "/data", O_RDONLY | O_CLOEXEC) };
	struct mem_hint_unfile u = {};
	int err = ioctl(dev, MEM_HINT_IOC_FILE, &f) ? -errno : 0;

	u.file = f.out_file;
	if (!err)
		ioctl(dev, MEM_HINT_IOC_UNFILE, &u);
	close(f.fd);
	return err;
}

/* Waits until a file on the volume can be named, or cannot. */
static bool file_becomes(int want)
{
	int dev, err = 1, tries;

	for (tries = 0; tries < 400; tries++) {
		dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
		err = hint_file(dev);
		close(dev);
		if (err == want)
			return true;
		usleep(100000);
	}
	ksft_print_msg("FILE returns %d, not %d\n", err, want);
	return false;
}

/* Waits until --status names no volume. */
static bool no_volume(void)
{
	int tries;

	for (tries = 0; tries < 400; tries++) {
		if (status_becomes(0, "daemon attached") && !strstr(last, "\nvolume "))
			return true;
		usleep(100000);
	}
	ksft_print_msg("--status says:\n%s", last);
	return false;
}

/*
 * In a process of its own, so that nothing of it stays: memory that holds the file's
 * pages is named, each page, by a block that holds the same; by as many disks as asked
 * for.
 */
static bool named_rightly(unsigned int nr_disks)
{
	static const char * const names[] = { "vdd", "sda" };
	struct mem_hint_bind b = { .len = DATA_PAGES * PAGE };
	unsigned int seen[2] = {}, i, d;
	int dev, fd, c, below[2];
	char *p, *block = locked_pages(1);

	dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	fd = open(VOLUME_DIR "/data", O_RDONLY | O_CLOEXEC);
	p = locked_pages(DATA_PAGES);
	CHECK(dev >= 0 && fd >= 0 && p && block);
	CHECK(pread(fd, p, DATA_PAGES * PAGE, 0) == (ssize_t)(DATA_PAGES * PAGE));
	b.fd = fd;
	b.addr = (uintptr_t)p;
	CHECK(!ioctl(dev, MEM_HINT_IOC_BIND, &b));
	c = migration_start(0);
	CHECK(c >= 0);
	for (d = 0; d < 2; d++)
		below[d] = open(d ? "/dev/sda" : "/dev/vdd", O_RDONLY | O_DIRECT | O_CLOEXEC);
	for (i = 0; i < DATA_PAGES; i++) {
		uint64_t e = table_entry(frame_of(p + i * PAGE));
		int id = e >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK;

		CHECK(e & MEM_HINT_VALID);
		d = id == disk_id(names[1]);
		CHECK(id == disk_id(names[d]));
		CHECK(pread(below[d], block, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE) == PAGE);
		CHECK(!memcmp(block, p + i * PAGE, PAGE));
		seen[d]++;
	}
	CHECK(!seen[0] + !seen[1] == 2 - nr_disks);
	CHECK(migration_complete(c));
	return true;
}

static bool is_named_rightly(unsigned int nr_disks)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(named_rightly(nr_disks) ? 0 : 1);
	return wait_status(pid) == 0;
}

static bool test_volume(void)
{
	uint64_t nr = 0, again;

	ctl = dm_control();
	CHECK(ctl >= 0);
	CHECK(hintd_run("--release", last, sizeof(last)) == 0);
	CHECK(!module_unload());
	CHECK(!module_load("allow_local=1 walk_ms=4000"));
	CHECK(configure("interval = 1\n"));
	CHECK(status_becomes(0, "daemon attached"));
	CHECK(no_volume());

	CHECK(!set_table("linear", "/dev/vdd 2048", DM_SECTORS, &nr));
	CHECK(status_becomes(0, "volume vol hinted 1 segment, 8192 sectors"));
	CHECK(json_says(0, "\"name\": \"vol\", \"hinted\": true, \"map\": \"1 segment, 8192 sectors\""));
	CHECK(mount_volume(nr) && file_becomes(0));
	CHECK(is_named_rightly(1));

	/* Suspended: nothing hangs, and what is known holds. */
	CHECK(!dm_suspend(ctl, "vol"));
	sleep(3);
	CHECK(status_becomes(0, "volume vol hinted 1 segment, 8192 sectors"));
	/* A larger one, that begins elsewhere: known when it goes on. */
	CHECK(!set_table("linear", "/dev/vdd 1024", DM_SECTORS + 1024, NULL));
	CHECK(status_becomes(0, "volume vol hinted 1 segment, 9216 sectors"));
	CHECK(!umount(VOLUME_DIR));
	CHECK(!set_table("linear", "/dev/vdd 2048", DM_SECTORS, NULL));
	CHECK(status_becomes(0, "volume vol hinted 1 segment, 8192 sectors"));
	CHECK(mount_volume(nr) && is_named_rightly(1));

	/* Made anew between two looks: the same in all that a table says. */
	CHECK(remove_volume());
	again = nr;
	CHECK(!set_table("linear", "/dev/vdd 2048", DM_SECTORS, &again));
	CHECK(again == nr && mount_volume(nr));
	CHECK(file_becomes(0));
	CHECK(status_becomes(0, "volume vol hinted 1 segment, 8192 sectors"));

	/* The module is reloaded, and knows nothing. */
	CHECK(hintd_run("--release", last, sizeof(last)) == 0);
	CHECK(!module_unload());
	CHECK(!module_load("allow_local=1 walk_ms=4000"));
	CHECK(status_becomes(0, "daemon attached"));
	CHECK(file_becomes(0));
	return true;
}

static bool test_volumes_none(void)
{
	CHECK(configure("interval = 1\nvolumes = none\n"));
	CHECK(file_becomes(-EOPNOTSUPP));
	CHECK(no_volume());
	CHECK(configure("interval = 1\nvolumes = all\n"));
	CHECK(status_becomes(0, "volume vol hinted"));
	CHECK(file_becomes(0));
	return true;
}

/* Over two disks, with the file system that the linear one shows. */
static bool test_volume_striped(void)
{
	static char content[DM_SECTORS * 512];
	uint64_t nr = 0;
	int fd;

	fd = open("/dev/vdd", O_RDONLY | O_CLOEXEC);
	CHECK(pread(fd, content, sizeof(content), 1 << 20) == sizeof(content));
	close(fd);
	CHECK(remove_volume());
	CHECK(no_volume());
	CHECK(!set_table("striped", "2 16 /dev/vdd 12288 /dev/sda 2048", DM_SECTORS, &nr));
	CHECK(status_becomes(0, "volume vol hinted 2 segments, 8192 sectors"));
	unlink(VOLUME);
	CHECK(!mknod(VOLUME, S_IFBLK | 0600, nr));
	fd = open(VOLUME, O_RDWR | O_CLOEXEC);
	CHECK(pwrite(fd, content, sizeof(content), 0) == sizeof(content) && !fsync(fd));
	close(fd);
	CHECK(mount_volume(nr) && file_becomes(0));
	CHECK(is_named_rightly(2));
	return true;
}

/* What cannot be described is not: by its table, or by what is below. */
static bool test_volume_refused(void)
{
	struct mem_hint_segments none = {};
	uint64_t above = 0, nr = 0;
	char params[64];
	int dev, err;

	CHECK(remove_volume());
	CHECK(!set_table("linear", "/dev/vdd 2048", DM_SECTORS, &nr));
	CHECK(status_becomes(0, "volume vol hinted 1 segment"));
	CHECK(mount_volume(nr) && file_becomes(0) && !umount(VOLUME_DIR));
	/* On top of another volume. */
	snprintf(params, sizeof(params), "%u:%u 0", major(nr), minor(nr));
	CHECK(!dm_named(ctl, DM_DEV_CREATE, "above", NULL, NULL, 0, &above));
	CHECK(status_becomes(0, "volume above not hinted: it has no table"));
	CHECK(!dm_named(ctl, DM_TABLE_LOAD, "above", "linear", params, DM_SECTORS, NULL));
	CHECK(!dm_named(ctl, DM_DEV_SUSPEND, "above", NULL, NULL, 0, NULL));
	CHECK(status_becomes(0, "volume above not hinted: what is below is no disk that is hinted"));
	CHECK(strstr(last, "volume vol hinted"));
	CHECK(!dm_named(ctl, DM_DEV_REMOVE, "above", NULL, NULL, 0, NULL));
	/* A disk of two, which entries do not name. */
	CHECK(!dm_named(ctl, DM_DEV_CREATE, "above", NULL, NULL, 0, &above));
	CHECK(!dm_named(ctl, DM_TABLE_LOAD, "above", "linear", "/dev/vdb 0", 64, NULL));
	CHECK(!dm_named(ctl, DM_DEV_SUSPEND, "above", NULL, NULL, 0, NULL));
	CHECK(status_becomes(0, "volume above not hinted: what is below"));
	CHECK(!dm_named(ctl, DM_DEV_REMOVE, "above", NULL, NULL, 0, NULL));
	/* Its map goes with its table. */
	CHECK(!set_table("error", "", DM_SECTORS, NULL));
	CHECK(status_becomes(0, "volume vol not hinted: a target is \"error\", neither linear nor striped"));
	none.major = major(nr);
	none.minor = minor(nr);
	dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	err = ioctl(dev, MEM_HINT_IOC_SEGMENTS, &none) ? errno : 0;
	close(dev);
	CHECK(err == ENOENT);
	CHECK(json_says(0, "\"why\": \"a target is \\\"error\\\""));
	CHECK(!set_table("linear", "/dev/vdd 2048", DM_SECTORS, NULL));
	CHECK(status_becomes(0, "volume vol hinted"));
	CHECK(remove_volume());
	CHECK(no_volume());
	close(ctl);
	return true;
}

static bool test_term(void)
{
	CHECK(configure("interval = 1\n"));
	CHECK(status_becomes(0, "daemon attached"));
	CHECK(hintd_stop() == 0);
	CHECK(hintd_run("--status", last, sizeof(last)) == 3);
	CHECK(strstr(last, "daemon none\n") && strstr(last, "program none\n"));
	CHECK(access("/run/migdb-hintd/state", F_OK));
	CHECK(io_is_noted(NULL, false));
	return true;
}

static bool test_killed(void)
{
	hintd = hintd_start();
	CHECK(status_becomes(0, "daemon attached"));
	kill(hintd, SIGKILL);
	CHECK(wait_status(hintd) == 128 + SIGKILL);
	CHECK(hintd_run("--status", last, sizeof(last)) == 3);
	CHECK(hintd_run("--release", last, sizeof(last)) == 3);
	hintd = hintd_start();		/* what it left is not in the way */
	CHECK(status_becomes(0, "daemon attached"));
	CHECK(hintd_stop() == 0);
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "options and configuration", test_options },
	{ "waits for the module", test_waits },
	{ "one daemon, one program", test_only_one },
	{ "waits while another program is attached", test_blocked },
	{ "status as text and JSON", test_status },
	{ "the share of what is stale", test_stale },
	{ "the module is reloaded", test_reload },
	{ "disks", test_disks },
	{ "a disk comes and goes", test_disk_appears },
	{ "a disk of two names", test_disk_of_two_names },
	{ "a bad configuration changes nothing", test_bad_config },
	{ "cgroups", test_cgroups },
	{ "a unit starts, restarts and stops", test_unit },
	{ "the io controller is not to be had", test_unit_refused },
	{ "a linear volume: made, suspended, resized, made anew", test_volume },
	{ "volumes are not wanted, and wanted again", test_volumes_none },
	{ "a striped volume", test_volume_striped },
	{ "volumes that cannot be described", test_volume_refused },
	{ "ends in order", test_term },
	{ "is killed", test_killed },
};

int main(void)
{
	vda = open_direct("/dev/vda");
	if (vda < 0)
		ksft_exit_skip("no /dev/vda: to be run by run.sh\n");
	mkdir("/run", 0755);
	mount("cgroup2", CGROUPS, "cgroup2", 0, NULL);
	if (access(CGROUPS "/cgroup.controllers", F_OK))
		ksft_exit_skip("no cgroup2\n");
	return run_tests(tests, ARRAY_SIZE(tests));
}
