"""The command that prints what the stored results of a run say."""

from typing import Annotated

import typer

from service.cli.options import DataDir, RunId, StateDir, load_settings

findings = typer.Typer()  # its command is a top-level command


@findings.command("findings")
def list_findings(
    run: RunId,
    language: Annotated[str, typer.Option(help="en or ja.")] = "en",
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="First compute the exchange test of the last epoch if missing."
        ),
    ] = False,
    state_dir: StateDir = None,
    data_dir: DataDir = None,
) -> None:
    """Print the findings of a run, with evidence and with what would refute them."""
    from service.cli.finding_list import print_findings

    print_findings(load_settings(state_dir=state_dir, data_dir=data_dir), run, language, test)
