"""The tables whose rows belong to an epoch: the doctor examines them, a deletion frees them."""

from service.store.epoch_insight_rows import EpochInsightRow
from service.store.insight_rows import ExchangeTestRow
from service.store.program_rows import StepMetricRow, TensorReferenceRow
from service.store.rows import HeatmapRow, PredictionRow

RowOfEpoch = (
    type[EpochInsightRow]
    | type[ExchangeTestRow]
    | type[HeatmapRow]
    | type[PredictionRow]
    | type[StepMetricRow]
    | type[TensorReferenceRow]
)

ROWS_OF_EPOCHS: tuple[RowOfEpoch, ...] = (
    EpochInsightRow,
    ExchangeTestRow,
    HeatmapRow,
    PredictionRow,
    StepMetricRow,
    TensorReferenceRow,
)
"""A new table is a line here, and a variant of the type."""
