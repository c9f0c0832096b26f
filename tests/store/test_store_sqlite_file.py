"""The SQLite file of a store: valid locations and permissions."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import InvalidValue
from service.store import runs, schema
from service.store.store import Store, open_store
from service.store_errors import StoreMissing

AWKWARD_NAMES = [
    "what?x", "pct%41", "100%", "a b", "#hash", "mode=ro&x", "co:lon", "[red]x", "[b",
    "1:100:2", ":smile:", "quote'\"", "back\\slash", "file:x", "ключ", "ねこ", "new\nline",
    "sqlite:", "~", "$HOME", "*", "percent%s", ";x",
]  # fmt: skip


def use(store: Store) -> None:
    schema.ensure(store)
    with store.write_session() as session:
        runs.create(session, "", [], {}, 1)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_folder_of_any_name_contains_its_own_database(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "camreel.db"
    with open_store(file) as store:
        use(store)
        assert store.file == file
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert file.stat().st_size > 0
    with open_store(file) as store, store.read_session() as session:
        assert runs.get(session, 1).id == 1


def test_folder_whose_name_is_not_utf_8_contains_its_own_database(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")) / "camreel.db"
    with open_store(file) as store:
        use(store)
    assert file.stat().st_size > 0


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_new_folder_and_database_are_private_to_the_owner(tmp_path: Path, umask: int) -> None:
    initial_umask = os.umask(umask)
    try:
        with open_store(tmp_path / "state" / "camreel.db") as store:
            schema.ensure(store)
            with store.write_session() as session:
                runs.create(session, "", [], {}, 1)
                # A journal or write-ahead log exists now.
                names = [path.name for path in (tmp_path / "state").iterdir()]
                modes = {mode(path) for path in (tmp_path / "state").iterdir()}
    finally:
        os.umask(initial_umask)
    assert len(names) > 1
    assert mode(tmp_path / "state") == 0o700
    assert modes == {0o600}


@pytest.mark.parametrize(
    ("initial_mode", "expected_mode"), [(0o644, 0o600), (0o664, 0o660), (0o660, 0o660)]
)
def test_world_readable_database_is_made_private_with_one_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, initial_mode: int, expected_mode: int
) -> None:
    file = tmp_path / "camreel.db"
    with open_store(file) as store:
        schema.ensure(store)
    file.chmod(initial_mode)
    tmp_path.chmod(0o755)
    with open_store(file) as store:
        schema.ensure(store)
    assert (mode(file), mode(tmp_path)) == (expected_mode, 0o755)
    assert len(caplog.records) == (initial_mode != expected_mode)


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def regular_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def database_created_by(make: Callable[[Path], object]) -> Callable[[Path], Path]:
    def create(folder: Path) -> Path:
        make(folder / "camreel.db")
        return folder

    create.__name__ = make.__name__
    return create


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder_as_database(path: Path) -> None:
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


INVALID_FOLDERS: dict[str, Callable[[Path], Path]] = {
    "a symlink loop": loop,
    "below a symlink loop": lambda folder: loop(folder) / "state",
    "a file instead of a folder": regular_file,
    "below a file": lambda folder: regular_file(folder) / "state",
    "a name over 255 bytes": lambda folder: folder / ("x" * 256),
    "a path of 600": lambda folder: folder.joinpath(*["y" * 99] * 6),
    "a path of 4,200": lambda folder: folder.joinpath(*["z" * 209] * 20),
    "a folder that cannot be created": lambda _: Path("/proc/camreel"),
    "a device": lambda _: Path("/dev/null"),
    "below a device": lambda _: Path("/dev/null/state"),
    "a link to a missing folder": lambda folder: dangling(folder) / "state",
    **{
        f"camreel.db as {make.__name__}": database_created_by(make)
        for make in (folder_as_database, pipe, device, socket_file, link_to_itself)
    },
}


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to("/proc/nothing")
    return folder / "link"


@pytest.mark.parametrize("kind", INVALID_FOLDERS)
@pytest.mark.parametrize("action", [schema.ensure, schema.upgrade], ids=["ensure", "upgrade"])
def test_invalid_state_folder_is_refused_with_its_setting_in_one_line(
    tmp_path: Path, kind: str, action: Callable[[Store], None]
) -> None:
    file = INVALID_FOLDERS[kind](tmp_path) / "camreel.db"
    with (
        open_store(file) as store,
        pytest.raises(InvalidValue, match=r"^CAMREEL_STATE_DIR: ") as error,
    ):
        action(store)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", INVALID_FOLDERS)
def test_url_of_an_invalid_file_is_refused_with_its_setting(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{INVALID_FOLDERS[kind](tmp_path) / 'camreel.db'}"
    with open_store(url) as store, pytest.raises(InvalidValue, match=r"^CAMREEL_DATABASE_URL: "):
        schema.ensure(store)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgresql://u:secret@h:port/d", "oracle://u:secret@h/d", "://"]
)
def test_invalid_database_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"^CAMREEL_DATABASE_URL: ") as error:
        Store.open(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("kind", ["a symlink loop", "a file instead of a folder", "below a file"])
def test_invalid_blob_folder_is_refused_with_its_setting(tmp_path: Path, kind: str) -> None:
    folder = INVALID_FOLDERS[kind](tmp_path)
    with (
        open_store(tmp_path / "state" / "camreel.db", f"file:{folder}") as store,
        pytest.raises(InvalidValue, match=r"^CAMREEL_BLOBS: "),
    ):
        schema.ensure(store)


def test_moved_file_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    file = tmp_path / "camreel.db"
    with open_store(file) as store:
        use(store)
    file.rename(tmp_path / "away")
    with open_store(file) as store:
        with pytest.raises(StoreMissing), store.read_session() as session:
            runs.get(session, 1)
        assert not file.exists()
        (tmp_path / "away").rename(file)
        with store.read_session() as session:
            assert runs.get(session, 1).id == 1


def test_blob_files_are_private_to_the_owner(tmp_path: Path) -> None:
    initial_umask = os.umask(0)
    try:
        with open_store(tmp_path / "state" / "camreel.db", f"file:{tmp_path / 'blobs'}") as store:
            schema.ensure(store)
            with store.write_session() as session:
                store.blobs.put(session, "runs/1/epochs/0.safetensors", b"bytes")
    finally:
        os.umask(initial_umask)
    modes = {mode(path) for path in (tmp_path / "blobs").rglob("*") if path.is_file()}
    folders = {
        mode(path)
        for path in (tmp_path / "blobs", *(tmp_path / "blobs").rglob("*"))
        if path.is_dir()
    }
    assert (modes, folders) == ({0o600}, {0o700})
