"""Blank maps of every method and target over a `camreel paper` folder's runs, as Markdown and JSON.

    python scripts/blank_survey.py paper docs/methods            # epochs 1 to 50 of each run
    python scripts/blank_survey.py paper docs/methods --heavy    # those of many passes: see below

SS-CAM and IS-CAM are counted with `--heavy`, on every fifth epoch and for two targets: a map of
theirs takes thousands of passes. That it is not blank is known beforehand, see `docs/methods.md`.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import torch

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.layers import resolve_layers
from service.core.cams.maps import CAUSES, class_maps
from service.core.cams.methods import METHODS
from service.core.images import from_png
from service.core.preprocessing import to_network_input
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery
from service.flows.services import open_services
from service.settings import Settings
from service.store import runs

HEAVY = ("ss-cam", "is-cam")
HEAVY_TARGETS = ("unit", "softmax")
NOT_COUNTED = ("cam", "grad-cam")  # no such head; conventional and proposed are its two
LAST = 50

Counts = dict[str, dict[str, dict[str, int]]]
"""By recipe, explanation and cause; `total` among the causes."""


def explanations(heavy: bool) -> list[str]:
    """Every method with each target that can be named without a class."""
    texts = ["conventional", "proposed"]
    texts += [f"grad-cam/{target}" for target in ("output", "log-softmax", "centred", "margin")]
    for name, method in METHODS.items():
        if name in (*texts, *NOT_COUNTED) or (name in HEAVY) != heavy:
            continue
        targets = [target for target in method.targets if target != "contrast"]
        if heavy:
            targets = [target for target in targets if target in HEAVY_TARGETS]
        texts += [f"{name}/{target}" for target in targets] or [name]
    return [text for text in texts if (text.split("/")[0] in HEAVY) == heavy]


def survey(
    pipeline: MapPipeline, run_id: int, texts: list[str], step: int
) -> dict[str, dict[str, int]]:
    """Causes by explanation, over the run's probes for their own labels."""
    query = MapQuery(run_id, "proposed")
    (probes,), selection = pipeline.resolver.resolve_probe_series([query], f"{step}:{LAST}:{step}")
    run = probes[0].run
    by_layer: dict[str, list[str]] = {}
    for text in texts:
        layer = resolve_layers(METHODS[text.split("/")[0]], None, run.layers)
        by_layer.setdefault(layer, []).append(text)
    counts: dict[str, Counter[str]] = {text: Counter() for text in texts}
    for epoch in selection.epochs:
        network = pipeline.computer.network(epoch, run)
        for subject in probes:
            image = to_network_input(from_png(subject.image.png).unsqueeze(0))
            for layer, layer_texts in by_layer.items():
                maps = class_maps(network, image, layer, layer_texts, [subject.class_index])
                for text in layer_texts:
                    counts[text][
                        maps.class_map(text, 0, subject.class_index).blank_cause().value
                    ] += 1
        print(f"run {run_id}, epoch {epoch.epoch}", flush=True)
    return {text: {"total": sum(counts[text].values()), **counts[text]} for text in texts}


def markdown(counts: Counts, step: int) -> str:
    """The table: blank maps and, where there are any, how many of them for which cause."""
    recipes = list(counts)
    maps = next(iter(counts[recipes[0]].values()))["total"]
    lines = [
        f"Blank maps at threshold {DEFAULT_EPSILON:g} of {maps} maps per cell: 10 digits, each for "
        f"its own class, epochs {step} to {LAST}"
        + (f", every {step}th" if step > 1 else "")
        + ". s: saturated, n: all-negative, d: dead, f: not finite.",
        "",
        "| method | " + " | ".join(recipes) + " |",
        "|---|" + "---:|" * len(recipes),
    ]
    for text in counts[recipes[0]]:
        cells = [_cell(counts[recipe][text]) for recipe in recipes]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(causes: dict[str, int]) -> str:
    letters = dict(zip(CAUSES, "sndf", strict=True))
    causes_text = [
        f"{causes[cause]} {letter}" for cause, letter in letters.items() if causes.get(cause)
    ]
    blank = sum(causes.get(cause, 0) for cause in letters)
    return f"{blank} ({', '.join(causes_text)})" if blank else "**0**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what `camreel paper --out` wrote")
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("--heavy", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    services = open_services(Settings(state_dir=arguments.folder))
    with services.store.read_session() as session:
        run_rows = runs.list_newest(session, limit=200)
    step = 5 if arguments.heavy else 1
    counts: Counts = {}
    for run in sorted(run_rows, key=lambda run: run.id):
        recipe = run.spec["tags"][1]
        counts[recipe] = survey(services.pipeline, run.id, explanations(arguments.heavy), step)
        arguments.out.mkdir(parents=True, exist_ok=True)
        name = "blanks-heavy" if arguments.heavy else "blanks"
        (arguments.out / f"{name}.json").write_text(json.dumps(counts, indent=1) + "\n")
        (arguments.out / f"{name}.md").write_text(markdown(counts, step))


if __name__ == "__main__":
    main()
