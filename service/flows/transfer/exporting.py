"""Export of a run to one file, with a checksum of each part."""

import base64
import hashlib
import math
import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from service import __version__
from service.core.epoch_manifests import EpochManifest
from service.core.recorded_spec import parse_spec
from service.errors import RunConflict
from service.files import new_file
from service.flows.checkpoints import load_verified_checkpoint, read_verified_tensor
from service.flows.networks import Networks
from service.flows.recording import ENGINE_VERSION
from service.flows.transfer.exchange_tests import export_exchange_test
from service.flows.transfer.insights import export_insight
from service.flows.transfer.layout import Layout
from service.flows.transfer.manifest import FORMAT, MANIFEST, format_timestamp, to_json
from service.store import (
    divergences,
    epoch_insights,
    epochs,
    events,
    exchange_tests,
    heatmaps,
    images,
    networks,
    predictions,
    runs,
    step_metrics,
    tensors,
    training_states,
    uploaded_images,
)
from service.store.epochs import Epoch
from service.store.heatmaps import EXTREME_FIELDS, Heatmap
from service.store.images import StoredImage
from service.store.run_status import TERMINAL_STATUSES
from service.store.runs import Run
from service.store.store import Store
from service.store.training_states import StoredTrainingState


@dataclass
class _Members:
    """Members in order, each with a function that returns its bytes."""

    spool: IO[bytes]
    parts: list[tuple[str, Callable[[], bytes]]] = field(default_factory=list)

    def add(self, name: str, data: bytes) -> dict[str, Any]:
        """Add a member whose bytes are available; returns its entry in the manifest.

        They are spooled to disk, because the manifest precedes them in the file.
        """
        start = self.spool.seek(0, os.SEEK_END)
        self.spool.write(data)

        def read_back() -> bytes:
            self.spool.seek(start)
            return self.spool.read(len(data))

        return self.add_deferred(name, hashlib.sha256(data).hexdigest(), len(data), read_back)

    def add_deferred(
        self, name: str, sha256: str, size: int, get: Callable[[], bytes]
    ) -> dict[str, Any]:
        """Add a member that `get` reads when it is written; returns its entry in the manifest."""
        self.parts.append((name, get))
        return {"name": name, "sha256": sha256, "bytes": size}


def export_run(store: Store, run_id: int, path: Path) -> int:
    """Write a run that has ended to a new file; returns its size in bytes.

    The file appears complete or not at all. Raises RunNotFound, RunConflict if the run has not
    ended, EpochQuarantined for a damaged checkpoint, and FileRefused if the file exists.
    """
    with store.read_session() as session:
        run = runs.get(session, run_id)
        epoch_rows = epochs.list_epochs(session, run_id)
    if run.status not in TERMINAL_STATUSES:
        raise RunConflict(f"Run {run_id} is {run.status}: it can be exported once it has ended.")
    with new_file(path) as unfinished, tempfile.TemporaryFile() as spool:
        members = _Members(spool)
        text = to_json(_manifest(store, run, epoch_rows, members))
        layout = Layout()
        manifest_part: tuple[str, Callable[[], bytes]] = (MANIFEST, lambda: text)
        for name, read_part in [manifest_part, *members.parts]:
            data = read_part()
            unfinished.write(layout.header(name, zlib.crc32(data), len(data)))
            unfinished.write(data)
        unfinished.write(layout.end(hashlib.sha256(text).hexdigest().encode()))
        return unfinished.tell()


def _manifest(store: Store, run: Run, epoch_rows: list[Epoch], members: _Members) -> dict[str, Any]:
    with store.read_session() as session:
        probes = images.list_probes(session, run.id)
        event_rows = events.list_after(session, run.id, 0)
    return {
        "format": FORMAT,
        "camreel": __version__,
        "engine": ENGINE_VERSION,
        "exported_at": format_timestamp(datetime.now(UTC)),
        "run": _run(run),
        "images": [
            {
                "reference": image.reference,
                "label": image.label,
                "png": members.add(f"images/{position:05d}.png", image.png),
                "upload": _upload(store, image),
            }
            for position, image in enumerate(probes)
        ],
        "epochs": [_epoch(store, epoch, members) for epoch in epoch_rows],
        "events": [
            {"number": event.number, "kind": event.type, "data": event.data} for event in event_rows
        ],
        **_training_states(store, run, members),
        "divergence": _divergence(store, run),
        "network": _network(store, run, members),
        "tensors": (
            _tensors(store, epoch_rows, members) if parse_spec(run.spec).has_program else []
        ),
    }


def _network(store: Store, run: Run, members: _Members) -> dict[str, Any] | None:
    with store.read_session() as session:
        network_id = networks.get_id_of_run(session, run.id)
    if network_id is None:
        return None
    return members.add("networks/00000.json", Networks(store).get(network_id).program.to_json())


def _tensors(store: Store, epoch_rows: list[Epoch], members: _Members) -> list[dict[str, Any]]:
    """Each tensor of a program once, in the order of the first epochs that use them."""
    epochs_by_hash: dict[str, Epoch] = {}
    for epoch in epoch_rows:
        manifest = EpochManifest.decode(load_verified_checkpoint(store, epoch))
        for sha256 in manifest.tensors.values():
            epochs_by_hash.setdefault(sha256, epoch)
    with store.read_session() as session:
        rows = tensors.get_many(session, epochs_by_hash)
    return [
        members.add_deferred(
            f"tensors/{position:05d}.safetensors",
            sha256,
            rows[sha256].bytes if sha256 in rows else 0,
            partial(read_verified_tensor, store, epoch, sha256),
        )
        for position, (sha256, epoch) in enumerate(epochs_by_hash.items())
    ]


def _upload(store: Store, image: StoredImage) -> dict[str, Any] | None:
    with store.read_session() as session:
        upload = uploaded_images.get(session, image.dataset, image.reference)
    return None if upload is None else {"digest": upload[0], "choices": upload[1]}


def _training_states(store: Store, run: Run, members: _Members) -> dict[str, Any]:
    """The training states of the last and of earlier epochs, without missing and damaged ones."""
    with store.read_session() as session:
        states = training_states.list_states(session, run.id)
    members_by_epoch = {
        state.epoch: members.add(f"states/{state.epoch:05d}.safetensors", data)
        for state in sorted(states, key=lambda state: state.epoch != run.epochs_done)
        if (data := _state_data(store, state)) is not None
    }
    return {
        "training_state": members_by_epoch.pop(run.epochs_done, None),
        "earlier_states": [
            {"epoch": epoch, "state": member} for epoch, member in members_by_epoch.items()
        ],
    }


def _state_data(store: Store, state: StoredTrainingState) -> bytes | None:
    with store.read_session() as session:
        try:
            data = store.blobs.get(session, state.blob_key)
        except KeyError:
            return None
    return data if hashlib.sha256(data).hexdigest() == state.sha256 else None


def _divergence(store: Store, run: Run) -> dict[str, Any] | None:
    with store.read_session() as session:
        divergence = divergences.get(session, run.id)
    if divergence is None:
        return None
    return {
        "epoch": divergence.epoch,
        "first_step": divergence.first_step,
        "losses": list(map(_none_if_not_finite, divergence.losses)),
        "gradient_norms": list(map(_none_if_not_finite, divergence.gradient_norms)),
    }


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        # Parsed, to fill in fields that an older version did not write.
        "spec": parse_spec(run.spec).model_dump(mode="json"),
        "status": run.status,
        "error": vars(run.error) if run.error else None,
        "epochs_done": run.epochs_done,
        "epochs_total": run.epochs_total,
        "created_at": format_timestamp(run.created_at),
        "started_at": format_timestamp(run.started_at) if run.started_at else None,
        "finished_at": format_timestamp(run.finished_at) if run.finished_at else None,
        "environment": run.environment,
        "environment_changes": list(run.environment_changes),
        "notes": run.notes,
    }


def _epoch(store: Store, epoch: Epoch, members: _Members) -> dict[str, Any]:
    with store.read_session() as session:
        rows = {
            "heatmaps": [
                _heatmap(one) for one in heatmaps.list_for_epoch(session, *_epoch_key(epoch))
            ],
            "predictions": [
                {
                    "image": one.image,
                    "probabilities": list(map(_none_if_not_finite, one.probabilities)),
                }
                for one in predictions.list_for_epoch(session, *_epoch_key(epoch))
            ],
            "exchange_test": export_exchange_test(exchange_tests.get(session, *_epoch_key(epoch))),
            "steps": step_metrics.get(session, *_epoch_key(epoch)),
            "insight": export_insight(epoch_insights.get(session, *_epoch_key(epoch))),
        }
    text = to_json(rows)
    checkpoint = epoch.checkpoint
    return {
        "epoch": epoch.epoch,
        **vars(epoch.metrics),
        "created_at": format_timestamp(epoch.created_at),
        "rows": members.add(f"rows/{epoch.epoch:05d}.json", text),
        "checkpoint": members.add_deferred(
            f"checkpoints/{epoch.epoch:05d}.{checkpoint.blob_key.rpartition('.')[2]}",
            checkpoint.sha256,
            checkpoint.bytes,
            lambda: load_verified_checkpoint(store, epoch),
        ),
    }


def _epoch_key(epoch: Epoch) -> tuple[int, int]:
    return epoch.run_id, epoch.epoch


def _heatmap(row: Heatmap) -> dict[str, Any]:
    left_out = ("run_id", "epoch", "levels")
    values = {key: value for key, value in vars(row).items() if key not in left_out}
    levels = None if row.levels is None else base64.b64encode(row.levels).decode()
    extremes = {name: _none_if_not_finite(values[name]) for name in EXTREME_FIELDS}
    return values | extremes | {"levels": levels}


def _none_if_not_finite(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN or infinity
