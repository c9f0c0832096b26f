"""The recorder of a training loop: the network once, then the weights and metrics of each epoch."""

import atexit
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import nn

from camreel.errors import BadEpoch, BadMetric, InvalidSpool, ModelChanged, RecorderError
from camreel.recorder.capacity import SpoolCapacity
from camreel.recorder.metrics import StepMetrics, check_metrics
from camreel.recorder.network import RecordedNetwork, WeightsSource, as_array, as_images
from camreel.recorder.new_runs import create_spool
from camreel.recorder.options import (
    DEFAULT_SPOOL_BYTES,
    RecorderOptions,
    service_token,
    service_url,
    spool_root,
)
from camreel.recorder.problems import Problems
from camreel.recorder.ranks import is_recording_rank
from camreel.recorder.resumption import find_spool
from camreel.recorder.status import RecorderStatus
from camreel.spool import epoch_files
from camreel.spool.background import BackgroundSender
from camreel.spool.files import write_atomically
from camreel.spool.folder import EpochRecord, Spool
from camreel.spool.sender import Sender

CLOSE_SECONDS = 60.0
EXIT_SECONDS = 10.0
LOCK_SECONDS = 1.0
MAX_DETAIL_LENGTH = 2000

log = logging.getLogger("camreel")


class Recorder:
    """Records a training loop. `docs/recorder.md` describes it.

    Failures of the recorder or of the service never reach the training unless `strict`: they are
    logged once and shown in `status`. Not thread-safe. In processes of other ranks than 0, it does
    nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        probes: Any,
        labels: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        name: str = "",
        tags: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        transform: Callable[[Any], Any] | None = None,
        url: str | None = None,
        token: str | None = None,
        spool: str | Path | None = None,
        resume: int | str | Path | None = None,
        every: int = 1,
        weights: Literal["float32", "bfloat16", "float16"] = "float32",
        weights_from: WeightsSource | None = None,
        durable: Literal["process", "power"] = "process",
        on_full: Literal["block", "skip"] = "block",
        spool_bytes: int = DEFAULT_SPOOL_BYTES,
        strict: bool = False,
    ) -> None:
        """Export the network and begin the run, or continue the one of `resume`.

        Raises CannotExport, ConstantWeights, UnsupportedWrapper, RunInUse, ModelChanged (another
        network than that of the run to be resumed), InvalidSpool, and ValueError for options.
        """
        self._options = RecorderOptions(
            labels=labels,
            classes=classes,
            name=name,
            tags=tags,
            config=config or {},
            epochs=epochs,
            mean=mean,
            std=std,
            transform=transform,
            every=every,
            weights=weights,
            durable=durable,
            on_full=on_full,
            spool_bytes=spool_bytes,
            strict=strict,
        )
        self._process_id = os.getpid()
        self._url = service_url(url)
        self._is_active = is_recording_rank()
        self._problems = Problems(is_strict=strict)
        self._clear()
        if self._is_active:
            images = as_images(probes, transform)
            self._network = RecordedNetwork.export(
                model, images, weights=weights, weights_from=weights_from
            )
            self._begin(as_array(images), spool, resume, token)

    def _clear(self) -> None:
        self._steps = StepMetrics()
        self._records: dict[int, EpochRecord] = {}
        self._metric_names: frozenset[str] = frozenset()
        self._calls = 0
        self._skipped_epochs = 0
        self._spool: Spool | None = None
        self._background: BackgroundSender | None = None

    def _begin(
        self,
        probes: Any,
        folder: str | Path | None,
        resume: int | str | Path | None,
        token: str | None,
    ) -> None:
        options = self._options
        if resume is None:
            spool = create_spool(options, self._network.program, probes, spool_root(folder))
        else:
            spool = find_spool(resume, spool_root(folder))
        self._spool = spool
        self._open(spool, is_resumed=resume is not None)
        self._capacity = SpoolCapacity(
            spool, options.spool_bytes, options.on_full, self._problems, self._is_sending
        )
        self._start_sender(spool, service_token(token))
        atexit.register(self._exit)

    # Recording

    def epoch(self, *, number: int | None = None, **metrics: Any) -> int | None:
        """Record the present weights, and what was measured; the epoch's number.

        When it returns, the weights survive the end of the process (`durable="process"`), or a
        loss of power (`"power"`). `number` counts upward, by default from 0 in steps of 1.
        None if the epoch is not recorded: with `every`, with `on_full="skip"`, on other ranks, or
        after an error, which `status` shows. Raises, if `strict`, ModelChanged, BadMetric,
        BadEpoch and SpoolFull.
        """
        if not self._is_active or self._spool is None:
            return None
        steps = self._steps.take()
        self._calls += 1
        chosen_number = self._next_number() if number is None else number
        if (self._calls - 1) % self._options.every:
            self._last_number = chosen_number
            return None
        try:
            return self._record(self._spool, chosen_number, metrics, steps)
        except Exception as error:  # of any type: the training goes on
            self._skipped_epochs += 1
            self._problems.handle(error)
        return None

    def step(self, **metrics: Any) -> None:
        """Keep the metrics of a step: at most 200 points of each in an epoch, evenly thinned.

        They are stored by the next call of `epoch`. Raises, if `strict`, BadMetric.
        """
        if self._is_active:
            self._steps.add(self._checked(metrics))

    def metrics(self, number: int, /, **metrics: Any) -> None:
        """Add metrics to an epoch that is recorded already, each name once.

        Raises, if `strict`, BadMetric and BadEpoch.
        """
        if not self._is_active or self._spool is None:
            return
        try:
            record = self._record_of(number)
            values = self._checked(metrics)
            if repeated_names := sorted(record.metric_names & values.keys()):
                raise BadMetric(f"{repeated_names[0]}: epoch {number} has it already")
            if values:
                self._spool.add_late_metrics(record.index, values)
                names = record.metric_names | values.keys()
                self._records[number] = EpochRecord(record.index, number, names)
                self._wake()
        except (RecorderError, OSError) as error:
            self._problems.handle(error)

    @property
    def status(self) -> RecorderStatus:
        """What has been recorded and sent so far."""
        stored_spool = self._spool
        if stored_spool is None:
            return RecorderStatus(False, None, self._url, None, 0, 0, 0, None)
        service = stored_spool.service() or {}
        return RecorderStatus(
            is_recording=self._is_active,
            spool=stored_spool.folder,
            url=self._url,
            run_id=service.get("run_id"),
            recorded_epochs=len(self._records),
            pending_epochs=len(stored_spool.pending_epochs()),
            skipped_epochs=self._skipped_epochs,
            problem=(self._background.problem if self._background else None)
            or self._problems.current,
        )

    # The end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.close()
        else:
            self.fail(error)

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """End the run as succeeded, and wait until the service has all of it, or for the time.

        What is not sent by then stays in the spool: `python -m camreel sync <spool>` sends it.
        """
        self._end("succeeded", "", timeout_seconds)

    def fail(self, error: BaseException, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """End the run as failed with the error's message, or as cancelled after Ctrl-C."""
        if isinstance(error, KeyboardInterrupt):
            self._end("cancelled", "", timeout_seconds)
            return
        message = "".join(c if c.isprintable() else " " for c in str(error))
        detail = f"{type(error).__name__}: {message}".rstrip(": ")
        self._end("failed", detail[:MAX_DETAIL_LENGTH], timeout_seconds)

    # Details

    def _open(self, stored_spool: Spool, *, is_resumed: bool) -> None:
        # A service that watches the folder takes the lock for a moment.
        stored_spool.recorder_lock.acquire(LOCK_SECONDS)
        try:
            self._check_network(stored_spool)
            stored_spool.delete_temporary_files()
            if is_resumed:
                stored_spool.reopen()
            self._records = {record.number: record for record in stored_spool.records()}
        except BaseException:
            stored_spool.recorder_lock.release()
            raise
        self._last_number = max(self._records, default=-1)

    def _check_network(self, stored_spool: Spool) -> None:
        if stored_spool.program != self._network.program.to_json():
            raise ModelChanged(f"{stored_spool.folder} records another network")

    def _start_sender(self, stored_spool: Spool, token: str | None) -> None:
        if self._url is None:
            return
        from camreel.spool.http_destination import HttpDestination

        destination = HttpDestination(self._url, token)
        stored_spool.sender_lock.acquire(LOCK_SECONDS)
        self._background = BackgroundSender(Sender(stored_spool, destination))
        destination.on_part = self._background.keep_alive
        self._background.start()

    def _record(
        self, stored_spool: Spool, number: int, metrics: Mapping[str, Any], steps: Mapping[str, Any]
    ) -> int | None:
        if number in self._records:
            return self._repeat(stored_spool, number)
        if type(number) is not int or number <= self._last_number:
            raise BadEpoch(f"number: must be after epoch {self._last_number}, not {number}")
        if self._background is not None and self._background.has_ended:
            self._skipped_epochs += 1
            return None
        values = self._checked(metrics)
        index = len(self._records)
        if number != index:
            values.setdefault("epoch", float(number))
        tensors = self._network.tensors()
        forms = self._network.forms(tensors)
        size = sum(form.size_bytes for form in forms.values())
        metadata = {
            "number": str(number),
            "metrics": json.dumps(values),
            "steps": json.dumps(steps),
            "time": repr(time.time()),
        }
        if not self._capacity.wait_for(size):
            self._skipped_epochs += 1
            return None
        write_atomically(
            stored_spool.epoch_path(index),
            lambda file: self._network.write(file, tensors, metadata),
            is_synced=self._options.durable == "power",
        )
        self._records[number] = EpochRecord(index, number, self._shared_names(values))
        self._last_number = number
        self._problems.current = None
        self._wake()
        return number

    def _repeat(self, stored_spool: Spool, number: int) -> int:
        """The same epoch again, as after a resumption from an earlier checkpoint."""
        tensors = self._network.tensors()
        path = stored_spool.folder / "repeated.safetensors"
        write_atomically(path, lambda file: self._network.write(file, tensors, {}))
        try:
            hashes = {t.name: t.sha256() for t in epoch_files.read_header(path).tensors}
        finally:
            path.unlink()
        digest = stored_spool.tensors_digest(self._records[number].index)
        if epoch_files.manifest_digest(hashes) != digest:
            raise BadEpoch(f"epoch {number} is recorded already, with other weights")
        return number

    def _checked(self, metrics: Mapping[str, Any]) -> dict[str, float | None]:
        values, reasons = check_metrics(metrics)
        if reasons:
            self._problems.handle(BadMetric("; ".join(reasons)))
        return values

    def _shared_names(self, metrics: Mapping[str, Any]) -> frozenset[str]:
        """The names of an epoch's metrics: one object for all epochs that have the same."""
        if self._metric_names != metrics.keys():
            self._metric_names = frozenset(metrics)
        return self._metric_names

    def _record_of(self, number: int) -> EpochRecord:
        try:
            return self._records[number]
        except KeyError:
            raise BadEpoch(f"epoch {number} is not recorded") from None

    def _next_number(self) -> int:
        return self._last_number + 1

    def _is_sending(self) -> bool:
        self._wake()
        return self._background is not None and self._background.is_alive

    def _wake(self) -> None:
        if self._background is not None:
            self._background.wake()

    def _end(self, status: str, detail: str, timeout_seconds: float) -> None:
        if self._spool is None or not self._is_active or os.getpid() != self._process_id:
            return
        self._is_active = False
        atexit.unregister(self._exit)
        try:
            self._spool.set_end(status, detail)
            self._stop(timeout_seconds)
        except (OSError, InvalidSpool) as error:
            self._problems.handle(error)
        finally:
            self._release()

    def _stop(self, timeout_seconds: float) -> None:
        if self._background is None or self._spool is None:
            return
        self._background.stop(timeout_seconds)
        if not self._spool.is_done():
            log.warning(
                "camreel: %d epochs are not sent. Run: python -m camreel sync %s",
                len(self._spool.pending_epochs()),
                self._spool.folder,
            )

    def _exit(self) -> None:
        """At the end of a process that has not ended the run: it will be lost, not succeeded."""
        if self._spool is None or not self._is_active or os.getpid() != self._process_id:
            return
        self._is_active = False
        with suppress(Exception):
            if self._background is not None:
                self._background.stop(EXIT_SECONDS)
        self._release()

    def _release(self) -> None:
        if self._spool is not None:
            # A sender that is stuck in a request keeps its lock until the process ends.
            if self._background is None or not self._background.is_alive:
                self._spool.sender_lock.release()
            self._spool.recorder_lock.release()
