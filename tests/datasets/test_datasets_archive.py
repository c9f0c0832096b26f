"""Zip archives of image folders: what is accepted, and attacks that are refused without a trace."""

import io
import random
import stat
import struct
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from service.core.datasets.folder_archive import (
    ArchiveLimits,
    extract_images,
    open_archive,
)
from service.errors import ArchiveRefused
from tests.datasets.conftest import COLORS, encode, picture

PNG = encode(picture(COLORS["blue"], 0))
FILES = {
    f"{split}/{name}/{index}.png": encode(picture(color, index))
    for split in ("train", "test")
    for name, color in COLORS.items()
    for index in range(2)
}


def make_zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def extract(data: bytes, folder: Path, **limits: int) -> Path:
    folder.mkdir()
    with open_archive(io.BytesIO(data), ArchiveLimits(**limits)) as archive:
        return extract_images(archive, folder)


def tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("prefix", ["", "birds/", "a/birds/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_of_an_archive_are_written_below_its_single_root(tmp_path, prefix, method):
    data = make_zip({prefix + name: content for name, content in FILES.items()}, method)
    root = extract(data, tmp_path / "out")
    assert tree(root) == FILES


def test_files_that_are_no_images_are_left_out(tmp_path):
    others = {"README.txt": b"colors", "__MACOSX/train/._a.png": b"x", "train/.DS_Store": b"x"}
    root = extract(make_zip(FILES | others), tmp_path / "out")
    assert tree(root) == FILES


def entry_with(name: str, **attributes: object) -> bytes:
    """An archive with FILES and an entry of that name and those attributes of a ZipInfo."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in FILES.items():
            archive.writestr(path, content)
        info = zipfile.ZipInfo(name)
        for key, value in attributes.items():
            setattr(info, key, value)
        archive.writestr(info, PNG)
    return file.getvalue()


def rename(data: bytes, name: bytes, new_name: bytes) -> bytes:
    """The archive with an entry renamed, in its header and in the directory."""
    assert len(name) == len(new_name)
    return data.replace(name, new_name)


def patch_directory(data: bytes, name: bytes, offset: int, value: bytes) -> bytes:
    """The archive with bytes of an entry of its directory replaced."""
    start = data.rindex(name) - 46 + offset
    return data[:start] + value + data[start + len(value) :]


LINK = (stat.S_IFLNK | 0o777) << 16
FIFO = (stat.S_IFIFO | 0o666) << 16
SAMPLE = b"train/blue/xxxx.png"
SAMPLE_ZIP = make_zip(FILES | {SAMPLE.decode(): PNG}, zipfile.ZIP_STORED)
BOMB = make_zip(FILES | {"train/blue/bomb.png": bytes(40 * 2**20)})
LYING = patch_directory(BOMB, b"train/blue/bomb.png", 24, struct.pack("<I", 1000))

ATTACKS: dict[str, tuple[bytes, str]] = {
    "traversal": (entry_with("../evil.png"), "leads out"),
    "traversal inside": (entry_with("train/../../evil.png"), "leads out"),
    "absolute": (entry_with("/tmp/evil.png"), "absolute"),
    "drive": (entry_with("C:/evil.png"), "absolute"),
    "backslash": (rename(SAMPLE_ZIP, SAMPLE, b"train\\blue\\xxxx.png"), "backslash"),
    "NUL": (rename(SAMPLE_ZIP, SAMPLE, b"train/blue/x\0.png.e"), "NUL"),
    "newline": (entry_with("train/blue/a\nb.png"), "refused"),
    "dot": (entry_with("train/./blue/a.png"), "empty name"),
    "deep": (entry_with("a/" * 40 + "a.png"), "deep"),
    "long": (entry_with("train/blue/" + "a" * 300 + ".png"), "too long"),
    "symbolic link": (entry_with("train/blue/link.png", external_attr=LINK), "neither"),
    "pipe": (entry_with("train/blue/pipe.png", external_attr=FIFO), "neither"),
    "file and folder": (entry_with("train/blue"), "file and a folder"),
    "nested": (entry_with("train/blue/inner.zip"), "itself an archive"),
    "bomb": (BOMB, "times its size"),
    "bomb that lies": (LYING, "larger than it states|damaged|Overlapped"),
    "encrypted": (patch_directory(SAMPLE_ZIP, SAMPLE, 8, b"\1\0"), "encrypted"),
    "bzip2": (make_zip(FILES, zipfile.ZIP_BZIP2), "another method"),
    "lzma": (make_zip(FILES, zipfile.ZIP_LZMA), "another method"),
    "text": (b"hello, world" * 100, "not a zip"),
    "empty": (b"", "not a zip"),
    "truncated": (make_zip(FILES)[:-100], "not a zip|not a readable|incomplete"),
    "image": (PNG, "not a zip"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_unsafe_archive_is_refused_and_writes_nothing_outside(tmp_path, name):
    data, reason = ATTACKS[name]
    start = time.monotonic()
    with pytest.raises(ArchiveRefused, match=reason):
        extract(data, tmp_path / "out")
    assert time.monotonic() - start < 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entry_that_exists_twice_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train/blue/a.png", PNG)
        archive.writestr("train/blue/a.png", PNG)
    with pytest.raises(ArchiveRefused, match="twice"):
        extract(file.getvalue(), tmp_path / "out")


def test_number_of_entries_is_limited_before_they_are_parsed(tmp_path):
    data = make_zip({f"train/blue/{number}.png": b"" for number in range(1001)})
    with pytest.raises(ArchiveRefused, match="more than 1000 entries"):
        extract(data, tmp_path / "out", files=1000)


def test_expanded_bytes_are_limited_in_total_and_by_file(tmp_path):
    total = sum(map(len, FILES.values()))
    data = make_zip(FILES)
    assert tree(extract(data, tmp_path / "enough", expanded_bytes=total)) == FILES
    with pytest.raises(ArchiveRefused, match=f"more than {total - 1} bytes"):
        extract(data, tmp_path / "total", expanded_bytes=total - 1)
    with pytest.raises(ArchiveRefused, match="more than 100 bytes"):
        extract(data, tmp_path / "file", file_bytes=100)


def test_64_bit_archive_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(65_536):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    with pytest.raises(ArchiveRefused, match="64-bit"):
        extract(file.getvalue(), tmp_path / "out")


def test_damaged_content_is_refused(tmp_path):
    data = make_zip(FILES, zipfile.ZIP_STORED)
    position = data.index(b"IDAT") + 10
    damaged = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    with pytest.raises(ArchiveRefused, match="damaged"):
        extract(damaged, tmp_path / "out")


@pytest.mark.parametrize("seed", range(60))
def test_archive_with_random_damage_is_read_or_refused(tmp_path, seed):
    generator = random.Random(seed)
    data = bytearray(make_zip(FILES))
    for _ in range(generator.randint(1, 20)):
        data[generator.randrange(len(data))] = generator.randrange(256)
    with suppress(ArchiveRefused):
        extract(bytes(data[: generator.randint(len(data) // 2, len(data))]), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
