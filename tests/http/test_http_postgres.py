"""The service on PostgreSQL: the same learning process, in a database of its own."""

import os
import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.conftest import Service

URL = os.environ.get("CAMREEL_TEST_POSTGRES_URL")
pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(URL is None, reason="CAMREEL_TEST_POSTGRES_URL is not set"),
]


@pytest.fixture
def database_url() -> Iterator[str]:
    """A new database, dropped at the end."""
    assert URL is not None
    name = f"camreel_{uuid.uuid4().hex[:12]}"
    server = create_engine(make_url(URL), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    # The plain scheme, as a person writes it: the driver is ours to choose.
    plain = make_url(URL).set(database=name, drivername="postgresql")
    yield plain.render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def test_a_run_is_trained_looked_at_and_deleted(
    new_service: Callable[..., Service], database_url: str
) -> None:
    service = new_service(CAMREEL_DATABASE_URL=database_url)
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
    again = new_service(CAMREEL_DATABASE_URL=database_url)
    assert again.run(run_id)["epochs_done"] == 2
    assert again.http.delete(path).status_code == 204
    assert again.http.get(path).status_code == 404
