"""Problems of a recorder: logged once each, and never raised unless the user wants it."""

import logging

log = logging.getLogger("camreel")


class Problems:
    """What went wrong so far."""

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self._logged_kinds: set[str] = set()
        self.current: str | None = None
        """The problem of the last epoch; None if it was recorded."""

    def handle(self, error: Exception) -> None:
        """Log an error, or raise it if strict."""
        if self._is_strict:
            raise error
        self.report(str(error) or type(error).__name__, kind=type(error).__name__)

    def report(self, reason: str, *, kind: str = "") -> None:
        """Log a problem, once for each kind."""
        self.current = reason
        if (kind or reason) not in self._logged_kinds:
            self._logged_kinds.add(kind or reason)
            log.warning("camreel: %s", reason)
