"""The listening socket, its address, and the limit on connections from the file descriptors."""

import math
import os
import resource
import socket
import time
from contextlib import suppress

import structlog

from service import logs
from service.detached_stream import detach_stderr
from service.errors import CamreelError, InvalidValue
from service.settings import Settings

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

    @classmethod
    def adopt(cls, sock: socket.socket, max_connections: int) -> "Listener":
        """The listener of a socket that listens already, and that is closed for its owner."""
        listener = cls(sock.family, sock.type, fileno=sock.detach())
        listener.max_connections = max_connections
        return listener

    def log_refused(self) -> None:
        """Count a connection beyond the limit; log the count at most every ten seconds."""
        self._refused_count += 1
        time_now = time.monotonic()
        if time_now - self._logged_at >= LOG_EVERY_SECONDS:
            log.warning("connections refused", refused=self._refused_count)
            self._refused_count, self._logged_at = 0, time_now


def open_listener(settings: Settings, port: int) -> Listener:
    """A socket that listens on the settings' host. Raises CamreelError.

    Its limit is that of one process: the connections are divided among them.
    """
    limit = math.ceil(settings.max_connections / settings.workers)
    return listen(settings.host, port, connection_limit(limit, settings.max_parallel_runs))


def base_url(listener: socket.socket) -> str:
    """The URL that a browser on this machine can open."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  all interfaces
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def print_address(listener: socket.socket) -> None:
    """Print where the service runs, once it does."""
    address = base_url(listener)
    # Standard output may be closed.
    with suppress(OSError):
        print(f"Camreel is running at {address}  (API: {address}/docs)", flush=True)  # noqa: T201


def listen(host: str, port: int, max_connections: int) -> Listener:
    """A listening socket. Raises InvalidValue if the port is taken or the address is not local."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise InvalidValue("port", f"cannot listen on {host}:{port}: {error.strerror}") from error
    return Listener.adopt(sock, max_connections)


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


def prepare_streams() -> None:
    """Open the standard streams, and log so that a slow reader never blocks the process."""
    open_standard_streams()
    logs.configure()
    detach_stderr()


def open_standard_streams() -> None:
    """Open closed standard streams, so that no other file gets their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
