"""Preload hints: the requests that the page of a run makes first.

The document of a run lists them as links, so that the browser sends them while it loads the
script. The page reads its plan from the same links (`web/src/api/preload.ts`).
"""

from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlencode

from fastapi import Request

from service.api.middleware.access_control import may_read
from service.api.services import ApiServices
from service.core.cams.methods import PAPER_METHODS
from service.errors import CamreelError
from service.store import images, runs

MAX_ATLAS_EPOCHS = 128
MAX_ATLAS_CELLS = 1_500
"""Largest atlas that the page requests as a whole."""


def preload_hints(request: Request, run_id: int) -> Sequence[str]:
    """API paths that the page of this run requests first; empty if the client may not read it.

    A superfluous hint costs a request, a missing one costs latency; neither breaks the page.
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
    """The paths for a run with that many epochs and probes.

    `view` is the query of the page's URL. Only the default view, the empty one, is planned in
    full: the requests of others depend on parameters that only the page interprets.
    """
    run = f"/runs/{run_id}"
    paths = [run, f"{run}/epochs?limit=200", f"{run}/probes?limit=200", "/colormaps"]
    if not epochs or not probes or view:
        return paths
    paths.append(f"{run}/probes.png")
    if epochs <= MAX_ATLAS_EPOCHS and epochs * probes <= MAX_ATLAS_CELLS:
        for method in PAPER_METHODS:
            atlas = urlencode({"method": method, "rows": "probes"})
            paths += [f"{run}/atlas.json?{atlas}", f"{run}/atlas.bin?{atlas}"]
        paths.append(f"{run}/scores")
    if epochs > 1:
        paths += [f"{run}/blanks?method={method}" for method in PAPER_METHODS]
    return paths
