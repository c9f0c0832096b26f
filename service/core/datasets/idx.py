"""Datasets of IDX files in MNIST's layout, as torchvision reads and downloads them."""

import gzip
import math
import re
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, DatasetSource, Split, SplitName
from service.errors import DatasetUnavailable
from service.files import unfinished_folder

DOWNLOAD_TIMEOUT_SECONDS = 15.0

PARTS = ("images-idx3", "labels-idx1")
PREFIXES: dict[SplitName, str] = {"train": "train", "test": "t10k"}

MAX_LISTED_FILES = 8


@dataclass(frozen=True)
class IdxFiles:
    """Where the files of a dataset lie."""

    title: str
    torchvision_class: str  # whose name is that of torchvision's folder
    folders: tuple[str, ...]  # relative to the data directory, torchvision's first
    similar_names: str  # pattern of the names of files that may have been meant

    def load(self, source: DatasetSource, data_dir: Path, download: bool) -> Dataset:
        """The dataset; downloaded to torchvision's folder first if files are missing.

        Raises DatasetUnavailable when files are missing and may not or cannot be downloaded, or
        are damaged.
        """
        try:
            train, test = (self._read_split(source, data_dir, split) for split in PREFIXES)
        except FileNotFoundError as error:
            if not download:
                raise DatasetUnavailable(self._missing_files_message(data_dir)) from error
            self._download(data_dir)
            train, test = (self._read_split(source, data_dir, split) for split in PREFIXES)
        return Dataset(source.name, source.class_names, train, test)

    def _read_split(self, source: DatasetSource, data_dir: Path, split: SplitName) -> Split:
        """One split. Raises FileNotFoundError, and DatasetUnavailable for damaged files."""
        image_file, label_file = (
            self._find_file(data_dir, PREFIXES[split], suffix) for suffix in PARTS
        )
        size = source.size(split)
        images = self._read_idx(image_file, (size, *source.image_shape[1:]))
        labels = self._read_idx(label_file, (size,))
        if labels.max() >= len(source.class_names):
            raise DatasetUnavailable(f"The file {label_file.name} of {self.title} is damaged.")
        return Split(images.unsqueeze(1), labels.long())

    def _find_file(self, data_dir: Path, prefix: str, suffix: str) -> Path:
        for folder in self.folders:
            for name in _spellings(prefix, suffix):
                # Kaggle's archive unpacks each file into a folder of the file's own name.
                for file in (data_dir / folder / name, data_dir / folder / name / name):
                    if file.is_file():
                        return file
        raise FileNotFoundError(f"{prefix}-{suffix}-ubyte")

    @property
    def _how_to_provide(self) -> str:
        return (
            f"{self.title} is not in the data directory and could not be downloaded. Put its four "
            "files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
            f"t10k-labels-idx1-ubyte; as they are or as .gz) into {self.folders[0]} under the "
            "folder that CAMREEL_DATA_DIR names, or give the machine access to the network."
        )

    def _missing_files_message(self, data_dir: Path) -> str:
        """Instructions, the missing files, and similar files in the data directory."""
        missing_files = []
        for prefix in PREFIXES.values():
            for suffix in PARTS:
                try:
                    self._find_file(data_dir, prefix, suffix)
                except FileNotFoundError as error:
                    missing_files.append(str(error))
        similar = [
            str(file.relative_to(data_dir))
            for folder in self.folders
            if (data_dir / folder).is_dir()
            for file in sorted((data_dir / folder).iterdir())
            if re.search(self.similar_names, file.name, re.IGNORECASE) and file.is_file()
        ]
        if not similar:
            return self._how_to_provide
        file_list = ", ".join(similar[:MAX_LISTED_FILES]) + (
            ", ..." * (len(similar) > MAX_LISTED_FILES)
        )
        return (
            f"{self._how_to_provide} Missing: {', '.join(missing_files)}. "
            f"The data directory holds: {file_list}."
        )

    def _read_idx(self, file: Path, shape: tuple[int, ...]) -> Tensor:
        """The bytes of an IDX file: a magic number, its sizes as big-endian integers, the values.

        Read here, and not by torchvision: importing that takes longer than importing torch, and
        every worker would wait for it. torchvision is called where it is needed, to download.
        """
        head = np.array([0x0800 + len(shape), *shape], ">u4").tobytes()
        expected_bytes = len(head) + math.prod(shape)
        try:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
                # One byte more shows a longer file, whatever a compressed one would expand to.
                data = stream.read(expected_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DatasetUnavailable(f"The file {file.name} of {self.title} is damaged.") from error
        if len(data) != expected_bytes or not data.startswith(head):
            raise DatasetUnavailable(f"The file {file.name} of {self.title} is damaged.")
        values = np.frombuffer(data, np.uint8, offset=len(head)).copy()
        return torch.from_numpy(values.reshape(shape))

    def _download(self, data_dir: Path) -> None:
        # Into a separate folder, then one rename per file, so that no run reads a partial file.
        raw = data_dir / self.torchvision_class / "raw"
        import torchvision.datasets

        # torchvision sets no timeout of its own, and would wait indefinitely.
        previous_timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
        try:
            raw.mkdir(parents=True, exist_ok=True)
            with unfinished_folder(data_dir) as folder:
                getattr(torchvision.datasets, self.torchvision_class)(folder, download=True)
                for file in (folder / self.torchvision_class / "raw").glob("*-ubyte"):
                    file.replace(raw / file.name)
        except (OSError, RuntimeError, HTTPException) as error:
            raise DatasetUnavailable(self._missing_files_message(data_dir)) from error
        finally:
            socket.setdefaulttimeout(previous_timeout)


def _spellings(prefix: str, suffix: str) -> Iterator[str]:
    """File names that one file is distributed under: LeCun's, Kaggle's, each also compressed."""
    for name in (f"{prefix}-{suffix}-ubyte", f"{prefix}-{suffix.replace('-', '.')}-ubyte"):
        yield name
        yield f"{name}.gz"
