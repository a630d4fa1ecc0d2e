#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A client of memcached that knows which values are right.

usage: memcached.py PORT fill ITEMS BYTES      stores all of them
       memcached.py PORT get ITEMS BYTES GETS SEED  prints {gets, hits, wrong}

Keys are asked for as often as Zipf's law says; which of them is always the same,
the sequence is SEED's.
"""

import bisect
import itertools
import json
import random
import socket
import sys


def value(i, size):
    return random.Random(i).randbytes(size)


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream = self.sock.makefile("rwb")

    def command(self, line, data=None):
        self.stream.write(line.encode() + b"\r\n" + (data + b"\r\n" if data is not None else b""))
        self.stream.flush()
        return self.stream.readline().rstrip()

    def get(self, key):
        head = self.command(f"get {key}").split()
        if head == [b"END"]:
            return None
        data = self.stream.read(int(head[3]) + 2)[:-2]
        self.stream.readline()
        return data


def fill(client, items, size):
    if client.command("flush_all") != b"OK":
        sys.exit("memcached.py: flush_all failed")
    for i in range(items):
        client.stream.write(f"set item:{i:08d} 0 0 {size} noreply\r\n".encode() + value(i, size) + b"\r\n")
    said = client.command("mn")  # all before it is done then; errors are said all the same
    if said != b"MN":
        sys.exit(f"memcached.py: {said}")


def get(client, items, size, gets, seed):
    sums = list(itertools.accumulate(1 / (i + 1) for i in range(items)))
    order = list(range(items))
    random.Random(42).shuffle(order)  # what is hot was not stored first
    rng = random.Random(seed)
    said = {"gets": gets, "hits": 0, "wrong": 0}
    for _ in range(gets):
        i = order[bisect.bisect_left(sums, rng.random() * sums[-1])]
        data = client.get(f"item:{i:08d}")
        if data is not None:
            said["hits"] += 1
            said["wrong"] += data != value(i, size)
    print(json.dumps(said))


def main():
    if len(sys.argv) not in (5, 7):
        sys.exit(__doc__)
    client = Client(int(sys.argv[1]))
    numbers = [int(n) for n in sys.argv[3:]]
    {"fill": fill, "get": get}[sys.argv[2]](client, *numbers)


if __name__ == "__main__":
    main()
