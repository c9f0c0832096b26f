"""The exchange test: shares worked out by hand, properties that operators exchange, and gaps."""

import pytest
import torch

from service.core.insight.exchange import (
    ExchangeGap,
    ExchangeUnavailable,
    applicable_operators,
    draw_sample,
    exchange_property,
    measure_exchanges,
)
from service.core.insight.finding import Finding, Severity, Unavailable
from service.core.insight.objects import find_objects, largest_components
from service.core.insight.operators import (
    OPERATORS,
    Donors,
    _centroids,
    _color_cast,
    _gyration_radius,
    _high_frequency_share,
    _mean_contrast,
    _saturation,
)
from service.core.insight.places import find_region, locate_surround, path_contributions
from service.core.insight.shortcuts import ExchangeTest, examine_exchanges, find_shortcuts
from tests.insight.bars import CLASSES, MARK_SHARE, bar_images, bar_network


def squares(sizes, corners, levels=None, background=0.0, channels=1):
    """Images (N, D, 28, 28) of a square each, of a side, a corner and a level."""
    images = torch.full((len(sizes), channels, 28, 28), background)
    for i, (side, (top, left)) in enumerate(zip(sizes, corners, strict=True)):
        level = 1.0 if levels is None else levels[i]
        images[i, :, top : top + side, left : left + side] = level
    return images


def exchanged(name, recipients, donors):
    recipient, donor = find_objects(recipients), find_objects(donors)
    return OPERATORS[name].exchange(recipient, Donors(donor, (donor, donor, donor)))


def test_share_of_a_mark_is_the_one_worked_out_by_hand():
    images, labels = bar_images(marked=True)
    sample = draw_sample(images, labels, CLASSES)
    (surround,) = measure_exchanges(bar_network(), sample, CLASSES, ["surround"])
    assert surround.shares[0] == pytest.approx(MARK_SHARE, abs=1e-6)
    # Its absence is evidence for the others: b/6 of the separations a + b/3 and a; the median of
    # two is their mean.
    absence_share = (0.25 / 1.5 + 0.25 / 1.0) / 2
    assert surround.shares[1:] == pytest.approx([absence_share] * 2, abs=1e-6)
    # With the mark x_0 = 1.5 exceeds every bar's 1; without it class 0 keeps its own bar.
    assert surround.images_turned[0] == pytest.approx(1.0)
    assert surround.recall_lost[0] == pytest.approx(0.0)


def test_network_that_ignores_the_mark_has_no_share():
    images, labels = bar_images(marked=True)
    sample = draw_sample(images, labels, CLASSES)
    for result in measure_exchanges(
        bar_network(0.0), sample, CLASSES, ["surround", "level", "ink", "size"]
    ):
        assert all(abs(share) < 1e-6 for share in result.shares), result


def mark_findings(tests):
    """Findings about class 0 and the surroundings: the bars are true evidence by position."""
    return [
        finding
        for finding in find_shortcuts(tests)
        if isinstance(finding, Finding)
        and (finding.attribute, finding.class_indices) == ("surround", (0,))
    ]


def test_shortcut_names_class_region_and_severity():
    images, labels = bar_images(marked=True)
    test = examine_exchanges(bar_network(), images, labels, CLASSES, epoch=3)
    (finding,) = mark_findings([test])
    assert finding.kind == "shortcut-surround"
    assert finding.severity is Severity.CHANGES_PREDICTIONS
    assert finding.epochs == (3, 3)
    region = finding.region
    assert (region.top, region.left, region.height, region.width) == (0, 0, 1, 1)
    assert region.share == pytest.approx(1.0)
    assert test.exchange_map.shape == (CLASSES, 16, 16)
    # Each map is a share of the evidence for its class, so it sums to 1.
    assert test.exchange_map.sum(axis=(1, 2)) == pytest.approx([1.0] * CLASSES, abs=1e-5)


def test_mark_that_turns_no_prediction_is_evidence_only():
    images, labels = bar_images(marked=True)
    test = examine_exchanges(bar_network(0.5), images, labels, CLASSES, epoch=1)
    (finding,) = mark_findings([test])
    assert finding.severity is Severity.EVIDENCE_ONLY
    # (2 b / 3) / (a + 2 b / 3) with b = 0.5
    assert finding.evidence[0].value == pytest.approx(0.25, abs=1e-6)


def test_clean_network_is_not_accused():
    images, labels = bar_images(marked=False)
    test = examine_exchanges(bar_network(), images, labels, CLASSES, epoch=1)
    assert not mark_findings([test])
    surround = {result.operator: result for result in test.results}["surround"]
    assert all(abs(share) < 1e-6 for share in surround.shares)


def test_epochs_of_a_shortcut_reach_back_to_the_first_consecutive_test():
    images, labels = bar_images(marked=True)
    tests = [
        examine_exchanges(
            bar_network(weight), images, labels, CLASSES, epoch=epoch, operators=operators
        )
        for epoch, weight, operators in (
            (10, 1.5, ["surround"]),
            (20, 0.0, ["surround"]),
            (30, 1.5, ["surround"]),
            (40, 1.5, None),
        )
    ]
    (finding,) = mark_findings(tests)
    assert finding.epochs == (30, 40)


def test_same_seed_gives_the_same_results_and_another_seed_other_donors():
    images, labels = bar_images(marked=True)
    images = images + 0.02 * torch.rand(images.shape, generator=torch.Generator().manual_seed(1))

    def shares(seed):
        sample = draw_sample(images.clamp(0, 1), labels, CLASSES, seed=seed)
        return measure_exchanges(bar_network(), sample, CLASSES, ["surround"])[0].shares

    assert shares(0) == shares(0)
    assert shares(0) != shares(1)


def test_object_is_kept_by_the_exchange_of_surroundings():
    images, labels = bar_images(marked=True)
    sample = draw_sample(images, labels, CLASSES)
    hybrids = exchange_property(OPERATORS["surround"], sample, 0)
    recipients = sample.recipients
    assert torch.equal(hybrids[recipients.masks], recipients.images[recipients.masks])
    # All donors are of class 0, which has the mark.
    assert (hybrids[:, 0, 0, 0] == 1).all()


def test_level_ink_position_and_size_become_those_of_the_donor():
    recipients = squares([8, 6], [(10, 10), (12, 8)], levels=[0.9, 0.6])
    donors = squares([12, 9], [(4, 6), (14, 12)], levels=[0.5, 0.8], background=0.1)
    for name, measure, tolerance in (
        ("level", lambda objects: objects.medians, 1e-6),
        ("ink", _mean_contrast, 1e-5),
        ("position", _centroids, 0.5),  # whole pixels
        ("size", _gyration_radius, 0.25),  # pixels are square
    ):
        exchanged_images = find_objects(exchanged(name, recipients, donors))
        torch.testing.assert_close(
            measure(exchanged_images),
            measure(find_objects(donors)),
            atol=tolerance,
            rtol=0,
            msg=name,
        )


def test_sharpness_is_lowered_to_that_of_the_donor_and_never_raised():
    from service.core.preprocessing import blur

    sharp = squares([8], [(10, 10)])
    blurred = blur(sharp, 1.3)
    exchanged_images = exchanged("sharpness", sharp, blurred)
    torch.testing.assert_close(
        _high_frequency_share(exchanged_images), _high_frequency_share(blurred), atol=0.01, rtol=0
    )
    assert torch.equal(exchanged("sharpness", blurred, sharp), blurred)


def test_hue_and_saturation_become_those_of_the_donor():
    recipients = (
        squares([8], [(10, 10)], channels=3) * torch.tensor([0.5, 0.35, 0.4])[:, None, None]
    )
    donors = squares([8], [(10, 10)], channels=3) * torch.tensor([0.3, 0.3, 0.6])[:, None, None]
    torch.testing.assert_close(
        _color_cast(exchanged("hue", recipients, donors)), _color_cast(donors), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        _saturation(exchanged("saturation", recipients, donors)),
        _saturation(donors),
        atol=1e-4,
        rtol=0,
    )


def test_color_operators_apply_to_color_images_alone():
    assert "hue" in applicable_operators((3, 28, 28))
    assert {"hue", "saturation"}.isdisjoint(applicable_operators((1, 28, 28)))


def test_largest_components_equal_those_of_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(20, 1, 24, 20, generator=generator) < 0.35
    for mask, component in zip(masks[:, 0], largest_components(masks)[:, 0], strict=True):
        labels, count = ndimage.label(mask.numpy(), structure=[[1] * 3] * 3)
        sizes = [(labels == number).sum() for number in range(1, count + 1)]
        assert component.sum() == max(sizes)
        numbers = set(labels[component.numpy()].tolist())
        assert len(numbers) == 1
        assert sizes[numbers.pop() - 1] == max(sizes)


def test_frame_is_not_the_object_even_if_it_has_more_pixels():
    images = squares([8], [(10, 10)])
    for row in (0, 1, -1, -2):
        images[:, :, row, :] = images[:, :, :, row] = 1.0
    objects = find_objects(images)
    assert objects.is_plausible.all()
    assert objects.cores.sum() == 64


@pytest.mark.parametrize(
    ("network", "gap"),
    [
        (lambda images: images.new_zeros(len(images), CLASSES), ExchangeGap.CLASSES_NOT_SEPARATED),
        (lambda images: images.new_full((len(images), CLASSES), torch.nan), ExchangeGap.NOT_FINITE),
    ],
)
def test_networks_without_evidence_have_no_result(network, gap):
    images, labels = bar_images(marked=False)
    assert examine_exchanges(network, images, labels, CLASSES, epoch=1).gap is gap


def test_images_without_a_plausible_object_have_no_result():
    photos = torch.rand(18, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(3).repeat(6)
    with pytest.raises(ExchangeUnavailable) as error:
        draw_sample(photos, labels, CLASSES)
    assert error.value.gap is ExchangeGap.NO_PLAUSIBLE_OBJECT
    masks = torch.zeros(18, 1, 32, 32, dtype=torch.bool)
    masks[:, :, 8:24, 8:24] = True
    assert len(draw_sample(photos, labels, CLASSES, masks=masks).classes) == CLASSES


def test_deadline_leaves_out_the_operators_that_would_start_after_it(monkeypatch):
    images, labels = bar_images(marked=True)
    sample = draw_sample(images, labels, CLASSES)
    times = iter([0.0, 0.5, 1.5])
    monkeypatch.setattr("service.core.insight.exchange.time.perf_counter", lambda: next(times))
    results = measure_exchanges(
        bar_network(), sample, CLASSES, ["surround", "level", "ink"], deadline=1.0
    )
    assert [result.operator for result in results] == ["surround", "level"]


def test_incomplete_test_says_that_properties_of_the_object_were_not_examined():
    images, labels = bar_images(marked=True)
    test = examine_exchanges(
        bar_network(), images, labels, CLASSES, epoch=1, operators=["surround"], with_map=False
    )
    assert not test.is_complete
    assert ExchangeTest.from_document(1, test.to_document()) == test
    assert Unavailable("shortcut-object", "not-tested") in list(find_shortcuts([test]))


def test_too_small_a_budget_and_too_few_images_are_named():
    images, labels = bar_images(marked=False)
    tests = [
        examine_exchanges(bar_network(), images, labels, CLASSES, epoch=1, budget_seconds=1e-6),
        examine_exchanges(bar_network(), images[:4], labels[:4], CLASSES, epoch=1),
        ExchangeTest(1, gap=ExchangeGap.NO_PLAUSIBLE_OBJECT),
    ]
    assert [next(find_shortcuts([test])) for test in tests] == [
        Unavailable("shortcut", "over-budget"),
        Unavailable("shortcut", "too-few-images"),
        Unavailable("shortcut", "no-plausible-object"),
    ]
    assert list(find_shortcuts([])) == [Unavailable("shortcut", "not-tested")]


def test_path_contributions_sum_to_the_difference_of_a_linear_network():
    images, _ = bar_images(marked=True)
    starts, ends = images[6:12], images[:6]
    network = bar_network()
    contributions = path_contributions(network, starts, ends, 0)
    u = [x[:, 0] - x.mean(dim=1) for x in (network(starts), network(ends))]
    torch.testing.assert_close(contributions.sum(dim=(1, 2)), u[1] - u[0])


def test_region_is_the_smallest_window_with_half_of_the_evidence():
    contributions = torch.zeros(28, 28)
    contributions[5:7, 20:22] = 1.0
    contributions[20, :] = 0.01
    region = find_region(contributions)
    assert (region.top, region.left, region.height, region.width) == (5, 20, 2, 2)
    assert region.share == pytest.approx(4 / 4.28)
    line = torch.zeros(28, 28)
    line[-1] = 1.0
    assert find_region(line).top == 27
    spread = find_region(torch.ones(28, 28))
    assert (spread.height, spread.width, spread.share) == (28, 28, 1.0)


def test_surround_of_a_class_is_located_at_its_mark():
    images, labels = bar_images(marked=True)
    sample = draw_sample(images, labels, CLASSES)
    region = locate_surround(bar_network(), sample, 0)
    assert (region.top, region.left, region.height, region.width) == (0, 0, 1, 1)


def test_documents_of_tests_restore_them_and_invalid_ones_are_refused():
    images, labels = bar_images(marked=True)
    test = examine_exchanges(bar_network(), images, labels, CLASSES, epoch=2, with_map=False)
    restored = ExchangeTest.from_document(2, test.to_document())
    assert restored == test
    restored.check(CLASSES)
    with pytest.raises(ValueError, match="class"):
        restored.check(CLASSES - 1)
    document = test.to_document()
    document["results"][0]["operator"] = "no-such-operator"
    with pytest.raises(ValueError, match="operator"):
        ExchangeTest.from_document(2, document).check(CLASSES)
