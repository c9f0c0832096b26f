"""The server, in the foreground or in a thread."""

import gc
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from service.api.sharing import Supervised
from service.app import create_app
from service.cli.connections import ConnectionTimeouts, new_protocol_class
from service.cli.database import prepare_database
from service.cli.listener import (
    BACKLOG,
    Listener,
    base_url,
    open_listener,
    prepare_streams,
    print_address,
)
from service.cli.shutdown import ShutdownWatchdog
from service.errors import CamreelError
from service.settings import Settings

GRACE_SECONDS = 2
ALIVE_TICKS = 50

SWITCH_SECONDS = 0.001
"""How long a thread that computes keeps the interpreter from one that answers; Python's 5 ms are
paid several times by a request that passes from thread to thread.
"""


class Server(uvicorn.Server):
    """Calls back when it is ready, while it runs, and when its shutdown begins."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_alive: Callable[[], None],
        on_shutdown: Callable[[], None],
        watchdog: ShutdownWatchdog,
    ) -> None:
        super().__init__(config)
        self.watchdog = watchdog
        self._on_alive = on_alive
        self._on_ready = on_ready
        self._on_shutdown = on_shutdown

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call `on_ready`."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Call `on_alive` about every ALIVE_TICKS / 10 seconds: a tick lasts 0.1 s."""
        if counter % ALIVE_TICKS == 0:
            self._on_alive()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `on_shutdown`, then shut down: uvicorn waits for open responses."""
        self._on_shutdown()
        await super().shutdown(sockets)
        # uvicorn raises the signal that it received again.
        self.watchdog.ignore_signals()


def serve(settings: Settings) -> None:
    """Serve in this process until SIGINT or SIGTERM."""
    prepare_process()
    prepare_database(settings)
    listener = open_listener(settings, settings.port)
    _run(_new_server(settings, listener, lambda: print_address(listener)), listener)


def serve_supervised(settings: Settings, listener: Listener, supervised: Supervised) -> None:
    """Serve in one of several processes, whose supervisor has prepared the database."""
    prepare_process()
    _run(_new_server(settings, listener, supervised.report_ready, supervised), listener)


def _run(server: Server, listener: Listener) -> None:
    server.watchdog.watch_signals()
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


@contextmanager
def serve_in_thread(settings: Settings, listener: Listener) -> Iterator[str]:
    """Serve in a thread within a block; yields the base URL once the server is ready."""
    prepare_database(settings)
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
    prepare_streams()
    # The objects that imports have made live until the end: without them a full collection takes
    # microseconds instead of 0.3 s, in which no request is answered, and the exit 0.7 s less.
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


def _new_server(
    settings: Settings,
    listener: Listener,
    on_ready: Callable[[], None],
    supervised: Supervised | None = None,
) -> Server:
    app = create_app(settings, supervised)

    def report_alive() -> None:
        if supervised is not None:
            supervised.report_alive()

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
    return Server(config, on_ready, report_alive, end_streams, ShutdownWatchdog(abort))
