"""Contents of a run, and modified copies of its exported archive."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from service.errors import ImportRefused
from service.flows.transfer.importing import import_run
from service.flows.transfer.manifest import to_json
from service.store import (
    epoch_insights,
    epochs,
    events,
    exchange_tests,
    heatmaps,
    images,
    predictions,
    runs,
    step_metrics,
    training_states,
)  # fmt: skip
from service.store.store import Store
from tests.keeping.conftest import StateFolder

WORKER_FIELDS = ("attempt", "lease_owner", "heartbeats", "heartbeat_at", "lost_workers")


def run_contents(store: Store, run_id: int) -> dict:
    """All data of a run except its id, origin, worker fields and blob keys."""
    with store.read_session() as session:
        run = runs.get(session, run_id)
        run_epochs = epochs.list_epochs(session, run_id)
        return {
            "run": {
                key: value
                for key, value in vars(run).items()
                if key not in ("id", "origin", *WORKER_FIELDS)
            },
            "epochs": [
                (e.epoch, e.metrics, e.checkpoint.sha256, e.checkpoint.bytes, e.created_at)
                for e in run_epochs
            ],
            "checkpoints": [store.blobs.get(session, e.checkpoint.blob_key) for e in run_epochs],
            "events": events.list_after(session, run_id, 0),
            "training_state": (
                (state := training_states.get(session, run_id)) is not None
                and (state.epoch, store.blobs.get(session, state.blob_key))
            ),
            "images": images.list_probes(session, run_id),
            "heatmaps": [
                {k: v for k, v in vars(row).items() if k != "run_id"}
                for e in run_epochs
                for row in heatmaps.list_for_epoch(session, run_id, e.epoch)
            ],
            "predictions": [
                (p.epoch, p.image, p.probabilities)
                for e in run_epochs
                for p in predictions.list_for_epoch(session, run_id, e.epoch)
            ],
            "steps": [step_metrics.get(session, run_id, e.epoch) for e in run_epochs],
            "exchange_tests": [
                (test.epoch, test.document) for test in exchange_tests.list_for_run(session, run_id)
            ],
            "insights": [
                {k: v for k, v in vars(row).items() if k != "run_id"}
                for row in epoch_insights.list_all(session, run_id)
            ],
        }


def is_empty(state_folder: StateFolder) -> bool:
    """Whether no rows of runs or images and no blobs exist."""
    rows = [
        state_folder.execute(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("runs", "run_tags", "epochs", "checkpoints", "blobs", "heatmaps", "images",
                      "predictions", "exchange_tests", "epoch_insights",
                      "events", "probes", "training_states", "uploads")
    ]  # fmt: skip
    files = [path for path in (state_folder.folder / "blobs").rglob("*") if path.is_file()]
    return not any(rows) and not files


def read_parts(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_archive(file: Path, members, **options) -> Path:
    """Writes an archive with these members, (name, bytes) in order, and a valid comment."""
    members = list(members.items() if isinstance(members, dict) else members)
    with zipfile.ZipFile(file, "w", options.get("method", zipfile.ZIP_STORED)) as archive:
        archive.comment = (
            hashlib.sha256(dict(members).get("manifest.json", b"")).hexdigest().encode()
        )
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, options.get("method"))
    return file


def with_manifest(exported_run: Path, file: Path, change) -> Path:
    """Writes a copy of the archive whose manifest `change` has modified."""
    members = read_parts(exported_run)
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    text = json.dumps(manifest, separators=(",", ":"))  # NaN, too
    return write_archive(file, members | {"manifest.json": text.encode()})


def with_part(exported_run: Path, file: Path, name: str, data: bytes) -> Path:
    """Writes a copy of the archive with other bytes in one part and a matching manifest."""

    def update_digest(manifest):
        entries = [image["png"] for image in manifest["images"]]
        entries += [epoch[part] for epoch in manifest["epochs"] for part in ("rows", "checkpoint")]
        entries.append(manifest["training_state"])
        (entry,) = (entry for entry in entries if entry["name"] == name)
        entry |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    members = read_parts(exported_run)
    manifest = json.loads(members["manifest.json"])
    update_digest(manifest)
    return write_archive(file, members | {name: data, "manifest.json": to_json(manifest)})


def refuse_import(file: Path, empty_state_folder: StateFolder) -> str:
    """Asserts that the import is refused and leaves nothing; returns the message."""
    with empty_state_folder.open_store() as store, pytest.raises(ImportRefused) as refusal:
        import_run(store, file)
    assert is_empty(empty_state_folder)
    assert str(file.parent) not in str(refusal.value)
    return str(refusal.value)
