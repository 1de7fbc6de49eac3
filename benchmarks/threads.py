"""What threads cost on cores that others use too: python -m benchmarks.threads

Trains digits in a process of its own with PyTorch's own choice of threads, with threads that sleep
while they wait for each other, and with one thread; each alone, and beside a program that keeps a
core busy. Prints, and writes with --out, images per second, medians of runs in turn.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cli
from benchmarks.flags import add_number, add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import alternate, median
from record import RunRecord

ROOT = Path(__file__).parents[1]
KINDS = {
    "as it is": {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
_OURS = {name for settings in KINDS.values() for name in settings}


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Within this, another program computes all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def speed(settings: dict[str, str], share: float, place: Path) -> float:
    """Images per second of training, the median of two epochs, with these settings of threads."""
    flags = {"dataset": "digits", "mod_scheme": "LL-R", "num_epochs": 2, "early_stop_drop": 100,
             "ss_frac_train": share, "ss_frac_val": 0.2, "save_path": place,
             "exp_name": "run"}  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    usual = {name: value for name, value in os.environ.items() if name not in _OURS}
    subprocess.run([sys.executable, "main.py", "--overwrite", *words], cwd=ROOT, check=True,
                   env={**usual, **settings}, stdout=subprocess.DEVNULL)  # fmt: skip
    return statistics.median(row["images_per_s"] for row in RunRecord(place / "run").read_metrics())


def measure(pairs: int, share: float) -> dict[str, dict[str, float]]:
    """Images per second, alone and beside a busy program, by settings of threads."""
    with tempfile.TemporaryDirectory(prefix="threads-") as place:
        runs = {kind: partial(speed, own, share, Path(place)) for kind, own in KINDS.items()}
        alone = alternate(runs, pairs)
        with busy_core():
            beside = alternate(runs, pairs)
    return {
        kind: {"alone": median(alone[kind]), "beside_a_busy_program": median(beside[kind])}
        for kind in KINDS
    }


def main(argv: Sequence[str]) -> None:
    """Measure how fast digits train by settings of threads, on idle and on busy cores."""
    parser = cli.Parser(prog="python -m benchmarks.threads", description=main.__doc__)
    add_number(parser, "--share", "of the training images", 0.3, 0.01, 1, float)
    add_pairs(parser, pairs=3)
    add_out(parser)
    args = parser.parse_args(argv)
    result: dict[str, Any] = {"pairs": args.pairs, "images_per_s": measure(args.pairs, args.share)}
    publish(result, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
