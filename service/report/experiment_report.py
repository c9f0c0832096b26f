"""The report of an experiment as Markdown: the best setting and why, and what is noise."""

from collections.abc import Iterator, Mapping, Sequence

from service.core.experiments.marginals import Marginal, NoiseSource
from service.core.experiments.measures import RUN_MEASURES, Direction
from service.core.experiments.plan import ExperimentPlan
from service.core.experiments.settings import describe_setting
from service.counts import Count
from service.flows.experiment_results import (
    BestSetting,
    ExperimentRun,
    SettingComparison,
    find_measure,
)
from service.flows.experiments import parse_plan
from service.report.experiment_matrix import COLUMN_TITLES, format_group, format_measure
from service.store.experiments import Experiment

SOURCES = {
    NoiseSource.SEEDS: "the pooled spread between runs that differ in their seed alone",
    NoiseSource.SETTINGS: "the spread between settings with the same value, which differ in the "
    "other fields too",
}
MAX_LISTED_SETTINGS = 10
MEASURES_OF_MARGINALS = [
    name for name, measure in RUN_MEASURES.items() if measure.direction is not Direction.NEITHER
]


def experiment_report(
    experiment: Experiment,
    rows: Sequence[ExperimentRun],
    comparison: SettingComparison,
    measure: str,
    matrix_file: str | None = None,
) -> str:
    """Markdown. `measure` is the one by which the best setting is named.

    `matrix_file` is the address of the matrix' picture. Raises UnknownName for another measure.
    """
    find_measure(measure)
    plan = parse_plan(experiment)
    parts = [
        f"# {experiment.name or f'Experiment {experiment.id}'}",
        *([experiment.notes] if experiment.notes else []),
        _plan_text(plan, rows),
        "## Best setting",
        _best_text(comparison, measure),
        "## Marginal means",
        _band_text(comparison),
        *_marginal_tables(comparison),
        *(["## Matrix", f"![Mean maps by value and epoch]({matrix_file})"] if matrix_file else []),
        "## Runs",
        _run_table(plan, rows),
    ]
    return "\n\n".join(parts) + "\n"


def _plan_text(plan: ExperimentPlan, rows: Sequence[ExperimentRun]) -> str:
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row.run.status.value] = statuses.get(row.run.status.value, 0) + 1
    counts = ", ".join(f"{number} {status}" for status, number in statuses.items())
    lines = [
        f"{Count(plan.setting_count):setting|settings} with "
        f"{Count(len(plan.seeds)):seed|seeds} each: {Count(len(rows)):run|runs} ({counts})."
    ]
    for path, values in plan.fields.items():
        bounds = values.values or values.uniform or values.log_uniform or []
        kind = "log-uniform in" if values.log_uniform else "uniform in" if values.uniform else "of"
        lines.append(f"- `{path}`: {kind} {', '.join(map(format_group, bounds))}")
    return "\n".join([lines[0], "", *lines[1:]])


def _best_text(comparison: SettingComparison, measure: str) -> str:
    best = comparison.best.get(measure)
    if best is None:
        return "No run has succeeded yet, or the runs have no epoch in common."
    sentences = [
        f"**{describe_setting(best.setting)}** has the best mean `{measure}`: "
        f"{format_measure(best.mean)} over {Count(len(best.run_ids)):run|runs} "
        f"({', '.join(f'run {run_id}' for run_id in best.run_ids)})."
    ]
    if reasons := "\n".join(_reasons(comparison, measure)):
        sentences.append(reasons)
    sentences.append(_indistinguishable_text(best))
    sentences.append(
        "The setting was chosen by the same runs that the figure is from, so the figure is "
        "optimistic: confirm it with further seeds."
    )
    return "\n\n".join(sentences)


def _reasons(comparison: SettingComparison, measure: str) -> Iterator[str]:
    """A sentence per field: what its best value gains, and whether that is more than noise."""
    for path, marginals in comparison.marginals.items():
        marginal = marginals.get(measure)
        if marginal is None or len(marginal.means) < 2:
            continue
        is_higher = RUN_MEASURES[measure].direction is Direction.HIGHER
        order = sorted(
            range(len(marginal.means)),
            key=lambda index: marginal.means[index].mean,
            reverse=is_higher,
        )
        first, last = marginal.means[order[0]], marginal.means[order[-1]]
        differing = {
            index: comparison_of_pair.is_noise
            for comparison_of_pair in marginal.comparisons
            for index in (comparison_of_pair.first, comparison_of_pair.second)
            if order[0] in (comparison_of_pair.first, comparison_of_pair.second)
            and index != order[0]
        }
        noise = [format_group(marginal.means[i].value) for i, noise in differing.items() if noise]
        beyond = [
            format_group(marginal.means[i].value)
            for i, noise in differing.items()
            if noise is False
        ]
        sentence = (
            f"- `{path}`: {format_group(first.value)} has the best marginal mean, "
            f"{format_measure(first.mean)}, against {format_measure(last.mean)} of "
            f"{format_group(last.value)}."
        )
        if beyond:
            sentence += f" The difference is larger than noise for {', '.join(beyond)}."
        if noise:
            sentence += f" It is noise for {', '.join(noise)}."
        yield sentence


def _indistinguishable_text(best: BestSetting) -> str:
    if best.indistinguishable is None:
        return (
            "Each setting has one run, so it is not known which differences between settings are "
            "noise: add seeds."
        )
    if not best.indistinguishable:
        return "Its difference from every other setting is larger than noise."
    texts = [describe_setting(setting) for setting in best.indistinguishable]
    hidden_count = len(texts) - MAX_LISTED_SETTINGS
    return (
        f"Its difference from {Count(len(texts)):other setting|other settings} is noise: "
        + "; ".join(texts[:MAX_LISTED_SETTINGS])
        + (f"; and {hidden_count} more" if hidden_count > 0 else "")
        + "."
    )


def _band_text(comparison: SettingComparison) -> str:
    if comparison.column is None:
        return "There is nothing to compare yet."
    column = f"{COLUMN_TITLES[comparison.alignment]} {comparison.column.value:,.6g}"
    sources = {
        marginal.noise.source
        for marginals in comparison.marginals.values()
        for marginal in marginals.values()
        if marginal.noise is not None
    }
    noise = " and ".join(SOURCES[source] for source in sorted(sources))
    return f"At {column}, over {Count(comparison.run_count):run|runs} that succeeded. " + (
        "The band is the largest difference of two values that is noise, from "
        f"{noise} (95 %, with Bonferroni's correction for the pairs of values; "
        "`docs/experiments.md` has the formula). Each pair has a band of its own, the tables show "
        "the largest; `≈` marks values whose difference from the best one is noise."
        if noise
        else "Noise is not known: it takes two seeds or more."
    )


def _marginal_tables(comparison: SettingComparison) -> Iterator[str]:
    for path, marginals in comparison.marginals.items():
        names = [name for name in MEASURES_OF_MARGINALS if name in marginals]
        if names:
            yield f"### `{path}`\n\n" + _marginal_table(path, marginals, names)


def _marginal_table(path: str, marginals: Mapping[str, Marginal], names: Sequence[str]) -> str:
    table = [[path, "runs", *names]]
    rows = marginals[names[0]].means
    for index, row in enumerate(rows):
        cells = [_cell(marginals[name], index, name) for name in names]
        table.append([format_group(row.value), str(row.runs), *cells])
    bands = [max((c.band or 0 for c in marginals[n].comparisons), default=0.0) for n in names]
    table.append(["noise band", "", *(format_measure(band or None) for band in bands)])
    return _markdown_table(table)


def _cell(marginal: Marginal, index: int, name: str) -> str:
    """The mean; bold for the best, `≈` where the difference from the best is noise."""
    if index >= len(marginal.means):
        return "-"
    text = format_measure(marginal.means[index].mean)
    choose = max if RUN_MEASURES[name].direction is Direction.HIGHER else min
    best = choose(range(len(marginal.means)), key=lambda i: marginal.means[i].mean)
    if index == best:
        return f"**{text}**"
    pair = {best, index}
    noise = next(c.is_noise for c in marginal.comparisons if {c.first, c.second} == pair)
    return f"{text} ≈" if noise else text


def _run_table(plan: ExperimentPlan, rows: Sequence[ExperimentRun]) -> str:
    table = [["run", *plan.paths, "seed", "status", *RUN_MEASURES]]
    for row in rows:
        setting = [format_group(row.setting[path]) for path in plan.paths]
        values = [format_measure(value) for value in row.values().values()]
        table.append([str(row.run.id), *setting, str(row.seed), row.run.status.value, *values])
    return _markdown_table(table)


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *body])
