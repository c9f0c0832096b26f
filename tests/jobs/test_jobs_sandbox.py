"""The sandbox: a process for untrusted bytes, bounded in time and memory, and replaced."""

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

MODEST = Limits(cpu_seconds=20, wall_seconds=30, memory_bytes=2**28)


def act(request: dict, data: bytes) -> tuple[dict, bytes]:
    """What a test asks of the process."""
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

    def make(limits: Limits = MODEST, turn_seconds: float = 20) -> Sandbox:
        sandboxes.append(Sandbox(f"{__name__}:act", limits, turn_seconds))
        return sandboxes[-1]

    yield make
    for sandbox in sandboxes:
        sandbox.close()


def test_calls_are_answered_by_one_warm_process_without_torch(new_sandbox) -> None:
    sandbox = new_sandbox()
    answers = [sandbox.call({"act": "echo"}, bytes([1, 2, number])) for number in range(3)]
    assert [data for _, data in answers] == [bytes([number, 2, 1]) for number in range(3)]
    assert {values["process"] for values, _ in answers} == {sandbox.process_id}
    assert not answers[0][0]["torch"]


@pytest.mark.parametrize(
    ("limits", "request_", "words"),
    [
        (Limits(1, 60, 2**28), {"act": "burn"}, "1 seconds of a processor"),
        (Limits(60, 1.5, 2**28), {"act": "sleep", "seconds": 60}, "1.5 seconds"),
        (Limits(60, 60, 2**27), {"act": "hoard"}, "128 MiB of memory"),
    ],
    ids=["processor", "wall clock", "memory"],
)
def test_a_call_that_exceeds_a_limit_is_ended_and_the_next_is_answered(
    new_sandbox, limits: Limits, request_: dict, words: str
) -> None:
    sandbox = new_sandbox(limits)
    with pytest.raises(LimitExceeded, match=words):
        sandbox.call(request_, b"")
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


@pytest.mark.parametrize("action", ["raise", "die"])
def test_a_call_that_fails_is_reported_and_the_next_is_answered(new_sandbox, action) -> None:
    sandbox = new_sandbox()
    with pytest.raises(SandboxCrashed):
        sandbox.call({"act": action}, b"")
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


def test_a_process_that_was_killed_between_calls_is_replaced(new_sandbox) -> None:
    sandbox = new_sandbox()
    first, _ = sandbox.call({"act": "echo"}, b"")
    os.kill(first["process"], signal.SIGKILL)
    second, _ = sandbox.call({"act": "echo"}, b"")
    assert second["process"] != first["process"]


def test_a_call_whose_turn_does_not_come_is_refused(new_sandbox) -> None:
    sandbox = new_sandbox(turn_seconds=0.2)
    sandbox.call({"act": "echo"}, b"")
    busy = threading.Thread(target=sandbox.call, args=({"act": "sleep", "seconds": 3}, b""))
    busy.start()
    time.sleep(0.5)
    with pytest.raises(SandboxBusy):
        sandbox.call({"act": "echo"}, b"")
    busy.join()
    assert sandbox.call({"act": "echo"}, b"ab")[1] == b"ba"


def test_closing_ends_a_call_and_the_process(new_sandbox) -> None:
    sandbox = new_sandbox()
    sandbox.call({"act": "echo"}, b"")
    process = sandbox.process_id
    assert process is not None
    sandbox.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(SandboxBusy):
        sandbox.call({"act": "echo"}, b"")


def test_the_process_ends_with_a_parent_that_was_killed() -> None:
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
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    process = int(ended.stdout)
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the process outlived its parent")
