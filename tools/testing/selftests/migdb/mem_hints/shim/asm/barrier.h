/* SPDX-License-Identifier: GPL-2.0 */
#ifndef smp_wmb
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif
