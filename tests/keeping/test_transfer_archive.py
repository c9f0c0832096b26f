"""Archives that differ from an export in any byte outside their parts are refused."""

import io
import os
import socket
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.errors import FileRefused, ImportRefused
from service.flows.deletion import DeletedRunCleaner, delete_run
from service.flows.transfer import archive as archive_module
from service.flows.transfer import layout as layout_module
from service.flows.transfer.importing import import_run
from service.flows.transfer.layout import Layout
from service.store import (
    schema,
)  # fmt: skip
from tests.keeping.conftest import StateFolder
from tests.keeping.transfers import (
    is_empty,
    read_parts,
    refuse_import,
    run_contents,
    write_archive,
)

CHECKPOINT = "checkpoints/00002.safetensors"


def with_comment(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.comment) == 64
    return data[:-66] + (70).to_bytes(2, "little") + data[-64:] + b"camera"


def with_bytes_at(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:offset] + value + data[offset + len(value) :]


def with_gap(data: bytes) -> bytes:
    """Adds bytes that belong to no member between the last member and the directory."""
    directory = data.index(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    directory_offset = (directory + 9).to_bytes(4, "little")
    return (
        data[:directory]
        + b"in a gap."
        + data[directory:end]
        + data[end : end + 16]
        + directory_offset
        + data[end + 20 :]
    )


def with_hidden_member(data: bytes) -> bytes:
    """Adds a member that the directory does not list."""
    hidden = Layout().header("secret", 0, 0)
    return with_gap(data).replace(b"in a gap.", hidden[:9])


ARCHIVE_CHANGES = {
    "a byte appended": lambda data: data + b"x",
    "a line break appended": lambda data: data + b"\n",
    "another zip appended": lambda data: data + data,
    "a byte prepended": lambda data: b"x" + data,
    "a script prepended": lambda data: b"#!/bin/sh\n" + data,
    "a longer comment": with_comment,
    "a gap before the directory": with_gap,
    "a hidden member": with_hidden_member,
    "another time in the local header": with_bytes_at(10, b"\x01"),
    "another name in the local header": with_bytes_at(30, b"M"),
    "another checksum in the local header": with_bytes_at(14, b"\0"),
    "flags in the local header": with_bytes_at(6, b"\x02"),
    "another version in the local header": with_bytes_at(4, b"\x0a"),
    "attributes in the directory": lambda data: data.replace(
        (0o600 << 16).to_bytes(4, "little"), (0o777 << 16).to_bytes(4, "little"), 1
    ),
    "another time in the directory": lambda data: with_bytes_at(data.index(b"PK\1\2") + 12, b"\1")(
        data
    ),
    "a disk number at the end": lambda data: with_bytes_at(data.rindex(b"PK\5\6") + 4, b"\1")(data),
}


@pytest.mark.parametrize("change", ARCHIVE_CHANGES)
def test_changed_byte_outside_the_members_is_refused(
    exported_run, empty_state_folder, tmp_path, change
):
    data = exported_run.read_bytes()
    file = tmp_path / "file"
    file.write_bytes(ARCHIVE_CHANGES[change](data))
    assert file.read_bytes() != data
    refuse_import(file, empty_state_folder)


REASON = "zipfile writes another version for ZIP64 before Python 3.11.4 (gh-103861)"


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(limit, marks=pytest.mark.skipif(sys.version_info < (3, 11, 4), reason=REASON))
        for limit in (60, 300)
    ]
    + [2**31 - 1],
)
def test_layout_equals_the_output_of_zipfile(monkeypatch, limit):
    # Earlier versions wrote exports with it. A low limit makes small files use ZIP64.
    monkeypatch.setattr(layout_module, "ZIP64_LIMIT", limit)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    members = [(f"parts/{size:05d}.bin", bytes(size)) for size in (0, 50, 58, 59, 290, 301, 500)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"comment"
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    layout = Layout()
    parts = [layout.header(name, zlib.crc32(data), len(data)) + data for name, data in members]
    assert b"".join([*parts, layout.end(b"comment")]) == file.getvalue()


def endless_file(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


def named_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def socket_file(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.mark.parametrize("make", [endless_file, named_pipe, folder, socket_file, lambda path: path])
def test_only_a_regular_file_is_imported(empty_state_folder, tmp_path, make):
    with empty_state_folder.open_store() as store, pytest.raises(FileRefused) as refusal:
        import_run(store, make(tmp_path / "file"))
    assert "\n" not in str(refusal.value)
    assert is_empty(empty_state_folder)


def test_missing_duplicate_or_additional_members_are_refused(
    exported_run, empty_state_folder, tmp_path
):
    valid = list(read_parts(exported_run).items())
    for number, members in enumerate(
        [
            valid[:-1],
            valid[1:],
            [*valid, ("extra", b"")],
            [*valid, ("../../outside", b"")],
            [*valid, ("/absolute", b"")],
            [valid[1], valid[0], *valid[2:]],
            [valid[0], valid[2], valid[1], *valid[3:]],
        ]
    ):
        refuse_import(write_archive(tmp_path / str(number), members), empty_state_folder)
    with pytest.warns(UserWarning, match="Duplicate"):
        with_duplicate = write_archive(tmp_path / "double", [*valid, valid[-1]])
    refuse_import(with_duplicate, empty_state_folder)


def test_decompression_bomb_is_refused_before_it_is_read(
    exported_run, empty_state_folder, tmp_path, monkeypatch
):
    members = read_parts(exported_run) | {CHECKPOINT: bytes(50_000_000)}
    file = write_archive(tmp_path / "file", members, method=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 500_000
    assert "compressed" in refuse_import(file, empty_state_folder)
    for bound in ("MAX_MANIFEST_BYTES", "MAX_MEMBERS"):
        with monkeypatch.context() as patched:
            patched.setattr(archive_module, bound, 5)
            refuse_import(exported_run, empty_state_folder)
    with monkeypatch.context() as patched:
        patched.setitem(archive_module.MAX_BYTES_BY_FOLDER, "checkpoints", 5)
        assert "more than 5 bytes" in refuse_import(exported_run, empty_state_folder)


def test_false_length_in_the_directory_is_refused(exported_run, empty_state_folder, tmp_path):
    data = bytearray(exported_run.read_bytes())
    offset = data.rindex(b"PK\x01\x02")  # the last entry of the directory
    data[offset + 20 : offset + 28] = (2**31).to_bytes(4, "little") * 2
    file = tmp_path / "file"
    file.write_bytes(data)
    assert "larger than the file" in refuse_import(file, empty_state_folder)


@pytest.fixture(scope="module")
def fuzz_state_folder(tmp_path_factory) -> StateFolder:
    state_folder = StateFolder(tmp_path_factory.mktemp("target"), "sql")
    with state_folder.open_store() as store:
        schema.ensure(store)
    return state_folder


FLIP = st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255))
CUT = st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 5_000))
COPY = st.tuples(st.just("copy"), st.floats(0, 1), st.floats(0, 1))
END = st.tuples(st.just("end"), st.floats(0, 1), st.integers(0, 0))
INSERT = st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=50))


def mutate(data: bytes, mutations) -> bytes:
    mutated = bytearray(data)
    for kind, position, argument in mutations:
        offset = int(position * max(0, len(mutated) - 1))
        match kind:
            case "flip" if mutated:
                mutated[offset] ^= argument
            case "cut":
                del mutated[offset : offset + argument]
            case "copy":
                start = int(argument * len(mutated))
                mutated[offset : offset + 500] = mutated[start : start + 500]
            case "end":
                del mutated[offset:]
            case "insert":
                mutated[offset:offset] = argument
    return bytes(mutated)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mutations=st.lists(st.one_of(FLIP, CUT, COPY, END, INSERT), min_size=1, max_size=3))
@example(mutations=[("end", 0.0, 0)])
@example(mutations=[("insert", 0.0, b"before")])
@example(mutations=[("insert", 1.0, b"behind")])
def test_mutated_file_imports_the_same_run_or_nothing(
    trained, exported_run, fuzz_state_folder, tmp_path, mutations
):
    file = tmp_path / "file"
    file.write_bytes(mutate(exported_run.read_bytes(), mutations))
    with fuzz_state_folder.open_store() as store, trained["file"].open_store() as original:
        try:
            run = import_run(store, file)
        except ImportRefused:
            assert fuzz_state_folder.execute("SELECT count(*) FROM runs") == [(0,)]
        else:
            # The mutation did not affect the run, for example a time in the directory.
            assert run_contents(store, run.id) == run_contents(original, 1)
            delete_run(store, run.id)
            DeletedRunCleaner(store).free_space()
