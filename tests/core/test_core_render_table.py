"""Tables of words, and pictures side by side."""

import io

import numpy as np
import pytest
from PIL import Image

from service.core.png import encode_png
from service.core.render.table import Panel, render_side_by_side, render_table
from service.core.render.text import PAPER, font, text_width


def page_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_a_table_grows_with_its_rows_and_words():
    small = page_of(render_table("title", ["a", "b"], [["1", "2"]]))
    taller = page_of(render_table("title", ["a", "b"], [["1", "2"]] * 6))
    wider = page_of(render_table("title", ["a", "b"], [["1", "two hundred and seventeen"]]))
    assert taller.shape[0] > small.shape[0]
    assert taller.shape[1] == small.shape[1]
    assert wider.shape[1] - small.shape[1] == text_width(font(15), "two hundred and seventeen") - (
        text_width(font(15), "b") if text_width(font(15), "b") > text_width(font(15), "2") else
        text_width(font(15), "2")
    )  # fmt: skip


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (2, 1)], ids=str)
def test_every_cell_of_a_table_is_written(place):
    rows = [["1", "1", "1"] for _ in range(3)]
    before = page_of(render_table("title", ["a", "b", "c"], rows))
    rows[place[0]][place[1]] = "7"
    after = page_of(render_table("title", ["a", "b", "c"], rows))
    changed = np.argwhere((before != after).any(axis=2))
    assert len(changed)
    # The others stay as they are: what changed lies within one line and one column.
    assert np.ptp(changed, axis=0).max() < 20


def test_nothing_is_written_over_the_edge():
    page = page_of(render_table("a title longer than the table under it", ["a"], [["1"]]))
    for edge in (page[0], page[-1], page[:, 0], page[:, -1]):
        assert (edge == PAPER).all()


def test_pictures_stand_whole_side_by_side_over_their_captions():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(3)]
    captions = ["a", "a caption wider than its picture", "c"]
    page = page_of(
        render_side_by_side(
            [Panel(encode_png(one), words) for one, words in zip(pictures, captions, strict=True)]
        )
    )
    found = []
    for one in pictures:
        corners = np.argwhere((page == one[0, 0]).all(axis=2))
        (place,) = [(y, x) for y, x in corners if np.array_equal(page[y : y + 30, x : x + 40], one)]
        found.append(place)
    assert len({y for y, _ in found}) == 1
    assert found[0][1] + 40 <= found[1][1]
    assert found[1][1] + 40 <= found[2][1]
    under = page[found[0][0] + 30 :]
    assert (under != PAPER).any()
