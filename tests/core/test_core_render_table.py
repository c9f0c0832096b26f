"""Tables of text, and pictures side by side."""

import io

import numpy as np
import pytest
from PIL import Image

from service.core.png import encode_png
from service.core.render.table import Panel, render_side_by_side, render_table
from service.core.render.text import PAPER, font, text_width


def decode(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_table_grows_with_its_rows_and_text():
    small = decode(render_table("title", ["a", "b"], [["1", "2"]]))
    taller = decode(render_table("title", ["a", "b"], [["1", "2"]] * 6))
    wider = decode(render_table("title", ["a", "b"], [["1", "two hundred and seventeen"]]))
    assert taller.shape[0] > small.shape[0]
    assert taller.shape[1] == small.shape[1]
    assert wider.shape[1] - small.shape[1] == text_width(font(15), "two hundred and seventeen") - (
        text_width(font(15), "b") if text_width(font(15), "b") > text_width(font(15), "2") else
        text_width(font(15), "2")
    )  # fmt: skip


@pytest.mark.parametrize("row_and_column", [(0, 0), (0, 2), (2, 1)], ids=str)
def test_table_shows_every_cell(row_and_column):
    rows = [["1", "1", "1"] for _ in range(3)]
    original = decode(render_table("title", ["a", "b", "c"], rows))
    rows[row_and_column[0]][row_and_column[1]] = "7"
    edited = decode(render_table("title", ["a", "b", "c"], rows))
    changed_pixels = np.argwhere((original != edited).any(axis=2))
    assert len(changed_pixels)
    # The change lies within one row and one column.
    assert np.ptp(changed_pixels, axis=0).max() < 20


def test_table_leaves_its_edges_empty():
    page = decode(render_table("a title longer than the table under it", ["a"], [["1"]]))
    for edge in (page[0], page[-1], page[:, 0], page[:, -1]):
        assert (edge == PAPER).all()


def test_side_by_side_keeps_pictures_and_adds_captions():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(3)]
    captions = ["a", "a caption wider than its picture", "c"]
    page = decode(
        render_side_by_side(
            [
                Panel(encode_png(picture), caption)
                for picture, caption in zip(pictures, captions, strict=True)
            ]
        )
    )
    positions = []
    for picture in pictures:
        corners = np.argwhere((page == picture[0, 0]).all(axis=2))
        (position,) = [
            (y, x) for y, x in corners if np.array_equal(page[y : y + 30, x : x + 40], picture)
        ]
        positions.append(position)
    assert len({y for y, _ in positions}) == 1
    assert positions[0][1] + 40 <= positions[1][1]
    assert positions[1][1] + 40 <= positions[2][1]
    under = page[positions[0][0] + 30 :]
    assert (under != PAPER).any()
