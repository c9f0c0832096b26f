"""Errors of HTTP itself; `problems.py` gives each its status."""

from service.counts import Count
from service.errors import CamreelError


class CsrfRefused(CamreelError):
    """A change authenticated by cookie, without the session's CSRF token."""

    def __init__(self) -> None:
        super().__init__(
            "A change authenticated by cookie requires the header X-CSRF-Token; its value is "
            "`csrf_token` of GET /session."
        )


class OriginRefused(CamreelError):
    """A change requested by a page of another origin."""

    def __init__(self) -> None:
        super().__init__(
            "Pages of another origin may not change anything (CAMREEL_CORS_ORIGINS allows origins)."
        )


class CrossSiteRefused(CamreelError):
    """A resource embedded in, or fetched by, a page of another site."""

    def __init__(self) -> None:
        super().__init__(
            "Pages of another origin may link to this service, but not load its resources "
            "(CAMREEL_CORS_ORIGINS allows origins)."
        )


class HostRefused(CamreelError):
    """The Host header is missing, malformed or not one of this service's names."""

    def __init__(self) -> None:
        super().__init__(
            "The Host header is not a name of this service (CAMREEL_ALLOWED_HOSTS adds names)."
        )


class SecretInAddress(CamreelError):
    """A token in the URL, where proxies, histories and logs would store it."""

    def __init__(self) -> None:
        super().__init__(
            "Send tokens in the Authorization header, never in a URL. Revoke the token that was "
            "sent: camreel token revoke."
        )


class RangeNotSatisfiable(CamreelError):
    """A range outside the content."""

    def __init__(self, length: int) -> None:
        super().__init__(f"The range is outside the content of {length} bytes.")
        self.length = length


class RateLimited(CamreelError):
    """Too many requests in the window of a rate limit."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many requests. Try again in {Count(seconds):second|seconds}.")
        self.seconds = seconds


class TooManyStreams(CamreelError):
    """The limit of open event streams is reached; `setting` names the limit."""

    def __init__(self, limit: int, clients: str, setting: str) -> None:
        super().__init__(
            f"The limit of open event streams of {clients} is reached: {limit} ({setting}). One "
            "stream can follow several runs: GET /events?runs=1,2,3."
        )
