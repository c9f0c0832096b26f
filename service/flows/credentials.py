"""Tokens and cookies: how they are made, what is kept of them, how they are compared."""

import hashlib
import hmac
import re
import secrets

SECRET_BYTES = 32
PREFIX = "camreel_"
SESSION_PREFIX = "camreel_session_"

TOKEN = re.compile(r"camreel_[A-Za-z0-9_-]{40,200}")
"""What every token and every cookie of ours looks like, and little else does."""


def new_token() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def new_session_secret() -> str:
    """A cookie of 256 random bits."""
    return SESSION_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What is kept of it: SHA-256, hexadecimal. It is random enough to need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def csrf_token(session_secret: str) -> str:
    """What the page shows beside its cookie: made of the cookie, which no other page can read."""
    return hmac.digest(session_secret.encode(), b"camreel csrf", "sha256").hex()


def constant_time_equal(first: str, other: str) -> bool:
    """Whether they are equal, in a time that does not tell how far."""
    return hmac.compare_digest(first.encode(), other.encode())
