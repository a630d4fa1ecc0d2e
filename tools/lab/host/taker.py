#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Takes one migration stream, at a TCP port, into a file.

  taker.py HOW PORT FILE

HOW: "mute"  a program that saves the stream: says nothing until its end
     "deaf"  the same, and closes the direction that nobody uses at once
     "late"  as a QEMU does that is far behind: reads and says nothing for a
             while, then answers two pings, and at the end says that all is well

The file appears when the port can be connected to.
"""

import socket
import struct
import sys
import time

SHUT, PONG = 1, 2
# Longer than a source waits for those who say nothing.
BEHIND_S = 8


def message(kind, value):
    return struct.pack(">HHI", kind, 4, value)


def main():
    how, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if how == "late":
        # What is not read stays with the source's host.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    listener.bind(("", port))
    listener.listen()
    with open(path, "wb") as out:
        sock = listener.accept()[0]
        if how == "deaf":
            sock.shutdown(socket.SHUT_WR)
        if how == "late":
            time.sleep(BEHIND_S)
            sock.sendall(message(PONG, 1) + message(PONG, 0x4d494744))
            sock.settimeout(3)
        while True:
            try:
                data = sock.recv(1 << 20)
            except TimeoutError:
                sock.sendall(message(SHUT, 0))
                sock.settimeout(60)
                continue
            if not data:
                break
            out.write(data)


if __name__ == "__main__":
    main()
