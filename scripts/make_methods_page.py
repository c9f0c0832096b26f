"""Write docs/methods.md from the table of methods: formula, source, cost, blanks, a picture.

    python scripts/make_methods_page.py paper docs      # after blank_survey.py and faithfulness.py

The words above the methods are in docs/methods/introduction.md; the counts in docs/methods/*.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from service.core.cams.method import AttributionLevel, Method
from service.core.cams.methods import METHODS, MethodSpec
from service.core.cams.targets import TARGETS
from service.errors import InvalidValue
from service.flows.maps.pictures import MapPictures, Rendering
from service.flows.maps.request import MapQuery
from service.flows.maps.scales import ScaleName
from service.flows.services import open_services
from service.settings import Settings
from service.store import runs

RECIPE = "adadelta-relu"
EPOCHS = "1,2,5,10,20,30,40,50"
IMAGE = "test:0"  # a 7
CELL_PIXELS = 64


def section(name: str, method: Method, blanks: dict[str, dict[str, dict[str, int]]]) -> str:
    """One method."""
    parameters = method.parameters.model_json_schema().get("properties", {})
    parameters = [
        f"`{key}` (default {field['default']}): {field['description']}"
        for key, field in parameters.items()
    ]
    locations = {
        AttributionLevel.LAYER: "a layer",
        AttributionLevel.INPUT: "the image's pixels",
        AttributionLevel.MULTI_LAYER: "several layers",
    }[method.attribution_level]
    lines = [
        f"## {method.title}: `{name}`",
        "",
        f"{method.description}",
        "",
        f"`{method.formula}`. {method.source} ({method.year}). Explains {locations}; cost: "
        f"{method.cost}. "
        + (
            "Targets: " + ", ".join(f"`{target}`" for target in method.targets) + "."
            if method.targets
            else "Class-agnostic."
        ),
    ]
    lines += ["", "Parameters: " + " ".join(parameters)] if parameters else []
    lines += ["", f"Blank maps per recipe: {blank_words(name, method, blanks)}"]
    return "\n".join(lines)


def blank_words(name: str, method: Method, blanks: dict[str, dict[str, dict[str, int]]]) -> str:
    """Of how many maps, by target, over the recipes."""
    sentences = []
    for target in [t for t in method.targets if t != "contrast"] or [""]:
        text = f"{name}/{target}" if target else name
        text = {"grad-cam/unit": "proposed", "grad-cam/softmax": "conventional"}.get(text, text)
        keys = (text, name) if len(method.targets) <= 1 else (text,)
        counts = [by[key] for by in blanks.values() for key in keys if key in by]
        if not counts:
            continue
        visible = [count["total"] - count.get("none", 0) for count in counts]
        total = sum(count["total"] for count in counts)
        span = (
            f"{min(visible)} to {max(visible)}" if min(visible) != max(visible) else str(visible[0])
        )
        sentences.append(f"{target or 'all classes'} {span}" + f" of {total // len(counts)}")
    return (
        "; ".join(sentences) + "."
        if sentences
        else "not counted, because this network has no such map."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what `camreel paper --out` wrote")
    parser.add_argument("docs", type=Path)
    arguments = parser.parse_args()
    folder = arguments.docs / "methods"
    blanks: dict[str, dict[str, dict[str, int]]] = {}
    for file in ("blanks.json", "blanks-heavy.json"):
        if (folder / file).exists():
            for recipe, counts in json.loads((folder / file).read_text()).items():
                blanks.setdefault(recipe, {}).update(counts)
    services = open_services(Settings(state_dir=arguments.folder))
    with services.store.read_session() as session:
        run = runs.list_newest(session, limit=1, tag=RECIPE)[0]
    parts = [(folder / "introduction.md").read_text().rstrip()]
    for name, method in METHODS.items():
        parts.append(section(name, method, blanks))
        picture = draw(services.pictures, run.id, name)
        if picture is not None:
            (folder / f"{name}.png").write_bytes(picture)
            parts.append(f"![{method.title} over the epochs]({folder.name}/{name}.png)")
    parts.append(target_table())
    (arguments.docs / "methods.md").write_text("\n\n".join(parts) + "\n")


def target_table() -> str:
    """All targets."""
    lines = ["## Targets", "", "| target | score | shift-invariant | |", "|---|---|---|---|"]
    for target in TARGETS.values():
        invariance = "yes" if target.is_shift_invariant else "no"
        lines.append(
            f"| `{target.name}` | `{target.formula}` | {invariance} | {target.description} |"
        )
    return "\n".join(lines)


def draw(pictures: MapPictures, run_id: int, name: str) -> bytes | None:
    """One image over the epochs; None where the network's head has no such map."""
    query = replace(MapQuery.of_method(run_id, MethodSpec.parse(name)), image=IMAGE)
    try:
        return (
            pictures.strip(query, EPOCHS, Rendering(scale=ScaleName.MAP, size=CELL_PIXELS))
            .compute()
            .value.content
        )
    except InvalidValue:
        return None


if __name__ == "__main__":
    main()
