"""Methods that weigh activations by what the score does without or through them."""

from service.core.cams import ablation, perturbation
from service.core.cams.method import Cost, Method

PERTURBATION_METHODS = (
    Method(
        name="score-cam",
        title="Score-CAM",
        description="Weighs each channel by the score of the image seen through it alone.",
        formula="sum_k w_k A^k, w = softmax_k(score(X M_k)), M_k = A^k stretched, 0..1",
        source="Wang et al., Score-CAM",
        year=2020,
        cost=Cost.PERTURBATIONS,
        compute=perturbation.score_cam,
    ),
    Method(
        name="ss-cam",
        title="SS-CAM",
        description="Score-CAM with scores averaged over noise on the masks.",
        formula="sum_k w_k A^k, w = softmax_k(mean_d score(X (M_k + d)))",
        source="Wang et al., SS-CAM",
        year=2020,
        cost=Cost.PERTURBATIONS,
        compute=perturbation.ss_cam,
        parameters=perturbation.NoisyMasks,
    ),
    Method(
        name="is-cam",
        title="IS-CAM",
        description="Score-CAM with scores averaged as the masked image grows brighter.",
        formula="sum_k w_k A^k, w = softmax_k(mean_i score(s_i X M_k))",
        source="Naidu et al., IS-CAM",
        year=2020,
        cost=Cost.PERTURBATIONS,
        compute=perturbation.is_cam,
        parameters=perturbation.Brightening,
    ),
    Method(
        name="ablation-cam",
        title="Ablation-CAM",
        description="Weighs each channel by what the score loses without it.",
        formula="sum_k w_k A^k, w_k = (y - y_k) / |y|, y_k the score without A^k",
        source="Desai and Ramaswamy, Ablation-CAM",
        year=2020,
        cost=Cost.PERTURBATIONS,
        compute=ablation.ablation_cam,
    ),
)
