"""Spools: folders in which recorded runs wait until a service has them. Needs no torch."""

from camreel.spool.folder import Probe, RunDescription, Spool, list_spools
from camreel.spool.sender import Sender

__all__ = ["Probe", "RunDescription", "Sender", "Spool", "list_spools"]
