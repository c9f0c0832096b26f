"""The page of a service that requires a token, by the token's scope."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.cli.test_cli_access import create_token
from tests.page.training import SMALL, endless_run


def sign_in(page: Page, token: str) -> None:
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.get_by_role("navigation")).to_have_count(0)
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def test_controls_without_scope_are_disabled_or_hidden_with_the_reason(
    context: Any, new_service: Callable[..., Any], tmp_path: Path
) -> None:
    tokens = {
        scope: create_token(tmp_path, f"{scope}er", "--scope", scope) for scope in ("read", "run")
    }
    service = new_service()
    service.http.headers["authorization"] = f"Bearer {tokens['run']}"
    ended = service.post_run(**SMALL, epochs=1, name="ended")
    service.wait(ended)
    with endless_run(service, "training"):
        page = context.new_page()
        address = str(service.http.base_url).rstrip("/") + "/app"
        page.goto(address)
        sign_in(page, tokens["read"])
        starting = (
            "Starting, resuming and canceling runs and uploading images require the scope run."
        )
        expect(page.get_by_text(f"Your token has the scope read. {starting}")).to_be_visible()
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(
            ["Runs", "Experiments", "API"]
        )
        expect(page.get_by_role("link", name="New run")).to_have_count(0)
        page.get_by_role("link", name="training").click()
        expect(page.get_by_role("button", name="Cancel")).to_be_disabled()
        expect(page.locator(".run-head").get_by_text(starting)).to_be_visible()
        expect(page.get_by_role("link", name="Duplicate")).to_have_count(0)
        page.get_by_text("Use your own image").click()
        expect(page.get_by_label("PNG or JPEG")).to_be_disabled()
        expect(page.locator(".upload").get_by_text(starting)).to_be_visible()
        page.goto(f"{address}/runs/{ended}")
        for name in ("Resume", "Delete"):
            expect(page.get_by_role("button", name=name)).to_be_disabled()
        expect(page.get_by_text("Deleting runs requires the scope admin.")).to_be_visible()
        page.goto(f"{address}/new")
        expect(page.get_by_role("button", name="Start run")).to_be_disabled()
        expect(page.get_by_text(starting)).to_be_visible()
        # A token of scope run can do all but delete.
        page.get_by_role("button", name="Sign out").click()
        sign_in(page, tokens["run"])
        expect(page.get_by_role("button", name="Start run")).to_be_enabled()
        page.goto(f"{address}/runs/{ended}")
        expect(page.get_by_role("button", name="Resume")).to_be_enabled()
        expect(page.get_by_role("button", name="Delete")).to_be_disabled()
        expect(page.locator(".scope-note")).to_have_text(
            "Your token has the scope run. Deleting runs requires the scope admin."
        )
    page.close()
