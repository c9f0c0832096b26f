"""What can go wrong, in the field's words. No HTTP: `api/problems.py` gives each its status."""

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


class RunConflict(CamreelError):
    """The run's state does not allow what was asked."""


class CheckpointCorrupt(CamreelError):
    """A stored checkpoint is gone, or its bytes are not those that were written."""


class DatasetUnavailable(CamreelError):
    """A dataset is neither in the data directory nor to be downloaded."""


class RunDiverged(CamreelError):
    """The loss is no longer a number."""


class RunCancelled(CamreelError):
    """Raised inside training when its run was cancelled."""


class StoreBusy(CamreelError):
    """The database did not answer, or stayed locked, for longer than its timeout."""


class StoreFull(CamreelError):
    """The disk, or the database's quota, is full."""


class SchemaMismatch(CamreelError):
    """The database's schema is not this program's."""
