"""The listening socket, and the limit on connections from the available file descriptors."""

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
LOG_EVERY_SECONDS = 10.0

log = structlog.get_logger()


class Listener(socket.socket):
    """A listening socket with a limit on its connections, which the protocol enforces.

    Without a file descriptor for another connection, libuv closes it.
    """

    max_connections = 0
    _refused_count = 0
    _logged_at = -LOG_EVERY_SECONDS

    def log_refused(self) -> None:
        """Count a connection beyond the limit; log the count at most every ten seconds."""
        self._refused_count += 1
        time_now = time.monotonic()
        if time_now - self._logged_at >= LOG_EVERY_SECONDS:
            log.warning("connections refused", refused=self._refused_count)
            self._refused_count, self._logged_at = 0, time_now


def listen(host: str, port: int, max_connections: int) -> Listener:
    """A listening socket. Raises InvalidValue if the port is taken or the address is not local."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InvalidValue("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    listener = Listener(family, sock.type, fileno=sock.detach())
    listener.max_connections = max_connections
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
