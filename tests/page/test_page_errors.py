"""Errors on the page: in words for people, in the page's language, once, at their field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, expect
from pydantic import ValidationError

from service.api.problems import STATUSES
from service.core.spec import RunSpec
from service.errors import error_type
from service.field_errors import field_errors
from tests.http.test_http_validation_errors import PYDANTIC_ERRORS, bodies
from tests.page.conftest import EPOCHS
from tests.page.reel import epoch_is_shown, reel_is_drawn, select_box
from tests.page.training import SMALL, endless_run

TEXTS = Path(__file__).parents[2] / "web" / "src" / "text"
COMMANDS_ONLY = {
    *("backup-refused", "file-refused", "import-refused", "token-not-found"),
    *(
        "invalid-value",
        "invalid-settings",
        "unknown-name",
        "range-not-satisfiable",
        "request-cancelled",
    ),
}
"""Problems of commands and of requests that the page does not make, and those of fields."""

CONFLICT = {"title": "Run conflict", "status": 409, "detail": "The run has already ended."}

INVALID_VALUES = {
    "Name": "x" * 201,
    "Tags": "fine, a/b",
    "Kernel size": "4",
    "Channels": "32",
    "Epochs": "-1",
    "Learning rate": "1000",
    "Per class": "0",
    "Images": "",
}


def refused_codes() -> Iterator[str]:
    """The codes of all errors that values of a run's settings can have, but for pydantic's."""
    schema = RunSpec.model_json_schema()
    probes = ({"per_class": 0}, {"images": ["test:99999"]}, {"images": ["photo"]})
    specs = [{"probes": value} for value in probes]
    specs += [{"dataset": "digits", "samples_per_epoch": 1501}, {"name": "\u200b"}]
    for values in [*bodies(schema, schema["$defs"]), *specs]:
        try:
            RunSpec.model_validate(values)
        except ValidationError as error:
            yield from (item.code for item in field_errors(error.errors(), schema))


def test_page_has_texts_for_the_codes_of_errors_and_the_types_of_problems() -> None:
    """Others would be shown in English on the Japanese page."""
    sentences = (TEXTS / "fieldErrors.ts").read_text()
    codes = set(refused_codes()) - PYDANTIC_ERRORS
    assert {"even_number", "probe_count", "image_index", "more_than_dataset"} <= codes
    assert {code for code in codes if f"  {code}: " not in sentences} == set()
    problems = (TEXTS / "problems.ts").read_text()
    types = {error_type(error) for error in STATUSES} - COMMANDS_ONLY
    assert {name for name in types if f'  "{name}": ' not in problems} == set()


def fill_invalid_values(page: Page) -> None:
    page.goto("/app/new")
    for label, value in INVALID_VALUES.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Start run").click()


def field_of(page: Page, label: str) -> Locator:
    return page.locator(".field", has=page.get_by_label(label, exact=True))


def test_errors_of_the_form_stand_once_at_their_fields_in_both_languages(page: Page) -> None:
    fill_invalid_values(page)
    sentences = {
        "Name": "Enter at most 200 characters.",
        "Tags": "Value 2: Use 1 to 50 letters, digits and _ . : - and begin with a letter or a "
        "digit.",
        "Kernel size": "Enter an odd number from 1 to 13.",
        "Channels": "Enter exactly 2 values.",
        "Epochs": "Enter a whole number from 0 to 10,000.",
        "Learning rate": "Enter a number greater than 0 and at most 100.",
        "Per class": "These settings ask for 0 probe images. Choose 1 to 1,000.",
    }
    for label, sentence in sentences.items():
        field = page.get_by_label(label, exact=True)
        expect(field_of(page, label).locator(".error")).to_have_text(sentence)
        expect(page.get_by_text(sentence)).to_have_count(1)
        description = field.get_attribute("aria-describedby") or ""
        assert f"{field.get_attribute('id')}-error" in description
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    summary = page.get_by_role("alert")
    expect(summary).to_have_text(
        "Correct these 7 fields: "
        "Name, Tags, Kernel size, Channels, Epochs, Learning rate, Per class"
    )
    summary.get_by_role("link", name="Channels").click()
    expect(page.get_by_label("Channels")).to_be_focused()
    page.get_by_label("Channels").fill("8, 16")
    expect(field_of(page, "Channels").locator(".error")).to_have_count(0)
    expect(summary).to_contain_text("these 6 fields: Name, Tags, Kernel size, Epochs")
    # The same errors in Japanese.
    page.get_by_label("Language").select_option("ja")
    expect(page.locator("[id='epochs-error']")).to_have_text(
        "0 ～ 10,000 の整数を入力してください。"
    )
    expect(page.locator("[id='architecture.kernel_size-error']")).to_contain_text("奇数")
    expect(summary).to_contain_text("次の 6 項目を修正してください")
    for message in page.locator(".field .error").all_inner_texts():
        assert not re.search(r"[A-Za-z]{4}", message), message


def test_errors_without_a_field_in_the_form_stand_in_the_summary(page: Page) -> None:
    def answer(route: Any) -> None:
        error = {"field": "architecture.depth", "message": "is not a known field"}
        error["type"] = "extra_forbidden"
        route.fulfill(status=422, json={"title": "Invalid", "status": 422, "errors": [error]})

    page.route("**/runs", answer)
    page.goto("/app/new")
    page.get_by_role("button", name="Start run").click()
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("architecture.depth The service has no such setting.")
    expect(summary).to_be_focused()


def test_every_dead_end_has_a_way_out(page: Page, page_run: dict[str, Any]) -> None:
    for path, heading in (
        ("/app/runs/999999", "Page not found"),
        ("/app/runs/0", "Page not found"),
        ("/app/nowhere", "Page not found"),
        ("/foo", "There is no such page"),
    ):
        page.goto(path)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        page.get_by_role("link", name="list of runs").click()
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.goto("/app/new?from=999999")
    expect(page.get_by_text("There is no run 999999. The form is filled with")).to_be_visible()
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("100")
    page.goto(f"/app/compare?runs={page_run['id']},999999")
    expect(page.get_by_role("alert")).to_contain_text("There is no run 999999.")
    expect(page.get_by_text("Loading…")).to_have_count(0)
    page.get_by_role("button", name="Remove #999999").first.click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_unknown_values_in_a_link_are_named_and_replaced_by_defaults(
    page: Page, page_run: dict[str, Any]
) -> None:
    page.goto(
        f"/app/runs/{page_run['id']}"
        "?a=nonsense&b=layer-cam/nowhere&colors=rainbow&style=3d&epoch=last&image=cat.png"
    )
    notice = page.get_by_role("status").filter(has_text="This link has values")
    expect(notice).to_contain_text("Method A: “nonsense”")
    for value in ("layer-cam/nowhere", "rainbow", "3d", "last", "cat.png"):
        expect(notice).to_contain_text(f"“{value}”")
    reel_is_drawn(page)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(select_box(page, "Method A")).to_have_value("conventional")
    expect(select_box(page, "Method B")).to_have_value("proposed")
    expect(select_box(page, "Colormap")).to_have_value("viridis")
    expect(page).to_have_url(re.compile(rf"/app/runs/{page_run['id']}$"))
    notice.get_by_role("button", name="Close").click()
    expect(notice).to_have_count(0)
    page.goto(f"/app/runs/{page_run['id']}?epoch=99")
    expect(notice).to_contain_text("Epoch: “99”")
    epoch_is_shown(page, EPOCHS)
    page.goto("/app?status=done")
    expect(page.get_by_role("status").filter(has_text="“done”")).to_be_visible()
    expect(page.locator(".runs tbody tr").first).to_be_visible()
    expect(page).to_have_url(re.compile("/app$"))


def test_run_deleted_in_another_tab_is_reported_with_a_way_out(page: Page, service: Any) -> None:
    for leave in ("focus", "delete"):
        run_id = service.post_run(**SMALL, epochs=1, name="deleted elsewhere")
        service.wait(run_id)
        page.goto(f"/app/runs/{run_id}")
        reel_is_drawn(page)
        service.http.delete(f"/runs/{run_id}").raise_for_status()
        if leave == "focus":
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        else:
            page.once("dialog", lambda dialog: dialog.accept())
            page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("alert")).to_contain_text(f"There is no run {run_id}.")
        expect(page.get_by_role("link", name="Back to the list of runs")).to_be_visible()
        expect(page.locator(".reel-canvas")).to_have_count(0)


def test_error_of_cancel_goes_when_the_service_answers_again(
    context: BrowserContext, service: Any
) -> None:
    page = context.new_page()  # whose console is not checked: it logs the failed requests
    with endless_run(service, "to be cancelled") as run_id:
        page.goto(f"/app/runs/{run_id}")
        reel_is_drawn(page)
        page.route("**/cancel", lambda route: route.abort())
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("not responding")
        page.locator(".scrubber input").fill("0")
        page.get_by_role("combobox", name="Method A").select_option("layer-cam")
        expect(page.get_by_role("alert")).to_have_count(0)
        page.unroute("**/cancel")
        page.route("**/cancel", lambda route: route.fulfill(status=409, json=CONFLICT))
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("409")
    expect(page.locator(".status").first).to_have_text("cancelled")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.close()
