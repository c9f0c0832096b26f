"""Who is asking: a credential looked up in the store, and remembered for a second."""

from dataclasses import dataclass, field
from enum import StrEnum

from cachetools import TTLCache

from service.flows import access
from service.flows.access import Principal
from service.flows.credentials import digest
from service.store.store import Store

CACHE_SECONDS = 1.0
"""A page asks for much at once. Revoking a token, or making the first, takes effect within this."""

MAX_CACHED = 1024


class CredentialKind(StrEnum):
    """How a credential came: a header shows a token, a cookie a sign-in."""

    TOKEN = "token"  # noqa: S105  a word, no secret
    COOKIE = "cookie"


LOOKUPS = {
    CredentialKind.TOKEN: access.principal_of_token,
    CredentialKind.COOKIE: access.principal_of_session,
}


@dataclass(frozen=True)
class CredentialCache:
    """Decides who asks. Unclaimed: without a token in the database, on loopback, it asks nobody.

    Its look-ups may wait for the database; what is remembered is had at once. Threads may share
    it: two that look up the same at once find the same.
    """

    store: Store
    can_be_unclaimed: bool  # bound to loopback, and tokens not required
    _unclaimed: TTLCache[str, bool] = field(
        default_factory=lambda: TTLCache(1, CACHE_SECONDS), repr=False
    )
    _principals: TTLCache[str, Principal] = field(
        default_factory=lambda: TTLCache(MAX_CACHED, CACHE_SECONDS), repr=False
    )

    def cached_unclaimed(self) -> bool | None:
        """Whether the service asks nobody who they are; None where it has to be looked up."""
        return self._unclaimed.get("") if self.can_be_unclaimed else False

    def check_unclaimed(self) -> bool:
        """The same, from the store."""
        found = self.can_be_unclaimed and access.is_unclaimed(self.store)
        self._unclaimed[""] = found
        return found

    def cached_principal(self, kind: CredentialKind, secret: str) -> Principal | None:
        """Whom a credential stood for within the last second."""
        return self._principals.get(f"{kind} {digest(secret)}")

    def find_principal(self, kind: CredentialKind, secret: str) -> Principal:
        """Whom it stands for, from the store. Raises Unauthenticated."""
        principal = LOOKUPS[kind](self.store, secret)
        self._principals[f"{kind} {digest(secret)}"] = principal
        return principal

    def evict(self, kind: CredentialKind, secret: str) -> None:
        """It stands for nobody from now on."""
        self._principals.pop(f"{kind} {digest(secret)}", None)
