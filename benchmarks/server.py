"""A real `camreel serve` for benchmarks, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05
CAMREEL = Path(sys.executable).parent / "camreel"


def settings(folder: Path, **overrides: str) -> dict[str, str]:
    """The environment of a service whose state is in `folder`.

    The settings of whoever calls stay out: neither their database nor their `.env` is touched.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CAMREEL_")}
    return environment | {"CAMREEL_STATE_DIR": str(folder), **overrides}


@contextmanager
def serve(folder: Path, **overrides: str) -> Iterator[str]:
    """`camreel serve` on a state folder; gives its address once it is ready."""
    port = free_port()
    process = subprocess.Popen(
        [CAMREEL, "serve"],
        cwd=folder,
        env=settings(folder, CAMREEL_PORT=str(port), **overrides),
        stdout=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(process, f"{address}/readyz")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the URL is answered with success. Raises SystemExit."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"{url} did not become ready")
