"""Values are printed literally, and unusable paths are reported in one line."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app, main
from service.flows import access
from tests.keeping.conftest import StateFolder, train
from tests.store.test_store_sqlite_file import INVALID_FOLDERS

NAMES = ["x[b]", "[red]x", "x[/b]", "a:smile:b", "1:100:2", "%41", "what?x", "[link=x]y", "{x}"]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    """A state folder, a run and a token whose names contain markup."""
    state_folder = StateFolder(tmp_path_factory.mktemp("values") / "data[red]?x%41" / "r", "sql")
    train(state_folder)
    with state_folder.open_store() as store:
        access.create_token(store, "me", "read", None, "[i]somebody")
    state_folder.execute("UPDATE runs SET name = :name", name="[red]run[/b] :cat: \x1b[31m")
    state_folder.execute("UPDATE tokens SET name = :name", name="[b]me:smile:")
    return state_folder


@pytest.fixture
def call(monkeypatch, capfd) -> Callable[..., tuple[int, str, str]]:
    """Calls a command; returns its exit status, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["camreel", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        code = exit_info.value.code
        stdout, stderr = capfd.readouterr()
        return (
            (code or 0, stdout, stderr)
            if isinstance(code, int | None)
            else (1, stdout, stderr + code)
        )

    return call


@pytest.mark.parametrize("name", NAMES)
def test_output_path_is_printed_literally(state, call, tmp_path, name):
    base = tmp_path / name / name if "/" not in name else tmp_path / name
    base.parent.mkdir(exist_ok=True)
    options = ("--state-dir", str(state.folder))
    for command in ("export", "maps", "cam", "report"):
        path = base.with_name(f"{base.name}.{command}")
        arguments = {
            "export": ["export", "1", str(path)],
            "maps": ["maps", "1", str(path), "--epochs", "1"],
            "cam": ["cam", "1", "1", "--out", str(path)],
            "report": ["report", "1", "--epochs", "1", "--out", str(path)],
        }[command]
        if command == "report" and name != NAMES[0]:
            continue  # slow, and prints the path as the others do
        code, message, error = call(*arguments, *options)
        assert code == 0, error
        assert str(path) in message
        assert path.stat().st_size > 0
    code, message, _ = call("import", str(base.with_name(f"{base.name}.export")), *options)
    assert code == 0
    assert str(base) in message


def test_names_are_printed_literally_without_control_characters(state, call):
    options = ("--state-dir", str(state.folder))
    listing = call("runs", *options)[1] + call("token", "list", *options)[1]
    audit_log = call("audit", *options)[1]
    assert ":cat:" in listing
    assert "[b]me:smile:" in listing
    assert "[i]somebody" in audit_log
    assert "\x1b" not in listing
    assert json.loads(call("runs", "--json", *options)[1])[0]["id"] >= 1


@pytest.mark.parametrize(
    "command", [["blanks"], ["maps"], ["report"], [], ["db"], ["token"], ["token", "create"]]
)
def test_help_has_no_emoji(command):
    text = CliRunner().invoke(app, [*command, "--help"]).output
    assert all(ord(character) < 0x2000 for character in text), text
    if command in (["blanks"], ["maps"], ["report"]):
        assert "1:100:2" in text


COMMANDS = {
    "serve": ["serve", "--port", "0"],
    "demo": ["demo", "--exit", "--dataset", "digits"],
    "train": ["train", "--set", "dataset=digits"],
    "resume": ["resume", "1"],
    "cam": ["cam", "1", "0"],
    "blanks": ["blanks", "1"],
    "maps": ["maps", "1", "out.npz"],
    "report": ["report", "1"],
    "evaluate": ["evaluate", "1", "0"],
    "doctor": ["doctor"],
    "backup": ["backup", "out"],
    "compact": ["compact"],
    "export": ["export", "1", "out"],
    "import": ["import", "/dev/null"],
    "upgrade": ["db", "upgrade"],
    "create": ["token", "create", "me"],
    "list": ["token", "list"],
    "revoke": ["token", "revoke", "1"],
    "audit": ["audit"],
    "runs": ["runs"],
    "cancel": ["cancel", "1"],
    "delete": ["delete", "1", "--yes"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", INVALID_FOLDERS)
def test_unusable_state_folder_is_one_line_for_every_command(
    tmp_path, monkeypatch, call, command, case
):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CAMREEL_STATE_DIR", str(INVALID_FOLDERS[case](tmp_path)))
    code, stdout, stderr = call(*COMMANDS[command])
    message = (stderr or stdout).strip()
    if command == "doctor":
        assert code == 2 or message.startswith("camreel: CAMREEL_STATE_DIR: ")
    else:
        assert code == 1
        assert message.startswith("camreel: CAMREEL_STATE_DIR: ")
    assert "\n" not in message
    assert "Traceback" not in message
    assert [path.name for path in (tmp_path / "work").iterdir()] == []


@pytest.mark.parametrize(
    "case",
    ["a symlink loop", "below a symlink loop", "a file instead of a folder", "below a file",
     "a name over 255 bytes", "a path of 4,200", "a device", "below a device"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "cam", "report"])
def test_unusable_data_folder_is_one_line(tmp_path, monkeypatch, call, state, command, case):
    monkeypatch.chdir(tmp_path)
    folder = str(INVALID_FOLDERS[case](tmp_path))
    options = ["--state-dir", str(state.folder), "--data-dir", folder]
    code, _, error = call(*COMMANDS[command], *options)
    assert code == 1
    assert error.startswith("camreel: CAMREEL_DATA_DIR: ")
    assert "\n" not in error.strip()


OUTPUTS = {
    "cam": lambda path: ["cam", "1", "0", "--out", path],
    "maps": lambda path: ["maps", "1", path, "--epochs", "1"],
    "report": lambda path: ["report", "1", "--out", path],
    "evaluate": lambda path: ["evaluate", "1", "1", "--json", path],
    "export": lambda path: ["export", "1", path],
    "backup": lambda path: ["backup", path],
    "openapi": lambda path: ["openapi", path],
}


@pytest.mark.parametrize("command", OUTPUTS)
@pytest.mark.parametrize("path", [".", "/dev/null/x", "missing/x", "/proc/x", "y" * 256])
def test_unwritable_output_is_one_line(tmp_path, monkeypatch, call, state, command, path):
    monkeypatch.chdir(tmp_path)
    options = [] if command == "openapi" else ["--state-dir", str(state.folder)]
    code, _, error = call(*OUTPUTS[command](path), *options)
    assert code == 1
    assert error.startswith("camreel: ")
    assert "\n" not in error.strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["demo", "--exit", "--dataset", "digits"], ["paper"]])
@pytest.mark.parametrize("path", ["/dev/null", "/dev/null/x", "/proc/x", "y" * 256])
def test_unusable_output_folder_is_one_line(tmp_path, monkeypatch, call, command, path):
    monkeypatch.chdir(tmp_path)
    code, _, error = call(*command, "--out", path)
    assert code == 1
    assert error.startswith("camreel: --out: ")
    assert "\n" not in error.strip()


def pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make",
    [pipe, lambda path: path.symlink_to("/dev/zero"), Path.mkdir, lambda path: None,
     lambda path: path.write_bytes(b"[" * 2_000_000), lambda path: path.write_bytes(b"\xff")],
    ids=["a pipe", "an endless device", "a folder", "missing", "too large", "no text"],
)  # fmt: skip
@pytest.mark.parametrize("use", ["train", "import", "bootstrap"])
def test_unusable_input_file_is_one_line(tmp_path, monkeypatch, call, use, make):
    make(tmp_path / "input")
    monkeypatch.setenv("CAMREEL_STATE_DIR", str(tmp_path / "state"))
    if use == "bootstrap":
        monkeypatch.setenv("CAMREEL_BOOTSTRAP_TOKEN_FILE", str(tmp_path / "input"))
    arguments = {"bootstrap": ["serve", "--port", "0"]}.get(use, [use, str(tmp_path / "input")])
    code, _, error = call(*arguments)
    assert code == 1
    assert error.startswith("camreel: ")
    assert "\n" not in error.strip()
