"""The demonstration: a service, the paper's run, and its two contact sheets, through the API."""

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
from service.cli.progress import Snapshot, follow
from service.cli.server import listen_for, prepare_process, serving
from service.cli.terminal import new_console, print_line
from service.core.cams.methods import PAPER_METHODS
from service.core.datasets import DATASETS
from service.errors import CamreelError, DatasetUnavailable, InvalidValue, UnknownName
from service.files import write_file
from service.flows import access
from service.folders import check_folder, make_folder
from service.settings import Settings
from service.store.store import open_store

PREFERRED_PORT = 8000
PICTURE_TIMEOUT_SECONDS = 300.0


def demo(
    settings: Settings,
    epochs: int,
    samples: int | None,
    dataset: str,
    out: Path | None,
    *,
    free_port: bool,
    leave: bool,
) -> None:
    """Serve, train, draw; then stay until Ctrl-C, unless told to leave."""
    prepare_process()
    console = new_console()
    # Before the work is done.
    check_folder(settings.state_dir, "CAMREEL_STATE_DIR")
    check_folder(settings.resolved_data_dir, "CAMREEL_DATA_DIR")
    if out is not None:
        make_folder(out, "--out")
    wanted, dataset = dataset, _dataset(console, dataset, settings)
    fallen_back = wanted == "auto" and dataset == "digits"
    there_are = DATASETS[dataset].train_size
    if fallen_back and samples is not None and samples > there_are:
        print_line(
            f"It has {there_are:,} images to train: an epoch is all of them.", console=console
        )
        samples = there_are
    folder = out or settings.state_dir / "demo"
    spec: dict[str, Any] = {
        "name": f"demo on {DATASETS[dataset].title}",
        "tags": ["demo"],
        "dataset": dataset,
        "epochs": epochs,
    }
    if samples is not None:
        spec["samples_per_epoch"] = samples
    if dataset == "digits":
        # As many steps an epoch as the paper's 10,000 images in batches of 100.
        spec["batch_size"] = 15
    try:
        listening = listen_for(settings, PREFERRED_PORT if free_port else settings.port)
    except InvalidValue:
        if not free_port:
            raise
        listening = listen_for(settings, 0)
    with (
        # Without its log of requests, which would run over the bar that shows the run.
        serving(settings.model_copy(update={"log_requests": False}), listening) as address,
        _admission(settings) as headers,
        # trust_env: a proxy that the machine goes out by has no business with its own address.
        httpx.Client(
            base_url=address, timeout=PICTURE_TIMEOUT_SECONDS, trust_env=False, headers=headers
        ) as api,
    ):
        print_line(f"Camreel answers at {address}", console=console)
        run_id = _json(api.post("/runs", json=spec))["id"]
        print_line(
            f"Run {run_id}: the paper's network on {DATASETS[dataset].title}, {epochs} epochs",
            console=console,
        )
        ended = follow(console, lambda: _snapshot(api, run_id))
        if ended.status != "succeeded":
            error = _json(api.get(f"/runs/{run_id}"))["error"] or {"detail": ""}
            raise CamreelError(f"Run {run_id} {ended.status}: {error['detail']}")
        for path in _write_sheets(api, run_id, dataset, folder):
            print_line(f"Sheet: {path}", console=console)
        heatmap = f"{address}/runs/{run_id}/epochs/{epochs}/cam?method=proposed"
        print_line(f"Heatmap: {heatmap}", console=console)
        print_line(f"API: {address}/docs", console=console)
        if not leave:
            print_line("Serving until Ctrl-C.", console=console)
            _wait_for_interrupt()


@contextmanager
def _admission(settings: Settings) -> Iterator[dict[str, str]]:
    """What the service asks for, where it asks: a token that is revoked in the end."""
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


def _dataset(console: Console, wanted: str, settings: Settings) -> str:
    """MNIST where it is or can be downloaded, else the embedded digits, and says so."""
    if wanted in DATASETS:
        return wanted
    if wanted != "auto":
        raise UnknownName("dataset", wanted, ["auto", *DATASETS])
    try:
        DATASETS["mnist"].load(settings.resolved_data_dir, True)
    except DatasetUnavailable:
        print_line(
            "MNIST is neither in the data directory nor to be downloaded: this run "
            "learns the embedded UCI digits instead (1,797 real digits of 8 x 8 pixels, resized "
            "to 28 x 28).",
            console=console,
            style="bold yellow",
        )
        return "digits"
    return "mnist"


def _snapshot(api: httpx.Client, run_id: int) -> Snapshot:
    run = _json(api.get(f"/runs/{run_id}"))
    done = run["epochs_done"]
    epoch = _json(api.get(f"/runs/{run_id}/epochs/{done}")) if done >= 0 else {}
    blanks = _json(api.get(f"/runs/{run_id}/blanks"))["methods"] if done >= 1 else {}
    progress = run["progress"]
    return Snapshot(
        status=run["status"],
        epochs_done=done,
        epochs_total=run["epochs_total"],
        epoch_share=progress["images_seen"] / progress["images_total"],
        train_loss=epoch.get("train_loss"),
        test_accuracy=epoch.get("test_accuracy"),
        blanks={name: (count["blank"], count["total"]) for name, count in blanks.items()},
    )


def _write_sheets(api: httpx.Client, run_id: int, dataset: str, folder: Path) -> list[Path]:
    make_folder(folder, "--out")
    paths = []
    for method in PAPER_METHODS:
        picture = api.get(f"/runs/{run_id}/sheet", params={"method": method})
        if picture.is_error:
            _json(picture)
        path = folder / f"run-{run_id}-{dataset}-{method}.png"
        write_file(path, picture.content)
        paths.append(path)
    return paths


def _json(answer: httpx.Response) -> Any:
    """The body; raises CamreelError with the problem's own words."""
    body = answer.json()
    if answer.is_error:
        raise CamreelError(f"{body.get('title')}: {body.get('detail')}")
    return body


def _wait_for_interrupt() -> None:
    # Of make and its terminal both often send one: a second handler may run within the first, where
    # Event.set waits for itself for ever. SimpleQueue.put is reentrant.
    told: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.put(number))
    told.get()
