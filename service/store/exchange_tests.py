"""Queries on exchange tests: what properties the networks of epochs use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from service.store.insert_missing import insert_missing
from service.store.insight_rows import ExchangeTestRow
from service.store.predictions import FLOAT32_LE
from service.store.run_status import is_visible


@dataclass(frozen=True)
class StoredExchangeTest:
    """The test of an epoch: its results as JSON values, and its map float32 (C, H, W)."""

    run_id: int
    epoch: int
    document: Mapping[str, Any]
    exchange_map: npt.NDArray[np.float32] | None = field(default=None, compare=False)


def add_missing(session: Session, test: StoredExchangeTest) -> None:
    """Insert the test, unless the epoch has one."""
    values = test.exchange_map
    row = {
        "run_id": test.run_id,
        "epoch": test.epoch,
        "document": dict(test.document),
        "exchange_map": None if values is None else values.astype(FLOAT32_LE).tobytes(),
        "height": None if values is None else values.shape[1],
        "width": None if values is None else values.shape[2],
    }
    insert_missing(session, ExchangeTestRow, [row])


def replace(session: Session, test: StoredExchangeTest) -> None:
    """Insert the test, or replace the one that the epoch has by a more complete one."""
    row = session.get(ExchangeTestRow, (test.run_id, test.epoch))
    if row is not None:
        session.delete(row)
        session.flush()
    add_missing(session, test)


def list_for_run(session: Session, run_id: int) -> list[StoredExchangeTest]:
    """The tests of a run by epoch, without their maps."""
    query = (
        select(ExchangeTestRow)
        .where(ExchangeTestRow.run_id == run_id, is_visible(run_id))
        .order_by(ExchangeTestRow.epoch)
    )
    return [StoredExchangeTest(run_id, row.epoch, row.document) for row in session.scalars(query)]


def get(session: Session, run_id: int, epoch: int) -> StoredExchangeTest | None:
    """The test of an epoch with its map."""
    query = (
        select(ExchangeTestRow)
        .options(undefer(ExchangeTestRow.exchange_map))
        .where(ExchangeTestRow.run_id == run_id, ExchangeTestRow.epoch == epoch, is_visible(run_id))
    )
    row = session.scalar(query)
    if row is None:
        return None
    values = None
    if row.exchange_map is not None and row.height and row.width:
        values = np.frombuffer(row.exchange_map, FLOAT32_LE).reshape(-1, row.height, row.width)
    return StoredExchangeTest(run_id, epoch, row.document, values)
