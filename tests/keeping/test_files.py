"""Files that people name: read with a bound, written whole or not at all, and nothing left over."""

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
        (unfinished / "within").write_bytes(b"half")
    else:
        unfinished.write(b"half")
        unfinished.flush()
    print("ready", flush=True)
    time.sleep(60)
"""
WRITERS = {"new_file": "out", "output_file": "out", "unfinished_folder": "."}


@contextmanager
def writer(folder: Path, function: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is in the midst of writing."""
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
def test_what_a_killed_writer_left_is_removed_at_the_next_use_and_a_live_ones_is_not(
    tmp_path: Path, function: str
) -> None:
    with writer(tmp_path, function) as process:
        (unfinished,) = names(tmp_path)
        write_file(tmp_path / "other", b"whole")
        assert names(tmp_path) == sorted([unfinished, "other"])
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert names(tmp_path) == sorted([unfinished, "other"])
    with new_file(tmp_path / "next") as file:
        file.write(b"whole")
    assert names(tmp_path) == ["next", "other"]


def test_the_doctor_finds_what_a_killed_backup_left_beside_the_database(
    state_folder: StateFolder,
) -> None:
    with (
        writer(state_folder.folder, "unfinished_folder") as process,
        state_folder.open_store() as store,
    ):
        assert examine(store, checks=["unfinished"]).findings == []
        process.kill()
        process.wait()
        (one,) = examine(store, checks=["unfinished"]).findings
        assert (one.check, one.finding.severity, one.repaired) == ("unfinished", "warning", False)
        examine(store, repair=True, checks=["unfinished"])
    assert list_leftovers(state_folder.folder) == []
    assert "camreel.db" in names(state_folder.folder)


def test_files_of_others_with_a_like_name_are_left_alone(tmp_path: Path) -> None:
    for name in (".camreel-notes", "camreel-1.unfinished", ".camreel-1.unfinished.txt"):
        (tmp_path / name).write_text("mine")
    before = names(tmp_path)
    write_file(tmp_path / "out", b"")
    assert names(tmp_path) == sorted([*before, "out"])


@pytest.mark.parametrize("function", [new_file, output_file])
def test_a_writer_that_raises_leaves_nothing(tmp_path: Path, function) -> None:
    def fail() -> None:
        with function(tmp_path / "out") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(tmp_path) == []


def test_an_output_takes_the_place_of_the_file_and_keeps_its_mode_and_its_link(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").write_bytes(b"a long old text")
    (tmp_path / "real").chmod(0o604)
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o604
    assert (tmp_path / "link").is_symlink()


def test_an_output_follows_the_umask_and_what_holds_a_run_is_its_owners_alone(
    tmp_path: Path,
) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "report", b"")
        with new_file(tmp_path / "export"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "export").stat().st_mode) == 0o600


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    check_output(tmp_path / "null")
    write_file(tmp_path / "null", b"gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert names(tmp_path) == ["null"]


def test_a_pipe_is_written_to_where_it_is_read_and_never_waits_for_a_reader(
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


IMPOSSIBLE = {
    "a folder": lambda folder: folder,
    "below a file": lambda folder: Path("/dev/null/out"),
    "in a missing folder": lambda folder: folder / "missing" / "out",
    "where nothing is made": lambda folder: Path("/proc/out"),
    "a name over 255 bytes": lambda folder: folder / ("x" * 256),
    "a path of 4,200": lambda folder: folder.joinpath(*["z" * 209] * 20),
    "a symlink loop": lambda folder: looped(folder),
}


def looped(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_place_where_no_file_can_be_is_refused_before_and_after_the_work(
    tmp_path: Path, kind: str
) -> None:
    path = IMPOSSIBLE[kind](tmp_path)
    for use in (check_output, lambda path: write_file(path, b"text")):
        with pytest.raises(FileRefused) as refusal:
            use(path)
        assert "\n" not in str(refusal.value)
    assert not [name for name in names(tmp_path) if name != "loop"]


def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(FileRefused, match="No space left"):
        write_file(Path("/dev/full"), b"text")


@pytest.mark.parametrize(
    "kind", ["/dev/zero", "/dev/null", "/proc/self", "/dev/stdin/x", "/nothing"]
)
def test_only_a_regular_file_is_read(kind: str) -> None:
    with pytest.raises(FileRefused):
        read_file(Path(kind), 100)


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(FileRefused, match="more than 4 bytes"):
        read_file(tmp_path / "file", 4)


def test_a_folder_of_its_own_is_gone_at_the_end(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert names(tmp_path) == []
