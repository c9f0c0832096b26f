"""Scripts that a test runs in a process of its own."""

import os
from pathlib import Path


def script_environment(test_file: str) -> dict[str, str]:
    """In which a script finds the modules of the test's folder, by their own names, and ours."""
    folders = [Path(test_file).parent, Path(__file__).parents[1]]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
