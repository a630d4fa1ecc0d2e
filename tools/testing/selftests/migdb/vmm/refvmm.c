// SPDX-License-Identifier: MIT
/*
 * refvmm: the smallest VMM that migrates with migdb.
 *
 * It is documentation that runs: session.c has the source's part of the API,
 * dest.c the destination's; source.c is the ordinary pre-copy around it, vm.c
 * the VM, workload.c what the guest does.  Not for production: no devices, no
 * security boundary of its own, peers of the same build.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "disk.h"
#include "refvmm.h"

enum { EXIT_OK, EXIT_NOT_MIGRATED, EXIT_CORRUPT, EXIT_USAGE };

static const char usage[] =
"usage: refvmm --pair | --to ADDRESS | --from ADDRESS  [options]\n"
"ADDRESS: unix:PATH or tcp:IPV4:PORT.  --pair: both sides here, by a socket.\n"
"  --mem MIB        guest memory (64)\n"
"  --cpus N         vCPUs, at most 4 (1)\n"
"  --memory KIND    memfd (default), anon, thp or hugetlb (pre-copy only)\n"
"  --ring[=N]       dirty ring of N entries per vCPU, emptied by migdb (4096)\n"
"  --bitmap         KVM's dirty bitmap, read by the VMM (default)\n"
"  --disk PATH      the guest's disk, shared by both sides\n"
"  --make-disk      create it first, with its size\n"
"  --no-migdb       an ordinary migration\n"
"  --seed N, --rate N (guest steps per second, 0: all it can; 20000)\n"
"  --pool PERCENT   of memory that holds disk blocks (50)\n"
"  --heap-weight N, --modify-weight N   of 256 steps (200, 24); the rest is I/O\n"
"  --bandwidth MIB  per second, of the channel (no limit)\n"
"  --max-ms N       stop the guest after so long, converged or not (20000)\n"
"  --grace-ms N     for reads under way when the source is sealed (300)\n"
"  --warm-ms N, --after-ms N  how long the guest runs before and after (300)\n"
"  --round-ms N     pause between two rounds of pre-copy (0)\n"
"  --attempts N     try again after a failure (1)\n"
"  --adaptive       what the link has to spare brings pages of the set, too\n"
"  --balloon        the guest gives pages back while it moves\n"
"  --discard        pages that the guest can do without go as zeros; not with --postcopy\n"
"  --workers N      of the destination, to fetch and verify (the one that vhost makes)\n"
"  --claim-by-ioctl the destination does not touch the claim bytes\n"
"  --session-kib N  ordinary, if a session may need more kernel memory (no limit)\n"
"  --postcopy[=running|paused]  switch in the middle; the guest runs there at once,\n"
"                   or when all of it has come and was compared\n"
"  --switch-ms N    after so much pre-copy (500)\n"
"  --progress       say what happens\n"
"test-only:\n"
"  --fault flip|hash-before-arm|late-record|unseen-discard|discard-written\n"
"                   break one rule; must be found out\n"
"  --cut-after KIB  cut the link after so much, first attempt only\n"
"  --die-after KIB  the destination kills itself after so much\n"
"  --die-after-ms N or so long after it has answered\n"
"  --die-after-switch-ms N  the source kills itself so long after the switch\n"
"  --at-switch unheard|lost|lost-held|refused|dies\n"
"                   comes about just then; the guest must not see it\n"
"exit: 0 migrated and identical, 1 not migrated (the guest runs on here and\n"
"checked itself), 2 memory or guest wrong, 3 usage or environment\n";

static u64 t0;

void progress(const struct options *o, const char *fmt, ...)
{
	va_list args;

	if (!o->progress)
		return;
	fprintf(stderr, "[%8.3f] ", (now_ns() - t0) / 1e9);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void __attribute__((noreturn)) die(const char *what, int error)
{
	fprintf(stderr, "refvmm: %s: %s\n", what, strerror(error));
	exit(EXIT_USAGE);
}

/* Which of @words it is; those that nobody may say are NULL. */
static u32 parse_word(const char *text, const char *const *words, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		if (words[i] && !strcmp(text, words[i]))
			return i;
	die(text, EINVAL);
}

#define PARSE_WORD(_text, _words)	\
	parse_word(_text, _words, sizeof(_words) / sizeof((_words)[0]))

static const char *const faults[] = {
	[FAULT_FLIP] = "flip", [FAULT_HASH_BEFORE_ARM] = "hash-before-arm",
	[FAULT_LATE_RECORD] = "late-record", [FAULT_UNSEEN_DISCARD] = "unseen-discard",
	[FAULT_DISCARD_WRITTEN] = "discard-written",
};

static const char *const at_switches[] = {
	[AT_SWITCH_UNHEARD] = "unheard", [AT_SWITCH_LOST] = "lost",
	[AT_SWITCH_LOST_HELD] = "lost-held", [AT_SWITCH_REFUSED] = "refused",
	[AT_SWITCH_DIES] = "dies",
};

static const char *const memories[] = {
	[VM_MEMFD] = "memfd", [VM_ANON] = "anon", [VM_THP] = "thp", [VM_HUGETLB] = "hugetlb",
};

enum {
	OPT_MEM = 256, OPT_CPUS, OPT_MEMORY, OPT_RING, OPT_BITMAP, OPT_DISK, OPT_MAKE_DISK,
	OPT_NO_MIGDB, OPT_SEED, OPT_RATE, OPT_POOL, OPT_HEAP, OPT_MODIFY, OPT_BANDWIDTH,
	OPT_MAX_MS, OPT_GRACE, OPT_WARM, OPT_AFTER, OPT_ROUND, OPT_ATTEMPTS, OPT_PROGRESS,
	OPT_ADAPTIVE, OPT_POSTCOPY, OPT_SWITCH, OPT_DIE_SWITCH, OPT_AT_SWITCH,
	OPT_BALLOON, OPT_DISCARD, OPT_WORKERS, OPT_CLAIM, OPT_SESSION,
	OPT_FAULT, OPT_CUT, OPT_DIE, OPT_DIE_MS, OPT_PAIR, OPT_TO, OPT_FROM, OPT_HELP,
};

static const struct option long_options[] = {
	{ "mem", 1, NULL, OPT_MEM }, { "cpus", 1, NULL, OPT_CPUS },
	{ "memory", 1, NULL, OPT_MEMORY }, { "ring", 2, NULL, OPT_RING },
	{ "bitmap", 0, NULL, OPT_BITMAP }, { "disk", 1, NULL, OPT_DISK },
	{ "make-disk", 0, NULL, OPT_MAKE_DISK }, { "no-migdb", 0, NULL, OPT_NO_MIGDB },
	{ "seed", 1, NULL, OPT_SEED }, { "rate", 1, NULL, OPT_RATE },
	{ "pool", 1, NULL, OPT_POOL }, { "heap-weight", 1, NULL, OPT_HEAP },
	{ "modify-weight", 1, NULL, OPT_MODIFY }, { "bandwidth", 1, NULL, OPT_BANDWIDTH },
	{ "max-ms", 1, NULL, OPT_MAX_MS }, { "grace-ms", 1, NULL, OPT_GRACE },
	{ "warm-ms", 1, NULL, OPT_WARM }, { "after-ms", 1, NULL, OPT_AFTER },
	{ "round-ms", 1, NULL, OPT_ROUND }, { "attempts", 1, NULL, OPT_ATTEMPTS },
	{ "progress", 0, NULL, OPT_PROGRESS }, { "adaptive", 0, NULL, OPT_ADAPTIVE },
	{ "balloon", 0, NULL, OPT_BALLOON }, { "discard", 0, NULL, OPT_DISCARD },
	{ "workers", 1, NULL, OPT_WORKERS }, { "claim-by-ioctl", 0, NULL, OPT_CLAIM },
	{ "session-kib", 1, NULL, OPT_SESSION }, { "fault", 1, NULL, OPT_FAULT },
	{ "cut-after", 1, NULL, OPT_CUT }, { "die-after", 1, NULL, OPT_DIE },
	{ "die-after-ms", 1, NULL, OPT_DIE_MS },
	{ "postcopy", 2, NULL, OPT_POSTCOPY }, { "switch-ms", 1, NULL, OPT_SWITCH },
	{ "die-after-switch-ms", 1, NULL, OPT_DIE_SWITCH },
	{ "at-switch", 1, NULL, OPT_AT_SWITCH },
	{ "pair", 0, NULL, OPT_PAIR }, { "to", 1, NULL, OPT_TO },
	{ "from", 1, NULL, OPT_FROM }, { "help", 0, NULL, OPT_HELP }, {}
};

static enum postcopy parse_postcopy(const char *how)
{
	if (!how || !strcmp(how, "running"))
		return POSTCOPY_RUNNING;
	if (!strcmp(how, "paused"))
		return POSTCOPY_PAUSED;
	die(how, EINVAL);
}

static u64 number(const char *text)
{
	char *end;
	u64 n = strtoull(text, &end, 0);

	if (*end || !*text)
		die(text, EINVAL);
	return n;
}

static void parse(int argc, char **argv, struct options *o)
{
	int opt;

	*o = (struct options){
		.vm = { .bytes = 64 << 20, .nr_cpus = 1 },
		.load = { .seed = 1, .rate = 20000, .pool_percent = 50,
			  .heap_weight = 200, .modify_weight = 24 },
		.use_migdb = true, .max_ms = 20000, .grace_ms = 300,
		.warm_ms = 300, .after_ms = 300, .attempts = 1, .switch_ms = 500,
	};
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case OPT_MEM:
			o->vm.bytes = number(optarg) << 20;
			break;
		case OPT_CPUS:
			o->vm.nr_cpus = number(optarg);
			break;
		case OPT_MEMORY:
			o->vm.memory = PARSE_WORD(optarg, memories);
			break;
		case OPT_RING:
			o->vm.ring_entries = optarg ? number(optarg) : 4096;
			break;
		case OPT_BITMAP:
			o->vm.ring_entries = 0;
			break;
		case OPT_DISK:
			o->disk = optarg;
			break;
		case OPT_MAKE_DISK:
			o->make_disk = true;
			break;
		case OPT_NO_MIGDB:
			o->use_migdb = false;
			break;
		case OPT_SEED:
			o->load.seed = number(optarg);
			break;
		case OPT_RATE:
			o->load.rate = number(optarg);
			break;
		case OPT_POOL:
			o->load.pool_percent = number(optarg);
			break;
		case OPT_HEAP:
			o->load.heap_weight = number(optarg);
			break;
		case OPT_MODIFY:
			o->load.modify_weight = number(optarg);
			break;
		case OPT_BANDWIDTH:
			o->bandwidth = number(optarg) << 20;
			break;
		case OPT_MAX_MS:
			o->max_ms = number(optarg);
			break;
		case OPT_GRACE:
			o->grace_ms = number(optarg);
			break;
		case OPT_WARM:
			o->warm_ms = number(optarg);
			break;
		case OPT_AFTER:
			o->after_ms = number(optarg);
			break;
		case OPT_ROUND:
			o->round_ms = number(optarg);
			break;
		case OPT_ATTEMPTS:
			o->attempts = number(optarg);
			break;
		case OPT_PROGRESS:
			o->progress = true;
			break;
		case OPT_ADAPTIVE:
			o->adaptive = true;
			break;
		case OPT_BALLOON:
			o->balloon = true;
			break;
		case OPT_DISCARD:
			o->discard = true;
			break;
		case OPT_WORKERS:
			o->workers = number(optarg);
			break;
		case OPT_CLAIM:
			o->claim_by_ioctl = true;
			break;
		case OPT_SESSION:
			o->session_bytes = number(optarg) << 10;
			break;
		case OPT_FAULT:
			o->fault = PARSE_WORD(optarg, faults);
			break;
		case OPT_CUT:
			o->cut_after = number(optarg) << 10;
			break;
		case OPT_DIE:
			o->die_after = number(optarg) << 10;
			break;
		case OPT_DIE_MS:
			o->die_ms = number(optarg);
			break;
		case OPT_POSTCOPY:
			o->postcopy = parse_postcopy(optarg);
			break;
		case OPT_SWITCH:
			o->switch_ms = number(optarg);
			break;
		case OPT_DIE_SWITCH:
			o->die_after_switch_ms = number(optarg);
			break;
		case OPT_AT_SWITCH:
			o->at_switch = PARSE_WORD(optarg, at_switches);
			break;
		case OPT_PAIR:
			o->pair = true;
			break;
		case OPT_TO:
			o->to = optarg;
			break;
		case OPT_FROM:
			o->from = optarg;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(EXIT_OK);
		default:
			fputs(usage, stderr);
			exit(EXIT_USAGE);
		}
	}
	/* they come whole or not at all, and are built in pages of 4 KiB */
	if (o->vm.memory == VM_HUGETLB && o->postcopy)
		die("post-copy into memory of hugetlbfs", EOPNOTSUPP);
	if (o->vm.memory == VM_HUGETLB && o->vm.bytes % VM_HUGE_BYTES)
		die("memory that is not whole huge pages", EINVAL);
	if (o->pair + !!o->to + !!o->from != 1 || !o->disk || optind != argc ||
	    o->workers > MIGDB_NR_LANES || (o->discard && o->postcopy) ||
	    o->vm.nr_cpus < 1 || o->vm.nr_cpus > GUEST_MAX_CPUS ||
	    o->vm.bytes < 8 << 20 || o->vm.bytes > (u64)GUEST_MAX_GIB << 30 ||
	    o->load.pool_percent > 80 || o->load.heap_weight + o->load.modify_weight > 256) {
		fputs(usage, stderr);
		exit(EXIT_USAGE);
	}
}

static int open_disk(const struct options *o)
{
	u64 blocks = workload_disk_blocks(&o->load, o->vm.bytes);
	int fd = disk_open(o->disk, O_RDWR | (o->make_disk && !o->from ? O_CREAT | O_TRUNC : 0));
	int rc;

	if (fd < 0)
		die(o->disk, -fd);
	if (o->make_disk && !o->from) {
		progress(o, "making a disk of %llu blocks", (unsigned long long)blocks);
		rc = workload_make_disk(&o->load, fd, blocks);
		if (rc)
			die(o->disk, -rc);
	}
	return fd;
}

static void print_outcome(const struct options *o, const struct outcome *out, int attempt,
			  bool guest_ok_here)
{
	const struct migdb_stats *st = &out->stats;
	const struct result *r = &out->dest;
	u32 i;

	printf("{\"mode\":\"%s\",\"attempt\":%d,\"migrated\":%s,\"ordinary\":\"%s\",\"reason\":\"%s\",",
	       o->vm.ring_entries ? "ring" : "bitmap", attempt, out->migrated ? "true" : "false",
	       out->ordinary ? out->ordinary : "", mdb_reason_name(out->reason));
	printf("\"total_ms\":%.1f,\"downtime_ms\":%.1f,\"oracle_ms\":%.1f,\"drain_ms\":%.1f,",
	       out->total_ns / 1e6, out->downtime_ns / 1e6, out->oracle_ns / 1e6,
	       r->drain_ns / 1e6);
	printf("\"huge_kib\":%llu,", (unsigned long long)out->huge_bytes >> 10);
	printf("\"rounds\":%llu,\"ring_full\":%llu,\"bytes_sent\":%llu,\"pages\":%llu,\"pages_skipped\":%llu,\"pages_sent\":%llu,\"pages_zero\":%llu,\"discardable\":%llu,\"discarded\":%llu,",
	       (unsigned long long)out->rounds, (unsigned long long)out->ring_full,
	       (unsigned long long)out->sent_bytes, (unsigned long long)(o->vm.bytes / MDB_PAGE),
	       (unsigned long long)out->pages_skipped, (unsigned long long)out->pages_sent,
	       (unsigned long long)out->pages_zero, (unsigned long long)out->discardable,
	       (unsigned long long)out->discarded);
	printf("\"source\":{\"recorded\":%llu,\"built\":%llu,\"revoked\":%llu,\"returned\":%llu,\"unconfirmed\":%llu,\"dropped\":%llu,\"harvested\":%llu,\"invalidated\":%llu,\"taken\":%llu,\"hash_ms\":%.1f,\"memory_bytes\":%llu},",
	       (unsigned long long)st->out_recorded, (unsigned long long)st->out_built,
	       (unsigned long long)st->out_revoked, (unsigned long long)st->out_returned,
	       (unsigned long long)st->out_unconfirmed, (unsigned long long)st->out_dropped,
	       (unsigned long long)st->out_harvested,
	       (unsigned long long)st->out_by_reason[MIGDB_REASON_INVALIDATED],
	       (unsigned long long)st->out_by_reason[MIGDB_REASON_TAKEN], st->out_hash_ns / 1e6,
	       (unsigned long long)st->out_memory_bytes);
	printf("\"dest\":{\"state\":\"%s\",\"recorded\":%llu,\"built\":%llu,\"returned\":%llu,\"read_bytes\":%llu,\"reads\":%llu,\"memory_bytes\":%llu,\"workers\":%u,\"by_reason\":{",
	       mdb_state_name(r->state), (unsigned long long)r->recorded,
	       (unsigned long long)r->built, (unsigned long long)r->returned,
	       (unsigned long long)r->read_bytes, (unsigned long long)r->reads,
	       (unsigned long long)r->memory_bytes, r->workers);
	for (i = 1; i < MIGDB_NR_REASONS; i++)
		printf("%s\"%s\":%llu", i > 1 ? "," : "", mdb_reason_name(i),
		       (unsigned long long)r->by_reason[i]);
	printf("}},\"requests\":%llu,\"requests_in_set\":%llu,\"postcopy\":{\"postcopy_built\":%llu,\"faults\":%llu,\"faults_fetching\":%llu,\"faults_built\":%llu,\"faults_late\":%llu,\"asked\":%llu,\"spared\":%llu}",
	       (unsigned long long)out->requests, (unsigned long long)out->requests_in_set,
	       (unsigned long long)r->postcopy_built, (unsigned long long)r->faults,
	       (unsigned long long)r->faults_fetching, (unsigned long long)r->faults_built,
	       (unsigned long long)r->faults_late, (unsigned long long)r->asked,
	       (unsigned long long)r->spared);
	printf(",\"differ\":%llu,\"guest_ok\":%s}\n", (unsigned long long)r->differ,
	       (out->migrated ? r->guest_ok : guest_ok_here) ? "true" : "false");
	fflush(stdout);
}

static int run_source(struct vm *vm, struct workload *w, struct options *o)
{
	struct outcome out;
	bool here_ok = true;
	u64 huge_bytes;
	u32 attempt;
	int rc = 0;

	vm_boot(vm);
	vm_resume(vm);
	usleep(o->warm_ms * 1000);
	huge_bytes = vm_huge_bytes(vm);
	for (attempt = 1; attempt <= o->attempts; attempt++) {
		rc = source_migrate(vm, w, o, &out);
		out.huge_bytes = huge_bytes;
		if (!out.migrated) {
			progress(o, "source: attempt %u failed: %s; the guest runs on", attempt,
				 strerror(-rc));
			usleep(o->after_ms * 1000);
			here_ok = workload_check(w);
		}
		print_outcome(o, &out, attempt, here_ok);
		if (out.migrated || !here_ok)
			break;
		o->cut_after = 0;
		o->die_after = 0;
		o->die_ms = 0;
		usleep(300000);
	}
	if (!here_ok)
		return EXIT_CORRUPT;
	if (!out.migrated)
		return EXIT_NOT_MIGRATED;
	return rc || out.dest.differ || !out.dest.guest_ok ? EXIT_CORRUPT : EXIT_OK;
}

/* A destination serves one attempt; the next one gets a new VM. */
static int run_dest(struct options *o)
{
	struct vm_ops ops = {
		.tick = workload_tick, .request = workload_request,
		.ring_full = source_ring_full,
	};
	struct workload w;
	struct vm vm;
	u32 attempt;
	int rc = 1;

	/* what is written here after the switch is the oracle's to know, and not a ring's */
	if (o->postcopy)
		o->vm.ring_entries = 0;
	for (attempt = 1; attempt <= o->attempts && rc == 1; attempt++) {
		vm_create(&vm, &o->vm, &ops, &w);
		workload_attach(&w, &vm, open_disk(o), &o->load);
		rc = dest_run(&vm, &w, o);
		vm_destroy(&vm);
		close(w.disk);
	}
	return rc;
}

static pid_t fork_dest(struct options *o, char address[64])
{
	pid_t pid;

	snprintf(address, 64, "unix:/tmp/refvmm-%d.sock", getpid());
	unlink(address + 5);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	o->from = address;
	o->make_disk = false;
	exit(run_dest(o));
}

int main(int argc, char **argv)
{
	struct vm_ops ops = {
		.tick = workload_tick, .request = workload_request,
		.ring_full = source_ring_full,
	};
	struct options o;
	struct workload w;
	struct vm vm;
	char address[64];
	pid_t dest = 0;
	int rc, status, disk;

	t0 = now_ns();
	parse(argc, argv, &o);
	if (!vm_supported(o.vm.ring_entries))
		die(o.vm.ring_entries ? "/dev/kvm with dirty rings" : "/dev/kvm", ENODEV);
	if (o.from)
		return run_dest(&o);
	disk = open_disk(&o);
	if (o.pair) {
		dest = fork_dest(&o, address);
		o.to = address;
	}
	vm_create(&vm, &o.vm, &ops, &w);
	workload_setup(&w, &vm, disk, &o.load);
	rc = run_source(&vm, &w, &o);
	if (dest > 0) {
		if (rc == EXIT_NOT_MIGRATED)
			kill(dest, SIGKILL);
		waitpid(dest, &status, 0);
		unlink(address + 5);
	}
	vm_destroy(&vm);
	return rc;
}
