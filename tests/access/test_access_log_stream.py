"""The log goes to standard error as it is now, not as it was when logging was set up."""

import io
import json
import sys

import pytest
import structlog

from service import logs


def test_a_stream_that_was_replaced_is_written_to_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", before)
    logs.configure()
    log = structlog.get_logger()
    log.info("first")
    monkeypatch.setattr(sys, "stderr", now)
    told = before.getvalue()
    before.close()
    log.info("second")
    assert [json.loads(text)["event"] for text in (told, now.getvalue())] == ["first", "second"]
