"""Looking at runs without a service."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.api.map_parameters import CamParameters
from service.cli.terminal import ValueTable, print_line, print_table
from service.core.cams.methods import PAPER_METHODS
from service.errors import CamreelError, UnknownName
from service.files import check_output, write_file
from service.flows.blanks import count_blanks
from service.flows.export import export_maps
from service.flows.services import open_services
from service.report.document import ReportQuery, run_report
from service.report.languages import LANGUAGES, Language
from service.settings import Settings


def cam(settings: Settings, run: int, epoch: int, asked: dict[str, Any], out: Path) -> None:
    """Write one heatmap, asked for as the API's parameters ask."""
    try:
        parameters = CamParameters.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise CamreelError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    check_output(out)
    pictures = open_services(settings).pictures
    rendering = parameters.rendering(parameters.size)
    picture = pictures.cam(parameters.query(run), epoch, rendering)
    write_file(out, picture.draw())
    row = picture.row()
    peak = f"peak {row.peak:.3g}, " if math.isfinite(row.peak) else ""
    print_line(f"{out}: {peak}blank: {row.blank}")


def maps(
    settings: Settings,
    run: int,
    epochs: str,
    method: str,
    out: Path,
    layer: str | None,
    images: int | None,
) -> None:
    """Write maps as npz."""
    viewer = open_services(settings).viewer
    written = export_maps(viewer, run, epochs, method, out, layer=layer, count=images)
    print_line(f"{out}: {written:,} maps")


def blanks(
    settings: Settings, run: int, epsilon: float, epochs: str, methods: Sequence[str]
) -> None:
    """Print the count of a run's blank maps."""
    viewer = open_services(settings).viewer
    table = count_blanks(viewer, run, epochs, epsilon, methods or PAPER_METHODS)
    shown = ValueTable(title=f"Blank maps of run {run}: peak <= {epsilon:g}")
    causes = list(next(iter(table.methods.values())).by_cause)
    for head in ("method", "maps", "blank", *causes):
        shown.add_column(head, justify="left" if head == "method" else "right")
    for method, count in table.methods.items():
        cells = (count.total, count.blank, *(count.by_cause[cause] for cause in causes))
        shown.add_values(method, *map(str, cells))
    print_table(shown)


def report(
    settings: Settings,
    run: int,
    epochs: str,
    methods: Sequence[str],
    language: str,
    out: Path | None,
) -> None:
    """Write a run's report."""
    asked = ReportQuery(run, methods or PAPER_METHODS, epochs, _language(language))
    path = out or Path(f"run-{run}-report.html")
    check_output(path)
    content = run_report(open_services(settings).pictures, asked).draw()
    write_file(path, content)
    print_line(f"{path}: {len(content):,} bytes")


def _language(text: str) -> Language:
    for language in LANGUAGES:
        if language == text:
            return language
    raise UnknownName("language", text, LANGUAGES)
