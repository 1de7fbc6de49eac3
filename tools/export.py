"""The best model of a run for other programs: `python -m tools.export RUN_DIR --format onnx`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cli
import stopping
from cli import UserError, printable
from files import check_writable, write_atomically
from folder import EXPORTED

if TYPE_CHECKING:
    from torch import Tensor

    from settings import Config

TOLERANCE = 1e-4  # of a logit
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")  # of pictures in a folder


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.export", description=main.__doc__)
    parser.add_argument("run_dir", help="the run's folder")
    parser.add_argument("--format", type=cli.choice(*EXPORTED), required=True,
                        metavar="{" + ",".join(EXPORTED) + "}", help="of the file")  # fmt: skip
    names = " or ".join(EXPORTED.values())
    parser.add_argument("--out", metavar="FILE", help=f"(RUN_DIR/{names})")
    parser.add_argument("--images", metavar="FOLDER",
                        help="pictures to compare on (those of the run's data set)")  # fmt: skip
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the run's")
    return parser


def main(argv: Sequence[str]) -> None:
    """Write the best model of a run to one file, with all that is needed to use it inside.

    The file takes uint8 images and gives logits; class names, image size and how to resize are in
    it. Before it takes its place it is read again and compared with the model on a few images, by
    onnxruntime or torch.export: where a logit differs by more than 0.0001 nothing is written.
    """
    args = _parser().parse_args(argv)
    folder = Path(args.run_dir)
    out = Path(args.out) if args.out else folder / EXPORTED[args.format]
    check_writable(out)
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from checkpoint import read_best
        from tools.exported import check_packages, facts_of, largest_difference, packed, predictor
        from train import load_run
    check_packages(args.format)
    model, config, classes = load_run(folder)
    facts = facts_of(folder, config, classes, read_best(folder).epoch)
    images, what = _images(args, config)
    content = packed(model, config.image_size, args.format, facts)
    difference = largest_difference(model, predictor(content, args.format), images)
    compared = f"largest difference of a logit on {what}: {difference:.1e}"
    if not difference <= TOLERANCE:
        raise UserError(f"{compared}, more than {TOLERANCE:.0e}: nothing is written")
    print(printable(compared))
    write_atomically(out, lambda file: file.write(content))
    print(printable(f"wrote {out} ({len(content) / 1e6:.1f} MB, {len(classes)} classes)"))


def _images(args: argparse.Namespace, config: Config) -> tuple[Tensor, str]:
    """Images to compare on, uint8 [B, 3, S, S], and what they are.

    Those of --images, else test images of the run's data set, else noise.
    """
    import torch

    from tools.exported import BATCHES

    count, size = max(BATCHES), config.image_size
    if args.images:
        return _pictures(Path(args.images), count, size), f"pictures of {args.images}"
    try:
        return _test_images(args, config, count), f"test images of {config.dataset}"
    except UserError as error:
        print(f"note: {printable(str(error))}: comparing on noise", file=sys.stderr)
        noise = torch.randint(256, (count, 3, size, size), dtype=torch.uint8,
                              generator=torch.Generator().manual_seed(0))  # fmt: skip
        return noise, "noise"


def _test_images(args: argparse.Namespace, config: Config, count: int) -> Tensor:
    """The first test images of the run's data set. Raises UserError where they are not at hand."""
    from datasets import load_data

    own = {"data_root": args.data_root} if args.data_root else {}
    config = dataclasses.replace(config, check_images=False, on_bad_image="stop", **own)
    images = load_data(config).test.images
    batch = images.__getitems__([place % len(images) for place in range(count)])
    if isinstance(batch, UserError):
        raise batch
    return batch[0]


def _pictures(folder: Path, count: int, size: int) -> Tensor:
    """The first pictures of a folder by name. Raises UserError where there is none to be read."""
    import torch

    from image_files import BadImage, read_image

    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise UserError(f"--images: cannot read {folder}: {error.strerror}") from None
    if not paths:
        raise UserError(f"--images: {folder} holds no picture ({', '.join(_SUFFIXES)})")
    try:
        return torch.stack([read_image(paths[i % len(paths)], size) for i in range(count)])
    except BadImage as error:
        raise UserError(f"--images: {error.path} {error.reason}: take it out") from None


if __name__ == "__main__":
    sys.exit(cli.run(main))
