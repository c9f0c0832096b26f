"""What workers are forked from: it has imported what they need, and nothing that bears no fork."""

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
    """What a job finds in its process."""
    found = [name for name in (*WORKER_IMPORTS, "torch._dynamo") if name in sys.modules]
    import torch  # not by this module: a worker imports it to find the job

    told = {
        "imported": found,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "cuda_is_lost": torch.cuda._is_in_bad_fork(),
    }
    file.with_suffix(".part").write_text(json.dumps(told))
    file.with_suffix(".part").rename(file)


# A process of its own: here, the one to fork from may have been started by another test.
SCRIPT = f"""
import sys, threading
from pathlib import Path
from service.flows.worker import WORKER_IMPORTS
from service.jobs import EXECUTORS, Task
from test_jobs_preload import describe_worker

executor = EXECUTORS["processes"](1, WORKER_IMPORTS)
for file in sys.argv[1:]:
    ended = threading.Event()
    executor.submit(Task(describe_worker, (Path(file),), lambda _: ended.set()))
    assert ended.wait({SECONDS})
executor.close()
"""


@pytest.mark.torture
def test_workers_find_all_imported_and_can_still_use_cuda(tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    started = time.time()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)],
        env=script_environment(__file__),
        timeout=SECONDS * 2,
        check=True,
    )
    for file in files:
        assert json.loads(file.read_text()) == {
            "imported": [*WORKER_IMPORTS, "torch._dynamo"],
            "threads": 3,  # the job's, one that watches the parent, one that writes the log
            "cuda_is_lost": False,
        }
    first, second = (file.stat().st_mtime for file in files)
    assert second - first < first - started
