"""The SQLite file of a store: where it can be, and who can read it."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import InvalidValue, StoreMissing
from service.store import runs, schema
from service.store.store import Store, open_store

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
def test_a_folder_of_any_name_holds_its_own_database(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "camreel.db"
    with open_store(file) as store:
        use(store)
        assert store.file == file
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert file.stat().st_size > 0
    with open_store(file) as store, store.read_session() as session:
        assert runs.get(session, 1).id == 1


def test_a_folder_whose_name_is_not_utf_8_holds_its_own_database(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")) / "camreel.db"
    with open_store(file) as store:
        use(store)
    assert file.stat().st_size > 0


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_new_folder_and_database_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with open_store(tmp_path / "state" / "camreel.db") as store:
            schema.ensure(store)
            with store.write_session() as session:
                runs.create(session, "", [], {}, 1)
                # Beside it there is a journal now, or a log.
                names = [path.name for path in (tmp_path / "state").iterdir()]
                modes = {mode(path) for path in (tmp_path / "state").iterdir()}
    finally:
        os.umask(before)
    assert len(names) > 1
    assert mode(tmp_path / "state") == 0o700
    assert modes == {0o600}


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o664, 0o660), (0o660, 0o660)])
def test_a_database_that_others_could_read_is_closed_to_them_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    file = tmp_path / "camreel.db"
    with open_store(file) as store:
        schema.ensure(store)
    file.chmod(before)
    tmp_path.chmod(0o755)
    with open_store(file) as store:
        schema.ensure(store)
    assert (mode(file), mode(tmp_path)) == (after, 0o755)
    assert len(caplog.records) == (before != after)


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def regular_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file"


def database_as(make: Callable[[Path], object]) -> Callable[[Path], Path]:
    def place(folder: Path) -> Path:
        make(folder / "camreel.db")
        return folder

    place.__name__ = make.__name__
    return place


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


IMPOSSIBLE: dict[str, Callable[[Path], Path]] = {
    "a symlink loop": loop,
    "below a symlink loop": lambda folder: loop(folder) / "state",
    "a file in its place": regular_file,
    "below a file": lambda folder: regular_file(folder) / "state",
    "a name over 255 bytes": lambda folder: folder / ("x" * 256),
    "a path of 600": lambda folder: folder.joinpath(*["y" * 99] * 6),
    "a path of 4,200": lambda folder: folder.joinpath(*["z" * 209] * 20),
    "a folder that takes none": lambda _: Path("/proc/camreel"),
    "a device": lambda _: Path("/dev/null"),
    "below a device": lambda _: Path("/dev/null/state"),
    "a link to a missing folder": lambda folder: dangling(folder) / "state",
    **{
        f"camreel.db as {make.__name__}": database_as(make)
        for make in (folder_in_its_place, pipe, device, bound_socket, link_to_itself)
    },
}


def dangling(folder: Path) -> Path:
    (folder / "link").symlink_to("/proc/nothing")
    return folder / "link"


@pytest.mark.parametrize("kind", IMPOSSIBLE)
@pytest.mark.parametrize("action", [schema.ensure, schema.upgrade], ids=["ensure", "upgrade"])
def test_a_state_folder_that_cannot_work_is_refused_with_its_setting_in_one_line(
    tmp_path: Path, kind: str, action: Callable[[Store], None]
) -> None:
    file = IMPOSSIBLE[kind](tmp_path) / "camreel.db"
    with (
        open_store(file) as store,
        pytest.raises(InvalidValue, match=r"^CAMREEL_STATE_DIR: ") as error,
    ):
        action(store)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_a_url_of_a_file_that_cannot_be_is_refused_with_its_setting(
    tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{IMPOSSIBLE[kind](tmp_path) / 'camreel.db'}"
    with open_store(url) as store, pytest.raises(InvalidValue, match=r"^CAMREEL_DATABASE_URL: "):
        schema.ensure(store)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgresql://u:secret@h:port/d", "oracle://u:secret@h/d", "://"]
)
def test_a_url_of_no_database_is_refused_without_what_it_holds(url: str) -> None:
    with pytest.raises(InvalidValue, match=r"^CAMREEL_DATABASE_URL: ") as error:
        Store.open(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("kind", ["a symlink loop", "a file in its place", "below a file"])
def test_a_folder_of_blobs_that_cannot_work_is_refused_with_its_setting(
    tmp_path: Path, kind: str
) -> None:
    folder = IMPOSSIBLE[kind](tmp_path)
    with (
        open_store(tmp_path / "state" / "camreel.db", f"file:{folder}") as store,
        pytest.raises(InvalidValue, match=r"^CAMREEL_BLOBS: "),
    ):
        schema.ensure(store)


def test_a_file_that_is_moved_away_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
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


def test_blobs_in_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with open_store(tmp_path / "state" / "camreel.db", f"file:{tmp_path / 'blobs'}") as store:
            schema.ensure(store)
            with store.write_session() as session:
                store.blobs.put(session, "runs/1/epochs/0.safetensors", b"bytes")
    finally:
        os.umask(before)
    modes = {mode(path) for path in (tmp_path / "blobs").rglob("*") if path.is_file()}
    folders = {
        mode(path)
        for path in (tmp_path / "blobs", *(tmp_path / "blobs").rglob("*"))
        if path.is_dir()
    }
    assert (modes, folders) == ({0o600}, {0o700})
