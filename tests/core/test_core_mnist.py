"""MNIST in torchvision's layout: it is loaded completely or refused with a helpful message."""

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
    """A small MNIST in the IDX format: magic number, sizes, bytes."""
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


def write_files(data_dir: Path, files: dict[str, bytes]) -> Path:
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in files.items():
        (raw / name).write_bytes(data)
    return raw


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def assert_complete(data: source.Dataset) -> None:
    assert data.name == "mnist"
    for split, part, size in ((data.train, "train", TRAIN), (data.test, "t10k", TEST)):
        pixels, labels = FILES[f"{part}-images-idx3-ubyte"], FILES[f"{part}-labels-idx1-ubyte"]
        assert split.images.shape == (size, 1, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.images.numpy().tobytes() == pixels[16:]
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == list(labels[8:])


def test_existing_files_are_loaded(tmp_path):
    write_files(tmp_path, FILES)
    assert_complete(source.load(tmp_path, False))


def test_missing_folder_is_refused_with_the_remedy_and_without_a_path(tmp_path):
    with pytest.raises(DatasetUnavailable) as refusal:
        source.load(tmp_path / "nowhere", False)
    assert "CAMREEL_DATA_DIR" in str(refusal.value)
    assert "MNIST/raw" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", NAMES)
def test_missing_file_is_not_reported_as_damaged(tmp_path, name):
    write_files(
        tmp_path, {file_name: data for file_name, data in FILES.items() if file_name != name}
    )
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path, False)


def kaggle_name(name: str) -> str:
    return name.replace("-idx", ".idx")


@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("spelling", [str, kaggle_name], ids=["lecun", "kaggle"])
def test_commonly_distributed_layouts_are_loaded(tmp_path, folder, compressed, spelling):
    for name, data in FILES.items():
        file = tmp_path / folder / (spelling(name) + ".gz" * compressed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data) if compressed else data)
    assert_complete(source.load(tmp_path, False))


def test_files_in_folders_of_the_same_name_are_loaded(tmp_path):
    for name, data in FILES.items():
        folder = tmp_path / kaggle_name(name)
        folder.mkdir()
        (folder / kaggle_name(name)).write_bytes(data)
    assert_complete(source.load(tmp_path, False))


def test_unrecognized_and_missing_files_are_listed(tmp_path):
    raw = write_files(tmp_path, {"t10k-labels-idx1-ubyte": FILES["t10k-labels-idx1-ubyte"]})
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
    raw = write_files(
        tmp_path, {file_name: data for file_name, data in FILES.items() if file_name != name}
    )
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
        pytest.param(gzip.compress, id="compressed"),
    ],
)
def test_damaged_files_are_refused_without_a_path(tmp_path, name, damage: Callable):
    write_files(tmp_path, FILES | {name: damage(FILES[name])})
    with pytest.raises(DatasetUnavailable, match=f"{name} of MNIST is damaged") as refusal:
        source.load(tmp_path, True)
    assert str(tmp_path) not in str(refusal.value)


def test_files_of_another_size_are_refused(tmp_path, monkeypatch):
    write_files(tmp_path, FILES)
    monkeypatch.setattr(source, "SOURCE", replace(source.SOURCE, train_size=60_000))
    with pytest.raises(DatasetUnavailable, match="train-images-idx3-ubyte of MNIST is damaged"):
        source.load(tmp_path, False)


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_invalid_label_is_reported_as_damage(tmp_path, part):
    name = f"{part}-labels-idx1-ubyte"
    write_files(tmp_path, FILES | {name: FILES[name][:-1] + b"\x0a"})
    with pytest.raises(DatasetUnavailable, match="damaged"):
        source.load(tmp_path, False)


@dataclass
class Mirror:
    """A server of compressed files on the loopback interface; `respond` replaces its response."""

    files: dict[str, bytes]
    requests: list[str] = field(default_factory=list)
    respond: Callable[[BaseHTTPRequestHandler, bytes], None] | None = None
    url: str = ""


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Mirror]:
    """A server from which torchvision's MNIST downloads the small files."""
    archives = {f"{name}.gz": gzip.compress(data) for name, data in FILES.items()}
    mirror = Mirror(archives)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            mirror.requests.append(name)
            if mirror.respond is not None:
                mirror.respond(self, mirror.files[name])
            else:
                send(self, mirror.files[name])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/"
    sums = [(name, hashlib.md5(data).hexdigest()) for name, data in archives.items()]
    monkeypatch.setattr(MNIST, "mirrors", [mirror.url])
    monkeypatch.setattr(MNIST, "resources", sums)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(request: BaseHTTPRequestHandler, data: bytes, *, length: int | None = None) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(data) if length is None else length))
    request.end_headers()
    request.wfile.write(data)


def test_missing_files_are_downloaded_once(mirror, tmp_path):
    assert_complete(source.load(tmp_path / "new" / "folder", True))
    result = read_files(tmp_path / "new" / "folder")
    assert result == {f"MNIST/raw/{name}": data for name, data in FILES.items()}
    request_count = len(mirror.requests)
    assert_complete(source.load(tmp_path / "new" / "folder", True))
    assert len(mirror.requests) == request_count


@pytest.mark.parametrize("name", NAMES)
def test_one_missing_file_is_downloaded(mirror, tmp_path, name):
    write_files(
        tmp_path, {file_name: data for file_name, data in FILES.items() if file_name != name}
    )
    assert_complete(source.load(tmp_path, True))
    assert read_files(tmp_path) == {f"MNIST/raw/{name}": data for name, data in FILES.items()}


def test_nothing_is_downloaded_without_permission(mirror, tmp_path):
    with pytest.raises(DatasetUnavailable):
        source.load(tmp_path, False)
    assert mirror.requests == []


def test_next_mirror_is_used_after_404(mirror, tmp_path, monkeypatch):
    def refuse_first_mirror(request: BaseHTTPRequestHandler, data: bytes) -> None:
        if request.path.startswith("/first/"):
            request.send_error(404)
        else:
            send(request, data)

    mirror.respond = refuse_first_mirror
    monkeypatch.setattr(MNIST, "mirrors", [mirror.url + "first/", mirror.url + "second/"])
    assert_complete(source.load(tmp_path, True))


def close_early(request: BaseHTTPRequestHandler, data: bytes) -> None:
    """Sends half of the last file and closes the connection."""
    if request.path.endswith("t10k-labels-idx1-ubyte.gz"):
        send(request, data[: len(data) // 2], length=len(data))
    else:
        send(request, data)


def close_between_chunks(request: BaseHTTPRequestHandler, data: bytes) -> None:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"%x\r\n" % len(data) + data[: len(data) // 2])


def send_other_bytes(request: BaseHTTPRequestHandler, data: bytes) -> None:
    send(request, bytes(len(data)))


def send_not_found(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.send_error(404)


def send_nothing(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.close_connection = True


def send_no_http(request: BaseHTTPRequestHandler, _data: bytes) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize(
    "respond",
    [
        close_early,
        close_between_chunks,
        send_other_bytes,
        send_not_found,
        send_nothing,
        send_no_http,
    ],
    ids=lambda respond: respond.__name__,
)
def test_failed_download_leaves_no_files(mirror, tmp_path, respond):
    mirror.respond = respond
    with pytest.raises(DatasetUnavailable) as refusal:
        source.load(tmp_path, True)
    assert mirror.requests
    assert "CAMREEL_DATA_DIR" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    assert read_files(tmp_path) == {}


def test_unreachable_mirror_is_refused_with_the_remedy(tmp_path, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/"
    monkeypatch.setattr(MNIST, "mirrors", [url])
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path, True)


def test_data_directory_that_cannot_be_created_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DatasetUnavailable, match="CAMREEL_DATA_DIR"):
        source.load(tmp_path / "file", True)
