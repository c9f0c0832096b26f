"""Measures of how training images are rated, as drawn: entries beside those of networks.

The values are made in `epoch_insight.py` from `SampleStatistics` and `StepHistory`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingMeasure:
    """One entry: the name of a value of each epoch, its formula, source and range."""

    name: str
    title: str
    formula: str
    source: str
    range: tuple[float, float | None]  # None: no upper bound


TRAINING_MEASURES = (
    TrainingMeasure(
        "presentations",
        "Presentations",
        "mean number of times that a training image has been presented",
        "this project",
        (0, None),
    ),
    TrainingMeasure(
        "never_forgotten_share",
        "Never forgotten",
        "of the images presented twice and correct once, the share without a forgetting event; as "
        "drawn, with dropout and augmentation on",
        "Toneva et al., An Empirical Study of Example Forgetting (arXiv:1812.05159), section 3",
        (0, 1),
    ),
    TrainingMeasure(
        "forgotten_per_image",
        "Forgetting events per image",
        "mean number of times that a correct presentation is followed by an incorrect one",
        "Toneva et al. (arXiv:1812.05159), section 3",
        (0, None),
    ),
    TrainingMeasure(
        "mean_confidence",
        "Confidence of the given labels",
        "mean over images of the mean p of the given label over presentations",
        "Swayamdipta et al., Dataset Cartography (arXiv:2009.10795), section 2",
        (0, 1),
    ),
    TrainingMeasure(
        "mean_variability",
        "Variability of the given labels",
        "mean over images of the deviation of p of the given label over presentations",
        "Swayamdipta et al. (arXiv:2009.10795), section 2",
        (0, 0.5),
    ),
    TrainingMeasure(
        "gradient_norm_median",
        "Gradient norm",
        "median over measured steps of the L2 norm of the gradient of all parameters",
        "Pascanu et al. (arXiv:1211.5063), section 2",
        (0, None),
    ),
    TrainingMeasure(
        "gradient_norm_max",
        "Largest gradient norm",
        "largest L2 norm of the gradient of all parameters in a measured step",
        "Pascanu et al. (arXiv:1211.5063), section 2",
        (0, None),
    ),
)
