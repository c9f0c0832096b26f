"""The table of measures."""

from service.core.measures.deletion import DELETION_MEASURES
from service.core.measures.harmonic import HARMONIC_MEASURES
from service.core.measures.masking import MASKING_MEASURES
from service.core.measures.measure import Measure
from service.core.measures.perturbation import PERTURBATION_MEASURES
from service.core.measures.pointing import POINTING_MEASURES
from service.core.measures.road import ROAD_MEASURES
from service.core.measures.sanity import SANITY_MEASURES
from service.errors import UnknownName

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        *DELETION_MEASURES,
        *MASKING_MEASURES,
        *ROAD_MEASURES,
        *HARMONIC_MEASURES,
        *PERTURBATION_MEASURES,
        *POINTING_MEASURES,
        *SANITY_MEASURES,
    )
}

DEFAULT_MEASURES = ("deletion", "insertion", "average-drop", "increase", "road", "adcc")
"""By removal and by masking."""


def get_measure(name: str) -> Measure:
    """The measure of that name. Raises UnknownName."""
    if name not in MEASURES:
        raise UnknownName("measure", name, MEASURES)
    return MEASURES[name]
