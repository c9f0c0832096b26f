"""Structured logs: one JSON object per line on standard error."""

import json
import sys
from datetime import UTC, datetime

import structlog


def configure() -> None:
    """Configure structlog for this process. Standard output is reserved for commands."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without the values of local variables, which may be secrets.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ],
        # Looked up on every call: a program that embeds the service may replace the stream.
        # In one write: several processes share the stream.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def write_info(event: str, **fields: object) -> None:
    """Write a line as structlog's loggers do, in a third of their time: for each request."""
    line = fields | {
        "event": event,
        "level": "info",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    sys.stderr.write(json.dumps(line) + "\n")
