"""The server, in the foreground or in a thread."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from service import logs
from service.app import create_app
from service.cli.connections import Patience, protocol_with
from service.cli.listener import BACKLOG, Listener, connection_bound, listen, open_standard_streams
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


class Server(uvicorn.Server):
    """Tells when it answers, and when it is about to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        answers: Callable[[], None],
        ends: Callable[[], None],
        watchdog: ShutdownWatchdog,
    ) -> None:
        super().__init__(config)
        self.watchdog = watchdog
        self._answers = answers
        self._ends = ends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then the call."""
        await super().startup(sockets)
        if self.started:
            self._answers()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after the call: it waits for open answers, and a stream has no end."""
        self._ends()
        await super().shutdown(sockets)
        # uvicorn raises the signal that ended it once more.
        self.watchdog.ignore_signals()


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    prepare_process()
    _look_before(settings)
    listening = listen_for(settings, settings.port)
    address = address_of(listening)

    def print_address() -> None:
        # Nobody may read it.
        with suppress(OSError):
            print(f"Camreel answers at {address}  (API: {address}/docs)", flush=True)  # noqa: T201

    server = _server(settings, listening, print_address)
    server.watchdog.watch_signals()
    server.run(sockets=[listening])
    if not server.started:
        sys.exit(1)


@contextmanager
def serving(settings: Settings, listening: Listener) -> Iterator[str]:
    """A server in a thread for the time of a block; gives its address once it answers."""
    _look_before(settings)
    answers = threading.Event()
    server = _server(settings, listening, answers.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not answers.wait(0.05):
        if not thread.is_alive():
            raise CamreelError("The service did not start.")
    try:
        yield address_of(listening)
    finally:
        server.watchdog.begin()
        server.should_exit = True
        thread.join()
        server.watchdog.cancel()


def prepare_process() -> None:
    """Have neither logs nor files wait for, or be taken for, standard streams."""
    open_standard_streams()
    logs.configure()
    detach_stderr()


def listen_for(settings: Settings, port: int) -> Listener:
    """A socket that listens where the settings say. Raises CamreelError."""
    bound = connection_bound(settings.max_connections, settings.max_parallel_runs)
    return listen(settings.host, port, bound)


def address_of(listening: socket.socket) -> str:
    """The address that a browser takes."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  every address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _look_before(settings: Settings) -> None:
    """Before the server, so that what keeps it from starting is one line, and no traceback.

    Raises SchemaMismatch, and InvalidValue for an address beyond this machine without a token.
    """
    with open_store(settings.database, settings.blobs) as store:
        schema.ensure(store)
        if settings.bootstrap_token_file is not None:
            access.bootstrap(store, _secret_of(settings.bootstrap_token_file))
        access.require_token_beyond_loopback(store, settings.host)


def _secret_of(file: Path) -> str:
    try:
        return read_file(file, MAX_TOKEN_BYTES).decode().strip()
    except (FileRefused, UnicodeDecodeError) as error:
        raise InvalidValue("bootstrap_token_file", "it is not there, or not to be read") from error


def _server(settings: Settings, listening: Listener, answers: Callable[[], None]) -> Server:
    app = create_app(settings)

    def end_streams() -> None:
        # Not there if the application did not start.
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
        # Their word on who asks and by which scheme; without a trusted one, nobody's.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=settings.idle_seconds,
        loop="asyncio",  # uvloop accepts by itself, past the listener
        backlog=BACKLOG,
        http=protocol_with(Patience.of(settings), listening),
    )
    return Server(config, answers, end_streams, ShutdownWatchdog(abort))
