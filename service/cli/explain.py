"""A photo explained by a classifier of torchvision: probabilities, and an overlay per class."""

import math
import re
from pathlib import Path

from service.cli.terminal import ValueTable, print_line, print_table
from service.files import check_output, write_file
from service.flows.photos import ExplainedPhoto, PhotoQuery, explain_photo_file
from service.folders import make_folder
from service.settings import Settings

MAX_NAME_LENGTH = 60
"""Of a class in the name of a file."""


def explain(
    settings: Settings, query: PhotoQuery, output: Path, *, top_count: int, size: int
) -> None:
    """Print the most probable classes, and write the pictures.

    `output` is a folder, or a .png file for the picture of all overlays side by side alone.
    """
    is_file = output.suffix.lower() == ".png"
    if is_file:
        check_output(output)
    else:
        make_folder(output, "--out")
    photo = explain_photo_file(query, settings.resolved_data_dir / "weights", size)
    _print_probabilities(photo, top_count)
    pictures = {output: photo.comparison} if is_file else _pictures(query, photo, output)
    for path, picture in pictures.items():
        write_file(path, picture)
        print_line(str(path))


def _print_probabilities(photo: ExplainedPhoto, top_count: int) -> None:
    table = ValueTable("class", "name", "probability", "peak", "blank")
    explanation = photo.explanation
    for index in dict.fromkeys([*explanation.top_classes(top_count), *explanation.maps]):
        class_map = explanation.maps.get(index)
        peak = "" if class_map is None or math.isnan(class_map.peak) else f"{class_map.peak:.3g}"
        blank = "" if class_map is None else class_map.blank_cause().value
        probability = f"{explanation.probabilities[index]:.2%}"
        table.add_values(str(index), photo.class_names[index], probability, peak, blank)
    print_table(table)


def _pictures(query: PhotoQuery, photo: ExplainedPhoto, folder: Path) -> dict[Path, bytes]:
    """The overlays and the comparison by file."""
    stem = query.photo.stem
    pictures = {}
    for index, overlay in photo.overlays.items():
        slug = re.sub(r"[^a-z0-9]+", "-", photo.class_names[index].lower()).strip("-")
        is_number = not slug or slug.isdigit()
        name = f"class-{index}" if is_number else slug[:MAX_NAME_LENGTH]
        path = folder / f"{stem}-{name}.png"
        if path in pictures:  # two classes of one name
            path = folder / f"{stem}-{name}-{index}.png"
        pictures[path] = overlay
    return pictures | {folder / f"{stem}-explained.png": photo.comparison}
