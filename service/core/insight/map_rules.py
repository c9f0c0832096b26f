"""Rules about blank maps, dead units and saturated outputs."""

from service.core.cams.methods import PAPER_METHODS
from service.core.insight.finding import Evidence, Finding, Severity, Unavailable
from service.core.insight.network_sample import sample_size
from service.core.insight.training_history import Findings, TrainingHistory, TrainingRule

BLANK_THRESHOLD = 0.4
"""Share of the labels' maps that are blank for one cause. One run without
a fault on the tuning seeds, at a rather large learning rate, had 0.32."""

DEAD_UNITS_THRESHOLD = 0.6
"""Share of rectified units. Runs without a fault on the tuning seeds had at most 0.35, most of them
hidden units that the 50 images do not need; dead networks had at least 0.75."""

SATURATED_THRESHOLD = 0.5
"""Share of the images whose output is saturated. On the tuning seeds, runs without a fault had at
most 0.14, those with a sigmoid before softmax 0.98."""


def find_blank_maps(history: TrainingHistory) -> Findings:
    """Many maps of the last measured epoch are blank for one cause; one finding per cause."""
    is_measured = False
    image_count = _sample_size(history)
    for cause in ("saturated", "all-negative", "dead"):
        shares = {
            method: value
            for method in PAPER_METHODS
            if (value := history.last_value(f"blank_share:{method}:{cause}")) is not None
        }
        is_measured = is_measured or bool(shares)
        if not shares:
            continue
        epoch, largest = max(shares.values(), key=lambda pair: pair[1])
        if epoch > 0 and largest >= BLANK_THRESHOLD:
            yield Finding(
                kind="blank-maps",
                severity=Severity.WARNING if cause == "dead" else Severity.NOTE,
                evidence=tuple(
                    Evidence(f"blank_share_{method}", value, BLANK_THRESHOLD, image_count)
                    for method, (_, value) in shares.items()
                ),
                epochs=(epoch, epoch),
                attribute=cause,
            )
    if not is_measured:
        yield Unavailable("blank-maps", "not-recorded")


BLANK_MAPS = TrainingRule(
    kind="blank-maps",
    examine=find_blank_maps,
    source="Sakai and Takenaka 2019, section 4.3",
)


def _rule_of_share(
    kind: str, measure: str, threshold: float, severity: Severity, source: str
) -> TrainingRule:
    """The rule that a share of the last measured epoch is too large."""

    def find_large_share(history: TrainingHistory) -> Findings:
        measured = history.last_value(measure)
        if measured is None:
            yield Unavailable(kind, "not-recorded")
            return
        epoch, share = measured
        if epoch > 0 and share >= threshold:
            yield Finding(
                kind=kind,
                severity=severity,
                evidence=(Evidence(measure, share, threshold, _sample_size(history)),),
                epochs=(epoch, epoch),
            )

    return TrainingRule(kind, find_large_share, source)


def _sample_size(history: TrainingHistory) -> int:
    """Number of images that shares are measured on; 0 where the run did not record it."""
    return 0 if history.facts is None else sample_size(history.facts.test_class_sizes)


DEAD_UNITS = _rule_of_share(
    kind="dead-units",
    measure="dead_unit_share",
    threshold=DEAD_UNITS_THRESHOLD,
    severity=Severity.WARNING,
    source="Lu et al., Dying ReLU and Initialization (arXiv:1903.06733)",
)

SATURATED_OUTPUTS = _rule_of_share(
    kind="saturated-outputs",
    measure="saturated_share",
    threshold=SATURATED_THRESHOLD,
    severity=Severity.NOTE,
    source="Sakai and Takenaka 2019, section 3.2",
)

MAP_RULES = (BLANK_MAPS, DEAD_UNITS, SATURATED_OUTPUTS)
