"""What is known of an image folder: its images with their hashes, sizes and statistics."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from service.core.datasets.dataset import DatasetInfo, SplitName
from service.core.datasets.folder_listing import FileState, SkippedFile
from service.core.input import Crop, InputSpec, Resize
from service.errors import DatasetUnavailable

FORMAT = 1
TEST_SHARE = 0.2
"""Share of the images that test, in a folder without a test split."""

MAX_EXACT_SIDE = 256
MAX_SHORTER_SIDE = 256
MIN_STD = 1e-3


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image of a folder, as measured when it was decoded."""

    path: str
    split: SplitName
    class_name: str
    sha256: str  # of the file
    bytes: int
    changed_ns: int
    height: int  # upright
    width: int
    is_gray: bool
    means: tuple[float, float, float]  # of the levels by RGB channel, 0..1
    squares: tuple[float, float, float]  # means of the squared levels


@dataclass(frozen=True)
class ClassCount:
    """A class and the number of its images by split."""

    name: str
    train: int
    test: int


@dataclass(frozen=True)
class FolderIndex:
    """The images of a folder by split, class and path, and the files that are skipped."""

    entries: tuple[ImageEntry, ...]
    skipped: tuple[SkippedFile, ...]
    masks: int  # images that have a mask
    listing_sha256: str = ""  # of the files' names, sizes and times when they were measured

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes, sorted."""
        return tuple(sorted({entry.class_name for entry in self.entries}))

    def split(self, name: SplitName) -> list[ImageEntry]:
        """The images of a split in the order of their indices."""
        return [entry for entry in self.entries if entry.split == name]

    @cached_property
    def content_sha256(self) -> str:
        """Hash of the splits, classes, paths and contents of all images."""
        digest = hashlib.sha256()
        for entry in self.entries:
            line = (entry.split, entry.class_name, entry.path, entry.sha256)
            digest.update(json.dumps(line).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def class_counts(self) -> list[ClassCount]:
        """The number of images of each class."""
        counts = Counter((entry.class_name, entry.split) for entry in self.entries)
        return [ClassCount(c, counts[c, "train"], counts[c, "test"]) for c in self.class_names]

    @property
    def imbalance(self) -> float:
        """Training images of the largest class by those of the smallest, at least one."""
        sizes = [count.train for count in self.class_counts]
        return max(sizes, default=0) / max(1, min(sizes, default=1))

    @cached_property
    def duplicates(self) -> int:
        """Test images whose file is equal to that of a training image."""
        train = {entry.sha256 for entry in self.split("train")}
        return sum(entry.sha256 in train for entry in self.split("test"))

    def check_trainable(self) -> None:
        """Raises DatasetUnavailable for a folder without classes, or without images of a split."""
        problems = {
            "it has fewer than two classes": len(self.class_names) < 2,
            "it has no training images": not self.split("train"),
            "it has no test images": not self.split("test"),
        }
        for problem, holds in problems.items():
            if holds:
                raise DatasetUnavailable(f"The image folder cannot be trained on: {problem}.")

    @property
    def info(self) -> DatasetInfo:
        """What a run stores of the folder. Raises as `check_trainable`."""
        self.check_trainable()
        return DatasetInfo(
            content_sha256=self.content_sha256,
            class_names=list(self.class_names),
            train_size=len(self.split("train")),
            test_size=len(self.split("test")),
        )

    @cached_property
    def common_size(self) -> tuple[int, int] | None:
        """Height and width of all images; None if they differ."""
        sizes = {(entry.height, entry.width) for entry in self.entries}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def channels(self) -> Literal["gray", "rgb"]:
        """The channels that the images need: gray where no image has colors."""
        return "gray" if all(entry.is_gray for entry in self.entries) else "rgb"

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation, 0..1, of the training images' levels by channel.

        Each image counts the same, whatever its size.
        """
        train = self.split("train") or list(self.entries)
        channels = range(1 if self.channels == "gray" else 3)
        means = [math.fsum(e.means[c] for e in train) / max(1, len(train)) for c in channels]
        squares = [math.fsum(e.squares[c] for e in train) / max(1, len(train)) for c in channels]
        deviations = [
            min(1.0, max(MIN_STD, math.sqrt(max(0.0, square - mean**2))))
            for mean, square in zip(means, squares, strict=True)
        ]
        return [round(mean, 4) for mean in means], [round(std, 4) for std in deviations]

    @property
    def default_input(self) -> InputSpec:
        """Small images of one size as they are; otherwise a square of the images' center."""
        mean, std = self.statistics()
        size = self.common_size
        if size is not None and max(size) <= MAX_EXACT_SIDE:
            resize, crop = Resize(size=[size[0]] if size[0] == size[1] else list(size)), None
        else:
            sides = sorted(min(entry.height, entry.width) for entry in self.entries)
            side = min(MAX_SHORTER_SIDE, sides[len(sides) // 2])
            resize = Resize(mode="shorter", size=[side])
            crop = Crop(size=[max(1, side * 7 // 8)])
        return InputSpec(channels=self.channels, resize=resize, crop=crop, mean=mean, std=std)

    def to_json(self) -> bytes:
        """The index as stored in the cache."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "FolderIndex":
        """The index of that JSON. Raises ValueError for another format."""
        values = json.loads(data)
        if values.pop("format", None) != FORMAT:
            raise ValueError("an index of another format")
        return cls(
            entries=tuple(
                ImageEntry(
                    **entry | {"means": tuple(entry["means"]), "squares": tuple(entry["squares"])}
                )
                for entry in values["entries"]
            ),
            skipped=tuple(SkippedFile(**file) for file in values["skipped"]),
            masks=values["masks"],
            listing_sha256=values["listing_sha256"],
        )


def assign_split(file: FileState, sha256: str) -> SplitName:
    """The file's split; without a test split, by the hash of its content.

    Equal files are in the same split, whatever their names, and adding files moves no others.
    """
    if file.split is not None:
        return file.split
    seeded = hashlib.sha256(f"camreel split {sha256}".encode()).digest()
    return "test" if int.from_bytes(seeded[:8], "big") < TEST_SHARE * 2**64 else "train"


def make_index(
    entries: Iterable[ImageEntry], skipped: Sequence[SkippedFile], masks: int
) -> FolderIndex:
    """The index of measured images: training images first, by class and path."""
    order = sorted(entries, key=lambda e: (e.split != "train", e.class_name, e.path))
    return FolderIndex(tuple(order), tuple(skipped), masks)


def count_masks(root: Path, paths: Iterable[str]) -> int:
    """The number of images that have a mask, `masks/<path of the image, as .png>`."""
    folder = root / "masks"
    if not folder.is_dir():
        return 0
    return sum((folder / path).with_suffix(".png").is_file() for path in paths)
