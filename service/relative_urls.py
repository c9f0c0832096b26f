"""URLs relative to a request's own, so that a proxy can serve the service below any path."""

from starlette.types import Scope


def path_to_root(scope: Scope) -> str:
    """The service's root relative to the request's URL: `./` from /app, `../../` from /app/runs/1.

    Counts the slashes of the undecoded path, since an escaped slash does not separate segments.
    """
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return "../" * (raw_path.count(b"/") - 1) or "./"
