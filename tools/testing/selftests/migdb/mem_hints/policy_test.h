/* SPDX-License-Identifier: GPL-2.0 */
/* What policy_test and its BPF programs share. */
#ifndef POLICY_TEST_H
#define POLICY_TEST_H

/* Blocks that the programs treat in a way of their own. */
#define POLICY_HOT_BLOCK	1000
#define POLICY_OMIT_BLOCK	2000
#define POLICY_RANGE		100

/* The one variable in the object's .bss. */
struct policy_seen {
	unsigned long long starts;
	unsigned long long completes;
	unsigned long long decides;
	unsigned long long frames;
	unsigned long long generation;
	unsigned long long nr_valid;
	unsigned long long classes;		/* that the host agreed to */
	unsigned long long order_broken;	/* decide outside of a migration */
	unsigned int dev;			/* of the last run */
	unsigned int running;
};

#endif
