"""A user's own pictures and labels to the formatted layout: a CSV table, COCO's json, or folders.

On the command line: `python -m data.prepare custom --images DIR --labels FILE.csv --out DIR`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cli
from cli import UserError, printable
from data import custom_report
from data.custom_folders import read_coco, read_folders
from data.custom_images import Pictures
from data.custom_lines import read_csv
from data.custom_listing import Classes, Listing, nearly_the_same
from data.custom_parts import TRUTHS, Images, draw_splits, given_splits, make_formatted
from data.custom_text import read_lines, read_text
from data.draw import add_draw_flags, draw_from
from data.formatted import ABOUT, Formatted, write_formatted
from data.observe import RECORD, draw_parts, write_record
from files import is_there, write_atomically

REJECTED = "rejected_lines.txt"
_TEST_FRAC, _VAL_FRAC = 0.2, 0.1
_EPILOG = """\
--labels is one of
  a CSV table of two columns, an image and its labels: a.jpg,cat;dog
  a CSV table with a column for each class: 1 positive, -1 negative, 0 or empty not annotated
  COCO's json: images, categories, annotations
and without it, each folder below --images is a class. data/README.md says more."""


def main(argv: Sequence[str]) -> None:
    """Turn your own pictures and labels into the layout that training reads."""
    args = _parser().parse_args(argv)
    _check_flags(args)
    if not args.dry_run:
        _check_out(args.out, args.overwrite)
    listings = _read(args)
    alike = nearly_the_same(listings[0].classes.names)
    for caution in (*alike, *(caution for listing in listings for caution in listing.cautions)):
        _warn(caution)
    rejected = _report_rejected(listings, args)
    root, images = _named_from_root(listings)
    splits = _split(images, args)
    classes, source = listings[0].classes.names, _source(args, splits)
    formatted = make_formatted(splits, classes, args.truth, args.left_out, source)
    for caution in custom_report.cautions(formatted):
        _warn(caution)
    if not args.dry_run:
        _write(args, formatted, root, rejected)
    for line in custom_report.lines(args.out, splits, classes, listings):
        print(printable(line))
    end = ["dry run: nothing is written"] if args.dry_run else custom_report.commands(args.out)
    for line in end:
        print(printable(line))


def _parser() -> cli.Parser:
    parser = cli.Parser(
        prog="python -m data.prepare custom", description=main.__doc__, epilog=_EPILOG
    )

    def add(name: str, help: str, **options: Any) -> None:
        parser.add_argument(f"--{name}", help=help, **options)

    add("images", "the folder of the pictures", type=_path, metavar="DIR", required=True)
    add("labels", "a .csv, .tsv or .txt table, or a .json", type=_path, metavar="FILE")
    add("out", "the folder to make the data set in", type=_path, metavar="DIR", required=True)
    add("classes", "class names in their order, one a line", type=_path, metavar="FILE")
    add("test_labels", "labels of the test images, as --labels", type=_path, metavar="FILE")
    add("test_images", "pictures of the test images (--images)", type=_path, metavar="DIR")
    share = cli.number(low=0, below=1)
    add("test_frac", "share drawn for the test split (0.2)", type=share, metavar="S")
    add("val_frac", "share drawn for val, 0: each run cuts it (0.1)", type=share, metavar="S")
    zero = cli.choice("negative", "unobserved")
    add("zero", "what a 0 says in a column of a class", type=zero, metavar="{negative,unobserved}")
    truths = "partial: the labels given, full: all others are negative, none: never measure by them"
    add("truth", f"{truths} (%(default)s)", type=cli.choice(*TRUTHS), default="partial")
    left_out = "with a partial truth, what labels left out are in val and test (negative)"
    add("left_out", left_out, type=zero, metavar="{negative,unobserved}")
    for name, help in (
        ("keep_unlabelled", "COCO: keep images without annotation"),
        ("skip_bad_lines", "go on without the lines that cannot be used"),
        ("overwrite", "replace the data set in --out"),
        ("dry_run", "read and report, write nothing"),
    ):
        add(name, help, action="store_true")
    add_draw_flags(parser)
    return parser


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be the path of a file or folder")
    return Path(text)


def _check_flags(args: argparse.Namespace) -> None:
    """Raise UserError for flags that do not go together; fill in those that were not given."""
    if args.data_root != Path("data"):
        raise UserError("--data_root is for the known sets: --out says where this one goes")
    if args.truth != "partial" and args.left_out:
        raise UserError(f"--left_out is for --truth partial, not {args.truth}: drop it")
    draws = ("num_pos", "num_neg", "fpc", "rps", "share")
    drawn = [name for name in draws if getattr(args, name) is not None]
    if args.truth != "full" and drawn:
        raise UserError(
            f"--{drawn[0]} draws from labels that are all known: give --truth full too, or drop it"
        )
    if args.test_labels and not args.labels:
        raise UserError("--test_labels goes with --labels, which says what to train on")
    if args.labels and args.test_images and not args.test_labels:
        raise UserError("--test_images goes with --test_labels where --labels is given")
    if args.test_frac is not None and (args.test_labels or args.test_images):
        raise UserError("--test_frac draws test images, which you give: drop it")
    given = [name for name in ("test_frac", "val_frac") if getattr(args, name) is not None]
    args.drawn_by_flag = given[0] if given else ""
    args.test_frac = _TEST_FRAC if args.test_frac is None else args.test_frac
    args.val_frac = _VAL_FRAC if args.val_frac is None else args.val_frac
    args.left_out = args.left_out or "negative"
    if args.truth == "full":
        draw_from(args)  # a wrong one is found before the reading
        args.zero = args.zero or "negative"


def _check_out(out: Path, overwrite: bool) -> None:
    if is_there(out) and not out.is_dir():
        raise UserError(f"--out {out} is a file: give a folder, which need not exist")
    held = is_there(out) and (is_there(out / ABOUT) or any(out.glob("formatted_*.np[yz]")))
    if held and not overwrite:
        raise UserError(f"{out} holds a formatted set already: give --overwrite, or another --out")


def _read(args: argparse.Namespace) -> list[Listing]:
    """What is listed to train on and, where they are given apart, to test on."""
    classes, pictures = _classes(args.classes), Pictures(args.images)
    listings = [_read_one(args, pictures, args.labels, classes)]
    if args.test_labels or args.test_images:
        others = Pictures(args.test_images) if args.test_images else pictures
        origin = classes.origin or f"{args.labels or args.images} (--classes FILE names more)"
        fixed = Classes(listings[0].classes.names, origin)
        listings.append(_read_one(args, others, args.test_labels, fixed))
    return listings


def _read_one(
    args: argparse.Namespace, pictures: Pictures, labels: Path | None, classes: Classes
) -> Listing:
    if labels is None:
        return read_folders(pictures, classes)
    if labels.suffix.lower() == ".json":
        return read_coco(labels, pictures, classes, args.keep_unlabelled)
    return read_csv(labels, pictures, classes, args.zero)


def _classes(path: Path | None) -> Classes:
    """The names in a file, one a line, which are then the only ones; without it an open list."""
    if path is None:
        return Classes()
    text, cautions = read_text(path)
    for caution in cautions:
        _warn(caution)
    names = [line.strip() for line in read_lines(text) if line.strip()]
    again = [name for name, times in Counter(names).items() if times > 1]
    if again or not names:
        fault = f"names {again[0]!r} twice" if again else "names no class"
        raise UserError(f"--classes {path} {fault}: write each name once, one a line")
    return Classes(names, f"--classes {path}")


def _warn(caution: str) -> None:
    print(f"warning: {printable(caution)}", file=sys.stderr)


def _report_rejected(listings: Sequence[Listing], args: argparse.Namespace) -> list[str]:
    """What cannot be used, a line each, as it is printed.

    Raises UserError where there is something, unless the user said to go on without.
    """
    files = [f"{args.labels or args.images}, ", f"{args.test_labels or args.test_images}, "]
    prefixes = files if len(listings) > 1 else [""]
    rejected = [
        printable(f"{prefix}{place}: {why}")
        for prefix, listing in zip(prefixes, listings, strict=True)
        for place, why in listing.rejected
    ]
    for line in rejected:
        print(line, file=sys.stderr)
    if rejected and not args.skip_bad_lines:
        total = sum(listing.lines for listing in listings)
        raise UserError(
            f"{len(rejected):,} of {total:,} {listings[0].unit} cannot be read: mend them, or give "
            "--skip_bad_lines"
        )
    return rejected


def _named_from_root(listings: Sequence[Listing]) -> tuple[Path, list[Images]]:
    """The folder of all pictures, and the images of each listing, named by their paths from there.

    Raises UserError for images that are in both.
    """
    folders = [listing.pictures.folder for listing in listings]
    try:
        root = Path(os.path.commonpath(folders))
    except ValueError:  # two drives of Windows
        raise UserError("--images and --test_images must lie on one drive: move one") from None
    images = []
    for folder, listing in zip(folders, listings, strict=True):
        below = PurePosixPath(folder.relative_to(root).as_posix())
        images.append({str(below / name): entry for name, entry in listing.entries.items()})
    shared = images[0].keys() & images[-1].keys() if len(images) > 1 else set()
    if shared:
        raise UserError(
            f"{len(shared):,} images are both to train and to test on, {min(shared)!r} for one: "
            "take each out of one"
        )
    return root, images


def _split(images: Sequence[Images], args: argparse.Namespace) -> dict[str, Images]:
    """The images by split, given or drawn. Raises UserError where the flags do not fit them."""
    test = images[1] if len(images) > 1 else None
    splits = given_splits(images[0], test)
    if not splits:
        return draw_splits(images[0], test, args.test_frac, args.val_frac, args.seed)
    if args.drawn_by_flag:
        raise UserError(f"--{args.drawn_by_flag} draws a split, the labels give them: drop it")
    return splits


def _source(args: argparse.Namespace, splits: Mapping[str, Images]) -> str:
    labels = args.labels or args.images
    given = any(entry.split for entry in splits["train"].values())
    drawn = f"test_frac {args.test_frac:g}, val_frac {args.val_frac:g}, seed {args.seed}"
    if args.test_labels or args.test_images:
        labels = f"{labels}, to test on {args.test_labels or args.test_images}"
        drawn = f"val_frac {args.val_frac:g}, seed {args.seed}"
    return f"{labels}; splits {'given' if given else f'drawn with {drawn}'}"


def _write(
    args: argparse.Namespace, formatted: Formatted, root: Path, rejected: Sequence[str]
) -> None:
    """Write the data set, and the lines left out; dataset.json, written last, says it is whole."""
    out = args.out.resolve()
    images = os.path.relpath(root, out) if root.is_relative_to(out) else str(root)
    labels = {name: part.labels for name, part in formatted.parts.items()}
    draw = draw_from(args) if formatted.truth == "full" else None
    observed = draw_parts(labels, "full", draw) if draw else {}
    try:
        for name in (ABOUT, RECORD, REJECTED):
            (out / name).unlink(missing_ok=True)
        if rejected:
            text = "".join(f"{line}\n" for line in rejected)
            write_atomically(out / REJECTED, lambda file: file.write(text.encode()))
        write_formatted(out, formatted, images, labels if formatted.truth == "none" else observed)
        if draw:
            write_record(out, draw, observed)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or out}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(cli.run(main))
