"""The listening socket, and how many connections the process has descriptors for."""

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
"""For everything but connections: database and journal in each thread, libraries, files, pipes."""
DESCRIPTORS_PER_WORKER = 4
ACCEPTED_AHEAD = 16  # beyond the bound: of those that end at the same time nobody knows yet
TOO_MANY = "as many connections are open as may be"
LOG_EVERY_SECONDS = 10.0

log = structlog.get_logger()


class Listener(socket.socket):
    """Listens, and closes at once what is far beyond `max_connections` or has no descriptor. Those
    just beyond it are the protocol's to close.

    asyncio's own answer to the latter is a traceback for each place in the backlog, and a second in
    which it accepts nobody.
    """

    max_connections = 0
    _connections = 0
    _refused = 0
    _logged_at = -LOG_EVERY_SECONDS
    _spare: int | None = None

    def accept(self) -> tuple[socket.socket, object]:
        """As a socket's; raises BlockingIOError where nobody waits."""
        while True:
            try:
                connection, address = super().accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                self._refuse_without_descriptor()
                continue
            if self._connections < self.max_connections + ACCEPTED_AHEAD:
                self._connections += 1
                return connection, address
            connection.close()
            self.log_refused(TOO_MANY)

    def connection_lost(self) -> None:
        """One that was accepted has ended."""
        self._connections -= 1

    def reserve(self) -> None:
        """Keep a descriptor for accepting, and closing, who else would wait for ever."""
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close it and the descriptor in reserve."""
        self._give_spare()
        super().close()

    def _refuse_without_descriptor(self) -> None:
        """Raises BlockingIOError where nobody waits, or nobody can be refused now."""
        self._give_spare()
        try:
            super().accept()[0].close()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # Another thread took it. The event loop asks again at once: not all too often.
                time.sleep(0.01)
            raise BlockingIOError from error
        finally:
            self.reserve()
        self.log_refused("no descriptor is left")

    def _give_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def log_refused(self, reason: str) -> None:
        """Count a connection that was closed at once, and say so every ten seconds at most."""
        self._refused += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_SECONDS:
            log.warning("connections refused", refused=self._refused, reason=reason)
            self._refused, self._logged_at = 0, now


def listen(host: str, port: int, max_connections: int) -> Listener:
    """A socket that listens. Raises InvalidValue if the port is taken or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InvalidValue("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    # asyncio sets it only on sockets that name their protocol; without it a body waits 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener = Listener(family, listening.type, fileno=listening.detach())
    listener.max_connections = max_connections
    listener.reserve()
    return listener


def connection_bound(max_connections: int, workers: int) -> int:
    """How many connections there may be: so many, or as the process has descriptors for.

    Raises the limit of open files to what the system allows. Raises CamreelError where not even a
    few are left.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some systems name a hard limit that they do not grant.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return max_connections
    reserved = RESERVED_DESCRIPTORS + DESCRIPTORS_PER_WORKER * workers
    if soft - reserved < MIN_CONNECTIONS:
        raise CamreelError(
            f"The limit of open files is {soft} (ulimit -n), and the service needs at least "
            f"{reserved + MIN_CONNECTIONS}."
        )
    if soft - reserved < max_connections:
        log.warning("fewer connections", connections=soft - reserved, open_files=soft)
    return min(max_connections, soft - reserved)


def open_standard_streams() -> None:
    """Have no file that is opened later, such as the database, be taken for a standard stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
