"""Trainings in processes of their own: several ranks, and SIGKILL of training and service."""

import logging
import random
import time
from pathlib import Path

import pytest
import torch
from camreel.spool import Spool
from safetensors.torch import load_file

from tests.conftest import Service
from tests.recorder.conftest import assert_equal_weights, change_weights, stored_weights
from tests.recorder.distributed import train_in_two_processes
from tests.recorder.trainer import camreel_spools, network_after, training

log = logging.getLogger(__name__)


def kill_in_turns(root: Path, kills: int, seed: int, url: str | None = None) -> int:
    """Kill trainers after random numbers of epochs; the last epoch that was acknowledged."""
    rng = random.Random(seed)
    last_epoch = -1
    for kill in range(kills):
        with training(root, 10_000, url) as trainer:
            trainer.wait_for(last_epoch + 1 + rng.randrange(4))
            time.sleep(rng.uniform(0, 0.02))
            acknowledged = trainer.kill()
        assert acknowledged > last_epoch
        last_epoch = acknowledged
        log.info("kill %d after epoch %d", kill, last_epoch)
    return last_epoch


def check_spool(folder: Path, last_epoch: int) -> None:
    """All acknowledged epochs are in the folder, bit for bit."""
    epochs = Spool(folder).pending_epochs()
    # One more may be complete and not acknowledged.
    indices = [epoch.index for epoch in epochs]
    assert indices in (list(range(last_epoch + 1)), list(range(last_epoch + 2)))
    network = network_after(-1)
    for epoch in epochs:
        change_weights(network, epoch.index)
        assert_equal_weights(load_file(epoch.path), network)


def test_distributed_training_is_not_changed_and_recorded_once(tmp_path: Path) -> None:
    assert train_in_two_processes(tmp_path) == [0, 0]
    (folder,) = camreel_spools(tmp_path / "spools")
    assert [record.number for record in Spool(folder).records()] == [0, 1]


def test_no_acknowledged_epoch_is_lost_with_the_training(tmp_path: Path) -> None:
    last_epoch = kill_in_turns(tmp_path / "spools", kills=1, seed=0)
    (folder,) = camreel_spools(tmp_path / "spools")
    check_spool(folder, last_epoch)


@pytest.mark.torture
def test_no_acknowledged_epoch_is_lost_in_thirty_kills(tmp_path: Path) -> None:
    last_epoch = kill_in_turns(tmp_path / "spools", kills=30, seed=1)
    check_spool(camreel_spools(tmp_path / "spools")[0], last_epoch)


def kill_service_and_training(root: Path, service: Service, kills: int, seed: int) -> None:
    """Kill both in turns while a run is recorded; then everything is in the service."""
    rng = random.Random(seed)
    port = service.http.base_url.port
    url = str(service.http.base_url)
    epochs = 25 * kills
    last_epoch = -1
    for kill in range(kills):
        with training(root, epochs, url) as trainer:
            trainer.wait_for(min(epochs - 1, last_epoch + 1 + rng.randrange(3)))
            time.sleep(rng.uniform(0, 0.5))
            service.kill()
            time.sleep(rng.uniform(0, 0.2))
            last_epoch = max(last_epoch, trainer.kill() if trainer.is_alive else epochs - 1)
        log.info("kill %d of both after epoch %d", kill, last_epoch)
        service.launch(port)
        service.connect()
    with training(root, epochs, url) as trainer:
        trainer.join()
    spool = Spool(camreel_spools(root)[0])
    assert spool.is_done()
    runs = service.http.get("/runs").json()["items"]
    assert [(run["status"], run["epochs_done"]) for run in runs] == [("succeeded", epochs - 1)]
    for epoch in range(epochs):
        weights = stored_weights(service.http, runs[0]["id"], epoch)
        assert_equal_weights(weights, network_after(epoch))
        assert service.http.get(f"/runs/{runs[0]['id']}/epochs/{epoch}").json()["metrics"] == {
            "loss": epoch / 7
        }


@pytest.fixture
def service(tmp_path: Path):
    (tmp_path / "state").mkdir()
    service = Service(tmp_path / "state", {"CAMREEL_EXECUTOR": "inline"})
    service.start()
    yield service
    service.http.close()
    service.kill()


def test_no_acknowledged_epoch_is_lost_with_the_service(tmp_path: Path, service: Service) -> None:
    torch.set_num_threads(1)
    kill_service_and_training(tmp_path / "spools", service, kills=1, seed=0)


@pytest.mark.torture
def test_no_acknowledged_epoch_is_lost_in_many_kills(tmp_path: Path, service: Service) -> None:
    torch.set_num_threads(1)
    kill_service_and_training(tmp_path / "spools", service, kills=20, seed=1)
