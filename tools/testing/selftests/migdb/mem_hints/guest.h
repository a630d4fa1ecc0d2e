/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of the guest part share; run in a guest, as root. */
#ifndef MIGDB_MEM_HINTS_GUEST_H
#define MIGDB_MEM_HINTS_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/mem_hints.h>

#define PAGE 4096UL
#define HINTS "/sys/kernel/mm/hints/"

/* In a test function: says what does not hold, and ends the test. */
#define CHECK(cond)							\
do {									\
	if (!(cond)) {							\
		ksft_print_msg("%s:%d: not so: %s (errno %d)\n",	\
			       __FILE__, __LINE__, #cond, errno);	\
		return false;						\
	}								\
} while (0)

struct test {
	const char *name;
	bool (*run)(void);
};

int run_tests(const struct test *tests, unsigned int nr);

/* Module and loader; paths from MEM_HINTS_KO and MIGDB_HINTS. */
int module_load(const char *params);
int module_unload(void);	/* 0 or -errno, does not wait */
int module_unload_wait(void);
pid_t hints_start(const char *option, const char *value);
int hints_stop(pid_t pid);
int hints_run(const char *option);	/* its exit status */

/* sysfs */
uint64_t hints_u64(const char *name);
bool hints_text(const char *name, char *buf, size_t size);
int hints_write(const char *name, const char *text);
/* The id of a disk by the guest's name, -1 if it is refused or unknown. */
int disk_id(const char *name);

/* The table as the host sees it: through guest-physical memory. */
bool phys_read(uint64_t gpa, void *to, size_t len);
bool table_root(struct mem_hint_root *root);
uint64_t table_entry(uint64_t frame);
uint64_t frame_of(const void *addr);

/* An entry of class backed, but for its generation. */
uint64_t entry_for(int disk, uint64_t block);
bool entry_is(const void *addr, int disk, uint64_t block);

void *locked_pages(size_t nr);
int open_direct(const char *path);
/* Everything noted so far is in the table when it returns. */
bool settle(void);

uint64_t now_ms(void);

/* Device-mapper: one ioctl of its control device; 0 or a negative errno. */
#define DM_SECTORS 8192	/* of vdd, from sector 2048 on: a file system */
int dm_control(void);
/* @target: NULL: none; @dev_nr: in to CREATE if not 0, out. */
int dm_named(int ctl, unsigned long cmd, const char *name, const char *target,
	     const char *params, uint64_t sectors, uint64_t *dev_nr);
/* From now on I/O to it hangs; DM_DEV_SUSPEND by dm_named() resumes it. */
int dm_suspend(int ctl, const char *name);

/* What processes say: 0, what the call returns, or a negative errno. */
extern int hint_dev;		/* /dev/mem_hints; opened by the first call */
extern long hint_syscall;	/* if not -1: by this system call instead */
int hint_call(unsigned int op, void *arg, size_t size);
#define call(op, arg) hint_call(MEM_HINT_OP_##op, arg, sizeof(*(arg)))
int do_bind(int fd, void *addr, uint64_t len, uint64_t offset);
int do_unbind(void *addr, uint64_t len);
int do_class(int class, void *addr, uint64_t len);

/* Channel */
int channel_connect(void);
int channel_send(int fd, int type, uint32_t seq, const void *payload,
		 uint32_t len);
/* Type of the message or -errno; -ENOTCONN: closed, -ETIMEDOUT: after 10 s. */
int channel_recv(int fd, uint32_t *seq, void *payload, size_t size);
bool channel_hello(int fd, struct mem_hint_info *info, void *disks, size_t size);
int channel_start(int fd, uint32_t max_freeze_ms);
int channel_complete(int fd);
/* A migration with these classes besides backed; its channel, or -1. */
int migration_start(uint64_t classes);
/* Its end; waits until the channel takes the next one. */
bool migration_complete(int fd);
/* Expects ERROR with this errno, then the end of the connection. */
bool channel_refused(int fd, int error);

#endif
