"""Options that several commands share, and the settings that they override."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
]
Workers = Annotated[
    int | None,
    # Without bounds here: the message about the setting names both, typer's only one.
    typer.Option(help="Processes that answer requests, 1 to 64. Default: CAMREEL_WORKERS."),
]
StateDir = Annotated[
    Path | None, typer.Option(help="Folder of the database. Default: CAMREEL_STATE_DIR.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the datasets. Default: CAMREEL_DATA_DIR.")
]
EpochCount = Annotated[int, typer.Option(min=1, max=10_000, help="Number of epochs to train.")]
EpochSelector = Annotated[
    str, typer.Option(help="Epochs: 7, 1,5,9 or 1:100:2 (start:stop:step, stop included).")
]
RunId = Annotated[int, typer.Argument(min=1, help="Id of the run.")]
EpochNumber = Annotated[int, typer.Argument(min=0, help="Epoch; 0 is the untrained network.")]
MethodNames = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Method with an optional target, such as layer-cam/centered; repeatable. Default: the "
        "paper's two.",
    ),
]
TestImageCount = Annotated[
    int | None, typer.Option(help="Use the first N test images. Default: the run's probe images.")
]


def load_settings(**options: Any) -> Any:
    """The settings of the environment, overridden by the options that are not None.

    Exits with a one-line message if a setting is invalid.
    """
    from pydantic import ValidationError

    from service.field_errors import field_errors
    from service.names import sanitize_line
    from service.settings import Settings

    try:
        return Settings(**{key: value for key, value in options.items() if value is not None})
    except ValidationError as error:
        first_error = field_errors(error.errors(), Settings.model_json_schema())[0]
        name = first_error.field.replace(".", "_").upper()
        sys.exit(f"camreel: CAMREEL_{name}: {sanitize_line(first_error.message)}")
    except UnicodeDecodeError:
        sys.exit("camreel: .env: is not UTF-8 text")
    except OSError as error:
        sys.exit(f"camreel: .env: {error.strerror}")
