// SPDX-License-Identifier: MIT
/* See vm.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vm.h"

#define KICK_SIGNAL	SIGUSR1

extern const u8 guest_blob[], guest_blob_end[];

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "vm: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

bool vm_supported(u32 ring_entries)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), max;

	if (kvm < 0)
		return false;
	max = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_DIRTY_LOG_RING);
	close(kvm);
	return !ring_entries || max >= (int)(ring_entries * sizeof(struct kvm_dirty_gfn));
}

static void set_slot(struct vm *vm, u32 flags)
{
	struct kvm_userspace_memory_region slot = {
		.flags = flags, .memory_size = vm->bytes,
		.userspace_addr = (u64)(uintptr_t)vm->ram,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot))
		fail("KVM_SET_USER_MEMORY_REGION");
}

/* Where guest and owner addresses are alike within a huge page, so that KVM may map it. */
static u8 *aligned_room(u64 bytes)
{
	u8 *at = mmap(NULL, bytes + VM_HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *start;

	if (at == MAP_FAILED)
		fail("guest memory");
	start = (u8 *)(((uintptr_t)at + VM_HUGE_BYTES - 1) & ~(VM_HUGE_BYTES - 1));
	munmap(at, start - at);
	munmap(start + bytes, at + VM_HUGE_BYTES - start);
	return start;
}

static void make_ram(struct vm *vm, enum vm_memory memory)
{
	bool shared = memory == VM_MEMFD || memory == VM_HUGETLB;

	vm->ram_fd = -1;
	if (shared) {
		vm->ram_fd = memfd_create("guest-ram", MFD_CLOEXEC |
					  (memory == VM_HUGETLB ? MFD_HUGETLB : 0));
		if (vm->ram_fd < 0 || ftruncate(vm->ram_fd, vm->bytes))
			fail("memfd");
	}
	vm->ram = mmap(aligned_room(vm->bytes), vm->bytes, PROT_READ | PROT_WRITE,
		       MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS),
		       vm->ram_fd, 0);
	if (vm->ram == MAP_FAILED)
		fail("guest memory");
	if (memory == VM_THP && madvise(vm->ram, vm->bytes, MADV_HUGEPAGE))
		fail("MADV_HUGEPAGE");
}

u64 vm_huge_bytes(const struct vm *vm)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	u64 start, kib, bytes = 0;
	bool ours = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%*x %*s", (unsigned long long *)&start) == 1 &&
		    strchr(line, '-'))
			ours = start - (uintptr_t)vm->ram < vm->bytes;
		else if (ours &&
			 (sscanf(line, "AnonHugePages: %llu", (unsigned long long *)&kib) == 1 ||
			  sscanf(line, "Shared_Hugetlb: %llu", (unsigned long long *)&kib) == 1 ||
			  sscanf(line, "Private_Hugetlb: %llu", (unsigned long long *)&kib) == 1))
			bytes += kib << 10;
	}
	if (f)
		fclose(f);
	return bytes;
}

static void enable_ring(struct vm *vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_DIRTY_LOG_RING,
		.args = { vm->ring_entries * sizeof(struct kvm_dirty_gfn) },
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		fail("KVM_CAP_DIRTY_LOG_RING");
}

static void make_cpu(struct vm *vm, int index, const struct kvm_cpuid2 *cpuid)
{
	struct vm_cpu *cpu = &vm->cpus[index];
	int bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	*cpu = (struct vm_cpu){ .vm = vm, .index = index, .parked = true };
	cpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (cpu->fd < 0)
		fail("KVM_CREATE_VCPU");
	if (ioctl(cpu->fd, KVM_SET_CPUID2, cpuid))
		fail("KVM_SET_CPUID2");
	cpu->run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED)
		fail("kvm_run");
	if (!vm->ring_entries)
		return;
	cpu->ring = mmap(NULL, vm->ring_entries * sizeof(*cpu->ring), PROT_READ | PROT_WRITE,
			 MAP_SHARED, cpu->fd, KVM_DIRTY_LOG_PAGE_OFFSET * MDB_PAGE);
	if (cpu->ring == MAP_FAILED)
		fail("dirty ring");
}

static void on_kick(int signal)
{
	(void)signal;		/* it only has to interrupt KVM_RUN */
}

void vm_create(struct vm *vm, const struct vm_config *cfg, const struct vm_ops *ops,
	       void *opaque)
{
	struct sigaction kick = { .sa_handler = on_kick };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	int i;

	*vm = (struct vm){
		.bytes = cfg->bytes, .nr_pages = cfg->bytes / MDB_PAGE,
		.nr_cpus = cfg->nr_cpus, .ring_entries = cfg->ring_entries,
		.ops = ops, .opaque = opaque, .paused = true,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.wake = PTHREAD_COND_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER,
	};
	sigaction(KICK_SIGNAL, &kick, NULL);
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		fail("/dev/kvm");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		fail("KVM_CREATE_VM");
	if (vm->ring_entries)
		enable_ring(vm);
	make_ram(vm, cfg->memory);
	set_slot(vm, 0);
	vm->dma_dirty = calloc((vm->nr_pages + 63) / 64, 8);
	if (!cpuid || !vm->dma_dirty)
		fail("memory");
	cpuid->nent = 256;
	if (ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
		fail("KVM_GET_SUPPORTED_CPUID");
	for (i = 0; i < vm->nr_cpus; i++)
		make_cpu(vm, i, cpuid);
	free(cpuid);
}

/*
 * Identity mapping by 2 MiB pages of GUEST_MAX_GIB at most.  Accessed and dirty
 * are set beforehand, so that a page walk has nothing to write.
 */
static void make_page_tables(struct vm *vm)
{
	u64 *pml4 = (u64 *)(vm->ram + GUEST_PT_GPA), *pdpt = pml4 + 512, *pd = pdpt + 512;
	u64 gib = (vm->bytes + (1ULL << 30) - 1) >> 30, i;

	pml4[0] = (GUEST_PT_GPA + 0x1000) | 0x23;
	for (i = 0; i < gib && i < GUEST_MAX_GIB; i++)
		pdpt[i] = (GUEST_PT_GPA + 0x2000 + i * 0x1000) | 0x23;
	for (i = 0; i < gib * 512; i++)
		pd[i] = i << 21 | 0xe3;
}

static void reset_cpu(struct vm_cpu *cpu)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11,
		.present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 16, .type = 3,
		.present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = GUEST_CODE_GPA, .rsp = GUEST_STACK_GPA(cpu->index), .rflags = 2,
		.rdi = GUEST_CPU_GPA(cpu->index),
	};
	struct kvm_sregs sregs;

	if (ioctl(cpu->fd, KVM_GET_SREGS, &sregs))
		fail("KVM_GET_SREGS");
	sregs.cr3 = GUEST_PT_GPA;
	sregs.cr4 = 1 << 5;			/* PAE */
	sregs.cr0 = 1u << 31 | 1 << 0;		/* PG, PE */
	sregs.efer = 1 << 8 | 1 << 10;		/* LME, LMA */
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	if (ioctl(cpu->fd, KVM_SET_SREGS, &sregs) || ioctl(cpu->fd, KVM_SET_REGS, &regs))
		fail("registers");
}

void vm_boot(struct vm *vm)
{
	int i;

	make_page_tables(vm);
	memcpy(vm->ram + GUEST_CODE_GPA, guest_blob, guest_blob_end - guest_blob);
	for (i = 0; i < vm->nr_cpus; i++)
		reset_cpu(&vm->cpus[i]);
}

/* Where a guest is that did something it cannot have done. */
static void describe(struct vm_cpu *cpu)
{
	struct kvm_vcpu_events ev = {};
	struct kvm_sregs sregs = {};
	struct kvm_regs regs = {};

	ioctl(cpu->fd, KVM_GET_REGS, &regs);
	ioctl(cpu->fd, KVM_GET_SREGS, &sregs);
	ioctl(cpu->fd, KVM_GET_VCPU_EVENTS, &ev);
	fprintf(stderr, "vm: vCPU %d: unexpected exit %u at rip %#llx rsp %#llx rdi %#llx cr2 %#llx cr3 %#llx efer %#llx, exception %u nmi %u smi %u\n",
		cpu->index, cpu->run->exit_reason, regs.rip, regs.rsp, regs.rdi, sregs.cr2,
		sregs.cr3, sregs.efer, ev.exception.nr, ev.nmi.injected, ev.smi.smm);
	if (regs.rip < cpu->vm->bytes - 16) {
		const u8 *code = cpu->vm->ram + regs.rip;

		fprintf(stderr, "vm: code there: %02x %02x %02x %02x %02x %02x %02x %02x\n", code[0],
			code[1], code[2], code[3], code[4], code[5], code[6], code[7]);
	}
}

/* Returns false when the guest did something that we cannot go on from. */
static bool handle_exit(struct vm_cpu *cpu)
{
	struct kvm_run *run = cpu->run;
	u32 *data = (u32 *)((u8 *)run + run->io.data_offset);

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.port == GUEST_PORT_TICK && run->io.direction == KVM_EXIT_IO_IN)
			*data = cpu->vm->ops->tick(cpu);
		else if (run->io.port == GUEST_PORT_REQUEST)
			cpu->vm->ops->request(cpu, *data);
		else
			break;
		return true;
	case KVM_EXIT_DIRTY_RING_FULL:
		cpu->vm->ops->ring_full(cpu);
		return true;
	case KVM_EXIT_INTR:
		return true;
	}
	describe(cpu);
	return false;
}

/*
 * Parked means: not in KVM_RUN, and the instruction whose exit we handled last
 * is complete, so that the registers are those of the next one.
 */
static bool park(struct vm_cpu *cpu)
{
	struct vm *vm = cpu->vm;
	bool quit;

	cpu->run->immediate_exit = 1;
	ioctl(cpu->fd, KVM_RUN, 0);
	pthread_mutex_lock(&vm->lock);
	cpu->parked = true;
	pthread_cond_broadcast(&vm->idle);
	while (vm->paused && !vm->quit)
		pthread_cond_wait(&vm->wake, &vm->lock);
	quit = vm->quit;
	cpu->run->immediate_exit = 0;
	cpu->parked = false;
	pthread_mutex_unlock(&vm->lock);
	return !quit;
}

static void *cpu_thread(void *arg)
{
	struct vm_cpu *cpu = arg;
	struct vm *vm = cpu->vm;

	for (;;) {
		if (__atomic_load_n(&vm->paused, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&vm->quit, __ATOMIC_ACQUIRE)) {
			if (!park(cpu))
				return NULL;
		}
		if (ioctl(cpu->fd, KVM_RUN, 0)) {
			if (errno == EINTR)
				continue;
			fail("KVM_RUN");
		}
		if (!handle_exit(cpu))
			exit(EXIT_FAILURE);
	}
}

void vm_resume(struct vm *vm)
{
	int i;

	pthread_mutex_lock(&vm->lock);
	vm->paused = false;
	if (!vm->started) {
		vm->started = true;
		for (i = 0; i < vm->nr_cpus; i++) {
			vm->cpus[i].parked = false;
			if (pthread_create(&vm->cpus[i].thread, NULL, cpu_thread, &vm->cpus[i]))
				fail("vCPU thread");
		}
	}
	pthread_cond_broadcast(&vm->wake);
	pthread_mutex_unlock(&vm->lock);
}

static void kick(struct vm *vm)
{
	int i;

	for (i = 0; i < vm->nr_cpus; i++) {
		__atomic_store_n(&vm->cpus[i].run->immediate_exit, 1, __ATOMIC_RELEASE);
		pthread_kill(vm->cpus[i].thread, KICK_SIGNAL);
	}
}

void vm_pause(struct vm *vm)
{
	int i;

	pthread_mutex_lock(&vm->lock);
	__atomic_store_n(&vm->paused, true, __ATOMIC_RELEASE);
	if (vm->started)
		kick(vm);
	for (i = 0; i < vm->nr_cpus; i++)
		while (vm->started && !vm->cpus[i].parked)
			pthread_cond_wait(&vm->idle, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

void vm_destroy(struct vm *vm)
{
	int i, bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (vm->started) {
		pthread_mutex_lock(&vm->lock);
		__atomic_store_n(&vm->quit, true, __ATOMIC_RELEASE);
		kick(vm);
		pthread_cond_broadcast(&vm->wake);
		pthread_mutex_unlock(&vm->lock);
		for (i = 0; i < vm->nr_cpus; i++)
			pthread_join(vm->cpus[i].thread, NULL);
	}
	for (i = 0; i < vm->nr_cpus; i++) {
		munmap(vm->cpus[i].run, bytes);
		if (vm->cpus[i].ring)
			munmap(vm->cpus[i].ring, vm->ring_entries * sizeof(struct kvm_dirty_gfn));
		close(vm->cpus[i].fd);
	}
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->ram, vm->bytes);
	if (vm->ram_fd >= 0)
		close(vm->ram_fd);
	free(vm->dma_dirty);
}

void vm_save(struct vm *vm, struct vm_cpu_state *state)
{
	int i;

	for (i = 0; i < vm->nr_cpus; i++)
		if (ioctl(vm->cpus[i].fd, KVM_GET_REGS, &state[i].regs) ||
		    ioctl(vm->cpus[i].fd, KVM_GET_SREGS, &state[i].sregs))
			fail("saving registers");
}

void vm_load(struct vm *vm, const struct vm_cpu_state *state)
{
	int i;

	for (i = 0; i < vm->nr_cpus; i++)
		if (ioctl(vm->cpus[i].fd, KVM_SET_SREGS, &state[i].sregs) ||
		    ioctl(vm->cpus[i].fd, KVM_SET_REGS, &state[i].regs))
			fail("loading registers");
}

void vm_log(struct vm *vm, bool on)
{
	set_slot(vm, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
}

u64 vm_get_dirty_bitmap(struct vm *vm, u64 *bitmap)
{
	u64 words = (vm->nr_pages + 63) / 64, i, n = 0;
	u64 *fresh = calloc(words, 8);
	struct kvm_dirty_log log = { .dirty_bitmap = fresh };

	if (!fresh || ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log))
		fail("KVM_GET_DIRTY_LOG");
	for (i = 0; i < words; i++) {
		n += __builtin_popcountll(fresh[i]);
		bitmap[i] |= fresh[i];
	}
	free(fresh);
	return n;
}

static u32 entry_flags(struct kvm_dirty_gfn *e)
{
	return __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);
}

/*
 * Where the ring's run of dirty entries begins.  A VMM that has always been its
 * only consumer knows; one that takes the ring back after a session does not.
 */
static void find_start(struct vm_cpu *cpu)
{
	u32 n = cpu->vm->ring_entries, i;

	if (entry_flags(&cpu->ring[cpu->ring_next]) == KVM_DIRTY_GFN_F_DIRTY &&
	    entry_flags(&cpu->ring[(cpu->ring_next + n - 1) % n]) != KVM_DIRTY_GFN_F_DIRTY)
		return;
	for (i = 0; i < n; i++)
		if (entry_flags(&cpu->ring[i]) == KVM_DIRTY_GFN_F_DIRTY &&
		    entry_flags(&cpu->ring[(i + n - 1) % n]) != KVM_DIRTY_GFN_F_DIRTY) {
			cpu->ring_next = i;
			return;
		}
}

u64 vm_ring_mark(struct vm *vm, u64 *bitmap)
{
	u64 n = 0;
	int i;

	for (i = 0; i < vm->nr_cpus; i++) {
		struct vm_cpu *cpu = &vm->cpus[i];
		struct kvm_dirty_gfn *e;

		find_start(cpu);
		for (e = &cpu->ring[cpu->ring_next]; entry_flags(e) == KVM_DIRTY_GFN_F_DIRTY;
		     e = &cpu->ring[cpu->ring_next]) {
			bitmap[e->offset / 64] |= 1ULL << (e->offset % 64);
			__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
			cpu->ring_next = (cpu->ring_next + 1) % vm->ring_entries;
			n++;
		}
	}
	return n;
}

u64 vm_ring_reap(struct vm *vm, u64 *bitmap)
{
	u64 n = vm_ring_mark(vm, bitmap);

	/* Only after this do later writes make new entries. */
	if (n && ioctl(vm->fd, KVM_RESET_DIRTY_RINGS, 0) < 0)
		fail("KVM_RESET_DIRTY_RINGS");
	return n;
}

void vm_dma_collect(struct vm *vm, u64 *bitmap)
{
	u64 words = (vm->nr_pages + 63) / 64, i;

	for (i = 0; i < words; i++)
		if (__atomic_load_n(&vm->dma_dirty[i], __ATOMIC_RELAXED))
			bitmap[i] |= __atomic_exchange_n(&vm->dma_dirty[i], 0, __ATOMIC_ACQ_REL);
}

void vm_discard(struct vm *vm, u64 page, u64 count)
{
	u64 at = page * MDB_PAGE, bytes = count * MDB_PAGE;
	int rc;

	if (vm->ram_fd >= 0)
		rc = fallocate(vm->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes);
	else
		rc = madvise(vm->ram + at, bytes, MADV_DONTNEED);
	if (rc)
		fail("discard");
}
