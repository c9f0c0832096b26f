"""Jobs in worker processes, each its own: a crash, or a leak, is that job's alone."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from service.detached_stream import detach_stderr, drain_stderr
from service.jobs.executor import Devices, Ending, Job, cpu_only
from service.jobs.kernel_kills import oom_kills

TERMINATION_GRACE_SECONDS = 2.0

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
        self._slots = ThreadPoolExecutor(parallel, thread_name_prefix="worker-slot")
        self._changed = threading.Condition()
        # Starting a process polls all others, and an exit code can be read but once.
        self._children = threading.Lock()
        self._starting = 0
        self._live: dict[BaseProcess, str] = {}
        self._names: Counter[str] = Counter()  # of all jobs here
        self._closed = False

    def submit(self, job: Job) -> None:
        """Take a job; it starts when a slot is free."""
        with self._changed:
            self._slots.submit(self._take, job)
            self._names[job.name] += 1

    def takes_jobs(self) -> bool:
        """Until it is closed."""
        return not self._closed

    def devices(self) -> Sequence[str]:
        """Those of this machine."""
        return self._devices()

    def has(self, name: str) -> bool:
        """Whether a job of that name waits or runs here."""
        return self._names[name] > 0

    def kill(self, name: str) -> None:
        """SIGKILL to its processes: the one signal that a stopped process takes."""
        with self._changed:
            for process, its_name in self._live.items():
                if its_name == name:
                    process.kill()

    def close(self) -> None:
        """Terminate what runs, drop what queues, and wait for the slots."""
        # Signals alone: the slots' threads wait for the processes. Of two that waited for one
        # process, only one would learn how it ended.
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._starting)
            for process in self._live:
                process.terminate()
            self._changed.wait_for(lambda: not self._live, TERMINATION_GRACE_SECONDS)
            for process in self._live:
                process.kill()
        self._slots.shutdown(cancel_futures=True)

    def _take(self, job: Job) -> None:
        try:
            if job.wanted():
                self._run(job)
        finally:
            with self._changed:
                self._names -= Counter([job.name])  # and none is kept at zero

    def _run(self, job: Job) -> None:
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
            self._changed.notify_all()
        if not process:
            job.ended(Ending(1, stopped_by_us=False))
            return
        wait([process.sentinel])
        exit_code = self._exit_code(process)
        with self._changed:
            del self._live[process]
            self._changed.notify_all()
            stopped = self._closed
        self._give_back(process)
        killed = exit_code == -signal.SIGKILL and oom_kills() != kills_before
        job.ended(Ending(exit_code, stopped, out_of_memory=killed))

    def _started(self, job: Job) -> BaseProcess | None:
        try:
            # Packed, for the worker to unpack: what that imports may take seconds, and by then it
            # is to watch its parent.
            packed = pickle.dumps((job.function, job.arguments))
            with self._children:
                process = self._context.Process(target=_work, args=(packed,), name="camreel-worker")
                process.start()
        except Exception:  # arguments that cannot be sent, or no memory or process left to be had
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
