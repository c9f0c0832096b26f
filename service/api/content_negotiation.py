"""Content negotiation: media types, languages and compression (RFC 9110, 12.5)."""

from collections.abc import Sequence

from fastapi import Request


def negotiate_media_type(accept: str, available: Sequence[str]) -> str:
    """The available media type that the `Accept` header prefers; the first of equals.

    Returns the first one as well if the header accepts none or is malformed: a response is more
    useful than 406.
    """
    ranges = [_parse_range(part) for part in accept.split(",") if part.strip()]
    if not ranges:
        return available[0]
    return max(available, key=lambda media_type: _quality(media_type, ranges))


def negotiate_language(accept_language: str, available: Sequence[str]) -> str:
    """The available language that `Accept-Language` prefers; the first one if it has none."""
    ranges = [_parse_range(part) for part in accept_language.split(",") if part.strip()]
    quality_by_language: dict[str, float] = {}
    for name, quality in ranges:
        language = name.split("-")[0]
        quality_by_language[language] = max(quality, quality_by_language.get(language, 0.0))
    return max(available, key=lambda language: quality_by_language.get(language, 0.0))


def accepts_gzip(request: Request) -> bool:
    """Whether the client accepts gzip (RFC 9110, 12.5.3)."""
    ranges = [_parse_range(part) for part in request.headers.get("accept-encoding", "").split(",")]
    return any(coding in ("gzip", "*") and quality > 0 for coding, quality in ranges)


def _parse_range(part: str) -> tuple[str, float]:
    """The name and quality of `text/html;q=0.5`; quality 0 if malformed."""
    name, *parameters = (field.strip().lower() for field in part.split(";"))
    quality = next((field[2:] for field in parameters if field.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Quality of the most specific range that matches; 0 if none does."""
    quality_by_range = dict(reversed(ranges))
    main_type = media_type.split("/")[0]
    candidates = (media_type, f"{main_type}/*", "*/*")
    return next((quality_by_range[name] for name in candidates if name in quality_by_range), 0.0)
