"""The server, in the foreground or in a thread."""

import gc
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from service import logs
from service.app import create_app
from service.cli.connections import ConnectionTimeouts, new_protocol_class
from service.cli.listener import BACKLOG, Listener, connection_limit, listen, open_standard_streams
from service.cli.shutdown import ShutdownWatchdog
from service.detached_stream import detach_stderr
from service.errors import CamreelError, FileRefused, InvalidValue
from service.files import read_file
from service.flows import access
from service.settings import Settings
from service.store import schema
from service.store.store import open_store

MAX_TOKEN_BYTES = 4096
GRACE_SECONDS = 2

SWITCH_SECONDS = 0.001
"""How long a thread that computes keeps the interpreter from one that answers; Python's 5 ms are
paid several times by a request that passes from thread to thread.
"""


class Server(uvicorn.Server):
    """Calls back when it is ready and when its shutdown begins."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_shutdown: Callable[[], None],
        watchdog: ShutdownWatchdog,
    ) -> None:
        super().__init__(config)
        self.watchdog = watchdog
        self._on_ready = on_ready
        self._on_shutdown = on_shutdown

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `on_ready`."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `on_shutdown`, then shut down: uvicorn waits for open responses."""
        self._on_shutdown()
        await super().shutdown(sockets)
        # uvicorn raises the signal that it received again.
        self.watchdog.ignore_signals()


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    prepare_process()
    _prepare_database(settings)
    listener = open_listener(settings, settings.port)
    address = base_url(listener)

    def print_address() -> None:
        # Standard output may be closed.
        with suppress(OSError):
            print(f"Camreel is running at {address}  (API: {address}/docs)", flush=True)  # noqa: T201

    server = _new_server(settings, listener, print_address)
    server.watchdog.watch_signals()
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


@contextmanager
def serve_in_thread(settings: Settings, listener: Listener) -> Iterator[str]:
    """Serve in a thread within a block; yields the base URL once the server is ready."""
    _prepare_database(settings)
    is_ready = threading.Event()
    server = _new_server(settings, listener, is_ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not is_ready.wait(0.05):
        if not thread.is_alive():
            raise CamreelError("The service did not start.")
    try:
        yield base_url(listener)
    finally:
        server.watchdog.begin()
        server.should_exit = True
        thread.join()
        server.watchdog.cancel()


def prepare_process() -> None:
    """Configure this process as a server's.

    A slow reader of logs and standard streams never blocks it, and neither collections of garbage
    nor computing threads keep requests waiting.
    """
    open_standard_streams()
    logs.configure()
    detach_stderr()
    # The objects that imports have made live until the end: without them a full collection takes
    # microseconds instead of 0.3 s, in which no request is answered, and the exit 0.7 s less.
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def open_listener(settings: Settings, port: int) -> Listener:
    """A socket that listens on the settings' host. Raises CamreelError."""
    limit = connection_limit(settings.max_connections, settings.max_parallel_runs)
    return listen(settings.host, port, limit)


def base_url(listener: socket.socket) -> str:
    """The URL that a browser on this machine can open."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  all interfaces
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _prepare_database(settings: Settings) -> None:
    """Create the schema and bootstrap token; check access, before uvicorn would log a traceback.

    Raises SchemaMismatch, and InvalidValue for an address that is not loopback without a token.
    """
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        if settings.bootstrap_token_file is not None:
            access.bootstrap(store, _read_bootstrap_token(settings.bootstrap_token_file))
        access.require_token_beyond_loopback(store, settings.host)


def _read_bootstrap_token(file: Path) -> str:
    try:
        return read_file(file, MAX_TOKEN_BYTES).decode().strip()
    except (FileRefused, UnicodeDecodeError) as error:
        raise InvalidValue("bootstrap_token_file", "is missing or cannot be read") from error


def _new_server(settings: Settings, listener: Listener, on_ready: Callable[[], None]) -> Server:
    app = create_app(settings)

    def end_streams() -> None:
        # Missing if the application did not start.
        if services := getattr(app.state, "services", None):
            services.event_broker.close()

    def abort() -> None:
        if services := getattr(app.state, "services", None):
            services.executor.abort()
            services.uploads.close()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        # X-Forwarded-* headers count only if they come from these proxies.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=settings.idle_seconds,
        loop="uvloop",
        backlog=BACKLOG,
        http=new_protocol_class(ConnectionTimeouts.from_settings(settings), listener),
    )
    return Server(config, on_ready, end_streams, ShutdownWatchdog(abort))
