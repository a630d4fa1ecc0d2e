/* SPDX-License-Identifier: MIT */
/* The guest's code inside the VMM; GUEST_BIN is set by the Makefile. */
	.section .rodata
	.globl guest_blob, guest_blob_end
	.balign 16
guest_blob:
	.incbin GUEST_BIN
guest_blob_end:
	.section .note.GNU-stack, "", @progbits
