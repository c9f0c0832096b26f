"""Errors of the domain. They know nothing of HTTP: `api/problems.py` maps them to statuses."""

import re
from collections.abc import Iterable, Mapping, Sequence


class CamreelError(Exception):
    """Base of all expected errors. The text is meant for users and contains no secrets."""


class InvalidValue(CamreelError):
    """An invalid value of `field`. The text states which values are valid.

    `code` identifies the reason, `allowed` holds constraints as keywords of JSON Schema, and
    `context` other values of the text, so that a client can state the reason in its own words.
    """

    def __init__(
        self,
        field: str,
        message: str,
        allowed: dict[str, object] | None = None,
        *,
        code: str = "invalid_value",
        context: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.allowed = allowed or {}
        self.code = code
        self.context = context or {}


class UnknownName(InvalidValue):
    """An unknown name. The text lists the valid ones."""

    def __init__(self, field: str, name: str, valid_names: Iterable[str]) -> None:
        names = list(valid_names)
        super().__init__(
            field,
            f"no such {field}; one of {', '.join(names)}",
            allowed={"enum": names},
            code="unknown_name",
        )
        self.name = name


class InvalidSettings(CamreelError):
    """Several invalid values."""

    def __init__(self, errors: Iterable[InvalidValue]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(map(str, self.errors)))


class NotFound(CamreelError):
    """Something that was requested by its identity does not exist."""


class RunNotFound(NotFound):
    """No run has this id."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"There is no run {run_id}.")


class ExperimentNotFound(NotFound):
    """No experiment has this id."""

    def __init__(self, experiment_id: int) -> None:
        super().__init__(f"There is no experiment {experiment_id}.")


class ExperimentConflict(CamreelError):
    """The state of the experiment's runs does not allow the operation."""


class EpochNotFound(NotFound):
    """The run has not recorded this epoch."""

    def __init__(self, run_id: int, epoch: int, epochs_done: int) -> None:
        super().__init__(
            f"Run {run_id} has no epoch {epoch}: its epochs so far are 0 to {epochs_done}."
            if epochs_done >= 0
            else f"Run {run_id} has no epoch {epoch}: it has none yet."
        )


class ImageNotFound(NotFound):
    """No image has this reference."""

    def __init__(self, reference: str, hint: str) -> None:
        super().__init__(f"There is no image {reference}: {hint}.")


class RequestCancelled(CamreelError):
    """No client waits for the result any more."""


class QueueFull(CamreelError):
    """The queue of runs is full."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The queue of runs is full (limit: {limit}). Try again when a run has ended."
        )


class PoolFull(CamreelError):
    """The queue of a thread pool is full."""

    def __init__(self, pool: str) -> None:
        super().__init__(
            f"The queue for {pool} work is full. Try again later, or request a job instead."
        )


class JobsFull(CamreelError):
    """The limit of unfinished jobs is reached."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The limit of {limit} unfinished jobs is reached. Try again later.")


class JobNotFound(NotFound):
    """No job has this id. Finished jobs are removed after some time."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id}.")


class JobNotDone(NotFound):
    """The job has no result, or not yet."""

    def __init__(self, job_id: int, status: str) -> None:
        super().__init__(f"Job {job_id} has no result: it is {status}.")


class JobNotOwned(CamreelError):
    """The job belongs to another client."""

    def __init__(self) -> None:
        super().__init__(
            "Only the client that created a job can end it, or a token of scope admin."
        )


class Interrupted(CamreelError):
    """The server process ended before the job was finished."""

    def __init__(self) -> None:
        super().__init__(
            "The server process ended before the job was finished. Send the request again."
        )


class KeyReused(InvalidValue):
    """An idempotency key that was used for a different request before."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key", "this key was used for a different request in the last 24 hours"
        )


class UnsupportedImage(CamreelError):
    """Bytes that are neither PNG nor JPEG, or an animated image."""


class ImageTooLarge(CamreelError):
    """An image that would exceed a limit when decoded."""


class UploadsBusy(CamreelError):
    """No decoder was available for an upload in time."""

    def __init__(self) -> None:
        super().__init__(
            "Too many uploaded images are waiting to be decoded. Try again in a moment."
        )


class RunConflict(CamreelError):
    """The run's state does not allow the operation."""


class RunEnded(RunConflict):
    """The run has ended: its recorder cannot write any more."""

    def __init__(self, run_id: int, status: str) -> None:
        super().__init__(f"Run {run_id} has ended already: it {status}.")


class NetworkNotFound(NotFound):
    """No network has this identity."""

    def __init__(self, network_id: str) -> None:
        super().__init__(f"There is no network {network_id}.")


class TensorNotFound(NotFound):
    """No complete tensor has this SHA-256; `received_bytes` of its upload are stored."""

    def __init__(self, sha256: str, received_bytes: int) -> None:
        stored = f": {received_bytes:,} bytes of it are stored" if received_bytes else ""
        super().__init__(f"There is no tensor {sha256}{stored}.")
        self.received_bytes = received_bytes


class UploadConflict(CamreelError):
    """The bytes of an upload do not continue those that are stored."""

    def __init__(self, received_bytes: int) -> None:
        super().__init__(
            f"{received_bytes:,} bytes of the tensor are stored: continue with the next one."
        )
        self.received_bytes = received_bytes


class TensorUploadsBusy(CamreelError):
    """Too many tensors are being received."""

    def __init__(self) -> None:
        super().__init__("Too many tensors are being received. Try again in a moment.")


class LeaseStale(CamreelError):
    """The lease is not the run's current one: another recorder has taken over."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"The lease is not the current one of run {run_id}.")


class TensorsRejected(CamreelError):
    """An epoch's tensors do not fit its network, or are not stored.

    `reasons` maps names to what is wrong; `missing` holds the SHA-256 of what is not stored.
    """

    def __init__(self, reasons: Mapping[str, str], missing: Sequence[str]) -> None:
        name, reason = next(iter(reasons.items()))
        others = f", and {len(reasons) - 1:,} others" if len(reasons) > 1 else ""
        super().__init__(f"tensors.{name}: {reason}{others}")
        self.reasons = reasons
        self.missing = missing


class CheckpointCorrupt(CamreelError):
    """A stored checkpoint is missing, or its bytes are not those that were written."""


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
    """A file is not an exported run, or was changed after its export."""


class BackupRefused(CamreelError):
    """A backup cannot be made, or failed its verification."""


class FileRefused(CamreelError):
    """A local file cannot be read or written."""


class NotReady(CamreelError):
    """The service answers, but cannot work. The text states the reason."""


class WeightsUnavailable(CamreelError):
    """Weights to start from cannot be read, or are those of another network."""


class DatasetUnavailable(CamreelError):
    """A dataset is not in the data directory and cannot be downloaded."""


class DatasetNotFound(NotFound):
    """No dataset has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no dataset {name}.")
        self.name = name


class DatasetChanged(DatasetUnavailable):
    """An image folder does not have the images any more that a run was created with."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The images of {name} have changed since the run was created. Their maps that are "
            "recorded stay."
        )


class DatasetExists(CamreelError):
    """An image folder has this name already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a dataset {name} already. Delete it first.")


class DatasetInUse(CamreelError):
    """Runs that have not ended need the dataset, or it is built in."""


class ArchiveRefused(CamreelError):
    """A zip archive is unsafe, damaged, too large, or has no images to train on."""


class DatasetNotMeasured(CamreelError):
    """An image folder has new images, too many to decode them during a request."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"{name} has {count} new images. Request its report first, which decodes them: "
            f"GET /datasets/{name}."
        )


class ImageRefused(CamreelError):
    """An image file of a folder cannot be used. The text continues the name of the file."""


class DeviceUnavailable(CamreelError):
    """The machine does not have the device that a run requires."""

    def __init__(self, device: str) -> None:
        super().__init__(f"The machine that should train the run has no {device} device.")


class RunDiverged(CamreelError):
    """The loss of a step, or of the test images after an epoch, is NaN or infinite.

    `losses` and `gradient_norms` are those of the last steps of the epoch, beginning with number
    `first_step`; a norm is NaN where it was not measured.
    """

    def __init__(
        self,
        loss: float,
        *,
        epoch: int,
        first_step: int,
        losses: Sequence[float],
        gradient_norms: Sequence[float],
    ) -> None:
        super().__init__(
            f"The loss became {loss} in epoch {epoch}; a smaller learning rate may help."
        )
        self.epoch = epoch
        self.first_step = first_step
        self.losses = losses
        self.gradient_norms = gradient_norms


class RunCancelled(CamreelError):
    """Raised during training when the run has been cancelled."""


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

    def __init__(self, token_scope: str, required_scope: str) -> None:
        super().__init__(
            f"This requires a token of scope {required_scope}; yours has scope {token_scope}."
        )


def error_type(error_class: type[Exception], separator: str = "-") -> str:
    """Identifier of an error class, such as `run-not-found` for RunNotFound."""
    return separator.join(re.findall(r"[A-Z][a-z]*", error_class.__name__)).lower()
