"""The tables of what the service says about runs."""

from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from service.store.rows import Base, Identity


class ExchangeTestRow(Base):
    """The exchange test of an epoch's network: its results, and a map of what it found."""

    __tablename__ = "exchange_tests"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Classes x height x width little-endian float32; null where none was computed.
    exchange_map: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    height: Mapped[int | None]
    width: Mapped[int | None]
