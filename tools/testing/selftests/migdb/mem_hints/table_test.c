// SPDX-License-Identifier: GPL-2.0
/*
 * From block I/O to the hint table, read as a host reads it.
 *
 * Disks: vda "dbdisk" with an ext4 partition vda1, vdb and vdc with the same
 * serial, vdd without one, sda with a WWID, nvme0n1 without any.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/loop.h>

#include "kselftest.h"
#include "guest.h"

#define PART_BLOCKS	256	/* vda1 starts at 1 MiB */
#define FILE_ON_VDA1	"/mnt/data"

static pid_t loader;
static int vda;

static bool test_load(void)
{
	CHECK(!module_load(""));
	CHECK(hints_u64("enabled") == 1 && hints_u64("abi") == 1);
	return true;
}

static bool test_root(void)
{
	uint64_t gpa = hints_u64("root_gpa");
	struct mem_hint_root root;

	CHECK(gpa && !(gpa & (PAGE - 1)));
	CHECK(table_root(&root));
	CHECK(le32toh(root.version) == MEM_HINT_ABI_VERSION);
	CHECK(le32toh(root.levels) >= 1 && le32toh(root.levels) <= MEM_HINT_MAX_LEVELS);
	CHECK(le64toh(root.nr_frames) >= 512 * 256 * 3 / 4 &&
	      le64toh(root.nr_frames) <= 1 << 20);
	CHECK(le64toh(root.generation) == 1);
	CHECK(!root.flags && !root.table && !root.nr_valid);
	return true;
}

/* Idle and empty, the module takes one page besides its buffers. */
static bool test_empty(void)
{
	CHECK(hints_u64("table_bytes") == PAGE);
	CHECK(hints_u64("nr_frames_valid") == 0);
	CHECK(hints_u64("nr_noted") == 0);
	return true;
}

static bool test_loader(void)
{
	CHECK(hints_run("--status") == 3);
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	CHECK(hints_run("--status") == 0);
	return true;
}

static bool test_loader_twice(void)
{
	CHECK(hints_start(NULL, NULL) < 0);
	return true;
}

static bool test_unload_attached(void)
{
	int err = module_unload();

	CHECK(err == -EAGAIN || err == -EBUSY || err == -EWOULDBLOCK);
	return true;
}

static bool test_direct_read(void)
{
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 1234 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(disk_id("vda") >= 0);
	CHECK(entry_is(page, disk_id("vda"), 1234));
	return true;
}

static bool test_direct_write(void)
{
	char *page = locked_pages(1);

	memset(page, 0x5a, PAGE);
	CHECK(pwrite(vda, page, PAGE, 4321 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), 4321));
	return true;
}

/* Large: several requests, bvecs of more than one page. */
static bool test_direct_large(void)
{
	const int nr = 1024;
	char *pages = locked_pages(nr);
	int i;

	CHECK(pread(vda, pages, nr * PAGE, 2048 * PAGE) == (ssize_t)(nr * PAGE));
	CHECK(settle());
	for (i = 0; i < nr; i++)
		CHECK(entry_is(pages + i * PAGE, disk_id("vda"), 2048 + i));
	return true;
}

/* Neighbours on the disk, scattered in memory. */
static bool test_direct_vector(void)
{
	char *pages = locked_pages(16);
	struct iovec iov[8];
	int i;

	for (i = 0; i < 8; i++) {
		iov[i].iov_base = pages + (15 - 2 * i) * PAGE;
		iov[i].iov_len = PAGE;
	}
	CHECK(preadv(vda, iov, 8, 5000 * PAGE) == 8 * (ssize_t)PAGE);
	CHECK(settle());
	for (i = 0; i < 8; i++)
		CHECK(entry_is(iov[i].iov_base, disk_id("vda"), 5000 + i));
	return true;
}

static bool test_partition(void)
{
	char *page = locked_pages(1);
	int fd = open("/dev/vda1", O_RDONLY | O_DIRECT);

	CHECK(fd >= 0);
	CHECK(pread(fd, page, PAGE, 77 * PAGE) == PAGE);
	close(fd);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), PART_BLOCKS + 77));
	return true;
}

static bool test_newer_io(void)
{
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 100 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), 100));
	CHECK(pread(vda, page, PAGE, 200 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), 200));
	return true;
}

static bool test_misaligned_sector(void)
{
	uint64_t before = hints_u64("nr_misaligned");
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 300 * PAGE) == PAGE);
	CHECK(pread(vda, page, PAGE, 300 * PAGE + 512) == PAGE);
	CHECK(settle());
	CHECK(hints_u64("nr_misaligned") == before + 1);
	CHECK(table_entry(frame_of(page)) == 0);
	return true;
}

static bool test_misaligned_memory(void)
{
	uint64_t before = hints_u64("nr_misaligned");
	char *pages = locked_pages(2);

	CHECK(pread(vda, pages, 2 * PAGE, 300 * PAGE) == 2 * PAGE);
	CHECK(pread(vda, pages + 512, PAGE, 302 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(hints_u64("nr_misaligned") == before + 2);
	CHECK(table_entry(frame_of(pages)) == 0);
	CHECK(table_entry(frame_of(pages + PAGE)) == 0);
	return true;
}

/* A write does not change memory: what was known of the page stays true. */
static bool test_misaligned_write(void)
{
	uint64_t before = hints_u64("nr_misaligned");
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 300 * PAGE) == PAGE);
	CHECK(pwrite(vda, page, 512, 6000 * PAGE) == 512);
	CHECK(settle());
	CHECK(hints_u64("nr_misaligned") == before + 1);
	CHECK(entry_is(page, disk_id("vda"), 300));
	return true;
}

/* A block that is written from one page is not what another page holds. */
static bool test_written_elsewhere(void)
{
	char *a = locked_pages(1), *b = locked_pages(1), *c = locked_pages(1);
	uint64_t stale = hints_u64("nr_stale");

	CHECK(pread(vda, a, PAGE, 6100 * PAGE) == PAGE);
	CHECK(pread(vda, b, PAGE, 6100 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(a, disk_id("vda"), 6100) && entry_is(b, disk_id("vda"), 6100));
	CHECK(hints_u64("nr_stale") == stale);
	memset(c, 0x33, PAGE);
	CHECK(pwrite(vda, c, PAGE, 6100 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(table_entry(frame_of(a)) == 0 && table_entry(frame_of(b)) == 0);
	CHECK(entry_is(c, disk_id("vda"), 6100));
	CHECK(hints_u64("nr_stale") == stale + 2);
	CHECK(pwrite(vda, c, PAGE, 6100 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(hints_u64("nr_stale") == stale + 2);
	CHECK(hints_u64("index_bytes") >= 2 * PAGE);
	return true;
}

/* A sector of it is enough, unless it comes from the same place of the page. */
static bool test_partly_written(void)
{
	char *a = locked_pages(1), *b = locked_pages(1);
	uint64_t stale = hints_u64("nr_stale");

	CHECK(pread(vda, a, PAGE, 6200 * PAGE) == PAGE);
	CHECK(pwrite(vda, a + 1024, 512, 6200 * PAGE + 1024) == 512);
	CHECK(settle());
	CHECK(entry_is(a, disk_id("vda"), 6200));
	CHECK(hints_u64("nr_stale") == stale);
	CHECK(pwrite(vda, b, 512, 6200 * PAGE + 1024) == 512);
	CHECK(settle());
	CHECK(table_entry(frame_of(a)) == 0);
	CHECK(hints_u64("nr_stale") == stale + 1);
	return true;
}

/* Whole pages of a transfer that begins and ends in the middle of pages. */
static bool test_partly_aligned(void)
{
	char *pages = locked_pages(4);
	ssize_t len = 3 * PAGE;

	CHECK(pread(vda, pages + 2048, len, 400 * PAGE + 2048) == len);
	CHECK(settle());
	CHECK(table_entry(frame_of(pages)) == 0);
	CHECK(entry_is(pages + PAGE, disk_id("vda"), 401));
	CHECK(entry_is(pages + 2 * PAGE, disk_id("vda"), 402));
	CHECK(table_entry(frame_of(pages + 3 * PAGE)) == 0);
	return true;
}

static uint64_t file_block(int fd, uint64_t offset)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extent;
	} f = {
		.map = {
			.fm_start = offset,
			.fm_length = PAGE,
			.fm_extent_count = 1,
		},
	};

	if (ioctl(fd, FS_IOC_FIEMAP, &f.map) || !f.map.fm_mapped_extents)
		return 0;
	return (f.extent.fe_physical + offset - f.extent.fe_logical) / PAGE;
}

/* What the page cache read ahead: every page of the file. */
static bool test_buffered_read(void)
{
	int fd = open(FILE_ON_VDA1, O_RDONLY), i, nr;
	static char buf[65536];
	uint64_t block;
	off_t size;
	char *map;

	CHECK(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	nr = size / PAGE;
	CHECK(nr >= 512);
	lseek(fd, 0, SEEK_SET);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	map = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK(settle());
	for (i = 0; i < nr; i++) {
		(void)*(volatile char *)(map + i * PAGE);
		block = file_block(fd, i * PAGE);
		CHECK(block);
		CHECK(entry_is(map + i * PAGE, disk_id("vda"), PART_BLOCKS + block));
	}
	munmap(map, size);
	close(fd);
	return true;
}

static bool test_writeback(void)
{
	int fd = open("/mnt/new", O_RDWR | O_CREAT | O_TRUNC, 0600);
	static char buf[16 * 4096];
	char *map;
	int i;

	CHECK(fd >= 0);
	memset(buf, 0x77, sizeof(buf));
	CHECK(write(fd, buf, sizeof(buf)) == sizeof(buf));
	CHECK(!fsync(fd));
	map = mmap(NULL, sizeof(buf), PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	CHECK(map != MAP_FAILED);
	CHECK(settle());
	for (i = 0; i < 16; i++)
		CHECK(entry_is(map + i * PAGE, disk_id("vda"),
			       PART_BLOCKS + file_block(fd, i * PAGE)));
	munmap(map, sizeof(buf));
	close(fd);
	return true;
}

/* Each valid entry of a page that nobody changed tells its content. */
static bool test_content(void)
{
	char *pages = locked_pages(256), *check = locked_pages(1);
	int i;

	CHECK(pread(vda, pages, 256 * PAGE, PART_BLOCKS * PAGE) == 256 * PAGE);
	CHECK(settle());
	for (i = 0; i < 256; i++) {
		uint64_t e = table_entry(frame_of(pages + i * PAGE));

		CHECK(e & MEM_HINT_VALID);
		CHECK(pread(vda, check, PAGE, (e & MEM_HINT_BLOCK_MASK) * PAGE) == PAGE);
		CHECK(!memcmp(check, pages + i * PAGE, PAGE));
	}
	return true;
}

static bool read_disk(const char *path, char *page, uint64_t block)
{
	int fd = open_direct(path);
	bool ok = fd >= 0 && pread(fd, page, PAGE, block * PAGE) == PAGE;

	close(fd);
	return ok;
}

static bool test_duplicate_refused(void)
{
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 500 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(read_disk("/dev/vdb", page, 7));	/* alone so far */
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vdb"), 7));
	CHECK(read_disk("/dev/vdc", page, 9));
	CHECK(settle());
	CHECK(disk_id("vdb") == -1 && disk_id("vdc") == -1);
	CHECK(table_entry(frame_of(page)) == 0);
	return true;
}

/* A read from a disk that is not hinted still changes the page. */
static bool test_refused_clears(void)
{
	char *page = locked_pages(1);

	CHECK(pread(vda, page, PAGE, 500 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), 500));
	CHECK(read_disk("/dev/vdb", page, 8));
	CHECK(settle());
	CHECK(table_entry(frame_of(page)) == 0);
	return true;
}

static bool disk_line(const char *name, char *type, char *identity)
{
	char text[4096], *line, *save, disk[32];

	if (!hints_text("disks", text, sizeof(text)))
		return false;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*d %31s %31s %*d %64s", type, disk, identity) == 3 &&
		    !strcmp(disk, name))
			return true;
	return false;
}

static bool identity_is(const char *path, const char *want_type,
			const char *want_identity)
{
	char type[32] = "", identity[65] = "", *page = locked_pages(1);

	CHECK(read_disk(path, page, 3));
	CHECK(settle());
	CHECK(disk_line(path + 5, type, identity));
	ksft_print_msg("%s: %s %s\n", path, type, identity);
	CHECK(!strcmp(type, want_type));
	CHECK(!strcmp(identity, want_identity));
	CHECK(entry_is(page, disk_id(path + 5), 3));
	return true;
}

static bool test_identity_serial(void)
{
	return identity_is("/dev/vda", "virtio_serial", "dbdisk");
}

static bool test_identity_pci(void)
{
	return identity_is("/dev/vdd", "pci", "0000:00:1d.0");
}

static bool test_identity_scsi(void)
{
	return identity_is("/dev/sda", "scsi_wwid", "naa.5000c500a1b2c3d4");
}

/* Linux does not trust the NGUID of QEMU's NVMe: no identity, and said so. */
static bool test_identity_none(void)
{
	char text[4096], *page = locked_pages(1);

	CHECK(read_disk("/dev/nvme0n1", page, 3));
	CHECK(settle());
	CHECK(hints_text("disks", text, sizeof(text)));
	CHECK(strstr(text, " refused nvme0n1 "));
	CHECK(disk_id("nvme0n1") == -1);
	CHECK(table_entry(frame_of(page)) == 0);
	return true;
}

static bool test_loop_ignored(void)
{
	int loop, file = open(FILE_ON_VDA1, O_RDONLY), ctl, n;
	char *page = locked_pages(1), path[32], text[4096];

	ctl = open("/dev/loop-control", O_RDWR);
	CHECK(ctl >= 0 && file >= 0);
	n = ioctl(ctl, LOOP_CTL_GET_FREE);
	CHECK(n >= 0);
	snprintf(path, sizeof(path), "/dev/loop%d", n);
	loop = open(path, O_RDONLY);
	CHECK(loop >= 0);
	CHECK(!ioctl(loop, LOOP_SET_FD, file));
	CHECK(pread(loop, page, PAGE, 0) == PAGE);
	CHECK(!ioctl(loop, LOOP_CLR_FD, 0));
	close(loop);
	close(file);
	close(ctl);
	CHECK(settle());
	CHECK(hints_text("disks", text, sizeof(text)));
	CHECK(!strstr(text, "loop"));
	return true;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return ok;
}

/* Unplugged: its entries go with the next look; plugged again: a new disk. */
static bool test_unplug(void)
{
	const char *slot = "/sys/bus/pci/devices/0000:00:1d.0/remove";
	char *page = locked_pages(1), *other = locked_pages(1);
	int old = disk_id("vdd"), tries;

	CHECK(old >= 0);
	CHECK(read_disk("/dev/vdd", page, 5));
	CHECK(settle());
	CHECK(entry_is(page, old, 5));
	CHECK(write_file(slot, "1"));
	CHECK(disk_id("vdd") == -1);
	CHECK(table_entry(frame_of(page)) == 0);
	CHECK(write_file("/sys/bus/pci/rescan", "1"));
	for (tries = 0; access("/dev/vdd", F_OK) && tries < 200; tries++)
		usleep(10000);
	CHECK(read_disk("/dev/vdd", other, 6));
	CHECK(settle());
	CHECK(disk_id("vdd") >= 0);
	CHECK(entry_is(other, disk_id("vdd"), 6));
	CHECK(table_entry(frame_of(page)) == 0);
	return true;
}

static bool test_counts(void)
{
	uint64_t noted = hints_u64("nr_noted"), valid = hints_u64("nr_frames_valid");
	char *pages = locked_pages(64);
	struct mem_hint_root root;

	CHECK(pread(vda, pages, 64 * PAGE, 700 * PAGE) == 64 * PAGE);
	CHECK(settle());
	CHECK(hints_u64("nr_noted") == noted + 64 + 2);
	CHECK(hints_u64("nr_frames_valid") > valid);
	CHECK(hints_u64("nr_dropped") == 0);
	CHECK(table_root(&root));
	CHECK(le64toh(root.nr_valid) == hints_u64("nr_frames_valid"));
	return true;
}

/* 2 MiB per GiB of memory, and a few pages. */
static bool test_table_bound(void)
{
	uint64_t bytes = hints_u64("table_bytes");

	ksft_print_msg("%llu frames, %llu bytes\n",
		       (unsigned long long)hints_u64("nr_frames_valid"),
		       (unsigned long long)bytes);
	CHECK(bytes > PAGE && bytes <= (1 << 20) + 80 * PAGE);
	return true;
}

static bool test_disable(void)
{
	char *page = locked_pages(1);
	struct mem_hint_root root;
	uint64_t noted;

	CHECK(!hints_write("enabled", "0"));
	CHECK(hints_u64("table_bytes") == PAGE);
	CHECK(hints_u64("index_bytes") == 0);
	CHECK(table_root(&root));
	CHECK(le64toh(root.flags) == MEM_HINT_ROOT_DISABLED && !root.table);
	noted = hints_u64("nr_noted");
	CHECK(pread(vda, page, PAGE, 800 * PAGE) == PAGE);
	CHECK(hints_u64("nr_noted") == noted);
	CHECK(!hints_write("enabled", "1"));
	CHECK(pread(vda, page, PAGE, 801 * PAGE) == PAGE);
	CHECK(settle());
	CHECK(entry_is(page, disk_id("vda"), 801));
	CHECK(hints_write("enabled", "perhaps") == -EINVAL);
	return true;
}

static bool test_disk_filter(void)
{
	char *a = locked_pages(1), *b = locked_pages(1);

	CHECK(hints_stop(loader) == 0);
	loader = hints_start("--disk", "vda");
	CHECK(loader > 0);
	CHECK(read_disk("/dev/sda", a, 11));
	CHECK(read_disk("/dev/vda", b, 12));
	CHECK(settle());
	CHECK(table_entry(frame_of(a)) == 0);
	CHECK(entry_is(b, disk_id("vda"), 12));
	return true;
}

static bool test_loader_bad_disk(void)
{
	CHECK(hints_start("--disk", "vda1") < 0);
	CHECK(hints_start("--disk", "none") < 0);
	return true;
}

static bool test_unload(void)
{
	CHECK(hints_stop(loader) == 0);
	CHECK(!module_unload_wait());
	CHECK(access(HINTS, F_OK));
	CHECK(hints_run("--status") == 1);
	CHECK(hints_start(NULL, NULL) < 0);
	return true;
}

/* Buffers of 64 notes and a drain that does not come in time. */
static bool test_overflow(void)
{
	char *pages = locked_pages(256);

	CHECK(!module_load("ring_notes=64 drain_ms=10000"));
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	CHECK(pread(vda, pages, 256 * PAGE, 1000 * PAGE) == 256 * PAGE);
	CHECK(hints_u64("nr_dropped") >= 64);
	CHECK(hints_stop(loader) == 0);
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "module loads", test_load },
	{ "root page is sound", test_root },
	{ "an empty table takes one page", test_empty },
	{ "loader attaches", test_loader },
	{ "a second loader is refused", test_loader_twice },
	{ "module cannot be unloaded while a program is attached", test_unload_attached },
	{ "direct read", test_direct_read },
	{ "direct write", test_direct_write },
	{ "direct read of 4 MiB", test_direct_large },
	{ "direct read into scattered pages", test_direct_vector },
	{ "partition: blocks count from the start of the disk", test_partition },
	{ "newer I/O wins", test_newer_io },
	{ "misaligned sector is counted and clears", test_misaligned_sector },
	{ "misaligned memory is counted and clears", test_misaligned_memory },
	{ "misaligned write is counted and leaves the entry", test_misaligned_write },
	{ "a block written from one page is old in others", test_written_elsewhere },
	{ "a block written in part is old in others", test_partly_written },
	{ "whole pages inside a misaligned transfer", test_partly_aligned },
	{ "buffered read: the page cache is hinted", test_buffered_read },
	{ "writeback: the page cache is hinted", test_writeback },
	{ "entries name the blocks that have the content", test_content },
	{ "identity: virtio serial", test_identity_serial },
	{ "disks with the same serial are refused, both", test_duplicate_refused },
	{ "a read from a refused disk clears", test_refused_clears },
	{ "identity: PCI function", test_identity_pci },
	{ "identity: SCSI WWID", test_identity_scsi },
	{ "a disk without identity is refused", test_identity_none },
	{ "loop devices are no disks", test_loop_ignored },
	{ "a disk that is unplugged takes its entries along", test_unplug },
	{ "counters", test_counts },
	{ "table stays below 2 MiB per GiB", test_table_bound },
	{ "disabling empties the table", test_disable },
	{ "loader: one disk only", test_disk_filter },
	{ "loader: a partition or nothing is refused", test_loader_bad_disk },
	{ "module unloads", test_unload },
	{ "full buffers drop and count", test_overflow },
};

int main(void)
{
	vda = open_direct("/dev/vda");
	if (vda < 0)
		ksft_exit_skip("no /dev/vda: to be run by run.sh\n");
	return run_tests(tests, ARRAY_SIZE(tests));
}
