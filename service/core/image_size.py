"""How large an image of a client may be, by what its header says."""

from service.errors import ImageTooLarge

MAX_SIDE = 65_535
"""As of a JPEG. The time and memory of decoding and resizing grow with the longer side alone, too:
an image of 40,000,000 x 1 pixels takes 2 GB."""


def check_image_size(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageTooLarge."""
    if max(width, height) > MAX_SIDE:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {MAX_SIDE} a side are taken."
        )
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} are taken."
        )
