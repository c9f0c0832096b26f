"""A client that costs little: httpx takes longer for a request than the servers measured here."""

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit


class Connection:
    """One connection to a server, kept alive; one request at a time, without a body."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def get(self, path: str, headers: Mapping[str, str] | None = None, status: int = 200) -> bytes:
        """The body of the answer. Raises SystemExit for another status."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{fields}\r\n".encode())
        head = self._read_head()
        body = self._read(_content_length(head))
        if int(head.split(b" ", 2)[1]) != status:
            raise SystemExit(f"{path}: {head.decode()}\n{body[:500]!r}")
        return body

    def close(self) -> None:
        self._socket.close()

    def _read_head(self) -> bytes:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._receive()
        head, self._received = self._received[:end], self._received[end + 4 :]
        return head

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            self._receive()
        body, self._received = self._received[:size], self._received[size:]
        return body

    def _receive(self) -> None:
        data = self._socket.recv(2**18)
        if not data:
            raise SystemExit("The server closed the connection.")
        self._received += data


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
