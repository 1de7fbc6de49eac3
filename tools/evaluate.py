"""Evaluate the best model of a run again: `python -m tools.evaluate RUN_DIR --split test`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import cli
import stopping
from cli import UserError, printable


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.evaluate", description=main.__doc__)
    parser.add_argument("run_dir", help="the run's folder")
    parser.add_argument("--split", type=cli.choice("test", "val", "train"), default="test",
                        metavar="{test,val,train}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--per_class", action="store_true", help="print the AP of each class too")
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the run's")
    parser.add_argument("--bsize", type=cli.number(int, 1, 2**20), help="(that of the run)")
    parser.add_argument("--num_workers", type=cli.number(int, 0, 256), help="(that of the run)")
    parser.add_argument("--device", type=cli.choice("auto", "cpu", "cuda"), default="auto",
                        metavar="{auto,cpu,cuda}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--gpu_num", type=cli.number(int, 0), default=0, help="(%(default)s)")
    parser.add_argument("--amp", type=cli.choice("auto", "off", "bf16", "fp16"),
                        metavar="{auto,off,bf16,fp16}", help="(that of the run)")  # fmt: skip
    return parser


def main(argv: Sequence[str]) -> None:
    """Print the mAP of a run's best epoch on its test, val or train images.

    By the true labels, as far as they are known; where none are, what is not annotated counts as
    negative.
    """
    args = _parser().parse_args(argv)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from datasets import load_data
        from evaluation import evaluate, evaluation_loader
        from failures import explained
        from hardware import find_hardware
        from instrumentation import mean_average_precision, mean_of_known
        from train import load_run
    model, config, classes = load_run(args.run_dir)
    asked = {name: getattr(args, name) for name in ("data_root", "bsize", "num_workers", "amp")}
    given = {name: value for name, value in asked.items() if value is not None}
    config = dataclasses.replace(config, **given)
    data = load_data(config)
    if data.classes != classes:
        raise UserError(
            f"{args.run_dir} was trained on other classes than {config.dataset} has now"
        )
    split = getattr(data, args.split)
    hardware = find_hardware(args.device, args.gpu_num, config.amp)
    with explained(config.bsize, config.image_size, config.num_workers):
        loader = evaluation_loader(split.images, config.bsize, config.num_workers, hardware)
        scores = evaluate(model.to(hardware.device), loader, hardware).numpy()
    mean, ap = mean_average_precision(scores, split.best_known)
    if args.per_class:
        width = max(len(printable(name)) for name in classes)
        for name, value in zip(classes, ap, strict=True):
            print(f"{printable(name):<{width}} {value:7.3f}")
    for name, columns in data.groups.items():
        print(f"{printable(name)} mAP : {mean_of_known(ap[list(columns)]):.3f}")
    print(f"{args.split.capitalize()} mAP : {mean:.3f} on {len(split):,} images")


if __name__ == "__main__":
    sys.exit(cli.run(main))
