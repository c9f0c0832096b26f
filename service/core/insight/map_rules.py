"""Rules about blank maps, dead units and saturated outputs."""

from service.core.cams.methods import PAPER_METHODS
from service.core.insight.finding import Evidence, Finding, Severity, Unavailable
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

SAMPLE_IMAGES = 50
"""Images that a share is measured on, 5 of each of 10 classes: `network_sample.py`."""


def find_blank_maps(history: TrainingHistory) -> Findings:
    """Many maps of the last measured epoch are blank for one cause; one finding per cause."""
    is_measured = False
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
                    Evidence(f"blank_share_{method}", value, BLANK_THRESHOLD, SAMPLE_IMAGES)
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
    refutation="The maps of the same images are not blank by a method that does not multiply by "
    "the derivative of softmax, such as hires-cam/centered.",
)


def find_dead_units(history: TrainingHistory) -> Findings:
    """Many rectified units are 0 for every image of the sample."""
    last = history.last_value("dead_unit_share")
    if last is None:
        yield Unavailable("dead-units", "not-recorded")
    elif last[0] > 0 and last[1] >= DEAD_UNITS_THRESHOLD:
        yield Finding(
            kind="dead-units",
            severity=Severity.WARNING,
            evidence=(Evidence("dead_unit_share", last[1], DEAD_UNITS_THRESHOLD, SAMPLE_IMAGES),),
            epochs=(last[0], last[0]),
        )


DEAD_UNITS = TrainingRule(
    kind="dead-units",
    examine=find_dead_units,
    source="Lu et al., Dying ReLU and Initialization (arXiv:1903.06733)",
    refutation="The units react to images outside the sample.",
)


def find_saturated_outputs(history: TrainingHistory) -> Findings:
    """For many images the class probability no longer reacts to its pre-activation."""
    last = history.last_value("saturated_share")
    if last is None:
        yield Unavailable("saturated-outputs", "not-recorded")
    elif last[0] > 0 and last[1] >= SATURATED_THRESHOLD:
        yield Finding(
            kind="saturated-outputs",
            severity=Severity.NOTE,
            evidence=(Evidence("saturated_share", last[1], SATURATED_THRESHOLD, SAMPLE_IMAGES),),
            epochs=(last[0], last[0]),
        )


SATURATED_OUTPUTS = TrainingRule(
    kind="saturated-outputs",
    examine=find_saturated_outputs,
    source="Sakai and Takenaka 2019, section 3.2",
    refutation="The derivative of the probability is larger on images that the network has not "
    "been trained on.",
)

MAP_RULES = (BLANK_MAPS, DEAD_UNITS, SATURATED_OUTPUTS)
