"""Section 4 of the paper, done again: recipes, their runs, and the count of blank maps."""

from service.core.spec import RunSpec

PAPER_EPOCHS = 100

RECIPES: dict[str, dict[str, object]] = {
    "adadelta-sigmoid": {},
    "adadelta-relu": {"architecture": {"hidden_activation": "relu"}},
    "adam-sigmoid": {"optimizer": {"name": "adam"}},
    "sgd-sigmoid": {"optimizer": {"name": "sgd", "learning_rate": 0.1}},
    "output-sigmoid": {"architecture": {"output_activation": "sigmoid"}},
}
"""What the paper leaves open, in five ways: optimiser and rate, and where a sigmoid stands."""


def paper_spec(recipe: str, seed: int, epochs: int = PAPER_EPOCHS) -> RunSpec:
    """The spec of one recipe: the paper's experiment but for what the recipe names."""
    return RunSpec.model_validate(
        {
            "name": f"paper, {recipe}, seed {seed}",
            "tags": ["paper", recipe],
            "epochs": epochs,
            "seed": seed,
            **RECIPES[recipe],
        }
    )
