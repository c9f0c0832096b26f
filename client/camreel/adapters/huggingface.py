"""A recorder as a callback of transformers: `Trainer(callbacks=[RecorderCallback(probes=images)])`.

transformers tells callbacks nothing of exceptions: `with callback: trainer.train()` ends the run as
failed or cancelled; otherwise it is lost.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from camreel.adapters.metric_names import DEFAULT_NAMES, renamed
from camreel.recorder import Recorder


class RecorderCallback(TrainerCallback):
    """Records each epoch; the metrics of its evaluation follow. Logs become step metrics.

    `options` are those of `camreel.Recorder`.
    """

    def __init__(
        self, *, probes: Any, metric_names: Mapping[str, str] = DEFAULT_NAMES, **options: Any
    ) -> None:
        self._probes = probes
        self._metric_names = metric_names
        self._options = options
        self._last_number: int | None = None
        self._late_names: set[str] = set()
        self.recorder: Recorder | None = None
        """The recorder of the training in progress, or of the last one; None on other ranks."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **values: Any,
    ) -> None:
        """Begin the run."""
        if state.is_world_process_zero:
            self.recorder = Recorder(values["model"], probes=self._probes, **self._options)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """Keep what is logged within an epoch."""
        # Evaluations are logged too, and belong to their epoch.
        if self.recorder is not None and logs and "loss" in logs:
            self.recorder.step(**renamed(logs, self._metric_names))

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **values: Any,
    ) -> None:
        """Record the weights. Epochs are counted: `state.epoch` may be a fraction."""
        if self.recorder is not None:
            self._last_number = self.recorder.epoch()
            self._late_names = set()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """Add the metrics of the evaluation to the epoch that it follows, the first time."""
        if self.recorder is None or self._last_number is None or not metrics:
            return
        late_metrics = renamed(metrics, self._metric_names)
        late_metrics.pop("epoch", None)
        late_metrics = {n: v for n, v in late_metrics.items() if n not in self._late_names}
        self._late_names |= late_metrics.keys()
        self.recorder.metrics(self._last_number, **late_metrics)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **values: Any,
    ) -> None:
        """End the run as succeeded, and wait until it is sent."""
        if self.recorder is not None:
            self.recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self.recorder is not None:
            self.recorder.fail(error)
