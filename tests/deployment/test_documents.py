"""README and docs agree with the code."""

import json
import re
from pathlib import Path
from statistics import fmean

from service.core.cams.methods import METHODS, RECOMMENDED
from service.core.cams.targets import TARGETS
from service.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]


def test_every_method_and_target_is_described_with_a_picture() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    names = re.findall(r"^## .*: `(.+)`$", text, re.MULTILINE)
    assert names == list(METHODS)
    for name in METHODS:
        if name != "cam":  # needs global average pooling, which the paper's network does not have
            assert f"(methods/{name}.png)" in text
            assert (ROOT / "docs" / "methods" / f"{name}.png").exists()
    for name, target in TARGETS.items():
        assert f"| `{name}` | `{target.formula}` |" in text


def test_the_recommended_method_has_no_blank_map_in_the_survey() -> None:
    recipes = json.loads((ROOT / "docs" / "methods" / "blanks.json").read_text())
    assert len(recipes) == 5
    for counts_by_method in recipes.values():
        counts = counts_by_method[f"{RECOMMENDED}/{METHODS[RECOMMENDED].targets[0]}"]
        assert counts == {"total": 500, "none": 500}


def test_the_recommended_method_finds_the_right_quarter() -> None:
    """In docs/methods/truth.json, on digits and on mosaics of photos."""
    tasks = json.loads((ROOT / "docs" / "methods" / "truth.json").read_text())
    assert len(tasks) == 3
    for results in tasks.values():
        mean, random = (fmean(results[name]["values"]) for name in (RECOMMENDED, "random"))
        assert mean > max(0.25, random) + 0.15


def test_readme_lists_every_setting() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in Settings.model_fields:
        assert f"`CAMREEL_{name.upper()}`" in text


def test_links_between_documents_resolve() -> None:
    for document in DOCUMENTS:
        if document.name == "introduction.md":  # included in docs/methods.md
            continue
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).resolve().is_relative_to(ROOT), link
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_tests_named_in_the_guarantees_exist() -> None:
    for document, folder in (("SECURITY.md", ROOT), ("docs/reliability.md", ROOT / "tests")):
        text = (ROOT / document).read_text(encoding="utf-8")
        for path, test in re.findall(r"`([a-z_/]+\.py)(?:::(test_\w+))?", text):
            assert (folder / path).exists(), f"{document}: {path}"
            assert f"def {test}" in (folder / path).read_text(encoding="utf-8"), test
        for test in re.findall(r"…::(test_\w+)", text):
            sources = (folder / "tests" if folder == ROOT else folder).rglob("test_*.py")
            assert any(f"def {test}" in path.read_text(encoding="utf-8") for path in sources), test
