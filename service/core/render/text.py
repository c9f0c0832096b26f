"""Text in images: Pillow's typeface, and the colors of all pages."""

from functools import cache, lru_cache

from PIL import ImageFont

INK, FAINT, PAPER = (25, 25, 28), (110, 110, 118), (255, 255, 255)
MARGIN = 12


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's embedded typeface at a size in pixels."""
    typeface = ImageFont.load_default(size)
    assert isinstance(typeface, ImageFont.FreeTypeFont), "Pillow is built with FreeType"  # noqa: S101
    return typeface


@lru_cache(maxsize=4096)  # the labels of epochs and classes recur in every picture
def text_width(text: ImageFont.FreeTypeFont, label: str) -> int:
    """Width of the label in pixels."""
    return round(text.getlength(label))


def text_height(text: ImageFont.FreeTypeFont) -> int:
    """Height of a line in pixels."""
    return round(text.size * 1.2)


def wrap_clauses(text: ImageFont.FreeTypeFont, label: str, width: int) -> list[str]:
    """The label in lines of at most `width` pixels, broken between its clauses (`; `) alone."""
    lines: list[str] = []
    for clause in label.split("; "):
        joined = f"{lines[-1]}; {clause}" if lines else clause
        if lines and text_width(text, joined) <= width:
            lines[-1] = joined
        else:
            lines.append(clause)
    return lines
