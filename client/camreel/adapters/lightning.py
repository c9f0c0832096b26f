"""A recorder as a callback of Lightning: `Trainer(callbacks=[RecorderCallback(probes=images)])`."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from camreel.adapters.metric_names import DEFAULT_NAMES, renamed
from camreel.recorder import Recorder


class RecorderCallback(Callback):
    """Records each epoch with the metrics that the module has logged for it.

    `options` are those of `camreel.Recorder`. `network` selects the network within the module, by
    default the module itself, whose `forward` returns the logits.
    """

    def __init__(
        self,
        *,
        probes: Any,
        network: Callable[[LightningModule], nn.Module] = lambda module: module,
        metric_names: Mapping[str, str] = DEFAULT_NAMES,
        **options: Any,
    ) -> None:
        super().__init__()
        self._probes = probes
        self._network = network
        self._metric_names = metric_names
        self._options = options
        self.recorder: Recorder | None = None
        """The recorder of the fit in progress, or of the last one; None on other ranks."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the run."""
        if trainer.is_global_zero:
            self.recorder = Recorder(self._network(pl_module), probes=self._probes, **self._options)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch. Its validation has ended before, and the sanity check is none."""
        if self.recorder is not None:
            metrics = renamed(trainer.callback_metrics, self._metric_names)
            self.recorder.epoch(number=trainer.current_epoch, **metrics)

    def on_exception(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        exception: BaseException,
    ) -> None:
        """End the run as failed or cancelled. After Ctrl-C, Lightning calls no `teardown`."""
        if self.recorder is not None:
            self.recorder.fail(exception)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the run as succeeded, and wait until it is sent."""
        if self.recorder is not None:
            self.recorder.close()
