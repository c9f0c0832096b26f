"""Preload hints: the API paths that the page requests first, named in its HTML document."""

from collections.abc import Sequence
from contextlib import suppress

from fastapi import Request

from service.api.middleware.access_control import may_read
from service.api.services import ApiServices
from service.errors import CamreelError
from service.store import images, runs

MAX_CELLS, MAX_EPOCHS = 1_500, 128
"""Up to this many maps per method, and epochs, the page requests the atlas of a whole run."""


def preload_hints(request: Request, run_id: int) -> Sequence[str]:
    """Paths that `web/src` requests when it opens a run; none if the client may not read it.

    A superfluous path costs a wasted request, a missing one some loading time.
    """
    services: ApiServices = request.app.state.services
    with suppress(CamreelError):
        if may_read(services.credentials, request.scope):
            with services.store.read_session() as session:
                epochs = runs.get(session, run_id).epochs_done + 1
                probes = images.count_probes(session, run_id)
            return run_page_requests(run_id, epochs, probes, request.url.query)
    return []


def run_page_requests(run_id: int, epochs: int, probes: int, view: str) -> list[str]:
    """Paths for a run with that many epochs and probes; `view` is the query of the page's URL."""
    run = f"/runs/{run_id}"
    paths = [run, f"{run}/epochs?limit=200", f"{run}/probes?limit=200", "/colormaps"]
    # Only the page knows what a view other than the default needs.
    if not epochs or not probes or view:
        return paths
    paths += [f"{run}/probes.png"]
    if epochs <= MAX_EPOCHS and epochs * probes <= MAX_CELLS:
        maps = "method=conventional&method=proposed&rows=probes"
        paths += [f"{run}/atlas.json?{maps}", f"{run}/atlas.bin?{maps}", f"{run}/scores"]
    if epochs > 1:
        paths += [f"{run}/blanks?method=conventional&method=proposed"]
    return paths
