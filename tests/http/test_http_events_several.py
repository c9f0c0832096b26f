"""Event streams of several runs, and the limits on streams."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from service.api.event_streams import runs as run_events
from service.app import create_app
from service.core.spec import RunSpec
from service.settings import Settings
from service.store import epochs, run_lifecycle, runs
from service.store.epochs import Checkpoint, EpochMetrics
from service.store.run_status import RunStatus
from service.store.store import Store
from service.store_errors import StoreBusy
from tests.conftest import Service
from tests.http.test_http_events import events
from tests.http.test_http_refusals import expect_problem

METRICS = EpochMetrics(0.5, 0.8, 0.4, 0.9, [0.25, 1.0], 1.0, 1.5)
LONG_SPEC = {"dataset": "digits", "epochs": 50, "batch_size": 1}


def stream(http: httpx.Client, **request: Any) -> Any:
    return http.stream("GET", "/events", timeout=60, **request)


def all_events(http: httpx.Client, run_ids: str, **request: Any) -> list[dict[str, Any]]:
    params = {"runs": run_ids, **request.pop("params", {})}
    with stream(http, params=params, **request) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        return list(events(response))


def events_of(run_id: int, sent_events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in sent_events if item["data"]["run_id"] == run_id]


@pytest.fixture(scope="module")
def short_run_id(service: Service) -> int:
    """A finished run in addition to the shared one."""
    run_id = service.post_run(dataset="digits", epochs=1, samples_per_epoch=200, name="short")
    service.wait(run_id)
    return run_id


def test_stream_of_several_runs_ends_with_the_last(
    http: httpx.Client, finished_run: dict[str, Any], short_run_id: int
) -> None:
    sent_events = all_events(http, f"{short_run_id},{finished_run['id']},{short_run_id}")
    for run_id in (short_run_id, finished_run["id"]):
        with http.stream("GET", f"/runs/{run_id}/events") as response:
            single_run_events = list(events(response))
        events_in_stream = events_of(run_id, sent_events)
        assert [item["event"] for item in events_in_stream] == [
            item["event"] for item in single_run_events
        ]
        assert [item["data"] for item in events_in_stream] == [
            {"run_id": run_id, **item["data"]} for item in single_run_events
        ]
    last = {finished_run["id"]: finished_run["last_event"], short_run_id: 5}
    assert sent_events[-1]["id"] == ",".join(f"{run_id}:{last[run_id]}" for run_id in sorted(last))


def test_stream_of_several_runs_resumes_at_every_cursor(
    http: httpx.Client, finished_run: dict[str, Any], short_run_id: int
) -> None:
    run_ids = f"{finished_run['id']},{short_run_id}"
    all_sent_events = all_events(http, run_ids)
    for number, item in enumerate(all_sent_events):
        remaining_events = all_events(http, run_ids, headers={"Last-Event-ID": item["id"]})
        assert remaining_events == all_sent_events[number + 1 :]
        assert remaining_events == all_events(http, run_ids, params={"after": item["id"]})
    options = {"headers": {"Last-Event-ID": all_sent_events[4]["id"]}, "params": {"after": "1:0"}}
    assert all_events(http, run_ids, **options) == all_sent_events[5:]


def test_missing_and_deleted_runs_are_reported_as_gone(
    service: Service, finished_run: dict[str, Any]
) -> None:
    training = service.post_run(**LONG_SPEC)
    queued = service.post_run(dataset="digits", epochs=1)
    runs_followed = f"{queued},999999,{training},{finished_run['id']}"
    try:
        with stream(service.http, params={"runs": runs_followed}) as response:
            sent_events = events(response)
            first = next(item for item in sent_events if item["event"] == "gone")
            assert first["data"] == {"run_id": 999999}
            assert service.http.delete(f"/runs/{queued}").status_code == 204
            second = next(item for item in sent_events if item["event"] == "gone")
            assert second["data"] == {"run_id": queued}
            assert "id" not in first
            assert "id" not in second
            progress = next(item for item in sent_events if item["event"] == "progress")
            assert progress["data"]["run_id"] == training
            service.http.post(f"/runs/{training}/cancel")
            assert list(sent_events)[-1]["data"]["status"] == "cancelled"
    finally:
        service.http.post(f"/runs/{training}/cancel")


@pytest.mark.parametrize(
    "run_ids",
    ["", ",", "0", "x", "1,", "1,,2", "-1", "1_0", "1.5", "1 ", "99999999999999999999",
     str(2**63), ",".join(map(str, range(1, 202)))],
)  # fmt: skip
def test_invalid_list_of_runs_is_refused_with_its_limit(http: httpx.Client, run_ids: str) -> None:
    body = expect_problem(http.get("/events", params={"runs": run_ids}), 422)
    (error,) = body["errors"]
    assert error["field"] == "runs"
    assert error["allowed"]["maxItems"] == 200


def test_stream_without_runs_is_refused(http: httpx.Client) -> None:
    body = expect_problem(http.get("/events"), 422)
    assert [error["field"] for error in body["errors"]] == ["runs"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "{0}", "{0}:", "{0}:-1", "{0}:1,", "{0}:1,{0}:2", "999:1", "{0}:8",
               "{0}:99999999999", "{0}:1_0", "{0}: 1"],
)  # fmt: skip
def test_invalid_cursor_is_refused(
    http: httpx.Client, finished_run: dict[str, Any], cursor: str
) -> None:
    cursor = cursor.format(finished_run["id"])
    params = {"runs": finished_run["id"], "after": cursor}
    body = expect_problem(http.get("/events", params=params), 422)
    assert [error["field"] for error in body["errors"]] == ["after"]
    headers = {"Last-Event-ID": cursor}
    body = expect_problem(http.get("/events", params=params, headers=headers), 422)
    assert [error["field"] for error in body["errors"]] == ["Last-Event-ID"]


class App:
    """The application in this process, without a socket; its runs are rows without workers."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.app = create_app(
            Settings(state_dir=folder, executor="inline", log_requests=False, **settings)
        )

    async def __aenter__(self) -> "App":
        self._lifespan = self.app.router.lifespan_context(self.app)
        await self._lifespan.__aenter__()
        self.services = self.app.state.services
        self.store: Store = self.services.store
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._lifespan.__aexit__(None, None, None)

    def new_run(self) -> int:
        """Creates a run with status running in the database."""
        spec = RunSpec(dataset="digits").model_dump(mode="json")
        with self.store.write_session() as session:
            run_id = runs.create(session, "", [], spec, 3).id
            run_lifecycle.claim(session, run_id, "worker")
        return run_id

    def add_epoch(self, run_id: int, epoch: int) -> None:
        key = f"runs/{run_id}/epochs/{epoch}.safetensors"
        with self.store.write_session() as session:
            self.store.blobs.put(session, key, b"bytes")
            epochs.add(session, run_id, epoch, METRICS, Checkpoint(f"{epoch:064x}", 5, key))

    def end(self, run_id: int) -> None:
        with self.store.write_session() as session:
            run_lifecycle.finish(session, run_id, RunStatus.SUCCEEDED)


class Client:
    """An ASGI request to the application; its response is read or left unread."""

    def __init__(self, app: App, path: str, *, reads: bool = True) -> None:
        self.status = 0
        self.body = b""
        self.unread = asyncio.Event()
        self._reads = reads
        self._disconnected = asyncio.Event()
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "GET",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "root_path": "",
            "http_version": "1.1", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5000),
        }  # fmt: skip
        self.task = asyncio.create_task(app.app(scope, self._receive, self._send))

    async def disconnect(self) -> None:
        self._disconnected.set()
        await asyncio.wait_for(self.task, 20)

    async def _receive(self) -> dict[str, Any]:
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.body += message["body"]
        if not self._reads:
            self.unread.set()
            await self._disconnected.wait()


def run_in_thread(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine in a new thread, because a browser may own this thread's event loop."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, scenario).result()


async def wait_until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def test_streams_share_one_poll_and_render_each_event_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[tuple[int, int]] = []
    original = run_events.events_with_state

    def record_rendering(store: Store, run_id: int, number: int) -> Any:
        rendered.append((run_id, number))
        return original(store, run_id, number)

    monkeypatch.setattr(run_events, "events_with_state", record_rendering)

    async def scenario() -> None:
        async with App(tmp_path) as app:
            run_ids = [app.new_run() for _ in range(3)]
            path = f"/events?runs={','.join(map(str, run_ids))}"
            clients = [Client(app, path) for _ in range(40)]
            await wait_until(
                lambda: all(client.body.count(b"event: status") == 6 for client in clients)
            )
            assert sorted(rendered) == [(run_id, 0) for run_id in run_ids]
            queries: list[str] = []
            event.listen(
                app.store.engine,
                "before_cursor_execute",
                lambda *arguments: queries.append(arguments[2]),
            )
            await asyncio.sleep(1)
            polls = [query for query in queries if "runs.images_seen" in query]
            # One query per poll, ten polls per second; far fewer than one per run or stream.
            assert 1 <= len(polls) <= 12
            app.add_epoch(run_ids[0], 0)
            await wait_until(
                lambda: all(client.body.count(b"event: epoch") == 1 for client in clients)
            )
            assert rendered[3:] == [(run_ids[0], 2)]
            for run_id in run_ids:
                app.end(run_id)
            await asyncio.gather(*(client.task for client in clients))
            assert len(rendered) == 7
            assert app.services.stream_slots.count == 0

    run_in_thread(scenario())


def test_nothing_is_rendered_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with App(tmp_path) as app:
            run_id = app.new_run()
            for epoch in range(300):
                app.add_epoch(run_id, epoch)
            app.end(run_id)
            clients = [Client(app, f"/events?runs={run_id}", reads=False) for _ in range(20)]
            for client in clients:
                await asyncio.wait_for(client.unread.wait(), 20)
            complete_client = Client(app, f"/events?runs={run_id}")
            await asyncio.wait_for(complete_client.task, 20)
            assert len(complete_client.body) > 100_000
            for client in clients:
                assert len(client.body) < 20_000
                await client.disconnect()
            assert app.services.stream_slots.count == 0

    run_in_thread(scenario())


@pytest.mark.parametrize("setting", ["max_streams", "max_client_streams"])
def test_one_stream_too_many_is_429_until_another_ends(tmp_path: Path, setting: str) -> None:
    async def scenario() -> None:
        async with App(tmp_path, **{setting: 2}) as app:
            run_id = app.new_run()
            clients = [Client(app, f"/runs/{run_id}/events"), Client(app, f"/events?runs={run_id}")]
            await wait_until(lambda: all(client.body for client in clients))
            refused_client = Client(app, f"/events?runs={run_id}")
            await asyncio.wait_for(refused_client.task, 20)
            assert refused_client.status == 429
            assert f"CAMREEL_{setting.upper()}".encode() in refused_client.body
            await clients[0].disconnect()
            admitted = Client(app, f"/events?runs={run_id}")
            await wait_until(lambda: admitted.body)
            assert admitted.status == 200
            for client in (clients[1], admitted):
                await client.disconnect()

    run_in_thread(scenario())


def test_streams_continue_after_a_failed_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with App(tmp_path) as app:
            run_id = app.new_run()
            client = Client(app, f"/events?runs={run_id}")
            await wait_until(lambda: client.body)
            failures: list[int] = []

            def fail(*_: object) -> None:
                failures.append(1)
                raise RuntimeError("an error of the driver")

            with monkeypatch.context() as broken_store:
                broken_store.setattr(run_events.runs, "get_progress_of_many", fail)
                await wait_until(lambda: failures)
            app.add_epoch(run_id, 0)
            await wait_until(lambda: b"event: epoch" in client.body)
            await client.disconnect()

    run_in_thread(scenario())


@pytest.mark.parametrize("path", ["/events?runs=1", "/runs/1/events"])
def test_stream_is_503_while_the_database_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def scenario() -> None:
        async with App(tmp_path) as app:
            app.new_run()

            def fail(*_: object) -> None:
                raise StoreBusy("The database is locked.")

            with monkeypatch.context() as locked_store:
                locked_store.setattr(run_events.runs, "get_many", fail)
                refused_client = Client(app, path)
                await asyncio.wait_for(refused_client.task, 20)
            assert refused_client.status == 503
            assert app.services.stream_slots.count == 0

    run_in_thread(scenario())
