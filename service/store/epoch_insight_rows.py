"""The table of what is stored of an epoch beside its metrics."""

from typing import Any

from sqlalchemy import JSON, ForeignKeyConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from service.store.rows import Base, Identity


class EpochInsightRow(Base):
    """Measures of an epoch, and how its training and test images were rated."""

    __tablename__ = "epoch_insights"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "epoch"], ["epochs.run_id", "epochs.epoch"], ondelete="CASCADE"
        ),
    )

    run_id: Mapped[int] = mapped_column(Identity, primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    mistakes: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    presentations: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    class_means: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
