"""The methods that maps can be asked by. A new one is a file here and a line in the table."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from service.core.cams import gradcam
from service.core.cams.cut import Cut


@dataclass(frozen=True)
class Method:
    """One line of the table. `mixing(cut)` is M (N, C, C), d score_c / d x_j; None: the units."""

    name: str
    title: str
    description: str
    source: str
    year: int
    mixing: Callable[[Cut], Tensor | None]


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="conventional",
            title="Grad-CAM of the class score after softmax",
            description="The usual Grad-CAM; fades as softmax and sigmoid saturate.",
            source="Selvaraju et al., Grad-CAM, equations 1 and 2",
            year=2017,
            mixing=gradcam.class_score,
        ),
        Method(
            name="proposed",
            title="Grad-CAM of the unit before its output activation",
            description="Differentiates the last layer's unit before sigmoid and softmax.",
            source="Sakai and Takenaka, JSAI 2019, equation 4",
            year=2019,
            mixing=gradcam.unit,
        ),
    )
}
