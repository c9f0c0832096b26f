"""Maps of epochs whose networks are not in memory, and a hundred maps in one request.

A new epoch is compared with the least that it takes in the process: reading, verifying and decoding
the checkpoint, one forward pass, and encoding the picture. A hundred maps are compared with as many
requests to the plain service (`benchmarks/plain_service.py`), which reads its weights each time.
"""

import io
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image

from benchmarks.connection import Connection
from benchmarks.report import Report
from benchmarks.requests import train_digits
from benchmarks.server import serve
from benchmarks.serving import serve_plainly
from benchmarks.timing import Contender, Target, Timing, interleaved, mean_seconds, ratio
from service.core.datasets import DATASETS
from service.core.png import encode_png
from service.core.preprocessing import to_network_input
from service.flows.networks import Networks
from service.store import epochs
from service.store.store import open_store

EPOCHS, QUICK_EPOCHS = 300, 110
STRIDE = 7  # between epochs in turn: neighbors are prefetched
REQUESTS, QUICK_REQUESTS = 25, 5  # of a turn, for single maps
MAPS = 100
PLAIN_REQUESTS = 10  # of a turn
SAMPLES_PER_EPOCH = 20


def run(rounds: int, quick: bool) -> Report:
    epoch_count = QUICK_EPOCHS if quick else EPOCHS
    requests = QUICK_REQUESTS if quick else REQUESTS
    rounds = min(rounds, epoch_count // (requests + 1))
    with (
        tempfile.TemporaryDirectory(prefix="camreel-benchmark-") as name,
        serve(Path(name)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        folder = Path(name)
        run_path = train_digits(client, epoch_count, samples_per_epoch=SAMPLES_PER_EPOCH)
        epoch_path = f"{run_path}/epochs/{epoch_count}"
        picture = client.get(f"{epoch_path}/cam").content
        (folder / "checkpoint").write_bytes(client.get(f"{epoch_path}/checkpoint").content)
        (folder / "cam.png").write_bytes(picture)
        with (
            serve_plainly(folder) as plain_address,
            _in_process(folder, picture, requests, epoch_count) as load_and_draw,
        ):
            ours, plain = Connection(address), Connection(plain_address)
            order = itertools.cycle(range(0, epoch_count * STRIDE, STRIDE))
            new_epochs = (number % epoch_count for number in order)
            images, plain_images = itertools.count(100), itertools.count()
            timings = interleaved(
                {
                    "new epoch": mean_seconds(
                        requests, lambda: ours.get(f"{run_path}/epochs/{next(new_epochs)}/cam")
                    ),
                    "in the process": load_and_draw,
                    f"strip of {MAPS} epochs": mean_seconds(
                        1,
                        lambda: ours.get(
                            f"{run_path}/strip?epochs=1:{MAPS}&scale=map&image=train:{next(images)}"
                        ),
                    ),
                    f"strip of {MAPS} of {epoch_count} epochs, scale of all": mean_seconds(
                        1,
                        lambda: ours.get(
                            f"{run_path}/strip?epochs=1:{MAPS}&image=train:{next(images)}"
                        ),
                    ),
                    f"atlas of {MAPS} maps": mean_seconds(
                        1,
                        lambda: ours.get(
                            f"{run_path}/atlas?rows=classes&method=proposed&epochs=1:10"
                            f"&image=train:{next(images)}"
                        ),
                    ),
                    "plain, weights from disk": mean_seconds(
                        PLAIN_REQUESTS, lambda: plain.get(f"/cam?index={next(plain_images) % 1500}")
                    ),
                },
                rounds,
            )
    new, in_process, strip, _, atlas, from_disk = timings.values()
    hundred = Timing(f"{MAPS} plain requests", [MAPS * s for s in from_disk.seconds])
    return Report(
        "epochs",
        f"A run of {epoch_count} epochs; {requests} maps of new epochs a turn, mean of one. Strips "
        "and atlases are of an image that is new each time, with networks in memory; cells of a "
        "strip have 112 x 112 pixels.",
        [*timings.values(), hundred],
        [
            ratio("new epoch / in the process", new, in_process, Target("<=", 1.5)),
            ratio(f"{MAPS} plain requests / strip", hundred, strip, Target(">=", 20)),
            ratio(f"{MAPS} plain requests / atlas", hundred, atlas, Target(">=", 20)),
        ],
    )


@contextmanager
def _in_process(
    folder: Path, picture: bytes, requests: int, epoch_count: int
) -> Iterator[Contender]:
    """Reads, verifies and decodes a checkpoint, runs its network once, and encodes the picture."""
    torch.set_num_threads(1)
    images = to_network_input(DATASETS["digits"].load(folder, False).train.images[:1])
    pixels = np.asarray(Image.open(io.BytesIO(picture)))
    numbers = itertools.cycle(range(epoch_count))
    with open_store(folder / "camreel.db") as store:

        def load_and_draw() -> None:
            with store.read_session() as session:
                epoch = epochs.get(session, 1, next(numbers))
            network = Networks(store).load(epoch)
            with torch.no_grad():
                network(images).softmax(1)
            encode_png(pixels)

        yield mean_seconds(requests, load_and_draw)
