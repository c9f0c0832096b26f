"""Errors of the recorder. The texts are meant for users."""


class RecorderError(Exception):
    """Base of the recorder's errors."""


class CannotExport(RecorderError):
    """The network cannot be described as a program. The text has the reason."""


class ConstantWeights(RecorderError):
    """The exported network contains its weights as constants: every epoch would look the same."""


class UnsupportedWrapper(RecorderError):
    """The module is a wrapper that hides its weights, or holds only a part of them."""


class RunInUse(RecorderError):
    """Another process records this run."""


class ModelChanged(RecorderError):
    """The network is no longer the one that was exported: its layers or weights are others."""


class BadMetric(RecorderError):
    """A metric is no number, or has no valid name."""


class BadEpoch(RecorderError):
    """The number of an epoch is not after the previous one."""


class SpoolFull(RecorderError):
    """The spool folder has reached its limit, or its disk is full."""


class InvalidSpool(RecorderError):
    """A folder is no spool, or a file of it cannot be read."""


class Unavailable(RecorderError):
    """The service does not answer, or asks to try again. Nothing is lost."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Refused(RecorderError):
    """The service refuses a request for good. The text has its reason."""


class RunEnded(Refused):
    """The service has ended the run, for example because a person cancelled it."""


class LeaseLost(Refused):
    """Another recorder has taken the run over."""
