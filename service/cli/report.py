"""The report of a run as an HTML file."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from service.cli.terminal import print_line
from service.core.cams.methods import PAPER_METHODS
from service.files import check_output, write_file
from service.flows.services import open_services
from service.report.document import ReportQuery, run_report
from service.report.languages import parse_language
from service.settings import Settings


def report(
    settings: Settings,
    run: int,
    epochs: str,
    methods: Sequence[str],
    language: str,
    output: Path | None,
) -> None:
    """Write the report; by default to `run-<id>-report.html`."""
    query = ReportQuery(run, methods or PAPER_METHODS, epochs, parse_language(language))
    path = output or Path(f"run-{run}-report.html")
    check_output(path)
    services = open_services(settings)
    with closing(services.pipeline):
        content = run_report(services.pictures, query).compute().value
    write_file(path, content)
    print_line(f"{path}: {len(content):,} bytes")
