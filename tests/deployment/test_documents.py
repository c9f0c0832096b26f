"""What the documents say of the program is still so."""

import json
import re
from pathlib import Path

from service.core.cams.methods import METHODS, RECOMMENDED
from service.core.cams.targets import TARGETS
from service.settings import Settings

ROOT = Path(__file__).parents[2]


def test_every_method_and_target_is_described_with_a_picture() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    described = re.findall(r"^## .*: `(.+)`$", text, re.MULTILINE)
    assert described == list(METHODS)
    for name in METHODS:
        if name != "cam":  # the paper's network has no such head
            assert f"(methods/{name}.png)" in text
            assert (ROOT / "docs" / "methods" / f"{name}.png").exists()
    for name, target in TARGETS.items():
        assert f"| `{name}` | `{target.formula}` |" in text


def test_the_recommended_method_is_blank_for_none_of_the_counted_maps() -> None:
    counts = json.loads((ROOT / "docs" / "methods" / "blanks.json").read_text())
    assert len(counts) == 5
    for by_explanation in counts.values():
        found = by_explanation[f"{RECOMMENDED}/{METHODS[RECOMMENDED].targets[0]}"]
        assert found == {"total": 500, "none": 500}


def test_every_setting_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`CAMREEL_{name.upper()}`" in text


def test_links_between_documents_lead_somewhere() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
