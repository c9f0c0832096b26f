"""While all threads for expensive work are busy, cheap requests succeed and others are refused.

Computations are blocked until the test releases them, so nothing depends on their duration.
"""

from collections.abc import Callable

import pytest

from service.errors import RequestCancelled
from service.flows.maps import images
from tests.pools.conftest import Application, Blockade, Client, wait_until

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
def service(new_application) -> Application:
    service: Application = new_application(
        batch_threads=BATCH_THREADS, max_waiting_requests=MAX_WAITING
    )
    return service


def fill_batch_pool(
    service: Application, blockade: Blockade, kind: str, count: int
) -> list[Client]:
    """Sends requests of which some are computed, some wait, and some are refused."""
    clients = [service.send(SLOW[kind](n)) for n in range(count)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    wait_until(lambda: sum(client.is_waiting for client in clients) == BATCH_THREADS + MAX_WAITING)
    wait_until(lambda: blockade.start_count >= BATCH_THREADS)
    return clients


@pytest.mark.parametrize("kind", SLOW)
def test_excess_requests_are_503_and_cheap_ones_succeed(
    service: Application, blockade: Blockade, kind: str
) -> None:
    cached_url = "/runs/1/epochs/2/cam"
    blockade.lifted.set()
    cached_response = service.get(cached_url)
    assert cached_response.status == 200
    blockade.lifted.clear()

    clients = fill_batch_pool(service, blockade, kind, 40)
    refused_responses = [client.response() for client in clients if not client.is_waiting]
    assert len(refused_responses) == 40 - BATCH_THREADS - MAX_WAITING
    for response in refused_responses:
        assert response.status == 503
        assert response.json()["type"] == "pool-full"
        assert int(response.headers["retry-after"]) > 0
    for url in (*CHEAP, cached_url):
        assert service.get(url).status == 200, url
    assert service.get(cached_url, if_none_match=cached_response.headers["etag"]).status == 304
    assert service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING)
    assert sum(client.is_waiting for client in clients) == BATCH_THREADS + MAX_WAITING

    for client in clients:
        client.disconnect()
    wait_until(lambda: service.loads()["batch"] == (0, 0))
    assert {client.response().status for client in clients} == {503, 499}


def test_single_maps_are_computed_while_evaluations_wait(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.flows.maps import evaluation

    blockade = Blockade()
    monkeypatch.setattr(evaluation, "evaluate", lambda *_: blockade())
    clients = fill_batch_pool(service, blockade, "evaluation", 40)
    assert service.get("/runs/1/epochs/1/cam?image=test:3").status == 200
    assert service.get("/runs/1/atlas?method=layer-cam").status == 200
    for client in clients:
        client.disconnect()


def test_single_maps_take_no_more_threads_than_their_pool_has(
    new_application: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.flows.maps import compute

    service = new_application(interactive_threads=2, max_waiting_requests=1)
    assert service.get("/runs/1/epochs/1/cam?image=test:59").status == 200  # loads the dataset
    blockade = Blockade()
    monkeypatch.setattr(compute, "explain_images", lambda *_: blockade())
    url = "/runs/1/epochs/1/cam?image=test:{}"
    clients = [service.send(url.format(60 + n)) for n in range(3)]
    wait_until(lambda: service.loads()["interactive"] == (2, 1) and blockade.start_count == 2)
    assert service.get(url.format(63)).status == 503
    for path in CHEAP:
        assert service.get(path).status == 200, path
    for client in clients:
        client.disconnect()
    wait_until(lambda: service.loads()["interactive"] == (0, 0))
    monkeypatch.undo()
    assert service.get(url.format(64)).status == 200


def test_identical_requests_share_one_computation(service: Application, blockade: Blockade) -> None:
    url = "/runs/1/epochs/1/evaluation?images=2&measure=complexity"
    clients = [service.send(url) for _ in range(40)]
    wait_until(lambda: blockade.start_count == 1)
    clients[0].disconnect()
    assert clients[0].response().status == 499
    blockade.lifted.set()
    responses = [client.response() for client in clients[1:]]
    assert {response.status for response in responses} == {200}
    assert len({response.body for response in responses}) == 1


def test_disconnecting_client_frees_its_place_in_the_queue(
    service: Application, blockade: Blockade
) -> None:
    clients = [service.send(SLOW["sheet"](80 + n)) for n in range(BATCH_THREADS)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, 0) and blockade.start_count >= 2)
    waiting = [service.send(SLOW["sheet"](n)) for n in range(MAX_WAITING)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert service.get(SLOW["sheet"](90)).status == 503
    waiting[0].disconnect()
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING - 1))
    late_client = service.send(SLOW["sheet"](91))
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert late_client.is_waiting
    assert blockade.end_count == 0
    for client in (*clients, *waiting, late_client):
        client.disconnect()


def test_request_does_not_share_an_abandoned_computation(
    service: Application, blockade: Blockade
) -> None:
    url = "/runs/1/epochs/1/cam?method=lime"
    first_response = service.send(url)
    wait_until(lambda: blockade.start_count == 1)
    first_response.disconnect()
    assert first_response.response().status == 499  # the computation is abandoned from now on
    second_response = service.send(url)
    # Either the first computation has ended and the second has started, or the second request
    # arrived earlier and waits in another thread for the map that the first still computes.
    wait_until(lambda: blockade.start_count == 2 or service.loads()["batch"][0] == 2)
    blockade.lifted.set()
    assert second_response.response().status == 200


def test_map_scaled_over_unrecorded_epochs_uses_the_batch_pool(
    service: Application, blockade: Blockade
) -> None:
    client = service.send("/runs/1/epochs/1/cam?method=layer-cam&scale=run")
    wait_until(lambda: service.loads()["batch"] == (1, 0))
    blockade.lifted.set()
    assert client.response().status == 200


def test_writers_waiting_for_the_database_do_not_block_readers(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.flows import deletion

    blockade = Blockade()
    monkeypatch.setattr(deletion, "delete_run", lambda *_: blockade())
    clients = [service.send("/runs/1", "DELETE") for _ in range(60)]
    wait_until(lambda: service.loads()["writing"] == (8, 52))
    for url in CHEAP:
        assert service.get(url).status == 200, url
    blockade.lifted.set()
    assert {client.response().status for client in clients} == {204}


def test_pools_are_exported_as_metrics(service: Application, blockade: Blockade) -> None:
    clients = fill_batch_pool(service, blockade, "strip", 40)
    text = service.get("/metrics").body.decode()
    assert f'camreel_pool_running{{pool="batch"}} {BATCH_THREADS}.0' in text
    assert f'camreel_pool_waiting{{pool="batch"}} {MAX_WAITING}.0' in text
    assert 'camreel_jobs{status="queued"} 0.0' in text
    for client in clients:
        client.disconnect()


def test_stopping_service_cancels_running_and_waiting_requests(
    new_application, blockade: Blockade
) -> None:
    service = new_application(batch_threads=1)
    clients = [service.send(SLOW["cam"](n)) for n in range(3)]
    wait_until(lambda: blockade.start_count == 1)
    service.services.thread_pools.close()
    assert {client.response().status for client in clients} == {499}
    assert blockade.end_count == 1
    with pytest.raises(RequestCancelled):
        service.services.thread_pools["batch"].submit(lambda: None)


def test_loading_many_images_does_not_delay_cached_maps(
    service: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = "/runs/1/epochs/2/cam"
    assert service.get(cached).status == 200
    blockade = Blockade()
    monkeypatch.setattr(images, "select_image", lambda *_: blockade())
    clients = [service.send(SLOW["evaluation"](n)) for n in range(40)]
    wait_until(lambda: service.loads()["batch"] == (BATCH_THREADS, MAX_WAITING))
    assert service.get(cached).status == 200
    for client in clients:
        client.disconnect()


def test_matching_etag_is_304_although_its_description_is_not_cached(
    new_application, blockade: Blockade
) -> None:
    # The description depends on a hundred images, none of which is cached in the next process.
    url = "/runs/1/epochs/1/evaluation?images=100&method=proposed&measure=complexity"
    blockade.lifted.set()
    etag = new_application().get(url).headers["etag"]
    blockade.lifted.clear()
    start_count = blockade.start_count
    assert new_application().get(url, if_none_match=etag).status == 304
    assert blockade.start_count == start_count
