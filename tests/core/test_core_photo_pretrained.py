"""A pretrained network on two photos in one: each class is located in its own half."""

import numpy as np
import pytest

from service.core.photo import explain_photo

# Skipped without the weights and the photos, which are no dependencies.
figures = pytest.importorskip("scripts.photo_figures")


@pytest.fixture(scope="module")
def network():
    return figures.load_network()


def explain_composition(network, *photos, **options):
    pixels = figures.seen_pixels(figures.compose(photos))
    return explain_photo(network, pixels, figures.INPUT, **options)


def test_photos_are_classified_as_what_they_show(network):
    cat = explain_composition(network, "chelsea")
    coffee = explain_composition(network, "coffee")
    cats = {"tabby", "tiger cat", "Egyptian cat"}
    assert {figures.CLASS_NAMES[index] for index in cat.top_classes(3)} == cats
    assert figures.CLASS_NAMES[coffee.top_classes(1)[0]] == "espresso"


@pytest.mark.parametrize("method", figures.METHODS)
def test_each_class_is_located_in_its_own_half(network, method):
    classes = [figures.CLASS_NAMES.index(name) for name in ("Egyptian cat", "espresso")]
    options = {"method": method, "classes": classes}
    maps = explain_composition(network, "chelsea", "coffee", **options).maps
    # Rows of 7 x 7 positions: 0 to 2 are centered on the cat, 3 to 6 on the coffee.
    cat, coffee = (np.maximum(maps[index].signed, 0) for index in classes)
    assert cat[:3].sum() > 0.8 * cat.sum()
    assert coffee[3:].sum() > 0.8 * coffee.sum()
