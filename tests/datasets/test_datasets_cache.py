"""Image folders: when images are decoded again, defaults of the input, and the cache of pixels."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from service.core.datasets.dataset import DatasetInfo, ImageReference
from service.core.datasets.folder import FolderPaths, folder_source
from service.core.datasets.folder_index import FolderIndex, ImageEntry
from service.core.input import InputSpec
from service.errors import (
    DatasetChanged,
    DatasetNotFound,
    DatasetNotMeasured,
    DatasetUnavailable,
    ImageNotFound,
)
from service.flows.image_folders import FolderLimits, ImageFolders
from service.store_errors import StoreFull
from tests.datasets.conftest import COLORS, encode, picture, png, write

NAME = "folder:colors"
RGB = InputSpec.model_validate(
    {"channels": "rgb", "resize": {"size": [30, 40]}, "mean": [0.5] * 3, "std": [0.5] * 3}
)


def info_of(folders: ImageFolders) -> DatasetInfo:
    return folders.index(NAME).info


class CountingDecoder:
    """Counts the images that are measured."""

    def __init__(self, folders: ImageFolders) -> None:
        self.count = 0
        self._measure = folders.decoder.measure
        folders.decoder.measure = self.measure

    def measure(self, data: bytes):
        self.count += 1
        return self._measure(data)


def test_only_files_that_changed_are_decoded_again(folders, colors):
    decoder = CountingDecoder(folders)
    first = folders.index(NAME)
    assert decoder.count == 18
    assert folders.index(NAME) == first
    assert decoder.count == 18
    (colors / "train/blue/000.png").write_bytes(png(77))
    assert folders.index(NAME).content_sha256 != first.content_sha256
    assert decoder.count == 19


def test_file_changed_at_the_same_size_and_time_is_detected(folders, colors):
    file = colors / "train/blue/000.png"
    before, status = folders.index(NAME), file.stat()
    data = bytearray(file.read_bytes())
    swapped = encode(picture(COLORS["coral"], 3))
    file.write_bytes(swapped[: len(data)].ljust(len(data), b"\0"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folders.index(NAME).content_sha256 != before.content_sha256


def test_copy_of_a_folder_has_the_same_hash(folders, colors):
    before = folders.index(NAME).content_sha256
    shutil.copytree(colors, colors.parent / "copy")
    assert folders.index("folder:copy").content_sha256 == before


def test_folder_with_many_new_images_is_not_measured_during_a_request(folders, colors):
    with pytest.raises(DatasetNotMeasured, match="18 new images"):
        folders.index(NAME, max_measured=17)
    assert folders.index(NAME, max_measured=18)
    assert folders.index(NAME, max_measured=0)


def test_changed_folder_is_refused_with_the_former_hash(folders, colors):
    info = info_of(folders)
    (colors / "test/blue/000.png").unlink()
    with pytest.raises(DatasetChanged):
        folders.prepare(NAME, info, RGB)
    with pytest.raises(DatasetChanged):
        folders.read_pixels(NAME, info, RGB, ImageReference("test", 0))


def test_image_that_changed_since_it_was_measured_is_refused(folders, colors):
    info = info_of(folders)
    (colors / "train/amber/000.png").write_bytes(png(77))
    with pytest.raises(DatasetChanged):
        folders.read_pixels(NAME, info, RGB, ImageReference("train", 0))
    # The others are still those of the run.
    pixels, _ = folders.read_pixels(NAME, info, RGB, ImageReference("train", 1))
    assert pixels.shape == (3, 30, 40)


def test_unknown_folder_and_image_are_refused(folders, colors):
    with pytest.raises(DatasetNotFound):
        folders.index("folder:none")
    with pytest.raises(ImageNotFound, match="0 to 5"):
        folders.read_pixels(NAME, info_of(folders), RGB, ImageReference("test", 6))


def test_folder_without_two_classes_cannot_be_trained_on(empty):
    root, folders = empty
    write(root, {"train/a/1.png": png(1), "test/a/2.png": png(2)})
    with pytest.raises(DatasetUnavailable, match="fewer than two classes"):
        info_of(folders)


def test_default_input_of_large_images_is_a_center_crop(empty):
    root, folders = empty
    for number, size in enumerate([(300, 400), (500, 280), (640, 320)]):
        data = encode(picture(COLORS["coral"], number, size), "JPEG")
        write(root, {f"{split}/a/{number}.jpg": data for split in ("train", "test")})
    spec = folders.index(NAME).default_input
    assert (spec.channels, spec.resize.mode, spec.resize.size) == ("rgb", "shorter", [256])
    assert spec.crop is not None
    assert spec.crop.size == [224]


def test_default_input_of_gray_images_is_gray(empty):
    root, folders = empty
    gray = encode(picture(COLORS["coral"], 1).convert("L").convert("RGB"))
    write(root, {"train/a/1.png": gray, "test/b/2.png": gray})
    spec = folders.index(NAME).default_input
    assert (spec.channels, spec.image_shape) == ("gray", (1, 30, 40))


def cache_folders(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "cache").glob("*/*-*"))


def input_of(side: int) -> InputSpec:
    return RGB.model_copy(update={"resize": RGB.resize.model_copy(update={"size": [side]})})


def test_cache_beyond_the_limit_evicts_the_least_recently_used_one(data_dir, open_folders):
    image_bytes = 18 * 3 * 10 * 10
    limits = FolderLimits(cache_bytes=3 * image_bytes)
    folders = open_folders(data_dir, limits=limits)
    info = info_of(folders)
    kept_inputs = [input_of(10), input_of(9)]
    for spec in kept_inputs:
        folders.prepare(NAME, info, spec)
    first, second = (
        FolderPaths(data_dir, "colors").pixels(info.content_sha256, spec) for spec in kept_inputs
    )
    os.utime(second, (1, 1))
    folders.prepare(NAME, info, input_of(11))
    assert first.exists()
    assert not second.exists()
    assert len(cache_folders(data_dir)) == 2
    with pytest.raises(StoreFull, match="CAMREEL_DATASET_CACHE_BYTES"):
        folders.prepare(NAME, info, input_of(20))


def test_damaged_cache_is_made_again(folders, data_dir):
    info = info_of(folders)
    folders.prepare(NAME, info, RGB)
    (cache,) = cache_folders(data_dir)
    pixels = (cache / "pixels.bin").read_bytes()
    (cache / "pixels.bin").write_bytes(pixels[:-1])
    folders.prepare(NAME, info, RGB)
    assert (cache / "pixels.bin").read_bytes() == pixels


def test_cache_that_cannot_be_written_leaves_nothing(folders, data_dir, monkeypatch):
    info = info_of(folders)

    def fail(data: bytes, input_spec: InputSpec):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders.decoder, "resize", fail)
    with pytest.raises(StoreFull, match="No space left"):
        folders.prepare(NAME, info, RGB)
    assert sorted(path.name for path in (data_dir / "cache" / "colors").iterdir()) == [
        "index.json",
        "lock",
    ]


def test_cached_images_equal_single_ones_and_index_like_a_tensor(folders, data_dir):
    info = info_of(folders)
    spec = InputSpec.model_validate(
        {
            "resize": {"mode": "shorter", "size": 20},
            "crop": {"size": 16},
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        }
    )
    folders.prepare(NAME, info, spec)
    data = folder_source(NAME, info, spec).load(data_dir, False)
    assert len(data.train.images) == 12
    batch = data.train.images[torch.tensor([5, 0, 5])]
    assert batch.shape == (3, 3, 16, 16)
    single, label = folders.read_pixels(NAME, info, spec, ImageReference("train", 5))
    assert np.array_equal(batch[0].numpy(), single)
    assert batch[0].equal(batch[2])
    assert data.train.labels[5] == label
    assert data.train.images[2:4].equal(data.train.images[torch.tensor([2, 3])])
    assert data.train.images[7].equal(data.train.images[7:8][0])
    assert data.train.images.resized(0).shape == (3, 20, 26)
    assert data.test.images[0:1].equal(data.test.images[torch.tensor([0])])


def test_memory_of_loading_does_not_grow_with_the_number_of_images(tmp_path):
    """Anonymous memory: pages of the mapped file can be dropped at any time."""
    count = 20_000
    entries = tuple(
        ImageEntry(
            path=f"{split}/{c}/{i}.png", split=split, class_name=c, sha256=f"{i:064x}", bytes=1,
            changed_ns=1, height=32, width=32, is_gray=False, means=(0.5,) * 3, squares=(0.3,) * 3,
        )
        for split, size in (("train", count * 4 // 10), ("test", count // 10))
        for c in "ab"
        for i in range(size)
    )  # fmt: skip
    index = FolderIndex(entries, (), 0)
    paths = FolderPaths(tmp_path, "large")
    spec = input_of(32)
    folder = paths.pixels(index.content_sha256, spec)
    folder.mkdir(parents=True)
    paths.index.write_bytes(index.to_json())
    np.save(folder / "sizes.npy", np.full((count, 2), 32, np.int32))
    with (folder / "pixels.bin").open("wb") as file:
        file.truncate(count * 3 * 32 * 32)  # 61 MB
    data = folder_source("folder:large", index.info, spec).load(tmp_path, False)
    before = anonymous_bytes()
    total = 0
    for start in range(0, len(data.train.images), 100):
        total += int(data.train.images[start : start + 100].sum())
    assert total == 0
    assert anonymous_bytes() - before < 2**22


def anonymous_bytes() -> int:
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )
    return int(line.split()[1]) * 1024
