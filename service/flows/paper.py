"""Section 4 of the paper, done again: recipes, their runs, and the count of blank maps."""

import json
from dataclasses import dataclass

from service.core.cams.maps import Blank
from service.core.spec import RunSpec
from service.flows.maps.blanks import BlankCount, blanks
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs import Executor
from service.store import runs
from service.store.heatmaps import Heatmap
from service.store.run_status import RunStatus
from service.store.store import Store

PAPER_EPOCHS = 100

RECIPES: dict[str, dict[str, object]] = {
    "adadelta-sigmoid": {},
    "adadelta-relu": {"architecture": {"hidden_activation": "relu"}},
    "adam-sigmoid": {"optimizer": {"name": "adam"}},
    "sgd-sigmoid": {"optimizer": {"name": "sgd", "learning_rate": 0.1}},
    "output-sigmoid": {"architecture": {"output_activation": "sigmoid"}},
}
"""What the paper leaves open, in five ways: optimiser and rate, and where a sigmoid stands."""


def paper_spec(recipe: str, seed: int, epochs: int = PAPER_EPOCHS) -> RunSpec:
    """The spec of one recipe: the paper's experiment but for what the recipe names."""
    return RunSpec.model_validate(
        {
            "name": f"paper, {recipe}, seed {seed}",
            "tags": ["paper", recipe],
            "epochs": epochs,
            "seed": seed,
            **RECIPES[recipe],
        }
    )


THRESHOLDS = (0.0, *(10.0**power for power in range(-10, -3)))
"""At which a count of blank maps is stated: whether a map shows depends on it."""

SPANS = ((1, 50, 1), (1, 100, 2), (1, 100, 1))
"""Epochs counted, (first, last, step). The paper names 500 maps of 10 digits in 100 epochs: those
of the first 50 epochs, or of every second one; and all 1,000."""


@dataclass(frozen=True)
class BlankBlock:
    """Counts of one recipe's blank maps over a span of epochs, by threshold, then by method."""

    recipe: str
    seed: int
    run_id: int
    epochs: str  # as the API selects them, 1:100:2
    test_accuracy: float  # of the last epoch
    counts: dict[float, dict[str, BlankCount]]


@dataclass(frozen=True)
class Example:
    """A cell for figure 4: blank for want of a gradient by one method, seen by the other."""

    image: str
    epoch: int


def paper_runs(
    store: Store, executor: Executor, workspace: Workspace, specs: list[RunSpec]
) -> list[int]:
    """Ids of runs of those specs: one that succeeded is taken as it is, the others are started."""
    with store.read_session() as session:
        succeeded = {
            json.dumps(run.spec, sort_keys=True): run.id
            for run in runs.list_by_status(session, RunStatus.SUCCEEDED)
        }
    ids = []
    for spec in specs:
        key = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
        run_id = succeeded.get(key)
        ids.append(run_id or start_run(store, executor, workspace, spec).id)
    return ids


def blank_blocks(pipeline: MapPipeline, run_id: int, recipe: str, seed: int) -> list[BlankBlock]:
    """The table of a run: a block for each span of epochs that the run has reached."""
    usable = {epoch.epoch: epoch for epoch in pipeline.resolver.resolve_epochs(run_id).epochs}
    blocks = []
    for first_epoch, last_epoch, step in SPANS:
        if last_epoch not in usable:
            continue
        epochs = f"{first_epoch}:{last_epoch}:{step}"
        counts = {
            epsilon: blanks(pipeline, run_id, epochs, epsilon).compute().value.methods
            for epsilon in THRESHOLDS
        }
        accuracy = usable[last_epoch].metrics.test_accuracy
        blocks.append(BlankBlock(recipe, seed, run_id, epochs, accuracy, counts))
    return blocks


def find_example(pipeline: MapPipeline, run_id: int) -> Example | None:
    """A cell whose conventional map is saturated and whose proposed one shows, or None.

    Of several, the one whose proposed map has the highest peak.
    """
    methods = ("conventional", "proposed")
    rows_by_method: dict[str, dict[tuple[str, int], Heatmap]] = {method: {} for method in methods}
    queries = [MapQuery(run_id, method) for method in methods]
    by_method, selection = pipeline.resolver.resolve_probe_series(queries, "1:")
    for method, probes in zip(methods, by_method, strict=True):
        for series in probes:
            for row in pipeline.rows.of_series(series, selection):
                rows_by_method[method][row.image, row.epoch] = row
    candidates = [
        (rows_by_method["proposed"][cell].peak, cell)
        for cell, row in rows_by_method["conventional"].items()
        if row.blank == Blank.SATURATED and rows_by_method["proposed"][cell].blank == Blank.NONE
    ]
    if not candidates:
        return None
    _, (image, epoch) = max(candidates)
    return Example(image, epoch)
