"""While every thread for expensive work is taken, cheap answers come, and the surplus is refused.

Computations stand still until the test lets them go on: nothing is measured by a clock.
"""

from collections.abc import Callable

import pytest

from service.errors import RequestCancelled
from service.flows.maps import images
from tests.lanes.conftest import Application, Blockade, Client, wait_until

SLOW: dict[str, Callable[[int], str]] = {
    "evaluation": lambda n: f"/runs/1/epochs/1/evaluation?images=100&method=smooth-grad&seed={n}",
    "cam": lambda n: f"/runs/1/epochs/1/cam?method=lime&seed={n}",
    "cam.json": lambda n: f"/runs/1/epochs/1/cam.json?method=occlusion&image=test:{n}",
    "cam.npy": lambda n: f"/runs/1/epochs/1/cam.npy?method=lime&seed={n}",
    "sheet": lambda n: f"/runs/1/sheet?method=smooth-grad&seed={n}",
    "strip": lambda n: f"/runs/1/strip?method=lime&seed={n}",
    "strip.webp": lambda n: f"/runs/1/strip.webp?method=lime&seed={n}",
    "strip.npz": lambda n: f"/runs/1/strip.npz?method=lime&seed={n}",
    "report": lambda n: f"/runs/1/report.html?method=lime?seed={n}",
    "blanks": lambda n: f"/runs/1/blanks?method=lime?seed={n}",
    "blanks.csv": lambda n: f"/runs/1/blanks.csv?method=lime?seed={n}",
    "atlas": lambda n: f"/runs/1/atlas?method=ss-cam?seed={n}",
}
CHEAP = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/runs",
    "/runs/1",
    "/runs/1/epochs",
    "/runs/1/epochs.csv",
    "/runs/1/probes",
    "/runs/1/scores",
    "/runs/1/blanks",
    "/runs/1/atlas",
    "/runs/1/atlas.json",
    "/runs/1/epochs/1/checkpoint",
    "/jobs",
]
BATCH_THREADS, MAX_WAITING = 2, 5


@pytest.fixture
def service(application) -> Application:
    made: Application = application(batch_threads=BATCH_THREADS, max_waiting_requests=MAX_WAITING)
    return made


def fill(service: Application, blockade: Blockade, kind: str, count: int) -> list[Client]:
    """Requests of which some are computed, some wait, and some are refused."""
    clients = [service.ask(SLOW[kind](n)) for n in range(count)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    wait_until(lambda: sum(client.waits for client in clients) == BATCH_THREADS + MAX_WAITING)
    wait_until(lambda: blockade.begun >= BATCH_THREADS)
    return clients


@pytest.mark.parametrize("kind", SLOW)
def test_surplus_requests_are_503_and_cheap_ones_are_answered(
    service: Application, blockade: Blockade, kind: str
) -> None:
    cached = "/runs/1/epochs/2/cam"
    blockade.lifted.set()
    tagged = service.get(cached)
    assert tagged.status == 200
    blockade.lifted.clear()

    clients = fill(service, blockade, kind, 40)
    refused = [client.answer() for client in clients if not client.waits]
    assert len(refused) == 40 - BATCH_THREADS - MAX_WAITING
    for answer in refused:
        assert answer.status == 503
        assert answer.json()["type"] == "pool-full"
        assert int(answer.headers["retry-after"]) > 0
    for url in (*CHEAP, cached):
        assert service.get(url).status == 200, url
    assert service.get(cached, if_none_match=tagged.headers["etag"]).status == 304
    assert service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING)
    assert sum(client.waits for client in clients) == BATCH_THREADS + MAX_WAITING

    for client in clients:
        client.leave()
    wait_until(lambda: service.loads()["batch"] == (0, 0))
    assert {client.answer().status for client in clients} == {503, 499}


def test_single_maps_are_computed_while_evaluations_wait(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.flows.maps import evaluation

    blockade = Blockade()
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: blockade())
    clients = fill(service, blockade, "evaluation", 40)
    assert service.get("/runs/1/epochs/1/cam?image=test:3").status == 200
    assert service.get("/runs/1/atlas?method=layer-cam").status == 200
    for client in clients:
        client.leave()


def test_many_that_ask_for_the_same_share_one_computation(
    service: Application, blockade: Blockade
) -> None:
    url = "/runs/1/epochs/1/evaluation?images=2&measure=complexity"
    clients = [service.ask(url) for _ in range(40)]
    wait_until(lambda: blockade.begun == 1)
    clients[0].leave()
    assert clients[0].answer().status == 499
    blockade.lifted.set()
    answers = [client.answer() for client in clients[1:]]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1


def test_a_client_that_leaves_while_it_waits_makes_room(
    service: Application, blockade: Blockade
) -> None:
    clients = [service.ask(SLOW["sheet"](80 + n)) for n in range(BATCH_THREADS)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, 0) and blockade.begun >= 2)
    waiting = [service.ask(SLOW["sheet"](n)) for n in range(MAX_WAITING)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert service.get(SLOW["sheet"](90)).status == 503
    waiting[0].leave()
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING - 1))
    late_client = service.ask(SLOW["sheet"](91))
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert late_client.waits
    assert blockade.ended == 0
    for client in (*clients, *waiting, late_client):
        client.leave()


def test_a_request_does_not_end_with_an_abandoned_computation(
    service: Application, blockade: Blockade
) -> None:
    url = "/runs/1/epochs/1/cam?method=lime"
    first_response = service.ask(url)
    wait_until(lambda: blockade.begun == 1)
    first_response.leave()
    assert first_response.answer().status == 499  # only from now on it is abandoned
    second_response = service.ask(url)
    # Either the first computation has stopped and the second has begun, or the second has come
    # before that, and waits in a thread of its own for the map that the first goes on computing.
    wait_until(lambda: blockade.begun == 2 or service.loads()["batch"][0] == 2)
    blockade.lifted.set()
    assert second_response.answer().status == 200


def test_a_map_scaled_over_unrecorded_epochs_waits_with_the_batch(
    service: Application, blockade: Blockade
) -> None:
    client = service.ask("/runs/1/epochs/1/cam?method=layer-cam&scale=run")
    wait_until(lambda: service.loads()["batch"] == (1, 0))
    blockade.lifted.set()
    assert client.answer().status == 200


def test_writers_that_wait_for_the_database_keep_no_reader_from_answering(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.flows import deletion

    blockade = Blockade()
    monkeypatch.setattr(deletion, "delete_run", lambda *_: blockade())
    clients = [service.ask("/runs/1", "DELETE") for _ in range(60)]
    wait_until(lambda: service.loads()["writing"] == (8, 52))
    for url in CHEAP:
        assert service.get(url).status == 200, url
    blockade.lifted.set()
    assert {client.answer().status for client in clients} == {204}


def test_lanes_are_told_to_prometheus(service: Application, blockade: Blockade) -> None:
    clients = fill(service, blockade, "strip", 40)
    text = service.get("/metrics").body.decode()
    assert f'camreel_pool_running{{pool="batch"}} {BATCH_THREADS}.0' in text
    assert f'camreel_pool_waiting{{pool="batch"}} {MAX_WAITING}.0' in text
    assert 'camreel_jobs{status="queued"} 0.0' in text
    for client in clients:
        client.leave()


def test_a_service_that_stops_ends_what_runs_and_waits(application, blockade: Blockade) -> None:
    service = application(batch_threads=1)
    clients = [service.ask(SLOW["cam"](n)) for n in range(3)]
    wait_until(lambda: blockade.begun == 1)
    service.services.thread_pools.close()
    assert {client.answer().status for client in clients} == {499}
    assert blockade.ended == 1
    with pytest.raises(RequestCancelled):
        service.services.thread_pools["batch"].submit(lambda: None)


def test_resolving_many_images_keeps_no_cached_map_waiting(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = "/runs/1/epochs/2/cam"
    assert service.get(cached).status == 200
    blockade = Blockade()
    monkeypatch.setattr(images, "select_image", lambda *_: blockade())
    clients = [service.ask(SLOW["evaluation"](n)) for n in range(40)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert service.get(cached).status == 200
    for client in clients:
        client.leave()


def test_a_match_is_304_without_computing_where_only_the_description_has_to_be_computed(
    application, blockade: Blockade
) -> None:
    # The description reads a hundred images: none of them is in the next process's memory.
    url = "/runs/1/epochs/1/evaluation?images=100&method=proposed&measure=complexity"
    blockade.lifted.set()
    etag = application().get(url).headers["etag"]
    blockade.lifted.clear()
    begun = blockade.begun
    assert application().get(url, if_none_match=etag).status == 304
    assert blockade.begun == begun
