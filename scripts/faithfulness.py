"""Are the maps that are never blank also faithful? A study over a `camreel paper` folder's runs.

    CAMREEL_DATA_DIR=... python scripts/faithfulness.py paper docs/methods

For each recipe and some epochs, the first 100 test images, each for its own class: deletion,
insertion and ROAD, beside the random map; and how alike the map is to that of the runner-up class,
since a map that is the same for every class explains none.
"""

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import torch

from service.core.cams.layers import resolve_layers
from service.core.cams.maps import class_maps
from service.core.cams.methods import METHODS
from service.core.images import from_png
from service.core.preprocessing import to_network_input
from service.flows.maps.evaluation import evaluation
from service.flows.maps.pipeline import MapPipeline
from service.flows.services import open_services
from service.settings import Settings
from service.store import runs
from service.store.runs import Run

EPOCHS = (1, 5, 15, 50)
IMAGES = 100
MEASURES = ("deletion", "insertion", "road")
METHODS_COMPARED = (
    "conventional",
    "proposed",
    "grad-cam/centered",
    "grad-cam/margin",
    "grad-cam++/centered",
    "x-grad-cam/centered",
    *(f"{name}/{target}" for name in ("hires-cam", "layer-cam") for target in ("unit", "centered")),
    *(f"layer-integrated-gradients/{target}" for target in ("unit", "centered", "margin")),
    "refine-cam/centered",
    "integrated-gradients/centered",
    "eigen-cam",
)


def likeness(pipeline: MapPipeline, run: Run, epoch: int, text: str) -> float:
    """Mean correlation of the maps (after ReLU) of the image's class and of the runner-up."""
    explained_run, stored_epoch = pipeline.resolver.resolve_epoch(run.id, epoch)
    network = pipeline.computer.network(stored_epoch, explained_run)
    images = pipeline.images.first_test_images(explained_run, IMAGES)
    layer = resolve_layers(METHODS[text.split("/")[0]], None, explained_run.layers)
    results = []
    for first in range(0, IMAGES, 20):
        batch = images[first : first + 20]
        pixels = to_network_input(torch.stack([from_png(image.png) for image in batch]))
        maps_block = class_maps(network, pixels, layer, [text])
        for i, image in enumerate(batch):
            order = np.argsort(-maps_block.probabilities[i])
            rival = next(int(label) for label in order if label != image.label)
            maps = [
                maps_block.class_map(text, i, label).values.ravel()
                for label in (image.label, rival)
            ]
            if all(class_map.std() > 0 for class_map in maps):
                results.append(float(np.corrcoef(*maps)[0, 1]))
    return statistics.mean(results) if results else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what `camreel paper --out` wrote")
    parser.add_argument("out", type=Path, help="folder for the table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    services = open_services(Settings(state_dir=arguments.folder))
    with services.store.read_session() as session:
        run_rows = runs.list_newest(session, limit=200)
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in sorted(run_rows, key=lambda run: run.id):
        by_method = results.setdefault(run.spec["tags"][1], {})
        for epoch in EPOCHS:
            deferred = evaluation(
                services.pipeline, run.id, epoch, METHODS_COMPARED, MEASURES, image_count=IMAGES
            )
            for score in deferred.compute().value.scores:
                values = by_method.setdefault(score.method, {})
                values.setdefault(score.measure.name, []).append(score.value.mean)
                random = by_method.setdefault("random", {})
                if score.method == "proposed":
                    random.setdefault(score.measure.name, []).append(score.random.mean)
            for text in METHODS_COMPARED:
                alike = likeness(services.pipeline, run, epoch, text)
                by_method[text].setdefault("likeness", []).append(alike)
            print(f"run {run.id}, epoch {epoch}", flush=True)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "faithfulness.json").write_text(json.dumps(results, indent=1) + "\n")
        (arguments.out / "faithfulness.md").write_text(markdown(results))


def markdown(results: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Means over recipes and epochs; `wins` counts cells in which a method beats `proposed`."""
    columns = (*MEASURES, "likeness")
    better = {"deletion": -1, "insertion": 1, "road": 1}
    lines = [
        f"Means over {len(results)} recipes, epochs {', '.join(map(str, EPOCHS))}, and {IMAGES} "
        "test images each. `wins`: number of combinations of recipe and epoch in which the method "
        "is better than `proposed`, by deletion, insertion and ROAD. `likeness`: correlation with "
        "the map of the runner-up class; 1 means the same map.",
        "",
        "| method | deletion (lower) | insertion (higher) | ROAD (higher) | wins | likeness |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for text in (*METHODS_COMPARED, "random"):
        values = {
            column: [v for by in results.values() for v in by[text].get(column, [])]
            for column in columns
        }
        base = {
            column: [v for by in results.values() for v in by["proposed"][column]]
            for column in MEASURES
        }
        wins = [
            sum(better[c] * (a - b) > 0 for a, b in zip(values[c], base[c], strict=True))
            for c in MEASURES
        ]
        cells = [f"{statistics.mean(values[c]):.3f}" for c in MEASURES]
        of = len(base["road"])
        won = ", ".join(map(str, wins)) + f" of {of}" if text != "proposed" else ""
        alike = [v for v in values["likeness"] if v == v]
        cells += [won, f"{statistics.mean(alike):.2f}" if alike else ""]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
