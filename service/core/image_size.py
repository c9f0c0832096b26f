"""Limits of the size of an uploaded image, as stated by its header."""

from service.errors import ImageTooLarge

MAX_SIDE = 65_535
"""The limit of JPEG. Decoding and resizing also take time and memory in proportion to the longer
side: an image of 40,000,000 x 1 pixels takes 2 GB."""


def check_image_size(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageTooLarge."""
    if max(width, height) > MAX_SIDE:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {MAX_SIDE} per side are accepted."
        )
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} are accepted."
        )
