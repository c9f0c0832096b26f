"""`camreel dataset`: list, report, add and delete."""

from pathlib import Path

import pytest

from tests.cli.commands import camreel
from tests.datasets.conftest import write_folder
from tests.datasets.test_datasets_archive import ATTACKS, FILES, make_zip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "data" / "folders" / "colors")
    (tmp_path / "data" / "folders" / "colors" / "train" / "blue" / "notes.txt").write_text("x")
    return tmp_path


def test_image_folder_is_added_reported_listed_and_deleted(folder: Path):
    (folder / "hues.zip").write_bytes(make_zip(FILES))
    environment = {"CAMREEL_DATA_DIR": "data", "CAMREEL_MIN_FREE_BYTES": "0"}
    added = camreel(folder, "dataset", "add", "hues", "hues.zip", **environment)
    assert added.returncode == 0, added.stderr
    assert "folder:hues: ready, 40 x 30, color" in added.stdout
    assert "6 test images are in both splits" in added.stdout
    report = camreel(folder, "dataset", "report", "folder:colors", **environment)
    assert "skipped: train/blue/notes.txt is not a PNG" in report.stdout
    table = camreel(folder, "dataset", "list", **environment).stdout
    for name in ("mnist", "cifar10", "folder:colors", "folder:hues"):
        assert name in table
    deleted = camreel(folder, "dataset", "delete", "folder:hues", **environment)
    assert deleted.returncode == 0
    assert [path.name for path in (folder / "data" / "folders").iterdir()] == ["colors"]


def test_errors_are_one_line_and_leave_nothing(folder: Path):
    environment = {"CAMREEL_DATA_DIR": "data", "CAMREEL_MIN_FREE_BYTES": "0"}
    (folder / "evil.zip").write_bytes(ATTACKS["traversal"][0])
    for arguments, message in (
        (["add", "evil", "evil.zip"], "leads out of its folder"),
        (["add", "evil", "missing.zip"], "missing.zip"),
        (["add", "colors", "evil.zip"], "already"),
        (["report", "folder:none"], "There is no dataset folder:none."),
        (["delete", "mnist"], "built in"),
    ):
        process = camreel(folder, "dataset", *arguments, **environment)
        assert process.returncode == 1
        assert message in process.stderr
        assert len(process.stderr.splitlines()) == 1
    assert [path.name for path in (folder / "data" / "folders").iterdir()] == ["colors"]
