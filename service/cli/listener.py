"""The listening socket, and the limit on connections from the available file descriptors."""

import errno
import os
import resource
import socket
import time
from contextlib import suppress

import structlog

from service.errors import CamreelError, InvalidValue

BACKLOG = 2048
MIN_CONNECTIONS = 8
RESERVED_DESCRIPTORS = 64
"""For everything except connections: database and journal per thread, libraries, files, pipes."""
DESCRIPTORS_PER_WORKER = 4
ACCEPT_MARGIN = 16  # above the limit: closed connections are counted with a delay
TOO_MANY_CONNECTIONS = "too many connections"
LOG_EVERY_SECONDS = 10.0

log = structlog.get_logger()


class Listener(socket.socket):
    """Closes connections far above `max_connections`, and those without a file descriptor.

    Connections just above `max_connections` are closed by the protocol. Without a descriptor,
    asyncio would log a traceback per connection in the backlog and stop accepting for a second.
    """

    max_connections = 0
    _connections = 0
    _refused_count = 0
    _logged_at = -LOG_EVERY_SECONDS
    _spare: int | None = None

    def accept(self) -> tuple[socket.socket, object]:
        """A connection and its address. Raises BlockingIOError if none is pending."""
        while True:
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                self._refuse_without_descriptor()
                continue
            if self._connections < self.max_connections + ACCEPT_MARGIN:
                self._connections += 1
                return connection, address
            connection.close()
            self.log_refused(TOO_MANY_CONNECTIONS)

    def connection_lost(self) -> None:
        """Count an accepted connection as closed."""
        self._connections -= 1

    def reserve(self) -> None:
        """Reserve a descriptor for accepting and closing connections when none is left."""
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the socket and the reserved descriptor."""
        self._release_spare()
        super().close()

    def _refuse_without_descriptor(self) -> None:
        """Accept and close a connection with the reserved descriptor. Raises BlockingIOError."""
        self._release_spare()
        try:
            super().accept()[0].close()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # Another thread took the descriptor. The event loop retries immediately.
                time.sleep(0.01)
            raise BlockingIOError from error
        finally:
            self.reserve()
        self.log_refused("no descriptor is left")

    def _release_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def log_refused(self, reason: str) -> None:
        """Count a refused connection; log the count at most every ten seconds."""
        self._refused_count += 1
        time_now = time.monotonic()
        if time_now - self._logged_at >= LOG_EVERY_SECONDS:
            log.warning("connections refused", refused=self._refused_count, reason=reason)
            self._refused_count, self._logged_at = 0, time_now


def listen(host: str, port: int, max_connections: int) -> Listener:
    """A listening socket. Raises InvalidValue if the port is taken or the address is not local."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InvalidValue("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    # asyncio sets it only on sockets with a protocol; without it, bodies are delayed by 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener = Listener(family, sock.type, fileno=sock.detach())
    listener.max_connections = max_connections
    listener.reserve()
    return listener


def connection_limit(max_connections: int, workers: int) -> int:
    """`max_connections`, or fewer if the process does not have as many file descriptors.

    Raises the process's limit on open files to its hard limit. Raises CamreelError if even that
    leaves fewer than MIN_CONNECTIONS.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some systems report a hard limit that they do not grant.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    reserved = RESERVED_DESCRIPTORS + DESCRIPTORS_PER_WORKER * workers
    if soft - reserved < MIN_CONNECTIONS:
        raise CamreelError(
            f"The limit on open files is {soft} (ulimit -n); the service needs at least "
            f"{reserved + MIN_CONNECTIONS}."
        )
    if soft - reserved < max_connections:
        log.warning("fewer connections", connections=soft - reserved, open_files=soft)
    return min(max_connections, soft - reserved)


def open_standard_streams() -> None:
    """Open closed standard streams, so that no other file gets their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
