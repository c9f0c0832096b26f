"""Methods that explain the image's pixels and take no layer."""

from service.core.cams import attribution, full_grad, guided
from service.core.cams.method import AttributionLevel, Cost, Method

PIXEL_METHODS = (
    Method(
        name="full-grad",
        title="FullGrad",
        description="The shares that pixels and every convolution's and normalisation's bias "
        "have in the score, added up.",
        formula="psi(G X) + sum_lk psi(b_lk G^lk), psi: |.|, to 0..1, stretched",
        source="Srinivas and Fleuret, Full-Gradient Representation",
        year=2019,
        cost=Cost.GRADIENT,
        compute=full_grad.full_grad,
        attribution_level=AttributionLevel.INPUT,
    ),
    Method(
        name="guided-backpropagation",
        title="Guided backpropagation",
        description="The gradient by the pixels, of which ReLUs let only positive parts pass. "
        "Draws the image's edges more than the class.",
        formula="dx_c / dX, each ReLU of input f passing back [f > 0] ReLU(R)",
        source="Springenberg et al., Striving for Simplicity",
        year=2014,
        cost=Cost.GRADIENT,
        compute=guided.guided_backpropagation,
        targets=("unit",),
        attribution_level=AttributionLevel.INPUT,
    ),
    Method(
        name="smooth-grad",
        title="SmoothGrad",
        description="The gradient by the pixels, averaged over noisy copies of the image.",
        formula="mean_d G(X + d)",
        source="Smilkov et al., SmoothGrad",
        year=2017,
        cost=Cost.SAMPLES,
        compute=attribution.smooth_grad,
        parameters=attribution.NoisyPixels,
        attribution_level=AttributionLevel.INPUT,
    ),
    Method(
        name="integrated-gradients",
        title="Integrated gradients",
        description="Pixels times their gradient on the way from black to the image; sums to "
        "what the image adds to the score of black.",
        formula="X int_0^1 G(a X) da",
        source="Sundararajan et al., Axiomatic Attribution for Deep Networks, eq. 1 and 3",
        year=2017,
        cost=Cost.SAMPLES,
        compute=attribution.integrated_gradients,
        parameters=attribution.Path,
        attribution_level=AttributionLevel.INPUT,
    ),
    Method(
        name="occlusion",
        title="Occlusion",
        description="What the score loses while a black square hides a pixel.",
        formula="mean over squares S with the pixel: score(X) - score(X without S)",
        source="Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 4.2",
        year=2014,
        cost=Cost.PERTURBATIONS,
        compute=attribution.occlusion,
        parameters=attribution.Window,
        attribution_level=AttributionLevel.INPUT,
    ),
    Method(
        name="lime",
        title="LIME",
        description="A linear model of the score by which patches of the image are shown.",
        formula="argmin_b sum_z w_z (score(X_z) - a - b z)^2 + |b|^2, z in {0, 1}^patches",
        source="Ribeiro et al., Why Should I Trust You, equations 1 and 2",
        year=2016,
        cost=Cost.PERTURBATIONS,
        compute=attribution.lime,
        parameters=attribution.Patches,
        attribution_level=AttributionLevel.INPUT,
    ),
)
