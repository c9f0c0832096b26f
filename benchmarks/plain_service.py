"""What an engineer writes in an afternoon: FastAPI and pytorch-grad-cam, without Camreel's service.

`/cam` reads the weights for every request, `/cam-in-memory` once. `/bare` answers with bytes that
are there, and `/static` serves a file.
"""

import io
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from service.core import checkpoints
from service.core.datasets import DATASETS
from service.core.preprocessing import to_network_input

FOLDER = Path(os.environ["PLAIN_SERVICE_FOLDER"])  # with `checkpoint` and `cam.png`
IMAGES = to_network_input(DATASETS["digits"].load(FOLDER, False).train.images)
PICTURE = (FOLDER / "cam.png").read_bytes()

torch.set_num_threads(1)
app = FastAPI()
app.mount("/static", StaticFiles(directory=FOLDER))


def read_network() -> nn.Module:
    network, _ = checkpoints.decode((FOLDER / "checkpoint").read_bytes())
    return network.requires_grad_()


network_in_memory = cache(read_network)


def draw(network: nn.Module, index: int) -> Response:
    image = IMAGES[index]
    target = ClassifierOutputTarget(int(network(image[None]).argmax()))
    with GradCAM(network, [network.get_submodule("conv2")]) as cam:
        heat = cam(image[None], [target])[0]
    picture = np.repeat(image[0].numpy()[..., None], 3, axis=2)
    overlay = Image.fromarray(show_cam_on_image(picture, heat, use_rgb=True)).resize((224, 224))
    file = io.BytesIO()
    overlay.save(file, "PNG")
    return Response(file.getvalue(), media_type="image/png")


@app.get("/cam")
def read_cam(index: int) -> Response:
    return draw(read_network(), index)


@app.get("/cam-in-memory")
def read_cam_in_memory(index: int) -> Response:
    return draw(network_in_memory(), index)


@app.get("/bare")
async def read_bare() -> Response:
    return Response(PICTURE, media_type="image/png")
