"""`camreel` processes forked from one that has imported the service.

Importing it takes three seconds of CPU time, a fork milliseconds; a hundred tests start a service.
Only /proc shows the difference: the environment there is that of the first process.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

MODULES = ("service.cli", "service.cli.server", "service.app", "service.flows.worker")
MAX_MESSAGE_BYTES = 2**18
ROOT = Path(__file__).parents[1]


class ForkServer:
    """Starts processes that have imported MODULES. For one thread."""

    def __init__(self) -> None:
        self._socket, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with remote:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(remote.fileno())],
                pass_fds=[remote.fileno()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
            )
        self._return_codes: dict[int, int] = {}

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> "ForkedProcess":
        """`camreel` with these arguments."""
        reader, writer = os.pipe()
        command = [list(arguments), dict(environment), str(folder)]
        socket.send_fds(self._socket, [json.dumps(command).encode()], [writer])
        os.close(writer)
        while (pid := self._receive(None)) is None:
            pass
        self._return_codes.pop(pid, None)  # of an earlier process of that id
        return ForkedProcess(self, pid, reader)

    def return_code(self, pid: int, timeout_seconds: float | None) -> int | None:
        """As of `subprocess.Popen`; None if the process has not ended within the timeout."""
        while pid not in self._return_codes:
            try:
                self._receive(timeout_seconds)
            except (TimeoutError, BlockingIOError):
                return None
        return self._return_codes[pid]

    def close(self) -> None:
        self._socket.close()
        self._process.wait()

    def _receive(self, timeout_seconds: float | None) -> int | None:
        """The id of a process that was started; None after noting one that has ended."""
        self._socket.settimeout(timeout_seconds)
        message = self._socket.recv(MAX_MESSAGE_BYTES)
        assert message, "the fork server has ended"
        pid, return_code = json.loads(message)
        if return_code is None:
            return int(pid)
        self._return_codes[pid] = return_code
        return None


class ForkedProcess:
    """A process of a ForkServer, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, server: ForkServer, pid: int, stdout: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(stdout)
        self._server = server

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._server.return_code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        return_code = self._server.return_code(self.pid, timeout)
        if return_code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(["camreel"], timeout)
        return return_code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def main(connection: socket.socket) -> None:
    """Fork a process for each command until the connection closes."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, lambda *_: _report_ended(connection))
    while True:
        message, descriptors, *_ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, 1)
        if not message:
            return
        # Its end is reported after its start.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        if (pid := os.fork()) == 0:
            connection.close()
            _run(*json.loads(message), descriptors[0])
            return
        os.close(descriptors[0])
        connection.send(json.dumps([pid, None]).encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _report_ended(connection: socket.socket) -> None:
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            connection.send(json.dumps([pid, os.waitstatus_to_exitcode(status)]).encode())
    except (ChildProcessError, OSError):  # no children are left, or the tests have ended
        return


def _run(arguments: list[str], environment: dict[str, str], folder: str, stdout: int) -> None:
    """Become `camreel` in this process, and exit as it does."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    os.dup2(stdout, 1)
    os.close(stdout)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w")  # of a pipe, whatever it was before
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["camreel", *arguments]
    # Child processes import the main module, which of `camreel` is guarded and empty.
    sys.modules["__main__"] = types.ModuleType("__main__")
    from service.cli import main as run_command

    run_command()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
