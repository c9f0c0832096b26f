"""What every blob store does, and what each does in its own way."""

import os
import stat
from pathlib import Path

import pytest

from service.errors import StoreFull, UnknownName
from service.store.blobs import BLOB_STORES, Blobs, open_blob_store
from service.store.blobs.file import FileBlobs
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


def put_and_be_interrupted(store, blobs: Blobs) -> None:
    with store.write_session() as session:
        blobs.put(session, KEY, b"first")
        raise Interrupted


def get(store, blobs: Blobs, key: str) -> bytes:
    with store.read_session() as session:
        return blobs.get(session, key)


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 20_000], ids=len)
def test_bytes_are_found_as_they_were_put(store, blobs, data):
    put(store, blobs, KEY, data)
    assert get(store, blobs, KEY) == data


def test_bytes_are_found_in_the_transaction_that_puts_them(store, blobs):
    with store.write_session() as session:
        blobs.put(session, KEY, b"new")
        assert blobs.get(session, KEY) == b"new"


def test_keys_do_not_mix(store, blobs):
    keys = ["runs/1/epochs/0.safetensors", "runs/1/epochs/1.safetensors", "runs/10/epochs/0"]
    for key in keys:
        put(store, blobs, key, key.encode())
    assert [get(store, blobs, key).decode() for key in keys] == keys


@pytest.mark.parametrize("key", [KEY, "runs", "runs/1"])
def test_a_key_that_is_not_there_is_a_key_error(store, blobs, key):
    put(store, blobs, "runs/1/epochs/1.safetensors", b"another")
    with pytest.raises(KeyError):
        get(store, blobs, key)


def test_bytes_left_by_an_attempt_that_failed_give_way(store, blobs):
    put(store, blobs, KEY, b"first, and longer")
    put(store, blobs, KEY, b"second")
    assert get(store, blobs, KEY) == b"second"


def test_an_attempt_that_failed_can_be_made_again(store, blobs):
    with pytest.raises(Interrupted):
        put_and_be_interrupted(store, blobs)
    put(store, blobs, KEY, b"second")
    assert get(store, blobs, KEY) == b"second"


def test_deleted_bytes_are_gone_and_the_others_stay(store, blobs):
    other = "runs/2/epochs/0.safetensors"
    for key in (KEY, other):
        put(store, blobs, key, b"bytes")
    with store.write_session() as session:
        blobs.delete(session, [KEY, "runs/1/epochs/9.safetensors"])
    with pytest.raises(KeyError):
        get(store, blobs, KEY)
    assert get(store, blobs, other) == b"bytes"


def test_deleting_nothing_is_no_error(store, blobs):
    with store.write_session() as session:
        blobs.delete(session, [])
        blobs.delete(session, [KEY])


def test_bytes_in_the_database_go_with_their_transaction(store):
    blobs = Blobs(None)
    with pytest.raises(Interrupted):
        put_and_be_interrupted(store, blobs)
    with pytest.raises(KeyError):
        get(store, blobs, KEY)


def test_a_file_is_whole_and_alone_in_its_folder(file_blobs):
    file_blobs.put(KEY, b"first")
    file_blobs.put(KEY, b"second")
    assert (file_blobs.folder / KEY).read_bytes() == b"second"
    assert everything_in(file_blobs.folder) == {"runs", "runs/1", "runs/1/epochs", KEY}


def test_a_write_that_fails_leaves_the_old_bytes_and_no_temporary_file(file_blobs, monkeypatch):
    file_blobs.put(KEY, b"old")
    before = everything_in(file_blobs.folder)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", "/the/path")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreFull) as refusal:
        file_blobs.put(KEY, b"new")
    assert "/the/path" not in str(refusal.value)
    assert file_blobs.get(KEY) == b"old"
    assert everything_in(file_blobs.folder) == before


def test_a_write_that_is_interrupted_leaves_no_temporary_file(file_blobs, monkeypatch):
    def interrupted(_: int) -> None:
        raise Interrupted

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(Interrupted):
        file_blobs.put(KEY, b"new")
    assert not [path for path in file_blobs.folder.rglob("*") if path.is_file()]


@pytest.fixture
def steps(monkeypatch) -> list[str | int]:
    """What is brought to the disk, and when a name is given: "file", "rename", a folder's inode."""
    done: list[str | int] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        done.append(status.st_ino if stat.S_ISDIR(status.st_mode) else "file")
        real_fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", renamed)
    return done


def test_a_file_is_on_disk_before_its_name_and_its_name_before_the_call_returns(file_blobs, steps):
    file_blobs.put(KEY, b"bytes")
    folder = (file_blobs.folder / KEY).parent.stat().st_ino
    assert steps[-3:] == ["file", "rename", folder]


def test_folders_made_for_a_file_are_on_disk_too(file_blobs, steps, tmp_path):
    # A name is safe once its folder is brought to the disk: for a new folder that is its parent.
    file_blobs.put(KEY, b"bytes")
    holding = [tmp_path, *(file_blobs.folder / name for name in ("", "runs", "runs/1"))]
    assert {folder.stat().st_ino for folder in holding} <= set(steps)


def test_folders_that_are_empty_then_are_deleted_too(file_blobs):
    keys = [f"runs/1/epochs/{epoch}.safetensors" for epoch in range(3)]
    for key in (*keys, "runs/2/epochs/0.safetensors"):
        file_blobs.put(key, b"bytes")
    file_blobs.delete(keys[:1])
    assert (file_blobs.folder / keys[1]).is_file()
    file_blobs.delete(keys)
    assert everything_in(file_blobs.folder) == {
        "runs", "runs/2", "runs/2/epochs", "runs/2/epochs/0.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize(
    "key",
    [
        "", "/", "/etc/passwd", "../x", "a/../x", "a/..", "..", ".", "a//b", "a/", "a\\b", "A/b",
        "~/x", "a b", "a/b\n", "a/\0", "%2e%2e/x", "a/...", "ä/x", "a/./b/../../../x",
    ],
)  # fmt: skip
def test_a_key_of_another_form_is_refused(file_blobs, tmp_path, key):
    (tmp_path / "x").write_bytes(b"outside")
    for ask in (
        lambda: file_blobs.put(key, b"bytes"),
        lambda: file_blobs.get(key),
        lambda: file_blobs.delete([key]),
    ):
        with pytest.raises(ValueError):
            ask()
    assert everything_in(tmp_path) == {"x"}
    assert (tmp_path / "x").read_bytes() == b"outside"


@pytest.mark.parametrize("setting", ["", "sqlite", "file", "file:", "s4://bucket", "SQL"])
def test_an_unknown_setting_is_refused_with_what_there_is(setting):
    with pytest.raises(UnknownName, match=r"one of sql, .*file:<folder>") as refusal:
        open_blob_store(setting)
    assert refusal.value.field == "CAMREEL_BLOBS"
