"""MNIST, as torchvision reads and downloads it. LeCun, Cortes and Burges."""

import gzip
import math
import re
import socket
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, DatasetSource, Split, SplitName
from service.core.input import unnormalized_input
from service.errors import DatasetUnavailable
from service.files import unfinished_folder

DOWNLOAD_TIMEOUT_SECONDS = 15.0

HOW_TO_PROVIDE = (
    "MNIST is not in the data directory and could not be downloaded. Put its four files "
    "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte; as they are or as .gz) into MNIST/raw under the folder that "
    "CAMREEL_DATA_DIR names, or give the machine access to the network."
)

FOLDERS = ("MNIST/raw", "MNIST", ".")
"""Where the files may lie, relative to the data directory: torchvision's folder first."""

PARTS = ("images-idx3", "labels-idx1")
PREFIXES: dict[SplitName, str] = {"train": "train", "test": "t10k"}

MAX_LISTED_FILES = 8


def load(data_dir: Path, download: bool) -> Dataset:
    """MNIST from `data_dir`, downloaded to `data_dir`/MNIST/raw first if files are missing.

    Raises DatasetUnavailable when files are missing and may not or cannot be downloaded, or are
    damaged.
    """
    try:
        train, test = (_read_split(data_dir, split) for split in PREFIXES)
    except FileNotFoundError as error:
        if not download:
            raise DatasetUnavailable(_missing_files_message(data_dir)) from error
        _download(data_dir)
        train, test = (_read_split(data_dir, split) for split in PREFIXES)
    return Dataset("mnist", SOURCE.class_names, train, test)


def _read_split(data_dir: Path, split: SplitName) -> Split:
    """One split. Raises FileNotFoundError, and DatasetUnavailable for damaged files."""
    image_file, label_file = (_find_file(data_dir, PREFIXES[split], suffix) for suffix in PARTS)
    size = SOURCE.size(split)
    images = _read_idx(image_file, (size, *SOURCE.image_shape[1:]))
    labels = _read_idx(label_file, (size,))
    if labels.max() >= len(SOURCE.class_names):
        raise DatasetUnavailable(f"The file {label_file.name} of MNIST is damaged.")
    return Split(images.unsqueeze(1), labels.long())


def _spellings(prefix: str, suffix: str) -> Iterator[str]:
    """File names that one file is distributed under: LeCun's, Kaggle's, each also compressed."""
    for name in (f"{prefix}-{suffix}-ubyte", f"{prefix}-{suffix.replace('-', '.')}-ubyte"):
        yield name
        yield f"{name}.gz"


def _find_file(data_dir: Path, prefix: str, suffix: str) -> Path:
    for folder in FOLDERS:
        for name in _spellings(prefix, suffix):
            # Kaggle's archive unpacks each file into a folder of the file's own name.
            for file in (data_dir / folder / name, data_dir / folder / name / name):
                if file.is_file():
                    return file
    raise FileNotFoundError(f"{prefix}-{suffix}-ubyte")


def _missing_files_message(data_dir: Path) -> str:
    """Instructions, the missing files, and similar files in the data directory."""
    missing_files = []
    for prefix in PREFIXES.values():
        for suffix in PARTS:
            try:
                _find_file(data_dir, prefix, suffix)
            except FileNotFoundError as error:
                missing_files.append(str(error))
    similar = [
        str(file.relative_to(data_dir))
        for folder in FOLDERS
        if (data_dir / folder).is_dir()
        for file in sorted((data_dir / folder).iterdir())
        if re.search(r"mnist|ubyte|^train|^t10k", file.name, re.IGNORECASE) and file.is_file()
    ]
    if not similar:
        return HOW_TO_PROVIDE
    file_list = ", ".join(similar[:MAX_LISTED_FILES]) + (
        ", ..." * (len(similar) > MAX_LISTED_FILES)
    )
    return (
        f"{HOW_TO_PROVIDE} Missing: {', '.join(missing_files)}. "
        f"The data directory holds: {file_list}."
    )


def _read_idx(file: Path, shape: tuple[int, ...]) -> Tensor:
    """The bytes of an IDX file: a magic number, its sizes as big-endian integers, the values.

    Read here, and not by torchvision: importing that takes longer than importing torch, and every
    worker would wait for it. torchvision is called where it is needed, to download.
    """
    head = np.array([0x0800 + len(shape), *shape], ">u4").tobytes()
    expected_bytes = len(head) + math.prod(shape)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            # One byte more shows a longer file, whatever a compressed one would expand to.
            data = stream.read(expected_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetUnavailable(f"The file {file.name} of MNIST is damaged.") from error
    if len(data) != expected_bytes or not data.startswith(head):
        raise DatasetUnavailable(f"The file {file.name} of MNIST is damaged.")
    values = np.frombuffer(data, np.uint8, offset=len(head)).copy()
    return torch.from_numpy(values.reshape(shape))


def _download(data_dir: Path) -> None:
    # Into a separate folder, then one rename per file, so that no other run reads a partial file.
    raw = data_dir / "MNIST" / "raw"
    from torchvision.datasets import MNIST

    # torchvision sets no timeout of its own, and would wait indefinitely.
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(data_dir) as folder:
            MNIST(folder, download=True)
            for file in (folder / "MNIST" / "raw").glob("*-ubyte"):
                file.replace(raw / file.name)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DatasetUnavailable(_missing_files_message(data_dir)) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)


SOURCE = DatasetSource(
    name="mnist",
    title="MNIST",
    description="70,000 handwritten digits of 28 x 28 pixels: the paper's data.",
    license="CC BY-SA 3.0, Yann LeCun, Corinna Cortes, Christopher Burges",
    image_shape=(1, 28, 28),
    class_names=tuple("0123456789"),
    train_size=60_000,
    test_size=10_000,
    default_input=unnormalized_input("gray", 28, 28),
    load=load,
)
