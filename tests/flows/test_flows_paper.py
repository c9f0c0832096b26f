"""The paper's count of blank maps, on a short run."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli.paper import write_table
from service.core.cams.maps import Blank
from service.flows import paper
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.paper import RECIPES, SPANS, THRESHOLDS, blank_blocks, find_example, paper_spec
from service.flows.worker import train_run
from service.flows.workspace import Workspace
from service.store import runs, schema
from service.store.store import Store


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> MapPipeline:
    folder = tmp_path_factory.mktemp("paper")
    workspace = Workspace(f"sqlite:///{folder}/paper.db", "sql", folder)
    store = Store.open(workspace.database)
    schema.ensure(store)
    values: dict[str, Any] = {"dataset": "digits", "epochs": 4, "samples_per_epoch": 1_000}
    spec = paper_spec("adam-sigmoid", 0).model_validate(values)
    with store.write_session() as session:
        run = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs)
    train_run(workspace, run.id)
    return MapPipeline(store, folder)


def test_each_recipe_changes_the_papers_spec() -> None:
    plain = paper_spec("adadelta-sigmoid", 0)
    assert (plain.epochs, plain.samples_per_epoch, plain.batch_size) == (100, 10_000, 100)
    specs = [paper_spec(recipe, 0) for recipe in RECIPES]
    assert (
        len({(s.optimizer.model_dump_json(), s.architecture.model_dump_json()) for s in specs}) == 5
    )
    assert paper_spec("sgd-sigmoid", 0).optimizer.learning_rate == 0.1
    assert paper_spec("output-sigmoid", 0).architecture.output_activation == "sigmoid"
    assert paper_spec("adadelta-sigmoid", 3).seed == 3


def test_counts_rise_with_the_threshold_and_sum_over_causes(
    pipeline: MapPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, "SPANS", ((1, 2, 1), (1, 4, 1)))
    first_block, last_block = blank_blocks(pipeline, 1, "adam-sigmoid", 0)
    assert (first_block.epochs, last_block.epochs) == ("1:2:1", "1:4:1")
    for block, maps in ((first_block, 20), (last_block, 40)):
        for method in ("conventional", "proposed"):
            counts = [block.counts[epsilon][method] for epsilon in THRESHOLDS]
            assert [count.total for count in counts] == [maps] * len(THRESHOLDS)
            blank = [count.blank for count in counts]
            assert blank == sorted(blank)
            assert all(sum(count.by_cause.values()) == count.blank for count in counts)


def test_spans_beyond_the_last_epoch_are_omitted(pipeline: MapPipeline) -> None:
    assert SPANS == ((1, 50, 1), (1, 100, 2), (1, 100, 1))
    assert blank_blocks(pipeline, 1, "adam-sigmoid", 0) == []


def test_example_is_blank_for_the_conventional_method_only(
    pipeline: MapPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = find_example(pipeline, 1)
    if cell is None:
        # Four epochs may saturate no map at the real threshold; then there is no example.
        queries = [MapQuery(1, "conventional")]
        (probes,), selection = pipeline.resolver.resolve_probe_series(queries, "1:")
        rows = [row for series in probes for row in pipeline.rows.of_series(series, selection)]
        assert all(row.blank != Blank.SATURATED for row in rows)
        return
    for method, blank in (("conventional", True), ("proposed", False)):
        request = pipeline.resolver.resolve_map(MapQuery(1, method, cell.image), cell.epoch)
        class_map = pipeline.computer.class_map(request)
        assert (class_map.blank_cause() is not Blank.NONE) is blank


def test_table_is_written_as_markdown_json_and_png(
    pipeline: MapPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paper, "SPANS", ((1, 4, 1),))
    blocks = blank_blocks(pipeline, 1, "adam-sigmoid", 0)
    write_table(blocks, tmp_path)
    lines = (tmp_path / "blanks.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| adam-sigmoid")]) == len(THRESHOLDS)
    assert "217" in lines[-1]
    (block,) = json.loads((tmp_path / "blanks.json").read_text())
    assert block["counts"]["1e-07"]["proposed"]["total"] == 40
    assert (tmp_path / "blanks.png").read_bytes().startswith(b"\x89PNG")
