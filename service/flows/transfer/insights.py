"""Insights of epochs in exported files."""

import base64
from typing import Any

from service.errors import ImportRefused
from service.flows.epoch_insights import from_stored, to_stored
from service.flows.transfer.manifest import EpochRows, ExportedEpoch
from service.store.epoch_insights import StoredInsight


def export_insight(insight: StoredInsight | None) -> dict[str, Any] | None:
    """The insight of an epoch as in an exported file."""
    if insight is None:
        return None
    return {
        "document": insight.document,
        "mistakes": _encode(insight.mistakes),
        "presentations": _encode(insight.presentations),
        "class_means": _encode(insight.class_means),
    }


def import_insight(
    run_id: int, epoch: ExportedEpoch, rows: EpochRows, class_count: int
) -> StoredInsight | None:
    """The insight of an epoch of an imported run. Raises ImportRefused."""
    exported = rows.insight
    if exported is None:
        return None
    row = StoredInsight(run_id, epoch.epoch, **vars(exported))
    try:
        insight = from_stored(row)
        insight.check(class_count)
        copied = to_stored(run_id, insight)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImportRefused(f"{epoch.rows.name}: the insight is not valid") from error
    if copied.document != row.document:
        raise ImportRefused(f"{epoch.rows.name}: the insight has unknown fields")
    return row


def _encode(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
