"""Who is asking: a credential looked up in the store, and remembered for a second."""

from dataclasses import dataclass, field
from enum import StrEnum

from cachetools import TTLCache

from service.flows import access
from service.flows.access import Principal
from service.flows.credentials import digest
from service.store.store import Store

REMEMBERED_SECONDS = 1.0
"""A page asks for much at once. Revoking a token, or making the first, takes effect within this."""

MAX_REMEMBERED = 1024


class Kind(StrEnum):
    """How a credential came: a header shows a token, a cookie a sign-in."""

    TOKEN = "token"  # noqa: S105  a word, no secret
    COOKIE = "cookie"


LOOK_UPS = {Kind.TOKEN: access.by_token, Kind.COOKIE: access.by_cookie}


@dataclass(frozen=True)
class Gate:
    """Decides who asks. Unclaimed: without a token in the database, on loopback, it asks nobody.

    Its look-ups may wait for the database; what is remembered is had at once. Threads may share
    it: two that look up the same at once find the same.
    """

    store: Store
    may_be_unclaimed: bool  # bound to loopback, and tokens not required
    _unclaimed: TTLCache[str, bool] = field(
        default_factory=lambda: TTLCache(1, REMEMBERED_SECONDS), repr=False
    )
    _principals: TTLCache[str, Principal] = field(
        default_factory=lambda: TTLCache(MAX_REMEMBERED, REMEMBERED_SECONDS), repr=False
    )

    def remembered_unclaimed(self) -> bool | None:
        """Whether the service asks nobody who they are; None where it has to be looked up."""
        return self._unclaimed.get("") if self.may_be_unclaimed else False

    def look_up_unclaimed(self) -> bool:
        """The same, from the store."""
        found = self.may_be_unclaimed and access.is_unclaimed(self.store)
        self._unclaimed[""] = found
        return found

    def remembered(self, kind: Kind, secret: str) -> Principal | None:
        """Whom a credential stood for within the last second."""
        return self._principals.get(f"{kind} {digest(secret)}")

    def look_up(self, kind: Kind, secret: str) -> Principal:
        """Whom it stands for, from the store. Raises Unauthenticated."""
        found = LOOK_UPS[kind](self.store, secret)
        self._principals[f"{kind} {digest(secret)}"] = found
        return found

    def forget(self, kind: Kind, secret: str) -> None:
        """It stands for nobody from now on."""
        self._principals.pop(f"{kind} {digest(secret)}", None)
