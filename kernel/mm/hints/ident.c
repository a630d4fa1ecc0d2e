// SPDX-License-Identifier: GPL-2.0
/* Pure: identities of disks. */
#include <linux/build_bug.h>
#include <linux/array_size.h>
#include <linux/types.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "ident.h"

/**
 * mhint_ident_text - make an identity of a text
 * @ident: the result
 * @type: enum mem_hint_disk_type
 * @text: need not end in NUL; ends at the first one
 * @len: bytes of @text at most
 *
 * Blanks and newlines at the end do not count: they come from fixed-width
 * fields and from sysfs.
 *
 * Return: 0; -ENODATA: nothing is left; -E2BIG: too long to be told whole.
 */
int mhint_ident_text(struct mhint_ident *ident, u32 type, const char *text,
		     size_t len)
{
	len = strnlen(text, len);
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\n'))
		len--;
	if (!len)
		return -ENODATA;
	if (len > sizeof(ident->id))
		return -E2BIG;
	memset(ident, 0, sizeof(*ident));
	ident->type = type;
	memcpy(ident->id, text, len);
	return 0;
}

/**
 * mhint_ident_hex - make an identity of binary
 * @ident: the result
 * @type: enum mem_hint_disk_type
 * @prefix: put before the digits
 * @bytes: the binary identity
 * @len: how many
 *
 * Return: 0; -ENODATA: all bytes are 0 or there are none; -E2BIG.
 */
int mhint_ident_hex(struct mhint_ident *ident, u32 type, const char *prefix,
		    const u8 *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = strlen(prefix), i;
	u8 any = 0;

	if (at + 2 * len > sizeof(ident->id))
		return -E2BIG;
	memset(ident, 0, sizeof(*ident));
	ident->type = type;
	memcpy(ident->id, prefix, at);
	for (i = 0; i < len; i++) {
		any |= bytes[i];
		ident->id[at++] = digits[bytes[i] >> 4];
		ident->id[at++] = digits[bytes[i] & 15];
	}
	return any ? 0 : -ENODATA;
}

bool mhint_ident_same(const struct mhint_ident *a, const struct mhint_ident *b)
{
	return a->type == b->type && !memcmp(a->id, b->id, sizeof(a->id));
}

const char *mhint_ident_type_name(u32 type)
{
	static const char * const names[] = {
		[MEM_HINT_DISK_INVALID]		= "none",
		[MEM_HINT_DISK_VIRTIO_SERIAL]	= "virtio_serial",
		[MEM_HINT_DISK_SCSI_WWID]	= "scsi_wwid",
		[MEM_HINT_DISK_NVME_NGUID]	= "nvme_nguid",
		[MEM_HINT_DISK_PCI]		= "pci",
	};

	return type < ARRAY_SIZE(names) ? names[type] : "none";
}
