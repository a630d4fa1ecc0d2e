// SPDX-License-Identifier: MIT
/*
 * The guest's code: flat, 64-bit, no interrupts, no library.  Linked to
 * GUEST_CODE_GPA and embedded in the VMM by guest_blob.S.
 */
#include "guest_abi.h"

/* Sum of all epochs ever given: lives in a register so that no lost page can
 * take it along.
 */
register guest_u64 epoch_sum asm("r12");

static inline unsigned int inl(unsigned short port)
{
	unsigned int v;

	asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline void outl(unsigned short port, unsigned int v)
{
	asm volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static guest_u64 *at(guest_u64 gpa)
{
	return (guest_u64 *)gpa;
}

static guest_u64 next(struct guest_cpu *c)
{
	c->rng ^= c->rng << 13;
	c->rng ^= c->rng >> 7;
	c->rng ^= c->rng << 17;
	return c->rng * 0x2545f4914f6cdd1dULL;
}

static guest_u64 below(struct guest_cpu *c, guest_u64 n)
{
	return (next(c) >> 16) % n;
}

static void write_head(guest_u64 gpa, guest_u64 epoch)
{
	guest_u64 i;

	for (i = 0; i < GUEST_HEAD_WORDS; i++)
		((volatile guest_u64 *)gpa)[i] = guest_epoch_word(gpa, epoch, i);
}

static void heap_step(struct guest_cpu *c)
{
	guest_u64 n = below(c, c->heap_pages), gpa = c->heap_gpa + n * 4096;
	guest_u64 epoch = ++at(c->heap_epoch_gpa)[n];

	epoch_sum++;
	/* Who finds the epoch 0 knows that the page was not written to. */
	asm volatile("" : : : "memory");
	write_head(gpa, epoch);
}

static void modify_step(struct guest_cpu *c)
{
	guest_u64 n = below(c, c->pool_pages);
	struct guest_expect *e = (struct guest_expect *)c->pool_expect_gpa + n;

	e->epoch++;
	epoch_sum++;
	write_head(c->pool_gpa + n * 4096, e->epoch);
}

/* The hint that a guest kernel would note at the completion of the I/O. */
static void note_hint(struct guest_cpu *c, guest_u64 gpa, guest_u64 block)
{
	guest_u64 *entry = at(c->hint_gpa) + gpa / 4096;

	*(volatile guest_u64 *)entry = c->hint_bits | block;
}

static void forget(struct guest_cpu *c, struct guest_expect *e)
{
	epoch_sum -= e->epoch;
	e->epoch = 0;
}

/* A new version of a block: rewritten in memory, then on disk. */
static void writeback_step(struct guest_cpu *c)
{
	guest_u64 n = below(c, c->pool_pages), i;
	struct guest_expect *e = (struct guest_expect *)c->pool_expect_gpa + n;
	guest_u64 gpa = c->pool_gpa + n * 4096;
	guest_u64 *version = &at(c->version_gpa)[e->block - c->block_first];

	forget(c, e);
	e->version = ++*version;
	for (i = 0; i < GUEST_PAGE_WORDS; i++)
		at(gpa)[i] = guest_block_word(c->disk_seed, e->block, e->version, i);
	c->req_gpa = gpa;
	c->req_block = e->block;
	outl(GUEST_PORT_REQUEST, GUEST_REQ_WRITE);
	note_hint(c, gpa, e->block);
}

/* Another block into the page, by the VMM: KVM's dirty log never sees it. */
static void read_step(struct guest_cpu *c)
{
	guest_u64 n = below(c, c->pool_pages);
	struct guest_expect *e = (struct guest_expect *)c->pool_expect_gpa + n;

	forget(c, e);
	e->block = c->block_first + below(c, c->blocks);
	e->version = at(c->version_gpa)[e->block - c->block_first];
	c->req_gpa = c->pool_gpa + n * 4096;
	c->req_block = e->block;
	outl(GUEST_PORT_REQUEST, GUEST_REQ_READ);
	note_hint(c, c->req_gpa, e->block);
}

static void step(struct guest_cpu *c)
{
	guest_u64 dice = below(c, 256);

	c->steps++;
	if (dice < c->heap_weight)
		heap_step(c);
	else if (dice < c->heap_weight + c->modify_weight)
		modify_step(c);
	else if (dice & 1)
		read_step(c);
	else
		writeback_step(c);
}

static void compare(struct guest_cpu *c, guest_u64 gpa, guest_u64 got, guest_u64 want)
{
	if (got == want)
		return;
	if (!c->check_bad) {
		c->check_gpa = gpa;
		c->check_want = want;
		c->check_got = got;
	}
	c->check_bad++;
}

static void check(struct guest_cpu *c)
{
	guest_u64 n, i, sum = 0;

	c->check_bad = 0;
	for (n = 0; n < c->heap_pages; n++) {
		guest_u64 gpa = c->heap_gpa + n * 4096, epoch = at(c->heap_epoch_gpa)[n];

		sum += epoch;
		for (i = 0; epoch && i < GUEST_HEAD_WORDS; i++)
			compare(c, gpa + i * 8, at(gpa)[i], guest_epoch_word(gpa, epoch, i));
	}
	for (n = 0; n < c->pool_pages; n++) {
		struct guest_expect *e = (struct guest_expect *)c->pool_expect_gpa + n;
		guest_u64 gpa = c->pool_gpa + n * 4096;

		sum += e->epoch;
		for (i = 0; i < GUEST_HEAD_WORDS; i++)
			compare(c, gpa + i * 8, at(gpa)[i], e->epoch ?
				guest_epoch_word(gpa, e->epoch, i) :
				guest_block_word(c->disk_seed, e->block, e->version, i));
		for (i = GUEST_TAIL_WORD; i < GUEST_PAGE_WORDS; i++)
			compare(c, gpa + i * 8, at(gpa)[i],
				guest_block_word(c->disk_seed, e->block, e->version, i));
	}
	compare(c, 0, sum, epoch_sum);
	outl(GUEST_PORT_REQUEST, GUEST_REQ_CHECKED);
}

void guest_main(struct guest_cpu *c)
{
	guest_u64 i;

	epoch_sum = 0;
	for (;;) {
		if (inl(GUEST_PORT_TICK) == GUEST_CHECK) {
			check(c);
			continue;
		}
		for (i = 0; i < c->batch; i++)
			step(c);
	}
}

/* Entry: the VMM has set rsp and rdi. */
asm(".section .text.start,\"ax\"\n"
    ".globl guest_start\n"
    "guest_start:\n"
    "	call guest_main\n"
    "1:	hlt\n"
    "	jmp 1b\n"
    ".text\n");
