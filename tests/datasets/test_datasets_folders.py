"""Image folders: which files are used, their splits, and how they are decoded."""

import shutil

import numpy as np
import pytest
from PIL import Image

from service.core.datasets.dataset import ImageReference
from service.core.input import InputSpec
from service.flows.image_folders import ImageFolders
from tests.datasets.conftest import COLORS, encode, picture, png, write

RGB = InputSpec.model_validate(
    {"channels": "rgb", "resize": {"size": [30, 40]}, "mean": [0.5] * 3, "std": [0.5] * 3}
)
GRAY = InputSpec.model_validate(
    {"channels": "gray", "resize": {"size": [30, 40]}, "mean": [0.5], "std": [0.5]}
)
NAME = "folder:colors"


def paths_of(folders: ImageFolders) -> dict[str, str]:
    """The split of each image, by path."""
    return {entry.path: entry.split for entry in folders.index(NAME).entries}


def reasons_of(folders: ImageFolders) -> dict[str, str]:
    return {file.path: file.reason for file in folders.index(NAME).skipped}


def test_classes_are_those_of_both_splits_in_order(empty):
    root, folders = empty
    write(root, {"train/b/1.png": png(1), "train/a/1.png": png(2), "test/c/1.png": png(3)})
    index = folders.index(NAME)
    assert index.class_names == ("a", "b", "c")
    counts = [(c.name, c.train, c.test) for c in index.class_counts]
    assert counts == [("a", 1, 0), ("b", 1, 0), ("c", 0, 1)]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "TEST", "Val"])
def test_other_names_of_the_test_split(empty, name):
    root, folders = empty
    write(root, {"train/a/1.png": png(1), f"{name}/a/2.png": png(2)})
    assert paths_of(folders) == {"train/a/1.png": "train", f"{name}/a/2.png": "test"}


def test_validation_images_are_skipped_beside_a_test_split(empty):
    root, folders = empty
    write(root, {"train/a/1.png": png(1), "test/a/2.png": png(2), "val/a/3.png": png(3)})
    assert list(paths_of(folders)) == ["train/a/1.png", "test/a/2.png"]
    assert "neither the train nor the test" in reasons_of(folders)["val"]


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_a_test_split_a_fifth_is_chosen_by_content(empty, prefix):
    root, folders = empty
    write(root, {f"{prefix}{c}/{i}.png": png(i, c) for c in COLORS for i in range(40)})
    splits = paths_of(folders)
    assert 10 <= list(splits.values()).count("test") <= 38  # 24 of 120 expected
    # A copy under another name is in the same split, and no other image moves.
    shutil.copyfile(root / f"{prefix}blue/7.png", root / f"{prefix}blue/copy.png")
    later = paths_of(folders)
    assert later[f"{prefix}blue/copy.png"] == splits[f"{prefix}blue/7.png"]
    assert {path: split for path, split in later.items() if path in splits} == splits


def test_files_are_found_in_folders_below_a_class_and_by_any_case(empty):
    root, folders = empty
    files = {
        "train/a/1.PNG": png(1),
        "train/a/deep/er/2.JPG": encode(picture(COLORS["blue"], 2), "JPEG"),
        "test/a/3.WebP": encode(picture(COLORS["blue"], 3), "WEBP"),
        "test/b/4.jpeg": encode(picture(COLORS["blue"], 4), "JPEG"),
    }
    write(root, files)
    assert set(paths_of(folders)) == set(files)


def test_hidden_files_and_those_of_systems_are_ignored(empty):
    root, folders = empty
    ignored = (".DS_Store", "train/.hidden/1.png", "train/a/._1.png", "train/a/Thumbs.db")
    write(root, {"train/a/1.png": png(1), "test/b/2.png": png(2)} | dict.fromkeys(ignored, b"x"))
    assert len(paths_of(folders)) == 2
    assert reasons_of(folders) == {}


def test_unusable_files_are_skipped_with_reasons(empty):
    root, folders = empty
    animation = [picture(COLORS["blue"], i) for i in range(2)]
    write(
        root,
        {
            "train/a/ok.png": png(1),
            "train/a/notes.txt": b"text",
            "train/a/empty.png": b"",
            "train/a/text.png": b"text",
            "train/a/short.png": png(2)[:-50],
            "train/a/short.webp": encode(animation[0], "WEBP")[:-50],
            "train/a/moving.webp": encode(
                animation[0], "WEBP", save_all=True, append_images=animation[1:]
            ),
            "train/a/moving.png": encode(
                animation[0], "PNG", save_all=True, append_images=animation[1:]
            ),
            "train/a/long.png": encode(Image.new("L", (210, 10))),
            "train/loose.png": png(3),
            "test/b/ok.png": png(4),
        },
    )
    reasons = reasons_of(folders)
    expected = {
        "train/a/notes.txt": "is not a PNG, JPEG or WebP",
        "train/a/empty.png": "is empty",
        "train/a/text.png": "neither a PNG nor a JPEG",
        "train/a/short.png": "damaged",
        "train/a/short.webp": "damaged",
        "train/a/moving.webp": "animation",
        "train/a/moving.png": "anim",
        "train/a/long.png": "20 times",
        "train/loose.png": "not in the folder of a class",
    }
    assert set(reasons) == set(expected)
    assert all(text in reasons[path] for path, text in expected.items())
    assert list(paths_of(folders)) == ["train/a/ok.png", "test/b/ok.png"]


def test_links_are_followed_inside_the_folder_only(empty, tmp_path):
    root, folders = empty
    write(tmp_path, {"outside/secret.png": png(9)})
    write(root, {"train/a/1.png": png(1), "test/b/2.png": png(2)})
    links = {
        "train/a/inside.png": root / "test/b/2.png",
        "train/c": root / "train/a",
        "train/a/outside.png": tmp_path / "outside/secret.png",
        "train/d": tmp_path / "outside",
        "train/a/loop": root / "train",
        "train/a/nothing.png": root / "nothing.png",
    }
    for path, target in links.items():
        (root / path).symlink_to(target)
    used_paths = set(paths_of(folders))
    assert {"train/a/inside.png", "train/c/1.png"} <= used_paths
    assert not any("outside" in path or path.startswith("train/d") for path in used_paths)
    reasons = reasons_of(folders)
    assert "out of the image folder" in reasons["train/a/outside.png"]
    assert "out of the image folder" in reasons["train/d"]
    assert "to nothing" in reasons["train/a/nothing.png"]
    assert any("folder that contains it" in reason for reason in reasons.values())


def test_folder_that_is_a_link_out_of_the_data_directory_is_used(empty, tmp_path):
    """The operator placed it there; only links within it are confined."""
    root, folders = empty
    write(tmp_path / "disk", {"train/a/1.png": png(1), "test/b/2.png": png(2)})
    root.rmdir()
    root.symlink_to(tmp_path / "disk")
    assert len(paths_of(folders)) == 2


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16))


MODES = {
    "gray.png": (encode(picture(COLORS["blue"], 1).convert("L")), "PNG"),
    "palette.png": (encode(picture(COLORS["blue"], 1).quantize(16)), "PNG"),
    "alpha.png": (encode(picture(COLORS["blue"], 1).convert("RGBA")), "PNG"),
    "gray alpha.png": (encode(picture(COLORS["blue"], 1).convert("LA")), "PNG"),
    "bilevel.png": (encode(picture(COLORS["blue"], 1).convert("1")), "PNG"),
    "cmyk.jpg": (encode(picture(COLORS["blue"], 1).convert("CMYK"), "JPEG"), "JPEG"),
    "gray.jpg": (encode(picture(COLORS["blue"], 1).convert("L"), "JPEG"), "JPEG"),
    "lossless.webp": (encode(picture(COLORS["blue"], 1), "WEBP", lossless=True), "WEBP"),
    "alpha.webp": (encode(picture(COLORS["blue"], 1).convert("RGBA"), "WEBP"), "WEBP"),
}


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("input_spec", [RGB, GRAY], ids=["rgb", "gray"])
def test_images_of_any_mode_are_seen_as_pillow_converts_them(empty, tmp_path, name, input_spec):
    root, folders = empty
    write(root, {"train/a/1.png": png(2), f"test/b/{name}": MODES[name][0]})
    info = folders.index(NAME)
    assert info.skipped == ()
    image = Image.open(root / "test/b" / name)
    expected = image.convert("RGB")
    if input_spec is GRAY:
        expected = expected.convert("L")
    pixels, label = folders.read_pixels(
        NAME, info_of(folders), input_spec, ImageReference("test", 0)
    )
    expected_pixels = np.asarray(expected).reshape(30, 40, -1).transpose(2, 0, 1)
    assert label == 1
    assert np.abs(pixels.astype(int) - expected_pixels).max() <= 1


def info_of(folders: ImageFolders):
    return folders.index(NAME).info


def test_16_bits_are_scaled_to_8(empty):
    root, folders = empty
    write(root, {"train/a/1.png": png(1), "test/b/2.png": encode(sixteen_bits())})
    pixels, _ = folders.read_pixels(NAME, info_of(folders), GRAY, ImageReference("test", 0))
    expected = np.asarray(sixteen_bits()) / 65535 * 255
    assert np.abs(pixels[0] - expected).max() <= 0.51


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_exif_orientation_turns_the_image_upright(empty, kind):
    root, folders = empty
    upright = picture(COLORS["blue"], 5, (30, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    options = {"lossless": True} if kind == "WEBP" else {}
    suffix = {"JPEG": "jpg", "WEBP": "webp", "PNG": "png"}[kind]
    data = encode(turned, kind, exif=exif, **options)
    write(root, {"train/a/1.png": png(1), f"test/b/2.{suffix}": data})
    index = folders.index(NAME)
    (entry,) = index.split("test")
    assert (entry.width, entry.height) == (30, 40)
    spec = RGB.model_copy(update={"resize": RGB.resize.model_copy(update={"size": [40, 30]})})
    pixels, _ = folders.read_pixels(NAME, index.info, spec, ImageReference("test", 0))
    expected = np.asarray(upright).transpose(2, 0, 1)
    assert np.abs(pixels.astype(int) - expected).mean() < (0.1 if kind != "JPEG" else 15)


def test_masks_are_counted_by_path(empty):
    root, folders = empty
    write(
        root,
        {
            "train/a/1.png": png(1),
            "test/b/2.jpg": encode(picture(COLORS["blue"], 2), "JPEG"),
            "test/b/3.png": png(3),
            "masks/train/a/1.png": png(1),
            "masks/test/b/2.png": png(2),
        },
    )
    index = folders.index(NAME)
    assert (len(index.entries), index.masks) == (3, 2)


def test_duplicates_across_splits_are_counted(empty):
    root, folders = empty
    write(root, {"train/a/1.png": png(1), "train/a/2.png": png(1), "test/b/3.png": png(1)})
    assert folders.index(NAME).duplicates == 1
