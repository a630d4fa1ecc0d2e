/* SPDX-License-Identifier: GPL-2.0 */
#ifndef BUILD_BUG_ON
#define BUILD_BUG_ON(cond) _Static_assert(!(cond), #cond)
#endif
