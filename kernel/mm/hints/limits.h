/* SPDX-License-Identifier: GPL-2.0 */
/* Every bound of the guest part in one place. */
#ifndef MM_HINTS_LIMITS_H
#define MM_HINTS_LIMITS_H

/* Notes in each of the two buffers of a CPU; 16 bytes a note. */
#define MHINT_RING_NOTES_MIN		64
#define MHINT_RING_NOTES_DEFAULT	4096
#define MHINT_RING_NOTES_MAX		65536

/* How long notes may lie in a CPU's buffer before they are in the table. */
#define MHINT_DRAIN_MS_DEFAULT		20
#define MHINT_DRAIN_MS_MAX		10000

/*
 * Slots that a request's disk may be in, starting at its sequence number:
 * bounds the search in interrupt context.
 */
#define MHINT_DISK_PROBES		16

/* Out of ids: look for disks that have gone, no more often than this. */
#define MHINT_CROWDED_RECHECK_MS	10000

/* Table pages above one entry per frame of RAM: ends of memory ranges. */
#define MHINT_TABLE_SLACK_PAGES		64

/* While frozen, notes wait in at most as many bytes as the table may have. */
#define MHINT_PENDING_FRAMES_PER_NOTE	2

/* A host that does not read its answers is given up after so long. */
#define MHINT_SEND_TIMEOUT_MS		2000

/* No vsock yet, or its port is taken: look again after so long. */
#define MHINT_LISTEN_RETRY_MS		10000

/*
 * Connections that wait to be accepted.  Beyond it the host is told that nobody
 * listens, so it is more than a process of the guest can open while we are busy.
 */
#define MHINT_LISTEN_BACKLOG		128

/* Ports below need CAP_NET_BIND_SERVICE; vsock has no public name for it. */
#define MHINT_PRIVILEGED_PORTS		1024

#endif
