"""Jobs in worker processes, each its own: a crash, or a leak, is that job's alone."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from service.detached_stream import detach_stderr, drain_stderr
from service.jobs.executor import Devices, ProcessExit, Task, cpu_only
from service.jobs.kernel_kills import oom_kills

TERMINATION_GRACE_SECONDS = 2.0
KILL_SECONDS = 1.0
ENDED_SECONDS = 3.0

log = logging.getLogger(__name__)


class ProcessExecutor:
    """Runs up to `parallel` jobs at once, each in a process of its own; the others queue.

    Not forked from this process, whose threads' locks they would inherit, but from one with a
    single thread that has imported the modules `preload` before: that takes seconds, a fork of it
    milliseconds. It starts with the first job, and ends with this process.
    """

    def __init__(
        self, parallel: int, preload: Sequence[str] = (), devices: Devices = cpu_only
    ) -> None:
        self._devices = devices
        if parallel > 1:
            # For processes that start from now on: together their threads are more than the cores,
            # and one that waits actively keeps a core from the others.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # macOS' own libraries do not bear a fork once they are loaded.
        self._context = (
            multiprocessing.get_context("forkserver")
            if sys.platform == "linux"
            else multiprocessing.get_context("spawn")
        )
        self._context.set_forkserver_preload(list(preload))
        # A thread a slot: it starts a process, waits for its end, and takes the next job.
        self._parallel = parallel
        self._slots: list[threading.Thread] = []
        self._queue: deque[Task] = deque()
        self._busy = 0  # slots that have a job
        self._changed = threading.Condition()
        # Starting a process polls all others, and an exit code can be read but once.
        self._children = threading.Lock()
        self._starting = 0
        self._live: dict[BaseProcess, str] = {}
        self._names: Counter[str] = Counter()  # of all jobs here
        self._closed = False

    def submit(self, task: Task) -> None:
        """Take a job; it starts when a slot is free. Raises RuntimeError where it is closed."""
        with self._changed:
            if self._closed:
                raise RuntimeError("The executor is closed.")
            if len(self._slots) < min(self._parallel, self._busy + len(self._queue) + 1):
                # Not a thread that the interpreter waits for at its end: it may never return.
                slot = threading.Thread(target=self._work_off, name="worker-slot", daemon=True)
                slot.start()
                self._slots.append(slot)
            self._queue.append(task)
            self._names[task.name] += 1
            self._changed.notify_all()

    def accepts_tasks(self) -> bool:
        """Until it is closed."""
        return not self._closed

    def devices(self) -> Sequence[str]:
        """Those of this machine."""
        return self._devices()

    def has_task(self, name: str) -> bool:
        """Whether a job of that name waits or runs here."""
        return self._names[name] > 0

    def kill(self, name: str) -> None:
        """SIGKILL to its processes: the one signal that a stopped process takes."""
        with self._changed:
            for process, its_name in self._live.items():
                if its_name == name:
                    process.kill()

    def close(self) -> None:
        """Terminate what runs, drop what queues, and wait for the slots: at most 7 seconds.

        A process that does not end by SIGTERM is killed, and then what processes are forked from:
        if that was stopped, no process starts and none is known to have ended.
        """
        # Signals alone: the slots' threads wait for the processes. Of two that waited for one
        # process, only one would learn how it ended.
        with self._changed:
            self._closed = True
            for job in self._queue:
                self._forget(job)
            self._queue.clear()
            self._changed.notify_all()
            for process in self._live:
                process.terminate()
            if not self._changed.wait_for(self._is_idle, TERMINATION_GRACE_SECONDS):
                self._kill_live()
                if (
                    not self._changed.wait_for(lambda: not self._live, KILL_SECONDS)
                    or self._starting
                ):
                    _kill_fork_server()
                self._changed.wait_for(self._is_idle, KILL_SECONDS)
            # What is called at a job's end may wait for the database.
            self._changed.wait_for(lambda: not self._busy, ENDED_SECONDS)

    def abort(self) -> None:
        """Kill all processes and return, whatever any thread of this one does."""
        locked = self._changed.acquire(timeout=KILL_SECONDS)
        try:
            self._closed = True
            self._kill_live()
            _kill_fork_server()
        finally:
            if locked:
                self._changed.release()

    def _is_idle(self) -> bool:
        return not (self._starting or self._live)

    def _kill_live(self) -> None:
        for process in list(self._live):
            process.kill()

    def _work_off(self) -> None:
        while (job := self._next()) is not None:
            try:
                if job.should_start():
                    self._run(job)
            except BaseException:  # the thread has no caller, and the next job waits for it
                log.exception("a job could not be run, or its end not be handled")
            finally:
                with self._changed:
                    self._busy -= 1
                    self._forget(job)
                    self._changed.notify_all()

    def _next(self) -> Task | None:
        """The next job; None when the executor is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return None
            self._busy += 1
            return self._queue.popleft()

    def _forget(self, job: Task) -> None:
        self._names -= Counter([job.name])  # and none is kept at zero

    def _run(self, job: Task) -> None:
        kills_before = oom_kills()
        with self._changed:
            if self._closed:
                return
            self._starting += 1
        # Outside that lock: the first one waits for the imports.
        process = self._started(job)
        with self._changed:
            self._starting -= 1
            if process:
                self._live[process] = job.name
                if self._closed:
                    process.terminate()
            stopped = self._closed
            self._changed.notify_all()
        if not process:
            job.on_exit(ProcessExit(1, stopped))
            return
        wait([process.sentinel])
        exit_code = self._exit_code(process)
        with self._changed:
            del self._live[process]
            self._changed.notify_all()
            stopped = self._closed
        self._give_back(process)
        killed = exit_code == -signal.SIGKILL and oom_kills() != kills_before
        job.on_exit(ProcessExit(exit_code, stopped, out_of_memory=killed))

    def _started(self, job: Task) -> BaseProcess | None:
        try:
            # Packed, for the worker to unpack: what that imports may take seconds, and by then it
            # is to watch its parent.
            packed = pickle.dumps((job.function, job.arguments))
            with self._children:
                process = self._context.Process(target=_work, args=(packed,), name="camreel-worker")
                process.start()
        except Exception:  # arguments that cannot be sent, or no memory or process left to be had
            if not self._closed:
                log.exception("no worker process could be started")
            return None
        return process

    def _exit_code(self, process: BaseProcess) -> int:
        with self._children:
            process.join()
            exit_code = process.exitcode
        assert exit_code is not None  # noqa: S101  it was joined
        return exit_code

    def _give_back(self, process: BaseProcess) -> None:
        # Its descriptors: whoever is told that a job has ended finds nothing of it.
        with self._children:
            process.close()


def _kill_fork_server() -> None:
    """Kill what processes are forked from; whoever waits for it, or for a fork of it, goes on.

    It serves all executors of this process, and is started anew with the next job of one.
    """
    # Nothing public ends it, or names it.
    server = forkserver._forkserver  # noqa: SLF001
    process_id: int | None = getattr(server, "_forkserver_pid", None)
    if process_id is None:
        return
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process_id, signal.SIGKILL)
        # Dead, and not reaped: whoever starts it anew does that.
        os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)


def _work(packed: bytes) -> None:
    # Ctrl-C reaches the whole group; how a run ends then is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Standard error is the service's: nobody may read it.
    detach_stderr()
    try:
        function, arguments = pickle.loads(packed)  # noqa: S301  its own parent's bytes
        function(*arguments)
    except Exception:
        # Here, and not by multiprocessing: it ends the process right after.
        traceback.print_exc()
        sys.exit(1)
    finally:
        drain_stderr()


def _end_with_parent() -> None:
    # A worker whose service was killed must not train on unseen.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
