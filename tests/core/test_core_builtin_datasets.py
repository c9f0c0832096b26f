"""Fashion-MNIST, Kuzushiji-MNIST and CIFAR-10, from small files in their formats."""

import pickle
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, KMNIST, FashionMNIST

from service.core.datasets import DATASETS, cifar, mnist
from service.core.spec import RunSpec
from service.errors import DatasetUnavailable

SIZES = {"train": 6, "test": 3}


def write_idx(folder: Path) -> dict[str, np.ndarray]:
    """Small files in MNIST's format; their images by split."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = {}
    for split, part in (("train", "train"), ("test", "t10k")):
        size = SIZES[split]
        pixels = generator.integers(0, 256, (size, 28, 28), np.uint8)
        images[split] = pixels
        head = struct.pack(">4I", 2051, size, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = bytes(range(size))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, size) + labels)
    return images


@pytest.mark.parametrize(
    ("attribute", "folder", "theirs"),
    [("FASHION_SOURCE", "FashionMNIST", FashionMNIST), ("KUZUSHIJI_SOURCE", "KMNIST", KMNIST)],
)
def test_idx_files_are_read_as_by_torchvision(tmp_path, monkeypatch, attribute, folder, theirs):
    source = replace(getattr(mnist, attribute), train_size=6, test_size=3)
    monkeypatch.setattr(mnist, attribute, source)
    write_idx(tmp_path / folder / "raw")
    data = source.load(tmp_path, False)
    for split in (data.train, data.test):
        expected = theirs(tmp_path, train=split is data.train)
        assert split.images.squeeze(1).equal(expected.data)
        assert split.labels.equal(expected.targets)
    assert data.class_names == tuple(theirs.classes)


def test_idx_files_of_mnist_are_not_taken_for_another_dataset(tmp_path):
    write_idx(tmp_path / "MNIST" / "raw")
    with pytest.raises(DatasetUnavailable, match="FashionMNIST/raw"):
        DATASETS["fashion-mnist"].load(tmp_path, False)


@pytest.fixture
def small_cifar(monkeypatch) -> None:
    monkeypatch.setattr(cifar, "IMAGES_PER_FILE", 4)


def write_cifar(data_dir: Path) -> dict[str, np.ndarray]:
    """Files of 4 records; their images by name."""
    folder = data_dir / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = {}
    for number, name in enumerate((*cifar.TRAIN_FILES, *cifar.TEST_FILES)):
        pixels = generator.integers(0, 256, (4, 3, 32, 32), np.uint8)
        images[name] = pixels
        records = [bytes([number]) + image.tobytes() for image in pixels]
        (folder / name).write_bytes(b"".join(records))
    return images


def test_binary_files_of_cifar_are_read_by_plane(tmp_path, small_cifar):
    images = write_cifar(tmp_path)
    data = cifar.load(tmp_path, False)
    assert data.train.images.shape == (20, 3, 32, 32)
    assert np.array_equal(data.train.images[8:12].numpy(), images["data_batch_3.bin"])
    assert np.array_equal(data.test.images.numpy(), images["test_batch.bin"])
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4
    assert data.test.labels.tolist() == [5] * 4


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"\x0a" + data[1:]],
    ids=["short", "long", "unknown class"],
)
def test_damaged_file_of_cifar_is_refused(tmp_path, small_cifar, damage):
    write_cifar(tmp_path)
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DatasetUnavailable, match="data_batch_2"):
        cifar.load(tmp_path, False)


def test_pickles_of_cifar_are_not_read(tmp_path, small_cifar):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list):
        (folder / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DatasetUnavailable, match="pickle"):
        cifar.load(tmp_path, False)
    assert not (tmp_path / "ran").exists()


def test_run_on_cifar_sees_normalized_colors():
    spec = RunSpec(dataset="cifar10")
    assert spec.source.image_shape == (3, 32, 32)
    assert spec.source.class_names[3] == "cat"
    assert (len(spec.input.mean), spec.input.baseline) == (3, "mean")
    assert spec.image_set == "cifar10"
