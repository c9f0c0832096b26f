"""The decoder process: the service responds while it works or hangs, and replaces a killed one."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio import CapacityLimiter

from service.core.images import from_png, is_canonical_png, to_png
from service.jobs.sandbox import Limits, Sandbox
from tests.uploads.conftest import Application
from tests.uploads.pictures import chunk, png, slope

FUNCTION = "service.core.uploads:handle_request"
LIMITS = Limits(cpu_seconds=60, wall_seconds=60, memory_bytes=2**28)


@contextmanager
def stopped_decoder(application: Application) -> Iterator[int]:
    """The process id of the application's decoder, which is stopped within the block."""
    assert application.upload(png(slope())).status_code == 201
    process = application.services.uploads.decoder.process_id
    assert process is not None
    os.kill(process, signal.SIGSTOP)
    try:
        yield process
    finally:
        if application.services.uploads.decoder.process_id == process:
            os.kill(process, signal.SIGCONT)


@contextmanager
def uploads_in_flight(application: Application, count: int) -> Iterator[list[int]]:
    """The statuses of `count` uploads, which start before the block and end after it."""
    statuses: list[int] = []
    files = [png(slope() // (2 + number)) for number in range(count)]

    def upload() -> None:
        requests = [
            ("POST", "/images", {"params": {"dataset": "digits"}, "files": {"file": data}})
            for data in files
        ]
        statuses.extend(
            response.status_code for response in application.request_concurrently(requests)
        )

    thread = threading.Thread(target=upload)
    thread.start()
    slots: CapacityLimiter = application.services.upload_slots
    for _ in range(1000):
        if slots.borrowed_tokens >= count:
            break
        thread.join(0.01)
    try:
        yield statuses
    finally:
        thread.join()


def with_services(application: Application, **changes: Any) -> Application:
    application.app.state.services = replace(application.services, **changes)
    return application


def with_decoder(application: Application, decoder: Sandbox) -> Application:
    return with_services(
        application, uploads=replace(application.services.uploads, decoder=decoder)
    )


@pytest.fixture
def new_sandbox() -> Iterator[Callable[..., Sandbox]]:
    sandboxes = []

    def make(limits: Limits = LIMITS, turn_seconds: float = 20) -> Sandbox:
        sandboxes.append(Sandbox(FUNCTION, limits, turn_seconds))
        return sandboxes[-1]

    yield make
    for sandbox in sandboxes:
        sandbox.close()


def test_service_responds_while_the_decoder_hangs(
    new_application: Callable[..., Application],
) -> None:
    app = new_application()
    with stopped_decoder(app) as process, uploads_in_flight(app, 3) as statuses:
        for path in ("/healthz", "/readyz", "/runs"):
            assert app.request("GET", path).status_code == 200
        assert statuses == []
        os.kill(process, signal.SIGCONT)
    assert statuses == [201] * 3


def test_one_upload_too_many_is_503_with_retry_after(
    new_application: Callable[..., Application],
) -> None:
    app = with_services(new_application(), upload_slots=CapacityLimiter(3))
    with stopped_decoder(app) as process, uploads_in_flight(app, 3) as statuses:
        response = app.upload(png(slope()))
        assert (response.status_code, response.json()["type"]) == (503, "uploads-busy")
        assert int(response.headers["retry-after"]) > 0
        os.kill(process, signal.SIGCONT)
    assert statuses == [201] * 3
    assert app.upload(png(slope())).status_code == 201


def test_upload_that_waits_too_long_is_503(
    new_application: Callable[..., Application], new_sandbox: Callable[..., Sandbox]
) -> None:
    app = with_decoder(new_application(), new_sandbox(turn_seconds=0.2))
    with stopped_decoder(app) as process, uploads_in_flight(app, 1) as statuses:
        while not app.services.uploads.decoder._turn.locked():
            time.sleep(0.01)
        assert app.upload(png(slope())).status_code == 503
        os.kill(process, signal.SIGCONT)
    assert statuses == [201]


def test_upload_is_decoded_again_if_the_decoder_is_killed(
    new_application: Callable[..., Application],
) -> None:
    app = new_application()
    with stopped_decoder(app) as process, uploads_in_flight(app, 2) as statuses:
        os.kill(process, signal.SIGKILL)
    assert statuses == [201] * 2
    assert app.services.uploads.decoder.process_id != process


def test_upload_that_takes_too_long_is_413_with_the_limit(
    new_application: Callable[..., Application], new_sandbox: Callable[..., Sandbox]
) -> None:
    limits = Limits(cpu_seconds=60, wall_seconds=5, memory_bytes=2**28)
    app = with_decoder(new_application(), new_sandbox(limits))
    with stopped_decoder(app):
        response = app.upload(png(slope()))
    assert (response.status_code, response.json()["type"]) == (413, "image-too-large")
    assert "5 seconds" in response.json()["detail"]
    assert app.upload(png(slope())).status_code == 201


def test_decoder_ends_with_the_application(tmp_path: Path) -> None:
    app = Application(tmp_path)
    assert app.services.uploads.decoder.process_id is None  # until the first upload
    app.upload(png(slope()))
    process = app.services.uploads.decoder.process_id
    app.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_environment_of_the_decoder_has_no_settings(
    new_application: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = new_application()
    monkeypatch.setenv("CAMREEL_DATABASE_URL", "postgresql://user:secret@host/name")
    app.upload(png(slope()))
    environment = Path(f"/proc/{app.services.uploads.decoder.process_id}/environ").read_bytes()
    assert b"OMP_NUM_THREADS" in environment
    assert b"secret" not in environment


def test_only_pngs_of_our_encoder_are_canonical() -> None:
    pixels = from_png(png(slope()))
    canonical = to_png(pixels)
    assert is_canonical_png(canonical, (1, 28, 28))
    for data in [
        canonical + b"<script>",
        canonical[:33] + chunk(b"tEXt", b"Author\0somebody") + canonical[33:],
        canonical[:33] + chunk(b"tRNS", b"\0\0") + canonical[33:],
        canonical[:-12],
        canonical[:60],
        b"",
        png(slope(27)),
    ]:
        assert not is_canonical_png(data, (1, 28, 28))
    assert not is_canonical_png(canonical, (3, 28, 28))
