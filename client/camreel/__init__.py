"""The client of Camreel, for people's own training scripts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camreel.recorder import Recorder as Recorder

__version__ = "0.1.0"

__all__ = ["Recorder", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported when it is used: a process that only sends a spool needs no torch.
    if name == "Recorder":
        from camreel.recorder import Recorder

        return Recorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
