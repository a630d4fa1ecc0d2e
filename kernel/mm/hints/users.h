/* SPDX-License-Identifier: GPL-2.0 */
/* Who uses how much of what there is once for the whole guest. */
#ifndef MM_HINTS_USERS_H
#define MM_HINTS_USERS_H

#include <linux/types.h>

#include "shares.h"

struct mhint_user;

struct mhint_user *mhint_user_current(void);
void mhint_user_put(struct mhint_user *user);
u32 mhint_user_id(const struct mhint_user *user);
int mhint_charge(struct mhint_user *user, enum mhint_budget what, u32 more);
void mhint_uncharge(struct mhint_user *user, enum mhint_budget what, u32 less);

#endif
