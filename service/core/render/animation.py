"""A strip that moves: one frame an epoch."""

import io
from collections.abc import Sequence
from typing import Any

from service.core.cancellation import raise_if_cancelled
from service.core.render.cells import Cell
from service.core.render.sheet import CellStyle, render_frames

FRAME_MILLISECONDS = 150
LAST_FRAME_MILLISECONDS = 1500

ANIMATIONS: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "quality": 80, "method": 0},
    "gif": {"format": "GIF", "optimize": False},
}


def render_animation(
    cells: Sequence[Cell], captions: Sequence[str], look: CellStyle, kind: str
) -> bytes:
    """An endless animation, `webp` or `gif`, that rests on its last frame."""
    drawn = render_frames(cells, captions, look)
    times = [FRAME_MILLISECONDS] * (len(drawn) - 1) + [LAST_FRAME_MILLISECONDS]
    for frame in drawn:
        # What Pillow calls before it encodes a frame.
        frame.seek = _checked_seek  # type: ignore[method-assign]
    out = io.BytesIO()
    drawn[0].save(
        out, save_all=True, append_images=drawn[1:], duration=times, loop=0, **ANIMATIONS[kind]
    )
    return out.getvalue()


def _checked_seek(frame: int) -> None:
    """That of a picture of one frame. Raises RequestCancelled once nobody waits."""
    raise_if_cancelled()
    if frame != 0:
        raise EOFError
