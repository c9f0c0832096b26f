"""Spools of recorders: taken in without HTTP, once or as they grow.

The client's `Sender` does the work, as it does for a service at an address.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from camreel.errors import InvalidSpool, LeaseLost, Refused, RunInUse, Unavailable
from camreel.errors import RunEnded as RunEndedForSender
from camreel.spool import Sender, Spool, list_spools
from camreel.spool.destination import EpochContent, RunLease, TensorSource
from camreel.spool.files import is_locked
from pydantic import ValidationError

from service.core.recorded_spec import RecordedSpec
from service.errors import CamreelError, LeaseStale, RunConflict, RunEnded, TensorsRejected
from service.flows import runs as run_flows
from service.flows.recorded_runs import RecordedEpoch, Recordings
from service.flows.tensor_uploads import TensorReceiver
from service.store import runs
from service.store.request_keys import RequestKey
from service.store.run_status import RunStatus
from service.store.tensors import PART_BYTES
from service.store_errors import StoreFull, StoreUnavailable

HEARTBEAT_SECONDS = 15.0
MAX_REPORTED_SPOOLS = 1000

log = structlog.get_logger()


@dataclass(frozen=True)
class StoreDestination:
    """The store of this process, as a sender sees it."""

    recordings: Recordings
    database: str
    """The SQLite file or URL; only its hash is written to spools."""

    @property
    def name(self) -> str:
        """Identifies the database, without secrets."""
        return f"database:{hashlib.sha256(self.database.encode()).hexdigest()[:16]}"

    def add_network(self, program: bytes) -> str:
        """Store a program; its identity."""
        with _translated():
            return self.recordings.networks.add(program)[0].id

    def create_run(self, body: Mapping[str, Any], recording_id: str) -> RunLease:
        """Create a run, or return the one of that id."""
        with _translated():
            spec = RecordedSpec.model_validate(dict(body))
            digest = hashlib.sha256(spec.model_dump_json().encode()).hexdigest()
            key = RequestKey(f"spool:{recording_id}", digest)
            run, lease, _ = self.recordings.create(spec, key)
            return RunLease(run.id, lease)

    def take_over(self, run_id: int, *, is_reopened: bool) -> RunLease:
        """A new lease. With `is_reopened`, a run that has ended continues."""
        with _translated():
            lease = self.recordings.take_over(run_id, is_reopened=is_reopened)
            return RunLease(run_id, lease)

    def put_probe(self, lease: RunLease, position: int, png: bytes, label: int | None) -> None:
        """Store a probe."""
        with _translated():
            self.recordings.put_probe(lease.run_id, lease.lease, position, png, label)

    def put_epoch(self, lease: RunLease, index: int, content: EpochContent) -> list[str]:
        """Store an epoch; the SHA-256 of tensors that are missing."""
        epoch = RecordedEpoch(content.tensors, content.metrics, {}, content.steps)
        with _translated():
            try:
                self.recordings.put_epoch(lease.run_id, lease.lease, index, epoch)
            except TensorsRejected as error:
                if not error.missing:
                    raise
                return list(error.missing)
        return []

    def put_tensor(self, tensor: TensorSource) -> None:
        """Store a tensor, part by part."""
        with _translated():
            receiver = TensorReceiver(self.recordings.store, tensor.sha256, 0, tensor.size_bytes)
            if receiver.begin() is not None:
                return
            for offset in range(0, tensor.size_bytes, PART_BYTES):
                if receiver.add(tensor.read(offset, PART_BYTES)):
                    receiver.store_parts()
            receiver.store_parts(is_last=True)
            receiver.finish()

    def put_metrics(self, lease: RunLease, index: int, metrics: Mapping[str, float | None]) -> None:
        """Add metrics to an epoch."""
        with _translated():
            self.recordings.add_metrics(lease.run_id, lease.lease, index, metrics)

    def heartbeat(self, lease: RunLease) -> None:
        """Report that the recorder is alive."""
        with _translated():
            self.recordings.heartbeat(lease.run_id, lease.lease)

    def end(self, lease: RunLease, status: str, detail: str) -> None:
        """End the run as `succeeded`, `failed` or `cancelled`."""
        with _translated():
            if status == RunStatus.CANCELLED:
                self._cancel(lease.run_id)
                return
            error = detail if status == RunStatus.FAILED else None
            self.recordings.finish(lease.run_id, lease.lease, error)

    def _cancel(self, run_id: int) -> None:
        try:
            run_flows.cancel_run(self.recordings.store, run_id)
        except RunConflict:
            with self.recordings.store.read_session() as session:
                if runs.get(session, run_id).status != RunStatus.CANCELLED:
                    raise


def import_spool(recordings: Recordings, database: str, folder: Path) -> int:
    """Take in a spool, whose files are kept; the run's id. Repeating it adds what is new.

    Raises CamreelError.
    """
    try:
        spool = Spool(folder)
        spool.sender_lock.acquire()
        try:
            destination = StoreDestination(recordings, database)
            Sender(spool, destination, deletes_sent_weights=False).send_pending()
        finally:
            spool.sender_lock.release()
        service = spool.service()
    except (InvalidSpool, Refused, RunInUse, Unavailable) as error:
        raise CamreelError(f"{folder} is not imported: {error}") from error
    assert service is not None, "set by the sender"  # noqa: S101  for mypy
    return int(service["run_id"])


@dataclass
class SpoolWatcher:
    """Takes in the spools of some folders as they grow. `scan` is called periodically."""

    recordings: Recordings
    database: str
    folders: tuple[Path, ...]
    _senders: dict[Path, Sender] = field(default_factory=dict)
    _heartbeat_seconds: dict[Path, float] = field(default_factory=dict)
    _complete_spools: set[Path] = field(default_factory=set)
    _problems: dict[Path, str] = field(default_factory=dict)

    def scan(self) -> int:
        """Take in what has been recorded since the last call; the number of epochs."""
        return sum(
            self._take_in(folder)
            for root in self.folders
            for folder in list_spools(root)
            if folder not in self._complete_spools
        )

    def _take_in(self, folder: Path) -> int:
        try:
            sender = self._sender(folder)
            sender.spool.sender_lock.acquire()
        except (InvalidSpool, RunInUse) as error:
            # Another process sends it, or it is being created.
            self._report(folder, str(error))
            return 0
        try:
            epochs = sender.send_pending()
            self._send_heartbeat(folder, sender)
        except (Unavailable, Refused, InvalidSpool, OSError) as error:
            if isinstance(error, LeaseLost):
                sender.lease = None
            self._report(folder, str(error))
            return 0
        finally:
            sender.spool.sender_lock.release()
        if sender.spool.is_done() and not is_locked(folder / "recorder.lock"):
            self._complete_spools.add(folder)
            self._senders.pop(folder, None)
        return epochs

    def _sender(self, folder: Path) -> Sender:
        if folder not in self._senders:
            destination = StoreDestination(self.recordings, self.database)
            self._senders[folder] = Sender(Spool(folder), destination)
        return self._senders[folder]

    def _send_heartbeat(self, folder: Path, sender: Sender) -> None:
        """For a recorder that is alive: its lock is held."""
        now_seconds = time.monotonic()
        is_due = now_seconds - self._heartbeat_seconds.get(folder, 0.0) >= HEARTBEAT_SECONDS
        if is_due and sender.spool.end() is None and is_locked(folder / "recorder.lock"):
            sender.heartbeat()
            self._heartbeat_seconds[folder] = now_seconds

    def _report(self, folder: Path, reason: str) -> None:
        """Log a problem once, until it changes."""
        if self._problems.get(folder) != reason:
            if len(self._problems) >= MAX_REPORTED_SPOOLS:
                self._problems.clear()
            self._problems[folder] = reason
            log.warning("spool not taken in", spool=folder.name, reason=reason)


def spool_scan(watcher: SpoolWatcher, is_leader: Callable[[], bool]) -> Callable[[], None]:
    """A function for a background task: scans in the elected process."""

    def scan() -> None:
        if is_leader():
            watcher.scan()

    return scan


@contextmanager
def _translated() -> Iterator[None]:
    """The service's errors as a sender knows them."""
    try:
        yield
    except (StoreUnavailable, StoreFull) as error:
        raise Unavailable(str(error)) from error
    except LeaseStale as error:
        raise LeaseLost(str(error)) from error
    except RunEnded as error:
        raise RunEndedForSender(str(error)) from error
    except (CamreelError, ValidationError) as error:
        raise Refused(str(error)) from error
