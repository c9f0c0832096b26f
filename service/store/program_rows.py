"""The tables of programs: networks, whose they are, and the tensors that epochs share."""

from datetime import datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.store.rows import Base, Identity, UtcDateTime


class NetworkRow(Base):
    """A network: its program, by the SHA-256 of the program's canonical JSON."""

    __tablename__ = "networks"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    program: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # compressed by zlib
    default_layer: Mapped[str | None] = mapped_column(String(256))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RunNetworkRow(Base):
    """The network of a run whose epochs are manifests: recorded, or not made of stages."""

    __tablename__ = "run_networks"

    run_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    network_id: Mapped[str] = mapped_column(String(64), ForeignKey("networks.id"), index=True)


class StepMetricRow(Base):
    """A metric of a recorded epoch's steps: pairs of step and value."""

    __tablename__ = "step_metrics"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    points: Mapped[list[tuple[int, float | None]]] = mapped_column(JSON)


class TensorRow(Base):
    """A complete tensor file, by its SHA-256. Blobs hold its bytes, in parts."""

    __tablename__ = "tensors"
    __table_args__ = (Index(None, "used_at"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    dtype: Mapped[str] = mapped_column(String(16))
    shape: Mapped[list[int]] = mapped_column(JSON)
    bytes: Mapped[int] = mapped_column(BigInteger)  # of the file
    folder: Mapped[str] = mapped_column(String(100))  # of the blobs' keys, unique to each upload
    parts: Mapped[int]
    not_finite: Mapped[int] = mapped_column(BigInteger)  # elements that are NaN or infinite
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)  # last upload, request or new reference


class TensorUploadRow(Base):
    """A tensor file of which only the first bytes are stored."""

    __tablename__ = "tensor_uploads"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)  # of the complete file
    received_bytes: Mapped[int] = mapped_column(BigInteger)
    folder: Mapped[str] = mapped_column(String(100))
    parts: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TensorReferenceRow(Base):
    """An epoch uses a tensor. Its checkpoint's blob tells under which names."""

    __tablename__ = "tensor_references"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
        Index(None, "sha256"),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), ForeignKey("tensors.sha256"), primary_key=True)
