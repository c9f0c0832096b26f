"""The tables as SQLAlchemy models: runs, epochs, checkpoints, heatmaps and all others."""

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
    """A time in UTC. SQLite does not store the zone, so it is removed and added here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database, in UTC. Raises ValueError for a time without a zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a time zone")
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
    """An event of a run, written in the transaction that causes it."""

    __tablename__ = "events"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)  # 1, 2, 3 ... per run, without gaps
    type: Mapped[str] = mapped_column("kind", String(16))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunRow(Base):
    """A training run."""

    __tablename__ = "runs"
    __table_args__ = (
        *(Index(None, "status"), Index(None, "experiment_id")),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    notes: Mapped[str | None] = mapped_column(Text)
    experiment_id: Mapped[int | None] = mapped_column(Identity, ForeignKey("experiments.id"))
    experiment_position: Mapped[int | None]  # in the plan of the experiment
    status: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    error_type: Mapped[str | None] = mapped_column(String(64))
    error_detail: Mapped[str | None] = mapped_column(Text)
    epochs_done: Mapped[int]  # the last recorded epoch; -1 before epoch 0
    epochs_total: Mapped[int]
    images_seen: Mapped[int]  # in the current epoch
    # Null unless it is running, or queued and its worker process is starting.
    phase: Mapped[str | None] = mapped_column(String(16))
    cancel_requested: Mapped[bool]
    attempt: Mapped[int]  # how often a worker claimed it
    lease_owner: Mapped[str | None] = mapped_column(String(64))  # the worker that may write
    # The process that dispatches it while it is queued; null: the one that is elected.
    dispatcher: Mapped[str | None] = mapped_column(String(64))
    # A counter, not a time: each observer uses its own clock.
    heartbeats: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    lost_workers: Mapped[int] = mapped_column("strikes", default=0, server_default=text("0"))
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Of an imported run: its identity where it was trained. Otherwise NULL, not JSON's null.
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # What the results depend on, at the first start of the training, and the changes since.
    environment: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    environment_changes: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    # Number of the newest event, in the same statement: consistent with the other columns.
    last_event: Mapped[int] = column_property(
        select(func.coalesce(func.max(EventRow.number), 0))
        .where(EventRow.run_id == id)  # noqa: A003  the column above
        .correlate_except(EventRow)
        .scalar_subquery()
    )


class TagRow(Base):
    """A tag of a run."""

    __tablename__ = "run_tags"
    __table_args__ = (Index(None, "tag", "run_id"),)

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(50), primary_key=True)
    position: Mapped[int]


class ImageRow(Base):
    """A probe or an upload, stored so that maps can be computed without the dataset."""

    __tablename__ = "images"
    __table_args__ = (UniqueConstraint("dataset", "reference"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    dataset: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(80))
    label: Mapped[int | None]
    png: Mapped[bytes] = mapped_column(LargeBinary)


class UploadRow(Base):
    """An uploaded image. The row of `images` with the same reference has its pixels."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("reference"), Index(None, "used_at"))

    dataset: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the uploaded file
    reference: Mapped[str] = mapped_column(String(80))
    choices: Mapped[dict[str, Any]] = mapped_column(JSON)  # how its pixels were converted
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)  # accurate to a day


class RequestKeyRow(Base):
    """An idempotency key and its answer, which is null only inside the first transaction."""

    __tablename__ = "request_keys"
    __table_args__ = (Index(None, "created_at"),)

    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # of method, path and body
    answer: Mapped[str | None] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProbeRow(Base):
    """A probe image of a run, at its position in the run's order."""

    __tablename__ = "probes"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(Identity, ForeignKey("images.id"), index=True)


class EpochRow(Base):
    """Metrics of an epoch, inserted in the same transaction as its checkpoint."""

    __tablename__ = "epochs"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float | None] = mapped_column(Float(53))
    train_accuracy: Mapped[float | None] = mapped_column(Float(53))
    # Of a recorded run: those that its recorder sent.
    test_loss: Mapped[float | None] = mapped_column(Float(53))
    test_accuracy: Mapped[float | None] = mapped_column(Float(53))
    per_class_accuracy: Mapped[list[float]] = mapped_column(JSON)
    learning_rate: Mapped[float | None] = mapped_column(Float(53))
    seconds: Mapped[float | None] = mapped_column(Float(53))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Of a recorded run: all metrics by name, and what changed in its configuration.
    metrics: Mapped[dict[str, float | None] | None] = mapped_column(JSON(none_as_null=True))
    config_changes: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # Of these metrics, those that came after the epoch.
    late_metrics: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class CheckpointRow(Base):
    """Identity of an epoch's checkpoint, and the key of its blob."""

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
    """State of the optimizer after an epoch: the run's last one, or one that its spec retains."""

    __tablename__ = "training_states"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    blob_key: Mapped[str] = mapped_column(String(200))


class DivergenceRow(Base):
    """The last optimizer steps of the epoch in which a run diverged."""

    __tablename__ = "divergences"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int]
    first_step: Mapped[int]  # 1 for the first step of the epoch
    losses: Mapped[bytes] = mapped_column(LargeBinary)  # little-endian float32, by step
    gradient_norms: Mapped[bytes] = mapped_column(LargeBinary)  # as the losses


class BlobRow(Base):
    """A blob that is stored in the database."""

    __tablename__ = "blobs"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class HeatmapRow(Base):
    """A map: the extremes that decide at any threshold whether it is blank, and its levels."""

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
    # All three are infinite if the map is not finite: SQLite has no NaN.
    peak: Mapped[float] = mapped_column(Float(53))  # maximum of equation 2
    minimum: Mapped[float] = mapped_column(Float(53))  # of its sum before ReLU
    activation_peak: Mapped[float] = mapped_column(Float(53))
    blank: Mapped[str] = mapped_column(String(16))  # cause at the default threshold
    etag: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # The map quantized to 256 levels, at most 64 x 64; null in rows of an older schema.
    levels: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    height: Mapped[int | None]
    width: Mapped[int | None]


class PredictionRow(Base):
    """Class probabilities of an image by the network of an epoch."""

    __tablename__ = "predictions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[str] = mapped_column(String(80), primary_key=True)
    probabilities: Mapped[bytes] = mapped_column(LargeBinary)  # C little-endian float32


class JobRow(Base):
    """A job: long work that a client requested, with its progress and result."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("active_identity"),
        Index(None, "status"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    type: Mapped[str] = mapped_column("kind", String(64))
    owner: Mapped[str] = mapped_column(String(120))
    request: Mapped[str] = mapped_column(Text)  # path and query of the request
    # Hash of owner and request; null once the job has ended, so that it can be requested again.
    active_identity: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    progress: Mapped[float | None] = mapped_column(Float(53))  # 0..1
    error_type: Mapped[str | None] = mapped_column(String(64))
    error_detail: Mapped[str | None] = mapped_column(Text)
    server: Mapped[str] = mapped_column(String(64))  # the process that computes it
    heartbeats: Mapped[int]  # a counter, as for runs
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result_media_type: Mapped[str | None] = mapped_column(String(100))
    result_headers: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    sha256: Mapped[str | None] = mapped_column(String(64))  # of the result, as are the next two
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    blob_key: Mapped[str | None] = mapped_column(String(200))


class LeaderRow(Base):
    """The process that is elected for a role."""

    __tablename__ = "leaders"

    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(64))  # null: the role is free
    heartbeats: Mapped[int]  # a counter, as for runs
