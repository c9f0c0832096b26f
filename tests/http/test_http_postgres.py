"""The service on PostgreSQL: the same learning process, in a database of its own."""

from collections.abc import Callable

import pytest

from tests.conftest import Service

pytestmark = pytest.mark.postgres


def test_a_run_is_trained_looked_at_and_deleted(
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
    # A map that is not the probes' own: its metadata is written, once.
    for _ in range(2):
        assert service.http.get(f"{path}/epochs/2/cam?image=test:7&class=3").status_code == 200
    assert service.http.get("/runs?tag=pg").json()["items"][0]["id"] == run_id
    assert service.http.get("/runs?tag=%00").status_code == 422
    service.stop()
    again = new_service(CAMREEL_DATABASE_URL=postgres_url)
    assert again.run(run_id)["epochs_done"] == 2
    assert again.http.delete(path).status_code == 204
    assert again.http.get(path).status_code == 404
