"""What `--audit labels` costs beside the means that every run keeps: python -m benchmarks.audit

Trains digits by LL-R with and without it, in turn, a process a run. Prints, and writes with --out,
the median seconds of an epoch of both, the ratio pair by pair, and the bytes that are kept.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cli
from benchmarks.linear_sweep import train
from benchmarks.output import add_out, publish
from folder import HISTORY
from record import RunRecord

KINDS = {"means": (), "labels": ("--audit", "labels")}


def measure(pairs: int, epochs: int, more: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds of an epoch, medians of the pairs' medians, the pairs' ratio, and bytes an epoch."""
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(prefix="audit-") as place:
        for _ in range(pairs):
            for kind, flags in KINDS.items():
                train(Path(place), "LL-R", 2.5, (*flags, "--num_epochs", str(epochs), *more))
                rows = RunRecord(Path(place) / "run").read_metrics()
                seconds[kind].append(statistics.median(row["seconds"] for row in rows))
        kept = [path.stat().st_size for path in Path(place, "run", HISTORY).iterdir()]
    ratios = [b / a for a, b in zip(seconds["means"], seconds["labels"], strict=True)]
    return {
        "pairs": pairs,
        "epochs": epochs,
        "seconds": {kind: round(statistics.median(values), 3) for kind, values in seconds.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "bytes_an_epoch": round(statistics.mean(kept)),
    }


def main(argv: Sequence[str]) -> None:
    """Measure what it costs to keep every label's loss, on digits."""
    parser = cli.Parser(prog="python -m benchmarks.audit", description=main.__doc__)
    parser.add_argument("--pairs", type=cli.number(int, 1), default=5, help="(%(default)s)")
    parser.add_argument("--epochs", type=cli.number(int, 1), default=4, help="(%(default)s)")
    add_out(parser)
    args = parser.parse_args(argv)
    publish(measure(args.pairs, args.epochs), args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
