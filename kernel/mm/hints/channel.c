// SPDX-License-Identifier: GPL-2.0
/*
 * The channel's socket: a kernel thread listens on the privileged vsock port
 * and serves one host at a time.  What the bytes mean is in proto.c.
 *
 * The thread sleeps on one wait queue, which it hangs into those of the listener
 * and of the connection.  Only an answer to the host that is served may wait for
 * room, and not for long; any process here may connect by the loopback and read
 * nothing, so whom it refuses it never waits for.
 */
#define pr_fmt(fmt) "mem_hints: " fmt

#include <linux/err.h>
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/vm_sockets.h>
#include <linux/wait.h>
#include <net/net_namespace.h>
#include <net/sock.h>

#include "call.h"
#include "entry.h"
#include "internal.h"
#include "limits.h"
#include "proto.h"
#include "snapshot.h"

/* A socket and our place in its wait queue. */
struct mhint_sock {
	struct socket *sock;
	struct wait_queue_entry wait;
};

static struct mhint_channel {
	struct task_struct *task;
	wait_queue_head_t wake;
	bool poked;
	bool allow_local;
	bool privileged_peer;
	u32 max_freeze_ms;
	struct mhint_sock listener;
	struct mhint_sock conn;
	struct mhint_proto *proto;
	u64 classes;	/* that START has agreed to */
} channel;

/* Called under the socket's wait queue lock, in any context. */
static int poke(struct wait_queue_entry *wait, unsigned int mode, int sync,
		void *key)
{
	WRITE_ONCE(channel.poked, true);
	wake_up(&channel.wake);
	return 0;
}

static void sock_watch(struct mhint_sock *s, struct socket *sock)
{
	s->sock = sock;
	init_waitqueue_func_entry(&s->wait, poke);
	add_wait_queue(sk_sleep(sock->sk), &s->wait);
	WRITE_ONCE(channel.poked, true);
}

static void sock_drop(struct mhint_sock *s)
{
	if (!s->sock)
		return;
	remove_wait_queue(sk_sleep(s->sock->sk), &s->wait);
	kernel_sock_shutdown(s->sock, SHUT_RDWR);
	sock_release(s->sock);
	s->sock = NULL;
}

static u64 now_ms(void)
{
	return ktime_to_ms(ktime_get_boottime());
}

/* ---- what the protocol asks for ------------------------------------------ */

static int send_on(struct socket *sock, const struct mem_hint_msg *head,
		   const void *payload, u32 len, int flags)
{
	struct kvec vec[2] = {
		{ .iov_base = (void *)head, .iov_len = sizeof(*head) },
		{ .iov_base = (void *)payload, .iov_len = len },
	};
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };
	size_t size = sizeof(*head) + len;
	int sent;

	sent = kernel_sendmsg(sock, &msg, vec, len ? 2 : 1, size);
	if (sent < 0)
		return sent;
	/* Sends block up to SO_SNDTIMEO: less means that nobody reads. */
	return sent == size ? 0 : -ETIMEDOUT;
}

static int op_send(void *ctx, const struct mem_hint_msg *head,
		   const void *payload, u32 len)
{
	return send_on(channel.conn.sock, head, payload, len, 0);
}

static void op_info(void *ctx, struct mem_hint_info *info)
{
	struct mhint_stats stats;

	mhint_get_stats(&stats);
	info->root_gpa = cpu_to_le64(mhint_root_gpa());
	info->nr_frames = cpu_to_le64(stats.nr_frames);
	info->nr_valid = cpu_to_le64(stats.nr_valid);
	info->table_pages = cpu_to_le64(stats.table_pages);
}

static u32 op_disks(void *ctx, struct mem_hint_disk *disks, u32 max)
{
	return mhint_list_disks(disks, max);
}

/*
 * In this order: processes hear of it and get ready; what they say is entered;
 * what I/O has said meanwhile is newer and comes last.
 */
static int op_freeze(void *ctx, const struct mem_hint_start *start,
		     struct mem_hint_started *out)
{
	int err;

	channel.classes = le64_to_cpu(start->classes) & MHINT_CLASSES;
	if (!mhint_enabled() || mhint_frozen())
		return mhint_freeze(channel.classes, out);
	mhint_events_start(channel.classes);
	mhint_snapshot_run(channel.classes);
	err = mhint_freeze(channel.classes, out);
	if (err)
		mhint_events_complete(MEM_HINT_OUTCOME_CANCELLED, channel.classes);
	else
		pr_info_ratelimited("migration starts: %llu frames hinted\n",
				    le64_to_cpu(out->nr_valid));
	return err;
}

static void op_thaw(void *ctx, u32 outcome)
{
	mhint_thaw();
	mhint_events_complete(outcome, channel.classes);
	pr_info_ratelimited("migration is over\n");
}

static const struct mhint_proto_ops proto_ops = {
	.info	= op_info,
	.disks	= op_disks,
	.freeze	= op_freeze,
	.thaw	= op_thaw,
	.send	= op_send,
};

/* ---- sockets -------------------------------------------------------------- */

static int open_listener(void)
{
	struct sockaddr_vm addr = {
		.svm_family	= AF_VSOCK,
		.svm_cid	= VMADDR_CID_ANY,
		.svm_port	= MEM_HINT_VSOCK_PORT,
	};
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_VSOCK, SOCK_STREAM, 0, &sock);
	if (err)
		return err;
	err = kernel_bind(sock, (struct sockaddr *)&addr, sizeof(addr));
	if (!err)
		err = kernel_listen(sock, MHINT_LISTEN_BACKLOG);
	if (err) {
		sock_release(sock);
		return err;
	}
	sock_watch(&channel.listener, sock);
	return 0;
}

/* Who is it?  0 or the reason in @why and a negative errno. */
static int check_peer(struct socket *sock, const char **why)
{
	struct sockaddr_vm peer = {};
	int len;

	if (channel.conn.sock) {
		*why = "another connection is served";
		return -EBUSY;
	}
	len = kernel_getpeername(sock, (struct sockaddr *)&peer);
	*why = "only the host may connect";
	if (len < 0 || peer.svm_family != AF_VSOCK)
		return -EACCES;
	if (peer.svm_cid != VMADDR_CID_HOST &&
	    !(channel.allow_local && peer.svm_cid == VMADDR_CID_LOCAL))
		return -EACCES;
	*why = "only a privileged port of the host may connect";
	if (channel.privileged_peer && peer.svm_port >= MHINT_PRIVILEGED_PORTS)
		return -EACCES;
	return 0;
}

static void hang_up(int err, const char *text)
{
	if (!channel.conn.sock)
		return;
	mhint_proto_close(channel.proto, err, text);
	sock_drop(&channel.conn);
}

static bool receive_some(void)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct kvec vec;
	u8 *to;
	int n;

	if (!channel.conn.sock)
		return false;
	vec.iov_len = mhint_proto_want(channel.proto, &to);
	vec.iov_base = to;
	n = kernel_recvmsg(channel.conn.sock, &msg, &vec, 1, vec.iov_len,
			   MSG_DONTWAIT);
	if (n == -EAGAIN || n == -EINTR)
		return false;
	if (n <= 0)		/* hung up, reset, or moved to another host */
		hang_up(n, NULL);
	else if (mhint_proto_received(channel.proto, n, now_ms()))
		hang_up(-EPROTO, NULL);
	return true;
}

static bool accept_one(void)
{
	struct mem_hint_error error;
	struct mem_hint_msg head;
	struct socket *sock;
	const char *why;
	u32 len;
	int err;

	if (!channel.listener.sock ||
	    kernel_accept(channel.listener.sock, &sock, O_NONBLOCK))
		return false;
	/* A host that has hung up and comes again at once is no second one. */
	while (receive_some() && !kthread_should_stop())
		cond_resched();
	err = check_peer(sock, &why);
	if (err) {
		pr_info_ratelimited("connection refused: %s\n", why);
		len = mhint_proto_error(&head, &error, err, 0, 0, why);
		/* as much of it as there is room for */
		send_on(sock, &head, &error, len, MSG_DONTWAIT);
		kernel_sock_shutdown(sock, SHUT_RDWR);
		sock_release(sock);
		return true;
	}
	sock_set_sndtimeo(sock->sk, DIV_ROUND_UP(MHINT_SEND_TIMEOUT_MS, 1000));
	mhint_proto_open(channel.proto, &proto_ops, NULL, channel.max_freeze_ms,
			 now_ms());
	sock_watch(&channel.conn, sock);
	return true;
}

/* Jiffies until there is something to do without being poked. */
static long next_timeout(void)
{
	u64 deadline = MHINT_PROTO_NEVER, now = now_ms();

	if (!channel.listener.sock)
		return msecs_to_jiffies(MHINT_LISTEN_RETRY_MS);
	if (channel.conn.sock)
		deadline = mhint_proto_deadline(channel.proto);
	if (deadline == MHINT_PROTO_NEVER)
		return MAX_SCHEDULE_TIMEOUT;
	return deadline > now ? msecs_to_jiffies(deadline - now) + 1 : 0;
}

static int serve(void *unused)
{
	int err, said = 0;
	bool busy;

	while (!kthread_should_stop()) {
		if (!channel.listener.sock) {
			err = open_listener();
			if (err && err != said)
				pr_warn("no channel: cannot listen on vsock port %u: %d; trying again\n",
					MEM_HINT_VSOCK_PORT, err);
			said = err;
		}
		WRITE_ONCE(channel.poked, false);
		busy = receive_some();
		busy |= accept_one();
		if (channel.conn.sock &&
		    mhint_proto_tick(channel.proto, now_ms())) {
			hang_up(-ETIMEDOUT, NULL);
			busy = true;
		}
		if (busy) {
			cond_resched();
			continue;
		}
		wait_event_idle_timeout(channel.wake,
					READ_ONCE(channel.poked) ||
					kthread_should_stop(), next_timeout());
	}
	hang_up(-ESHUTDOWN, "the mem_hints module is being unloaded");
	sock_drop(&channel.listener);
	return 0;
}

/**
 * mhint_channel_start - listen for the host
 * @allow_local: take connections from this machine too; for tests
 * @privileged_peer: refuse peers whose port is not below 1024
 * @max_freeze_ms: how long a table stays frozen at most
 *
 * Without vsock the module works all the same, and looks for it again from
 * time to time.
 *
 * Return: 0 or -ENOMEM; -EINTR when loading was interrupted.
 */
int mhint_channel_start(bool allow_local, bool privileged_peer, u32 max_freeze_ms)
{
	channel.allow_local = allow_local;
	channel.privileged_peer = privileged_peer;
	channel.max_freeze_ms = max_freeze_ms;
	init_waitqueue_head(&channel.wake);
	channel.proto = kvzalloc(sizeof(*channel.proto), GFP_KERNEL);
	if (!channel.proto)
		return -ENOMEM;
	channel.task = kthread_run(serve, NULL, "mem_hints");
	if (IS_ERR(channel.task)) {
		kvfree(channel.proto);
		return PTR_ERR(channel.task);
	}
	return 0;
}

/* Ends a connection with ESHUTDOWN. */
void mhint_channel_stop(void)
{
	kthread_stop(channel.task);
	kvfree(channel.proto);
}
