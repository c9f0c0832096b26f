"""Tasks that the inline executor calls in the submitting thread."""

import queue
from pathlib import Path

import pytest

from service.jobs import EXECUTORS, ProcessExit, Task


@pytest.fixture
def exits() -> "queue.Queue[ProcessExit]":
    return queue.Queue()


def write_line(path: Path, line: str) -> None:
    path.write_text(f"{line}\n")


def fail() -> None:
    raise ValueError("on purpose")


def test_inline_job_finishes_before_submit_returns(exits, tmp_path):
    inline = EXECUTORS["inline"](1, ())
    inline.submit(Task(write_line, (tmp_path / "lines", "done"), exits.put))
    assert (tmp_path / "lines").read_text() == "done\n"
    assert exits.get(timeout=0) == ProcessExit(0, during_shutdown=False)
    with pytest.raises(ValueError, match="on purpose"):
        inline.submit(Task(fail, (), exits.put))
    inline.close()
