"""When the supervisor kills a server process, and when it starts another one."""

from typing import Any

import pytest

from service.cli.supervisor import (
    MAX_RESTART_DELAY_SECONDS,
    STOP_SECONDS,
    UNRESPONSIVE_SECONDS,
    ServerProcess,
    _restart_delay,
)


class FakeProcess:
    """A process that runs until it is told to end."""

    def __init__(self) -> None:
        self.signals = 0

    def is_alive(self) -> bool:
        return True

    def terminate(self) -> None:
        self.signals += 1


@pytest.fixture
def server() -> ServerProcess:
    process: Any = FakeProcess()
    return ServerProcess(process)


def test_process_whose_event_loop_reports_is_kept(server: ServerProcess) -> None:
    server.reports.is_ready = True
    for seconds in range(0, 1000, 30):
        server.reports.reports += 1
        assert not server.is_overdue(seconds)


def test_process_without_reports_is_overdue(server: ServerProcess) -> None:
    server.reports.is_ready = True
    assert not server.is_overdue(100.0)
    assert not server.is_overdue(100.0 + UNRESPONSIVE_SECONDS)
    assert server.is_overdue(101.0 + UNRESPONSIVE_SECONDS)


def test_starting_process_is_not_overdue(server: ServerProcess) -> None:
    for seconds in (0.0, 1000.0):
        assert not server.is_overdue(seconds)
    server.reports.is_ready = True
    assert not server.is_overdue(1000.0 + UNRESPONSIVE_SECONDS)


def test_time_in_which_the_supervisor_was_stopped_does_not_count(server: ServerProcess) -> None:
    server.reports.is_ready = True
    assert not server.is_overdue(0.0)
    server.forget_reports()
    assert not server.is_overdue(1000.0)
    assert server.is_overdue(1001.0 + UNRESPONSIVE_SECONDS)


def test_process_that_does_not_end_is_overdue_however_often_it_is_told(
    server: ServerProcess,
) -> None:
    server.reports.is_ready = True
    assert server.is_serving
    server.stop(10.0)
    server.stop(15.0)
    assert not server.is_serving
    assert server.process.signals == 2
    assert not server.is_overdue(10.0 + STOP_SECONDS)
    assert server.is_overdue(10.1 + STOP_SECONDS)


def test_failed_starts_are_repeated_ever_more_slowly() -> None:
    delays = [_restart_delay(failures) for failures in range(1000)]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[1] < 1
    assert delays[-1] == MAX_RESTART_DELAY_SECONDS
