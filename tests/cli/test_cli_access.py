"""Tokens and the audit log on the command line, and a server that starts only behind a token."""

import re
import sqlite3
from pathlib import Path

import pytest

from service.flows.credentials import TOKEN, digest, new_token
from tests.cli.test_cli_commands import camreel
from tests.conftest import Service


def make(folder: Path, name: str, *options: str) -> str:
    done = camreel(folder, "token", "create", name, *options, "--state-dir", str(folder))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_token_is_shown_once_listed_without_itself_and_revoked(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    token = make(tmp_path, "alice", "--scope", "run", "--expires-days", "30")
    assert TOKEN.fullmatch(token)  # alone on standard output
    listed = camreel(tmp_path, "token", "list", *state)
    assert re.search(r"1 .* alice .* run .* live", listed.stdout)
    assert token not in listed.stdout
    assert digest(token) not in listed.stdout
    revoked = camreel(tmp_path, "token", "revoke", "1", *state)
    assert "Token 1 (alice) is revoked" in revoked.stdout
    assert "no longer requires one" in revoked.stdout
    assert "revoked" in camreel(tmp_path, "token", "list", *state).stdout
    told = camreel(tmp_path, "audit", *state).stdout
    assert told.index("token revoke") < told.index("token create")
    assert "command line" in told
    assert token not in told
    missing = camreel(tmp_path, "token", "revoke", "9", *state)
    assert (missing.returncode, missing.stderr) == (1, "camreel: There is no token 9.\n")
    wrong = camreel(tmp_path, "token", "create", "bob", "--scope", "root", *state)
    assert wrong.returncode == 1
    assert "one of read, run, admin" in wrong.stderr


def test_no_start_beyond_loopback_without_a_live_token(tmp_path: Path) -> None:
    state = ("--state-dir", str(tmp_path))
    serve = ("serve", "--host", "0.0.0.0", "--port", "0", *state)
    refused = camreel(tmp_path, *serve)
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.endswith("run: camreel token create NAME --scope admin")
    make(tmp_path, "gone")
    camreel(tmp_path, "token", "revoke", "1", *state)
    assert camreel(tmp_path, *serve).returncode == 1


def test_a_bootstrap_file_lets_it_start_and_asks_for_its_token(tmp_path: Path) -> None:
    token = new_token()
    secret = tmp_path / "secret"
    secret.write_text(f"{token}\n")
    state = tmp_path / "state"
    state.mkdir()
    service = Service(
        state, {"CAMREEL_HOST": "0.0.0.0", "CAMREEL_BOOTSTRAP_TOKEN_FILE": str(secret)}
    )
    service.start()
    try:
        assert service.http.get("/healthz").status_code == 200
        assert service.http.get("/runs").status_code == 401
        bearer = {"authorization": f"Bearer {token}"}
        assert service.http.get("/runs", headers=bearer).status_code == 200
        # Nobody is trusted to tell of https here, so no cookie is said to be for https alone.
        signed = service.http.post(
            "/session", json={"token": token}, headers={"x-forwarded-proto": "https"}
        )
        assert "secure" not in signed.headers["set-cookie"].lower()
        # A token that another program makes counts within a second, and so does its end.
        other = make(state, "other")
        assert (
            service.http.get("/runs", headers={"authorization": f"Bearer {other}"}).status_code
            == 200
        )
    finally:
        service.stop()
    with sqlite3.connect(state / "camreel.db") as database:
        dump = "\n".join(database.iterdump())
    assert token not in dump
    assert digest(token) in dump


def test_a_trusted_proxys_word_on_https_is_taken(tmp_path: Path) -> None:
    token = make(tmp_path, "alice", "--scope", "read")
    service = Service(tmp_path, {"CAMREEL_TRUSTED_PROXIES": "127.0.0.1"})
    service.start()
    try:
        told = {"x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.9"}
        signed = service.http.post("/session", json={"token": token}, headers=told)
        assert "; secure" in signed.headers["set-cookie"].lower()
        assert "strict-transport-security" in signed.headers
    finally:
        service.stop()


@pytest.mark.parametrize("content", ["", "secret", None])
def test_a_bootstrap_file_without_a_token_is_refused(tmp_path: Path, content: str | None) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_text(content)
    done = camreel(tmp_path, "serve", "--port", "0", CAMREEL_BOOTSTRAP_TOKEN_FILE=str(secret))
    assert done.returncode == 1
    assert "bootstrap_token_file" in done.stderr
    assert str(tmp_path) not in done.stderr
