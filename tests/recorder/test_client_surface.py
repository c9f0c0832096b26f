"""What people may rely on in the package `camreel`."""

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import camreel
from camreel import errors, recorder, spool

CLIENT = Path(__file__).parents[2] / "client"

RECORDER_PARAMETERS = [
    "model", "probes", "labels", "classes", "name", "tags", "config", "epochs", "mean", "std",
    "transform", "url", "token", "spool", "resume", "every", "weights", "weights_from", "durable",
    "on_full", "spool_bytes", "strict",
]  # fmt: skip


def test_public_names_are_these() -> None:
    assert camreel.__all__ == ["Recorder", "__version__"]
    assert set(recorder.__all__) == {
        "BadEpoch", "BadMetric", "CannotExport", "ConstantWeights", "InvalidSpool", "ModelChanged",
        "Recorder", "RecorderError", "RecorderStatus", "RunInUse", "SpoolFull",
        "UnsupportedWrapper",
    }  # fmt: skip
    assert spool.__all__ == ["Probe", "RunDescription", "Sender", "Spool", "list_spools"]
    members = {name for name in vars(camreel.Recorder) if not name.startswith("_")}
    assert members == {"epoch", "step", "metrics", "status", "close", "fail"}


def test_parameters_are_these() -> None:
    assert list(inspect.signature(camreel.Recorder).parameters) == RECORDER_PARAMETERS
    parameters = inspect.signature(camreel.Recorder.epoch).parameters
    assert list(parameters) == ["self", "number", "metrics"]


def test_errors_have_one_base() -> None:
    for name in recorder.__all__:
        value = getattr(recorder, name)
        if value.__module__ == errors.__name__:
            assert issubclass(value, errors.RecorderError)


def test_spools_are_sent_without_torch() -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom camreel.__main__ import main"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_distribution_needs_neither_torch_nor_the_service() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]}
    assert names == {"httpx", "numpy", "safetensors"}
    assert (CLIENT / "camreel" / "py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+", camreel.__version__)
