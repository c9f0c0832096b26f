"""Forgetting, data map, mistakes and facts, by hand on a few images."""

import numpy as np
import pytest
import torch

from service.core import presentations as presentations_module
from service.core.datasets.dataset import Dataset, Split
from service.core.insight.dataset_facts import DatasetFacts
from service.core.insight.mistakes import Mistakes
from service.core.insight.sample_statistics import SampleStatistics
from service.core.presentations import PresentationRecorder, Presentations, repeat_share


def epoch(*ratings: tuple[int, float, bool]) -> Presentations:
    """The presentations of (index, probability, whether correct)."""
    indices, probabilities, correct = zip(*ratings, strict=True)
    levels = np.round(np.array(probabilities) * 255).astype(np.uint8)
    return Presentations(np.array(indices, np.uint32), levels, np.array(correct))


def statistics_of(*epochs: Presentations) -> SampleStatistics:
    statistics = SampleStatistics(4)
    for presentations in epochs:
        statistics.add(presentations)
    return statistics


RIGHT, WRONG = (1.0, True), (0.0, False)
THREE_EPOCHS = (
    epoch((0, *RIGHT), (1, *RIGHT), (2, *WRONG)),
    epoch((0, *RIGHT), (1, *WRONG), (2, *WRONG)),
    epoch((0, *RIGHT), (1, *RIGHT), (2, *WRONG)),
)


def test_forgetting_events_by_hand() -> None:
    statistics = statistics_of(*THREE_EPOCHS)
    # Image 0 is never forgotten, image 1 once; image 2 is never learned, image 3 never presented.
    assert statistics.never_forgotten_share == 0.5
    assert statistics.forgotten_per_image == pytest.approx(1 / 3)
    assert statistics.mean_presentations == 9 / 4


def test_data_map_by_hand() -> None:
    statistics = statistics_of(*THREE_EPOCHS)
    assert statistics.mean_confidence == pytest.approx((1 + 2 / 3 + 0) / 3)
    # Image 1: 1, 0, 1 has the deviation sqrt(2) / 3.
    assert statistics.mean_variability == pytest.approx(2**0.5 / 9, abs=1e-6)
    assert statistics.count_doubtful(0.9) == 1
    assert statistics.median_confidence() == pytest.approx(2 / 3)


def test_hardest_and_most_forgotten_images() -> None:
    statistics = statistics_of(*THREE_EPOCHS)
    labels = np.array([5, 6, 7, 8])
    assert [(image.index, image.label) for image in statistics.hardest(labels)] == [
        (2, 7),
        (1, 6),
        (0, 5),
    ]
    assert [image.index for image in statistics.most_forgotten(labels)] == [1]


def test_presentations_of_another_split_are_refused() -> None:
    with pytest.raises(ValueError, match="another training split"):
        statistics_of(epoch((4, *RIGHT)))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_presentations_survive_their_encoding(count: int) -> None:
    rng = np.random.default_rng(0)
    original = Presentations(
        np.arange(count, dtype=np.uint32) * 3,
        rng.integers(0, 256, count).astype(np.uint8),
        rng.random(count) < 0.5,
    )
    data = original.to_bytes()
    assert len(data) == 5 * count + -(-count // 8)
    copied = Presentations.from_bytes(data)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(vars(original).values(), vars(copied).values(), strict=True)
    )


@pytest.mark.parametrize("data", [b"x", b"x" * 11, epoch((2, *RIGHT)).to_bytes() + b"xxxx"])
def test_damaged_presentations_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="presentations"):
        Presentations.from_bytes(data)


def test_recorder_rates_blocks_like_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(30, 4), torch.randint(0, 4, (30,))
    indices = torch.randperm(30)
    monkeypatch.setattr(presentations_module, "BLOCK_VALUES", 50)
    recorder = PresentationRecorder(30)
    for rows in torch.arange(30).split(7):
        recorder.record(indices[rows], labels[rows], logits[rows])
    rated, hits = recorder.finish()
    expected = logits.softmax(1)[torch.arange(30), labels][indices.argsort()]
    assert np.abs(rated.probabilities - expected.numpy()).max() <= 0.5 / 255 + 1e-6
    correct = (logits.argmax(1) == labels)[indices.argsort()]
    assert rated.is_correct.tolist() == correct.tolist()
    assert hits == int(correct.sum())


def test_recorder_tracks_a_bounded_number_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presentations_module, "MAX_TRACKED_IMAGES", 10)
    recorder = PresentationRecorder(25)
    recorder.record(torch.arange(25), torch.zeros(25, dtype=torch.int64), torch.zeros(25, 2))
    rated, hits = recorder.finish()
    assert rated.indices.tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    assert hits == 25
    statistics = SampleStatistics(25)
    statistics.add(rated)
    assert statistics.mean_presentations == 1


def test_repeat_share_of_sorted_and_alternating_labels() -> None:
    assert repeat_share(torch.tensor([0, 0, 0, 1, 1])) == 0.75
    assert repeat_share(torch.tensor([0, 1, 0, 1])) == 0
    assert repeat_share(torch.tensor([0])) is None


def test_mistakes_make_the_confusion_matrix() -> None:
    labels, predictions = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 0])
    mistakes = Mistakes.of_predictions(labels, predictions)
    assert mistakes.confusion([2, 2, 1]).tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert mistakes.cell(2, 0) == [4]
    copied = Mistakes.from_bytes(mistakes.to_bytes())
    assert copied.indices.tolist() == [1, 3, 4]
    assert copied.predictions.tolist() == [1, 0, 0]


def test_mistakes_out_of_order_are_refused() -> None:
    data = Mistakes(np.array([3, 1]), np.array([0, 0]), np.array([1, 1])).to_bytes()
    with pytest.raises(ValueError, match="order"):
        Mistakes.from_bytes(data)


def test_facts_count_equal_pixels_and_class_sizes() -> None:
    train = torch.arange(12, dtype=torch.uint8).view(3, 1, 2, 2)
    test = torch.stack([train[1], train[1] + 100])
    data = Dataset(
        "tiny",
        ("a", "b"),
        Split(train, torch.tensor([0, 0, 0])),
        Split(test, torch.tensor([0, 1])),
    )
    facts = DatasetFacts.of_dataset(data)
    assert facts == DatasetFacts((3, 0), (1, 1), 1, ("test:0",))
    assert DatasetFacts.from_document(facts.to_document()) == facts
