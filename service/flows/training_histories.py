"""The recorded training of a run, as the rules of training faults take it."""

from service.core.insight.epoch_insight import EpochInsight
from service.core.insight.mistakes import Mistakes
from service.core.insight.training_history import DivergedSteps, HistoryEpoch, TrainingHistory
from service.core.recorded_spec import RecordedSpec, parse_spec
from service.flows.divergence import has_diverged
from service.flows.epoch_insights import from_stored
from service.store import divergences, epoch_insights, epochs, runs
from service.store.store import Store


def load_training_history(store: Store, run_id: int) -> TrainingHistory:
    """The history of a run, whatever its status. Raises RunNotFound.

    What earlier versions and recorders did not record is missing, and the rules say so.
    """
    with store.read_session() as session:
        run = runs.get(session, run_id)
        epoch_rows = epochs.list_epochs(session, run_id)
        documents = dict(epoch_insights.list_documents(session, run_id))
        steps = divergences.get(session, run_id)
        last_epoch = max(documents, default=None)
        last_row = None
        if last_epoch is not None:
            last_row = epoch_insights.get(session, run_id, last_epoch)
        first = epoch_insights.get(session, run_id, 0) if 0 in documents else None
    last_insight = None if last_row is None else from_stored(last_row)
    first_insight = None if first is None else from_stored(first)
    spec = parse_spec(run.spec)
    if isinstance(spec, RecordedSpec):
        class_count, dropout = len(spec.class_names), 0.0
    else:
        class_count = len(spec.source.class_names)
        dropout = float(getattr(spec.architecture, "dropout", 0.0))
    return TrainingHistory(
        class_count=class_count,
        epochs=[
            HistoryEpoch(
                epoch=row.epoch,
                train_loss=row.metrics.train_loss,
                train_accuracy=row.metrics.train_accuracy,
                test_loss=row.metrics.test_loss,
                test_accuracy=row.metrics.test_accuracy,
                per_class_accuracy=row.metrics.per_class_accuracy,
                values=documents.get(row.epoch, {}).get("values", {}),
            )
            for row in epoch_rows
        ],
        has_diverged=has_diverged(run),
        diverged_steps=None
        if steps is None
        else DivergedSteps(steps.epoch, steps.losses, steps.gradient_norms),
        dropout=dropout,
        facts=None if first_insight is None else first_insight.facts,
        hardest=last_insight.hardest if last_insight else (),
        mistakes=_mistakes_of_last_epoch(last_insight, epoch_rows[-1].epoch if epoch_rows else -1),
    )


def _mistakes_of_last_epoch(insight: EpochInsight | None, epoch: int) -> Mistakes | None:
    return insight.mistakes if insight is not None and insight.epoch == epoch else None
