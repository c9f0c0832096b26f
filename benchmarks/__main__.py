"""`python -m benchmarks [names...]`: run them, and print their tables as Markdown."""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import (
    epochs,
    fairness,
    faults,
    heads,
    large_heads,
    layers,
    load,
    maps,
    methods,
    page,
    programs,
    recorder,
    recording,
    requests,
    serving,
    shortcuts,
    training,
    truth,
    workers,
)
from benchmarks.report import machine
from benchmarks.timing import ROUNDS

BENCHMARKS = {
    "workers": workers.run,
    "training": training.run,
    "recording": recording.run,
    "maps": maps.run,
    "heads": heads.run,
    "methods": methods.run,
    "requests": requests.run,
    "serving": serving.run,
    "epochs": epochs.run,
    "layers": layers.run,
    "load": load.run,
    "fairness": fairness.run,
    "faults": faults.run,
    "page": page.run,
    "programs": programs.run,
    "large-heads": large_heads.run,
    "shortcuts": shortcuts.run,
    "recorder": recorder.run,
    "truth": truth.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(BENCHMARKS)}: or all")
    parser.add_argument("--rounds", type=int, help=f"turns of each contender; default {ROUNDS}")
    parser.add_argument(
        "--quick", action="store_true", help="little work in 2 rounds: does it run? no figures"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there too")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    rounds = arguments.rounds or (2 if arguments.quick else ROUNDS)

    print(machine(), end="\n\n")
    if arguments.quick:
        print("QUICK: this shows that the benchmarks run; its figures mean nothing.", end="\n\n")
    reports = []
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        reports.append(BENCHMARKS[name](rounds, arguments.quick))
        print(reports[-1].markdown(), flush=True)
    if arguments.json:
        result = {
            "machine": machine(),
            "quick": arguments.quick,
            "benchmarks": [report.as_json() for report in reports],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
