"""The decoder's process, as clients see it: the service answers while it works or hangs, and is not
left without one."""

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
from tests.uploads.conftest import Asked
from tests.uploads.pictures import chunk, png, slope

FUNCTION = "service.core.uploads:handle_request"
LIMITS = Limits(cpu_seconds=60, wall_seconds=60, memory_bytes=2**28)


@contextmanager
def stopped_decoder(application: Asked) -> Iterator[int]:
    """The process id of the application's decoder, which answers nothing inside the block."""
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
def uploads_in_flight(application: Asked, count: int) -> Iterator[list[int]]:
    """The statuses of `count` uploads, which begin before the block and are complete after it."""
    statuses: list[int] = []
    files = [png(slope() // (2 + number)) for number in range(count)]

    def upload() -> None:
        requests = [
            ("POST", "/images", {"params": {"dataset": "digits"}, "files": {"file": data}})
            for data in files
        ]
        statuses.extend(answer.status_code for answer in application.ask_at_once(requests))

    thread = threading.Thread(target=upload)
    thread.start()
    places: CapacityLimiter = application.services.upload_slots
    for _ in range(1000):
        if places.borrowed_tokens >= count:
            break
        thread.join(0.01)
    try:
        yield statuses
    finally:
        thread.join()


def with_services(application: Asked, **changes: Any) -> Asked:
    application.app.state.services = replace(application.services, **changes)
    return application


def with_decoder(application: Asked, decoder: Sandbox) -> Asked:
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


def test_the_service_answers_while_a_decoder_hangs(application: Callable[..., Asked]) -> None:
    app = application()
    with stopped_decoder(app) as process, uploads_in_flight(app, 3) as statuses:
        for path in ("/healthz", "/readyz", "/runs"):
            assert app.ask("GET", path).status_code == 200
        assert statuses == []
        os.kill(process, signal.SIGCONT)
    assert statuses == [201] * 3


def test_one_upload_too_many_is_503_and_says_when_to_come_back(
    application: Callable[..., Asked],
) -> None:
    app = with_services(application(), upload_slots=CapacityLimiter(3))
    with stopped_decoder(app) as process, uploads_in_flight(app, 3) as statuses:
        answer = app.upload(png(slope()))
        assert (answer.status_code, answer.json()["type"]) == (503, "uploads-busy")
        assert int(answer.headers["retry-after"]) > 0
        os.kill(process, signal.SIGCONT)
    assert statuses == [201] * 3
    assert app.upload(png(slope())).status_code == 201


def test_an_upload_whose_turn_does_not_come_is_503(
    application: Callable[..., Asked], new_sandbox: Callable[..., Sandbox]
) -> None:
    app = with_decoder(application(), new_sandbox(turn_seconds=0.2))
    with stopped_decoder(app) as process, uploads_in_flight(app, 1) as statuses:
        while not app.services.uploads.decoder._turn.locked():
            time.sleep(0.01)
        assert app.upload(png(slope())).status_code == 503
        os.kill(process, signal.SIGCONT)
    assert statuses == [201]


def test_an_upload_whose_decoder_is_killed_is_decoded_by_another(
    application: Callable[..., Asked],
) -> None:
    app = application()
    with stopped_decoder(app) as process, uploads_in_flight(app, 2) as statuses:
        os.kill(process, signal.SIGKILL)
    assert statuses == [201] * 2
    assert app.services.uploads.decoder.process_id != process


def test_an_upload_that_takes_too_long_is_413_and_names_the_bound(
    application: Callable[..., Asked], new_sandbox: Callable[..., Sandbox]
) -> None:
    limits = Limits(cpu_seconds=60, wall_seconds=5, memory_bytes=2**28)
    app = with_decoder(application(), new_sandbox(limits))
    with stopped_decoder(app):
        answer = app.upload(png(slope()))
    assert (answer.status_code, answer.json()["type"]) == (413, "image-too-large")
    assert "5 seconds" in answer.json()["detail"]
    assert app.upload(png(slope())).status_code == 201


def test_the_decoder_ends_with_the_application(tmp_path: Path) -> None:
    app = Asked(tmp_path)
    assert app.services.uploads.decoder.process_id is None  # until the first upload
    app.upload(png(slope()))
    process = app.services.uploads.decoder.process_id
    app.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_decoder_does_not_know_the_services_settings(
    application: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application()
    monkeypatch.setenv("CAMREEL_DATABASE_URL", "postgresql://user:secret@host/name")
    app.upload(png(slope()))
    environment = Path(f"/proc/{app.services.uploads.decoder.process_id}/environ").read_bytes()
    assert b"OMP_NUM_THREADS" in environment
    assert b"secret" not in environment


def test_a_stored_picture_is_one_that_this_program_wrote() -> None:
    pixels = from_png(png(slope()))
    stored = to_png(pixels)
    assert is_canonical_png(stored, (1, 28, 28))
    for other in [
        stored + b"<script>",
        stored[:33] + chunk(b"tEXt", b"Author\0somebody") + stored[33:],
        stored[:33] + chunk(b"tRNS", b"\0\0") + stored[33:],
        stored[:-12],
        stored[:60],
        b"",
        png(slope(27)),
    ]:
        assert not is_canonical_png(other, (1, 28, 28))
    assert not is_canonical_png(stored, (3, 28, 28))
