"""MNIST in torchvision's layout: read whole, or refused with a sentence that helps."""

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from service.core.datasets import mnist as source
from service.errors import DatasetUnavailable

TRAIN, TEST = 6, 3
NAMES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k")
         for kind in ("images-idx3", "labels-idx1")]  # fmt: skip


def idx_files() -> dict[str, bytes]:
    """A small MNIST in the format of LeCun's page: magic number, sizes, bytes."""
    random = np.random.default_rng(0)
    files = {}
    for part, size in (("train", TRAIN), ("t10k", TEST)):
        images = random.integers(0, 256, (size, 28, 28), np.uint8).tobytes()
        labels = random.integers(0, 10, size, np.uint8).tobytes()
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">4I", 2051, size, 28, 28) + images
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, size) + labels
    return files


FILES = idx_files()


@pytest.fixture(autouse=True)
def small_source(monkeypatch) -> None:
    monkeypatch.setattr(source, "SOURCE", replace(source.SOURCE, train_size=TRAIN, test_size=TEST))


def lay_out(data_dir: Path, files: dict[str, bytes]) -> Path:
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in files.items():
        (raw / name).write_bytes(data)
    return raw


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def assert_whole(data: source.Dataset) -> None:
    assert data.name == "mnist"
    for split, part, size in ((data.train, "train", TRAIN), (data.test, "t10k", TEST)):
        pixels, labels = FILES[f"{part}-images-idx3-ubyte"], FILES[f"{part}-labels-idx1-ubyte"]
        assert split.images.shape == (size, 1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.images.numpy().tobytes() == pixels[16:]
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == list(labels[8:])


def test_files_that_are_there_are_read(tmp_path):
    lay_out(tmp_path, FILES)
    assert_whole(source.load(tmp_path, False))


def test_a_missing_folder_is_refused_with_what_to_do_and_no_path(tmp_path):
    with pytest.raises(DatasetUnavailable) as refusal:
        source.load(tmp_path / "nowhere", False)
    assert "CAMREEL_DATA_DIR" in str(refusal.value)
    assert "MNIST/raw" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_missing_and_not_damage(tmp_path, name):
    lay_out(tmp_path, {other: data for other, data in FILES.items() if other != name})
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path, False)


def kaggle_name(name: str) -> str:
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("spelling", [str, kaggle_name], ids=["lecun", "kaggle"])
def test_files_as_commonly_distributed_are_read(tmp_path, folder, compressed, spelling):
    for name, data in FILES.items():
        file = tmp_path / folder / (spelling(name) + ".gz" * compressed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data) if compressed else data)
    assert_whole(source.load(tmp_path, False))


def test_files_in_folders_of_their_own_names_are_read(tmp_path):
    for name, data in FILES.items():
        folder = tmp_path / kaggle_name(name)
        folder.mkdir()
        (folder / kaggle_name(name)).write_bytes(data)
    assert_whole(source.load(tmp_path, False))


def test_files_that_are_not_recognized_are_listed_with_those_missing(tmp_path):
    raw = lay_out(tmp_path, {"t10k-labels-idx1-ubyte": FILES["t10k-labels-idx1-ubyte"]})
    (raw / "train-images-idx3-ubyte.zip").write_bytes(b"PK")
    (tmp_path / "mnist.npz").write_bytes(b"PK")
    with pytest.raises(DatasetUnavailable) as refusal:
        source.load(tmp_path, False)
    message = str(refusal.value)
    assert "Missing: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images" in message
    assert "MNIST/raw/train-images-idx3-ubyte.zip" in message
    assert "mnist.npz" in message
    assert str(tmp_path) not in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: gzip.compress(data)[:-9], id="truncated"),
        pytest.param(lambda data: gzip.compress(data + bytes(2**20)), id="longer"),
        pytest.param(lambda data: gzip.compress(data[:-1]), id="shorter"),
        pytest.param(lambda data: data, id="not compressed"),
    ],
)
def test_damaged_compressed_files_are_refused(tmp_path, name, damage: Callable):
    raw = lay_out(tmp_path, {other: data for other, data in FILES.items() if other != name})
    (raw / f"{name}.gz").write_bytes(damage(FILES[name]))
    with pytest.raises(DatasetUnavailable, match=f"{name}.gz of MNIST is damaged"):
        source.load(tmp_path, False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda data: data[:5], id="five bytes"),
        pytest.param(lambda data: data[:-1], id="truncated"),
        pytest.param(lambda data: data + b"\0", id="trailing"),
        pytest.param(lambda data: b"<html>" + data[6:], id="a web page"),
        pytest.param(gzip.compress, id="still packed"),
    ],
)
def test_damaged_files_are_refused_without_a_path(tmp_path, name, damage: Callable):
    lay_out(tmp_path, FILES | {name: damage(FILES[name])})
    with pytest.raises(DatasetUnavailable, match=f"{name} of MNIST is damaged") as refusal:
        source.load(tmp_path, True)
    assert str(tmp_path) not in str(refusal.value)


def test_files_of_another_size_are_refused(tmp_path, monkeypatch):
    lay_out(tmp_path, FILES)
    monkeypatch.setattr(source, "SOURCE", replace(source.SOURCE, train_size=60_000))
    with pytest.raises(DatasetUnavailable, match="train-images-idx3-ubyte of MNIST is damaged"):
        source.load(tmp_path, False)


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_a_label_that_is_no_class_is_damage(tmp_path, part):
    name = f"{part}-labels-idx1-ubyte"
    lay_out(tmp_path, FILES | {name: FILES[name][:-1] + b"\x0a"})
    with pytest.raises(DatasetUnavailable, match="damaged"):
        source.load(tmp_path, False)


@dataclass
class Mirror:
    """A server of packed files on loopback; `answer` may send something else than the file."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler, bytes], None] | None = None
    url: str = ""


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Mirror]:
    """Torchvision's MNIST downloads the small files from here."""
    packed = {f"{name}.gz": gzip.compress(data) for name, data in FILES.items()}
    here = Mirror(packed)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            here.asked.append(name)
            if here.answer is not None:
                here.answer(self, here.files[name])
            else:
                send(self, here.files[name])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}/"
    sums = [(name, hashlib.md5(data).hexdigest()) for name, data in packed.items()]
    monkeypatch.setattr(MNIST, "mirrors", [here.url])
    monkeypatch.setattr(MNIST, "resources", sums)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(request: BaseHTTPRequestHandler, data: bytes, *, length: int | None = None) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(data) if length is None else length))
    request.end_headers()
    request.wfile.write(data)


def test_what_is_missing_is_downloaded_and_stays(mirror, tmp_path):
    assert_whole(source.load(tmp_path / "new" / "folder", True))
    result = everything_in(tmp_path / "new" / "folder")
    assert result == {f"MNIST/raw/{name}": data for name, data in FILES.items()}
    asked = len(mirror.asked)
    assert_whole(source.load(tmp_path / "new" / "folder", True))
    assert len(mirror.asked) == asked


@pytest.mark.parametrize("name", NAMES)
def test_one_missing_file_is_downloaded(mirror, tmp_path, name):
    lay_out(tmp_path, {other: data for other, data in FILES.items() if other != name})
    assert_whole(source.load(tmp_path, True))
    assert everything_in(tmp_path) == {f"MNIST/raw/{name}": data for name, data in FILES.items()}


def test_nothing_is_downloaded_unless_that_is_asked_for(mirror, tmp_path):
    with pytest.raises(DatasetUnavailable):
        source.load(tmp_path, False)
    assert mirror.asked == []


def test_a_mirror_that_answers_not_found_gives_way_to_the_next(mirror, tmp_path, monkeypatch):
    def not_at_first(request: BaseHTTPRequestHandler, data: bytes) -> None:
        if request.path.startswith("/first/"):
            request.send_error(404)
        else:
            send(request, data)

    mirror.answer = not_at_first
    monkeypatch.setattr(MNIST, "mirrors", [mirror.url + "first/", mirror.url + "second/"])
    assert_whole(source.load(tmp_path, True))


def breaks_off(request: BaseHTTPRequestHandler, data: bytes) -> None:
    """Half of the last file, and the connection is gone."""
    if request.path.endswith("t10k-labels-idx1-ubyte.gz"):
        send(request, data[: len(data) // 2], length=len(data))
    else:
        send(request, data)


def breaks_off_between_chunks(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n" % len(data) + data[: len(data) // 2])


def sends_other_bytes(request: BaseHTTPRequestHandler, data: bytes) -> None:
    send(request, bytes(len(data)))


def is_not_there(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.send_error(404)


def says_nothing(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.close_connection = True


def speaks_no_http(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        breaks_off,
        breaks_off_between_chunks,
        sends_other_bytes,
        is_not_there,
        says_nothing,
        speaks_no_http,
    ],
    ids=lambda answer: answer.__name__,
)
def test_a_download_that_fails_leaves_nothing_behind(mirror, tmp_path, answer):
    mirror.answer = answer
    with pytest.raises(DatasetUnavailable) as refusal:
        source.load(tmp_path, True)
    assert mirror.asked
    assert "CAMREEL_DATA_DIR" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert everything_in(tmp_path) == {}


def test_no_mirror_at_all_is_refused_with_what_to_do(tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/"
    monkeypatch.setattr(MNIST, "mirrors", [url])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path, True)


def test_a_data_directory_that_cannot_be_made_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path / "file", True)
