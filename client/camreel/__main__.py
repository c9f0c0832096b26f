"""`python -m camreel sync|check`: spools, without torch."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from camreel.errors import InvalidSpool, RecorderError, Unavailable
from camreel.spool import Sender, Spool, list_spools
from camreel.spool.background import backoff_seconds
from camreel.spool.http_destination import HttpDestination

DEFAULT_WAIT_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m camreel", description=__doc__)
    commands = parser.add_subparsers(required=True)
    sync = commands.add_parser("sync", help="send spools to a service")
    sync.add_argument("spools", nargs="+", type=Path, help="spool, or folder of spools")
    sync.add_argument("--url", default=os.environ.get("CAMREEL_URL"), help="default: CAMREEL_URL")
    sync.add_argument(
        "--wait",
        type=float,
        default=DEFAULT_WAIT_SECONDS,
        metavar="SECONDS",
        help="how long to try again while the service does not answer; default: %(default)s",
    )
    sync.set_defaults(run=_sync)
    check = commands.add_parser("check", help="verify spools, and show what they contain")
    check.add_argument("spools", nargs="+", type=Path, help="spool, or folder of spools")
    check.set_defaults(run=_check)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (RecorderError, ValueError) as error:
        sys.stderr.write(f"camreel: {error}\n")
        return 1


def _sync(options: argparse.Namespace) -> int:
    if not options.url:
        raise ValueError("--url: give the service's address, or set CAMREEL_URL")
    destination = HttpDestination(options.url, os.environ.get("CAMREEL_TOKEN"))
    for folder in _folders(options.spools):
        spool = Spool(folder)
        spool.sender_lock.acquire()
        try:
            _send(Sender(spool, destination), options.wait)
        finally:
            spool.sender_lock.release()
        service = spool.service() or {}
        _print(f"{folder}: all sent to {destination.name}/runs/{service.get('run_id')}")
    return 0


def _send(sender: Sender, wait_seconds: float) -> None:
    """Send a spool; while the service is unavailable, try again for that time."""
    deadline = time.monotonic() + wait_seconds
    failures = 0
    while True:
        try:
            sender.send_pending()
        except Unavailable as error:
            failures += 1
            delay_seconds = backoff_seconds(failures, error.retry_after_seconds)
            if time.monotonic() + delay_seconds > deadline:
                raise
            sys.stderr.write(f"camreel: {error}; again in {delay_seconds:.1f} s\n")
            time.sleep(delay_seconds)
        else:
            return


def _check(options: argparse.Namespace) -> int:
    """Read every file; 1 if one is damaged."""
    damaged_count = 0
    for folder in _folders(options.spools):
        spool = Spool(folder)
        pending_epochs = spool.pending_epochs()
        for epoch in pending_epochs:
            try:
                for tensor in epoch.read().tensors:
                    tensor.sha256()
            except (InvalidSpool, OSError) as error:
                damaged_count += 1
                _print(f"{folder}: {error}")
        end = spool.end()
        state = end["status"] if end else "not ended"
        service = spool.service()
        location = f", run {service['run_id']} of {service['service']}" if service else ""
        count = len(spool.sent_indices()) + len(pending_epochs)
        _print(f"{folder}: {count} epochs, {len(pending_epochs)} to be sent, {state}{location}")
    return int(damaged_count > 0)


def _folders(paths: Sequence[Path]) -> list[Path]:
    folders = []
    for path in paths:
        spools = list_spools(path)
        if not spools:
            raise InvalidSpool(f"{path} is no spool, and contains none")
        folders += spools
    return folders


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
