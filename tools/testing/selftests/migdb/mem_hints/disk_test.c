// SPDX-License-Identifier: GPL-2.0
/*
 * Who asks a disk for its identity, and who waits for that: neither the caller's
 * device cgroup nor a disk that hangs is anybody else's trouble.
 *
 * sda hangs for who opens it while a process in a cgroup with next to no bandwidth
 * reads its partition table.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/fs.h>

#include "kselftest.h"
#include "guest.h"

#define CGROUPS		"/sys/fs/cgroup"
#define DENIED		CGROUPS "/denied"
#define SLOW		CGROUPS "/slow"
#define ASK_MS		2000	/* MHINT_ASK_MS */
#define GENEROUS_MS	20000	/* emulation on a busy machine */

static pid_t loader;
static int vda, sda;

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* The children of @cgroup open no device. */
static bool deny_devices(const char *cgroup)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)insns,
		.insn_cnt = ARRAY_SIZE(insns),
		.license = (uintptr_t)"GPL",
	}, attach = {
		.attach_type = BPF_CGROUP_DEVICE,
		.target_fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	int prog = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));

	attach.attach_bpf_fd = prog;
	return prog >= 0 && !syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach));
}

/* In a process of a cgroup: its exit status. */
static int in_cgroup(const char *cgroup, int (*fn)(void))
{
	char path[128];
	int status;
	pid_t pid = fork();

	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
		_exit(write_text(path, "0") ? fn() : 100);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static bool begin(void)
{
	CHECK(!module_load("allow_local=1 drain_ms=10000"));
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	return true;
}

static bool end(void)
{
	CHECK(!loader || hints_stop(loader) == 0);
	CHECK(!module_unload_wait());
	return true;
}

static int look_at_disks(void)
{
	int fd = open("/dev/vda", O_RDONLY | O_CLOEXEC);
	char text[4096];

	if (fd >= 0 || errno != EPERM)
		return 1;	/* it can open it */
	return hints_text("disks", text, sizeof(text)) ? 0 : 2;
}

static bool test_device_cgroup(void)
{
	char *page = locked_pages(1);
	bool known;

	mkdir(DENIED, 0755);
	CHECK(deny_devices(DENIED));
	CHECK(begin());
	/* Noted, and with such a drain_ms asked for nothing before somebody looks. */
	CHECK(pread(vda, page, PAGE, 100 * PAGE) == PAGE);
	CHECK(in_cgroup(DENIED, look_at_disks) == 0);
	known = disk_id("vda") >= 0 && entry_is(page, disk_id("vda"), 100);
	CHECK(end());
	CHECK(known);
	return true;
}

/* Reads the partition table of sda, slowly. */
static int rescan(void)
{
	int fd = open("/dev/sda", O_RDONLY | O_CLOEXEC);

	return fd < 0 || ioctl(fd, BLKRRPART) ? 1 : 0;
}

/* How long it takes to read "disks"; 0: too long.  A process of its own may hang. */
static uint64_t disks_ms(char *text, size_t size)
{
	uint64_t begin = now_ms(), took = 0;
	struct pollfd p = { .events = POLLIN };
	int out[2];
	ssize_t n;
	pid_t pid;

	if (pipe(out))
		return 0;
	pid = fork();
	if (!pid) {
		if (!hints_text("disks", text, size))
			_exit(1);
		_exit(write(out[1], text, strlen(text) + 1) < 0);
	}
	close(out[1]);
	p.fd = out[0];
	if (poll(&p, 1, GENEROUS_MS) == 1) {
		n = read(out[0], text, size - 1);
		text[n > 0 ? n : 0] = 0;
		took = now_ms() - begin ?: 1;
	}
	close(out[0]);
	kill(pid, SIGKILL);
	if (took)
		waitpid(pid, NULL, 0);
	return took;
}

static bool while_sda_hangs(void)
{
	char *page = locked_pages(1), text[4096] = "";
	struct mem_hint_info info;
	uint64_t first, second;
	int fd;

	CHECK(begin());
	CHECK(pread(sda, page, PAGE, 50 * PAGE) == PAGE);
	first = disks_ms(text, sizeof(text));
	ksft_print_msg("the first look at the disks took %lu ms\n", first);
	CHECK(first);
	CHECK(!strstr(text, " sda "));
	/* It is overdue: nobody waits for it again. */
	CHECK(pread(vda, page, PAGE, 200 * PAGE) == PAGE);
	second = disks_ms(text, sizeof(text));
	ksft_print_msg("the second one took %lu ms\n", second);
	CHECK(second && second < ASK_MS);
	CHECK(strstr(text, " vda ") && !strstr(text, " sda "));
	CHECK(entry_is(page, disk_id("vda"), 200));
	/* Hosts are served. */
	fd = channel_connect();
	CHECK(fd >= 0);
	CHECK(channel_hello(fd, &info, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	close(fd);
	return true;
}

/* For so long that nothing but the question to sda is left. */
static int try_to_unload(void)
{
	int tries;

	for (tries = 0; tries < 30; tries++, usleep(100000))
		if (module_unload() != -EAGAIN)
			return 1;
	return 0;
}

/* It is refused, and does not hang as sda does. */
static bool unload_is_refused(void)
{
	uint64_t begin = now_ms();
	int status = -1;
	pid_t pid;

	CHECK(hints_stop(loader) == 0);
	loader = 0;
	pid = fork();
	if (!pid)
		_exit(try_to_unload());
	while (!waitpid(pid, &status, WNOHANG)) {
		CHECK(now_ms() - begin < GENEROUS_MS);
		usleep(50000);
	}
	CHECK(status == 0);
	return true;
}

static bool set_limit(const char *limit)
{
	struct stat st;
	char line[64];

	if (stat("/dev/sda", &st))
		return false;
	snprintf(line, sizeof(line), "%u:%u rbps=%s", major(st.st_rdev), minor(st.st_rdev),
		 limit);
	return write_text(SLOW "/io.max", line);
}

static bool test_disk_hangs(void)
{
	int status = 0, tries;
	char path[128];
	bool ok, late;
	pid_t pid;

	mkdir(SLOW, 0755);
	CHECK(write_text(CGROUPS "/cgroup.subtree_control", "+io"));
	ok = set_limit("2");
	pid = fork();
	if (!pid) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", SLOW);
		_exit(write_text(path, "0") ? rescan() : 100);
	}
	sleep(1);
	ok = ok && waitpid(pid, &status, WNOHANG) == 0;
	if (!ok)
		ksft_print_msg("sda does not hang: %x\n", status);
	ok = ok && while_sda_hangs() && unload_is_refused();
	/* Whatever came of it, leave nothing behind that hangs. */
	late = set_limit("max") && waitpid(pid, &status, 0) == pid && status == 0;
	for (tries = 0; ok && tries < 200 && disk_id("sda") < 0; tries++)
		usleep(50000);
	late = late && disk_id("sda") >= 0;
	write_text(CGROUPS "/cgroup.subtree_control", "-io");
	rmdir(SLOW);
	CHECK(end());
	CHECK(ok);
	CHECK(late);
	return true;
}

#define DRIVER "/sys/bus/virtio/drivers/virtio_blk"
#define ROUNDS 25

/* Asks for the disks, over and over: each new one is asked who it is. */
static pid_t ask_always(void)
{
	pid_t pid = fork();
	char text[4096];

	if (!pid)
		for (;;)
			hints_text("disks", text, sizeof(text));
	return pid;
}

static bool wait_for_file(const char *path, bool there)
{
	int tries;

	for (tries = 0; tries < 500; tries++) {
		if (!access(path, F_OK) == there)
			return true;
		usleep(10000);
	}
	return false;
}

static bool read_vdd(char *page)
{
	int fd = open_direct("/dev/vdd");
	bool ok = fd >= 0 && pread(fd, page, PAGE, 0) == PAGE;

	close(fd);
	return ok;
}

/* The driver lets go of the disk after a while, and takes it again as a new one. */
static bool unbind_and_bind(const char *device, char *page, unsigned int delay_us)
{
	int tries;

	CHECK(read_vdd(page));		/* noted: a new disk */
	usleep(delay_us);
	CHECK(write_text(DRIVER "/unbind", device));
	CHECK(wait_for_file("/dev/vdd", false));
	/* Before it comes again, with the same identity, it is forgotten. */
	for (tries = 0; tries < 500 && disk_id("vdd") >= 0; tries++)
		usleep(10000);
	CHECK(disk_id("vdd") < 0);
	CHECK(write_text(DRIVER "/bind", device));
	CHECK(wait_for_file("/dev/vdd", true));
	return true;
}

static bool test_unbind(void)
{
	char link[256], *device, *page = locked_pages(1), text[4096], *at;
	int i, len = readlink("/sys/block/vdd/device", link, sizeof(link) - 1);
	bool ok = true;
	pid_t asker;

	CHECK(len > 0);
	link[len] = 0;
	device = strrchr(link, '/') + 1;
	CHECK(begin());
	asker = ask_always();
	CHECK(asker > 0);
	for (i = 0; i < ROUNDS && ok; i++)
		ok = unbind_and_bind(device, page, i * 400);
	kill(asker, SIGKILL);
	waitpid(asker, NULL, 0);
	CHECK(ok);
	/* The one that is there now is known, if not yet by what the kernel has read. */
	CHECK(read_vdd(page));
	for (i = 0; i < 100 && disk_id("vdd") < 0; i++)
		usleep(50000);
	CHECK(disk_id("vdd") >= 0);
	CHECK(entry_is(page, disk_id("vdd"), 0));
	CHECK(hints_text("disks", text, sizeof(text)));
	at = strstr(text, " vdd ");
	CHECK(at && !strstr(at + 1, " vdd "));
	CHECK(end());
	return true;
}

static const struct test tests[] = {
	{ "a caller that may not open a disk does not refuse it for all", test_device_cgroup },
	{ "a disk that hangs holds up nobody for long", test_disk_hangs },
	{ "a disk may go while it is asked who it is", test_unbind },
};

int main(void)
{
	vda = open_direct("/dev/vda");
	sda = open_direct("/dev/sda");
	if (vda < 0 || sda < 0)
		ksft_exit_skip("no /dev/vda and /dev/sda: to be run by run.sh\n");
	mount("cgroup2", CGROUPS, "cgroup2", 0, NULL);
	if (access(CGROUPS "/cgroup.controllers", F_OK))
		ksft_exit_skip("no cgroup2\n");
	return run_tests(tests, ARRAY_SIZE(tests));
}
