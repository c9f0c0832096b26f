"""Image references: test:7, train:12, and invalid ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.datasets import DATASETS
from service.core.datasets.dataset import ImageReference
from service.errors import ImageNotFound, InvalidValue

SPLITS = st.sampled_from(["train", "test"])


@given(SPLITS, st.integers(0, 999_999_999))
def test_reference_is_parsed_and_formatted(split, index):
    reference = ImageReference.parse(f"{split}:{index}")
    assert (reference.split, reference.index) == (split, index)
    assert str(reference) == f"{split}:{index}"


@given(st.text(max_size=20) | st.from_regex(r"\w{3,6}:.{0,12}"))
def test_any_text_is_a_canonical_reference_or_refused(text):
    try:
        assert str(ImageReference.parse(text)) == text
    except InvalidValue as refusal:
        assert refusal.field == "image"  # noqa: PT017  both outcomes are valid
    except ImageNotFound:
        assert text.startswith("upload:")


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "test", "test:", ":7", "test7", "test:-1", "test:+1", "test:07", "test:00",
        "test:1_0", "test:1.0", "test:1e3", "test: 1", " test:1", "test:1 ", "test:1\n", "Test:1",
        "TEST:1", "valid:1", "test:١", "test:１", "test:1:2", "test:0x10", "test:9999999999",
        "upload:", "upload:../x", "upload:a/b", "upload:" + "a" * 65, "test:1\0",
    ],
)  # fmt: skip
def test_invalid_reference_is_refused_with_the_pattern(text):
    with pytest.raises(InvalidValue, match="test:7") as refusal:
        ImageReference.parse(text, "probe")
    assert refusal.value.field == "probe"
    assert refusal.value.allowed == {"pattern": "^(train|test):(0|[1-9][0-9]{0,8})$"}


@pytest.mark.parametrize("name", ["x", "3f2a", "A-b_9", "a" * 64])
def test_unknown_upload_is_not_found(name):
    with pytest.raises(ImageNotFound, match=f"upload:{name}"):
        ImageReference.parse(f"upload:{name}")


@pytest.mark.parametrize("source", DATASETS.values(), ids=DATASETS)
def test_reference_outside_its_dataset_is_not_found(source):
    for split, size in (("train", source.train_size), ("test", source.test_size)):
        first, last = ImageReference(split, 0), ImageReference(split, size - 1)
        assert first.require_in(source) is first
        assert last.require_in(source) is last
        with pytest.raises(ImageNotFound, match=f"has images 0 to {size - 1}"):
            ImageReference(split, size).require_in(source)
