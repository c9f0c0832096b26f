"""The spool: a folder in which a recorded run waits until the service has it.

`docs/spool.md` describes the files. Each is written once and never changed, except `service.json`.
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from camreel.errors import InvalidSpool
from camreel.spool import epoch_files
from camreel.spool.epoch_files import EpochFile
from camreel.spool.files import TEMPORARY_SUFFIX, FileLock, write_atomically

FORMAT = 1
RUN, PROGRAM, PROBES, SERVICE, END = (
    "run.json",
    "program.json",
    "probes.json",
    "service.json",
    "end.json",
)
RECORDER_LOCK, SENDER_LOCK = "recorder.lock", "sender.lock"
EPOCHS, PICTURES, LATE, SENT = "epochs", "probes", "late", "sent"

_EPOCH_NAME = re.compile(r"epoch-(\d{5,})\.safetensors")
_SENT_NAME = re.compile(r"(\d{5,})\.json")
_LATE_NAME = re.compile(r"(\d{5,})-(\d+)\.json")


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run before its first epoch."""

    recording_id: str
    class_names: Sequence[str]
    input: Mapping[str, Any] | None = None
    name: str = ""
    tags: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    weights: str = "float32"


@dataclass(frozen=True)
class Probe:
    """A picture of an image that maps are computed of, and the image's class."""

    png: bytes
    label: int | None


@dataclass(frozen=True)
class SpooledEpoch:
    """An epoch that is not sent yet, or not deleted."""

    index: int
    """Position among the run's epochs, from 0."""
    path: Path

    def read(self) -> EpochFile:
        """The header of its file. Raises InvalidSpool."""
        return epoch_files.read_header(self.path)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What a spool knows of an epoch, sent or not."""

    index: int
    number: int
    metric_names: frozenset[str]


@dataclass(frozen=True)
class LateMetrics:
    """Metrics that were measured after their epoch."""

    index: int
    path: Path

    def read(self) -> dict[str, float | None]:
        """The metrics by name."""
        return dict(_read_json(self.path))


class Spool:
    """A spool folder. Several processes may read it; two locks exclude a second writer."""

    def __init__(self, folder: Path) -> None:
        """Open a folder. Raises InvalidSpool."""
        self.folder = folder
        content = _read_json(folder / RUN)
        if content.get("format") != FORMAT:
            raise InvalidSpool(f"{folder} has the format {content.get('format')}, not {FORMAT}")
        try:
            values = {name: content[name] for name in RunDescription.__dataclass_fields__}
        except KeyError as error:
            raise InvalidSpool(f"{folder / RUN} has no {error}") from error
        self.description = RunDescription(**values)
        self.recorder_lock = FileLock(folder / RECORDER_LOCK)
        self.sender_lock = FileLock(folder / SENDER_LOCK)

    @classmethod
    def create(
        cls, folder: Path, description: RunDescription, program: bytes, probes: Sequence[Probe]
    ) -> "Spool":
        """A new spool in a folder that is empty or absent. Raises InvalidSpool and OSError."""
        if folder.exists() and any(folder.iterdir()):
            raise InvalidSpool(f"{folder} is not empty")
        for name in (EPOCHS, PICTURES, LATE, SENT):
            (folder / name).mkdir(parents=True, exist_ok=True)
        _write(folder / PROGRAM, program)
        for position, probe in enumerate(probes):
            _write(folder / PICTURES / f"{position:05d}.png", probe.png)
        _write_json(folder / PROBES, {"labels": [probe.label for probe in probes]})
        # Last: a folder with it is complete.
        _write_json(folder / RUN, {"format": FORMAT, **asdict(description)})
        return cls(folder)

    # What was recorded

    @property
    def program(self) -> bytes:
        """The program as canonical JSON."""
        return (self.folder / PROGRAM).read_bytes()

    def probes(self) -> list[Probe]:
        """The probes in order."""
        labels = _read_json(self.folder / PROBES)["labels"]
        pictures = self.folder / PICTURES
        return [
            Probe((pictures / f"{position:05d}.png").read_bytes(), label)
            for position, label in enumerate(labels)
        ]

    def pending_epochs(self) -> list[SpooledEpoch]:
        """The epochs that are not sent, in order."""
        sent_indices = self.sent_indices()
        return [e for e in self._stored_epochs() if e.index not in sent_indices]

    def records(self) -> list[EpochRecord]:
        """All epochs that were recorded, in order."""
        records = {}
        for path in (self.folder / SENT).iterdir():
            if match := _SENT_NAME.fullmatch(path.name):
                content = _read_json(path)
                names = frozenset(content["metrics"])
                records[int(match[1])] = EpochRecord(int(match[1]), content["number"], names)
        for epoch in self._stored_epochs():
            metadata = epoch.read().metadata
            names = frozenset(json.loads(metadata["metrics"]))
            number = int(metadata["number"])
            records.setdefault(epoch.index, EpochRecord(epoch.index, number, names))
        return [records[index] for index in sorted(records)]

    def pending_bytes(self) -> int:
        """Bytes of the epochs that are stored."""
        total_bytes = 0
        for epoch in self._stored_epochs():
            with suppress(FileNotFoundError):  # sent in the meantime
                total_bytes += epoch.path.stat().st_size
        return total_bytes

    def epoch_path(self, index: int) -> Path:
        """The file of an epoch's weights."""
        return self.folder / EPOCHS / f"epoch-{index:05d}.safetensors"

    def late_metrics(self) -> list[LateMetrics]:
        """The metrics that came after their epochs, in order, sent or not."""
        paths = sorted((self.folder / LATE).iterdir())
        matches = [(path, _LATE_NAME.fullmatch(path.name)) for path in paths]
        return [LateMetrics(int(match[1]), path) for path, match in matches if match]

    def add_late_metrics(self, index: int, metrics: Mapping[str, float | None]) -> None:
        """Store metrics of an epoch that is recorded already."""
        count = sum(metrics.index == index for metrics in self.late_metrics())
        _write_json(self.folder / LATE / f"{index:05d}-{count}.json", dict(metrics))

    def end(self) -> dict[str, Any] | None:
        """How the run ended: `status` and `detail`; None while it has not."""
        path = self.folder / END
        return _read_json(path) if path.exists() else None

    def set_end(self, status: str, detail: str) -> None:
        """Store how the run ended."""
        _write_json(self.folder / END, {"status": status, "detail": detail})

    def reopen(self) -> None:
        """Forget the end: the run continues."""
        for path in (self.folder / SENT / END, self.folder / END):
            path.unlink(missing_ok=True)
        if service := self.service():
            self.set_service(service["service"], service["run_id"], is_reopened=True)

    # What was sent

    def service(self) -> dict[str, Any] | None:
        """The service that gets the run, and the run's id there; None before the first contact."""
        path = self.folder / SERVICE
        return _read_json(path) if path.exists() else None

    def set_service(self, destination: str, run_id: int, *, is_reopened: bool = False) -> None:
        """Store which service has which run, and whether an ended run is to be continued there."""
        content = {"service": destination, "run_id": run_id, "reopen": is_reopened}
        _write_json(self.folder / SERVICE, content)

    def sent_indices(self) -> set[int]:
        """Indices of the epochs that the service has committed."""
        names = [path.name for path in (self.folder / SENT).iterdir()]
        return {int(match[1]) for name in names if (match := _SENT_NAME.fullmatch(name))}

    def mark_epoch_sent(self, index: int, number: int, metrics: Sequence[str], digest: str) -> None:
        """Store that the service has committed an epoch."""
        content = {"number": number, "metrics": list(metrics), "tensors": digest}
        _write_json(self.folder / SENT / f"{index:05d}.json", content)

    def tensors_digest(self, index: int) -> str:
        """Digest of the tensors of an epoch; see `manifest_digest`."""
        sent_path = self.folder / SENT / f"{index:05d}.json"
        if sent_path.exists():
            return str(_read_json(sent_path)["tensors"])
        tensors = epoch_files.read_header(self.epoch_path(index)).tensors
        return epoch_files.manifest_digest({tensor.name: tensor.sha256() for tensor in tensors})

    def is_sent(self, path: Path) -> bool:
        """Whether the service has the metrics or the end in that file."""
        return (self.folder / SENT / path.name).exists()

    def mark_sent(self, path: Path) -> None:
        """Store that the service has the metrics or the end in that file."""
        _write_json(self.folder / SENT / path.name, {})

    @property
    def end_path(self) -> Path:
        """The file that states how the run ended."""
        return self.folder / END

    def is_done(self) -> bool:
        """Whether the run has ended and the service has all of it."""
        return (
            self.end() is not None
            and not self.pending_epochs()
            and all(self.is_sent(metrics.path) for metrics in self.late_metrics())
            and self.is_sent(self.end_path)
        )

    def delete_sent_weights(self) -> None:
        """Delete the weights that the service has committed."""
        sent_indices = self.sent_indices()
        for epoch in self._stored_epochs():
            if epoch.index in sent_indices:
                with suppress(PermissionError):  # Windows: while another process reads it
                    epoch.path.unlink(missing_ok=True)

    def delete_temporary_files(self) -> None:
        """Delete what a killed recorder has not completed. Only under the recorder's lock."""
        for path in (self.folder / EPOCHS).glob(f"*{TEMPORARY_SUFFIX}"):
            path.unlink(missing_ok=True)

    def _stored_epochs(self) -> Iterator[SpooledEpoch]:
        for path in sorted((self.folder / EPOCHS).iterdir()):
            if match := _EPOCH_NAME.fullmatch(path.name):
                yield SpooledEpoch(int(match[1]), path)


def new_folder(root: Path, name: str) -> Path:
    """A folder for a new run, named after it, in which no other run is."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    return root / f"{slug}-{secrets.token_hex(4)}"


def list_spools(root: Path) -> list[Path]:
    """The spool folders in a folder, or the folder itself if it is one."""
    if (root / RUN).is_file():
        return [root]
    if not root.is_dir():
        return []
    return sorted(path.parent for path in root.glob(f"*/{RUN}"))


def free_bytes(folder: Path) -> int:
    """Free bytes of the folder's disk."""
    return shutil.disk_usage(folder).free


def _write(path: Path, content: bytes) -> None:
    # The names of several processes and threads differ: the last one counts.
    write_atomically(path, lambda file: _write_all(file, content))


def _write_all(file: Any, content: bytes) -> None:
    file.write(content)


def _write_json(path: Path, content: Any) -> None:
    _write(path, json.dumps(content, ensure_ascii=False, indent=1).encode())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidSpool(f"{path.parent} is no spool: it has no {path.name}") from error
    except ValueError as error:
        raise InvalidSpool(f"{path} cannot be read: {error}") from error
