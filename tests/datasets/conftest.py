"""Image folders made of few small images, with an application that trains on them."""

import copy
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.flows.folder_decoder import FolderDecoder
from service.flows.image_folders import ImageFolders

COLORS = {"amber": (255, 191, 0), "blue": (20, 40, 220), "coral": (255, 100, 80)}


def picture(
    color: tuple[int, int, int], seed: int, size: tuple[int, int] = (40, 30)
) -> Image.Image:
    """Noise of about that color; `size` is width, height."""
    noise = np.random.default_rng(seed).integers(-30, 31, (size[1], size[0], 3))
    return Image.fromarray((noise + color).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(root: Path, files: dict[str, bytes]) -> None:
    """Write files by their paths below the root."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def png(seed: int = 0, color: str = "blue") -> bytes:
    return encode(picture(COLORS[color], seed))


def write_folder(root: Path, train: int = 4, test: int = 2) -> Path:
    """An image folder of three classes of colors; returns its root."""
    for split, count in (("train", train), ("test", test)):
        for number, (name, color) in enumerate(COLORS.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                seed = number * 1000 + index + (500 if split == "test" else 0)
                (folder / f"{index:03}.png").write_bytes(encode(picture(color, seed)))
    return root


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with the folder `colors`."""
    folder = tmp_path / "data"
    write_folder(folder / "folders" / "colors")
    return folder


@pytest.fixture
def colors(data_dir: Path) -> Path:
    return data_dir / "folders" / "colors"


@pytest.fixture(scope="session")
def decoder() -> Iterator[FolderDecoder]:
    """A decoder process for all tests, which takes a while to start."""
    shared = FolderDecoder()
    yield shared
    shared.close()


@pytest.fixture
def open_folders(decoder: FolderDecoder) -> Callable[..., ImageFolders]:
    """Opens the image folders of a data directory."""

    def open_at(data_dir: Path, **options: object) -> ImageFolders:
        folders = ImageFolders(data_dir, **options)
        folders.decoder = copy.copy(decoder)  # whose methods a test may replace
        folders.single_decoder = copy.copy(decoder)
        return folders

    return open_at


@pytest.fixture
def folders(open_folders: Callable[..., ImageFolders], data_dir: Path) -> ImageFolders:
    return open_folders(data_dir)


@pytest.fixture
def empty(tmp_path: Path, open_folders: Callable[..., ImageFolders]) -> tuple[Path, ImageFolders]:
    """An empty folder `colors`, and the image folders of its data directory."""
    root = tmp_path / "folders" / "colors"
    root.mkdir(parents=True)
    return root, open_folders(tmp_path)
