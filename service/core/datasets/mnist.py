"""MNIST, as torchvision reads and downloads it. LeCun, Cortes and Burges."""

import math
import socket
import tempfile
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.core.datasets.dataset import Dataset, DatasetSource, Split
from service.errors import DatasetUnavailable

DOWNLOAD_TIMEOUT_SECONDS = 15.0

HOW_TO_PROVIDE = (
    "MNIST is not in the data directory and could not be downloaded. Put torchvision's layout "
    "(MNIST/raw with the four idx-ubyte files) under the folder that CAMREEL_DATA_DIR names, or "
    "give the machine access to the network."
)


def load(data_dir: Path, download: bool) -> Dataset:
    """MNIST from `data_dir`/MNIST/raw, downloaded there first where that is asked for.

    Raises DatasetUnavailable when the files are missing and no mirror answers, or are damaged.
    """
    try:
        train, test = (_read(data_dir, train=train) for train in (True, False))
    except FileNotFoundError as error:
        if not download:
            raise DatasetUnavailable(HOW_TO_PROVIDE) from error
        _download(data_dir)
        train, test = (_read(data_dir, train=train) for train in (True, False))
    return Dataset("mnist", SOURCE.class_names, train, test)


def _read(data_dir: Path, *, train: bool) -> Split:
    part = "train" if train else "t10k"
    raw = data_dir / "MNIST" / "raw"
    if not all((raw / f"{part}-{kind}-ubyte").is_file() for kind in ("images-idx3", "labels-idx1")):
        raise FileNotFoundError(part)
    size = SOURCE.size("train" if train else "test")
    images = _idx(raw / f"{part}-images-idx3-ubyte", (size, *SOURCE.image_shape[1:]))
    labels = _idx(raw / f"{part}-labels-idx1-ubyte", (size,))
    if labels.max() >= len(SOURCE.class_names):
        raise DatasetUnavailable(f"The file {part}-labels-idx1-ubyte of MNIST is damaged.")
    return Split(images.unsqueeze(1), labels.long())


def _idx(file: Path, shape: tuple[int, ...]) -> Tensor:
    """The bytes of an IDX file: a magic number, its sizes as big-endian integers, the values.

    Read here, and not by torchvision: importing that takes longer than importing torch, and every
    worker would wait for it. torchvision is called where it is needed, to download.
    """
    data = np.fromfile(file, np.uint8)
    head = np.array([0x0800 + len(shape), *shape], ">u4").tobytes()
    if len(data) != len(head) + math.prod(shape) or data[: len(head)].tobytes() != head:
        raise DatasetUnavailable(f"The file {file.name} of MNIST is damaged.")
    return torch.from_numpy(data[len(head) :].reshape(shape))


def _download(data_dir: Path) -> None:
    # Into a folder of its own, then one rename a file: a run that starts meanwhile, or a download
    # that breaks off, never sees half a file.
    raw = data_dir / "MNIST" / "raw"
    from torchvision.datasets import MNIST

    # torchvision sets no timeout of its own, and would wait for a silent network for ever.
    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir) as folder:
            MNIST(folder, download=True)
            for file in (Path(folder) / "MNIST" / "raw").glob("*-ubyte"):
                file.replace(raw / file.name)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DatasetUnavailable(HOW_TO_PROVIDE) from error
    finally:
        socket.setdefaulttimeout(waited)


SOURCE = DatasetSource(
    name="mnist",
    title="MNIST",
    description="70,000 handwritten digits of 28 x 28 pixels: the paper's data.",
    licence="CC BY-SA 3.0, Yann LeCun, Corinna Cortes, Christopher Burges",
    image_shape=(1, 28, 28),
    class_names=tuple("0123456789"),
    train_size=60_000,
    test_size=10_000,
    load=load,
)
