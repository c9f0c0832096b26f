"""The target `centred` was renamed `centered`: in stored maps, jobs and older exports too."""

from pathlib import Path

import pytest
from alembic import command

from service.flows.recording import map_identity
from service.flows.transfer.exporting import export_run
from service.flows.transfer.importing import import_run
from service.store import schema
from tests.keeping.conftest import StateFolder

OLD, NEW = "layer-cam/centred", "layer-cam/centered"

MAPS = """
    SELECT h.id, c.sha256, h.image, h.layer, h.method, h.class_index, h.etag
    FROM heatmaps h JOIN checkpoints c ON c.run_id = h.run_id AND c.epoch = h.epoch
"""


def migrate(state_folder: StateFolder, revision: str) -> None:
    config = schema._config()
    with state_folder.open_store() as store, store.engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if revision == "head" else command.downgrade)(config, revision)


def methods(state_folder: StateFolder) -> set[str]:
    """The methods of all recorded maps; verifies their identities."""
    rows = state_folder.execute(MAPS)
    assert rows
    for _, checkpoint, image, layer, method, class_index, etag in rows:
        assert etag == map_identity(checkpoint, "digits", image, layer, method, class_index)
    return {row[4] for row in rows}


@pytest.fixture
def older_state_folder(state_folder: StateFolder) -> StateFolder:
    """A state folder whose maps have the old name of the target."""
    for row_id, checkpoint, image, layer, method, class_index, _ in state_folder.execute(MAPS):
        if method == "proposed":
            state_folder.execute(
                "UPDATE heatmaps SET method = :method, etag = :etag WHERE id = :id",
                id=row_id,
                method=OLD,
                etag=map_identity(checkpoint, "digits", image, layer, OLD, class_index),
            )
    return state_folder


def test_migration_renames_the_target_of_recorded_maps_and_back(
    older_state_folder: StateFolder,
) -> None:
    migrate(older_state_folder, "0010")
    assert methods(older_state_folder) == {"conventional", OLD}
    migrate(older_state_folder, "head")
    assert methods(older_state_folder) == {"conventional", NEW}
    migrate(older_state_folder, "0010")
    assert methods(older_state_folder) == {"conventional", OLD}


def test_migration_renames_the_target_in_links_of_jobs(state_folder: StateFolder) -> None:
    link = "/runs/1/evaluation?method=layer-cam%2Fcentred&measure=randomised-ssim&target=centred"
    state_folder.execute(
        "INSERT INTO jobs (kind, owner, request, status, server, heartbeats, created_at)"
        " VALUES ('evaluation', 'me', :link, 'failed', 'here', 0, '2026-01-01 00:00:00')",
        link=link,
    )
    migrate(state_folder, "0010")
    assert state_folder.execute("SELECT request FROM jobs") == [(link,)]
    migrate(state_folder, "head")
    ((renamed,),) = state_folder.execute("SELECT request FROM jobs")
    assert renamed == link.replace("centred", "centered").replace("randomised", "randomized")


def test_older_export_is_imported_with_the_new_name(
    older_state_folder: StateFolder, blob_type: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.camreel"
    with older_state_folder.open_store() as store:
        export_run(store, 1, file)
    imported = StateFolder(tmp_path / "other", blob_type)
    with imported.open_store() as store:
        schema.ensure(store)
        import_run(store, file)
    assert methods(imported) == {"conventional", NEW}


def test_old_name_is_refused_with_the_available_names(state_folder: StateFolder) -> None:
    with state_folder.client() as client:
        response = client.get(
            "/runs/1/epochs/1/cam",
            params={"method": OLD.replace("/centred", "")} | {"target": "centred"},
        )
    assert response.status_code == 422
    assert "centered" in response.json()["detail"]
