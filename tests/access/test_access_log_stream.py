"""The log is written to the current standard error, also if it was replaced after setup."""

import io
import json
import sys

import pytest
import structlog

from service import logs


def test_replaced_stderr_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    old_stderr, new_stderr = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", old_stderr)
    logs.configure()
    log = structlog.get_logger()
    log.info("first")
    monkeypatch.setattr(sys, "stderr", new_stderr)
    old_output = old_stderr.getvalue()
    old_stderr.close()
    log.info("second")
    assert [json.loads(text)["event"] for text in (old_output, new_stderr.getvalue())] == [
        "first",
        "second",
    ]
