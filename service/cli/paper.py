"""Reproduction of the paper's experiment: runs, contact sheets, figure 4, and blank counts."""

import json
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from service.cli.progress import follow_all
from service.cli.terminal import new_console, print_line
from service.cli.train import read_snapshot
from service.core.cams.maps import CAUSES
from service.core.images import from_png
from service.core.png import encode_png
from service.core.render.cells import image_rgb
from service.core.render.table import Panel, render_side_by_side, render_table
from service.errors import CamreelError, UnknownName
from service.files import write_file
from service.flows.maps.blanks import BlankCount
from service.flows.maps.pictures import Rendering
from service.flows.maps.request import MapQuery
from service.flows.paper import (
    RECIPES,
    THRESHOLDS,
    BlankBlock,
    blank_blocks,
    find_example,
    paper_runs,
    paper_spec,
)
from service.flows.services import ServiceSet, open_services
from service.folders import make_folder, make_private_folder
from service.settings import Settings
from service.store import runs
from service.store.run_status import RunStatus

SHEET_CELL_PIXELS = 32
FIGURE_PIXELS = 224
METHODS = ("conventional", "proposed")
PAPER_COUNTS_NOTE = (
    "The paper reports 217 (conventional) and 0 (proposed) of 500, and no threshold."
)


def paper(
    settings: Settings, recipes: list[str], seeds: list[int], epochs: int, output_folder: Path
) -> None:
    """Train the runs that the folder's database does not have, then write pictures and tables."""
    console = new_console()
    make_private_folder(output_folder, "--out")
    for recipe in recipes:
        if recipe not in RECIPES:
            raise UnknownName("recipe", recipe, RECIPES)
    experiments = [(recipe, seed) for seed in seeds for recipe in recipes or RECIPES]
    services = open_services(settings)
    try:
        specs = [paper_spec(recipe, seed, epochs) for recipe, seed in experiments]
        ids = paper_runs(
            services.store, services.executor, services.workspace, specs, services.election.name
        )
        _wait(console, services, ids)
    finally:
        services.executor.close()
    blocks: list[BlankBlock] = []
    with closing(services.pipeline):
        for (recipe, seed), run_id in zip(experiments, ids, strict=True):
            pictures_folder = output_folder / f"{recipe}-seed{seed}"
            make_folder(pictures_folder, "--out")
            write_pictures(services, run_id, pictures_folder)
            blocks += blank_blocks(services.pipeline, run_id, recipe, seed)
            print_line(f"{recipe}, seed {seed}: {pictures_folder}", console=console)
    write_table(blocks, output_folder)
    print_line(f"Table: {output_folder / 'blanks.md'}", console=console)


def _wait(console: Console, services: ServiceSet, ids: list[int]) -> None:
    follow_all(
        console,
        {f"run {run_id}": partial(read_snapshot, services, run_id) for run_id in ids},
    )
    for run_id in ids:
        with services.store.read_session() as session:
            run = runs.get(session, run_id)
        if run.status != RunStatus.SUCCEEDED:
            cause = f" ({run.error.type}): {run.error.detail}" if run.error else ""
            raise CamreelError(f"Run {run_id} {run.status}{cause}")


def write_pictures(services: ServiceSet, run_id: int, folder: Path) -> None:
    """Write both contact sheets of a run, and figure 4 if the run has a suitable example."""
    pictures = services.pictures
    for method in METHODS:
        sheet = pictures.sheet(MapQuery(run_id, method), "1:", Rendering(size=SHEET_CELL_PIXELS))
        write_file(folder / f"{method}.png", sheet.compute().value.content)
    cell = find_example(services.pipeline, run_id)
    if cell is None:
        return
    proposed = MapQuery(run_id, "proposed", cell.image)
    image = services.pipeline.resolver.resolve_map(proposed, cell.epoch).series.image
    picture = image_rgb(from_png(image.png), FIGURE_PIXELS)
    panels = [Panel(encode_png(picture), f"{cell.image}, epoch {cell.epoch}")]
    for method in METHODS:
        query, rendering = MapQuery(run_id, method, cell.image), Rendering(size=FIGURE_PIXELS)
        heatmap = pictures.cam(query, cell.epoch, rendering).compute().value
        panels.append(Panel(heatmap.content, f"{method}: peak {heatmap.peak:.1e}"))
    write_file(folder / "figure4.png", render_side_by_side(panels))


def write_table(blocks: list[BlankBlock], folder: Path) -> None:
    """Write the blank counts as Markdown, JSON and PNG."""
    headers = ["recipe", "epochs", "threshold"]
    for method in METHODS:
        headers += [f"{method}: blank", " / ".join(CAUSES)]
    rows = [row for block in blocks for row in _rows(block)]
    lines = [_markdown(headers), _markdown(["---"] * len(headers)), *map(_markdown, rows)]
    write_file(folder / "blanks.md", "\n".join([*lines, "", PAPER_COUNTS_NOTE, ""]).encode())
    text = json.dumps([asdict(block) for block in blocks], indent=1)
    write_file(folder / "blanks.json", f"{text}\n".encode())
    title = "Blank maps by threshold (on the peak of equation 2) and cause"
    write_file(folder / "blanks.png", render_table(title, headers, rows))


def _rows(block: BlankBlock) -> list[list[str]]:
    rows = []
    for epsilon in THRESHOLDS:
        counts = [block.counts[epsilon][method] for method in METHODS]
        rows.append(
            [
                f"{block.recipe}, seed {block.seed}",
                block.epochs,
                f"{epsilon:.0e}" if epsilon else "0",
                *(cell for count in counts for cell in _count_cells(count)),
            ]
        )
    return rows


def _count_cells(count: BlankCount) -> tuple[str, str]:
    return f"{count.blank} of {count.total}", " / ".join(map(str, count.by_cause.values()))


def _markdown(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
