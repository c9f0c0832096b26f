"""Idle and slow connections are closed in time and do not delay other requests."""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from service.cli.connections import BODY_BYTES_PER_TIMEOUT, MAX_HEAD_BYTES
from service.cli.listener import connection_limit
from tests.conftest import Service

HEADER_SECONDS, IDLE_SECONDS = 1, 2
PARTIAL_HEADERS = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
PARTIAL_BODY = (
    b"POST /runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def timeout_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(
        tmp_path_factory.mktemp("timeout_service"),
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
def open_sockets(service: Service, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    url = service.http.base_url
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(
                socket.create_connection((url.host, url.port or 80), 20)
            )
            connection.sendall(data)
            connections.append(connection)
        yield connections


def seconds_until_closed(sock: socket.socket) -> float:
    start_time = time.monotonic()
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - start_time


def test_idle_and_partial_connections_do_not_delay_requests(
    timeout_service: Service,
) -> None:
    connection_limit(1, 1)  # raises the limit on descriptors
    with (
        open_sockets(timeout_service, 1000) as idle,
        open_sockets(timeout_service, 100, PARTIAL_HEADERS) as heads,
        open_sockets(timeout_service, 100, PARTIAL_BODY) as bodies,
    ):
        durations = []
        for _ in range(20):
            start_time = time.monotonic()
            with httpx.Client(base_url=timeout_service.http.base_url, trust_env=False) as client:
                assert client.get("/healthz").status_code == 200
                assert client.get("/runs").status_code == 200
            durations.append(time.monotonic() - start_time)
        # The median: a single request may wait for the machine.
        assert statistics.median(durations) < HEADER_SECONDS
        # The service closes all of them.
        for sock in (*heads, *bodies, *idle):
            seconds_until_closed(sock)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [(b"", IDLE_SECONDS), (PARTIAL_HEADERS, HEADER_SECONDS), (PARTIAL_BODY, IDLE_SECONDS)],
    ids=["silent", "partial headers", "partial body"],
)
def test_incomplete_request_is_closed_at_its_timeout(
    timeout_service: Service, data: bytes, seconds: float
) -> None:
    with open_sockets(timeout_service, 1, data) as (sock,):
        assert seconds * 0.7 < seconds_until_closed(sock) < seconds + 2


@pytest.mark.parametrize(
    ("data", "seconds"),
    [(PARTIAL_HEADERS, HEADER_SECONDS), (PARTIAL_BODY, IDLE_SECONDS), (b"\r\n", IDLE_SECONDS)],
    ids=["head", "body", "blank lines"],
)
def test_slow_bytes_do_not_extend_the_timeout(
    timeout_service: Service, data: bytes, seconds: float
) -> None:
    is_closed = threading.Event()

    def drip() -> None:
        while not is_closed.wait(0.2):
            try:
                sock.sendall(b"\n" if data == b"\r\n" else b"x")
            except OSError:
                return

    with open_sockets(timeout_service, 1, data) as (sock,):
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert seconds_until_closed(sock) < seconds + 2
        finally:
            is_closed.set()
            thread.join()


def read_response(connection: socket.socket) -> bytes:
    """The whole response; its headers and body may arrive separately."""
    response = b""
    while not response.endswith(b'{"status":"ok"}'):
        chunk = connection.recv(4096)
        assert chunk, response
        response += chunk
    return response


def test_body_of_a_slow_upload_has_a_timeout_for_each_mebibyte(timeout_service: Service) -> None:
    size = 3 * BODY_BYTES_PER_TIMEOUT
    head = f"PUT /tensors/{'0' * 64} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    with open_sockets(timeout_service, 1, head.encode()) as (upload,):
        # All of it takes longer than the timeout, each mebibyte less.
        for _ in range(3):
            time.sleep(0.75 * IDLE_SECONDS)
            upload.sendall(bytes(BODY_BYTES_PER_TIMEOUT))
        assert upload.recv(4096).startswith(b"HTTP/1.1 422 ")  # zeros are no tensor


def test_keep_alive_connection_is_closed_when_idle(timeout_service: Service) -> None:
    with open_sockets(timeout_service, 1) as (sock,):
        for _ in range(2):
            sock.sendall(REQUEST)
            assert read_response(sock).startswith(b"HTTP/1.1 200")
            # Longer than the header timeout, which starts at the first byte.
            time.sleep(HEADER_SECONDS * 1.2)
        assert seconds_until_closed(sock) < IDLE_SECONDS + 2


def test_request_in_two_parts_is_answered(timeout_service: Service) -> None:
    with open_sockets(timeout_service, 1, REQUEST[:10]) as (sock,):
        sock.sendall(REQUEST[10:])
        assert read_response(sock).startswith(b"HTTP/1.1 200")


def test_connection_above_the_limit_is_closed(new_service: Callable[..., Service]) -> None:
    service = new_service(CAMREEL_MAX_CONNECTIONS="5")
    with open_sockets(service, 5), open_sockets(service, 1) as (sock,):
        assert seconds_until_closed(sock) < 2
    assert service.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "ending", [b"\r\n\r\n", b"\r\nX-Next: ", b""], ids=["complete", "next header", "same header"]
)
def test_large_head_is_refused(timeout_service: Service, ending: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Large: "
    with open_sockets(timeout_service, 1, head) as (sock,):
        sock.sendall(b"a" * (MAX_HEAD_BYTES + 1) + ending)
        assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
    with open_sockets(timeout_service, 1, head + b"a" * 30_000 + b"\r\n\r\n") as (sock,):
        assert sock.recv(1000).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(("count", "ending", "status"), [(63, b"\r\n", 200), (65, b"", 400)])
def test_head_in_several_parts_has_the_same_limit(
    timeout_service: Service, count: int, ending: bytes, status: int
) -> None:
    header = b"X-Padding: " + b"a" * 1000 + b"\r\n"
    assert 63 * len(header) < MAX_HEAD_BYTES - 200 < MAX_HEAD_BYTES < 65 * len(header)
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with open_sockets(timeout_service, 1, head) as (sock,):
        for _ in range(count):
            sock.sendall(header)
            time.sleep(0.002)  # so that most arrive in a part of their own
        sock.sendall(ending)
        assert sock.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())
