"""MNIST (LeCun et al. 1998) and datasets of the same format."""

from pathlib import Path

from service.core.datasets.dataset import Dataset, DatasetSource
from service.core.datasets.idx import IdxFiles
from service.core.input import InputSpec, Resize, unnormalized_input

MNIST_FILES = IdxFiles("MNIST", "MNIST", ("MNIST/raw", "MNIST", "."), r"mnist|ubyte|^train|^t10k")
FASHION_FILES = IdxFiles(
    "Fashion-MNIST", "FashionMNIST", ("FashionMNIST/raw", "FashionMNIST"), r"ubyte|^train|^t10k"
)
KMNIST_FILES = IdxFiles(
    "Kuzushiji-MNIST", "KMNIST", ("KMNIST/raw", "KMNIST"), r"ubyte|^train|^t10k"
)


def load(data_dir: Path, download: bool) -> Dataset:
    """MNIST from `data_dir`, downloaded to `data_dir`/MNIST/raw first if files are missing.

    Raises DatasetUnavailable, as the other two.
    """
    return MNIST_FILES.load(SOURCE, data_dir, download)


def load_fashion(data_dir: Path, download: bool) -> Dataset:
    """Fashion-MNIST, from `data_dir`/FashionMNIST/raw."""
    return FASHION_FILES.load(FASHION_SOURCE, data_dir, download)


def load_kuzushiji(data_dir: Path, download: bool) -> Dataset:
    """Kuzushiji-MNIST, from `data_dir`/KMNIST/raw."""
    return KMNIST_FILES.load(KUZUSHIJI_SOURCE, data_dir, download)


def _gray_input(mean: float, std: float) -> InputSpec:
    return InputSpec(channels="gray", resize=Resize(size=[28]), mean=[mean], std=[std])


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

FASHION_SOURCE = DatasetSource(
    name="fashion-mnist",
    title="Fashion-MNIST",
    description="70,000 pictures of clothes of 28 x 28 pixels, in MNIST's format.",
    license="MIT, Zalando SE",
    image_shape=(1, 28, 28),
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    train_size=60_000,
    test_size=10_000,
    default_input=_gray_input(0.2860, 0.3530),
    load=load_fashion,
)

KUZUSHIJI_SOURCE = DatasetSource(
    name="kmnist",
    title="Kuzushiji-MNIST",
    description="70,000 cursive Japanese characters of 28 x 28 pixels, in MNIST's format.",
    license="CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
    image_shape=(1, 28, 28),
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    train_size=60_000,
    test_size=10_000,
    default_input=_gray_input(0.1918, 0.3483),
    load=load_kuzushiji,
)
