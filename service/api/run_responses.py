"""Runs as the API shows them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.api.services import ApiServices
from service.core.recorded_spec import RecordedSpec, parse_spec
from service.core.spec import RunSpec
from service.flows.environment import reasons_not_reproducible
from service.flows.run_activity import RunActivity
from service.flows.summaries import RunSummary
from service.store.run_status import RunPhase, RunSource, RunStatus
from service.store.runs import Run, RunProgress


class RunErrorResponse(BaseModel):
    """Why a run failed."""

    model_config = ConfigDict(from_attributes=True)

    type: str = Field(
        description="Error code: diverged, oom, disk_full, dataset_unavailable, "
        "weights_unavailable, device_unavailable, image_gone, worker_killed, worker_died, "
        "worker_lost, checkpoint_corrupt, store_busy, error."
    )
    detail: str = Field(description="Description of the error.")


class ProgressResponse(BaseModel):
    """Progress of the epoch that is being trained, and what the run does now."""

    images_seen: int
    images_total: int = Field(description="0 for a recorded run, like `test_images_total`.")
    test_images_total: int = Field(description="Images that each epoch is evaluated on.")
    phase: RunPhase | None = Field(
        description="What the worker does now, as of its last heartbeat; null without a worker. "
        "A queued run is `starting` while its worker process starts."
    )
    queue_position: int | None = Field(
        description="Number of runs that wait for a worker and were queued no later than this "
        "one: 1 for the next to start; null if it does not wait."
    )
    seconds_per_epoch: float | None = Field(
        description="While running: the median of the last 5 epochs, recording included; null "
        "before epoch 1 is recorded."
    )


class BlankTotalResponse(BaseModel):
    """Numbers of maps, and of blank maps at the default threshold."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    blank: int


class SummaryResponse(BaseModel):
    """Results of the run so far."""

    model_config = ConfigDict(from_attributes=True)

    test_accuracy: list[float] = Field(
        description="At most 40 evenly spaced epochs, from epoch 0 to the last one."
    )
    blank: dict[str, BlankTotalResponse] = Field(
        description="By method, for the paper's methods: maps of the probes from epoch 1 on, for "
        "each probe's label, at the default layer."
    )


class OriginResponse(BaseModel):
    """Origin of an imported run."""

    run_id: int = Field(description="Run id in the original installation.")
    camreel: str = Field(description="Camreel version that exported the run.")
    exported_at: datetime
    imported_at: datetime


class EnvironmentResponse(BaseModel):
    """What determines the results bit for bit, besides settings and data."""

    torch: str
    numpy: str
    threads: int = Field(description="Threads of torch; a resumed run uses the same number.")
    device: str = Field(description="`cpu`, or the name of the GPU.")
    cpu_capability: str = Field(
        description="Instruction set of torch's kernels, for example `AVX512`."
    )
    processor: str = Field(description="Model of the processor; empty if unknown.")
    machine: str = Field(description="Machine architecture, for example `x86_64`.")
    deterministic: bool = Field(
        description="Whether equal environments give bit-identical results."
    )
    math_variables: dict[str, str] = Field(
        description="Environment variables that affect arithmetic, if set."
    )


class RunResponse(BaseModel):
    """The state of a run."""

    id: int
    name: str
    tags: list[str]
    notes: str
    experiment_id: int | None = Field(
        description="The experiment that the run belongs to; null for a single run."
    )
    source: RunSource = Field(
        description="`trained` by the service, or `recorded` while it is trained elsewhere."
    )
    status: RunStatus = Field(
        description="`lost`: the recorder of a recorded run sends no heartbeats; the run continues "
        "with the next one."
    )
    epochs_done: int = Field(description="The last complete epoch; -1 before epoch 0 is stored.")
    epochs_total: int = Field(
        description="Of a recorded run: as announced, or else the last complete epoch."
    )
    progress: ProgressResponse
    spec: RunSpec | None = Field(description="Settings of the training; null for a recorded run.")
    recording: RecordedSpec | None = Field(
        description="What the recorder has said about the run; null for a trained run."
    )
    error: RunErrorResponse | None
    summary: SummaryResponse
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    origin: OriginResponse | None = Field(description="Origin, if the run was imported.")
    environment: EnvironmentResponse | None = Field(
        description="Environment in which training started; null before that, and for runs of "
        "older versions."
    )
    reproducible: bool = Field(
        description="Whether the same settings in the same environment give the same bits."
    )
    irreproducible_reasons: list[str] = Field(
        description="Reasons if not, for example a change of the environment."
    )
    last_event: int = Field(
        ge=0,
        description="Number of the newest event. `GET /runs/{run_id}/events?after=` with it "
        "continues from there.",
    )


class NewRunResponse(RunResponse):
    """A run that was just created."""

    lease: str | None = Field(
        description="Of a recorded run: the value of `Camreel-Lease` in the recorder's requests."
    )


def run_response(services: ApiServices, run: Run) -> RunResponse:
    """The run as a response."""
    (response,) = run_responses(services, [run])
    return response


def past_run_response(services: ApiServices, run: Run) -> RunResponse:
    """The run as it was at an event, without an activity: that is of now."""
    (summary,) = services.summaries.get([run])
    return _run_response(run, summary, RunActivity())


def run_responses(services: ApiServices, run_rows: list[Run]) -> list[RunResponse]:
    """Each run as the API shows it."""
    activities = services.activities.get({run.id: RunProgress.from_run(run) for run in run_rows})
    summaries = services.summaries.get(run_rows)
    return [
        _run_response(run, summary, activities[run.id])
        for run, summary in zip(run_rows, summaries, strict=True)
    ]


def _run_response(run: Run, summary: RunSummary, activity: RunActivity) -> RunResponse:
    values: dict[str, Any] = vars(run)
    parsed = parse_spec(run.spec)
    spec = None if isinstance(parsed, RecordedSpec) else parsed
    progress = ProgressResponse(
        images_seen=run.images_seen,
        images_total=spec.samples_per_epoch if spec else 0,
        test_images_total=spec.source.test_size if spec else 0,
        **vars(activity),
    )
    error = RunErrorResponse.model_validate(run.error) if run.error else None
    reasons = reasons_not_reproducible(run)
    derived_values: dict[str, Any] = {"spec": spec, "progress": progress, "error": error}
    derived_values |= {
        "source": run.source,
        "recording": parsed if isinstance(parsed, RecordedSpec) else None,
        "summary": summary,
        "reproducible": not reasons,
        "irreproducible_reasons": reasons,
    }
    return RunResponse.model_validate(values | derived_values)
