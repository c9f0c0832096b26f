"""Fixtures: a real service with worker processes on a free port, and the folder of MNIST."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock
from sqlalchemy import NullPool, create_engine, make_url, text

from tests.forks import ForkedProcess, ForkServer

CAMREEL = str(Path(sys.executable).parent / "camreel")
START_TIMEOUT_SECONDS = 60.0
RUN_TIMEOUT_SECONDS = 300.0

SHARED_RUNS: tuple[dict[str, Any], ...] = (
    {"epochs": 3, "samples_per_epoch": 1500, "name": "shared", "tags": ["shared"]},
    {
        "architecture": {"channels": [8, 16], "hidden_units": 32},
        "epochs": 12,
        "samples_per_epoch": 500,
        "name": "watched",
        "tags": ["paper", "page"],
        "seed": 1,
    },
)

# Files with few, slow tests. Started last, one of them would keep a single core busy at the end.
# One page file makes `trained_state` while `torture` and `faults` do without it.
LONGEST_FIRST = ("page/test_page_opening.py", "torture", "faults", "page", "cli", "http")

gc.set_threshold(50_000)  # imports make objects by the million, which collections free none of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with the longest tests first; keep the order of the others."""
    items.sort(key=lambda item: _rank(item.path.relative_to(Path(__file__).parent).as_posix()))


def _rank(path: str) -> int:
    ranks = (rank for rank, start in enumerate(LONGEST_FIRST) if path.startswith(start))
    return next(ranks, len(LONGEST_FIRST))


def pytest_collection_finish() -> None:
    """Keep collections from examining what modules and tests are made of."""
    gc.collect()
    gc.freeze()


def mnist_dir() -> Path | None:
    data_dir = os.environ.get("CAMREEL_DATA_DIR")
    folder = Path(data_dir) if data_dir else Path(__file__).parents[2] / "shared" / "mnist"
    return folder.resolve() if (folder / "MNIST" / "raw").is_dir() else None


@cache
def fork_server() -> ForkServer:
    """The fork server of this test process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


class Service:
    """A `camreel serve` process and an HTTP client for it."""

    process: ForkedProcess | subprocess.Popen[str]

    def __init__(self, state_dir: Path, environment: dict[str, str] | None = None) -> None:
        self.state_dir = state_dir
        data = mnist_dir()
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("CAMREEL_")},
            **({"CAMREEL_DATA_DIR": str(data)} if data else {}),
            "CAMREEL_STATE_DIR": str(state_dir),
            **(environment or {}),
        }
        self.http: httpx.Client

    def start(self) -> None:
        self.launch()
        self.connect()

    def launch(self, port: int = 0) -> None:
        """Start the process without waiting for the server. Port 0 selects a free one."""
        self.process = fork_server().start(
            ["serve", "--port", str(port)], self._environment, self.state_dir
        )

    def connect(self) -> None:
        """Wait for the server and open a client."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Camreel is running at http://"), line
        self.http = httpx.Client(base_url=line.split()[4], timeout=60, trust_env=False)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.http.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL, whether the process is starting, running or already dead."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def post_run(self, **spec: Any) -> int:
        response = self.http.post("/runs", json=spec)
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def run(self, run_id: int) -> dict[str, Any]:
        return dict(self.http.get(f"/runs/{run_id}").raise_for_status().json())

    def wait(
        self, run_id: int, condition: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """Wait until `condition` holds for the run, by default until the run has ended."""
        condition = condition or (lambda run: run["status"] in ("succeeded", "failed", "cancelled"))
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        while not condition(run := self.run(run_id)):
            assert time.monotonic() < deadline, run
            time.sleep(0.1)
        return run


class ExecutedService(Service):
    """A service whose process is not forked from another: /proc shows its environment."""

    def __init__(
        self, state_dir: Path, environment: dict[str, str] | None = None, **popen_options: Any
    ) -> None:
        super().__init__(state_dir, environment)
        self._popen_options = popen_options

    def launch(self) -> None:
        self.process = subprocess.Popen(
            [CAMREEL, "serve", "--port", "0"],
            env=self._environment,
            cwd=self.state_dir,
            stdout=subprocess.PIPE,
            text=True,
            **self._popen_options,
        )


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """A factory of services for one test; stops them at the end."""
    services: list[Service] = []

    def make(**environment: str) -> Service:
        service = Service(tmp_path, environment)
        service.start()
        services.append(service)
        return service

    yield make
    for service in services:
        if service.process.poll() is None:
            service.stop()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A new database on the server at CAMREEL_TEST_POSTGRES_URL, dropped at the end."""
    server_url = os.environ.get("CAMREEL_TEST_POSTGRES_URL")
    if not server_url:
        pytest.skip("CAMREEL_TEST_POSTGRES_URL is not set")
    server = create_engine(make_url(server_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    name = f"camreel_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    # Without a driver in the scheme, as users write it.
    url = make_url(server_url).set(database=name, drivername="postgresql")
    yield url.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def trained_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the finished runs of SHARED_RUNS, trained by one test worker for all."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "trained-state"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = tmp_path_factory.mktemp("training")
            trainer = Service(unfinished)
            trainer.start()
            dataset = "mnist" if mnist_dir() else "digits"
            for spec in SHARED_RUNS:
                run = trainer.wait(trainer.post_run(dataset=dataset, **spec))
                assert run["status"] == "succeeded", run
            trainer.stop()
            shutil.copytree(unfinished, folder)
    return folder


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, trained_state: Path) -> Iterator[Service]:
    """The service that most tests share; they do not change its finished runs."""
    state_dir = tmp_path_factory.mktemp("service") / "state"
    shutil.copytree(trained_state, state_dir)
    shared = Service(state_dir)
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def http(service: Service) -> httpx.Client:
    return service.http


@pytest.fixture(scope="session")
def finished_run(service: Service) -> dict[str, Any]:
    """A finished run of three epochs on MNIST if available, otherwise on the embedded digits."""
    return service.run(1)


@pytest.fixture(scope="session")
def page_run(service: Service) -> dict[str, Any]:
    """A finished run of a small network with enough epochs to scrub; on the same dataset."""
    return service.run(2)
