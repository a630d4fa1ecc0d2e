/* SPDX-License-Identifier: GPL-2.0 */
/* Just enough of the kernel's headers for the pure files of mem_hints. */
#ifndef SHIM_LINUX_TYPES_H
#define SHIM_LINUX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <asm/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __u16 __le16;
typedef __u32 __le32;
typedef __u64 __le64;

#define __aligned(n) __attribute__((aligned(n)))

#define __aligned_u64 __u64 __attribute__((aligned(8)))

#endif
