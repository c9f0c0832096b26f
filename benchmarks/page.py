"""The page in real Chromium: opening a run, scrubbing, memory, and epochs that land meanwhile.

Two runs of 100 epochs are trained on real MNIST, one of 10 probes, one of 100. What the training
gives does not matter here, so epochs are short and networks narrow: maps are of the same size.
Chromium draws without a GPU, as the machines that run this have none.
"""

import itertools
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page

from benchmarks.chromium import chromium
from benchmarks.mnist_folder import mnist_folder
from benchmarks.report import Figure, Report
from benchmarks.server import CAMREEL, serve, settings
from benchmarks.timing import Target

EPOCHS, QUICK_EPOCHS = 100, 6
SAMPLES_PER_EPOCH = 200
FRAMES, QUICK_FRAMES = 600, 60
LANDED_EPOCHS = 12
LATE_MS = 25.0  # one and a half frames of a screen of 60 Hz
FEW_PROBES, MANY_PROBES = 1, 10  # a class
TIMEOUT_MS = 60_000
LEFT_ALONE_MS = 1_500

WATCH_UNTIL_WHOLE = """
() => {
  let picture = null; // that the inputs beside the rows are parts of
  const pictured = () => {
    const inputs = [...document.querySelectorAll(".thumbnail")];
    const urls = inputs.map((one) => one.style.backgroundImage);
    if (!urls.length || urls.includes("")) return false;
    picture ??= Object.assign(new Image(), { src: urls[0].slice(5, -2) });
    return picture.complete && picture.naturalWidth > 0;
  };
  const whole = () => {
    const reel = document.querySelector(".reel-section");
    const canvases = [...document.querySelectorAll(".previews canvas")];
    return reel?.getAttribute("aria-busy") === "false"
      && document.querySelectorAll(".reel-label").length > 0
      && document.querySelectorAll(".scores .figure").length > 0
      && document.querySelectorAll(".curve canvas").length === 5
      && [...document.querySelectorAll(".curve [role=img]")].every(
        (curve) => /\\d/.test(curve.ariaLabel))
      && canvases.length === 4
      && pictured();
  };
  // Two frames more: what the last answer changed is painted in the next. By a timer until then:
  // to ask for frames would make the browser draw some that nobody needs.
  const look = () => whole()
    ? requestAnimationFrame(() => requestAnimationFrame(() => (window.wholeAt = performance.now())))
    : setTimeout(look, 8);
  look();
}
"""

SCRUB = """
(frames) => new Promise((done) => {
  const input = document.querySelector(".scrubber input");
  const last = Number(input.max);
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const intervals = [];
  const work = [];
  let before = null;
  let at = 0;
  // Its message comes when the frame's callbacks, layout and painting are done.
  const after = new MessageChannel();
  let began = 0;
  after.port1.onmessage = () => work.push(performance.now() - began);
  const frame = (now) => {
    if (before !== null) intervals.push(now - before);
    before = now;
    began = performance.now();
    after.port2.postMessage(null);
    at += 1;
    const place = at % (2 * last);
    set.call(input, String(place <= last ? place : 2 * last - place));
    input.dispatchEvent(new Event("input", { bubbles: true }));
    if (intervals.length < frames) requestAnimationFrame(frame);
    else done({ intervals, work });
  };
  requestAnimationFrame(frame);
})
"""

NOTE_EPOCHS = """
() => {
  window.landed = {};
  let known = -1;
  const look = () => {
    const last = Number(document.querySelector(".scrubber input")?.max ?? -1);
    const reel = document.querySelector(".reel-section");
    if (last > known && reel?.getAttribute("aria-busy") === "false") {
      known = last;
      requestAnimationFrame(() => (window.landed[last] = Date.now()));
    }
    requestAnimationFrame(look);
  };
  look();
}
"""


def run(rounds: int, quick: bool) -> Report:
    epochs = QUICK_EPOCHS if quick else EPOCHS
    with tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as name:
        folder = Path(name)
        short_run, long_run = 1, 2  # the numbers of the runs in the new database
        _train(folder, epochs, FEW_PROBES)
        _train(folder, epochs, MANY_PROBES)
        with chromium() as browser:
            loads = [_open_page(browser, folder, short_run) for _ in range(rounds)]
            with serve(folder, CAMREEL_DATA_DIR=str(mnist_folder())) as address:
                frames = _scrubbed(browser, f"{address}/app/runs/{long_run}", quick)
                heaps = [_heap_growth(browser, address, long_run) for _ in range(rounds)]
                delays = _delays_of_epochs(browser, address)
    intervals, work = frames["intervals"], frames["work"]
    late_count = sum(load > LATE_MS for load in intervals)
    return Report(
        "page",
        f"Chromium on the loopback interface, 1400 x 1000 pixels. Opening: {epochs} epochs of "
        f"{10 * FEW_PROBES} probes by two methods, from the start of the navigation until all "
        f"maps, scores and curves are painted. Scrubbing and memory: {epochs} epochs of "
        f"{10 * MANY_PROBES} probes by two methods, {2 * 10 * MANY_PROBES * (epochs + 1)} maps.",
        [],
        [],
        [
            _figure("opened, cold server", "ms", [load.cold for load in loads], 1000),
            _figure("opened, warm server, empty browser cache", "ms", [o.warm for o in loads], 400),
            _figure(
                "opened again, warm server and browser", "ms", [load.again for load in loads], 400
            ),
            _figure("transferred, page included", "MB", [load.megabytes for load in loads], 1.5),
            _figure("scrubbing, work of a frame, median", "ms", [statistics.median(work)]),
            _figure("scrubbing, work of a frame, 95 %", "ms", [_percentile(work, 95)], 16.7),
            _figure("scrubbing, from frame to frame, 95 %", "ms", [_percentile(intervals, 95)]),
            _figure("scrubbing, frames that came late", "%", [100 * late_count / len(intervals)]),
            _figure("growth of the tab's heap", "MB", heaps, 150),
            _figure("from an epoch's commit to the screen", "ms", delays, 500),
        ],
    )


@dataclass(frozen=True)
class PageLoad:
    """How long a run took to be seen whole, in milliseconds, and what came over the wire."""

    cold: float
    warm: float
    again: float
    megabytes: float


def _open_page(browser: Browser, folder: Path, run_id: int) -> PageLoad:
    with serve(folder, CAMREEL_DATA_DIR=str(mnist_folder())) as address:
        path = f"{address}/app/runs/{run_id}"
        with _tab(browser) as page:
            cold = _milliseconds_until_whole(page, path)
        with _tab(browser) as page:
            warm = _milliseconds_until_whole(page, path)
            again = _milliseconds_until_whole(page, path)
        with _tab(browser) as page:  # one of its own: counting takes time
            transferred = _count_bytes(page)
            _milliseconds_until_whole(page, path)
            megabytes = sum(transferred) / 1e6
    return PageLoad(cold, warm, again, megabytes)


def _milliseconds_until_whole(page: Page, address: str) -> float:
    page.goto(address, wait_until="commit")
    # Not asked before: to answer, the page would first have to read 330 kB of Playwright's own.
    page.wait_for_timeout(LEFT_ALONE_MS)
    page.wait_for_function("() => window.wholeAt")
    return float(page.evaluate("window.wholeAt"))


def _count_bytes(page: Page) -> list[int]:
    """A list that grows by the bytes of each answer, headers included, as they came."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    return sizes


def _scrubbed(browser: Browser, address: str, quick: bool) -> dict[str, list[float]]:
    """Milliseconds of each frame: from one to the next, and what the main thread worked in it."""
    with _tab(browser) as page:
        _milliseconds_until_whole(page, address)
        page.evaluate(SCRUB, QUICK_FRAMES)  # the first pass paints what the others find painted
        frames: dict[str, list[float]] = page.evaluate(SCRUB, QUICK_FRAMES if quick else FRAMES)
    return frames


def _heap_growth(browser: Browser, address: str, run_id: int) -> float:
    """Megabytes that the tab holds more when the run is open than on the list of runs."""
    with _tab(browser) as page:
        page.goto(f"{address}/app")
        page.locator(".runs").wait_for()
        heap_before = _heap(page)
        page.goto(f"{address}/app/runs/{run_id}")
        page.wait_for_function("() => window.wholeAt")
        page.evaluate(SCRUB, QUICK_FRAMES)
        return (_heap(page) - heap_before) / 1e6


def _heap(page: Page) -> float:
    """Bytes of the tab's JavaScript heap and of its buffers, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage: dict[str, Any] = session.send("Runtime.getHeapUsage")
    return float(usage["usedSize"] + usage.get("backingStorageSize", 0))


def _delays_of_epochs(browser: Browser, address: str) -> list[float]:
    """Milliseconds from the moment an epoch's row was written to its maps on the screen."""
    spec = {"dataset": "mnist", "epochs": LANDED_EPOCHS, "samples_per_epoch": SAMPLES_PER_EPOCH}
    with httpx.Client(base_url=address, timeout=60) as client, _tab(browser) as page:
        run_id = client.post("/runs", json=spec).raise_for_status().json()["id"]
        page.goto(f"{address}/app/runs/{run_id}")
        page.evaluate(NOTE_EPOCHS)
        page.locator(".status.succeeded").wait_for()
        page.wait_for_function(f"() => {LANDED_EPOCHS} in window.landed")
        landed: dict[str, float] = page.evaluate("window.landed")
        epoch_items = client.get(f"/runs/{run_id}/epochs").raise_for_status().json()["items"]
    report = {
        epoch["epoch"]: datetime.fromisoformat(epoch["created_at"]).timestamp() * 1000
        for epoch in epoch_items
    }
    # The first ones land while the page itself is still being opened.
    return [landed[str(epoch)] - report[epoch] for epoch in report if str(epoch) in landed][2:]


@contextmanager
def _tab(browser: Browser) -> Iterator[Page]:
    """A tab that knows nothing of the ones before it, in a window that has come to rest."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    context.add_init_script(f"({WATCH_UNTIL_WHOLE})()")
    page = context.new_page()
    # Chromium loads pages of its own for a new window, and takes a core for it.
    page.wait_for_timeout(LEFT_ALONE_MS)
    yield page
    context.close()


def _train(folder: Path, epochs: int, per_class: int) -> None:
    """Train a run in the folder's database."""
    spec = {
        "name": f"{10 * per_class} probes",
        "epochs": epochs,
        "samples_per_epoch": SAMPLES_PER_EPOCH,
        "architecture": {"channels": [8, 16], "hidden_units": 32},
        "probes": {"per_class": per_class},
    }
    changes = (("--set", f"{name}={json.dumps(value)}") for name, value in spec.items())
    subprocess.run(
        [CAMREEL, "train", *itertools.chain.from_iterable(changes)],
        env=settings(folder, CAMREEL_DATA_DIR=str(mnist_folder())),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _figure(name: str, unit: str, values: list[float], at_most: float | None = None) -> Figure:
    return Figure(name, unit, values, None if at_most is None else Target("<=", at_most))


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]
