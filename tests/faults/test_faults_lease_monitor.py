"""The lease monitor goes on after whatever the database does: a lost run is given to a worker."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from service.core.spec import RunSpec
from service.flows import readiness
from service.store import run_lifecycle, runs
from tests.faults.tiny import TINY
from tests.processes import wait_until
from tests.uploads.conftest import Asked


def execute(url: str, *statements: str) -> None:
    server_url = make_url(url).set(drivername="postgresql", database="postgres")
    conninfo = server_url.render_as_string(hide_password=False)
    with closing(psycopg.connect(conninfo, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement.format(database=make_url(url).database))


@contextmanager
def read_only_server(server: Asked, _: Path) -> Iterator[None]:
    url = server.settings.database_url
    execute(
        url,
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
    )
    yield
    execute(url, "ALTER DATABASE {database} RESET default_transaction_read_only")


@contextmanager
def renamed_table(server: Asked, _: Path) -> Iterator[None]:
    with server.services.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs RENAME TO runs_")
    yield
    with server.services.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs_ RENAME TO runs")


@contextmanager
def moved_file(_: Asked, folder: Path) -> Iterator[None]:
    (folder / "camreel.db").rename(folder / "moved")
    yield
    (folder / "moved").rename(folder / "camreel.db")


@contextmanager
def bug(server: Asked, _: Path) -> Iterator[None]:
    executor = server.services.executor
    submit, executor.submit = executor.submit, None  # a TypeError
    yield
    executor.submit = submit


FAULTS = [
    pytest.param("postgresql", read_only_server, "store-read-only", marks=pytest.mark.postgres),
    pytest.param("postgresql", renamed_table, "schema-mismatch", marks=pytest.mark.postgres),
    ("sqlite", renamed_table, "schema-mismatch"),
    ("sqlite", moved_file, "store-missing"),
    ("sqlite", bug, None),
]


def lose_a_worker(server: Asked) -> int:
    """A run that a worker took which is not heard of any more; its id."""
    spec = RunSpec.model_validate(TINY)
    with server.services.store.write_session() as session:
        run = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs)
        assert run_lifecycle.claim(session, run.id, "a worker that is gone")
    return run.id


@pytest.mark.parametrize(("database", "fault", "problem"), FAULTS)
def test_a_lost_run_is_trained_after_any_fault_of_the_database(
    application: Callable[..., Asked],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
    fault: Any,
    problem: str | None,
) -> None:
    monkeypatch.setattr(readiness, "REUSE_SECONDS", 0.0)
    options: dict[str, Any] = {"lease_seconds": 1}
    if database == "postgresql":
        options["database_url"] = request.getfixturevalue("postgres_url")
    server = application(**options)
    (monitor,) = (t for t in server.services.background._tasks if t.name == "lease-monitor")
    run_id = lose_a_worker(server)
    with fault(server, tmp_path):
        wait_until(lambda: monitor._failures >= 2)
        if problem is not None:
            refusal = server.ask("POST", "/runs", json=TINY)
            assert (refusal.status_code, refusal.json()["type"]) == (503, problem)
            assert int(refusal.headers["retry-after"]) > 0
            assert server.ask("GET", "/readyz").status_code == 503
    wait_until(lambda: server.ask("GET", f"/runs/{run_id}").json().get("status") == "succeeded")
    wait_until(lambda: server.ask("GET", "/readyz").status_code == 200)
    assert server.ask("POST", "/runs", json=TINY).status_code == 201
