"""Runs npm in web/ on the Node of its wheel: `python -m scripts.npm run lint`."""

import sys
from pathlib import Path

from hatch_build import install_packages, npm

WEB = Path(__file__).parents[1] / "web"


def main() -> None:
    install_packages(WEB)
    sys.exit(npm(sys.argv[1:], WEB).returncode)


if __name__ == "__main__":
    main()
