"""The environment for scripts that a test runs in a separate process."""

import os
from pathlib import Path


def script_environment(test_file: str) -> dict[str, str]:
    """This process's environment, with the test's folder and the repository on PYTHONPATH."""
    folders = [Path(test_file).parent, Path(__file__).parents[1]]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
