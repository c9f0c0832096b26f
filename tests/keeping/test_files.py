"""Files of users: read up to a limit, written completely or not at all, without leftovers."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.errors import FileRefused
from service.files import (
    check_output,
    list_leftovers,
    new_file,
    output_file,
    read_file,
    unfinished_folder,
    write_file,
)
from service.flows.doctor.examination import examine
from tests.keeping.conftest import StateFolder

WRITER = """
import sys, time
from pathlib import Path
from service import files

with getattr(files, sys.argv[1])(Path(sys.argv[2])) as unfinished:
    if isinstance(unfinished, Path):
        (unfinished / "file").write_bytes(b"half")
    else:
        unfinished.write(b"half")
        unfinished.flush()
    print("ready", flush=True)
    time.sleep(60)
"""
WRITERS = {"new_file": "out", "output_file": "out", "unfinished_folder": "."}


@contextmanager
def writer(folder: Path, function: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has written a part of its output."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, function, str(folder / WRITERS[function])],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("function", WRITERS)
def test_next_write_removes_leftovers_of_killed_writers_only(tmp_path: Path, function: str) -> None:
    with writer(tmp_path, function) as process:
        (unfinished,) = names(tmp_path)
        write_file(tmp_path / "other", b"complete")
        assert names(tmp_path) == sorted([unfinished, "other"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == sorted([unfinished, "other"])
    with new_file(tmp_path / "next") as file:
        file.write(b"complete")
    assert names(tmp_path) == ["next", "other"]


def test_doctor_removes_leftovers_of_a_killed_backup(
    state_folder: StateFolder,
) -> None:
    with (
        writer(state_folder.folder, "unfinished_folder") as process,
        state_folder.open_store() as store,
    ):
        assert examine(store, checks=["unfinished"]).findings == []
        process.kill()
        process.wait()
        (item,) = examine(store, checks=["unfinished"]).findings
        assert (item.check, item.finding.severity, item.repaired) == (
            "unfinished",
            "warning",
            False,
        )
        examine(store, repair=True, checks=["unfinished"])
    assert list_leftovers(state_folder.folder) == []
    assert "camreel.db" in names(state_folder.folder)


def test_files_with_similar_names_are_not_removed(tmp_path: Path) -> None:
    for name in (".camreel-notes", "camreel-1.unfinished", ".camreel-1.unfinished.txt"):
        (tmp_path / name).write_text("mine")
    initial_names = names(tmp_path)
    write_file(tmp_path / "out", b"")
    assert names(tmp_path) == sorted([*initial_names, "out"])


@pytest.mark.parametrize("function", [new_file, output_file])
def test_exception_while_writing_leaves_no_file(tmp_path: Path, function) -> None:
    def fail() -> None:
        with function(tmp_path / "out") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


def test_output_replaces_a_file_and_keeps_its_mode_and_symlink(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").write_bytes(b"a long old text")
    (tmp_path / "real").chmod(0o604)
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o604
    assert (tmp_path / "link").is_symlink()


def test_output_follows_the_umask_and_new_files_are_private(
    tmp_path: Path,
) -> None:
    initial_umask = os.umask(0o027)
    try:
        write_file(tmp_path / "report", b"")
        with new_file(tmp_path / "export"):
            pass
    finally:
        os.umask(initial_umask)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "export").stat().st_mode) == 0o600


def test_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    check_output(tmp_path / "null")
    write_file(tmp_path / "null", b"text")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == ["null"]


def test_pipe_is_written_to_only_if_it_has_a_reader(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileRefused, match="cannot be written"):
        write_file(tmp_path / "pipe", b"text")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(tmp_path / "pipe", b"text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)


INVALID_PATHS = {
    "a folder": lambda folder: folder,
    "below a file": lambda folder: Path("/dev/null/out"),
    "in a missing folder": lambda folder: folder / "missing" / "out",
    "in a folder that cannot be written": lambda folder: Path("/proc/out"),
    "a name over 255 bytes": lambda folder: folder / ("x" * 256),
    "a path of 4,200": lambda folder: folder.joinpath(*["z" * 209] * 20),
    "a symlink loop": lambda folder: symlink_loop(folder),
}


def symlink_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


@pytest.mark.parametrize("kind", INVALID_PATHS)
def test_invalid_output_is_refused_by_check_and_write(tmp_path: Path, kind: str) -> None:
    path = INVALID_PATHS[kind](tmp_path)
    for use in (check_output, lambda path: write_file(path, b"text")):
        with pytest.raises(FileRefused) as refusal:
            use(path)
        assert "\n" not in str(refusal.value)
    assert not [name for name in names(tmp_path) if name != "loop"]


def test_full_disk_is_reported_in_one_line() -> None:
    with pytest.raises(FileRefused, match="No space left"):
        write_file(Path("/dev/full"), b"text")


@pytest.mark.parametrize(
    "kind", ["/dev/zero", "/dev/null", "/proc/self", "/dev/stdin/x", "/nothing"]
)
def test_only_a_regular_file_is_read(kind: str) -> None:
    with pytest.raises(FileRefused):
        read_file(Path(kind), 100)


def test_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FileRefused, match="more than 4 bytes"):
        read_file(tmp_path / "file", 4)


def test_unfinished_folder_is_removed_at_the_end(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names(tmp_path) == []
