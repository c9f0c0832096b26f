"""Words on pictures: Pillow's own typeface, and the colours that all pages share."""

from functools import cache

from PIL import ImageFont

INK, FAINT, PAPER = (25, 25, 28), (110, 110, 118), (255, 255, 255)
MARGIN = 12


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's embedded typeface at a size in pixels."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont), "Pillow is built with FreeType"  # noqa: S101
    return loaded


def text_width(text: ImageFont.FreeTypeFont, words: str) -> int:
    """Width of the words in pixels."""
    return round(text.getlength(words))


def text_height(text: ImageFont.FreeTypeFont) -> int:
    """Height of a line in pixels."""
    return round(text.size * 1.2)
