// SPDX-License-Identifier: MIT
/* See postcopy.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "postcopy.h"

int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int uffd_register(int uffd, void *at, u64 bytes, u64 mode)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)at, bytes }, .mode = mode,
	};

	return ioctl(uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

int uffd_copy(int uffd, void *to, const void *from)
{
	struct uffdio_copy copy;

	do {
		copy = (struct uffdio_copy){
			.dst = (uintptr_t)to, .src = (uintptr_t)from, .len = MDB_PAGE,
		};
		if (!ioctl(uffd, UFFDIO_COPY, &copy))
			return 0;
	} while (errno == EAGAIN);
	return -errno;
}

void uffd_wake(int uffd, void *at)
{
	struct uffdio_range range = { (uintptr_t)at, MDB_PAGE };

	ioctl(uffd, UFFDIO_WAKE, &range);
}

int rig_anonymous(struct rig *r)
{
	void *ram = mmap(r->dst_ram, r->nr_pages * MDB_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (ram == MAP_FAILED)
		return -errno;
	memset(r->dst_ram, RIG_POISON, r->nr_pages * MDB_PAGE);
	return 0;
}

int rig_hold(struct rig *r)
{
	int rc = mdb_seal(&r->src, NULL, NULL);

	if (!rc)
		rc = rig_pump(r);
	free(r->missing);
	r->missing = calloc((r->nr_pages + 63) / 64, 8);
	if (!rc && !r->missing)
		rc = -ENOMEM;
	return rc ? rc : mdb_hold(&r->dst, r->missing, NULL);
}

int rig_punch(struct rig *r)
{
	u64 page;
	u8 *at;

	for (page = 0; page < r->nr_pages; page++) {
		at = r->dst_ram + page * MDB_PAGE;
		if (!(r->missing[page / 64] >> (page % 64) & 1) &&
		    (r->delivered[page] || mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_DONE))
			continue;
		r->delivered[page] = 0;
		/* which of them depends on the kind of memory */
		if (madvise(at, MDB_PAGE, MADV_REMOVE) && madvise(at, MDB_PAGE, MADV_DONTNEED))
			return -errno;
	}
	return 0;
}

int rig_postcopy(struct rig *r)
{
	u64 bytes = r->nr_pages * MDB_PAGE;
	int rc;

	madvise(r->dst_ram, bytes, MADV_NOHUGEPAGE);
	if (r->uffd <= 0)
		r->uffd = uffd_open();
	if (r->uffd < 0)
		return r->uffd;
	rc = uffd_register(r->uffd, r->dst_ram, bytes, UFFDIO_REGISTER_MODE_MISSING);
	if (!rc)
		rc = rig_punch(r);
	return rc ? rc : mdb_postcopy(&r->dst, r->uffd, NULL);
}

/* The server and the test place pages, too: one at a time. */
static pthread_mutex_t place_lock = PTHREAD_MUTEX_INITIALIZER;

int rig_place(struct rig *r, u64 page)
{
	int rc = 0;

	pthread_mutex_lock(&place_lock);
	/* the claim forgets that it was DONE; we must not */
	if (mdb_claim_byte(&r->dst, page) == MIGDB_CLAIM_DONE)
		r->delivered[page] = 1;
	/* nobody else may have written it: EEXIST is a page that the guest has seen */
	if (!r->delivered[page]) {
		rc = uffd_copy(r->uffd, r->dst_ram + page * MDB_PAGE,
			       r->src_ram + page * MDB_PAGE);
		r->delivered[page] = !rc;
	}
	pthread_mutex_unlock(&place_lock);
	return rc;
}

static void ask(struct server *v, u64 page)
{
	v->waiting[page] = 0;
	if (v->source_gone)
		return;
	mdb_request(&v->r->src, page, 1, NULL);
	v->asked++;
	v->errors += !!rig_place(v->r, page);
}

static void serve_fault(struct server *v)
{
	struct uffd_msg msg;
	u64 page;
	u8 *at;

	while (read(v->r->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		at = (u8 *)(uintptr_t)(msg.arg.pagefault.address & ~(MDB_PAGE - 1));
		v->faults++;
		switch (mdb_fault(&v->r->dst, at, v->deadline_ns, &page)) {
		case MIGDB_FAULT_FETCHING:
			v->fetching++;
			v->waiting[page] = 1;
			break;
		case MIGDB_FAULT_BUILT:
			v->built++;
			uffd_wake(v->r->uffd, at);
			break;
		case MIGDB_FAULT_ASK:
			ask(v, page);
			break;
		default:
			v->errors++;
		}
	}
}

/* What has come back: the source sends it. */
static void serve_returned(struct server *v)
{
	struct rig *r = v->r;
	struct migdb_run runs[64];
	u64 left, page;
	u32 nr, k;

	for (page = 0; page < r->nr_pages; page++)
		if (v->waiting[page] &&
		    mdb_claim_of(&r->dst, page) == MIGDB_CLAIM_RETURNED)
			ask(v, page);
	if (v->source_gone)
		return;
	rig_pump(r);
	do {
		if (mdb_dequeue(&r->src, runs, 64, ~0ULL, &nr, &left))
			break;
		for (k = 0; k < nr; k++)
			for (page = runs[k].first; page < runs[k].first + runs[k].count; page++)
				v->errors += !!rig_place(r, page);
	} while (nr);
}

static void *serve(void *arg)
{
	struct server *v = arg;
	struct pollfd p[3] = {
		{ .fd = v->r->uffd, .events = POLLIN },
		{ .fd = v->r->dst.event, .events = POLLIN },
		{ .fd = v->stop, .events = POLLIN },
	};
	u64 count;

	while (!(p[2].revents & POLLIN)) {
		poll(p, 3, 100);
		serve_fault(v);
		if (read(v->r->dst.event, &count, sizeof(count)) < 0 && errno != EAGAIN)
			break;
		serve_returned(v);
	}
	return NULL;
}

int server_start(struct server *v, struct rig *r)
{
	v->r = r;
	v->waiting = calloc(r->nr_pages, 1);
	v->stop = eventfd(0, EFD_CLOEXEC);
	if (!v->waiting || v->stop < 0)
		return -ENOMEM;
	return -pthread_create(&v->thread, NULL, serve, v);
}

void server_stop(struct server *v)
{
	u64 one = 1;

	if (!v->r)
		return;
	if (write(v->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(v->thread, NULL);
	close(v->stop);
	free(v->waiting);
	v->r = NULL;
}

int rig_arrive(struct rig *r, struct server *v, u64 *bad_page)
{
	struct migdb_stats st;
	u32 tries;
	int rc;

	*bad_page = ~0ULL;
	rc = rig_compare(r, bad_page);
	for (tries = 0; !rc && tries < 5000; tries++) {
		rc = mdb_stats(&r->dst, &st);
		if (!rc && !st.out_todo)
			break;
		usleep(2000);
	}
	server_stop(v);
	if (rc)
		return rc;
	if (v->errors)
		return -EIO;
	rc = rig_pump(r);
	if (!rc)
		rc = rig_deliver_queue(r) < 0;
	if (!rc)
		rc = mdb_complete(&r->dst, NULL);
	return rc ? rc : mdb_complete(&r->src, NULL);
}
