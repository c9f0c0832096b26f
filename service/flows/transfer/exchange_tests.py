"""Exchange tests in exported files."""

import base64
from typing import Any

import numpy as np

from service.core.insight.shortcuts import ExchangeTest
from service.errors import ImportRefused
from service.flows.transfer.manifest import EpochRows, ExportedEpoch
from service.store.exchange_tests import StoredExchangeTest

FLOAT32_LE = np.dtype("<f4")


def export_exchange_test(test: StoredExchangeTest | None) -> dict[str, Any] | None:
    """The test of an epoch as in an exported file."""
    if test is None:
        return None
    values = test.exchange_map
    encoded = None if values is None else base64.b64encode(values.astype(FLOAT32_LE).tobytes())
    return {
        "document": dict(test.document),
        "map": None if encoded is None else encoded.decode(),
        "height": None if values is None else values.shape[1],
        "width": None if values is None else values.shape[2],
    }


def import_exchange_test(
    run_id: int, epoch: ExportedEpoch, rows: EpochRows, class_count: int
) -> StoredExchangeTest | None:
    """The test of an epoch of an imported run. Raises ImportRefused."""
    exported = rows.exchange_test
    if exported is None:
        return None
    values = None
    try:
        if exported.map is not None and exported.height and exported.width:
            flat = np.frombuffer(exported.map, FLOAT32_LE)
            values = flat.reshape(class_count, exported.height, exported.width)
        test = ExchangeTest.from_document(epoch.epoch, exported.document, values)
        test.check(class_count)
        is_finite = values is None or bool(np.isfinite(values).all())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ImportRefused(f"{epoch.rows.name}: the exchange test is not valid") from error
    if not is_finite:
        raise ImportRefused(f"{epoch.rows.name}: the exchange map is not finite")
    return StoredExchangeTest(run_id, epoch.epoch, test.to_document(), values)
