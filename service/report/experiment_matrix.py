"""The text of a matrix, and its picture."""

from pydantic import JsonValue

from service.core.experiments.alignment import Alignment
from service.core.experiments.measures import RUN_MEASURES, Direction
from service.core.experiments.settings import format_value
from service.core.render.colormaps import SEQUENTIAL_DEFAULT
from service.core.render.matrix import MatrixPage, TintedMap, render_matrix
from service.flows.experiment_matrix import Matrix

TINT_COLORMAP = "cividis"

COLUMN_TITLES = {
    Alignment.EPOCH: "epoch",
    Alignment.IMAGES: "images seen",
    Alignment.LOSS: "test loss",
}


def render_experiment_matrix(matrix: Matrix, cell_pixels: int) -> bytes:
    """PNG of a matrix. Each frame has the color of the measure, the better the brighter."""
    return render_matrix(_page(matrix), cell_pixels)


def format_group(value: JsonValue) -> str:
    """The value of a row: a single one, or the range of a group of samples."""
    if isinstance(value, list) and len(value) == 2:
        return " to ".join(map(format_value, value))
    return format_value(value)


def format_measure(value: float | None) -> str:
    """A measure with four significant digits."""
    return "-" if value is None else f"{value:.4g}"


def _page(matrix: Matrix) -> MatrixPage:
    query = matrix.query
    name = matrix.experiment.name or f"Experiment {matrix.experiment.id}"
    subject = query.image or f"class {matrix.class_name}"
    is_lower_better = RUN_MEASURES[query.measure].direction is Direction.LOWER
    values = [cell.measure for row in matrix.rows for cell in row.cells]
    numbers = [value for value in values if value is not None]
    means = [cell.mean for row in matrix.rows for cell in row.cells if cell.mean is not None]
    top = max((float(mean.max()) for mean in means), default=0.0) or 1.0
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)

    def tint(value: float | None) -> float | None:
        if value is None:
            return None
        position = (value - low) / (high - low) if high > low else 1.0
        return 1 - position if is_lower_better else position

    worst, best = (high, low) if is_lower_better else (low, high)
    return MatrixPage(
        title=f"{name}: mean maps of {subject} ({query.method})",
        footer=f"rows: {matrix.field}; columns: {COLUMN_TITLES[query.alignment]}; "
        f"frame and number: {query.measure}; maps relative to their peaks, colors up to the "
        f"largest mean, {top:.2g}",
        row_heads=[f"{format_group(row.value)} (n={len(row.run_ids)})" for row in matrix.rows],
        column_heads=[
            f"{column.value:.3g}" if query.alignment is Alignment.LOSS else f"{column.value:,.0f}"
            for column in matrix.columns
        ],
        cells=[
            [
                TintedMap(
                    None if cell.mean is None else cell.mean / top,
                    tint(cell.measure),
                    format_measure(cell.measure),
                )
                for cell in row.cells
            ]
            for row in matrix.rows
        ],
        image=matrix.image,
        legend=(f"{query.measure} {format_measure(worst)}", format_measure(best)),
        colormap=SEQUENTIAL_DEFAULT,
        tint_colormap=TINT_COLORMAP,
    )
