"""Writing to the log never waits for its reader."""

import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from service.detached_stream import DetachedStream

PIPE_BYTES = 4096


class Pipe:
    """A pipe of 4 KiB and the streams that write to it."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.streams: list[DetachedStream] = []

    def stream(self, **options: int) -> DetachedStream:
        self.streams.append(DetachedStream(self.write, **options))
        return self.streams[-1]

    def close_reader(self) -> None:
        with suppress(OSError):
            os.close(self.read)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    # Without a reader the threads of the streams end, so none writes to a later file descriptor.
    pipe.close_reader()
    assert all(stream.drain(10) for stream in pipe.streams)
    os.close(pipe.write)


def test_lines_are_complete_and_in_order(pipe: Pipe) -> None:
    stream = pipe.stream()
    for number in range(20):
        print(f"line {number}", file=stream)
    assert stream.drain(5)
    assert os.read(pipe.read, 4096).decode().splitlines() == [f"line {n}" for n in range(20)]
    assert stream.dropped == 0


def test_lines_of_several_writers_of_a_pipe_stay_whole(pipe: Pipe) -> None:
    streams = [pipe.stream() for _ in range(3)]
    line_count = 300

    def write_lines(stream: DetachedStream) -> None:
        for number in range(line_count):
            stream.write(f"{id(stream)} {number:080}\n")

    threads = [threading.Thread(target=write_lines, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    with os.fdopen(os.dup(pipe.read)) as reader:
        lines = [reader.readline().split() for _ in range(line_count * len(streams))]
    for thread in threads:
        thread.join()
    for stream in streams:
        numbers = [int(number) for name, number in lines if name == str(id(stream))]
        assert numbers == list(range(line_count))


def test_unread_pipe_drops_and_counts_lines_without_blocking(
    pipe: Pipe,
) -> None:
    stream = pipe.stream(max_pending_bytes=10_000)
    start = time.monotonic()
    for number in range(1000):
        stream.write(f"{number:099}\n")
    assert time.monotonic() - start < 2
    assert not stream.drain(0.01)
    with os.fdopen(os.dup(pipe.read)) as reader:
        numbers = []
        while (line := reader.readline())[0] != "{":
            numbers.append(int(line))
        report = json.loads(line)
        stream.write("after\n")
        assert reader.readline() == "after\n"
    assert numbers == list(range(len(numbers)))
    assert 100 <= len(numbers) < 300
    assert report["dropped"] == stream.dropped == 1000 - len(numbers)


def test_closed_reader_raises_nothing(pipe: Pipe) -> None:
    pipe.close_reader()
    stream = pipe.stream()
    for _ in range(10):
        stream.write("unread\n")
    assert stream.drain(5)
    assert stream.dropped == 10


@pytest.mark.parametrize("descriptor", [None, "/dev/full"])
def test_missing_stream_and_full_disk_raise_nothing(descriptor: str | None) -> None:
    file_descriptor = None if descriptor is None else os.open(descriptor, os.O_WRONLY)
    stream = DetachedStream(file_descriptor)
    stream.write("text\n")
    assert stream.drain(5)
    assert stream.dropped == 1


def test_no_kind_of_logger_blocks(pipe: Pipe) -> None:
    stream = pipe.stream(max_pending_bytes=5000)
    handler = logging.StreamHandler(stream)
    logger = structlog.PrintLogger(stream)
    finished = threading.Event()

    def log() -> None:
        for _ in range(200):
            handler.emit(logging.LogRecord("x", 30, "x", 1, "a line of uvicorn", None, None))
            logger.warning("a line of the service, which is flushed")
            print("a printed line", file=stream, flush=True)
        finished.set()

    threading.Thread(target=log, daemon=True).start()
    assert finished.wait(10)


def test_text_that_is_not_utf_8_is_escaped(pipe: Pipe) -> None:
    stream = pipe.stream()
    stream.write("a\udcffb\n")
    assert stream.drain(5)
    assert os.read(pipe.read, 100) == b"a\\udcffb\n"


SCRIPT = """
import sys
from service.detached_stream import detach_stderr

detach_stderr()
print("before", file=sys.stderr)
{end}
"""


@pytest.mark.parametrize(
    ("end", "last_line"),
    [("sys.exit('camreel: the end')", "camreel: the end"), ("1 / 0", "ZeroDivisionError"),
     ("pass", "before")],
)  # fmt: skip
def test_last_lines_of_a_process_are_written(end: str, last_line: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=30,
        check=False,
    )
    assert process.stderr.startswith("before\n")
    assert process.stderr.splitlines()[-1].startswith(last_line)


def test_process_ends_although_its_last_lines_are_not_read(pipe: Pipe) -> None:
    end = "sys.stderr.write('x' * 100_000); sys.exit(3)"
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        stderr=pipe.write,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.wait(20) == 3
