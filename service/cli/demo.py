"""The demo: a service, a run of the paper's network, and its contact sheets, through the API."""

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
from rich.console import Console

from service.cli.access import actor
from service.cli.listener import Listener, open_listener
from service.cli.progress import Snapshot, follow
from service.cli.server import prepare_process, serve_in_thread
from service.cli.terminal import new_console, print_line
from service.core.cams.methods import PAPER_METHODS
from service.core.datasets import DATASETS
from service.counts import Count
from service.errors import CamreelError, DatasetUnavailable, InvalidValue, UnknownName
from service.files import write_file
from service.flows import access
from service.flows.run_activity import RunActivity
from service.folders import check_folder, make_folder
from service.settings import Settings
from service.store.run_status import RunPhase
from service.store.store import open_store

PREFERRED_PORT = 8000
PICTURE_TIMEOUT_SECONDS = 300.0


def demo(
    settings: Settings,
    *,
    epochs: int,
    samples: int | None,
    dataset: str,
    output_folder: Path | None,
    use_any_port: bool,
    exit_when_done: bool,
) -> None:
    """Serve, train and draw; then serve until Ctrl-C, unless `exit_when_done`."""
    prepare_process()
    console = new_console()
    # Fail before training, not after.
    check_folder(settings.state_dir, "CAMREEL_STATE_DIR")
    check_folder(settings.resolved_data_dir, "CAMREEL_DATA_DIR")
    if output_folder is not None:
        make_folder(output_folder, "--out")
    resolved_dataset = _resolve_dataset(console, dataset, settings)
    train_size = DATASETS[resolved_dataset].train_size
    is_fallback = dataset == "auto" and resolved_dataset == "digits"
    if is_fallback and samples is not None and samples > train_size:
        print_line(
            f"It has {train_size:,} training images: an epoch uses all of them.", console=console
        )
        samples = train_size
    spec = _spec(resolved_dataset, epochs, samples)
    with (
        # The request log would interfere with the progress bar.
        serve_in_thread(
            settings.model_copy(update={"log_requests": False}),
            _open_listener(settings, use_any_port=use_any_port),
        ) as address,
        _authorization(settings) as headers,
        # trust_env=False: a proxy for outgoing requests does not know this machine's services.
        httpx.Client(
            base_url=address, timeout=PICTURE_TIMEOUT_SECONDS, trust_env=False, headers=headers
        ) as api,
    ):
        print_line(f"Camreel is running at {address}", console=console)
        run_id = _json(api.post("/runs", json=spec))["id"]
        title = DATASETS[resolved_dataset].title
        print_line(
            f"Run {run_id}: the paper's network on {title}, {Count(epochs):epoch|epochs}",
            console=console,
        )
        _follow(api, run_id, console)
        folder = output_folder or settings.state_dir / "demo"
        for path in _write_sheets(api, run_id, resolved_dataset, folder):
            print_line(f"Sheet: {path}", console=console)
        heatmap = f"{address}/runs/{run_id}/epochs/{epochs}/cam?method=proposed"
        print_line(f"Heatmap: {heatmap}", console=console)
        print_line(f"API: {address}/docs", console=console)
        if not exit_when_done:
            print_line("Serving until Ctrl-C.", console=console)
            _wait_for_interrupt()


def _spec(dataset: str, epochs: int, samples: int | None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": f"demo on {DATASETS[dataset].title}",
        "tags": ["demo"],
        "dataset": dataset,
        "epochs": epochs,
    }
    if samples is not None:
        spec["samples_per_epoch"] = samples
    if dataset == "digits":
        # As many steps per epoch as the paper's 10,000 images in batches of 100.
        spec["batch_size"] = 15
    return spec


def _open_listener(settings: Settings, *, use_any_port: bool) -> Listener:
    """On the preferred port, or a free one if that is taken. Raises InvalidValue."""
    if not use_any_port:
        return open_listener(settings, settings.port)
    try:
        return open_listener(settings, PREFERRED_PORT)
    except InvalidValue:
        return open_listener(settings, 0)


def _follow(api: httpx.Client, run_id: int, console: Console) -> None:
    """Show the run's progress. Raises CamreelError unless it succeeds."""
    snapshot = follow(console, lambda: _snapshot(api, run_id))
    if snapshot.status != "succeeded":
        error = _json(api.get(f"/runs/{run_id}"))["error"] or {"detail": ""}
        raise CamreelError(f"Run {run_id} {snapshot.status}: {error['detail']}")


@contextmanager
def _authorization(settings: Settings) -> Iterator[dict[str, str]]:
    """Headers with a temporary token, if the service requires one."""
    with open_store(settings.database, settings.blobs) as store:
        if access.has_no_tokens(store):
            yield {}
            return
        name = f"demo {secrets.token_hex(4)}"
        secret, token = access.create_token(store, name, "run", 1, actor())
        try:
            yield {"Authorization": f"Bearer {secret}"}
        finally:
            access.revoke_token(store, token.id, actor())


def _resolve_dataset(console: Console, dataset: str, settings: Settings) -> str:
    """The dataset's name; for `auto`, MNIST if available, otherwise digits with a message."""
    if dataset in DATASETS:
        return dataset
    if dataset != "auto":
        raise UnknownName("dataset", dataset, ["auto", *DATASETS])
    try:
        DATASETS["mnist"].load(settings.resolved_data_dir, True)
    except DatasetUnavailable:
        print_line(
            "MNIST is not in the data directory and cannot be downloaded. This run trains on the "
            "embedded UCI digits instead (1,797 real digits of 8 x 8 pixels, resized to 28 x 28).",
            console=console,
            style="bold yellow",
        )
        return "digits"
    return "mnist"


def _snapshot(api: httpx.Client, run_id: int) -> Snapshot:
    run = _json(api.get(f"/runs/{run_id}"))
    epochs_done = run["epochs_done"]
    epoch = _json(api.get(f"/runs/{run_id}/epochs/{epochs_done}")) if epochs_done >= 0 else {}
    blanks = _json(api.get(f"/runs/{run_id}/blanks"))["methods"] if epochs_done >= 1 else {}
    progress = run["progress"]
    return Snapshot(
        status=run["status"],
        epochs_done=epochs_done,
        epochs_total=run["epochs_total"],
        epoch_fraction=progress["images_seen"] / progress["images_total"],
        train_loss=epoch.get("train_loss"),
        test_accuracy=epoch.get("test_accuracy"),
        blanks={name: (count["blank"], count["total"]) for name, count in blanks.items()},
        activity=RunActivity(
            RunPhase(progress["phase"]) if progress["phase"] else None,
            progress["queue_position"],
            progress["seconds_per_epoch"],
        ),
        test_images_total=progress["test_images_total"],
    )


def _write_sheets(api: httpx.Client, run_id: int, dataset: str, folder: Path) -> list[Path]:
    make_folder(folder, "--out")
    paths = []
    for method in PAPER_METHODS:
        response = api.get(f"/runs/{run_id}/sheet", params={"method": method})
        if response.is_error:
            _json(response)
        path = folder / f"run-{run_id}-{dataset}-{method}.png"
        write_file(path, response.content)
        paths.append(path)
    return paths


def _json(response: httpx.Response) -> Any:
    """The body. Raises CamreelError with the title and detail of a problem."""
    body = response.json()
    if response.is_error:
        raise CamreelError(f"{body.get('title')}: {body.get('detail')}")
    return body


def _wait_for_interrupt() -> None:
    # The terminal and make often send one signal each, so a second handler may run within the
    # first. Event.set would deadlock; SimpleQueue.put is reentrant.
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signals.put(number))
    signals.get()
