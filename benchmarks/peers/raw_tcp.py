"""What no server can go below: a loop on a socket that takes a tensor and gives its last 4 bytes: `raw_tcp.py PORT`."""

from __future__ import annotations

import socket
import struct
import sys

LENGTH = struct.Struct("<Q")


def main(port: int) -> None:
    """Serve one connection after the other until the process is ended."""
    buffer = memoryview(bytearray(64 * 2**20))
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while head := connection.recv(LENGTH.size, socket.MSG_WAITALL):
                    (length,) = LENGTH.unpack(head)
                    at = 0
                    while at < length:
                        at += connection.recv_into(buffer[at:length])
                    connection.sendall(buffer[length - 4 : length])


if __name__ == "__main__":
    main(int(sys.argv[1]))
