"""CIFAR-10 (Krizhevsky 2009), from its binary version: the Python version is a pickle."""

import socket
import tarfile
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, DatasetSource, Split
from service.core.input import InputSpec, Resize
from service.errors import DatasetUnavailable
from service.files import unfinished_folder

FOLDER = "cifar-10-batches-bin"
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILES = ("test_batch.bin",)
IMAGES_PER_FILE = 10_000
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the planes red, green and blue

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
DOWNLOAD_TIMEOUT_SECONDS = 15.0

HOW_TO_PROVIDE = (
    "CIFAR-10 is not in the data directory and could not be downloaded. Put the files of its "
    "binary version (data_batch_1.bin to data_batch_5.bin, test_batch.bin) into "
    f"{FOLDER} under the folder that CAMREEL_DATA_DIR names, or give the machine access to the "
    "network. The Python version is not read: it is a pickle, which may run code."
)


def load(data_dir: Path, download: bool) -> Dataset:
    """CIFAR-10 from `data_dir`, downloaded to `data_dir`/cifar-10-batches-bin first if it is not
    there.

    Raises DatasetUnavailable when files are missing and may not or cannot be downloaded, or are
    damaged.
    """
    folder = data_dir / FOLDER
    if not all((folder / name).is_file() for name in (*TRAIN_FILES, *TEST_FILES)):
        if not download:
            raise DatasetUnavailable(HOW_TO_PROVIDE)
        _download(data_dir)
    train, test = (_read_split(folder, names) for names in (TRAIN_FILES, TEST_FILES))
    return Dataset(SOURCE.name, SOURCE.class_names, train, test)


def _read_split(folder: Path, names: tuple[str, ...]) -> Split:
    files = [_read_file(folder / name) for name in names]
    return Split(
        torch.cat([images for images, _ in files]), torch.cat([labels for _, labels in files])
    )


def _read_file(file: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,)."""
    expected_bytes = IMAGES_PER_FILE * RECORD_BYTES
    try:
        with file.open("rb") as stream:
            data = stream.read(expected_bytes + 1)
    except OSError as error:
        raise DatasetUnavailable(f"The file {file.name} of CIFAR-10 is damaged.") from error
    records = np.frombuffer(data, np.uint8)
    if len(data) != expected_bytes or records[::RECORD_BYTES].max() >= len(SOURCE.class_names):
        raise DatasetUnavailable(f"The file {file.name} of CIFAR-10 is damaged.")
    records = records.reshape(-1, RECORD_BYTES)
    images = torch.from_numpy(records[:, 1:].copy()).view(-1, *SHAPE)
    return images, torch.from_numpy(records[:, 0].astype(np.int64))


def _download(data_dir: Path) -> None:
    from torchvision.datasets.utils import download_url

    # torchvision sets no timeout of its own, and would wait indefinitely.
    previous_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        (data_dir / FOLDER).mkdir(parents=True, exist_ok=True)
        with unfinished_folder(data_dir) as folder:
            download_url(URL, str(folder), "cifar10.tar.gz", MD5)
            _extract(folder / "cifar10.tar.gz", folder)
            for name in (*TRAIN_FILES, *TEST_FILES):
                (folder / name).replace(data_dir / FOLDER / name)
    except (OSError, RuntimeError, HTTPException, KeyError, tarfile.TarError) as error:
        raise DatasetUnavailable(HOW_TO_PROVIDE) from error
    finally:
        socket.setdefaulttimeout(previous_timeout)


def _extract(archive: Path, folder: Path) -> None:
    """Write the archive's files of images, by the names that are expected and no others."""
    with tarfile.open(archive) as members:
        for name in (*TRAIN_FILES, *TEST_FILES):
            member = members.extractfile(f"{FOLDER}/{name}")
            if member is None:
                raise DatasetUnavailable(HOW_TO_PROVIDE)
            (folder / name).write_bytes(member.read(IMAGES_PER_FILE * RECORD_BYTES + 1))


SOURCE = DatasetSource(
    name="cifar10",
    title="CIFAR-10",
    description="60,000 photos of animals and vehicles of 32 x 32 pixels, in color.",
    license="Alex Krizhevsky, University of Toronto; no license is stated",
    image_shape=SHAPE,
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    train_size=IMAGES_PER_FILE * len(TRAIN_FILES),
    test_size=IMAGES_PER_FILE * len(TEST_FILES),
    default_input=InputSpec(
        channels="rgb",
        resize=Resize(size=[32]),
        mean=[0.4914, 0.4822, 0.4465],
        std=[0.2470, 0.2435, 0.2616],
    ),
    load=load,
)
