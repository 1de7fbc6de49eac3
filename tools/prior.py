"""The class priors of CSL from a run in ignore mode: `python -m tools.prior RUN_DIR`."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cli
import stopping
from cli import UserError, printable
from config import parse_args
from files import is_there
from priors import write_prior
from recipes import recipe
from settings import FLAGS, Config
from tools import loading

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from hardware import Hardware
    from models import ImageClassifier

SHOWN = 5  # classes at each end of the table


def mean_prediction(
    model: ImageClassifier, images: DataLoader, hardware: Hardware
) -> tuple[float, ...]:
    """The mean over the images of sigmoid(logits), K numbers in [0, 1].

    Ben-Baruch et al., arXiv 2110.10955: the class prior, of a model trained in ignore mode. Only
    a mini-batch of predictions is held at a time. Raises UserError where the model predicts NaN.
    """
    import torch

    from loaders import batches, progress

    total, count = torch.zeros((), dtype=torch.float64, device=hardware.device), 0
    with torch.inference_mode():
        for x, _ in progress(batches(images, hardware.device), len(images), "predict"):
            with hardware.autocast():
                logits = model(x).float()
            total = total + logits.sigmoid().double().sum(0)
            count += len(x)
    if total.isnan().any():
        raise UserError("the network's scores are no finite numbers: train it with a lower --lr")
    return tuple((total / count).tolist())


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.prior", description=main.__doc__)
    parser.add_argument("--out", type=FLAGS["data_root"].metadata["parse"], metavar="FILE",
                        help="where to write (RUN_DIR/prior.csv)")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")
    loading.add_arguments(parser)
    return parser


def _place(args: argparse.Namespace) -> Path:
    """Where to write. Raises UserError where something stands in the way."""
    path = Path(args.out) if args.out else Path(args.run_dir) / "prior.csv"
    if is_there(path) and not path.is_file():
        raise UserError(f"{path} is no plain file: give the path of a file as --out")
    if is_there(path) and not args.overwrite:
        raise UserError(f"{path} is there already: give --overwrite, or another --out")
    for folder in path.parents:
        if is_there(folder) and not folder.is_dir():
            raise UserError(f"cannot write {path}: {folder} is a file")
    return path


def _is_meant(config: Config) -> bool:
    return config.mod_scheme == "CSL" and config.mode == "ignore"


def _table(classes: Sequence[str], values: Sequence[float], threshold: float) -> Iterator[str]:
    """The classes by their priors, of many only the highest and lowest; then how many are high."""
    pairs = sorted(zip(values, map(printable, classes), strict=True), key=lambda pair: -pair[0])
    many = len(pairs) > 2 * SHOWN
    ends = (pairs[:SHOWN], pairs[-SHOWN:]) if many else (pairs, [])
    width = max(len(name) for end in ends for _, name in end)
    above, below = ([f"{name:<{width}}  {value:.4f}" for value, name in end] for end in ends)
    yield from [*above, *(["..."] if many else []), *below]
    frequent = sum(value > threshold for value in values)
    yield f"{frequent:,} of {len(pairs):,} classes above {threshold:g}, the usual --prior_threshold"


def _next_command(args: argparse.Namespace, out: Path, config: Config) -> str:
    """The command that trains with the prior, under a name of its own."""
    words = ["--config", str(Path(args.run_dir) / "config.json")]
    words += [] if config.mod_scheme == "CSL" else ["--mod_scheme", "CSL"]
    words += ["--mode", "selective", "--prior", str(out)]
    words += ["--data_root", args.data_root] if args.data_root else []
    with contextlib.suppress(UserError):  # a setting of the run may not fit: main.py says which
        if parse_args(words).run_dir == config.run_dir:
            words += ["--exp_name", f"{config.exp_name}_selective"]
    return shlex.join(["python", "main.py", *words])


def main(argv: Sequence[str]) -> None:
    """Write the mean prediction of a run's best epoch on its training images, a class a row.

    The class priors of CSL, for main.py --mode selective --prior FILE. The run is meant to be one
    with --mod_scheme CSL --mode ignore. The images are not augmented.
    """
    args = _parser().parse_args(argv)
    out = _place(args)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from failures import explained
    model, config, data, hardware = run = loading.load(args)
    if not _is_meant(config):
        note = f"the prior is meant to come from a run in mode ignore of CSL: {args.run_dir} is not"
        print(f"note: {printable(note)}", file=sys.stderr)
    with explained(config.bsize, config.image_size, config.num_workers):
        loader = run.loader(data.train)
        values = mean_prediction(model.to(hardware.device), loader, hardware)
    write_prior(out, data.classes, values)
    print(f"class priors: the mean predictions on {len(data.train):,} training images")
    threshold = recipe(config.dataset, "CSL")["prior_threshold"]
    print("\n".join(_table(data.classes, values, threshold)))
    print(f"wrote {printable(str(out))}; next:\n{printable(_next_command(args, out, config))}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
