#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Talk to nested QEMUs over QMP (TCP), and run a migration between two.

  qmp.py ADDR cmd JSON        one command, prints what it returns
  qmp.py ADDR hmp COMMAND     one human monitor command
  qmp.py ADDR wait SECONDS    until the monitor answers
  qmp.py migrate SRC DST URI [--cap NAME=on|off] [--src-cap ...] [--param NAME=VALUE]
         [--timeout S] [--cancel-after S] [--answered FILE] [--nearly FILE] [--trial]
        Sets capabilities on both ends (--src-cap: on the source only), starts
        the destination's listener at URI and migrates there.  Prints one JSON
        object; times are those of this machine's clock, from the accepted
        command to the destination's completion.
        --answered: makes FILE when the source has hashed all that x-migdb will not send,
        and the destination has said of each page that it is built, or must be sent.
        --nearly: makes FILE when less than 16 MiB are left to send.
        --trial: the VM stays where it is.  A migration that is done before it
        is cancelled stops short of the switchover and is cancelled there.

ADDR is host:port.  Exit code 0: done; 1: the migration or command failed, with
the reason in the output; 2: usage.
"""

import argparse
import json
import select
import socket
import sys
import time


class QMPError(Exception):
    """A command was refused; the text is QEMU's."""


class QMP:
    """One monitor connection.  Events that come meanwhile are kept in order."""

    def __init__(self, addr, timeout=30):
        host, port = addr.rsplit(":", 1)
        self.addr = addr
        self.sock = socket.create_connection((host, int(port)), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.events = []
        # A late greeting would be taken for the answer.
        if self._next(timeout) is None:
            raise TimeoutError(f"{addr}: the monitor says nothing")
        self.cmd("qmp_capabilities")

    def _next(self, timeout):
        """The next message, or None after timeout seconds."""
        end = time.monotonic() + timeout
        while b"\n" not in self.buf:
            left = max(0, end - time.monotonic())
            if not select.select([self.sock], [], [], left)[0]:
                return None
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError(f"{self.addr}: QEMU closed the monitor")
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return json.loads(line)

    def cmd(self, name, timeout=60, **arguments):
        msg = {"execute": name}
        if arguments:
            msg["arguments"] = arguments
        return self.raw(msg, timeout)

    def raw(self, msg, timeout=60):
        self.sock.sendall(json.dumps(msg).encode() + b"\n")
        while True:
            reply = self._next(timeout)
            if reply is None:
                raise TimeoutError(f"{self.addr}: no answer to {msg['execute']}")
            if "event" in reply:
                self.events.append((time.monotonic(), reply))
            elif "error" in reply:
                raise QMPError(f"{msg['execute']}: {reply['error']['desc']}")
            else:
                return reply["return"]

    def poll(self, timeout):
        """Collect events for up to timeout seconds; True when one came."""
        msg = self._next(timeout)
        if msg is not None and "event" in msg:
            self.events.append((time.monotonic(), msg))
        return msg is not None


def migration_end(qmp):
    """(time, status) of the last MIGRATION event that is an end."""
    for when, event in qmp.events:
        if event["event"] == "MIGRATION":
            status = event["data"]["status"]
            if status in ("completed", "failed", "cancelled"):
                return when, status
    return None


def at_switchover(qmp):
    return any(e["event"] == "MIGRATION" and e["data"]["status"] == "pre-switchover" for _, e in qmp.events)


def set_caps(qmp, caps):
    if caps:
        qmp.cmd("migrate-set-capabilities",
                capabilities=[{"capability": c, "state": s} for c, s in caps])


def pair(text, convert):
    name, _, value = text.partition("=")
    return name, convert(value)


def value_of(text):
    try:
        return int(text)
    except ValueError:
        return {"on": True, "off": False}.get(text, text)


def nearly_sent(info):
    return info.get("status") == "active" and info["ram"]["remaining"] < 16 << 20


def all_answered(migdb):
    return (migdb and migdb["state"] == "active" and migdb["built-pages"] > 0 and migdb["unconfirmed-pages"] == 0 and
            migdb["candidate-pages"] == migdb["recorded-pages"] + migdb["dropped-pages"])


def settled(qmp):
    """What the source says at last: it tells that the migration has ended, then ends the session."""
    for _ in range(100):
        info = qmp.cmd("query-migrate")
        if info.get("x-migdb", {}).get("state") != "active":
            break
        time.sleep(0.1)
    return info


def migrate(opt):
    out = {"uri": opt.uri}
    src, dst = QMP(opt.src), QMP(opt.dst)
    caps = [pair(c, lambda v: v == "on") for c in opt.cap]
    src_caps = [pair(c, lambda v: v == "on") for c in opt.src_cap]
    if opt.trial:
        src_caps.append(("pause-before-switchover", True))
    set_caps(src, [("events", True)] + caps + src_caps)
    set_caps(dst, [("events", True)] + caps)
    params = dict(pair(p, value_of) for p in opt.param)
    if params:
        src.cmd("migrate-set-parameters", **params)
    dst.cmd("migrate-incoming", uri=opt.uri)
    src.cmd("migrate", uri=opt.uri)
    start = time.monotonic()
    cancelled = dst_gone = False
    # Seconds and bytes sent, of which the rate over time can be seen.
    samples = []
    tick = 0.1 if opt.trial else 0.5
    while True:
        now = time.monotonic() - start
        if now > opt.timeout:
            raise TimeoutError(f"the migration is not finished after {opt.timeout} s")
        ends = (src,) if dst_gone else (src, dst)
        ready = select.select([q.sock for q in ends], [], [], tick)[0]
        for q in ends:
            if q.sock in ready or b"\n" in q.buf:
                try:
                    q.poll(0)
                except ConnectionError:
                    # A failed incoming migration ends that QEMU.
                    if q is src:
                        raise
                    dst_gone = True
        if opt.cancel_after and not cancelled and (now >= opt.cancel_after or at_switchover(src)):
            cancelled = True
            out["before_cancel"] = src.cmd("query-migrate")
            out["before_cancel_s"] = time.monotonic() - start
            src.cmd("migrate_cancel")
        if not cancelled and (not samples or now - samples[-1][0] >= tick):
            info = src.cmd("query-migrate")
            samples.append([round(now, 3), info.get("ram", {}).get("transferred", 0)])
            if opt.answered and all_answered(info.get("x-migdb")):
                with open(opt.answered, "x", encoding="utf-8"):
                    opt.answered = None
            if opt.nearly and nearly_sent(info):
                with open(opt.nearly, "x", encoding="utf-8"):
                    opt.nearly = None
        s_end, d_end = migration_end(src), migration_end(dst)
        if s_end and s_end[1] != "completed":
            out["status"] = s_end[1]
            break
        if s_end and d_end:
            out["status"] = d_end[1]
            out["total_ms"] = round((d_end[0] - start) * 1000, 1)
            out["source_done_ms"] = round((s_end[0] - start) * 1000, 1)
            break
        # After a cancellation the source tells how it ended.
        if dst_gone and not cancelled:
            time.sleep(0.5)
            out["status"] = "failed"
            break
    out["events"] = sorted([round(when - start, 3), side, e["event"], e.get("data", {}).get("status", "")]
                           for side, q in (("source", src), ("destination", dst))
                           for when, e in q.events if e["event"] in ("MIGRATION", "STOP", "RESUME"))
    out["source"] = settled(src)
    if opt.trial:
        set_caps(src, [("pause-before-switchover", False)])
    try:
        out["destination"] = dst.cmd("query-migrate")
        out["destination_run_state"] = dst.cmd("query-status")["status"]
    except (OSError, QMPError):
        pass
    out["source_run_state"] = src.cmd("query-status")["status"]
    out["samples"] = samples
    print(json.dumps(out))
    return 0 if out["status"] == "completed" or cancelled else 1


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "migrate":
        p = argparse.ArgumentParser()
        p.add_argument("verb")
        p.add_argument("src")
        p.add_argument("dst")
        p.add_argument("uri")
        p.add_argument("--cap", action="append", default=[])
        p.add_argument("--src-cap", action="append", default=[])
        p.add_argument("--param", action="append", default=[])
        p.add_argument("--timeout", type=float, default=300)
        p.add_argument("--cancel-after", type=float, default=0)
        p.add_argument("--answered")
        p.add_argument("--nearly")
        p.add_argument("--trial", action="store_true")
        return migrate(p.parse_args())
    if len(sys.argv) != 4 or sys.argv[2] not in ("cmd", "hmp", "wait"):
        print(__doc__, file=sys.stderr)
        return 2
    addr, verb, arg = sys.argv[1:]
    if verb == "wait":
        end = time.monotonic() + float(arg)
        while True:
            try:
                QMP(addr, timeout=5)
                return 0
            except (OSError, ConnectionError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
    qmp = QMP(addr)
    if verb == "hmp":
        sys.stdout.write(qmp.cmd("human-monitor-command", **{"command-line": arg}).replace("\r", ""))
    else:
        print(json.dumps(qmp.raw(json.loads(arg))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (QMPError, OSError, TimeoutError) as e:
        print(json.dumps({"status": "failed", "error": str(e)}))
        print(f"qmp: {e}", file=sys.stderr)
        sys.exit(1)
