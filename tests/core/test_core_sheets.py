"""Sheets and strips: every cell is complete, in its row and its column."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.core.cams.maps import Blank, ClassMap
from service.core.models import Placement
from service.core.render import sheet
from service.core.render.cells import Cell, Scale, Style, cell_rgb, hatch, image_rgb
from service.core.render.sheet import CellStyle, render_contact_sheet, render_strip

SIZE = 24
STYLE = CellStyle(Style.GRAY, "jet", SIZE)
RANDOM = np.random.default_rng(0)


def cell(blank: Blank = Blank.NONE) -> Cell:
    """A random cell, blank with that cause."""
    signed = RANDOM.normal(size=(6, 6)).astype(np.float32)
    result = {
        Blank.NONE: ClassMap(signed, activation_peak=1.0),
        Blank.SATURATED: ClassMap(signed * np.float32(1e-9), activation_peak=1.0),
        Blank.ALL_NEGATIVE: ClassMap(-np.abs(signed), activation_peak=1.0),
        Blank.DEAD: ClassMap(signed * 0, activation_peak=0.0),
    }[blank]
    image = torch.from_numpy(RANDOM.integers(0, 256, (1, 8, 8), np.uint8))
    return Cell(result, Scale.from_map(result), image, Placement(first_center=1, step=1))


def page_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def find_positions(page: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Positions (y, x) of an image on the page, pixel for pixel."""
    height, width, _ = image.shape
    corner = (page == image[0, 0]).all(axis=2)
    return [
        (int(y), int(x))
        for y, x in np.argwhere(corner)
        if np.array_equal(page[y : y + height, x : x + width], image)
    ]


def find_position(page: np.ndarray, image: np.ndarray) -> tuple[int, int]:
    (result,) = find_positions(page, image)
    return result


def render_cell(cell: Cell) -> np.ndarray:
    return cell_rgb(cell, STYLE.style, STYLE.colormap, SIZE)


@pytest.mark.parametrize(("probes", "epochs"), [(1, 1), (3, 5), (10, 2)])
def test_sheet_has_one_row_per_probe_and_one_column_per_epoch(probes, epochs):
    rows = [[cell() for _ in range(epochs)] for _ in range(probes)]
    heads = [f"test:{i}" for i in range(probes)], [str(e) for e in range(epochs)]
    page = page_of(render_contact_sheet(rows, *heads, STYLE, "Figure 6", "proposed"))
    result = np.array(
        [[find_position(page, render_cell(epoch_cell)) for epoch_cell in row] for row in rows]
    )
    ys, xs = result[:, :, 0], result[:, :, 1]
    assert (ys == ys[:, :1]).all()
    assert (xs == xs[:1]).all()
    assert (np.diff(ys[:, 0]) > SIZE).all()
    assert (np.diff(xs[0]) > SIZE).all()


def test_each_row_starts_with_its_image():
    rows = [[cell(), cell()] for _ in range(3)]
    page = page_of(render_contact_sheet(rows, ["0", "1", "2"], ["0", "1"], STYLE, "", ""))
    for row in rows:
        y, x = find_position(page, image_rgb(row[0].image, SIZE))
        first_y, first_x = find_position(page, render_cell(row[0]))
        assert y == first_y
        assert x + SIZE <= first_x


def test_wide_sheet_contains_all_columns():
    rows = [[cell() for _ in range(60)]]
    page = page_of(
        render_contact_sheet(rows, ["test:0"], [str(e) for e in range(60)], STYLE, "", "")
    )
    assert find_position(page, render_cell(rows[0][-1]))[1] + SIZE <= page.shape[1]
    assert page.shape[1] >= 60 * SIZE


@pytest.mark.parametrize(
    "causes", [[], [Blank.DEAD], [Blank.ALL_NEGATIVE, Blank.SATURATED]], ids=str
)
def test_legend_contains_only_causes_on_the_sheet(causes):
    rows = [[cell(), *(cell(blank) for blank in causes), *(cell(blank) for blank in causes)]]
    heads = [str(e) for e in range(len(rows[0]))]
    page = page_of(render_contact_sheet(rows, ["test:0"], heads, STYLE, "title", "footer"))
    for cause in (Blank.ALL_NEGATIVE, Blank.DEAD, Blank.SATURATED):
        mark = hatch(np.zeros((18, 18, 3), np.uint8), cause)
        assert len(find_positions(page, mark)) == (1 if cause in causes else 0)


def test_blank_cells_of_an_overlay_sheet_are_hatched():
    rows = [[cell(), cell(Blank.SATURATED)]]
    overlay = CellStyle(Style.OVERLAY, "jet", SIZE)
    page = page_of(render_contact_sheet(rows, ["test:0"], ["0", "1"], overlay, "", ""))
    find_position(page, hatch(image_rgb(rows[0][1].image, SIZE), Blank.SATURATED))


def test_labels_title_and_footer_are_rendered():
    rows = [[cell()]]
    pages = [
        page_of(render_contact_sheet(rows, [head], [column], STYLE, title, footer))
        for head, column, title, footer in (
            ("a", "1", "x", "y"), ("b", "1", "x", "y"), ("a", "2", "x", "y"),
            ("a", "1", "z", "y"), ("a", "1", "x", "z"),
        )
    ]  # fmt: skip
    assert len({page.tobytes() for page in pages}) == 5


def test_strip_has_its_cells_in_one_row():
    cells = [cell() for _ in range(6)]
    page = page_of(render_strip(cells, [str(e) for e in range(6)], STYLE, "test:0", ""))
    result = np.array([find_position(page, render_cell(strip_cell)) for strip_cell in cells])
    assert len(set(result[:, 0])) == 1
    assert (np.diff(result[:, 1]) > SIZE).all()


def test_wide_strip_is_wrapped_into_rows(monkeypatch):
    monkeypatch.setattr(sheet, "STRIP_WIDTH_PIXELS", 450)
    cells = [cell() for _ in range(30)]
    page = page_of(render_strip(cells, [str(e) for e in range(30)], STYLE, "test:0", ""))
    assert page.shape[1] <= 450
    result = [find_position(page, render_cell(strip_cell)) for strip_cell in cells]
    assert result == sorted(result)
    columns = len({x for _, x in result})
    assert columns == (450 - 24) // (SIZE + 2)
    assert len({y for y, _ in result}) == -(-30 // columns)
