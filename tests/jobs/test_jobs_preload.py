"""The fork server of workers: it has imported their modules, and none that cannot be forked."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.flows.worker import WORKER_IMPORTS
from tests.script_environment import script_environment

SECONDS = 60.0


def describe_worker(file: Path) -> None:
    """Writes imported modules, threads and the state of CUDA of the worker process to a file."""
    imported = [name for name in (*WORKER_IMPORTS, "torch._dynamo") if name in sys.modules]
    import torch  # here, because the worker imports this module

    description = {
        "imported": imported,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "cuda_is_lost": torch.cuda._is_in_bad_fork(),
    }
    file.with_suffix(".part").write_text(json.dumps(description))
    file.with_suffix(".part").rename(file)


# In a new process, because in this one another test may have started the fork server.
SCRIPT = f"""
import sys, threading
from pathlib import Path
from service.flows.worker import WORKER_IMPORTS
from service.jobs import EXECUTORS, Task
from test_jobs_preload import describe_worker

executor = EXECUTORS["processes"](1, WORKER_IMPORTS)
for file in sys.argv[1:]:
    finished = threading.Event()
    executor.submit(Task(describe_worker, (Path(file),), lambda _: finished.set()))
    assert finished.wait({SECONDS})
executor.close()
"""


@pytest.mark.torture
def test_workers_have_all_modules_imported_and_can_use_cuda(tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    start = time.time()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)],
        env=script_environment(__file__),
        timeout=SECONDS * 2,
        check=True,
    )
    for file in files:
        assert json.loads(file.read_text()) == {
            "imported": [*WORKER_IMPORTS, "torch._dynamo"],
            "threads": 3,  # the job, the watch of the parent, and the writer of the log
            "cuda_is_lost": False,
        }
    first, second = (file.stat().st_mtime for file in files)
    assert second - first < first - start
