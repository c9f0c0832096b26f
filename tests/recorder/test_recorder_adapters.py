"""Adapters of Lightning and transformers, where these are installed.

pip install lightning transformers accelerate
"""

import copy

import pytest
import torch
from fastapi.testclient import TestClient
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.recorder.conftest import (
    FaultyTransport,
    assert_equal_weights,
    new_network,
    new_sender,
    stored_weights,
)
from tests.recorder.test_recorder_neutrality import assert_equal_bits

EPOCHS = 2


def examples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(12, 3, 8, 8, generator=generator)
    return TensorDataset(images, torch.arange(12) % 3)


def assert_recorded(client, transport, recorder, weights, metrics) -> None:
    """The epochs in the service have those weights, and at least those metrics."""
    new_sender(recorder, transport).send_pending()
    for epoch, network in enumerate(weights):
        assert_equal_weights(stored_weights(client, 1, epoch), network)
        stored_metrics = client.get(f"/runs/1/epochs/{epoch}").json()["metrics"]
        assert {name: stored_metrics[name] for name in metrics[epoch]} == metrics[epoch]
    assert client.get("/runs/1").json()["epochs_done"] == len(weights) - 1


# Lightning


@pytest.fixture
def lightning():
    return pytest.importorskip("lightning", reason="needs lightning")


def fit(lightning, tmp_path, callbacks, *, fail_in_epoch: int | None = None):
    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = new_network()
            self.copies: list[nn.Module] = []

        def forward(self, images):
            return self.network(images)

        def training_step(self, batch, index):
            if self.current_epoch == fail_in_epoch:
                raise ValueError("boom")
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("train_loss", float(self.current_epoch), on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch, index):
            self.log("val_loss", 10.0 + self.current_epoch)

        def on_train_epoch_end(self) -> None:
            self.copies.append(copy.deepcopy(self.network))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    lightning.seed_everything(0)
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=callbacks,
    )
    loader = DataLoader(examples(), batch_size=4)
    trainer.fit(module, loader, loader)
    return module, trainer


def lightning_callback(tmp_path, probes):
    from camreel.adapters.lightning import RecorderCallback

    return RecorderCallback(
        probes=probes, network=lambda module: module.network, spool=tmp_path / "spools", strict=True
    )


def test_lightning_epochs_have_their_own_metrics_and_weights(
    lightning, tmp_path, probes, client: TestClient, transport: FaultyTransport
) -> None:
    callback = lightning_callback(tmp_path, probes)
    module, trainer = fit(lightning, tmp_path, [callback])
    metrics = [{"train_loss": float(e), "test_loss": 10.0 + e} for e in range(EPOCHS)]
    assert_recorded(client, transport, callback.recorder, module.copies, metrics)
    assert client.get("/runs/1").json()["status"] == "succeeded"
    module_alone, trainer_alone = fit(lightning, tmp_path, [])
    assert_equal_bits(dict(module.state_dict()), dict(module_alone.state_dict()))
    assert_equal_bits(trainer.optimizers[0].state_dict(), trainer_alone.optimizers[0].state_dict())


def test_lightning_run_fails_with_its_training(
    lightning, tmp_path, probes, client: TestClient, transport: FaultyTransport
) -> None:
    callback = lightning_callback(tmp_path, probes)
    with pytest.raises(ValueError, match="boom"):
        fit(lightning, tmp_path, [callback], fail_in_epoch=1)
    new_sender(callback.recorder, transport).send_pending()
    run = client.get("/runs/1").json()
    assert (run["status"], run["epochs_done"]) == ("failed", 0)
    assert run["error"]["detail"] == "ValueError: boom"


# transformers


@pytest.fixture
def transformers(monkeypatch):
    pytest.importorskip("accelerate", reason="needs accelerate")
    library = pytest.importorskip("transformers", reason="needs transformers")
    # The folder tests/datasets is importable under the name of the library `datasets`.
    monkeypatch.setattr("transformers.trainer.is_datasets_available", lambda: False)
    return library


class HuggingFaceNetwork(nn.Module):
    """Returns loss and logits as the networks of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = new_network()

    def forward(self, pixel_values, labels=None):
        logits = self.network(pixel_values)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Examples(Dataset):
    def __len__(self) -> int:
        return len(examples())

    def __getitem__(self, index):
        image, label = examples()[index]
        return {"pixel_values": image, "labels": label}


def huggingface_train(transformers, tmp_path, callbacks):
    copies: list[nn.Module] = []

    class Copies(transformers.TrainerCallback):
        def on_epoch_end(self, args, state, control, **values) -> None:
            copies.append(copy.deepcopy(values["model"].network))

    torch.manual_seed(0)
    model = HuggingFaceNetwork()
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=4,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        logging_steps=1,
        use_cpu=True,
        seed=0,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=Examples(),
        eval_dataset=Examples(),
        callbacks=[*callbacks, Copies()],
    )
    trainer.train()
    return trainer, copies


def test_huggingface_evaluations_reach_their_own_epoch(
    transformers, tmp_path, probes, client: TestClient, transport: FaultyTransport
) -> None:
    from camreel.adapters.huggingface import RecorderCallback

    callback = RecorderCallback(probes=probes, spool=tmp_path / "spools", strict=True)
    with callback:
        trainer, copies = huggingface_train(transformers, tmp_path, [callback])
    evaluations = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
    new_sender(callback.recorder, transport).send_pending()
    assert client.get("/runs/1").json()["status"] == "succeeded"
    for epoch in range(EPOCHS):
        stored = client.get(f"/runs/1/epochs/{epoch}").json()
        assert stored["metrics"]["test_loss"] == evaluations[epoch]
        weights = stored_weights(client, 1, epoch)
        assert_equal_weights(
            {name.removeprefix("network."): tensor for name, tensor in weights.items()},
            copies[epoch],
        )
    steps = client.get("/runs/1/steps").json()["items"]
    assert len(steps[0]["metrics"]["loss"]) == 3
    trainer_alone, _ = huggingface_train(transformers, tmp_path, [])
    assert_equal_bits(dict(trainer.model.state_dict()), dict(trainer_alone.model.state_dict()))
