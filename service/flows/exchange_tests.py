"""Exchange tests of epochs: during training, and on request for runs that have none."""

import time

import structlog

from service.core.datasets.dataset import Dataset
from service.core.images import from_png
from service.core.input import InputSpec
from service.core.insight.exchange import ExchangeGap, pixel_network
from service.core.insight.samples import LabeledSample, sample_training_images, stack_images
from service.core.insight.shortcuts import EXCHANGE_VERSION, ExchangeTest, examine_exchanges
from service.core.models.network import Network
from service.core.models.program_network import explained_network
from service.core.spec import RunSpec
from service.core.training import EpochResult
from service.errors import EpochNotFound
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.resolve import require_usable
from service.store import exchange_tests, map_inputs, run_lifecycle
from service.store.exchange_tests import StoredExchangeTest
from service.store.run_lifecycle import Lease
from service.store.store import Store

MIN_BUDGET_SECONDS = 6.0
TRAINING_SHARE = 0.1
"""Share of the training's time that tests take, or MIN_BUDGET_SECONDS if that is more."""

INTERIM_EPOCHS = 10
"""Every so many epochs, the surroundings alone are tested, for at most half of the time."""

INTERIM_OPERATORS = ("surround",)
MAX_MAP_CLASSES = 100

log = structlog.get_logger()


class ExchangeRecorder:
    """Tests the network during a training, and stores the results.

    A test that fails is logged, and neither ends nor delays the run.
    """

    def __init__(self, store: Store, lease: Lease, spec: RunSpec, data: Dataset) -> None:
        self._store, self._lease, self._spec, self._data = store, lease, spec, data
        self._training_seconds = 0.0
        self._test_seconds = 0.0
        self._sample: LabeledSample | None = None

    def examine(self, result: EpochResult) -> None:
        """Test the network of a recorded epoch if it is the last one or every tenth."""
        self._training_seconds += result.seconds
        is_last = result.epoch == self._spec.epochs
        if result.epoch == 0 or not (is_last or result.epoch % INTERIM_EPOCHS == 0):
            return
        start = time.perf_counter()
        try:
            test = self._test(result, is_last=is_last)
        except (RuntimeError, ValueError, ArithmeticError, MemoryError):
            log.warning("exchange test failed", run=self._lease.run_id, exc_info=True)
            return
        finally:
            self._test_seconds += time.perf_counter() - start
        with self._store.write_session() as session:
            # Under its lease: a worker that has lost it changes nothing.
            if run_lifecycle.update_heartbeat(session, self._lease.run_id, lease=self._lease):
                exchange_tests.add_missing(session, to_stored_test(self._lease.run_id, test))

    def _test(self, result: EpochResult, *, is_last: bool) -> ExchangeTest:
        budget_seconds = max(MIN_BUDGET_SECONDS, TRAINING_SHARE * self._training_seconds)
        if not is_last:
            budget_seconds /= 2
        if self._sample is None:
            self._sample = sample_training_images(self._data, self._spec.seed)
        network = explained_network(result.network, self._spec.source.image_shape)
        was_training = result.network.training
        result.network.eval()
        try:
            return run_exchange_test(
                network,
                self._sample,
                epoch=result.epoch,
                class_count=len(self._data.class_names),
                input_spec=self._spec.input,
                seed=self._spec.seed,
                is_complete=is_last,
                budget_seconds=budget_seconds - self._test_seconds,
            )
        finally:
            result.network.train(was_training)


def run_exchange_test(
    network: Network,
    sample: LabeledSample,
    *,
    epoch: int,
    class_count: int,
    input_spec: InputSpec | None,
    seed: int,
    is_complete: bool = True,
    budget_seconds: float | None = None,
) -> ExchangeTest:
    """The test of an epoch's network in evaluation mode; all operators if it is complete."""
    if not len(sample.images):
        return ExchangeTest(epoch, gap=ExchangeGap.TOO_FEW_IMAGES)
    return examine_exchanges(
        pixel_network(network, input_spec),
        sample.images,
        sample.labels,
        class_count,
        epoch=epoch,
        seed=seed,
        operators=None if is_complete else INTERIM_OPERATORS,
        with_map=is_complete and class_count <= MAX_MAP_CLASSES,
        budget_seconds=budget_seconds,
    )


def exchange_test(pipeline: MapPipeline, run_id: int, epoch: int | None) -> Deferred[ExchangeTest]:
    """The complete test of an epoch, by default the last; computed and stored where it is missing.

    Raises RunNotFound, EpochNotFound, EpochQuarantined, DatasetUnavailable.
    """
    with pipeline.store.read_session() as session:
        if epoch is None:
            spec = map_inputs.get_spec(session, run_id)
            epoch_rows = map_inputs.list_epochs(session, run_id)
            if not epoch_rows:
                raise EpochNotFound(run_id, 0, -1)
            epoch_row = epoch_rows[-1]
        else:
            run_at_epoch = map_inputs.get_run_at_epoch(session, run_id, epoch)
            spec, epoch_row = run_at_epoch.spec, run_at_epoch.epoch
        run = pipeline.runs.describe(lambda: session, run_id, spec)
        stored_test = exchange_tests.get(session, run_id, epoch_row.epoch)
        probes = map_inputs.list_probes(session, run_id)
    identity = identity_of("exchange", EXCHANGE_VERSION, run_id, epoch_row.checkpoint.sha256)

    def make() -> Result[ExchangeTest]:
        if stored_test is not None and is_complete_test(from_stored_test(stored_test)):
            return Result(identity, from_stored_test(stored_test))
        require_usable(epoch_row)
        network = pipeline.networks.load(epoch_row, run.spec)
        if run.spec is None:
            labeled_probes = [probe for probe in probes if probe.label is not None]
            sample = stack_images(
                [from_png(probe.png) for probe in labeled_probes],
                [probe.label for probe in labeled_probes if probe.label is not None],
            )
        else:
            data = pipeline.images.load_images(run.spec)
            sample = sample_training_images(data, run.spec.seed)
        test = run_exchange_test(
            network,
            sample,
            epoch=epoch_row.epoch,
            class_count=len(run.class_names),
            input_spec=run.input_spec,
            seed=0 if run.spec is None else run.spec.seed,
        )
        with pipeline.store.write_session() as session:
            exchange_tests.replace(session, to_stored_test(run_id, test))
        return Result(identity, test)

    return Deferred(identity, make)


def is_complete_test(test: ExchangeTest) -> bool:
    """Whether all operators were tried, as far as the images allow."""
    return test.is_complete and test.gap is not ExchangeGap.OVER_BUDGET


def to_stored_test(run_id: int, test: ExchangeTest) -> StoredExchangeTest:
    """The test as the store has it."""
    return StoredExchangeTest(run_id, test.epoch, test.to_document(), test.exchange_map)


def from_stored_test(test: StoredExchangeTest) -> ExchangeTest:
    """The test of the store."""
    return ExchangeTest.from_document(test.epoch, test.document, test.exchange_map)
