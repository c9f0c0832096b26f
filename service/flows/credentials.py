"""Secrets of tokens and sign-ins: creation, stored digests, comparison."""

import hashlib
import hmac
import re
import secrets

SECRET_BYTES = 32
PREFIX = "camreel_"
SIGN_IN_PREFIX = "camreel_session_"

TOKEN = re.compile(r"camreel_[A-Za-z0-9_-]{40,200}")
"""Matches every token and sign-in secret, and little else."""


def new_token() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def new_sign_in_secret() -> str:
    """A sign-in secret of 256 random bits."""
    return SIGN_IN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """SHA-256 in hex, which is stored in place of the secret. Random secrets need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def sign_in_proof(session_secret: str) -> str:
    """A value derived from a sign-in secret, which only its holder can compute.

    It confirms that a request comes from a page that can read its own sign-in.
    """
    return hmac.digest(session_secret.encode(), b"camreel csrf", "sha256").hex()


def constant_time_equal(left_text: str, right_text: str) -> bool:
    """Whether two texts are equal; the time does not depend on where they differ."""
    return hmac.compare_digest(left_text.encode(), right_text.encode())
