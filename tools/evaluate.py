"""Evaluate the best model of a run again: `python -m tools.evaluate RUN_DIR --split test`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import cli
import stopping
from cli import printable
from tools import loading


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.evaluate", description=main.__doc__)
    parser.add_argument("--split", type=cli.choice("test", "val", "train"), default="test",
                        metavar="{test,val,train}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--per_class", action="store_true", help="print the AP of each class too")
    loading.add_arguments(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Print the mAP of a run's best epoch on its test, val or train images.

    By the true labels, as far as they are known; where none are, what is not annotated counts as
    negative.
    """
    args = _parser().parse_args(argv)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from evaluation import evaluate
        from failures import explained
        from instrumentation import mean_average_precision, mean_of_known
    model, config, data, hardware = run = loading.load(args)
    split = data.splits[args.split]
    with explained(config.bsize, config.image_size, config.num_workers):
        scores = evaluate(model.to(hardware.device), run.loader(split), hardware).numpy()
    mean, ap = mean_average_precision(scores, split.best_known)
    if args.per_class:
        width = max(len(printable(name)) for name in data.classes)
        for name, value in zip(data.classes, ap, strict=True):
            print(f"{printable(name):<{width}} {value:7.3f}")
    for name, columns in data.groups.items():
        print(f"{printable(name)} mAP : {mean_of_known(ap[list(columns)]):.3f}")
    print(f"{args.split.capitalize()} mAP : {mean:.3f} on {len(split):,} images")


if __name__ == "__main__":
    sys.exit(cli.run(main))
