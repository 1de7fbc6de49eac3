"""What a sweep of linear runs costs beside end-to-end runs: python -m benchmarks.linear_sweep

Trains digits with the large-loss schemes at several delta_rel, each end to end (the recipe's 12
epochs) and the head alone (25 epochs on features that the first run leaves for the others), in
turn, as a shell script would: a process a run. Prints, and writes with --out, the seconds of both
sweeps as a user waits for them, and those of the epochs and tests alone, with their ratios.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

import cli
from benchmarks.output import add_out, publish
from record import RunRecord

ROOT = Path(__file__).parents[1]
SCHEMES = ("LL-R", "LL-Ct", "LL-Cp")
DELTAS = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5)
KINDS = {"end_to_end": (), "linear": ("--linear_init", "25", "--num_epochs", "0")}


def points(runs: int) -> Iterator[tuple[str, float]]:
    """Scheme and delta_rel of the first `runs` points of the sweep."""
    return islice(product(SCHEMES, DELTAS), runs)


def train(folder: Path, scheme: str, delta_rel: float, more: Sequence[str]) -> tuple[float, float]:
    """Seconds of a run in a process of its own, and those of its epochs and tests alone."""
    flags = {"mod_scheme": scheme, "delta_rel": delta_rel, "save_path": folder, "exp_name": "run",
             "data_root": folder}  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "main.py", "--dataset", "digits", "--overwrite", *words, *more]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    summary = RunRecord(folder / "run").read_summary()
    assert summary is not None, "a run that ends with status 0 leaves a summary"
    return seconds, summary["seconds"]


def measure(runs: int) -> dict[str, Any]:
    """The seconds of both sweeps and their ratios."""
    waited, trained = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        for scheme, delta_rel in points(runs):
            for kind, more in KINDS.items():
                seconds = train(Path(folder), scheme, delta_rel, more)
                waited[kind] += seconds[0]
                trained[kind] += seconds[1]
    measured = {"seconds": waited, "epochs_and_tests": trained}
    return {
        name: {kind: round(value, 1) for kind, value in seconds.items()}
        | {"ratio": round(seconds["end_to_end"] / seconds["linear"], 2)}
        for name, seconds in measured.items()
    }


def main(argv: Sequence[str]) -> None:
    """Measure a sweep of linear runs beside the same sweep of end-to-end runs, on digits."""
    parser = cli.Parser(prog="python -m benchmarks.linear_sweep", description=main.__doc__)
    most = len(SCHEMES) * len(DELTAS)
    parser.add_argument("--runs", type=cli.number(int, 1, most), default=20,
                        help="of each kind, at most 21 (%(default)s)")  # fmt: skip
    add_out(parser)
    args = parser.parse_args(argv)
    threads = os.environ.get("OMP_NUM_THREADS", "PyTorch's choice")
    result = {"threads": threads, "runs": args.runs, **measure(args.runs)}
    publish(result, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
