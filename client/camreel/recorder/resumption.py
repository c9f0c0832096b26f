"""The spool of a run that is to be continued."""

from pathlib import Path

from camreel.errors import InvalidSpool
from camreel.spool.folder import Spool, list_spools


def find_spool(resume: int | str | Path, root: Path) -> Spool:
    """The spool in a folder, or the one in `root` of the run with that id. Raises InvalidSpool."""
    if isinstance(resume, int):
        for folder in list_spools(root):
            candidate = Spool(folder)
            service = candidate.service()
            if service is not None and service["run_id"] == resume:
                return candidate
        raise InvalidSpool(f"{root} has no spool of run {resume}: give the folder of the spool")
    return Spool(Path(resume))
