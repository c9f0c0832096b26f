"""An atlas is read from rows: each map is computed once, recorded maps not at all."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from service.core.spec import RunSpec
from service.errors import CheckpointCorrupt, InvalidValue
from service.flows.maps import atlas as atlas_flow
from service.flows.maps.atlas import Atlas, Atlases, AtlasQuery, AtlasRows
from service.flows.maps.pipeline import MapPipeline
from service.flows.runs import start_run
from service.flows.workspace import Workspace
from service.jobs.inline import InlineExecutor
from service.store import schema
from service.store.store import open_store

CLASSES = AtlasQuery(1, ("layer-cam",), AtlasRows.CLASSES, image="test:20", epochs="1")


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path / 'camreel.db'}"
    spec = RunSpec(
        dataset="digits",
        epochs=2,
        samples_per_epoch=100,
        architecture={"channels": [4, 6], "hidden_units": 12},
    )
    with open_store(url) as store:
        schema.ensure(store)
        start_run(store, InlineExecutor(), Workspace(url, "sql", tmp_path), spec)
        yield store


def execute(store, statement: str) -> list:
    with store.write_session() as session:
        result = session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def compute_atlas(store, query: AtlasQuery) -> Atlas:
    """The atlas from a service that has just started."""
    return Atlases(MapPipeline(store, Path("nowhere"))).atlas(query).compute().value


def are_equal(first: Atlas, second: Atlas) -> bool:
    names = ("levels", "minimum", "peak", "blank")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_recorded_and_cached_maps_need_no_checkpoint(store):
    recorded_atlas, computed_atlas = (
        compute_atlas(store, AtlasQuery(1)),
        compute_atlas(store, CLASSES),
    )
    assert recorded_atlas.levels.shape == (2, 10, 3, 24, 24)
    assert computed_atlas.levels.shape == (1, 10, 1, 24, 24)
    rows = execute(store, "SELECT count(*) FROM heatmaps")
    assert rows == [(2 * 10 * 3 + 10,)]
    execute(store, "DELETE FROM blobs")
    assert are_equal(compute_atlas(store, AtlasQuery(1)), recorded_atlas)
    assert are_equal(compute_atlas(store, CLASSES), computed_atlas)
    assert execute(store, "SELECT count(*) FROM heatmaps") == rows
    with pytest.raises(CheckpointCorrupt):
        compute_atlas(store, AtlasQuery(1, layer="pool"))


def test_rows_without_levels_are_recomputed_and_completed(store):
    initial_atlas = compute_atlas(store, AtlasQuery(1))
    execute(store, "UPDATE heatmaps SET levels = NULL, height = NULL, width = NULL WHERE epoch > 0")
    completed_atlas = compute_atlas(store, AtlasQuery(1))
    # In another batch a map's sums are added in another order: a level may differ by one.
    assert np.abs(completed_atlas.levels.astype(int) - initial_atlas.levels).max() <= 1
    shapes = execute(store, "SELECT DISTINCT height, width, length(levels) FROM heatmaps")
    assert shapes == [(24, 24, 576)]
    execute(store, "DELETE FROM blobs")
    assert compute_atlas(store, AtlasQuery(1)).levels.tobytes() == completed_atlas.levels.tobytes()


def test_equal_selections_share_one_atlas(store):
    atlases = Atlases(MapPipeline(store, Path("nowhere")))
    first = atlases.atlas(AtlasQuery(1)).compute()
    assert atlases.atlas(AtlasQuery(1, epochs="0,1,2")).compute() is first


def test_atlas_with_too_many_cells_is_refused_with_the_limit(store, monkeypatch):
    monkeypatch.setattr(atlas_flow, "MAX_CELLS", 59)
    with pytest.raises(InvalidValue, match="60 cells") as refusal:
        compute_atlas(store, AtlasQuery(1))
    assert (refusal.value.field, refusal.value.allowed) == ("epochs", {"maximum_cells": 59})
    assert compute_atlas(store, AtlasQuery(1, epochs="1:")).levels.shape[2] == 2
