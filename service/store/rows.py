"""The rows: one learning process is a run, its epochs, their checkpoints, and maps' metadata."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

# Named constraints, so that migrations can change them on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Identity = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER keys


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database: refuses a moment without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all rows."""

    metadata = MetaData(naming_convention=NAMING)


class EventRow(Base):
    """Something that happened to a run, written by the transaction that made it happen."""

    __tablename__ = "events"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, 3 ... of its run, no gaps
    type: Mapped[str] = mapped_column("kind", String(16))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunRow(Base):
    """One learning process."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "status"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    error_type: Mapped[str | None] = mapped_column(String(64))
    error_detail: Mapped[str | None] = mapped_column(Text)
    epochs_done: Mapped[int]  # the last whole epoch; -1 before epoch 0
    epochs_total: Mapped[int]
    images_seen: Mapped[int]  # of the epoch in work
    cancel_requested: Mapped[bool]
    attempt: Mapped[int]  # how often a worker took it
    lease_owner: Mapped[str | None] = mapped_column(String(64))  # the worker that may write
    # Counted rather than timed: whoever watches does so by a clock of its own.
    heartbeats: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    lost_workers: Mapped[int] = mapped_column("strikes", default=0, server_default=text("0"))
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Of an imported run: what it was where it was trained. NULL, not JSON's null, where it was not.
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # What decides the bits of its training, as of its first start, and how that changed since.
    environment: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    environment_changes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    # Of its events; in the same statement, so that it is of the same moment as the rest.
    last_event: Mapped[int] = column_property(
        select(func.coalesce(func.max(EventRow.number), 0))
        .where(EventRow.run_id == id)  # noqa: A003  the column above
        .correlate_except(EventRow)
        .scalar_subquery()
    )


class TagRow(Base):
    """A word to find runs by."""

    __tablename__ = "run_tags"
    __table_args__ = (Index(None, "tag", "run_id"),)

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)
    position: Mapped[int]


class ImageRow(Base):
    """An image that runs watch, kept here so that a database shows its maps without its dataset."""

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("dataset", "reference"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    dataset: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(80))
    label: Mapped[int | None]
    png: Mapped[bytes] = mapped_column(LargeBinary)


class UploadRow(Base):
    """An image that somebody uploaded; its pixels are the row of `images` with its reference."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("reference"), Index(None, "used_at"))

    dataset: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  # of what was uploaded
    reference: Mapped[str] = mapped_column(String(80))
    choices: Mapped[dict[str, Any]] = mapped_column(JSON)  # what was done to its pixels
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)  # within a day


class RequestKeyRow(Base):
    """A request that named itself, and its answer; null only inside its own transaction."""

    __tablename__ = "request_keys"
    __table_args__ = (Index(None, "created_at"),)

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # of method, path and body
    answer: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProbeRow(Base):
    """An image watched by a run, at its place in the run's order."""

    __tablename__ = "probes"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(Identity, ForeignKey("images.id"), index=True)


class EpochRow(Base):
    """What one epoch gave. It appears together with its checkpoint, or not at all."""

    __tablename__ = "epochs"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float | None] = mapped_column(Float(53))
    train_accuracy: Mapped[float | None] = mapped_column(Float(53))
    test_loss: Mapped[float] = mapped_column(Float(53))
    test_accuracy: Mapped[float] = mapped_column(Float(53))
    per_class_accuracy: Mapped[list[float]] = mapped_column(JSON)
    learning_rate: Mapped[float] = mapped_column(Float(53))
    seconds: Mapped[float] = mapped_column(Float(53))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CheckpointRow(Base):
    """Identity of an epoch's checkpoint, and the key under which the blob store has its bytes."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    blob_key: Mapped[str] = mapped_column(String(200))
    quarantine_reason: Mapped[str | None] = mapped_column("quarantined", String(16))
    quarantined_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TrainingStateRow(Base):
    """The optimiser after the run's last epoch: what training goes on from."""

    __tablename__ = "training_states"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    blob_key: Mapped[str] = mapped_column(String(200))


class BlobRow(Base):
    """Bytes by key, for the blob store that lives in this same database."""

    __tablename__ = "blobs"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class HeatmapRow(Base):
    """What is known of one map: enough to tell at any threshold whether it is blank, and why."""

    __tablename__ = "heatmaps"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
        UniqueConstraint("run_id", "image", "class_index", "method", "layer", "epoch"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    run_id: Mapped[int] = mapped_column(Identity)
    epoch: Mapped[int]
    image: Mapped[str] = mapped_column(String(80))
    class_index: Mapped[int]
    method: Mapped[str] = mapped_column(String(200))
    layer: Mapped[str] = mapped_column(String(200))
    # Infinite in all three columns where the map is not finite: SQLite has no NaN.
    peak: Mapped[float] = mapped_column(Float(53))  # maximum of equation 2
    minimum: Mapped[float] = mapped_column(Float(53))  # of its sum before ReLU
    activation_peak: Mapped[float] = mapped_column(Float(53))
    blank: Mapped[str] = mapped_column(String(16))  # cause at the default threshold
    etag: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # The map itself in 256 levels, rows of at most 64; null where kept by an older schema.
    levels: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    height: Mapped[int | None]
    width: Mapped[int | None]


class PredictionRow(Base):
    """How sure an epoch's network was of each class for an image."""

    __tablename__ = "predictions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[str] = mapped_column(String(80), primary_key=True)
    probabilities: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little-endian, C of them


class TokenRow(Base):
    """Somebody who may ask, and for what. The token itself is nowhere, only its hash."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    scope: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256, hexadecimal
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SignInRow(Base):
    """A browser that signed in with a token; its cookie is here as a hash only."""

    __tablename__ = "sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("tokens.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column("seen_at", UtcDateTime)


class AuditRow(Base):
    """A change: who, what, when, and how it ended."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(120))
    action: Mapped[str] = mapped_column(String(120))
    target: Mapped[str] = mapped_column(String(200))
    outcome: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str | None] = mapped_column(String(40))


class JobRow(Base):
    """Long work that a client asked for: how far it is, and what it gave."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("active_identity"),
        Index(None, "status"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    type: Mapped[str] = mapped_column("kind", String(64))
    owner: Mapped[str] = mapped_column(String(120))
    request: Mapped[str] = mapped_column(Text)  # the address that was asked for
    # Of who asks for what; null once the job has ended, so that the same can be asked for again.
    active_identity: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    progress: Mapped[float | None] = mapped_column(Float(53))  # 0..1
    error_type: Mapped[str | None] = mapped_column(String(64))
    error_detail: Mapped[str | None] = mapped_column(Text)
    server: Mapped[str] = mapped_column(String(64))  # the process that computes it
    heartbeats: Mapped[int]  # counted, as of runs
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result_media_type: Mapped[str | None] = mapped_column(String(100))
    result_headers: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the result, as are the next two
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    blob_key: Mapped[str | None] = mapped_column(String(200))
