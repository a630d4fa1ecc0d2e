// SPDX-License-Identifier: GPL-2.0
/*
 * The channel: what a host may ask, in which order, and that nothing that
 * comes over it leaves the guest frozen.  Over vsock loopback, which the
 * module allows when it is told to for tests.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "kselftest.h"
#include "guest.h"

static pid_t loader;
static int vda;

/* One block into one page, and what the table says of it now. */
static uint64_t note(char *page, uint64_t block)
{
	if (pread(vda, page, PAGE, block * PAGE) != PAGE)
		return ~0ULL;
	return table_entry(frame_of(page));
}

static bool state_is(const char *want)
{
	char state[32] = "";
	int tries;

	for (tries = 0; tries < 400; tries++) {
		hints_text("state", state, sizeof(state));
		state[strcspn(state, "\n")] = 0;
		if (!strcmp(state, want))
			return true;
		usleep(5000);
	}
	ksft_print_msg("state is %s\n", state);
	return false;
}

/* The guest is well: idle, and answers. */
static bool channel_well(void)
{
	int fd;

	CHECK(state_is("idle"));
	fd = channel_connect();
	CHECK(fd >= 0);
	CHECK(channel_hello(fd, NULL, NULL, 0));
	close(fd);
	return true;
}

static bool try_bind(unsigned int port, int want_errno)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = port,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0), err;

	err = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ? errno : 0;
	close(fd);
	return err == want_errno;
}

static bool unprivileged(bool (*f)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (setgid(65534) || setuid(65534))
			_exit(2);
		_exit(f() ? 0 : 1);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static bool bind_port(void)
{
	return try_bind(MEM_HINT_VSOCK_PORT, EACCES);
}

/* Whether the module is there or not, no unprivileged process takes its port. */
static bool test_impostor(void)
{
	CHECK(unprivileged(bind_port));
	CHECK(!module_load("drain_ms=10000"));
	CHECK(unprivileged(bind_port));
	CHECK(try_bind(MEM_HINT_VSOCK_PORT, EADDRINUSE));
	return true;
}

static bool test_not_from_host(void)
{
	int fd = channel_connect();

	CHECK(fd >= 0);
	CHECK(channel_refused(fd, EACCES));
	CHECK(!module_unload_wait());
	return true;
}

static bool test_start(void)
{
	CHECK(!module_load("allow_local=1 drain_ms=10000"));
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	return true;
}

static bool test_hello(void)
{
	static char buf[MEM_HINT_MSG_MAX_PAYLOAD];
	struct mem_hint_disks *list = (void *)buf;
	struct mem_hint_disk *d = list->disks;
	char *page = locked_pages(1);
	struct mem_hint_info info;
	int fd = channel_connect();

	CHECK(fd >= 0);
	note(page, 10);
	CHECK(channel_hello(fd, &info, buf, sizeof(buf)));
	CHECK(le32toh(info.abi) == MEM_HINT_ABI_VERSION);
	CHECK(!info.flags && !info.features && !info.reserved);
	CHECK(le64toh(info.root_gpa) == hints_u64("root_gpa"));
	CHECK(le64toh(info.nr_valid) == 1);
	CHECK(le64toh(info.table_pages) * PAGE == hints_u64("table_bytes"));
	CHECK(le32toh(info.nr_disks) == 1 && le32toh(list->nr) == 1);
	CHECK(le32toh(list->disk_size) == sizeof(*d));
	CHECK((int)le32toh(d->id) == disk_id("vda"));
	CHECK(le32toh(d->type) == MEM_HINT_DISK_VIRTIO_SERIAL);
	CHECK(le64toh(d->nr_sectors) == 64 << 11);
	CHECK(!strcmp((char *)d->identity, "dbdisk"));
	CHECK(!strcmp((char *)d->name, "vda"));
	CHECK(channel_hello(fd, &info, NULL, 0));	/* once more is fine */
	close(fd);
	return true;
}

/* drain_ms is 10 s: only START can have brought it in. */
static bool test_start_drains(void)
{
	char *pages = locked_pages(32);
	int fd = channel_connect();

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(pread(vda, pages, 32 * PAGE, 50 * PAGE) == 32 * PAGE);
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(entry_is(pages, disk_id("vda"), 50));
	CHECK(entry_is(pages + 31 * PAGE, disk_id("vda"), 81));
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	close(fd);
	return true;
}

static bool test_freeze(void)
{
	char *page = locked_pages(1), *other = locked_pages(1);
	struct mem_hint_root before, root;
	int fd = channel_connect();

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(table_root(&before));
	note(page, 20);
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(state_is("frozen"));
	CHECK(table_root(&root));
	CHECK(le64toh(root.flags) == MEM_HINT_ROOT_FROZEN);
	CHECK(le64toh(root.generation) == le64toh(before.generation) + 1);
	CHECK(entry_is(page, disk_id("vda"), 20));

	/* Stands still, whatever is read and looked at. */
	note(page, 21);
	note(other, 22);
	note(other, 23);
	CHECK(disk_id("vda") >= 0);
	CHECK(entry_is(page, disk_id("vda"), 20));
	CHECK(!(table_entry(frame_of(other)) & MEM_HINT_VALID));
	CHECK(table_root(&before) && !memcmp(&before, &root, sizeof(root)));

	/* Comes in at the end, in order, stamped with the new generation. */
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	CHECK(state_is("idle"));
	CHECK(entry_is(page, disk_id("vda"), 21));
	CHECK(entry_is(other, disk_id("vda"), 23));
	CHECK((table_entry(frame_of(page)) >> MEM_HINT_GEN_SHIFT & MEM_HINT_GEN_MASK) ==
	      (le64toh(root.generation) & MEM_HINT_GEN_MASK));
	CHECK(table_root(&root) && !root.flags);
	close(fd);
	return true;
}

/* Notes that wait are counted with the memory, and are gone in the end. */
static bool test_note_bytes(void)
{
	const uint64_t buffers = 2 * 4096 * sizeof(uint64_t) * 2;	/* of a CPU */
	uint64_t before = hints_u64("note_bytes"), now = before, begin;
	char *pages = locked_pages(2048);
	int fd = channel_connect(), i;

	CHECK(before && before % buffers == 0);
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	/* more than the buffers take, so some are put aside */
	for (i = 0; i < 4; i++)
		CHECK(pread(vda, pages, 2048 * PAGE, 2048 * PAGE) == 2048 * PAGE);
	for (begin = now_ms(); now == before && now_ms() - begin < 20000; usleep(10000))
		now = hints_u64("note_bytes");
	CHECK(now > before && (now - before) % PAGE == 0);
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	CHECK(hints_u64("note_bytes") == before);
	close(fd);
	return true;
}

static bool test_frozen_rules(void)
{
	int fd = channel_connect(), err;

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(hints_write("enabled", "0") == -EBUSY);
	CHECK(hints_stop(loader) == 0);
	err = module_unload();
	CHECK(err == -EWOULDBLOCK || err == -EBUSY);
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	close(fd);
	return true;
}

static bool test_thaw_on_close(void)
{
	char *page = locked_pages(1);
	int fd = channel_connect();

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	note(page, 30);
	close(fd);
	CHECK(state_is("idle"));
	CHECK(entry_is(page, disk_id("vda"), 30));
	return channel_well();
}

/* Killed in the middle of a message, as a host that goes down. */
static bool test_thaw_on_kill(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		int fd = channel_connect();

		if (!channel_hello(fd, NULL, NULL, 0) ||
		    channel_start(fd, 0) != MEM_HINT_MSG_STARTED)
			_exit(1);
		send(fd, "HIG", 3, 0);
		raise(SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	return channel_well();
}

static bool test_freeze_limit(void)
{
	int fd = channel_connect();

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 200) == MEM_HINT_MSG_STARTED);
	CHECK(channel_refused(fd, ETIMEDOUT));
	return channel_well();
}

/* Whoever connects and starts no migration does not keep the host out. */
static bool test_idle(void)
{
	struct pollfd p = { .events = POLLIN };

	p.fd = channel_connect();
	CHECK(channel_hello(p.fd, NULL, NULL, 0));
	CHECK(poll(&p, 1, 60000) == 1);
	CHECK(channel_refused(p.fd, ETIMEDOUT));
	return channel_well();
}

static bool test_second_connection(void)
{
	int fd = channel_connect(), second;

	CHECK(channel_hello(fd, NULL, NULL, 0));
	second = channel_connect();
	CHECK(second >= 0);
	CHECK(channel_refused(second, EBUSY));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	second = channel_connect();
	CHECK(channel_refused(second, EBUSY));
	CHECK(state_is("frozen"));
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	close(fd);
	return channel_well();
}

/* As a user of the guest may connect: with room for one byte of what comes back. */
static int connect_deaf(void)
{
	struct sockaddr_vm to = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = MEM_HINT_VSOCK_PORT,
	};
	unsigned long long one = 1;
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0 ||
	    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MIN_SIZE, &one, sizeof(one)) ||
	    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &one, sizeof(one)) ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return -1;
	return fd;
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ULL + t.tv_nsec / 1000000;
}

/*
 * Waiting for the room of each, even for a second, takes a minute in all; the
 * host gives a guest 5 s to answer.
 */
static bool test_deaf_crowd(void)
{
	enum { CROWD = 64 };
	int fd = channel_connect(), crowd[CROWD], i;
	uint64_t start;

	CHECK(channel_hello(fd, NULL, NULL, 0));
	start = clock_ms();
	for (i = 0; i < CROWD; i++) {
		crowd[i] = connect_deaf();
		CHECK(crowd[i] >= 0);
	}
	for (i = 0; i < 4; i++)
		CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(channel_complete(fd) == MEM_HINT_MSG_COMPLETED);
	start = clock_ms() - start;
	ksft_print_msg("%d connections, 6 answers: %d ms\n", CROWD, (int)start);
	CHECK(start < 5000);
	for (i = 0; i < CROWD; i++)
		close(crowd[i]);
	close(fd);
	return channel_well();
}

/* ---- bad messages ---------------------------------------------------------- */

static bool bad_head(struct mem_hint_msg head, int error)
{
	int fd = channel_connect();

	CHECK(fd >= 0);
	CHECK(send(fd, &head, sizeof(head), 0) == sizeof(head));
	CHECK(channel_refused(fd, error));
	return channel_well();
}

static struct mem_hint_msg hello_head(void)
{
	return (struct mem_hint_msg) {
		.magic = htole32(MEM_HINT_MSG_MAGIC),
		.type = htole16(MEM_HINT_MSG_HELLO),
		.version = htole16(MEM_HINT_MSG_VERSION),
		.len = htole32(sizeof(struct mem_hint_hello)),
	};
}

static bool test_bad_magic(void)
{
	struct mem_hint_msg head = hello_head();

	head.magic ^= htole32(1);
	return bad_head(head, EPROTO);
}

static bool test_bad_version(void)
{
	struct mem_hint_msg head = hello_head();

	head.version = htole16(2);
	return bad_head(head, EPROTO);
}

static bool test_oversized(void)
{
	struct mem_hint_msg head = hello_head();

	head.len = htole32(MEM_HINT_MSG_MAX_PAYLOAD + 1);
	CHECK(bad_head(head, EMSGSIZE));
	head.len = htole32(~0U);
	return bad_head(head, EMSGSIZE);
}

static bool test_too_short(void)
{
	struct mem_hint_msg head = hello_head();

	head.len = htole32(sizeof(struct mem_hint_hello) - 1);
	CHECK(bad_head(head, EMSGSIZE));
	head.len = 0;
	return bad_head(head, EMSGSIZE);
}

static bool test_unknown_type(void)
{
	struct mem_hint_msg head = hello_head();

	head.type = htole16(99);
	CHECK(bad_head(head, EOPNOTSUPP));
	head.type = htole16(MEM_HINT_MSG_STARTED);	/* an answer */
	CHECK(bad_head(head, EOPNOTSUPP));
	head.type = 0;
	return bad_head(head, EOPNOTSUPP);
}

/* A payload of the future is longer; what is known of it counts. */
static bool test_longer_payload(void)
{
	static char payload[MEM_HINT_MSG_MAX_PAYLOAD], answer[MEM_HINT_MSG_MAX_PAYLOAD];
	struct mem_hint_hello hello = { .abi = htole32(9) };
	int fd = channel_connect();

	memset(payload, 0xff, sizeof(payload));
	memcpy(payload, &hello, sizeof(hello));
	CHECK(!channel_send(fd, MEM_HINT_MSG_HELLO, 1, payload, sizeof(payload)));
	CHECK(channel_recv(fd, NULL, answer, sizeof(answer)) == MEM_HINT_MSG_INFO);
	CHECK(channel_recv(fd, NULL, answer, sizeof(answer)) == MEM_HINT_MSG_DISKS);
	close(fd);
	return channel_well();
}

static bool test_bad_fields(void)
{
	struct mem_hint_hello hello = { .abi = htole32(1), .flags = htole32(1) };
	struct mem_hint_start start = { .classes = htole64(2) };
	struct mem_hint_complete complete = { .outcome = htole32(2) };
	int fd = channel_connect();

	CHECK(!channel_send(fd, MEM_HINT_MSG_HELLO, 1, &hello, sizeof(hello)));
	CHECK(channel_refused(fd, EINVAL));
	hello = (struct mem_hint_hello) {};
	fd = channel_connect();
	CHECK(!channel_send(fd, MEM_HINT_MSG_HELLO, 1, &hello, sizeof(hello)));
	CHECK(channel_refused(fd, EOPNOTSUPP));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(!channel_send(fd, MEM_HINT_MSG_START, 1, &start, sizeof(start)));
	CHECK(channel_refused(fd, EINVAL));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(!channel_send(fd, MEM_HINT_MSG_COMPLETE, 1, &complete, sizeof(complete)));
	CHECK(channel_refused(fd, EINVAL));
	return channel_well();
}

static bool test_wrong_order(void)
{
	struct mem_hint_complete complete = {};
	struct mem_hint_hello hello = { .abi = htole32(1) };
	struct mem_hint_start start = { .classes = htole64(1) };
	int fd = channel_connect();

	CHECK(!channel_send(fd, MEM_HINT_MSG_START, 1, &start, sizeof(start)));
	CHECK(channel_refused(fd, EPROTO));
	fd = channel_connect();
	CHECK(!channel_send(fd, MEM_HINT_MSG_COMPLETE, 1, &complete, sizeof(complete)));
	CHECK(channel_refused(fd, EPROTO));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(!channel_send(fd, MEM_HINT_MSG_COMPLETE, 1, &complete, sizeof(complete)));
	CHECK(channel_refused(fd, EPROTO));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(!channel_send(fd, MEM_HINT_MSG_START, 1, &start, sizeof(start)));
	CHECK(channel_refused(fd, EPROTO));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(!channel_send(fd, MEM_HINT_MSG_HELLO, 1, &hello, sizeof(hello)));
	CHECK(channel_refused(fd, EPROTO));
	return channel_well();
}

static bool test_half_message(void)
{
	struct mem_hint_msg head = hello_head();
	int fd = channel_connect();

	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(channel_start(fd, 0) == MEM_HINT_MSG_STARTED);
	CHECK(send(fd, &head, sizeof(head) - 1, 0) == sizeof(head) - 1);
	CHECK(channel_refused(fd, ETIMEDOUT));
	return channel_well();
}

static bool test_byte_by_byte(void)
{
	struct mem_hint_hello hello = { .abi = htole32(1) };
	char bytes[sizeof(struct mem_hint_msg) + sizeof(hello)];
	static char answer[MEM_HINT_MSG_MAX_PAYLOAD];
	struct mem_hint_msg head = hello_head();
	int fd = channel_connect();
	size_t i;

	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), &hello, sizeof(hello));
	for (i = 0; i < sizeof(bytes); i++) {
		CHECK(send(fd, bytes + i, 1, 0) == 1);
		usleep(1000);
	}
	CHECK(channel_recv(fd, NULL, answer, sizeof(answer)) == MEM_HINT_MSG_INFO);
	CHECK(channel_recv(fd, NULL, answer, sizeof(answer)) == MEM_HINT_MSG_DISKS);
	close(fd);
	return true;
}

/* All requests at once: each is answered, in order. */
static bool test_pipelined(void)
{
	struct {
		struct mem_hint_msg h1;
		struct mem_hint_hello hello;
		struct mem_hint_msg h2;
		struct mem_hint_start start;
		struct mem_hint_msg h3;
		struct mem_hint_complete complete;
	} __attribute__((packed)) all = {
		.h1 = hello_head(),
		.hello.abi = htole32(1),
		.h2 = hello_head(),
		.start.classes = htole64(1),
		.h3 = hello_head(),
	};
	static char answer[MEM_HINT_MSG_MAX_PAYLOAD];
	static const int want[] = {
		MEM_HINT_MSG_INFO, MEM_HINT_MSG_DISKS, MEM_HINT_MSG_STARTED,
		MEM_HINT_MSG_COMPLETED,
	};
	int fd = channel_connect();
	size_t i;

	all.h2.type = htole16(MEM_HINT_MSG_START);
	all.h2.len = htole32(sizeof(all.start));
	all.h3.type = htole16(MEM_HINT_MSG_COMPLETE);
	all.h3.len = htole32(sizeof(all.complete));
	CHECK(send(fd, &all, sizeof(all), 0) == sizeof(all));
	for (i = 0; i < ARRAY_SIZE(want); i++)
		CHECK(channel_recv(fd, NULL, answer, sizeof(answer)) == want[i]);
	close(fd);
	return channel_well();
}

/* Random bytes, and messages with random bits flipped; fixed seed. */
static bool test_garbage(void)
{
	char junk[512];
	int round, fd;
	size_t i, len;

	srandom(1);
	for (round = 0; round < 300; round++) {
		struct mem_hint_msg head = hello_head();

		fd = channel_connect();
		CHECK(fd >= 0);
		len = random() % sizeof(junk);
		for (i = 0; i < sizeof(junk); i++)
			junk[i] = random();
		if (round & 1) {
			head.type = htole16(random() % 9);
			head.len = htole32(random() % 64);
			memcpy(junk, &head, sizeof(head));
		}
		if (round & 2)
			junk[random() % sizeof(head)] ^= 1 << random() % 8;
		send(fd, junk, len, MSG_NOSIGNAL);
		close(fd);
	}
	return channel_well();
}

/* A host that asks and asks and never reads cannot hold the guest up. */
static bool test_deaf_host(void)
{
	struct mem_hint_hello hello = { .abi = htole32(1) };
	int fd = channel_connect(), other, i, type = 0;
	static char answer[MEM_HINT_MSG_MAX_PAYLOAD];

	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	for (i = 0; i < 20000; i++)
		if (channel_send(fd, MEM_HINT_MSG_HELLO, i, &hello, sizeof(hello)))
			break;
	for (i = 0; i < 40 && type != MEM_HINT_MSG_INFO; i++) {
		usleep(250000);
		other = channel_connect();
		channel_send(other, MEM_HINT_MSG_HELLO, 1, &hello, sizeof(hello));
		type = channel_recv(other, NULL, answer, sizeof(answer));
		close(other);
	}
	CHECK(type == MEM_HINT_MSG_INFO);
	close(fd);
	return channel_well();
}

/*
 * Two processes, each on its CPU, read random blocks into random pages of
 * theirs; this one freezes and thaws.  In the end each page has the entry of
 * what was read into it last.
 */
#define STRESS_PAGES	64

static int stress_reader(int cpu, volatile int *phase)
{
	char *pages = locked_pages(STRESS_PAGES);
	int block[STRESS_PAGES], i, bad = 0, rounds = 0;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return 2;
	srandom(cpu + 1);
	memset(block, -1, sizeof(block));
	while (*phase == 0) {
		i = random() % STRESS_PAGES;
		block[i] = random() % 4096;
		if (pread(vda, pages + i * PAGE, PAGE, block[i] * PAGE) != PAGE)
			return 2;
		rounds++;
	}
	phase[1 + cpu] = 1;	/* the last read is over */
	while (*phase == 1)
		usleep(1000);
	for (i = 0; i < STRESS_PAGES; i++)
		if (block[i] >= 0 && !entry_is(pages + i * PAGE, disk_id("vda"), block[i]))
			bad++;
	ksft_print_msg("cpu %d: %d reads, %d wrong entries\n", cpu, rounds, bad);
	return bad || rounds < STRESS_PAGES;
}

static bool test_stress(void)
{
	volatile int *phase = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	time_t end = time(NULL) + 3;
	int cpu, status, fd, cycles = 0;
	bool ok = true;
	pid_t pid[2];

	CHECK(phase != MAP_FAILED);
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	for (cpu = 0; cpu < 2; cpu++) {
		pid[cpu] = fork();
		if (!pid[cpu])
			_exit(stress_reader(cpu, phase));
	}
	/* longer where the emulation gets little of the machine */
	while (ok && (time(NULL) < end || (cycles <= 20 && time(NULL) < end + 60))) {
		ok = channel_start(fd, 0) == MEM_HINT_MSG_STARTED;
		usleep(random() % 20000);
		ok = ok && channel_complete(fd) == MEM_HINT_MSG_COMPLETED;
		usleep(random() % 20000);
		cycles++;
	}
	*phase = 1;
	for (cpu = 0; cpu < 2; cpu++)
		while (!phase[1 + cpu] && !waitpid(pid[cpu], &status, WNOHANG))
			usleep(1000);
	ok = ok && channel_hello(fd, NULL, NULL, 0);
	*phase = 2;
	for (cpu = 0; cpu < 2; cpu++) {
		waitpid(pid[cpu], &status, 0);
		ok = ok && status == 0;
	}
	close(fd);
	ksft_print_msg("%d times frozen\n", cycles);
	CHECK(ok && cycles > 20);
	CHECK(hints_u64("nr_dropped") == 0);
	return channel_well();
}

static bool test_unload_connected(void)
{
	int fd;

	CHECK(hints_stop(loader) == 0);
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(!module_unload_wait());
	CHECK(channel_refused(fd, ESHUTDOWN));
	CHECK(channel_connect() < 0);
	return true;
}

static bool test_disabled(void)
{
	struct mem_hint_start start = { .classes = htole64(1) };
	int fd;

	CHECK(!module_load("allow_local=1"));
	CHECK(!hints_write("enabled", "0"));
	fd = channel_connect();
	CHECK(channel_hello(fd, NULL, NULL, 0));
	CHECK(!channel_send(fd, MEM_HINT_MSG_START, 1, &start, sizeof(start)));
	CHECK(channel_refused(fd, ESHUTDOWN));
	CHECK(channel_well());
	CHECK(!module_unload_wait());
	return true;
}

/* The guest's own limit, of a second here, for who has none and who has a long one. */
static bool test_guest_freeze_limit(void)
{
	static const uint32_t asked[] = { 0, ~0U };
	size_t i;

	CHECK(!module_load("allow_local=1 max_freeze_ms=1"));
	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		int fd = channel_connect();

		CHECK(channel_hello(fd, NULL, NULL, 0));
		CHECK(channel_start(fd, asked[i]) == MEM_HINT_MSG_STARTED);
		CHECK(channel_refused(fd, ETIMEDOUT));
		CHECK(channel_well());
	}
	CHECK(!module_unload_wait());
	return true;
}

static bool test_privileged_peer(void)
{
	struct sockaddr_vm to = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_LOCAL,
		.svm_port = MEM_HINT_VSOCK_PORT,
	}, from = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = 1000,
	};
	int fd;

	CHECK(!module_load("allow_local=1 privileged_peer=1"));
	fd = channel_connect();
	CHECK(channel_refused(fd, EACCES));
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	CHECK(!bind(fd, (struct sockaddr *)&from, sizeof(from)));
	CHECK(!connect(fd, (struct sockaddr *)&to, sizeof(to)));
	CHECK(channel_hello(fd, NULL, NULL, 0));
	close(fd);
	CHECK(!module_unload_wait());
	return true;
}

/* The port is taken at first: the module works, and listens when it can. */
static bool test_port_taken(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = MEM_HINT_VSOCK_PORT,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	CHECK(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK(!module_load("allow_local=1"));
	CHECK(hints_u64("enabled") == 1);
	close(fd);
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "no unprivileged process takes the port", test_impostor },
	{ "connections from the guest itself are refused", test_not_from_host },
	{ "module and loader for the tests", test_start },
	{ "HELLO: root, counts, disks", test_hello },
	{ "START brings in what was noted before", test_start_drains },
	{ "frozen table stands still, COMPLETE catches up", test_freeze },
	{ "frozen: notes that wait are counted", test_note_bytes },
	{ "frozen: no disabling, no unloading", test_frozen_rules },
	{ "thaws when the connection is closed", test_thaw_on_close },
	{ "thaws when the host is killed", test_thaw_on_kill },
	{ "thaws when max_freeze_ms is over", test_freeze_limit },
	{ "a connection without START is closed", test_idle },
	{ "a second connection is refused", test_second_connection },
	{ "a crowd that does not read holds nobody up", test_deaf_crowd },
	{ "bad magic", test_bad_magic },
	{ "bad version", test_bad_version },
	{ "payload too long", test_oversized },
	{ "payload too short", test_too_short },
	{ "unknown message types", test_unknown_type },
	{ "a longer payload than known is taken", test_longer_payload },
	{ "bad fields", test_bad_fields },
	{ "wrong order", test_wrong_order },
	{ "half a message times out", test_half_message },
	{ "byte by byte", test_byte_by_byte },
	{ "all requests at once", test_pipelined },
	{ "300 connections of garbage", test_garbage },
	{ "a host that does not read is given up", test_deaf_host },
	{ "freezing and thawing under I/O loses nothing", test_stress },
	{ "unloading with a connection tells the host", test_unload_connected },
	{ "START while disabled", test_disabled },
	{ "thaws when max_freeze_ms of the guest is over", test_guest_freeze_limit },
	{ "privileged_peer", test_privileged_peer },
	{ "port taken at load", test_port_taken },
};

int main(void)
{
	vda = open_direct("/dev/vda");
	if (vda < 0)
		ksft_exit_skip("no /dev/vda: to be run by run.sh\n");
	return run_tests(tests, ARRAY_SIZE(tests));
}
