"""What commands import: no web framework without a server, no torch for a usage error."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.script_environment import script_environment

MISSPELT = """
import sys
from service.cli import main
sys.argv = ["camreel", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    heavy = {"torch", "fastapi", "sqlalchemy"} & set(sys.modules)
    assert not heavy, heavy
    sys.exit(ended.code)
"""


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in script_environment(__file__).items()
        if not name.startswith("CAMREEL_")
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_only_commands_with_a_server_import_fastapi(tmp_path: Path) -> None:
    script = Path(__file__).with_name("imports_script.py")
    process = run_script(tmp_path, str(script))
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cam", "1", "1", "--mehtod", "proposed"], "No such option: --mehtod"),
        (["cam", "--mehtod", "x"], "No such option: --mehtod"),
        (["evaluate", "1", "1", "--sed", "1"], "No such option: --sed"),
        (["trian"], "No such command 'trian'"),
        (["cam", "1", "-1"], "-1"),
    ],
)
def test_usage_error_is_reported_before_torch_is_imported(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    process = run_script(tmp_path, "-c", MISSPELT, *arguments)
    assert process.returncode == 2, process.stdout + process.stderr
    assert message in process.stderr
    assert list(tmp_path.iterdir()) == []
