// SPDX-License-Identifier: GPL-2.0
/*
 * mem_hint(2) and /dev/mem_hints: callers and files that are out of the ordinary.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/fscrypt.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>

#include "mem_hint_test.h"

/* ---- callers out of the ordinary ------------------------------------------ */

#define NR_IOCTL_32	54
#define NR_MEM_HINT	548	/* where the table of system calls has it */
#define X32_BIT		0x40000000L

/* A system call as 32-bit programs make it: pointers are below 4 GiB. */
static long call_32(long nr, long a, long b, void *c)
{
	long ret;

	asm volatile("int $0x80" : "=a"(ret) :
		     "a"(nr), "b"(a), "c"(b), "d"(c), "S"(0L), "D"(0L) :
		     "memory", "cc", "r8", "r9", "r10", "r11");
	return (int)ret;
}

static int ioctl_32(unsigned int op, void *arg, size_t size)
{
	return call_32(NR_IOCTL_32, hint_dev,
		       _IOC(_IOC_READ | _IOC_WRITE, MEM_HINT_IOC_TYPE,
			    MEM_HINT_IOC_NR(op), size), arg);
}

static void *low_pages(unsigned int nr)
{
	void *p = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_32BIT | MAP_POPULATE | MAP_LOCKED, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* By the entry of 32-bit programs: the same structs, the same answers. */
T(from_32_bits)
{
	struct mem_hint_query native, *q = low_pages(1);
	struct mem_hint_bind *b = low_pages(1);
	struct mem_hint_pool *pool = low_pages(1);
	char *frames = low_pages(8), *high = data_pages(self->data, 4, 0);
	uint64_t *d = low_pages(1);
	int fd, i;

	ASSERT_LT((uintptr_t)q, 1ULL << 32);
	ASSERT_LT((uintptr_t)frames, 1ULL << 32);
	ASSERT_EQ(ioctl_32(MEM_HINT_OP_QUERY, q, sizeof(*q)), 0);
	native = query();
	EXPECT_EQ(memcmp(q, &native, sizeof(native)), 0);
	EXPECT_EQ(q->out_max_op, MEM_HINT_OP_READY);

	EXPECT_EQ(ioctl_32(MEM_HINT_OP_QUERY, q, sizeof(*q) - 1), -EINVAL);
	EXPECT_EQ(ioctl_32(MEM_HINT_OP_QUERY, NULL, sizeof(*q)), -EFAULT);
	EXPECT_EQ(ioctl_32(MEM_HINT_OP_READY + 1, q, sizeof(*q)), -ENOTTY);

	*b = (struct mem_hint_bind) {
		.fd = self->data, .addr = (uintptr_t)frames + 1, .len = 4 * PAGE,
	};
	EXPECT_EQ(ioctl_32(MEM_HINT_OP_BIND, b, sizeof(*b)), -EINVAL);
	b->addr--;
	ASSERT_EQ(ioctl_32(MEM_HINT_OP_BIND, b, sizeof(*b)), 0);
	/* An address is of 64 bits in either. */
	b->addr = (uintptr_t)high;
	b->offset = 100 * PAGE;
	ASSERT_EQ(ioctl_32(MEM_HINT_OP_BIND, b, sizeof(*b)), 0);
	for (i = 0; i < 4; i++)
		d[i] = desc(b->out_file, 200 + i);
	*pool = (struct mem_hint_pool) {
		.addr = (uintptr_t)frames + 4 * PAGE, .frame_shift = 12,
		.nr_frames = 4, .desc_uptr = (uintptr_t)d,
	};
	ASSERT_EQ(ioctl_32(MEM_HINT_OP_POOL, pool, sizeof(*pool)), 0);
	EXPECT_GT(pool->out_pool, 0);
	EXPECT_EQ(query().out_nr_binds, 2);
	EXPECT_EQ(query().out_nr_pools, 1);
	fd = migration_start(0);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(snapshot("frames"), 12);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(names(frames + i * PAGE, self->data, i * PAGE));
		EXPECT_TRUE(names(frames + (4 + i) * PAGE, self->data, (200 + i) * PAGE));
		EXPECT_TRUE(names(high + i * PAGE, self->data, (100 + i) * PAGE));
	}
	EXPECT_TRUE(migration_complete(fd));
}

/* The system call is of 64-bit programs alone. */
T(no_call_of_32_bits)
{
	struct mem_hint_query *q = low_pages(1);
	long nrs[] = { NR_MEM_HINT, nr_syscall };
	int i;

	for (i = 0; i < ARRAY_SIZE(nrs); i++) {
		if (nrs[i] < 0)
			continue;
		EXPECT_EQ(call_32(nrs[i], MEM_HINT_OP_QUERY, (long)q, (void *)sizeof(*q)),
			  -ENOSYS);
		EXPECT_EQ(syscall(X32_BIT | nrs[i], MEM_HINT_OP_QUERY, q, sizeof(*q), 0), -1);
		EXPECT_EQ(errno, ENOSYS);
	}
	EXPECT_EQ(q->out_abi, 0);
}

/* From now on what makes these calls has one result, all else but exit another. */
static bool confine(uint32_t calls, uint32_t others)
{
#define AT(field)	offsetof(struct seccomp_data, field)
	struct sock_filter by_device[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(args[1])),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, _IOC_TYPESHIFT),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, _IOC_TYPEMASK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MEM_HINT_IOC_TYPE, 0, 2),
		BPF_STMT(BPF_RET | BPF_K, calls),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, others),
	};
	struct sock_filter by_nr[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT(nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr_syscall, 0, 2),
		BPF_STMT(BPF_RET | BPF_K, calls),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, others),
	};
	struct sock_fprog prog = {
		.len = by_syscall ? ARRAY_SIZE(by_nr) : ARRAY_SIZE(by_device),
		.filter = by_syscall ? by_nr : by_device,
	};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static bool calls_are_denied(void *arg)
{
	int fd = *(int *)arg;
	char *p = anon(2);

	if (!confine(SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW))
		return false;
	return do_file(fd, NULL) == -EPERM && do_bind(fd, p, PAGE, 0) == -EPERM &&
	       do_pool(p, 12, 1, p + PAGE) == -EPERM && !hints_u64("nr_processes");
}

static bool calls_are_all(void *arg)
{
	int fd = *(int *)arg;
	char *p = anon(2);

	if (!confine(SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM))
		return false;
	return getppid() == -1 && !do_bind(fd, p, PAGE, 0) &&
	       do_pool(p, 12, 1, p + PAGE) > 0 && query().out_nr_binds == 1;
}

T(seccomp)
{
	ASSERT_TRUE(settles_to("nr_processes", 0));
	EXPECT_EQ(in_child(calls_are_denied, &self->data), 0);
	EXPECT_EQ(in_child(calls_are_all, &self->data), 0);
}

/* ---- files out of the ordinary -------------------------------------------- */

#define XFS_DEV		"/dev/vde"
#define XFS_DIR		"/xfs"
#define XFS_PAGES	64	/* of data, and as many that have none */

static bool fill(int fd, unsigned int nr)
{
	int from = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	char *p = anon(nr);
	bool ok = read(from, p, nr * PAGE) == nr * PAGE &&
		  pwrite(fd, p, nr * PAGE, 0) == nr * PAGE;

	munmap(p, nr * PAGE);
	close(from);
	return ok;
}

/* On XFS: what the entries name is what is in memory; what is shared has none. */
T(xfs)
{
	const unsigned int nr = 2 * XFS_PAGES;
	char *p = locked_pages(nr), *q = locked_pages(nr), *disk = locked_pages(1);
	int fd, copy, c, i, vde = open_direct(XFS_DEV);

	mkdir(XFS_DIR, 0700);
	ASSERT_EQ(mount(XFS_DEV, XFS_DIR, "xfs", 0, NULL), 0);
	fd = open(XFS_DIR "/data", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_GE(fd, 0);
	ASSERT_TRUE(fill(fd, XFS_PAGES));
	ASSERT_EQ(do_bind(fd, p, nr * PAGE, 0), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_dirty"), XFS_PAGES);
	EXPECT_EQ(snapshot("skipped_hole"), XFS_PAGES);	/* beyond its end */

	/* Half of the rest is not written, half of it is not there. */
	ASSERT_EQ(fallocate(fd, 0, XFS_PAGES * PAGE, XFS_PAGES / 2 * PAGE), 0);
	ASSERT_EQ(ftruncate(fd, nr * PAGE), 0);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_EQ(pread(fd, p, nr * PAGE, 0), nr * PAGE);
	c = migration_start(0);
	ASSERT_GE(c, 0);
	EXPECT_EQ(snapshot("frames"), XFS_PAGES);
	EXPECT_EQ(snapshot("skipped_hole"), XFS_PAGES);
	for (i = 0; i < XFS_PAGES; i++) {
		uint64_t e = table_entry(frame_of(p + i * PAGE));

		ASSERT_TRUE(e & MEM_HINT_VALID);
		ASSERT_EQ(e >> MEM_HINT_DISK_SHIFT & MEM_HINT_DISK_MASK, disk_id("vde"));
		ASSERT_EQ(pread(vde, disk, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE), PAGE);
		ASSERT_EQ(memcmp(disk, p + i * PAGE, PAGE), 0);
	}
	EXPECT_TRUE(migration_complete(c));

	copy = open(XFS_DIR "/copy", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_GE(copy, 0);
	ASSERT_EQ(ioctl(copy, FICLONE, fd), 0);
	ASSERT_EQ(fsync(copy), 0);
	ASSERT_EQ(pread(copy, q, nr * PAGE, 0), nr * PAGE);
	ASSERT_EQ(do_bind(copy, q, nr * PAGE, 0), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 0);
	EXPECT_EQ(snapshot("skipped_hole"), 2 * nr);

	close(fd);
	close(copy);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(call(UNFILE, (&(struct mem_hint_unfile){ .file = i })), 0);
	EXPECT_EQ(umount(XFS_DIR), 0);
}

/* FIEMAP_EXTENT_* of a file's first extent, as it is now. */
static uint32_t extent_flags(int fd)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_length = PAGE, .fm_extent_count = 1 } };

	if (ioctl(fd, FS_IOC_FIEMAP, &u.map) || !u.map.fm_mapped_extents)
		return 0;
	return u.map.fm_extents[0].fe_flags;
}

/* So small that it is in the inode: no block is its. */
T(inline_data)
{
	int fd = open("/mnt/inline", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *p = locked_pages(1);

	memset(p, 0x5a, PAGE);
	ASSERT_EQ(pwrite(fd, p, 60, 0), 60);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_TRUE(extent_flags(fd) & FIEMAP_EXTENT_DATA_INLINE);
	ASSERT_EQ(do_bind(fd, p, PAGE, 0), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_hole"), 1);
	EXPECT_EQ(snapshot("frames"), 0);
	/* When it has grown one is. */
	ASSERT_EQ(pwrite(fd, p, PAGE, 0), PAGE);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 1);
	EXPECT_TRUE(names(p, fd, 0));
	unlink("/mnt/inline");
}

/* Written, but not given blocks yet. */
T(delayed)
{
	int fd = open("/mnt/delayed", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *p = locked_pages(4);

	ASSERT_TRUE(fill(fd, 4));
	ASSERT_EQ(pread(fd, p, 4 * PAGE, 0), 4 * PAGE);
	ASSERT_TRUE(extent_flags(fd) & FIEMAP_EXTENT_DELALLOC);
	ASSERT_EQ(do_bind(fd, p, 4 * PAGE, 0), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("skipped_dirty"), 4);
	EXPECT_EQ(snapshot("frames"), 0);
	/* Nor has the question given it any. */
	EXPECT_TRUE(extent_flags(fd) & FIEMAP_EXTENT_DELALLOC);
	ASSERT_EQ(fsync(fd), 0);
	ASSERT_TRUE(migrate(0));
	EXPECT_EQ(snapshot("frames"), 4);
	EXPECT_TRUE(names(p + 3 * PAGE, fd, 3 * PAGE));
	unlink("/mnt/delayed");
}

#define SECRET_DIR	"/mnt/secret"

/* 0 or a negative errno: what is created in the directory is encrypted. */
static int encrypt_dir(const char *path)
{
	union {
		struct fscrypt_add_key_arg arg;
		char room[sizeof(struct fscrypt_add_key_arg) + FSCRYPT_MAX_KEY_SIZE];
	} key = {
		.arg = {
			.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER,
			.raw_size = FSCRYPT_MAX_KEY_SIZE,
		},
	};
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
		.filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	memset(key.arg.raw, 0x5a, FSCRYPT_MAX_KEY_SIZE);
	if (dir < 0 || ioctl(dir, FS_IOC_ADD_ENCRYPTION_KEY, &key))
		return -errno;
	memcpy(policy.master_key_identifier, key.arg.key_spec.u.identifier,
	       sizeof(policy.master_key_identifier));
	if (ioctl(dir, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		err = -errno;
	close(dir);
	return err;
}

/* What is on the disk is not what is in memory. */
T(encrypted)
{
	char *p = locked_pages(4);
	int fd, err;

	mkdir(SECRET_DIR, 0700);
	err = encrypt_dir(SECRET_DIR);
	if (err == -EOPNOTSUPP)
		SKIP(return, "this kernel encrypts no files");
	ASSERT_EQ(err, 0);
	fd = open(SECRET_DIR "/data", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT_GE(fd, 0);
	ASSERT_TRUE(fill(fd, 4));
	ASSERT_EQ(fsync(fd), 0);
	EXPECT_EQ(do_file(fd, NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_bind(fd, p, 4 * PAGE, 0), -EOPNOTSUPP);
	EXPECT_EQ(query().out_nr_files, 0);
	unlink(SECRET_DIR "/data");
	rmdir(SECRET_DIR);
}

/* ---- a file system that never answers ------------------------------------- */

#define FUSE_DIR	"/fuse"
#define FUSE_NODE	2
#define FUSE_PAGES	4

struct fuse_server {
	int fd;
	uint64_t *nr_reads;	/* shared with the test */
};

static void fuse_reply(int fd, uint64_t unique, int error, const void *data, size_t len)
{
	char buf[sizeof(struct fuse_out_header) + 256];
	struct fuse_out_header h = {
		.len = sizeof(h) + len, .error = -error, .unique = unique,
	};

	memcpy(buf, &h, sizeof(h));
	if (len)
		memcpy(buf + sizeof(h), data, len);
	if (write(fd, buf, h.len) < 0)
		_exit(1);
}

static struct fuse_attr fuse_attr_of(uint64_t node)
{
	return (struct fuse_attr) {
		.ino = node, .nlink = 1, .blksize = PAGE,
		.mode = node == FUSE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700,
		.size = node == FUSE_NODE ? FUSE_PAGES * PAGE : 0,
	};
}

/* A directory with one file, of which no page is ever read. */
static void fuse_serve(const struct fuse_server *s)
{
	static char buf[65536 + PAGE] __attribute__((aligned(8)));
	const struct fuse_in_header *in = (void *)buf;
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = PAGE,
	};
	const struct fuse_entry_out entry = {
		.nodeid = FUSE_NODE, .attr = fuse_attr_of(FUSE_NODE),
	};
	const struct fuse_open_out opened = {};
	struct fuse_attr_out attr = {};

	while (read(s->fd, buf, sizeof(buf)) > 0) {
		switch (in->opcode) {
		case FUSE_INIT:
			fuse_reply(s->fd, in->unique, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			fuse_reply(s->fd, in->unique, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			attr.attr = fuse_attr_of(in->nodeid);
			fuse_reply(s->fd, in->unique, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			fuse_reply(s->fd, in->unique, 0, &opened, sizeof(opened));
			break;
		case FUSE_READ:		/* for ever */
			++*s->nr_reads;
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		case FUSE_FLUSH:
		case FUSE_RELEASE:
			fuse_reply(s->fd, in->unique, 0, NULL, 0);
			break;
		default:
			fuse_reply(s->fd, in->unique, ENOSYS, NULL, 0);
		}
	}
	_exit(0);
}

/* The server's end, however the test ends, ends all that waits for it. */
static pid_t fuse_start(uint64_t *nr_reads)
{
	struct fuse_server s = {
		.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), .nr_reads = nr_reads,
	};
	char options[80];
	pid_t pid;

	mkdir(FUSE_DIR, 0700);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", s.fd);
	if (s.fd < 0 || mount("hints", FUSE_DIR, "fuse", 0, options))
		return -1;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fuse_serve(&s);
	}
	close(s.fd);
	return pid;
}

/* Descriptors, and frames, of which the server never gives a page. */
T(fuse_never_answers)
{
	uint64_t *nr_reads = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *frames = locked_pages(FUSE_PAGES * 512), *p, *q = data_pages(self->data, 4, 0);
	uint64_t *d = locked_pages(1), begin;
	unsigned int file, i;
	pid_t server;
	int fd;

	server = fuse_start(nr_reads);
	ASSERT_GT(server, 0);
	fd = open(FUSE_DIR "/file", O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	p = mmap(NULL, FUSE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(p, MAP_FAILED);
	EXPECT_EQ(do_file(fd, NULL), -EOPNOTSUPP);
	EXPECT_EQ(do_bind(self->data, p, FUSE_PAGES * PAGE, 0), -EOPNOTSUPP);

	ASSERT_EQ(do_file(self->data, &file), 0);
	for (i = 0; i < FUSE_PAGES; i++)
		d[i] = desc(file, i);
	ASSERT_GT(do_pool(frames, 12, FUSE_PAGES * 512, p), 0);
	ASSERT_GT(do_pool(p, 12, FUSE_PAGES, d), 0);
	ASSERT_EQ(do_bind(self->data, q, 4 * PAGE, 0), 0);
	begin = now_ms();
	ASSERT_TRUE(migrate(0));
	EXPECT_LT(now_ms() - begin, GENEROUS_MS);
	EXPECT_EQ(snapshot("cut"), 0);
	EXPECT_EQ(snapshot("skipped_desc"), FUSE_PAGES * 512);
	EXPECT_EQ(snapshot("skipped_absent"), FUSE_PAGES);
	EXPECT_EQ(snapshot("frames"), 4);
	EXPECT_EQ(*nr_reads, 0);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	EXPECT_EQ(umount2(FUSE_DIR, MNT_DETACH), 0);
}

TEST_HARNESS_MAIN
