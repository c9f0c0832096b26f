"""Limits that are divided among the processes of a service, rounded up."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from service import machine_memory
from service.api.errors import TooManyStreams
from service.api.services import ApiServices, open_services
from service.api.sharing import Unshared
from service.cli.listener import open_listener
from service.settings import Settings

WORKERS = 3


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        state_dir=tmp_path,
        executor="inline",
        workers=WORKERS,
        cache_bytes=WORKERS * 2**24,
        max_connections=100,
        max_streams=10,
        max_client_streams=4,
    )


@pytest.fixture
def services(settings: Settings) -> Iterator[ApiServices]:
    with closing(open_services(settings, Unshared())) as services:
        yield services


def test_connections_are_divided(settings: Settings) -> None:
    with open_listener(settings, 0) as listener:
        assert listener.max_connections == 34


def test_event_streams_are_divided(services: ApiServices) -> None:
    with ExitStack() as stack:
        for client in ("a", "a", "b", "b"):
            stack.enter_context(services.stream_slots.acquire(client))
        for client in ("a", "c"):
            with pytest.raises(TooManyStreams), services.stream_slots.acquire(client):
                pass


def test_caches_are_divided_in_the_default_proportions(services: ApiServices) -> None:
    sizes = services.pipeline.cache_sizes
    assert 2**24 - 10 <= sizes.total_bytes <= 2**24
    assert sizes.networks / sizes.images == pytest.approx(16, rel=1e-3)


@pytest.mark.parametrize(
    ("memory_gib", "cache_mib"), [(1, 688), (8, 1024), (24, 3072), (256, 4096)]
)
def test_default_of_the_setting_is_a_bounded_share_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, memory_gib: int, cache_mib: int
) -> None:
    monkeypatch.setattr("service.settings.memory_bytes", lambda: memory_gib * 2**30)
    assert Settings(_env_file=None).cache_bytes == cache_mib * 2**20


@pytest.mark.parametrize(
    ("text", "is_limited"), [("1048576\n", True), ("max\n", False), ("9223372036854771712", False)]
)
def test_memory_is_that_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_limited: bool
) -> None:
    limit_file = tmp_path / "memory.max"
    monkeypatch.setattr(machine_memory, "LIMIT_FILES", (tmp_path / "missing", limit_file))
    physical_bytes = machine_memory.memory_bytes()
    limit_file.write_text(text)
    assert machine_memory.memory_bytes() == (2**20 if is_limited else physical_bytes)
