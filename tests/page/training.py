"""A run that trains for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import Service
from tests.processes import slow_workers

SMALL = {
    "dataset": "digits",
    "samples_per_epoch": 200,
    "architecture": {"channels": [8, 16], "hidden_units": 32},
}


@contextmanager
def endless_run(service: Service, name: str, epochs_done: int = 1) -> Iterator[int]:
    """The id of a run that has recorded those epochs; it is cancelled at the end of the block."""
    run_id = service.post_run(**SMALL, epochs=10_000, name=name)
    try:
        service.wait(run_id, lambda run: run["epochs_done"] >= epochs_done)
        with slow_workers(service.process.pid):
            yield run_id
    finally:
        service.http.post(f"/runs/{run_id}/cancel").raise_for_status()
        service.wait(run_id)
