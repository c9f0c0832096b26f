"""The methods that maps can be asked by. A new one is a file and a line in its family's table."""

from service.core.cams.activation_methods import ACTIVATION_METHODS
from service.core.cams.gradient_methods import GRADIENT_METHODS
from service.core.cams.method import Method
from service.core.cams.perturbation_methods import PERTURBATION_METHODS
from service.core.cams.pixel_methods import PIXEL_METHODS

PAPER_METHODS = ("conventional", "proposed")
"""The paper's two, which every run records at every epoch."""

RECOMMENDED = "layer-integrated-gradients"
"""For whoever does not come for the paper: blank for none of 2,500 maps, faithful, and told apart
by class. What is proved of it and what only measured stands in docs/methods.md."""

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *GRADIENT_METHODS,
        *ACTIVATION_METHODS,
        *PERTURBATION_METHODS,
        *PIXEL_METHODS,
    )
}
