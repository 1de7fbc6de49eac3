"""How long it takes until something happens: python -m benchmarks.startup

Measures fresh processes, in turn: `python main.py --help`, the imports of torch, torchvision and
sklearn alone, and a run of digits until its first training step is taken. Its surplus over the
imports may be below zero: a run imports sklearn once it has predictions to measure.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cli
from benchmarks.flags import add_pairs
from benchmarks.output import add_out, publish
from benchmarks.pairs import alternate, median, seconds_of

ROOT = Path(__file__).parents[1]
IMPORTS = "import torch, torchvision, sklearn"
# main.py, stopped by the first step of an optimizer; without one it would end with status 1
FIRST_STEP = """
import os
import sys

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

def stop(*_):
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    os._exit(0)

register_optimizer_step_post_hook(stop)
import main
main.main(sys.argv[1:])
sys.exit("no step was taken")
"""


def commands(place: Path) -> dict[str, list[str]]:
    """What is measured: the arguments of Python."""
    flags = ["--dataset", "digits", "--save_path", str(place), "--exp_name", "run", "--overwrite"]
    return {
        "help_s": ["main.py", "--help"],
        "imports_s": ["-c", IMPORTS],
        "first_step_s": ["-c", FIRST_STEP, *flags],
    }


def run(arguments: Sequence[str]) -> None:
    """Run Python with these arguments until it ends with status 0."""
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def measure(pairs: int) -> dict[str, Any]:
    """Seconds of each, and how much longer than the imports the first step takes."""
    with tempfile.TemporaryDirectory(prefix="startup-") as place:
        steps = {name: partial(run, words) for name, words in commands(Path(place)).items()}
        for step in steps.values():  # from the disk to memory
            step()
        found = alternate({name: partial(seconds_of, step) for name, step in steps.items()}, pairs)
    both = zip(found["first_step_s"], found["imports_s"], strict=True)
    more = median([first - imports for first, imports in both])
    return {**{name: median(times) for name, times in found.items()},
            "first_step_over_imports_s": more}  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Measure how long a process takes to its help, and to its first training step."""
    parser = cli.Parser(prog="python -m benchmarks.startup", description=main.__doc__)
    add_pairs(parser, pairs=5)
    add_out(parser)
    args = parser.parse_args(argv)
    publish({"pairs": args.pairs, **measure(args.pairs)}, args.out)


if __name__ == "__main__":
    sys.exit(cli.run(main))
