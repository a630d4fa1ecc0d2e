// SPDX-License-Identifier: GPL-2.0
/*
 * Policies: BPF programs that decide what a migration does with each run of
 * hinted pages, what happens to those that misbehave, and which are refused.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "kselftest.h"
#include "guest.h"
#include "policy_test.h"

#define PARAMS "/sys/module/mem_hints/parameters/"
#define OMITTED 7	/* the class of omitted entries: none that a host knows */

static pid_t loader;
static int vda;
static char *hot, *omit, *other;	/* 16 pages each, at three places of vda */
static char *huge;	/* 2 MiB in one piece, or NULL */

static char bpf_log[1 << 20];
static size_t bpf_log_len;

static int keep_log(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	int n;

	if (bpf_log_len < sizeof(bpf_log)) {
		n = vsnprintf(bpf_log + bpf_log_len, sizeof(bpf_log) - bpf_log_len, fmt, ap);
		bpf_log_len += n > 0 ? n : 0;
	}
	return 0;
}

/* An object of which only one policy is loaded; NULL and errno if it is refused. */
static struct bpf_object *load(const char *file, const char *policy)
{
	struct bpf_object *obj;
	struct bpf_map *map;
	char path[64];
	int err;

	bpf_log_len = 0;
	snprintf(path, sizeof(path), "/lib/%s", file);
	obj = bpf_object__open(path);
	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			bpf_map__set_autocreate(map, !strcmp(bpf_map__name(map), policy));
	err = bpf_object__load(obj);
	if (!err)
		return obj;
	bpf_object__close(obj);
	errno = -err;
	return NULL;
}

struct policy {
	struct bpf_object *obj;
	struct bpf_map *map;
	struct bpf_link *link;
	volatile struct policy_seen *seen;
};

static bool policy_load(struct policy *p, const char *name)
{
	struct bpf_map *bss;
	size_t size;

	memset(p, 0, sizeof(*p));
	p->obj = load("policy.bpf.o", name);
	if (!p->obj) {
		ksft_print_msg("%.*s\n", (int)bpf_log_len, bpf_log);
		return false;
	}
	p->map = bpf_object__find_map_by_name(p->obj, name);
	bss = bpf_object__find_map_by_name(p->obj, ".bss");
	p->seen = bss ? bpf_map__initial_value(bss, &size) : NULL;
	return p->map && p->seen && size >= sizeof(*p->seen);
}

/* 0 or a negative errno. */
static int policy_attach(struct policy *p)
{
	p->link = bpf_map__attach_struct_ops(p->map);
	return p->link ? 0 : -errno;
}

static void policy_free(struct policy *p)
{
	bpf_link__destroy(p->link);
	bpf_object__close(p->obj);
	memset(p, 0, sizeof(*p));
}

static bool text_is(const char *file, const char *want)
{
	char text[64] = "";

	hints_text(file, text, sizeof(text));
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, want);
}

static bool text_becomes(const char *file, const char *want)
{
	int tries;

	for (tries = 0; tries < 2000 && !text_is(file, want); tries++)
		usleep(5000);
	return tries < 2000;
}

static bool param_set(const char *name, const char *value)
{
	char path[96];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), PARAMS "%s", name);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, value, strlen(value)) > 0;
	close(fd);
	return ok;
}

static unsigned int class_of(const char *page)
{
	uint64_t e = table_entry(frame_of(page));

	return e & MEM_HINT_VALID ? e >> MEM_HINT_CLASS_SHIFT & MEM_HINT_CLASS_MASK : 99;
}

static bool classes_are(unsigned int of_hot, unsigned int of_omit, unsigned int of_other)
{
	int i;

	for (i = 0; i < 16; i++) {
		CHECK(class_of(hot + i * PAGE) == of_hot);
		CHECK(class_of(omit + i * PAGE) == of_omit);
		CHECK(class_of(other + i * PAGE) == of_other);
	}
	return true;
}

/* ---- a migration ---------------------------------------------------------- */

static int channel = -1;

#define BACKED_ONLY	(1 << MEM_HINT_CLASS_BACKED)
#define AND_HOT		(BACKED_ONLY | 1 << MEM_HINT_CLASS_HOT)

static bool migration_starts_for(uint64_t classes)
{
	struct mem_hint_start start = { .classes = htole64(classes) };
	struct mem_hint_started started;

	channel = channel_connect();
	CHECK(channel >= 0);
	CHECK(channel_hello(channel, NULL, NULL, 0));
	CHECK(!channel_send(channel, MEM_HINT_MSG_START, 2, &start, sizeof(start)));
	CHECK(channel_recv(channel, NULL, &started, sizeof(started)) == MEM_HINT_MSG_STARTED);
	return true;
}

static bool migration_starts(void)
{
	return migration_starts_for(AND_HOT);
}

static bool migration_ends(void)
{
	CHECK(channel_complete(channel) == MEM_HINT_MSG_COMPLETED);
	close(channel);
	return true;
}

static bool one_migration(void)
{
	return migration_starts() && migration_ends();
}

static char *huge_page(void)
{
	char *p = aligned_alloc(512 * PAGE, 512 * PAGE);
	int i;

	if (!p || madvise(p, 512 * PAGE, MADV_HUGEPAGE))
		return NULL;
	memset(p, 1, 512 * PAGE);
	for (i = 1; i < 512; i++)
		if (frame_of(p + i * PAGE) != frame_of(p) + i)
			return NULL;
	return p;
}

static bool test_start(void)
{
	CHECK(!module_load("allow_local=1 drain_ms=10000"));
	CHECK(text_is("policy", "none") && text_is("policy_state", "none"));
	loader = hints_start(NULL, NULL);
	CHECK(loader > 0);
	hot = locked_pages(16);
	omit = locked_pages(16);
	other = locked_pages(16);
	CHECK(hot && omit && other);
	CHECK(pread(vda, hot, 16 * PAGE, POLICY_HOT_BLOCK * PAGE) == 16 * PAGE);
	CHECK(pread(vda, omit, 16 * PAGE, POLICY_OMIT_BLOCK * PAGE) == 16 * PAGE);
	CHECK(pread(vda, other, 16 * PAGE, 3000 * PAGE) == 16 * PAGE);
	huge = huge_page();
	CHECK(!huge || pread(vda, huge, 512 * PAGE, 4000 * PAGE) == 512 * PAGE);
	CHECK(one_migration());
	CHECK(classes_are(0, 0, 0));
	/* Emulation is slow, and other things run beside it. */
	CHECK(param_set("policy_slack_us", "2000000"));
	return true;
}

static bool test_good(void)
{
	uint64_t nr_valid;
	struct policy p;

	CHECK(policy_load(&p, "good"));
	CHECK(text_is("policy", "none"));
	CHECK(!policy_attach(&p));
	CHECK(text_is("policy", "good-1.0_x") && text_is("policy_state", "active"));
	CHECK(p.seen->starts == 0 && p.seen->decides == 0);
	CHECK(classes_are(0, 0, 0));

	CHECK(migration_starts());
	CHECK(classes_are(MEM_HINT_CLASS_HOT, OMITTED, MEM_HINT_CLASS_BACKED));
	nr_valid = hints_u64("nr_frames_valid");
	CHECK(p.seen->starts == 1 && p.seen->completes == 0);
	CHECK(p.seen->decides >= 3 && p.seen->decides == hints_u64("policy_runs"));
	CHECK(p.seen->frames == nr_valid && p.seen->nr_valid == nr_valid);
	CHECK(!huge || p.seen->decides <= nr_valid - 511);	/* one run */
	CHECK(p.seen->dev == 254 << 20 || p.seen->dev == 253 << 20);
	CHECK(hints_u64("policy_ns") > 0 && hints_u64("policy_max_ns") > 0);
	CHECK(hints_u64("policy_max_ns") <= hints_u64("policy_ns"));

	CHECK(migration_ends());
	CHECK(classes_are(0, 0, 0));
	CHECK(p.seen->completes == 1 && !p.seen->order_broken);
	ksft_print_msg("%llu runs, %llu ns each\n", p.seen->decides,
		       (unsigned long long)(hints_u64("policy_ns") / p.seen->decides));

	/* All of it again: decisions are for one migration. */
	CHECK(one_migration());
	CHECK(p.seen->starts == 2 && p.seen->completes == 2 && p.seen->frames == 2 * nr_valid);
	CHECK(!p.seen->order_broken);
	policy_free(&p);
	CHECK(text_is("policy", "none") && text_is("policy_state", "none"));
	CHECK(one_migration());
	CHECK(classes_are(0, 0, 0));
	return true;
}

/* For a host that has not agreed to hot pages they are backed. */
static bool test_hot_not_agreed(void)
{
	struct policy p;

	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	CHECK(migration_starts_for(BACKED_ONLY));
	CHECK(p.seen->classes == BACKED_ONLY);
	CHECK(classes_are(MEM_HINT_CLASS_BACKED, OMITTED, MEM_HINT_CLASS_BACKED));
	CHECK(migration_ends());
	CHECK(migration_starts());
	CHECK(p.seen->classes == AND_HOT);
	CHECK(classes_are(MEM_HINT_CLASS_HOT, OMITTED, MEM_HINT_CLASS_BACKED));
	CHECK(migration_ends());
	policy_free(&p);
	return true;
}

/* The host goes away without COMPLETE: the policy hears that it is over. */
static bool test_lost_host(void)
{
	struct policy p;
	int tries;

	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	CHECK(migration_starts());
	close(channel);
	for (tries = 0; tries < 400 && !p.seen->completes; tries++)
		usleep(5000);
	CHECK(p.seen->completes == 1);
	CHECK(one_migration());		/* idle again, and all entries backed */
	CHECK(p.seen->frames == 2 * p.seen->nr_valid);
	policy_free(&p);
	return true;
}

static bool test_second_refused(void)
{
	struct policy p, q;

	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	CHECK(policy_load(&q, "all_hot"));
	CHECK(policy_attach(&q) == -EBUSY);
	CHECK(text_is("policy", "good-1.0_x"));
	policy_free(&p);
	CHECK(!policy_attach(&q));
	CHECK(text_is("policy", "all_hot"));
	policy_free(&q);
	return true;
}

static bool test_replace(void)
{
	struct policy p, q;

	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	CHECK(policy_load(&q, "all_hot"));
	CHECK(!bpf_link__update_map(p.link, q.map));
	CHECK(text_is("policy", "all_hot"));
	CHECK(migration_starts());
	CHECK(classes_are(MEM_HINT_CLASS_HOT, MEM_HINT_CLASS_HOT, MEM_HINT_CLASS_HOT));
	CHECK(p.seen->starts == 0 && q.seen->decides >= 3);

	/* In the middle: what comes in is not called before the next START. */
	CHECK(!bpf_link__update_map(p.link, p.map));
	CHECK(text_is("policy", "good-1.0_x"));
	CHECK(migration_ends());
	CHECK(classes_are(0, 0, 0));
	CHECK(p.seen->starts == 0 && p.seen->completes == 0);
	CHECK(one_migration());
	CHECK(p.seen->starts == 1 && p.seen->completes == 1 && !p.seen->order_broken);
	policy_free(&p);
	policy_free(&q);
	return true;
}

static bool test_detach_frozen(void)
{
	struct policy p;

	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	CHECK(migration_starts());
	CHECK(!bpf_link__detach(p.link));
	CHECK(text_is("policy", "none"));
	CHECK(classes_are(MEM_HINT_CLASS_HOT, OMITTED, MEM_HINT_CLASS_BACKED));
	CHECK(migration_ends());
	CHECK(classes_are(0, 0, 0));
	CHECK(p.seen->completes == 0);
	policy_free(&p);
	return true;
}

/* Without a link it stays until it is deleted from its map. */
static bool test_without_link(void)
{
	uint32_t key = 0;
	struct policy p;

	CHECK(policy_load(&p, "plain") && !policy_attach(&p));
	CHECK(text_is("policy", "plain"));
	CHECK(one_migration());
	CHECK(p.seen->decides >= 3);
	bpf_link__disconnect(p.link);
	bpf_link__destroy(p.link);
	CHECK(text_is("policy", "plain"));
	CHECK(!bpf_map_delete_elem(bpf_map__fd(p.map), &key));
	CHECK(text_is("policy", "none"));
	bpf_object__close(p.obj);
	return true;
}

/* What a process attached goes with it. */
static bool test_killed(void)
{
	struct policy p;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (!policy_load(&p, "good") || policy_attach(&p))
			_exit(1);
		pause();
	}
	CHECK(text_becomes("policy", "good-1.0_x"));
	CHECK(migration_starts());
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	CHECK(text_becomes("policy", "none"));
	CHECK(migration_ends());
	CHECK(classes_are(0, 0, 0));
	return true;
}

static bool test_over_budget(void)
{
	uint64_t expelled = hints_u64("policy_nr_expelled");
	struct policy p;

	CHECK(policy_load(&p, "slow") && !policy_attach(&p));
	CHECK(param_set("policy_slack_us", "100") && param_set("policy_run_ns", "0"));
	CHECK(one_migration());
	CHECK(p.seen->decides == 1 && p.seen->completes == 0);
	CHECK(text_is("policy_state", "over_budget") && text_is("policy", "slow"));
	CHECK(hints_u64("policy_nr_expelled") == expelled + 1);
	CHECK(hints_u64("policy_runs") == 1 && hints_u64("policy_ns") > 100000);

	/* Never again, even if there is time now, until it is attached anew. */
	CHECK(param_set("policy_slack_us", "2000000") && param_set("policy_run_ns", "2000000"));
	CHECK(one_migration());
	CHECK(p.seen->decides == 1 && p.seen->completes == 0);
	CHECK(text_is("policy_state", "over_budget"));
	CHECK(classes_are(0, 0, 0));
	CHECK(!bpf_link__update_map(p.link, p.map));
	CHECK(text_is("policy_state", "active"));
	CHECK(migration_starts());
	CHECK(p.seen->decides > 1);
	CHECK(classes_are(MEM_HINT_CLASS_HOT, OMITTED, MEM_HINT_CLASS_BACKED));
	CHECK(migration_ends());
	CHECK(p.seen->completes == 1);
	policy_free(&p);
	return true;
}

static bool test_slow_start(void)
{
	struct policy p;

	CHECK(policy_load(&p, "slow_to_start") && !policy_attach(&p));
	CHECK(param_set("policy_slack_us", "100"));
	CHECK(migration_starts());
	CHECK(param_set("policy_slack_us", "2000000"));
	CHECK(p.seen->starts == 1 && p.seen->decides == 0);
	CHECK(text_is("policy_state", "over_budget"));
	CHECK(classes_are(0, 0, 0));
	CHECK(migration_ends());
	policy_free(&p);
	return true;
}

static bool test_garbage(void)
{
	uint64_t expelled = hints_u64("policy_nr_expelled");
	struct policy p;

	CHECK(policy_load(&p, "garbage") && !policy_attach(&p));
	CHECK(migration_starts());
	CHECK(p.seen->decides == 2);
	CHECK(text_is("policy_state", "bad_answer"));
	CHECK(hints_u64("policy_nr_expelled") == expelled + 1);
	CHECK(classes_are(0, 0, 0));
	CHECK(migration_ends());
	CHECK(one_migration());
	CHECK(p.seen->decides == 2 && p.seen->completes == 0);
	policy_free(&p);
	CHECK(text_is("policy_state", "none"));
	return true;
}

/* Loads, but is not attached: names are shown to people and to scripts. */
static bool test_bad_names(void)
{
	static const char * const names[] = { "no_name", "bad_name", "long_name", "no_callback" };
	struct policy p;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		int err;

		CHECK(policy_load(&p, names[i]));
		err = policy_attach(&p);
		if (err != -EINVAL)
			ksft_print_msg("%s: %d\n", names[i], err);
		CHECK(err == -EINVAL);
		CHECK(text_is("policy", "none"));
		policy_free(&p);
	}
	return true;
}

static bool test_rejected(void)
{
	static const struct {
		const char *file;
		const char *policy;
		const char *why;	/* in the verifier's log */
	} bad[] = {
		{ "policy_bad.bpf.o", "writes", "only read is supported" },
		{ "policy_bad.bpf.o", "beyond", "beyond struct mem_hint_run" },
		{ "policy_bad.bpf.o", "second_argument", "doesn't have 2-th argument" },
		{ "policy_bad.bpf.o", "unchecked", "map_value_or_null" },
		{ "policy_bad.bpf.o", "follows", "invalid mem access 'scalar'" },
		{ "policy_bad.bpf.o", "reads_memory", "bpf_probe_read_kernel" },
		{ "policy_bad.bpf.o", "gets_task", "bpf_get_current_task" },
		{ "policy_bad.bpf.o", "jumps_away", "bpf_tail_call" },
		{ "policy_bad.bpf.o", "loops", "bpf_loop" },
		{ "policy_bad.bpf.o", "iterates", "unsupported member decide" },
		{ "policy_bad.bpf.o", "may_goto", "unsupported member decide" },
		{ "policy_bad.bpf.o", "global", "unsupported member decide" },
		{ "policy_bad.bpf.o", "never_ends", "infinite loop" },
		{ "policy_bad.bpf.o", "sleeps", "unsupported member decide" },
		{ "policy_bad.bpf.o", "sleeps_at_start", "unsupported member start" },
		{ "policy_bad.bpf.o", "notes", "unsupported member decide" },
		{ "policy_license.bpf.o", "not_gpl", "GPL compatible license" },
	};
	unsigned int i, wrong = 0;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct bpf_object *obj = load(bad[i].file, bad[i].policy);

		if (!obj && strstr(bpf_log, bad[i].why))
			continue;
		wrong++;
		ksft_print_msg("%s: %s, errno %d\n", bad[i].policy,
			       obj ? "loaded" : "refused for another reason", errno);
		if (!obj)
			ksft_print_msg("%s\n", bpf_log);
		bpf_object__close(obj);
	}
	CHECK(!wrong);
	return true;
}

static bool test_unload_refused(void)
{
	struct policy p;
	int err;

	CHECK(hints_stop(loader) == 0);
	loader = 0;
	CHECK(policy_load(&p, "good") && !policy_attach(&p));
	sleep(1);	/* until the loader's program has gone */
	err = module_unload();
	CHECK(err == -EAGAIN || err == -EBUSY);
	CHECK(text_is("policy", "good-1.0_x"));
	bpf_link__destroy(p.link);
	p.link = NULL;
	err = module_unload();		/* the map is still there */
	CHECK(err == -EAGAIN || err == -EBUSY);
	policy_free(&p);
	return true;
}

/* Attach, replace, detach, over and over; the exit status of a process. */
static int come_and_go(int seconds)
{
	time_t end = time(NULL) + seconds;
	struct policy p, q;
	int rounds = 0;

	if (!policy_load(&p, "good") || !policy_load(&q, "all_hot"))
		return 1;
	/* longer where the emulation gets little of the machine */
	for (; time(NULL) < end ||
	     ((rounds < 10 || !p.seen->decides || !q.seen->decides) && time(NULL) < end + 120);
	     rounds++) {
		if (policy_attach(&p))
			return 2;
		usleep(rounds % 7 * 1000);
		if (bpf_link__update_map(p.link, q.map))
			return 3;
		usleep(rounds % 5 * 1000);
		if (bpf_link__update_map(p.link, p.map))
			return 4;
		usleep(rounds % 3 * 1000);
		bpf_link__destroy(p.link);
		p.link = NULL;
	}
	ksft_print_msg("came and went %d times, %llu and %llu runs decided\n",
		       rounds, p.seen->decides, q.seen->decides);
	if (p.seen->order_broken)
		return 5;
	return rounds < 10 || !p.seen->decides || !q.seen->decides ? 6 : 0;
}

/* One process attaches, replaces, detaches; this one migrates. */
static bool test_stress(void)
{
	int rounds = 0, status;
	time_t end;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(come_and_go(8));
	end = time(NULL) + 8;
	while (time(NULL) < end || waitpid(pid, &status, WNOHANG) == 0) {
		CHECK(one_migration());
		CHECK(classes_are(0, 0, 0));
		rounds++;
	}
	if (status)
		ksft_print_msg("the other process ended with %x\n", status);
	CHECK(status == 0);
	ksft_print_msg("%d migrations\n", rounds);
	CHECK(rounds >= 3);
	CHECK(text_becomes("policy", "none"));
	return true;
}

static bool test_unload(void)
{
	CHECK(!module_unload_wait());
	CHECK(!module_load("allow_local=1"));
	CHECK(text_is("policy", "none"));
	CHECK(!module_unload_wait());
	return true;
}

static const struct test tests[] = {
	{ "without a policy", test_start },
	{ "a policy decides on every run, for one migration", test_good },
	{ "hot only where the host agrees to it", test_hot_not_agreed },
	{ "the host goes away: the policy hears that it is over", test_lost_host },
	{ "a second policy is refused", test_second_refused },
	{ "a policy is replaced, between migrations and in one", test_replace },
	{ "a policy is detached during a migration", test_detach_frozen },
	{ "a policy without a link", test_without_link },
	{ "the process that attached a policy is killed", test_killed },
	{ "over budget: not called again", test_over_budget },
	{ "over budget in start: not asked at all", test_slow_start },
	{ "no decision: not called again", test_garbage },
	{ "no name, a bad name, no callback", test_bad_names },
	{ "programs that must not load", test_rejected },
	{ "policies come and go while migrations run", test_stress },
	{ "no unloading while a policy is there", test_unload_refused },
	{ "module unloads", test_unload },
};

int main(void)
{
	vda = open_direct("/dev/vda");
	if (vda < 0)
		ksft_exit_skip("no /dev/vda: to be run by run.sh\n");
	libbpf_set_print(keep_log);
	return run_tests(tests, ARRAY_SIZE(tests));
}
