// SPDX-License-Identifier: GPL-2.0
/* Shared by the tests of the guest part: module, sysfs, table, channel. */
#define _GNU_SOURCE
#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/vm_sockets.h>

#include "kselftest.h"
#include "guest.h"

/* A test that failed half way must not leave the channel to the next one. */
static void close_vsock(void)
{
	struct sockaddr_vm addr;
	socklen_t len;
	int fd;

	for (fd = 3; fd < 1024; fd++) {
		len = sizeof(addr);
		if (!getsockname(fd, (struct sockaddr *)&addr, &len) &&
		    addr.svm_family == AF_VSOCK)
			close(fd);
	}
}

int run_tests(const struct test *tests, unsigned int nr)
{
	unsigned int i;
	bool ok;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	ksft_print_header();
	ksft_set_plan(nr);
	for (i = 0; i < nr; i++) {
		errno = 0;
		ok = tests[i].run();
		ksft_test_result(ok, "%s\n", tests[i].name);
		if (!ok)
			close_vsock();
	}
	ksft_finished();
}

/* ---- module and loader ---------------------------------------------------- */

int module_load(const char *params)
{
	const char *path = getenv("MEM_HINTS_KO") ?: "/lib/mem_hints.ko";
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return err;
}

int module_unload(void)
{
	return syscall(SYS_delete_module, "mem_hints", O_NONBLOCK) ? -errno : 0;
}

/* A program that was detached holds its reference until RCU frees it. */
int module_unload_wait(void)
{
	int tries, err = -EAGAIN;

	for (tries = 0; tries < 400 && err == -EAGAIN; tries++) {
		err = module_unload();
		if (err == -EAGAIN)
			usleep(10000);
	}
	return err;
}

static const char *hints_path(void)
{
	return getenv("MIGDB_HINTS") ?: "/bin/migdb-hints";
}

pid_t hints_start(const char *option, const char *value)
{
	int out[2];
	char line[64];
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		execl(hints_path(), "migdb-hints", option, value, NULL);
		_exit(127);
	}
	close(out[1]);
	n = read(out[0], line, sizeof(line));	/* "attached", or end of file */
	close(out[0]);
	if (n <= 0) {
		waitpid(pid, NULL, 0);
		return -1;
	}
	return pid;
}

int hints_stop(pid_t pid)
{
	int status;

	kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int hints_run(const char *option)
{
	int status, null;
	pid_t pid = fork();

	if (!pid) {
		null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(null, 2);
		execl(hints_path(), "migdb-hints", option, NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* ---- sysfs ---------------------------------------------------------------- */

bool hints_text(const char *name, char *buf, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), HINTS "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = 0;
	return true;
}

uint64_t hints_u64(const char *name)
{
	char text[64];

	return hints_text(name, text, sizeof(text)) ? strtoull(text, NULL, 0) : ~0ULL;
}

int hints_write(const char *name, const char *text)
{
	char path[128];
	int fd, err;

	snprintf(path, sizeof(path), HINTS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int disk_id(const char *name)
{
	char text[4096], *line, *save;
	char type[32], disk[32];
	int id;

	if (!hints_text("disks", text, sizeof(text)))
		return -1;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%d %31s %31s", &id, type, disk) == 3 &&
		    !strcmp(disk, name))
			return strcmp(type, "refused") ? id : -1;
	return -1;
}

/* ---- table ---------------------------------------------------------------- */

/*
 * The direct map's segments in /proc/kcore carry physical addresses.  Its reads
 * go through a buffer of the open file, so each process needs one of its own.
 */
bool phys_read(uint64_t gpa, void *to, size_t len)
{
	static Elf64_Phdr ph[64];
	static int fd = -1, nr;
	static pid_t opener;
	Elf64_Ehdr eh;
	int i;

	if (opener != getpid()) {
		opener = getpid();
		if (fd >= 0)
			close(fd);
		fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
		if (fd < 0 || pread(fd, &eh, sizeof(eh), 0) != sizeof(eh))
			return false;
		nr = eh.e_phnum < 64 ? eh.e_phnum : 64;
		if (pread(fd, ph, nr * sizeof(ph[0]), eh.e_phoff) !=
		    (ssize_t)(nr * sizeof(ph[0])))
			return false;
	}
	for (i = 0; i < nr; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_paddr != ~0ULL &&
		    gpa >= ph[i].p_paddr && gpa - ph[i].p_paddr < ph[i].p_memsz)
			return pread(fd, to, len, ph[i].p_offset + gpa -
				     ph[i].p_paddr) == (ssize_t)len;
	return false;
}

bool table_root(struct mem_hint_root *root)
{
	return phys_read(hints_u64("root_gpa"), root, sizeof(*root)) &&
	       le32toh(root->magic) == MEM_HINT_ROOT_MAGIC;
}

/* ~0 if the table cannot be read: no test expects that. */
uint64_t table_entry(uint64_t frame)
{
	struct mem_hint_root root;
	uint64_t at, level;
	__le64 slot;

	if (!table_root(&root))
		return ~0ULL;
	if (frame >= le64toh(root.nr_frames))
		return 0;
	at = le64toh(root.table);
	for (level = le32toh(root.levels); level--;) {
		if (!at)
			return 0;
		if (at & (PAGE - 1) ||
		    !phys_read(at + 8 * ((frame >> (9 * level)) & 511), &slot, 8))
			return ~0ULL;
		at = le64toh(slot);
	}
	return at;
}

uint64_t frame_of(const void *addr)
{
	uint64_t v = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (pread(fd, &v, 8, (uintptr_t)addr / PAGE * 8) != 8 || !(v >> 63))
		v = 0;
	close(fd);
	return v & ((1ULL << 55) - 1);
}

uint64_t entry_for(int disk, uint64_t block)
{
	return MEM_HINT_VALID | (uint64_t)disk << MEM_HINT_DISK_SHIFT | block;
}

bool entry_is(const void *addr, int disk, uint64_t block)
{
	uint64_t entry = table_entry(frame_of(addr));

	entry &= ~(MEM_HINT_GEN_MASK << MEM_HINT_GEN_SHIFT);
	if (entry == entry_for(disk, block))
		return true;
	ksft_print_msg("frame %llx: entry %llx, expected %llx\n",
		       (unsigned long long)frame_of(addr),
		       (unsigned long long)entry,
		       (unsigned long long)entry_for(disk, block));
	return false;
}

void *locked_pages(size_t nr)
{
	void *p = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED,
		       -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int open_direct(const char *path)
{
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

/*
 * Reads two blocks in turn into a page of our own and waits for each in the
 * table.  A drain takes one CPU after the other, so that the first may pass by
 * what another CPU has noted; the second is of a later drain.
 */
bool settle(void)
{
	static uint64_t block = 8000;
	static char *page;
	static int fd = -1;
	int round, tries;

	if (!page)
		page = locked_pages(1);
	if (fd < 0)
		fd = open_direct("/dev/vda");
	if (!page || fd < 0)
		return false;
	for (round = 0; round < 2; round++) {
		uint64_t want = MEM_HINT_VALID | ++block;
		uint64_t mask = MEM_HINT_VALID | MEM_HINT_BLOCK_MASK;

		if (pread(fd, page, PAGE, block * PAGE) != PAGE)
			return false;
		for (tries = 0; tries < 1000; tries++) {
			if ((table_entry(frame_of(page)) & mask) == want)
				break;
			usleep(5000);
		}
		if (tries == 1000)
			return false;
	}
	return true;
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/* ---- device-mapper -------------------------------------------------------- */

#define MAPPER_CTRL_MINOR 236	/* the kernel's, not in its user headers */

int dm_control(void)
{
	mkdir("/dev/mapper", 0700);
	mknod("/dev/mapper/control", S_IFCHR | 0600, makedev(10, MAPPER_CTRL_MINOR));
	return open("/dev/mapper/control", O_RDWR);
}

int dm_named(int ctl, unsigned long cmd, const char *name, const char *target,
	     const char *params, uint64_t sectors, uint64_t *dev_nr)
{
	struct {
		struct dm_ioctl io;
		struct dm_target_spec spec;
		char params[64];
	} d = {
		.io = {
			.version = { DM_VERSION_MAJOR, 0, 0 },
			.data_size = sizeof(d),
			.data_start = sizeof(d.io),
		},
	};

	snprintf(d.io.name, sizeof(d.io.name), "%s", name);
	if (cmd == DM_DEV_CREATE && *dev_nr) {
		d.io.flags = DM_PERSISTENT_DEV_FLAG;
		d.io.dev = *dev_nr;
	}
	if (target) {
		d.io.target_count = 1;
		d.spec.length = sectors;
		strcpy(d.spec.target_type, target);
		strcpy(d.params, params);
	}
	if (ioctl(ctl, cmd, &d))
		return -errno;
	if (dev_nr)
		*dev_nr = d.io.dev;
	return 0;
}

int dm_suspend(int ctl, const char *name)
{
	struct dm_ioctl io = {
		.version = { DM_VERSION_MAJOR, 0, 0 },
		.data_size = sizeof(io),
		.data_start = sizeof(io),
		.flags = DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG,
	};

	snprintf(io.name, sizeof(io.name), "%s", name);
	return ioctl(ctl, DM_DEV_SUSPEND, &io) ? -errno : 0;
}

/* ---- channel -------------------------------------------------------------- */

/* ---- what processes say --------------------------------------------------- */

int hint_dev = -1;
long hint_syscall = -1;

int hint_call(unsigned int op, void *arg, size_t size)
{
	long ret;

	if (hint_dev < 0)
		hint_dev = open("/dev/mem_hints", O_RDWR | O_CLOEXEC);
	if (hint_syscall >= 0)
		ret = syscall(hint_syscall, op, arg, size, 0);
	else
		ret = ioctl(hint_dev, _IOC(_IOC_READ | _IOC_WRITE, MEM_HINT_IOC_TYPE,
					   MEM_HINT_IOC_NR(op), size), arg);
	return ret < 0 ? -errno : ret;
}

int do_bind(int fd, void *addr, uint64_t len, uint64_t offset)
{
	struct mem_hint_bind a = {
		.fd = fd, .addr = (uintptr_t)addr, .len = len, .offset = offset,
	};

	return call(BIND, &a);
}

int do_unbind(void *addr, uint64_t len)
{
	struct mem_hint_unbind a = { .addr = (uintptr_t)addr, .len = len };

	return call(UNBIND, &a);
}

int do_class(int class, void *addr, uint64_t len)
{
	struct mem_hint_set_class a = {
		.class = class, .addr = (uintptr_t)addr, .len = len,
	};

	return call(CLASS, &a);
}

/* Tries again while the guest has not taken in those that came before. */
int channel_connect(void)
{
	struct sockaddr_vm to = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = MEM_HINT_VSOCK_PORT,
	};
	int tries, fd;

	for (tries = 0; tries < 200; tries++) {
		fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -1;
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
			return fd;
		close(fd);
		usleep(10000);
	}
	return -1;
}

int channel_send(int fd, int type, uint32_t seq, const void *payload,
		 uint32_t len)
{
	struct mem_hint_msg head = {
		.magic = htole32(MEM_HINT_MSG_MAGIC),
		.type = htole16(type),
		.version = htole16(MEM_HINT_MSG_VERSION),
		.len = htole32(len),
		.seq = htole32(seq),
	};

	if (send(fd, &head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
		return -errno;
	if (len && send(fd, payload, len, MSG_NOSIGNAL) != (ssize_t)len)
		return -errno;
	return 0;
}

static int recv_all(int fd, void *to, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	while (len) {
		if (poll(&p, 1, 10000) != 1)
			return -ETIMEDOUT;
		n = recv(fd, to, len, 0);
		if (n <= 0)
			return -ENOTCONN;
		to = (char *)to + n;
		len -= n;
	}
	return 0;
}

int channel_recv(int fd, uint32_t *seq, void *payload, size_t size)
{
	struct mem_hint_msg head;
	int err = recv_all(fd, &head, sizeof(head));

	if (err)
		return err;
	if (le32toh(head.magic) != MEM_HINT_MSG_MAGIC ||
	    le16toh(head.version) != MEM_HINT_MSG_VERSION)
		return -EPROTO;
	if (le32toh(head.len) > size)
		return -EMSGSIZE;
	if (seq)
		*seq = le32toh(head.seq);
	err = recv_all(fd, payload, le32toh(head.len));
	return err ?: le16toh(head.type);
}

bool channel_hello(int fd, struct mem_hint_info *info, void *disks, size_t size)
{
	struct mem_hint_hello hello = { .abi = htole32(MEM_HINT_ABI_VERSION) };
	static char buf[MEM_HINT_MSG_MAX_PAYLOAD];
	struct mem_hint_info info_buf;
	uint32_t seq;

	CHECK(!channel_send(fd, MEM_HINT_MSG_HELLO, 77, &hello, sizeof(hello)));
	info = info ?: &info_buf;
	CHECK(channel_recv(fd, &seq, info, sizeof(*info)) == MEM_HINT_MSG_INFO);
	CHECK(seq == 77);
	if (!disks) {
		disks = buf;
		size = sizeof(buf);
	}
	CHECK(channel_recv(fd, &seq, disks, size) == MEM_HINT_MSG_DISKS);
	CHECK(seq == 77);
	return true;
}

static int send_start(int fd, uint64_t classes, uint32_t max_freeze_ms)
{
	struct mem_hint_start start = {
		.classes = htole64(classes | 1 << MEM_HINT_CLASS_BACKED),
		.max_freeze_ms = htole32(max_freeze_ms),
	};
	struct mem_hint_started started;
	int err = channel_send(fd, MEM_HINT_MSG_START, 2, &start, sizeof(start));

	return err ?: channel_recv(fd, NULL, &started, sizeof(started));
}

int channel_complete(int fd)
{
	struct mem_hint_complete complete = {};
	int err = channel_send(fd, MEM_HINT_MSG_COMPLETE, 3, &complete,
			       sizeof(complete));

	return err ?: channel_recv(fd, NULL, &complete, sizeof(complete));
}

int channel_start(int fd, uint32_t max_freeze_ms)
{
	return send_start(fd, 0, max_freeze_ms);
}

int migration_start(uint64_t classes)
{
	int fd = channel_connect();

	if (fd < 0)
		return -1;
	if (!channel_hello(fd, NULL, NULL, 0) ||
	    send_start(fd, classes, 0) != MEM_HINT_MSG_STARTED) {
		close(fd);
		return -1;
	}
	return fd;
}

bool migration_complete(int fd)
{
	bool ok = channel_complete(fd) == MEM_HINT_MSG_COMPLETED;

	close(fd);
	return ok;
}

bool channel_refused(int fd, int error)
{
	struct mem_hint_error e = {};
	char byte;
	int type;

	do {	/* answers to what was right come first */
		static char buf[MEM_HINT_MSG_MAX_PAYLOAD];

		type = channel_recv(fd, NULL, buf, sizeof(buf));
		memcpy(&e, buf, sizeof(e));
	} while (type > 0 && type != MEM_HINT_MSG_ERROR);
	CHECK(type == MEM_HINT_MSG_ERROR);
	if (le32toh(e.error) != (uint32_t)error)
		ksft_print_msg("error %u: %s\n", le32toh(e.error), e.text);
	CHECK(le32toh(e.error) == (uint32_t)error);
	CHECK(e.text[0] && !e.text[sizeof(e.text) - 1]);
	CHECK(recv_all(fd, &byte, 1) == -ENOTCONN);
	close(fd);
	return true;
}
