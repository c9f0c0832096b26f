"""Which of several representations a client would rather have (RFC 9110, 12.5.1)."""

from collections.abc import Sequence

from fastapi import Request


def negotiate_media_type(accept: str, available: Sequence[str]) -> str:
    """The media type of `offered` that the `Accept` header likes best, the first of equals.

    The first too where it likes none of them, or cannot be read: that is of more use than a
    refusal.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    return max(available, key=lambda kind: _quality(kind, ranges)) if ranges else available[0]


def accepts_gzip(request: Request) -> bool:
    """Whether an answer may be compressed (RFC 9110, 12.5.3)."""
    ranges = [_range(part) for part in request.headers.get("accept-encoding", "").split(",")]
    return any(coding in ("gzip", "*") and quality > 0 for coding, quality in ranges)


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (word.strip().lower() for word in part.split(";"))
    quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return kind, float(quality)
    except ValueError:
        return kind, 0.0


def _quality(kind: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the most specific range that the type is in; 0 where it is in none."""
    told = dict(reversed(ranges))
    family = kind.split("/")[0]
    return next((told[name] for name in (kind, f"{family}/*", "*/*") if name in told), 0.0)
