"""Looking at runs without a service."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from service.api.map_parameters import CamParameters
from service.app import open_services
from service.errors import CamreelError
from service.flows.heatmaps import count_blanks
from service.settings import Settings


def cam(settings: Settings, run: int, epoch: int, asked: dict[str, Any], out: Path) -> None:
    """Write one heatmap, asked for as the API's parameters ask."""
    try:
        parameters = CamParameters.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise CamreelError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    pictures = open_services(settings).pictures
    rendering = parameters.rendering(parameters.size)
    picture = pictures.cam(parameters.query(run), epoch, rendering)
    out.write_bytes(picture.draw())
    row = picture.row()
    Console().print(f"{out}: peak {row.peak:.3g}, blank: {row.blank}")


def blanks(settings: Settings, run: int, epsilon: float, epochs: str) -> None:
    """Print the count of a run's blank maps."""
    table = count_blanks(open_services(settings).viewer, run, epochs, epsilon)
    shown = Table(title=f"Blank maps of run {run}: peak <= {epsilon:g}")
    causes = list(next(iter(table.methods.values())).by_cause)
    for head in ("method", "maps", "blank", *causes):
        shown.add_column(head, justify="left" if head == "method" else "right")
    for method, count in table.methods.items():
        cells = (count.total, count.blank, *(count.by_cause[cause] for cause in causes))
        shown.add_row(method, *map(str, cells))
    Console().print(shown)
