"""Several server processes on one socket: started, watched and replaced by this one.

The supervisor answers no requests and imports no torch. It forks its processes from a fork server
that has imported all that they need: their memory for it is shared, and another one starts at once.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import structlog

from service.api.sharing import ProcessReports, SharedState, Supervised
from service.cli.database import prepare_database
from service.cli.listener import Listener, open_listener, prepare_streams, print_address
from service.cli.shutdown import ABORT_SECONDS, SHUTDOWN_SECONDS
from service.errors import CamreelError
from service.jobs.processes import process_context
from service.settings import Settings

SCAN_SECONDS = 0.1
STOP_SECONDS = SHUTDOWN_SECONDS + ABORT_SECONDS
"""A process that has not ended by itself this long after SIGTERM is killed."""

UNRESPONSIVE_SECONDS = 60.0
"""A process is killed whose event loop has reported nothing for this long: it is stopped or hangs.
"""

MAX_RESTART_DELAY_SECONDS = 10.0
DONE = object()
STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})

SERVER_IMPORTS = ["service.cli.server"]
PARENT_SCAN_SECONDS = 1.0

_context = process_context()

log = structlog.get_logger()


def supervise(settings: Settings) -> None:
    """Serve in `settings.workers` processes until SIGINT or SIGTERM.

    Raises CamreelError if they do not start.
    """
    prepare_streams()
    prepare_database(settings)
    Supervisor(settings, open_listener(settings, settings.port)).run()


@dataclass(eq=False)
class ServerProcess:
    """A server process as its supervisor knows it."""

    process: BaseProcess
    reports: ProcessReports = field(default_factory=ProcessReports)
    kill_at: float | None = None  # time.monotonic; set once it has to end
    _last_reports: int = -1
    _reported_at: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, and its exit code is known."""
        return not self.process.is_alive()

    @property
    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.reports.is_ready and self.kill_at is None and not self.has_ended

    def stop(self, now_seconds: float) -> None:
        """End it within STOP_SECONDS. A second call makes it end at once, as a second signal."""
        self.process.terminate()
        if self.kill_at is None:
            self.kill_at = now_seconds + STOP_SECONDS

    def is_overdue(self, now_seconds: float) -> bool:
        """Whether it has not ended in time, or its event loop does not run."""
        if self.kill_at is not None:
            return now_seconds > self.kill_at
        if not self.reports.is_ready or self.reports.reports != self._last_reports:
            self._last_reports, self._reported_at = self.reports.reports, now_seconds
        return now_seconds - self._reported_at > UNRESPONSIVE_SECONDS

    def forget_reports(self) -> None:
        """Restart the time without reports: the supervisor itself was stopped."""
        self._last_reports = -1


class Supervisor:
    """Keeps `settings.workers` server processes running."""

    def __init__(self, settings: Settings, listener: Listener) -> None:
        self._settings = settings
        self._listener = listener
        self._state = SharedState()
        self._processes: list[ServerProcess] = []
        self._failed_starts = 0  # in a row
        self._start_at = 0.0
        self._replacement: Generator[None] | None = None  # in progress after SIGHUP
        self._receiver, self._sender = socket.socketpair()
        self._scanned_at = time.monotonic()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, then end by that signal."""
        _context.set_forkserver_preload(SERVER_IMPORTS)
        try:
            # Before signals are handled: it waits for the imports, and ends with this process.
            for _ in range(self._settings.workers):
                self._launch()
            self._watch_signals()
            number = self._start() or self._watch()
            self._stop()
        finally:
            for server in self._processes:
                server.process.kill()
        # The log is written, and the fork server's folder removed.
        atexit._run_exitfuncs()  # noqa: SLF001  a signal runs none
        # As a server without a supervisor ends.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _start(self) -> int | None:
        """Wait until all processes serve; a signal that came before. Raises CamreelError."""
        while not all(server.reports.is_ready for server in self._processes):
            if number := self._wait_for_signal():
                return number
            if any(server.has_ended for server in self._processes):
                self._stop()
                raise CamreelError("The service did not start: one of its processes has ended.")
        print_address(self._listener)
        return None

    def _watch(self) -> int:
        """Replace processes that end, until a signal to stop."""
        while not (number := self._wait_for_signal()):
            self._kill_overdue()
            self._replace_ended()
            if self._replacement is not None and next(self._replacement, DONE) is DONE:
                self._replacement = None
        return number

    def _stop(self) -> None:
        """End all processes; signals that come meanwhile are passed on."""
        for server in self._processes:
            server.stop(time.monotonic())
        while not all(server.has_ended for server in self._processes):
            if self._wait_for_signal():
                for server in self._processes:
                    server.stop(time.monotonic())
            self._kill_overdue()

    def _launch(self) -> ServerProcess:
        """Start a process."""
        connection, child_connection = _context.Pipe()
        # A plain socket, because only those can be sent to another process.
        listening = socket.socket(fileno=self._listener.dup().detach())
        arguments = (
            self._settings, listening, self._listener.max_connections, child_connection,
        )  # fmt: skip
        process = _context.Process(target=_serve, args=arguments, name="camreel-server")
        process.start()
        listening.close()
        # Otherwise the end of the process would not close the connection.
        child_connection.close()
        server = ServerProcess(process)
        self._processes.append(server)
        thread = threading.Thread(
            target=self._state.serve, args=(connection, server.reports), daemon=True
        )
        thread.start()
        return server

    def _try_to_launch(self) -> ServerProcess | None:
        """Start a process; None if that is impossible now, as without memory."""
        try:
            return self._launch()
        except (OSError, EOFError):  # also of a fork server that has just ended
            log.exception("no server process could be started")
            self._failed_starts += 1
            self._start_at = time.monotonic() + _restart_delay(self._failed_starts)
            return None

    def _replace_ended(self) -> None:
        now_seconds = time.monotonic()
        for server in [server for server in self._processes if server.has_ended]:
            self._processes.remove(server)
            if server.kill_at is None:
                log.warning("server process ended", exit_code=server.process.exitcode)
                self._failed_starts = 0 if server.reports.is_ready else self._failed_starts + 1
                self._start_at = now_seconds + _restart_delay(self._failed_starts)
        live = [server for server in self._processes if server.kill_at is None]
        if len(live) < self._settings.workers and now_seconds >= self._start_at:
            self._try_to_launch()

    def _kill_overdue(self) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._scanned_at > UNRESPONSIVE_SECONDS / 2:
            for server in self._processes:
                server.forget_reports()
        self._scanned_at = now_seconds
        for server in self._processes:
            if server.is_overdue(now_seconds) and not server.has_ended:
                log.warning("server process killed", process_id=server.process.pid)
                server.process.kill()

    def _replace_each(self) -> Generator[None]:
        """Start a process for each that serves now; once it serves too, end the old one."""
        for old_server in [server for server in self._processes if server.kill_at is None]:
            new_server = self._try_to_launch()
            while new_server is None or not new_server.is_serving:
                if new_server is None or new_server.has_ended:
                    log.error("new server process ended; the old ones continue")
                    return
                yield
            old_server.stop(time.monotonic())
            while not old_server.has_ended:
                yield

    def _watch_signals(self) -> None:
        is_terminal = sys.stdin is not None and sys.stdin.isatty()

        def pass_on(number: int, _frame: object) -> None:
            self._sender.send(bytes([number]))

        def hang_up(number: int, frame: object) -> None:
            # With its terminal the service ends; without one, the signal means a restart.
            pass_on(signal.SIGTERM if is_terminal else number, frame)

        self._sender.setblocking(False)
        for number in STOP_SIGNALS:
            signal.signal(number, pass_on)
        signal.signal(signal.SIGHUP, hang_up)

    def _wait_for_signal(self) -> int | None:
        """Wait for at most SCAN_SECONDS; a signal to stop, if there is one."""
        sentinels = [server.process.sentinel for server in self._processes if not server.has_ended]
        if self._receiver not in wait([self._receiver, *sentinels], SCAN_SECONDS):
            return None
        number = self._receiver.recv(1)[0]
        if number == signal.SIGHUP and self._replacement is None:
            self._replacement = self._replace_each()
        return number if number in STOP_SIGNALS else None


def _restart_delay(failed_starts: int) -> float:
    if not failed_starts:
        return 0.0
    return float(min(MAX_RESTART_DELAY_SECONDS, 2.0 ** min(failed_starts, 10) / 4))


def _serve(
    settings: Settings, listening: socket.socket, max_connections: int, connection: Connection
) -> None:
    """Serve in a process of its own."""
    # Both reach the whole group of a terminal's processes; the supervisor passes on SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    # Here, because the supervisor does without the packages that it imports.
    from service.cli.server import serve_supervised

    serve_supervised(settings, Listener.adopt(listening, max_connections), Supervised(connection))


def _end_with_supervisor() -> None:
    # As at a shutdown, so that the runs it trains are continued by others. Also with the fork
    # server, without which the supervisor takes this process for ended.
    supervisor, parent_id = multiprocessing.parent_process(), os.getppid()
    while supervisor is not None and supervisor.is_alive() and os.getppid() == parent_id:
        supervisor.join(PARENT_SCAN_SECONDS)
    signal.raise_signal(signal.SIGTERM)
