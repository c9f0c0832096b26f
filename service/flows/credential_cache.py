"""Principals of credentials: looked up in the store, and cached for a second."""

from dataclasses import dataclass, field
from enum import StrEnum

from cachetools import TTLCache

from service.flows import access
from service.flows.access import Principal
from service.flows.credentials import digest
from service.store.store import Store

CACHE_SECONDS = 1.0
"""A page sends many requests at once. Creating the first token, or revoking one, takes effect
within this time."""

MAX_CACHED = 1024


class CredentialKind(StrEnum):
    """What a secret belongs to."""

    TOKEN = "token"  # noqa: S105  a name, not a secret
    SIGN_IN = "sign-in"


LOOKUPS = {
    CredentialKind.TOKEN: access.principal_of_token,
    CredentialKind.SIGN_IN: access.principal_of_sign_in,
}


@dataclass(frozen=True)
class CredentialCache:
    """Finds the principal of a credential. Thread-safe.

    With open access (no token in the database, bound to loopback) no credential is needed.
    `check_*` and `find_*` query the store and may block; `cached_*` do not.
    """

    store: Store
    can_be_open: bool  # bound to loopback, and the settings do not require tokens
    _open_access: TTLCache[str, bool] = field(
        default_factory=lambda: TTLCache(1, CACHE_SECONDS), repr=False
    )
    _principals: TTLCache[str, Principal] = field(
        default_factory=lambda: TTLCache(MAX_CACHED, CACHE_SECONDS), repr=False
    )

    def cached_open_access(self) -> bool | None:
        """Whether access is open; None if it is not cached."""
        return self._open_access.get("") if self.can_be_open else False

    def check_open_access(self) -> bool:
        """Whether access is open, from the store."""
        is_open = self.can_be_open and access.has_no_tokens(self.store)
        self._open_access[""] = is_open
        return is_open

    def cached_principal(self, credential_kind: CredentialKind, secret: str) -> Principal | None:
        """The owner of a credential; None if it is not cached."""
        return self._principals.get(f"{credential_kind} {digest(secret)}")

    def find_principal(self, credential_kind: CredentialKind, secret: str) -> Principal:
        """The owner of a credential, from the store. Raises Unauthenticated."""
        principal = LOOKUPS[credential_kind](self.store, secret)
        self._principals[f"{credential_kind} {digest(secret)}"] = principal
        return principal

    def evict(self, credential_kind: CredentialKind, secret: str) -> None:
        """Remove a credential from the cache, after it has been revoked."""
        self._principals.pop(f"{credential_kind} {digest(secret)}", None)
