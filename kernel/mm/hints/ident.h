/* SPDX-License-Identifier: GPL-2.0 */
/* Pure: identities of disks, by which guest and host mean the same one. */
#ifndef MM_HINTS_IDENT_H
#define MM_HINTS_IDENT_H

#include <linux/types.h>
#include <uapi/linux/mem_hints.h>

struct mhint_ident {
	u32 type;	/* enum mem_hint_disk_type */
	u8 id[MEM_HINT_IDENTITY_LEN];
};

int mhint_ident_text(struct mhint_ident *ident, u32 type, const char *text,
		     size_t len);
int mhint_ident_hex(struct mhint_ident *ident, u32 type, const char *prefix,
		    const u8 *bytes, size_t len);
bool mhint_ident_same(const struct mhint_ident *a, const struct mhint_ident *b);
const char *mhint_ident_type_name(u32 type);

#endif
