"""The command line of `python -m data.prepare custom`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cli
from cli import UserError
from data.draw import add_draw_flags, draw_from
from data.formatted import ABOUT, KNOWN
from data.read import TRUTHS
from files import is_there

_TEST_FRAC, _VAL_FRAC = 0.2, 0.1
_EPILOG = """\
--labels is one of
  a CSV table of two columns, an image and its labels: a.jpg,cat;dog
  a CSV table with a column for each class: 1 positive, -1 negative, 0 or empty not annotated
  COCO's json: images, categories, annotations
and without it, each folder below --images is a class. data/README.md says more."""


def parse_flags(argv: Sequence[str], description: str | None) -> argparse.Namespace:
    """The flags, of which `left_out` and `zero` are None where nobody said what to take them for.

    Raises UserError for flags that do not go together, or would do nothing.
    """
    args = _parser(description).parse_args(argv)
    _check_unused(args)
    _check_sources(args)
    _check_out(args)
    given = [name for name in ("test_frac", "val_frac") if getattr(args, name) is not None]
    args.drawn_by_flag = given[0] if given else ""
    args.test_frac = _TEST_FRAC if args.test_frac is None else args.test_frac
    args.val_frac = _VAL_FRAC if args.val_frac is None else args.val_frac
    args.draw = draw_from(args) if args.truth == "full" else None
    return args


def _parser(description: str | None) -> cli.Parser:
    parser = cli.Parser(
        prog="python -m data.prepare custom", description=description, epilog=_EPILOG
    )

    def add(name: str, help: str, **options: Any) -> None:
        parser.add_argument(f"--{name}", help=help, **options)

    def add_choice(name: str, *names: str, help: str, default: str | None = None) -> None:
        shown = "{" + ",".join(names) + "}"
        add(name, help, type=cli.choice(*names), metavar=shown, default=default)

    add("images", "the folder of the pictures", type=_path, metavar="DIR", required=True)
    add("labels", "a .csv, .tsv or .txt table, or a .json", type=_path, metavar="FILE")
    add("out", "the folder to make the data set in", type=_path, metavar="DIR", required=True)
    add("classes", "class names in their order, one a line", type=_path, metavar="FILE")
    others = "what to do about labels that are not on that list (%(default)s)"
    add_choice("other_classes", "reject", "ignore", help=others, default="reject")
    add("test_labels", "labels of the test images, as --labels", type=_path, metavar="FILE")
    add("test_images", "pictures of the test images (--images)", type=_path, metavar="DIR")
    share = cli.number(low=0, below=1)
    add("test_frac", "share drawn for the test split (0.2)", type=share, metavar="S")
    add("val_frac", "share drawn for val, 0: each run cuts it (0.1)", type=share, metavar="S")
    meanings = ("negative", "unobserved")
    add_choice("zero", *meanings, help="what a 0 says in a column of a class")
    truths = "partial: the labels given, full: all others are negative, none: never measure by them"
    ordered = sorted(TRUTHS, key=("partial", "full", "none").index)
    add_choice("truth", *ordered, help=f"{truths} (%(default)s)", default="partial")
    left_out = "what labels that are not given are in val and test (unobserved in a table with a "
    add_choice("left_out", *meanings, help=f"{left_out}column a class, else negative)")
    for name, help in (
        ("keep_unlabelled", "COCO: keep images without annotation"),
        ("skip_bad_lines", "go on without the lines that cannot be used"),
        ("overwrite", "replace the data set in --out"),
        ("dry_run", "read and report, write nothing"),
    ):
        add(name, help, action="store_true")
    add_draw_flags(parser, seeds="the splits and the draw")
    return parser


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be the path of a file or folder")
    return Path(text)


def _check_unused(args: argparse.Namespace) -> None:
    """Raise UserError for what the truth, or the list of classes, leaves without a meaning."""
    if args.truth != "partial" and args.left_out:
        raise UserError(f"--left_out is for --truth partial, not {args.truth}: drop it")
    if args.truth == "full" and args.zero == "unobserved":
        raise UserError(
            "--truth full says that all labels are known, --zero unobserved that a 0 is not: drop "
            "one of them"
        )
    draws = ("num_pos", "num_neg", "fpc", "rps", "share")
    drawn = [name for name in draws if getattr(args, name) is not None]
    if args.truth != "full" and drawn:
        raise UserError(
            f"--{drawn[0]} draws from labels that are all known: give --truth full too, or drop it"
        )
    tests = args.test_labels or args.test_images
    if args.other_classes == "ignore" and not (args.classes or tests):
        raise UserError("--other_classes goes with --classes FILE, which lists them: give that")


def _check_sources(args: argparse.Namespace) -> None:
    """Raise UserError where it is not clear what to read, or a flag is for other sources."""
    if args.test_labels and not args.labels:
        raise UserError("--test_labels goes with --labels, which says what to train on")
    if args.labels and args.test_images and not args.test_labels:
        raise UserError("--test_images goes with --test_labels where --labels is given")
    if args.test_frac is not None and (args.test_labels or args.test_images):
        raise UserError("--test_frac draws test images, which you give: drop it")
    kinds = {is_json(path) for path in (args.labels, args.test_labels) if path}
    if args.keep_unlabelled and True not in kinds:
        raise UserError("--keep_unlabelled is for COCO's json: drop it")
    if args.zero and False not in kinds:
        raise UserError("--zero is for CSV tables with a column for each class: drop it")


def is_json(path: Path) -> bool:
    """Whether labels lie in COCO's json, by the file's name."""
    return path.suffix.lower() == ".json"


def _check_out(args: argparse.Namespace) -> None:
    """Raise UserError unless a data set may be made in this folder."""
    out = args.out
    name = Path(os.path.abspath(out)).name
    if name.lower() in (*KNOWN, "digits"):
        raise UserError(
            f"--out {out}: main.py --dataset {name.lower()} would take it for the official set: "
            "give another name"
        )
    if args.dry_run:
        return
    if is_there(out) and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder, which need not exist")
    held = is_there(out) and (is_there(out / ABOUT) or any(out.glob("formatted_*.np[yz]")))
    if held and not args.overwrite:
        raise UserError(f"{out} holds a formatted set already: give --overwrite, or another --out")
