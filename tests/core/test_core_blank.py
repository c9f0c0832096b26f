"""When a map counts as blank, and for which cause."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank, ClassMap, blank_cause

CAUSES = {Blank.SATURATED, Blank.ALL_NEGATIVE, Blank.DEAD}

peaks = st.floats(0, 10) | st.sampled_from([0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5])
thresholds = st.floats(0, 1) | st.sampled_from([0.0, 1e-8, 1e-7, 1e-5])


def test_cause_names_are_those_of_the_api():
    assert [blank.value for blank in Blank] == [
        "none", "saturated", "all-negative", "dead", "not-finite",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("peak", "minimum", "activation_peak", "cause"),
    [
        (1.0, 0.0, 3.0, Blank.NONE),
        (1.0, -9.0, 3.0, Blank.NONE),
        (2e-7, -9.0, 3.0, Blank.NONE),
        (0.0, -0.5, 3.0, Blank.ALL_NEGATIVE),
        (1e-8, -0.5, 3.0, Blank.ALL_NEGATIVE),
        (0.0, 0.0, 3.0, Blank.SATURATED),
        (1e-8, -1e-8, 3.0, Blank.SATURATED),
        (0.0, 0.0, 0.0, Blank.DEAD),
        (1e-9, -1e-9, 1e-8, Blank.DEAD),
        (np.nan, np.nan, 3.0, Blank.NOT_FINITE),
        (np.inf, 0.0, 3.0, Blank.NOT_FINITE),
        (1.0, -np.inf, 3.0, Blank.NOT_FINITE),
        (0.0, 0.0, np.nan, Blank.NOT_FINITE),
        (1.0, 0.0, np.nan, Blank.NONE),  # a map that does not depend on activations
    ],
)
def test_cause_depends_on_peak_minimum_and_activation_peak(peak, minimum, activation_peak, cause):
    assert blank_cause(peak, minimum, activation_peak) is cause


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_non_finite_value_makes_the_map_not_finite(value):
    signed = np.ones((3, 3), np.float32)
    signed[1, 1] = value
    result = ClassMap(signed, 1.0)
    assert result.blank_cause() is result.blank_cause(0.0) is Blank.NOT_FINITE
    assert np.isnan([result.peak, result.minimum]).all()


def test_values_equal_to_the_threshold_count_as_zero():
    e = DEFAULT_EPSILON
    above = np.nextafter(e, 1)
    assert blank_cause(e, -1.0, 1.0) is Blank.ALL_NEGATIVE
    assert blank_cause(above, -1.0, 1.0) is Blank.NONE
    assert blank_cause(0.0, -e, 1.0) is Blank.SATURATED
    assert blank_cause(0.0, -above, 1.0) is Blank.ALL_NEGATIVE
    assert blank_cause(0.0, -1.0, e) is Blank.DEAD
    assert blank_cause(0.0, -1.0, above) is Blank.ALL_NEGATIVE


def test_at_threshold_0_only_maps_without_positive_values_are_blank():
    assert blank_cause(5e-324, 0.0, 1.0, 0.0) is Blank.NONE
    assert blank_cause(0.0, -5e-324, 1.0, 0.0) is Blank.ALL_NEGATIVE
    assert blank_cause(0.0, 0.0, 1.0, 0.0) is Blank.SATURATED
    assert blank_cause(0.0, 0.0, 0.0, 0.0) is Blank.DEAD


@given(peaks, peaks, peaks, thresholds, thresholds)
def test_blank_map_stays_blank_at_a_higher_threshold(peak, depth, activation, epsilon_a, epsilon_b):
    low, high = sorted((epsilon_a, epsilon_b))
    if blank_cause(peak, -depth, activation, low) is not Blank.NONE:
        assert blank_cause(peak, -depth, activation, high) in CAUSES


@given(peaks, peaks, peaks, thresholds)
def test_map_is_blank_if_and_only_if_its_peak_does_not_exceed_the_threshold(
    peak, depth, activation, epsilon
):
    blank = blank_cause(peak, -depth, activation, epsilon) is not Blank.NONE
    assert blank == (peak <= epsilon)


def test_map_computes_its_own_cause():
    negative = ClassMap(np.array([[-2.0, -1.0]], np.float32), activation_peak=1.0)
    assert negative.blank_cause() is Blank.ALL_NEGATIVE
    assert negative.peak == 0.0
    faint = ClassMap(np.array([[1e-6, 0.0]], np.float32), activation_peak=1.0)
    assert faint.blank_cause() is Blank.NONE
    assert faint.blank_cause(epsilon=1e-5) is Blank.SATURATED
