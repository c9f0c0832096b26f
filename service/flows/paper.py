"""Reproduction of the paper's section 4: recipes, their runs, and the number of blank maps."""

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
"""Choices for what the paper leaves open: optimizer, learning rate and position of the sigmoid."""


def paper_spec(recipe: str, seed: int, epochs: int = PAPER_EPOCHS) -> RunSpec:
    """The spec of a recipe: the paper's experiment with the recipe's settings."""
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
"""Thresholds of the reported counts: whether a map is blank depends on the threshold."""

SPANS = ((1, 50, 1), (1, 100, 2), (1, 100, 1))
"""Ranges of counted epochs: (first, last, step). The paper mentions 500 maps of 10 digits in 100
epochs, which may be the first 50 epochs or every second one. The last range counts all 1,000."""


@dataclass(frozen=True)
class BlankBlock:
    """Blank maps of a recipe's run in a range of epochs, by threshold, then by method."""

    recipe: str
    seed: int
    run_id: int
    epochs: str  # in the API's notation, such as 1:100:2
    test_accuracy: float | None  # of the last epoch
    counts: dict[float, dict[str, BlankCount]]


@dataclass(frozen=True)
class Example:
    """A cell for figure 4: blank by the conventional method, not blank by the proposed one."""

    image: str
    epoch: int


def paper_runs(
    store: Store,
    executor: Executor,
    workspace: Workspace,
    specs: list[RunSpec],
    dispatcher: str | None = None,
) -> list[int]:
    """Ids of runs with these specs: an existing successful run, or else a new one.

    `dispatcher` as of `create_run`.
    """
    with store.read_session() as session:
        succeeded = {
            _canonical(RunSpec.model_validate(run.spec)): run.id
            for run in runs.list_by_status(session, RunStatus.SUCCEEDED)
        }
    ids = []
    for spec in specs:
        run_id = succeeded.get(_canonical(spec))
        ids.append(run_id or start_run(store, executor, workspace, spec, dispatcher).id)
    return ids


def _canonical(spec: RunSpec) -> str:
    """The same text for equal specs, with defaults for fields that an older version lacks."""
    return json.dumps(spec.model_dump(mode="json"), sort_keys=True)


def blank_blocks(pipeline: MapPipeline, run_id: int, recipe: str, seed: int) -> list[BlankBlock]:
    """The table of a run: a block for each range of epochs that the run has completed."""
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
    """The cell with a saturated conventional map and the highest peak of the proposed map.

    None if no conventional map is saturated while the proposed one is not blank.
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
