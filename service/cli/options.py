"""Options that several commands share, and the settings that they change."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
]
State = Annotated[Path | None, typer.Option(help="State folder (CAMREEL_STATE_DIR).")]
Data = Annotated[Path | None, typer.Option(help="Datasets (CAMREEL_DATA_DIR).")]
Epochs = Annotated[int, typer.Option(min=1, max=10_000, help="Epochs to train.")]
RunArgument = Annotated[int, typer.Argument(min=1, help="The run's id.")]


def settings_with(**given: Any) -> Any:
    """The settings, with the options given on the command line in place of the environment's."""
    from pydantic import ValidationError

    from service.names import sanitize_line
    from service.settings import Settings

    try:
        return Settings(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        sys.exit(f"camreel: CAMREEL_{name}: {sanitize_line(first['msg'])}")
    except UnicodeDecodeError:
        sys.exit("camreel: .env: it is not text in UTF-8")
    except OSError as error:
        sys.exit(f"camreel: .env: {error.strerror}")
