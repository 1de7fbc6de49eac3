"""What a run's best model sees in image files: `python -m tools.predict RUN_DIR IMAGES...`.

In Python:

    from tools.predict import predict
    scores, classes, images, bad = predict("path/to/run", ["a.jpg", "holiday"])
    print(images[0], classes[scores[0].argmax()], scores[0].max())
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cli
import stopping
from cli import UserError, printable
from files import check_writable
from tools import loading
from tools.found import find_images

if TYPE_CHECKING:
    from tools.predicted import Predictions

FORMATS = ("table", "csv", "jsonl")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.predict", description=main.__doc__)
    parser.add_argument("run_dir", help="the run's folder")
    parser.add_argument("images", nargs="+", metavar="IMAGES",
                        help="files, folders with all below them, patterns in quotes")  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--threshold", type=cli.number(float, 0, 1), default=0.5, metavar="T",
                       help="predict classes with scores of at least T (%(default)s)")  # fmt: skip
    which.add_argument("--top_k", type=cli.number(int, 1), metavar="K",
                       help="predict the K best classes instead")  # fmt: skip
    parser.add_argument("--format", type=cli.choice(*FORMATS), default="table",
                        metavar="{table,csv,jsonl}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there, print nothing")
    parser.add_argument("--cam", type=Path, metavar="FOLDER",
                        help="write a PNG an image there, with class maps")  # fmt: skip
    loading.add_computing(parser)
    return parser


def main(argv: Sequence[str]) -> None:
    """Print what the best model of a run sees in images: the classes and their scores, 0 to 1.

    Images are read as in the run's own evaluation (at its --image_size, stretched to a square, a
    rotation noted in the file ignored), so their scores are those that tools.evaluate measures.
    Images that cannot be read are named on stderr and passed over. csv and jsonl hold the scores
    of all classes.
    """
    args = _parser().parse_args(argv)
    if args.out:
        check_writable(args.out)
    if args.cam:
        check_writable(args.cam, is_folder=True)
    threshold = 0.0 if args.top_k else args.threshold
    paths = find_images(args.images)
    found = _predict(args, paths, (threshold, args.top_k))
    for error in found.bad:
        print(printable(f"bad image: {error.path}: {error.reason}"), file=sys.stderr)
    if not found.images:
        first = found.bad[0]
        raise UserError(f"none of {len(paths):,} images can be read, {first.path} the first")
    _show(found, args, threshold)
    if found.bad:
        said = f"{len(found.bad):,} of {len(paths):,} images cannot be read: passed over"
        print(said, file=sys.stderr)


def predict(
    run_dir: str | Path,
    images: str | Path | Sequence[str | Path],
    bsize: int | None = None,
    num_workers: int | None = None,
    device: str = "auto",
) -> Predictions:
    """The scores float32 [N, K] of a run's best model, the K classes, the N images, and the bad.

    `images`: files, folders or patterns, or one of these, as on the command line; those that cannot
    be read are in `bad`, each with its `path` and `reason`, and have no scores. What is None is the
    run's own.
    Raises UserError where there is no run, or a folder or pattern holds no image.
    """
    args = argparse.Namespace(run_dir=str(run_dir), bsize=bsize, num_workers=num_workers,
                              device=device, gpu_num=0, cam=None)  # fmt: skip
    words = [images] if isinstance(images, str | Path) else images
    return _predict(args, find_images(words))


def _predict(
    args: argparse.Namespace, paths: Sequence[Path], rule: tuple[float, int | None] = (0.5, None)
) -> Predictions:
    """The scores of these files; with `cam`, pictures of what the `rule` of `decide` chooses."""
    model, config, classes, hardware = loading.load_model(args)
    with stopping.at_next_step():
        from failures import explained
        from tools.predicted import Batches, score
    writer = None
    if args.cam:
        from tools.overlays import MapsWriter

        writer = MapsWriter(args.cam, classes, *rule)
    how = Batches(config.bsize, config.image_size, config.num_workers)
    with explained(*how):
        return score(model, paths, classes, how, hardware, writer)


def _show(found: Predictions, args: argparse.Namespace, threshold: float) -> None:
    """Print what was found, or write it to a file."""
    from files import write_atomically
    from tools.metrics import decide
    from tools.prediction_text import WRITERS

    text = WRITERS[args.format](found, decide(found.scores, threshold, args.top_k))
    if args.out:
        data = text.encode("utf-8", "backslashreplace")
        write_atomically(args.out, lambda file: file.write(data))
    else:
        print(text, end="")


if __name__ == "__main__":
    sys.exit(cli.run(main))
