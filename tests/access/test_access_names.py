"""Names of one visible line: what would alter the text around it is refused, by its code point."""

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
from tests.access.conftest import Guarded

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
SEPARATORS = ["\u2028", "\u2029"]
# By Unicode's own property Bidi_Control.
DIRECTIONS = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NONCHARACTERS = ["\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"]
SURROGATES = ["\ud800", "\udfff", "\udcff"]
REFUSED = CONTROLS + SEPARATORS + DIRECTIONS + NONCHARACTERS

TAKEN = [
    "", "a", "a b", " a ", "Zeichen für 学習過程", "שלום", "مرحبا", "हिन्दी", "ไทย", "e\u0301",
    "می\u200cخواهم",  # Persian with a non-joiner
    "क्\u200dष",  # Devanagari with a joiner
    "👩\u200d👩\u200d👧 ❤\ufe0f",  # emoji of several, and a variation selector
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # a flag of tags
    "\ue000", "\U0001fae8", "[bold]x[/]", "<b>&amp;", "../..", "'; DROP TABLE runs; --", "�",
]  # fmt: skip
INVISIBLE = [" ", "\u00a0", "\u3000 ", "\u200b", "\u200d", "\ufe0f\u200d", "\ufeff", "\u2060",
             "\u3164", "\u115f\u1160", "\u00ad", "\u2800", "\u180e", "\U000e0020",
             "\U000e0100"]  # fmt: skip


def post(service: Guarded, name: str) -> Any:
    # With a field that is refused as well, so that nothing is trained.
    return service.ask("POST", "/runs", "run", json={"name": name, "epochs": 0})


def fields(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("character", REFUSED, ids=ascii)
def test_a_name_with_it_is_refused_by_field_and_code_point(shared: Guarded, character: str) -> None:
    for name in (f"a{character}b", character, f"{character}a"):
        assert f"U+{ord(character):04X}" in fields(post(shared, name))["name"]
        with pytest.raises(ValidationError, match="name"):
            RunSpec(name=name)


@pytest.mark.parametrize("character", REFUSED, ids=ascii)
def test_it_is_refused_wherever_text_is_taken(shared: Guarded, character: str) -> None:
    text = f"a{character}b"
    assert "tags.0" in fields(shared.ask("POST", "/runs", "run", json={"tags": [text]}))
    assert "search" in fields(shared.ask("GET", "/runs", "read", params={"search": text}))
    assert "tag" in fields(shared.ask("GET", "/runs", "read", params={"tag": text}))
    with pytest.raises(InvalidValue, match="name"):
        create_token(None, text, "read", None, "test")  # type: ignore[arg-type]
    if character not in "\t\n":  # a failure may be told in several lines
        with pytest.raises(ValidationError, match=r"U\+"):
            Failure(type="error", detail=text)
    key = {"idempotency-key": text.encode(errors="surrogatepass")}
    assert fields(shared.ask("POST", "/runs", "run", json={"epochs": 0}, headers=key))
    params = {"x-request-id": text.encode(errors="surrogatepass")}
    assert shared.ask("GET", "/runs", "read", headers=params).headers["x-request-id"].isalnum()


@pytest.mark.parametrize("character", SURROGATES, ids=ascii)
def test_half_a_surrogate_pair_is_refused(character: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        RunSpec(name=f"a{character}")
    with pytest.raises(ValueError, match=r"U\+D"):
        check_line(character)


@pytest.mark.parametrize("name", TAKEN, ids=ascii)
def test_names_in_any_script_are_taken(shared: Guarded, name: str) -> None:
    assert "name" not in fields(post(shared, name))
    assert RunSpec(name=name).name == name
    assert sanitize_name(name) == name


@pytest.mark.parametrize("name", INVISIBLE, ids=ascii)
def test_a_name_that_cannot_be_seen_is_refused(shared: Guarded, name: str) -> None:
    assert "cannot be seen" in fields(post(shared, name))["name"]
    assert sanitize_name(name) == ""
    # What is searched for may be a blank: names have them.
    assert shared.ask("GET", "/runs", "read", params={"search": name}).status_code == 200


def test_every_control_and_separator_of_unicode_is_refused() -> None:
    for code in range(0x110000):
        kind = unicodedata.category(chr(code))
        if kind in ("Cc", "Zl", "Zp", "Cs") or chr(code) in DIRECTIONS:
            assert sanitize_line(chr(code)) == "\ufffd", hex(code)
        elif code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF:
            assert sanitize_line(chr(code)) == chr(code), hex(code)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [("a\u202eb", "a\ufffdb"), ("\x9b31mred", "\ufffd31mred"), ("\u2028" * 200, "\ufffd" * 200),
     ("  ", ""), ("\u200d", "")],
    ids=ascii,
)  # fmt: skip
def test_a_run_that_an_older_version_named_so_still_opens(
    guarded: Any, stored: str, shown: str
) -> None:
    service = guarded()
    spec = {"dataset": "digits", "epochs": 1, "samples_per_epoch": 10}
    run_id = service.ask("POST", "/runs", "run", json=spec).json()["id"]
    with service.store() as store, store.write_session() as session:
        row = session.get(runs.RunRow, run_id)
        row.name, row.spec = stored, row.spec | {"name": stored}
    run = service.ask("GET", f"/runs/{run_id}", "read").json()
    assert (run["name"], run["spec"]["name"]) == (shown, shown)
    assert service.ask("GET", "/runs", "read").json()["items"][0]["name"] == shown
    for path in ("epochs", "epochs.csv", "blanks", "report.html", "sheet", "epochs/1/cam"):
        answer = service.ask("GET", f"/runs/{run_id}/{path}", "read")
        assert answer.status_code == 200, answer.text
        if "json" in answer.headers["content-type"] or "text" in answer.headers["content-type"]:
            assert not stored.strip() or stored not in answer.text


def test_the_audit_log_shows_no_controls_of_a_path(shared: Guarded) -> None:
    shared.ask("POST", "/runs/%1b[31m%c2%9b%e2%80%ae/cancel", "run")
    with shared.store() as store, store.read_session() as session:
        (entry,) = audit.list_newest(session, limit=1)
    assert entry.target == "/runs/\ufffd[31m\ufffd\ufffd/cancel"
