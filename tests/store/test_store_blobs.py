"""Behavior of every blob store, and of each kind."""

import os
import stat
from pathlib import Path

import pytest

from service.errors import UnknownName
from service.store.blobs import BLOB_STORES, Blobs, open_blob_store
from service.store.blobs.file import FileBlobs
from service.store_errors import StoreFull
from tests.remote_blobs import RemoteBlobs

KEY = "runs/1/epochs/0.safetensors"


class Interrupted(Exception):
    pass


@pytest.fixture(params=["sql", *BLOB_STORES, "remote"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "remote":
        return Blobs(RemoteBlobs(str(tmp_path)))
    argument = "" if request.param == "sql" else f":{tmp_path / 'blobs'}"
    return Blobs(open_blob_store(request.param + argument))


@pytest.fixture
def file_blobs(tmp_path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


def put(store, blobs: Blobs, key: str, data: bytes) -> None:
    with store.write_session() as session:
        blobs.put(session, key, data)


def put_and_interrupt(store, blobs: Blobs) -> None:
    with store.write_session() as session:
        blobs.put(session, KEY, b"first")
        raise Interrupted


def get(store, blobs: Blobs, key: str) -> bytes:
    with store.read_session() as session:
        return blobs.get(session, key)


def list_paths(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 20_000], ids=len)
def test_put_bytes_are_returned_unchanged(store, blobs, data):
    put(store, blobs, KEY, data)
    assert get(store, blobs, KEY) == data


def test_bytes_are_visible_in_the_transaction_that_puts_them(store, blobs):
    with store.write_session() as session:
        blobs.put(session, KEY, b"new")
        assert blobs.get(session, KEY) == b"new"


def test_keys_do_not_mix(store, blobs):
    keys = ["runs/1/epochs/0.safetensors", "runs/1/epochs/1.safetensors", "runs/10/epochs/0"]
    for key in keys:
        put(store, blobs, key, key.encode())
    assert [get(store, blobs, key).decode() for key in keys] == keys


@pytest.mark.parametrize("key", [KEY, "runs", "runs/1"])
def test_missing_key_raises_key_error(store, blobs, key):
    put(store, blobs, "runs/1/epochs/1.safetensors", b"another")
    with pytest.raises(KeyError):
        get(store, blobs, key)


def test_second_put_replaces_the_bytes(store, blobs):
    put(store, blobs, KEY, b"first, and longer")
    put(store, blobs, KEY, b"second")
    assert get(store, blobs, KEY) == b"second"


def test_put_after_an_interrupted_put_succeeds(store, blobs):
    with pytest.raises(Interrupted):
        put_and_interrupt(store, blobs)
    put(store, blobs, KEY, b"second")
    assert get(store, blobs, KEY) == b"second"


def test_delete_removes_only_the_given_keys(store, blobs):
    remaining_key = "runs/2/epochs/0.safetensors"
    for key in (KEY, remaining_key):
        put(store, blobs, key, b"bytes")
    with store.write_session() as session:
        blobs.delete(session, [KEY, "runs/1/epochs/9.safetensors"])
    with pytest.raises(KeyError):
        get(store, blobs, KEY)
    assert get(store, blobs, remaining_key) == b"bytes"


def test_deleting_nothing_is_no_error(store, blobs):
    with store.write_session() as session:
        blobs.delete(session, [])
        blobs.delete(session, [KEY])


def test_bytes_in_the_database_are_rolled_back_with_the_transaction(store):
    blobs = Blobs(None)
    with pytest.raises(Interrupted):
        put_and_interrupt(store, blobs)
    with pytest.raises(KeyError):
        get(store, blobs, KEY)


def test_put_leaves_only_the_complete_file_in_the_folder(file_blobs):
    file_blobs.put(KEY, b"first")
    file_blobs.put(KEY, b"second")
    assert (file_blobs.folder / KEY).read_bytes() == b"second"
    assert list_paths(file_blobs.folder) == {"runs", "runs/1", "runs/1/epochs", KEY}


def test_failed_write_leaves_the_old_bytes_and_no_temporary_file(file_blobs, monkeypatch):
    file_blobs.put(KEY, b"old")
    initial_paths = list_paths(file_blobs.folder)

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device", "/the/path")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreFull) as refusal:
        file_blobs.put(KEY, b"new")
    assert "/the/path" not in str(refusal.value)
    assert file_blobs.get(KEY) == b"old"
    assert list_paths(file_blobs.folder) == initial_paths


def test_interrupted_write_leaves_no_temporary_file(file_blobs, monkeypatch):
    def interrupt(_: int) -> None:
        raise Interrupted

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(Interrupted):
        file_blobs.put(KEY, b"new")
    assert not [path for path in file_blobs.folder.rglob("*") if path.is_file()]


@pytest.fixture
def disk_operations(monkeypatch) -> list[str | int]:
    """The order of disk operations: "file" for fsync, "rename", or the inode of a synced folder."""
    operations: list[str | int] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        operations.append(status.st_ino if stat.S_ISDIR(status.st_mode) else "file")
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        operations.append("rename")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return operations


def test_put_syncs_the_file_before_and_the_folder_after_the_rename(file_blobs, disk_operations):
    file_blobs.put(KEY, b"bytes")
    folder = (file_blobs.folder / KEY).parent.stat().st_ino
    assert disk_operations[-3:] == ["file", "rename", folder]


def test_put_syncs_the_parents_of_new_folders(file_blobs, disk_operations, tmp_path):
    # A directory entry is durable once its folder is synced; for a new folder that is the parent.
    file_blobs.put(KEY, b"bytes")
    parents = [tmp_path, *(file_blobs.folder / name for name in ("", "runs", "runs/1"))]
    assert {folder.stat().st_ino for folder in parents} <= set(disk_operations)


def test_delete_removes_empty_folders(file_blobs):
    keys = [f"runs/1/epochs/{epoch}.safetensors" for epoch in range(3)]
    for key in (*keys, "runs/2/epochs/0.safetensors"):
        file_blobs.put(key, b"bytes")
    file_blobs.delete(keys[:1])
    assert (file_blobs.folder / keys[1]).is_file()
    file_blobs.delete(keys)
    assert list_paths(file_blobs.folder) == {
        "runs", "runs/2", "runs/2/epochs", "runs/2/epochs/0.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "/etc/passwd", "../x", "a/../x", "a/..", "..", ".", "a//b", "a/", "a\\b", "A/b",
        "~/x", "a b", "a/b\n", "a/\0", "%2e%2e/x", "a/...", "ä/x", "a/./b/../../../x",
    ],
)  # fmt: skip
def test_invalid_key_is_refused(file_blobs, tmp_path, key):
    (tmp_path / "x").write_bytes(b"outside")
    for call in (
        lambda: file_blobs.put(key, b"bytes"),
        lambda: file_blobs.get(key),
        lambda: file_blobs.delete([key]),
    ):
        with pytest.raises(ValueError):
            call()
    assert list_paths(tmp_path) == {"x"}
    assert (tmp_path / "x").read_bytes() == b"outside"


@pytest.mark.parametrize("setting", ["", "sqlite", "file", "file:", "s4://bucket", "SQL"])
def test_unknown_blob_store_is_refused_with_the_available_ones(setting):
    with pytest.raises(UnknownName, match=r"one of sql, .*file:<folder>") as refusal:
        open_blob_store(setting)
    assert refusal.value.field == "CAMREEL_BLOBS"
