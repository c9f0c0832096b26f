"""The page of a service that requires a token: sign-in and session cookie."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.cli.test_cli_access import create_token


def test_sign_in_with_a_token_and_sign_out(
    context: Any, new_service: Callable[..., Any], tmp_path: Any
) -> None:
    token = create_token(tmp_path, "alice", "--scope", "admin")
    service = new_service()
    page = context.new_page()
    page.goto(str(service.http.base_url).rstrip("/") + "/app")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_disabled()
    page.get_by_label("Token").fill("camreel_guess")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Invalid, expired or revoked token")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("saves a checkpoint of every epoch")).to_be_visible()
    # Scripts cannot read the session cookie.
    assert page.evaluate("document.cookie") == ""
    storage = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert token not in storage
    # A reload keeps the session, which can start runs.
    page.reload()
    page.get_by_role("button", name="Start the paper's experiment").click()
    expect(page.get_by_role("heading", name="The paper's experiment")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".status").first).to_have_text("cancelled", timeout=60_000)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Language / 言語").select_option("ja")
    expect(page.get_by_role("heading", name="サインイン")).to_be_visible()
    page.close()
