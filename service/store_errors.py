"""Errors of the database and of the file system that it lies on."""

from service.errors import CamreelError


class StoreUnavailable(CamreelError):
    """Base of errors of a database that is not usable now, but may be later."""


class StoreBusy(StoreUnavailable):
    """The database did not answer, or remained locked, within its timeout."""


class StoreReadOnly(StoreUnavailable):
    """The database, its file or a folder of the store accepts no writes."""


class StoreMissing(StoreUnavailable):
    """The database's file, or the database on its server, no longer exists."""


class StoreAccessDenied(StoreUnavailable):
    """The database user lacks the permission to connect, or for the statement."""


class StoreInputOutput(StoreUnavailable):
    """The disk of the database or of the blobs failed to read or write."""


class SchemaMismatch(StoreUnavailable):
    """The database has another schema than this program."""


class UnsupportedEncoding(StoreUnavailable):
    """The database stores text in an encoding other than UTF-8."""


class StoreFull(CamreelError):
    """The disk or the quota of the store is full."""


class StoreDamaged(CamreelError):
    """The database's file is damaged."""


class StatementRefused(CamreelError):
    """The database refused a statement for an unexpected reason: a bug."""
