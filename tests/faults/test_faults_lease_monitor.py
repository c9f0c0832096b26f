"""The lease monitor continues after any database fault, and assigns lost runs to workers."""

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
from tests.uploads.conftest import Application


def execute(url: str, *statements: str) -> None:
    server_url = make_url(url).set(drivername="postgresql", database="postgres")
    conninfo = server_url.render_as_string(hide_password=False)
    with closing(psycopg.connect(conninfo, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement.format(database=make_url(url).database))


@contextmanager
def read_only_server(server: Application, _: Path) -> Iterator[None]:
    url = server.settings.database_url
    execute(
        url,
        "ALTER DATABASE {database} SET default_transaction_read_only = on",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
    )
    yield
    execute(url, "ALTER DATABASE {database} RESET default_transaction_read_only")


@contextmanager
def renamed_table(server: Application, _: Path) -> Iterator[None]:
    with server.services.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs RENAME TO runs_")
    yield
    with server.services.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs_ RENAME TO runs")


@contextmanager
def moved_file(_: Application, folder: Path) -> Iterator[None]:
    (folder / "camreel.db").rename(folder / "moved")
    yield
    (folder / "moved").rename(folder / "camreel.db")


@contextmanager
def bug(server: Application, _: Path) -> Iterator[None]:
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


def lose_a_worker(server: Application) -> int:
    """Creates a run with a lost worker; returns its id."""
    spec = RunSpec.model_validate(TINY)
    with server.services.store.write_session() as session:
        run = runs.create(session, "", [], spec.model_dump(mode="json"), spec.epochs)
        assert run_lifecycle.claim(session, run.id, "lost worker")
    return run.id


@pytest.mark.parametrize(("database", "fault", "problem"), FAULTS)
def test_lost_run_is_trained_after_any_database_fault(
    new_application: Callable[..., Application],
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
    server = new_application(**options)
    (monitor,) = (t for t in server.services.background._tasks if t.name == "lease-monitor")
    run_id = lose_a_worker(server)
    with fault(server, tmp_path):
        wait_until(lambda: monitor._failures >= 2)
        if problem is not None:
            refusal = server.request("POST", "/runs", json=TINY)
            assert (refusal.status_code, refusal.json()["type"]) == (503, problem)
            assert int(refusal.headers["retry-after"]) > 0
            assert server.request("GET", "/readyz").status_code == 503
    wait_until(lambda: server.request("GET", f"/runs/{run_id}").json().get("status") == "succeeded")
    wait_until(lambda: server.request("GET", "/readyz").status_code == 200)
    assert server.request("POST", "/runs", json=TINY).status_code == 201
