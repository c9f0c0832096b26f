"""Connections that ask for nothing, or for half of something: closed in time, and in nobody's way.

Real sockets on a real server.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from service.cli.listener import connection_limit
from tests.conftest import Service

HEADER_SECONDS, IDLE_SECONDS = 1, 2
HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_BODY = (
    b"POST /runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("patient"),
        {
            "CAMREEL_HEADER_SECONDS": str(HEADER_SECONDS),
            "CAMREEL_IDLE_SECONDS": str(IDLE_SECONDS),
            "CAMREEL_MAX_CONNECTIONS": "1500",
        },
    )
    service.start()
    yield service
    service.stop()


@contextmanager
def sockets(service: Service, count: int, sends: bytes = b"") -> Iterator[list[socket.socket]]:
    url = service.http.base_url
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection((url.host, url.port or 80), 20))
            one.sendall(sends)
            made.append(one)
        yield made


def seconds_until_closed(one: socket.socket) -> float:
    started = time.monotonic()
    try:
        while one.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


def test_a_thousand_idle_sockets_and_two_hundred_half_requests_are_in_nobodys_way(
    patient: Service,
) -> None:
    connection_limit(1, 1)  # as many descriptors as the system allows
    with (
        sockets(patient, 1000) as idle,
        sockets(patient, 100, HALF_HEAD) as heads,
        sockets(patient, 100, HALF_BODY) as bodies,
    ):
        took = []
        for _ in range(20):
            started = time.monotonic()
            with httpx.Client(base_url=patient.http.base_url, trust_env=False) as client:
                assert client.get("/healthz").status_code == 200
                assert client.get("/runs").status_code == 200
            took.append(time.monotonic() - started)
        assert max(took) < 2
        # All are closed by the service: none answers any more, and none waits for ever.
        for one in (*heads, *bodies, *idle):
            seconds_until_closed(one)


@pytest.mark.parametrize(
    ("sends", "seconds"),
    [(b"", IDLE_SECONDS), (HALF_HEAD, HEADER_SECONDS), (HALF_BODY, IDLE_SECONDS)],
    ids=["silent", "half a head", "half a body"],
)
def test_a_connection_is_closed_when_its_time_is_over(
    patient: Service, sends: bytes, seconds: float
) -> None:
    with sockets(patient, 1, sends) as (one,):
        assert seconds * 0.7 < seconds_until_closed(one) < seconds + 2


@pytest.mark.parametrize(
    ("sends", "seconds"),
    [(HALF_HEAD, HEADER_SECONDS), (HALF_BODY, IDLE_SECONDS), (b"\r\n", IDLE_SECONDS)],
    ids=["head", "body", "blank lines"],
)
def test_a_byte_now_and_then_gives_no_more_time(
    patient: Service, sends: bytes, seconds: float
) -> None:
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.2):
            try:
                one.sendall(b"\n" if sends == b"\r\n" else b"x")
            except OSError:
                return

    with sockets(patient, 1, sends) as (one,):
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert seconds_until_closed(one) < seconds + 2
        finally:
            over.set()
            thread.join()


def answer_of(connection: socket.socket) -> bytes:
    """A whole answer: its head and its body may come apart."""
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        some = connection.recv(4096)
        assert some, answer
        answer += some
    return answer


def test_a_connection_is_used_again_until_it_is_idle_for_too_long(patient: Service) -> None:
    with sockets(patient, 1) as (one,):
        for _ in range(2):
            one.sendall(WHOLE)
            assert answer_of(one).startswith(b"HTTP/1.1 200")
            # Longer than a head may take: that time runs from its first byte.
            time.sleep(HEADER_SECONDS * 1.2)
        assert seconds_until_closed(one) < IDLE_SECONDS + 2


def test_a_request_in_two_halves_is_answered(patient: Service) -> None:
    with sockets(patient, 1, WHOLE[:10]) as (one,):
        one.sendall(WHOLE[10:])
        assert answer_of(one).startswith(b"HTTP/1.1 200")


def test_one_connection_too_many_is_closed_at_once(new_service: Callable[..., Service]) -> None:
    service = new_service(CAMREEL_MAX_CONNECTIONS="5")
    with sockets(service, 5), sockets(service, 1) as (one,):
        assert seconds_until_closed(one) < 2
    assert service.http.get("/healthz").status_code == 200
