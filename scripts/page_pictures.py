"""Take the pictures of docs/page.md in Chromium, of two runs that a service has.

    camreel serve                 # with a run of the empty spec, and one of ReLU hidden units
    python -m scripts.page_pictures http://127.0.0.1:8000 1 2 docs/pictures

An epoch, an image and a method each are named in the addresses below.
"""

import argparse
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from benchmarks.chromium import chromium

COLOURS = 256
SETTLED_MS = 500


@dataclass(frozen=True)
class View:
    """One picture: an address in terms of the two runs, and the browser that looks at it."""

    address: str
    width: int
    height: int
    dark: bool = False
    locale: str = "en-GB"


VIEWS = {
    "page-start": View("/app", 1400, 400),
    "page-run": View("/app/runs/{paper}?epoch=62&image=test:2", 1400, 1000),
    "page-signed-dark": View(
        "/app/runs/{paper}?a=layer-integrated-gradients/centered&b=hires-cam/centered"
        "&style=signed&scale=strip&image=test:4&epoch=30",
        1400,
        1000,
        dark=True,
    ),
    "page-classes": View(
        "/app/runs/{paper}?show=b&rows=classes&style=heatmap&colors=cividis&image=test:1&epoch=80",
        1400,
        860,
        locale="ja-JP",
    ),
    "page-compare": View(
        "/app/compare?runs={paper},{relu}&a=layer-integrated-gradients/centered&style=heatmap"
        "&epoch=12",
        1400,
        900,
    ),
    "page-phone": View("/app/runs/{paper}?show=b&epoch=62&image=test:2", 390, 844),
}


def take_picture(page: Page, address: str) -> Image.Image:
    """What the page shows when nothing of it is on its way any more."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
    page.wait_for_timeout(SETTLED_MS)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", help="address of a service")
    parser.add_argument("paper", type=int, help="number of the paper's run")
    parser.add_argument("relu", type=int, help="number of the run to compare it with")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    arguments = parser.parse_args()
    with chromium() as browser:
        for name, view in VIEWS.items():
            context = browser.new_context(
                base_url=arguments.service,
                viewport={"width": view.width, "height": view.height},
                color_scheme="dark" if view.dark else "light",
                locale=view.locale,
            )
            address = view.address.format(paper=arguments.paper, relu=arguments.relu)
            picture = take_picture(context.new_page(), address)
            # A palette makes it a third as large, and is hardly seen.
            picture.quantize(COLOURS, kmeans=3).save(arguments.out / f"{name}.png", optimize=True)
            context.close()


if __name__ == "__main__":
    main()
