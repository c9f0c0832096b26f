"""Names are one visible line; characters that alter the surrounding text are refused."""

import unicodedata
from typing import Any

import pytest
from pydantic import ValidationError

from service.core.spec import RunSpec
from service.errors import InvalidValue
from service.flows.access import create_token
from service.flows.transfer.manifest import Failure
from service.names import check_line, sanitize_line, sanitize_name
from service.store import audit, runs
from tests.access.conftest import GuardedService

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
SEPARATORS = ["\u2028", "\u2029"]
# The Unicode property Bidi_Control.
DIRECTIONS = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NONCHARACTERS = ["\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"]
SURROGATES = ["\ud800", "\udfff", "\udcff"]
INVALID_CHARACTERS = CONTROLS + SEPARATORS + DIRECTIONS + NONCHARACTERS

VALID_NAMES = [
    "", "a", "a b", " a ", "Zeichen für 学習過程", "שלום", "مرحبا", "हिन्दी", "ไทย", "e\u0301",
    "می\u200cخواهم",  # Persian with a non-joiner
    "क्\u200dष",  # Devanagari with a joiner
    "👩\u200d👩\u200d👧 ❤\ufe0f",  # an emoji sequence and a variation selector
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # a flag of tags
    "\ue000", "\U0001fae8", "[bold]x[/]", "<b>&amp;", "../..", "'; DROP TABLE runs; --", "�",
]  # fmt: skip
INVISIBLE_NAMES = [" ", "\u00a0", "\u3000 ", "\u200b", "\u200d", "\ufe0f\u200d", "\ufeff", "\u2060",
             "\u3164", "\u115f\u1160", "\u00ad", "\u2800", "\u180e", "\U000e0020",
             "\U000e0100"]  # fmt: skip


def post(service: GuardedService, name: str) -> Any:
    # With another invalid field, so that no run is created.
    return service.request("POST", "/runs", "run", json={"name": name, "epochs": -1})


def fields(response: Any) -> dict[str, str]:
    assert response.status_code == 422, response.text
    return {error["field"]: error["message"] for error in response.json()["errors"]}


@pytest.mark.parametrize("character", INVALID_CHARACTERS, ids=ascii)
def test_name_with_an_invalid_character_is_refused_with_its_code_point(
    guarded_service: GuardedService, character: str
) -> None:
    for name in (f"a{character}b", character, f"{character}a"):
        assert f"U+{ord(character):04X}" in fields(post(guarded_service, name))["name"]
        with pytest.raises(ValidationError, match="name"):
            RunSpec(name=name)


@pytest.mark.parametrize("character", INVALID_CHARACTERS, ids=ascii)
def test_invalid_characters_are_refused_in_every_text_parameter(
    guarded_service: GuardedService, character: str
) -> None:
    text = f"a{character}b"
    assert "tags.0" in fields(
        guarded_service.request("POST", "/runs", "run", json={"tags": [text]})
    )
    assert "search" in fields(
        guarded_service.request("GET", "/runs", "read", params={"search": text})
    )
    assert "tag" in fields(guarded_service.request("GET", "/runs", "read", params={"tag": text}))
    with pytest.raises(InvalidValue, match="name"):
        create_token(None, text, "read", None, "test")  # type: ignore[arg-type]
    if character not in "\t\n":  # the detail of a failure may have several lines
        with pytest.raises(ValidationError, match=r"U\+"):
            Failure(type="error", detail=text)
    key = {"idempotency-key": text.encode(errors="surrogatepass")}
    assert fields(guarded_service.request("POST", "/runs", "run", json={"epochs": -1}, headers=key))
    params = {"x-request-id": text.encode(errors="surrogatepass")}
    assert (
        guarded_service.request("GET", "/runs", "read", headers=params)
        .headers["x-request-id"]
        .isalnum()
    )


@pytest.mark.parametrize("character", SURROGATES, ids=ascii)
def test_lone_surrogates_are_refused(character: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        RunSpec(name=f"a{character}")
    with pytest.raises(ValueError, match=r"U\+D"):
        check_line(character)


@pytest.mark.parametrize("name", VALID_NAMES, ids=ascii)
def test_names_in_any_script_are_valid(guarded_service: GuardedService, name: str) -> None:
    assert "name" not in fields(post(guarded_service, name))
    assert RunSpec(name=name).name == name
    assert sanitize_name(name) == name


@pytest.mark.parametrize("name", INVISIBLE_NAMES, ids=ascii)
def test_invisible_name_is_refused(guarded_service: GuardedService, name: str) -> None:
    assert "cannot be seen" in fields(post(guarded_service, name))["name"]
    assert sanitize_name(name) == ""
    # A search text may be a space, because names contain spaces.
    assert (
        guarded_service.request("GET", "/runs", "read", params={"search": name}).status_code == 200
    )


def test_every_unicode_control_and_separator_is_replaced() -> None:
    for code in range(0x110000):
        kind = unicodedata.category(chr(code))
        if kind in ("Cc", "Zl", "Zp", "Cs") or chr(code) in DIRECTIONS:
            assert sanitize_line(chr(code)) == "\ufffd", hex(code)
        elif code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF:
            assert sanitize_line(chr(code)) == chr(code), hex(code)


SANITIZED_NAMES = {
    "a\u202eb": "a\ufffdb",
    "\x9b31mred": "\ufffd31mred",
    "\u2028" * 200: "\ufffd" * 200,
    "  ": "",
    "\u200d": "",
}


def test_invalid_name_stored_by_an_older_version_is_sanitized(new_guarded_service: Any) -> None:
    service = new_guarded_service()
    spec = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 10}
    run_id = service.request("POST", "/runs", "run", json=spec).json()["id"]
    for stored_name, sanitized_name in SANITIZED_NAMES.items():
        with service.store() as store, store.write_session() as session:
            row = session.get(runs.RunRow, run_id)
            row.name, row.spec = stored_name, row.spec | {"name": stored_name}
        run = service.request("GET", f"/runs/{run_id}", "read").json()
        assert (run["name"], run["spec"]["name"]) == (sanitized_name, sanitized_name)
        (listed_run,) = service.request("GET", "/runs", "read").json()["items"]
        assert listed_run["name"] == sanitized_name
        for path in ("epochs", "epochs.csv", "blanks", "report.html", "sheet", "epochs/1/cam"):
            response = service.request("GET", f"/runs/{run_id}/{path}", "read")
            assert response.status_code == 200, response.text
            media_type = response.headers["content-type"]
            if stored_name.strip() and ("json" in media_type or "text" in media_type):
                assert stored_name not in response.text


def test_audit_log_replaces_control_characters_in_paths(guarded_service: GuardedService) -> None:
    guarded_service.request("POST", "/runs/%1b[31m%c2%9b%e2%80%ae/cancel", "run")
    with guarded_service.store() as store, store.read_session() as session:
        (entry,) = audit.list_newest(session, limit=1)
    assert entry.target == "/runs/\ufffd[31m\ufffd\ufffd/cancel"
