"""The service on PostgreSQL."""

from collections.abc import Callable

import pytest

from tests.conftest import Service

pytestmark = pytest.mark.postgres


def test_run_is_trained_explained_and_deleted(
    new_service: Callable[..., Service], postgres_url: str
) -> None:
    service = new_service(CAMREEL_DATABASE_URL=postgres_url)
    run_id = service.post_run(dataset="digits", epochs=2, samples_per_epoch=300, tags=["pg"])
    run = service.wait(run_id)
    assert run["status"] == "succeeded", run
    assert run["created_at"].endswith("Z")
    assert not list(service.state_dir.rglob("*.db"))
    path = f"/runs/{run_id}"
    for page in ("/epochs/2/cam", "/epochs/2/checkpoint", "/sheet", "/strip.webp", "/blanks"):
        assert service.http.get(path + page).status_code == 200
    # A map of another image than the probes: its metadata is recorded once.
    for _ in range(2):
        assert service.http.get(f"{path}/epochs/2/cam?image=test:7&class=3").status_code == 200
    assert service.http.get("/runs?tag=pg").json()["items"][0]["id"] == run_id
    assert service.http.get("/runs?tag=%00").status_code == 422
    service.stop()
    restarted = new_service(CAMREEL_DATABASE_URL=postgres_url)
    assert restarted.run(run_id)["epochs_done"] == 2
    assert restarted.http.delete(path).status_code == 204
    assert restarted.http.get(path).status_code == 404
