"""The OpenAPI schema of the API."""

import json
from pathlib import Path

from service.app import create_app
from service.files import check_output, write_file
from service.settings import Settings


def write_openapi(output: Path) -> None:
    """Write the schema as served at `/openapi.json`."""
    check_output(output)
    text = json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False)
    write_file(output, f"{text}\n".encode())
