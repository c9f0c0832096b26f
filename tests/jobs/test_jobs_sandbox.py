"""The sandbox: a process for untrusted bytes with limits on time and memory."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from service.jobs.sandbox import (
    LimitExceeded,
    Limits,
    Sandbox,
    SandboxBusy,
    SandboxCrashed,
)

DEFAULT_LIMITS = Limits(cpu_seconds=20, wall_seconds=30, memory_bytes=2**28)


def act(request: dict, data: bytes) -> tuple[dict, bytes]:
    """The function that the sandbox calls in its process."""
    match request["act"]:
        case "echo":
            return {"process": os.getpid(), "torch": "torch" in sys.modules}, data[::-1]
        case "burn":
            while True:
                pass
        case "sleep":
            time.sleep(request["seconds"])
        case "hoard":
            return {}, bytes(len(bytearray(2**30)))
        case "raise":
            raise LookupError("not for the caller")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return {}, b""


@pytest.fixture
def new_sandbox() -> Iterator[Callable[..., Sandbox]]:
    sandboxes = []

    def make(limits: Limits = DEFAULT_LIMITS, turn_seconds: float = 20) -> Sandbox:
        sandboxes.append(Sandbox(f"{__name__}:act", limits, turn_seconds))
        return sandboxes[-1]

    yield make
    for sandbox in sandboxes:
        sandbox.close()


def test_calls_run_in_one_persistent_process_without_torch(new_sandbox) -> None:
    sandbox = new_sandbox()
    results = [sandbox.call({"act": "echo"}, bytes([1, 2, number])) for number in range(3)]
    assert [data for _, data in results] == [bytes([number, 2, 1]) for number in range(3)]
    assert {values["process"] for values, _ in results} == {sandbox.process_id}
    assert not results[0][0]["torch"]


@pytest.mark.parametrize(
    ("limits", "request_", "message"),
    [
        (Limits(1, 60, 2**28), {"act": "burn"}, "1 seconds of a processor"),
        (Limits(60, 1.5, 2**28), {"act": "sleep", "seconds": 60}, "1.5 seconds"),
        (Limits(60, 60, 2**27), {"act": "hoard"}, "128 MiB of memory"),
    ],
    ids=["processor", "wall clock", "memory"],
)
def test_call_that_exceeds_a_limit_is_ended_and_the_next_succeeds(
    new_sandbox, limits: Limits, request_: dict, message: str
) -> None:
    sandbox = new_sandbox(limits)
    with pytest.raises(LimitExceeded, match=message):
        sandbox.call(request_, b"")
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


@pytest.mark.parametrize("action", ["raise", "die"])
def test_failed_call_is_reported_and_the_next_succeeds(new_sandbox, action) -> None:
    sandbox = new_sandbox()
    with pytest.raises(SandboxCrashed):
        sandbox.call({"act": action}, b"")
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


def test_process_killed_between_calls_is_replaced(new_sandbox) -> None:
    sandbox = new_sandbox()
    first, _ = sandbox.call({"act": "echo"}, b"")
    os.kill(first["process"], signal.SIGKILL)
    second, _ = sandbox.call({"act": "echo"}, b"")
    assert second["process"] != first["process"]


def test_call_that_waits_too_long_for_its_turn_is_refused(new_sandbox) -> None:
    sandbox = new_sandbox(turn_seconds=0.2)
    sandbox.call({"act": "echo"}, b"")
    busy = threading.Thread(target=sandbox.call, args=({"act": "sleep", "seconds": 3}, b""))
    busy.start()
    time.sleep(0.5)
    with pytest.raises(SandboxBusy):
        sandbox.call({"act": "echo"}, b"")
    busy.join()
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


def test_close_ends_the_process(new_sandbox) -> None:
    sandbox = new_sandbox()
    sandbox.call({"act": "echo"}, b"")
    process = sandbox.process_id
    assert process is not None
    sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(SandboxBusy):
        sandbox.call({"act": "echo"}, b"")


def test_process_ends_when_its_parent_is_killed() -> None:
    program = (
        "import os, signal, threading, time\n"
        "from service.jobs.sandbox import Limits, Sandbox\n"
        f"sandbox = Sandbox('{__name__}:act', Limits(60, 60, 2**28), 5)\n"
        "print(sandbox.call({'act': 'echo'}, b'')[0]['process'], flush=True)\n"
        "call = ({'act': 'sleep', 'seconds': 60}, b'')\n"
        "threading.Thread(target=sandbox.call, args=call, daemon=True).start()\n"
        "time.sleep(0.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    process_id = int(completed.stdout)
    for _ in range(100):
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the process outlived its parent")
