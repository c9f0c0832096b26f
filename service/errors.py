"""What can go wrong, in the field's words. No HTTP: `api/problems.py` gives each its status."""

import re
from collections.abc import Iterable


class CamreelError(Exception):
    """Base of every error that Camreel raises on purpose; its text is fit to be shown."""


class InvalidValue(CamreelError):
    """A value outside its bounds. `field` names it; the text states the bounds."""

    def __init__(self, field: str, message: str, allowed: dict[str, object] | None = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.allowed = allowed or {}


class UnknownName(InvalidValue):
    """A name that stands in no table; the text lists the valid ones."""

    def __init__(self, field: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        super().__init__(
            field, f"no such {field}; one of {', '.join(names)}", allowed={"enum": names}
        )
        self.name = name


class NotFound(CamreelError):
    """Something asked for by identity is not there."""


class RunNotFound(NotFound):
    """No run has this id."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"There is no run {run_id}.")


class EpochNotFound(NotFound):
    """The run has not reached this epoch, or never will."""

    def __init__(self, run_id: int, epoch: int, epochs_done: int) -> None:
        super().__init__(
            f"Run {run_id} has no epoch {epoch}: its epochs so far are 0 to {epochs_done}."
            if epochs_done >= 0
            else f"Run {run_id} has no epoch {epoch}: it has none yet."
        )


class ImageNotFound(NotFound):
    """An image reference that points at nothing."""

    def __init__(self, reference: str, hint: str) -> None:
        super().__init__(f"There is no image {reference}: {hint}.")


class RequestCancelled(CamreelError):
    """Nobody waits any more for what was being made."""


class QueueFull(CamreelError):
    """As many runs wait as may wait."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"As many runs wait as may: {limit}. Try again when one has ended.")


class PoolFull(CamreelError):
    """As much expensive work waits as may wait."""

    def __init__(self, lane: str) -> None:
        super().__init__(
            f"The queue for {lane} work is full. Try again later, or request a job instead."
        )


class JobsFull(CamreelError):
    """As many jobs wait or run as may."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are {limit} unfinished jobs, which is the most. Try again later.")


class JobNotFound(NotFound):
    """No job has this id; an ended one is removed after a while."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id}.")


class JobNotDone(NotFound):
    """A job that has no result, at least not yet."""

    def __init__(self, job_id: int, status: str) -> None:
        super().__init__(f"Job {job_id} has no result: it is {status}.")


class JobNotOwned(CamreelError):
    """A job that somebody else asked for."""

    def __init__(self) -> None:
        super().__init__("Only whoever asked for a job may end it, or a token of scope admin.")


class Interrupted(CamreelError):
    """The server that did the work ended before it was done."""

    def __init__(self) -> None:
        super().__init__("The server that did the work ended. Send the request again.")


class KeyReused(InvalidValue):
    """An idempotency key that came with another request before."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key", "this key was used for a different request in the last 24 hours"
        )


class UnsupportedImage(CamreelError):
    """Bytes that are neither a PNG nor a JPEG, or an animation."""


class ImageTooLarge(CamreelError):
    """An image that would take more than it may when it is decoded."""


class UploadsBusy(CamreelError):
    """As many uploads are being decoded as may be, or none could be in time."""

    def __init__(self) -> None:
        super().__init__("Too many uploaded images wait to be decoded. Try again in a moment.")


class RunConflict(CamreelError):
    """The run's state does not allow what was asked."""


class CheckpointCorrupt(CamreelError):
    """A stored checkpoint is gone, or its bytes are not those that were written."""


class EpochQuarantined(CheckpointCorrupt):
    """The epoch's checkpoint is damaged and is not used any more."""

    def __init__(self, run_id: int, epoch: int, reason: str) -> None:
        super().__init__(
            f"The checkpoint of epoch {epoch} of run {run_id} is {reason}: the epoch is "
            "quarantined. Its measures stay, and so do the other epochs."
        )
        self.epoch = epoch
        self.reason = reason


class ImportRefused(CamreelError):
    """A file is no run that was exported, or is not as it was exported."""


class BackupRefused(CamreelError):
    """A backup cannot be made as it was asked for, or did not verify."""


class FileRefused(CamreelError):
    """A file on this machine cannot be read or written as it was named."""


class NotReady(CamreelError):
    """The service answers, but cannot work; the text says why."""


class DatasetUnavailable(CamreelError):
    """A dataset is neither in the data directory nor to be downloaded."""


class DeviceUnavailable(CamreelError):
    """The device that a run is to train on is not there."""

    def __init__(self, device: str) -> None:
        super().__init__(f"The machine that was to train the run has no {device} device.")


class RunDiverged(CamreelError):
    """The loss is no longer a number."""


class RunCancelled(CamreelError):
    """Raised inside training when its run was cancelled."""


class StoreUnavailable(CamreelError):
    """Base of errors of a database that cannot be used now, and may be later."""


class StoreBusy(StoreUnavailable):
    """The database did not answer, or stayed locked, for longer than its timeout."""


class StoreReadOnly(StoreUnavailable):
    """The database, its file or a folder of the store accepts no writes."""


class StoreMissing(StoreUnavailable):
    """The database's file, or the database on its server, does not exist any more."""


class StoreAccessDenied(StoreUnavailable):
    """The database does not let its user in, or not do this."""


class StoreInputOutput(StoreUnavailable):
    """The disk of the database or of the blobs failed to read or write."""


class SchemaMismatch(StoreUnavailable):
    """The database's schema is not this program's."""


class UnsupportedEncoding(StoreUnavailable):
    """The database stores text in an encoding other than UTF-8."""


class StoreFull(CamreelError):
    """The disk, or the database's quota, is full."""


class StoreDamaged(CamreelError):
    """The database's file is not what the database wrote."""


class StatementRefused(CamreelError):
    """The database refused a statement for a reason that nobody foresaw: a bug."""


class TokenNotFound(NotFound):
    """No token has this id."""

    def __init__(self, token_id: int) -> None:
        super().__init__(f"There is no token {token_id}.")


class Unauthenticated(CamreelError):
    """No valid credential. The text does not tell which kind of invalid it is."""

    def __init__(self) -> None:
        super().__init__("Missing, invalid, expired or revoked token.")


class ScopeMissing(CamreelError):
    """The token is valid, but its scope is insufficient."""

    def __init__(self, has: str, needs: str) -> None:
        super().__init__(f"This requires a token of scope {needs}; yours has scope {has}.")


def error_type(kind: type[Exception], separator: str = "-") -> str:
    """The word for programs of a kind of error, as in `run-not-found`."""
    return separator.join(re.findall(r"[A-Z][a-z]*", kind.__name__)).lower()
