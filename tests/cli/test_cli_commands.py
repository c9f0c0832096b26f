"""Commands with and without a service."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.cli.commands import camreel, camreel_process, error_line
from tests.conftest import CAMREEL, mnist_dir

NO_NETWORK = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def test_demo_without_mnist_warns_and_uses_digits(
    tmp_path: Path,
) -> None:
    process = camreel_process(
        tmp_path, "demo", "--epochs", "2", "--samples", "2000", "--exit", **NO_NETWORK
    )
    assert process.returncode == 0, process.stderr
    assert "It has 1,500 training images" in process.stdout
    (warning,) = [line for line in process.stdout.splitlines() if "UCI digits instead" in line]
    assert "MNIST" in warning
    assert "blank: conventional" in process.stdout
    address = re.search(r"Camreel is running at (http://\S+)", process.stdout)
    assert address is not None
    assert f"{address[1]}/runs/1/epochs/2/cam?method=proposed" in process.stdout
    sheets = sorted((tmp_path / "camreel-data" / "demo").glob("*.png"))
    assert [sheet.name for sheet in sheets] == [
        "run-1-digits-conventional.png",
        "run-1-digits-proposed.png",
    ]
    for sheet in sheets:
        assert str(sheet.relative_to(tmp_path)) in process.stdout
        with Image.open(sheet) as page:
            assert page.height > 10 * 50
            # The map is drawn in color: some pixels are far from gray.
            red, _, blue = page.convert("RGB").resize((200, 200)).split()
            assert any(abs(r - b) > 60 for r, b in zip(red.tobytes(), blue.tobytes(), strict=True))
    with sqlite3.connect(tmp_path / "camreel-data" / "camreel.db") as database:
        ((spec, name),) = database.execute("SELECT spec, name FROM runs").fetchall()
    assert json.loads(spec)["dataset"] == "digits"
    assert "UCI" in name


@pytest.mark.skipif(mnist_dir() is None, reason="MNIST is not in the data directory")
@pytest.mark.torture
def test_demo_with_mnist_uses_it_and_the_requested_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    process = camreel_process(
        tmp_path, "demo", "--epochs", "1", "--samples", "300", "--port", str(port), "--exit",
        CAMREEL_DATA_DIR=str(mnist_dir()),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert f"http://127.0.0.1:{port}" in process.stdout
    assert "on MNIST" in process.stdout
    assert "instead" not in process.stdout


@pytest.mark.torture
def test_demo_creates_and_revokes_its_own_token(tmp_path: Path) -> None:
    assert camreel(tmp_path, "token", "create", "mine").returncode == 0
    process = camreel_process(
        tmp_path, "demo", "--epochs", "1", "--samples", "60", "--dataset", "digits", "--exit"
    )
    assert process.returncode == 0, process.stderr
    assert "Heatmap: http" in process.stdout
    lines = camreel(tmp_path, "token", "list").stdout.splitlines()
    states = {name: line for line in lines for name in ("mine", "demo") if name in line}
    assert "live" in states["mine"]
    assert "revoked" in states["demo"]


def test_demo_serves_until_interrupted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [CAMREEL, "demo", "--epochs", "1", "--samples", "200", "--dataset", "digits"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "Serving until Ctrl-C" in line:
                    break
            address = re.search(r"http://\S+", lines[0])
            assert address is not None
            # trust_env=False: a proxy does not know this machine's services.
            picture = f"{address[0]}/runs/1/epochs/1/cam?method=proposed"
            response = httpx.get(picture, timeout=30, trust_env=False)
            assert response.headers["content-type"] == "image/png"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_train_cam_and_blanks_without_a_service(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"dataset": "digits", "samples_per_epoch": 300}')
    training = camreel(
        tmp_path, "train", "spec.json", "--set", "epochs=2", "--set", "optimizer.name=sgd",
        "--set", "architecture.kernel_size=5",
    )  # fmt: skip
    assert training.returncode == 0, training.stderr
    assert "Run 1 succeeded with 2 epochs" in training.stdout
    drawing = camreel(tmp_path, "cam", "1", "2", "--style", "heatmap", "--size", "64")
    assert drawing.returncode == 0, drawing.stderr
    with Image.open(tmp_path / "cam.png") as picture:
        assert picture.size == (64, 64)
    counting = camreel(tmp_path, "blanks", "1", "--epsilon", "1")
    assert counting.returncode == 0
    assert re.search(r"proposed\W+20\W+20", counting.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cam", "7", "0"], "There is no run 7"),
        (["blanks", "7"], "There is no run 7"),
        (["train", "--set", "epochs=-1"], "epochs: must be a whole number from 0 to 10000"),
        (
            ["train", "--set", "optimizer.name=lion"],
            "optimizer.name: must be adadelta, sgd, adam or adamw",
        ),
        (["train", "--set", "epochs"], "--set epochs: must be of the form name=value"),
        (["train", "--set", "seed=1", "--set", "seed.x=2"], "seed.x is below a value"),
        (["train", "nothing.json"], "cannot be read"),
        (["paper", "--recipe", "soup"], "adadelta-sigmoid"),
        (["demo", "--dataset", "cats", "--exit"], "one of auto, mnist, mnist-planted, digits"),
        (["cam", "1", "0", "--style", "3d"], "overlay"),
        (["serve", "--host", "203.0.113.1"], "run: camreel token create NAME --scope admin"),
    ],
)
def test_error_is_one_line_without_traceback(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in error_line(tmp_path, *arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CAMREEL_MAX_PARALLEL_RUNS", "0", "must be a whole number from 1 to 64"),
        ("CAMREEL_EXECUTOR", "cloud", "must be processes or inline"),
        ("CAMREEL_TRUSTED_PROXIES", "nginx", "as in 10.0.0.1 or 10.0.0.0/8"),
        ("CAMREEL_BLOBS", "cloud:9", "sql"),
    ],
)
def test_invalid_setting_is_named_with_valid_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    line = error_line(tmp_path, "serve")
    assert name in line
    assert message in line


def test_newer_schema_is_rejected(tmp_path: Path) -> None:
    assert camreel(tmp_path, "db", "upgrade").returncode == 0
    database = tmp_path / "camreel-data" / "camreel.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    process = camreel(tmp_path, "serve", "--port", "0")
    assert process.returncode == 1
    assert "newer schema" in process.stderr
    assert "camreel db upgrade" in process.stderr


@pytest.mark.skipif(mnist_dir() is None, reason="MNIST is not in the data directory")
@pytest.mark.torture
def test_paper_writes_sheets_and_does_not_train_twice(
    tmp_path: Path,
) -> None:
    command = ("paper", "--recipe", "adadelta-sigmoid", "--epochs", "1", "--out", "out")
    process = camreel(tmp_path, *command, CAMREEL_DATA_DIR=str(mnist_dir()))
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "out" / "adadelta-sigmoid-seed0"
    with Image.open(folder / "proposed.png") as page:
        assert page.height > 10 * 32
    second_process = camreel(tmp_path, *command, CAMREEL_DATA_DIR=str(mnist_dir()))
    assert second_process.returncode == 0
    with sqlite3.connect(tmp_path / "out" / "camreel.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (1,)
