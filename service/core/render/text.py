"""Text in images: Pillow's typeface, and the colors of all pages."""

from functools import cache

from PIL import ImageFont

INK, FAINT, PAPER = (25, 25, 28), (110, 110, 118), (255, 255, 255)
MARGIN = 12


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's embedded typeface at a size in pixels."""
    typeface = ImageFont.load_default(size)
    assert isinstance(typeface, ImageFont.FreeTypeFont), "Pillow is built with FreeType"  # noqa: S101
    return typeface


def text_width(text: ImageFont.FreeTypeFont, label: str) -> int:
    """Width of the label in pixels."""
    return round(text.getlength(label))


def text_height(text: ImageFont.FreeTypeFont) -> int:
    """Height of a line in pixels."""
    return round(text.size * 1.2)
