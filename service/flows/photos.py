"""Photos explained by the classifiers of torchvision, without a run."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.core.cams.methods import MethodSpec
from service.core.models.pretrained import PretrainedClassifier, load_classifier
from service.core.models.torchvision_classifiers import TorchvisionClassifier
from service.core.photo import PhotoExplanation, explain_photo
from service.core.render.photo import render_comparison, render_overlays
from service.core.resizing import crop_pixels
from service.errors import ImageRefused, InvalidValue, WeightsUnavailable
from service.field_errors import field_errors
from service.files import read_file
from service.flows.folder_decoder import MAX_IMAGE_BYTES, FolderDecoder

MAX_NAMES_BYTES = 2**20
SIMILAR_NAMES = 5
"""How many classes an error suggests."""


@dataclass(frozen=True)
class PhotoQuery:
    """What to explain of a photo, by names; None takes the default."""

    photo: Path
    network: str
    weights: str
    classes: Sequence[str]  # names or numbers; none: the most probable ones
    class_names: Path | None  # a text file, one name per line
    method: str
    layer: str | None


@dataclass(frozen=True)
class ExplainedPhoto:
    """The explanation of a photo and its pictures as PNGs."""

    explanation: PhotoExplanation
    class_names: tuple[str, ...]
    overlays: dict[int, bytes]  # by class index
    comparison: bytes  # the photo and all overlays side by side


def explain_photo_file(query: PhotoQuery, weights_folder: Path, size: int) -> ExplainedPhoto:
    """The photo's probabilities, and an overlay of height `size` per class.

    Raises InvalidValue and UnknownName with the name of the argument, and FileRefused.
    """
    MethodSpec.parse(query.method)  # refused before weights are downloaded
    data = read_file(query.photo, MAX_IMAGE_BYTES)
    classifier = _load(query, weights_folder)
    names = _class_names(query.class_names, classifier.class_names)
    indices = list(dict.fromkeys(find_class_by_name(text, names) for text in query.classes))
    decoder = FolderDecoder()
    try:
        pixels = crop_pixels(decoder.resize(data, classifier.input_spec), classifier.input_spec)
        photo = decoder.to_png(data)
    except ImageRefused as error:
        raise InvalidValue("photo", f"{query.photo}: {error}") from error
    finally:
        decoder.close()
    explanation = explain_photo(
        classifier.module,
        pixels,
        classifier.input_spec,
        method=query.method,
        classes=indices,
        layer=query.layer,
    )
    overlays = render_overlays(explanation, size)
    captions = {
        f"{names[index]}: {explanation.probabilities[index]:.1%}": overlay
        for index, overlay in overlays.items()
    }
    title = f"{query.photo.name}: {query.network}, {query.method}, {explanation.layer}"
    comparison = render_comparison(photo, classifier.input_spec, captions, title, size)
    return ExplainedPhoto(explanation, names, overlays, comparison)


def find_class_by_name(text: str, names: Sequence[str]) -> int:
    """Index of a class by its name, whatever its case, or by its number.

    Raises InvalidValue with similar names.
    """
    if text in names:
        return list(names).index(text)
    lower_names = [name.lower() for name in names]
    if text.lower() in lower_names:
        return lower_names.index(text.lower())
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(names):
        return int(text)
    similar = difflib.get_close_matches(text.lower(), lower_names, SIMILAR_NAMES)
    similar += [name for name in lower_names if text.lower() in name and name not in similar]
    suggestion = ", ".join(names[lower_names.index(name)] for name in similar[:SIMILAR_NAMES])
    hint = f"similar: {suggestion}" if suggestion else f"classes are numbered 0 to {len(names) - 1}"
    raise InvalidValue("class", f"no class is named {text}; {hint}", code="unknown_name")


def _load(query: PhotoQuery, weights_folder: Path) -> PretrainedClassifier:
    values = {"name": query.network, "weights": query.weights}
    try:
        architecture = TorchvisionClassifier.model_validate(values)
    except ValidationError as error:
        schema = TorchvisionClassifier.model_json_schema()
        first_error = field_errors(error.errors(), schema)[0]
        field = "network" if first_error.field == "name" else first_error.field
        raise InvalidValue(field, first_error.message, first_error.allowed) from error
    try:
        return load_classifier(architecture, weights_folder)
    except WeightsUnavailable as error:
        raise InvalidValue("weights", str(error)) from error
    except ValueError as error:  # images that the network is not made for
        raise InvalidValue("network", str(error)) from error


def _class_names(file: Path | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a text file, one per line. Raises InvalidValue and FileRefused."""
    if file is None:
        return default
    try:
        lines = read_file(file, MAX_NAMES_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InvalidValue("classes", f"{file} is not UTF-8 text") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != len(default):
        raise InvalidValue(
            "classes", f"{file} has {len(names)} names, and the network has {len(default)} classes"
        )
    return names
