"""Animations of one frame per epoch."""

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
    cells: Sequence[Cell], captions: Sequence[str], look: CellStyle, file_format: str
) -> bytes:
    """An endless animation, `webp` or `gif`, with a longer last frame."""
    frames = render_frames(cells, captions, look)
    times = [FRAME_MILLISECONDS] * (len(frames) - 1) + [LAST_FRAME_MILLISECONDS]
    for frame in frames:
        # Pillow calls `seek` before it encodes a frame.
        frame.seek = _checked_seek  # type: ignore[method-assign]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        save_all=True,
        append_images=frames[1:],
        duration=times,
        loop=0,
        **ANIMATIONS[file_format],
    )
    return buffer.getvalue()


def _checked_seek(frame: int) -> None:
    """`seek` of a single-frame image. Raises RequestCancelled."""
    raise_if_cancelled()
    if frame != 0:
        raise EOFError
