"""Get a data set ready to train on: fetch, unpack, format, draw the observed labels.

On the command line: `python -m data.prepare coco`, and `custom` for data of one's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import cli
from cli import UserError, printable
from data.draw import Draw, add_draw_flags, draw_from
from data.fetch_openimages import fetch_pictures
from data.formatted import (
    ABOUT,
    IMAGE_FOLDERS,
    KNOWN,
    MARKER,
    PARTS,
    TITLES,
    Formatted,
    add_data_root,
    array_path,
    data_root_flag,
    load_labels,
    write_formatted,
)
from data.labels import Labels, count
from data.observe import draw_parts, read_record, record_of
from data.obtain import obtain
from data.pictures import missing_pictures
from data.releases import RELEASES, Archive
from files import is_there

_OWN_FLAGS = {  # of single sets, with the value that says nothing
    "difficult": ("pascal", "negative"),
    "source": ("nuswide", None),
    "jobs": ("openimages", 32),
    "mirror": ("openimages", ""),
    "no_pictures": ("openimages", False),
    "retry_missing": ("openimages", False),
}


def read_release(dataset: str, folder: Path, **options: object) -> Formatted:
    """What the release in `folder` holds. Raises UserError where a file is missing or malformed."""
    release = RELEASES[dataset]
    try:
        return release.read(folder, **options)
    except FileNotFoundError as error:
        if release.how:
            print(release.how)
        how = "get it as described above" if release.how else f"get {release.source}"
        raise UserError(
            f"{error.filename} is missing: {how}, put it in {folder}, archived or unpacked, and "
            "run this again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror}") from None


def write(folder: Path, formatted: Formatted, images: str, draw: Draw | None) -> dict[str, Labels]:
    """Write the formatted files, with observed labels drawn by `draw`, which are the result.

    Without it the labels themselves are what is observed.
    """
    tables = {name: part.labels for name, part in formatted.parts.items()}
    observed = draw_parts(tables, formatted.truth, draw) if draw else {}
    record = record_of(draw, observed) if draw else ""
    write_formatted(folder, formatted, images, observed, record)
    return observed


def report(formatted: Formatted, observed: Mapping[str, Labels], drawn: str) -> Iterator[str]:
    """What came out: where from, how the observed labels were drawn, and a line a part."""
    if formatted.source:
        yield formatted.source
    if observed:
        yield f"annotated: {drawn}"
    for name, part in formatted.parts.items():
        positives = np.asarray((part.labels == 1).sum(axis=1))
        seen = observed.get(name, part.labels)
        yield (
            f"{TITLES[name]}: {len(positives):,} images, {positives.mean():.2f} positives per "
            f"image, {(positives == 0).sum():,} images without any; annotated: "
            f"{count(seen, 1):,} positive and {count(seen, -1):,} negative labels"
        )


def warnings(dataset: str, formatted: Formatted) -> Iterator[str]:
    """Where the data differs from the official release."""
    release = RELEASES[dataset]
    found = (len(formatted.train.images), len(formatted.val.images), len(formatted.classes))
    expected = (*(release.sizes or found[:2]), release.classes)
    kinds = ("train images", "val images", "classes")
    for kind, have, official in zip(kinds, found, expected, strict=True):
        if have != official:
            yield f"{dataset} has {have:,} {kind}, the official release {official:,}"


def check_pictures(dataset: str, folder: Path) -> None:
    """Raise UserError where pictures of a prepared set are missing."""
    if dataset == "openimages":  # its images are those whose pictures are there
        return
    pictures = folder / IMAGE_FOLDERS.get(dataset, ".")
    for part in PARTS:
        names = load_labels(array_path(folder, part, "images"))
        missing = missing_pictures(pictures, names)
        if len(missing):
            raise UserError(
                f"{len(missing):,} of {len(names):,} {TITLES[part]} pictures are missing, "
                f"{pictures / str(names[missing[0]])} the first: the labels are prepared; put the "
                "pictures there, or remove their folder and run this again with --overwrite"
            )


def _is_prepared(folder: Path) -> bool:
    """Whether formatted files lie there that an earlier preparation has made, whole."""
    return is_there(folder / ABOUT) and not is_there(folder / MARKER)


def _are_of_others(folder: Path) -> bool:
    """Whether formatted files lie there that no preparation has made."""
    made_here = is_there(folder / ABOUT) or is_there(folder / MARKER)
    return is_there(array_path(folder, "train", "images")) and not made_here


def _observed_of_others(folder: Path) -> dict[str, Labels]:
    """The observed labels that came with formatted files of others, such as SPML's."""
    if not _are_of_others(folder):
        return {}
    kinds = ("labels_obs", "uniform_labels_obs")
    paths = {part: [array_path(folder, part, kind) for kind in kinds] for part in PARTS}
    found = {part: next(filter(is_there, path), None) for part, path in paths.items()}
    return {part: load_labels(path).astype(np.int8) for part, path in found.items() if path}


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m data.prepare", description=main.__doc__)
    names = cli.choice(*KNOWN, "custom", "digits")
    parser.add_argument(
        "dataset",
        type=names,
        metavar="DATASET",
        help=f"{', '.join(KNOWN)}; or custom: your own (python -m data.prepare custom --help)",
    )
    parser.add_argument(
        "--no_download", action="store_true", help="print what is missing, and where to put it"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make formatted files that are there anew"
    )
    pascal, nuswide, openimages = (
        parser.add_argument_group(f"{name} alone") for name in ("pascal", "nuswide", "openimages")
    )
    pascal.add_argument(
        "--difficult",
        type=cli.choice("negative", "ignore"),
        metavar="{negative,ignore}",
        default="negative",
        help="what an object is that is marked so; ignore: left out of evaluation (%(default)s)",
    )
    nuswide.add_argument(
        "--source",
        type=cli.choice("spml", "release"),
        metavar="{spml,release}",
        help="the paper's arrays, or the lists of the release (the former if there)",
    )
    jobs = cli.number(int, 1, 512)
    openimages.add_argument(
        "--jobs", type=jobs, metavar="N", default=32, help="downloads at a time (%(default)s)"
    )
    where = "where to look for a picture first, such as https://host/{subset}/{id}.jpg"
    openimages.add_argument("--mirror", default="", metavar="URL", help=where)
    for name, help in (
        ("no_pictures", "fetch no pictures; images without one are left out"),
        ("retry_missing", "ask again for pictures that were gone"),
    ):
        openimages.add_argument(f"--{name}", action="store_true", help=help)
    add_draw_flags(parser)
    add_data_root(parser)
    return parser


def _options(args: argparse.Namespace) -> dict[str, object]:
    """What the formatter of the set takes. Raises UserError for a flag of another set."""
    for name, (dataset, nothing) in _OWN_FLAGS.items():
        if getattr(args, name) != nothing and args.dataset != dataset:
            raise UserError(f"--{name} is for {dataset} alone: drop it")
    if args.dataset == "openimages" and draw_from(args) != Draw():
        raise UserError(
            "openimages is partly labelled as it is: prepare it without a draw; "
            "python -m data.observe openimages hides more of its labels"
        )
    return {name: getattr(args, name) for name in ("difficult", "source")
            if _OWN_FLAGS[name][0] == args.dataset}  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Fetch the official release of a data set into <data_root>/<dataset>, and format it there.

    What is there already is not fetched or made again. Stopped anywhere, it goes on.
    """
    if argv and argv[0] == "custom":
        from data.custom import main as custom

        return custom(argv[1:])
    args = _parser().parse_args(argv)
    if args.dataset == "custom":
        raise UserError("write custom first: python -m data.prepare custom --images DIR --out DIR")
    if args.dataset == "digits":
        raise UserError("digits needs no files: train on it with `python main.py --dataset digits`")
    options, draw = _options(args), draw_from(args)
    folder = args.data_root / args.dataset
    if _is_prepared(folder) and not (args.overwrite or args.retry_missing):
        _check_nothing_is_asked(args, draw)
        print(printable(f"{folder} is prepared already (--overwrite makes it anew)"))
    else:
        _prepare(args, folder, options, draw)
    check_pictures(args.dataset, folder)
    where = data_root_flag(args.data_root)
    for command in ("-m tools.inspect {}", "main.py --dataset {} --mod_scheme LL-R"):
        print(printable(f"next: python {command.format(args.dataset)}{where}"))


def _check_nothing_is_asked(args: argparse.Namespace, draw: Draw) -> None:
    """Raise UserError for a flag that a set which is prepared already would not follow."""
    where = data_root_flag(args.data_root)
    if draw != Draw():
        raise UserError(
            f"{args.dataset} is prepared already: draw other labels with python -m data.observe "
            f"{args.dataset}{where}, or prepare anew with --overwrite"
        )
    for name in ("difficult", "source"):
        if getattr(args, name) != _OWN_FLAGS[name][1]:
            raise UserError(f"{args.dataset} is prepared already: --{name} needs --overwrite too")


def _prepare(
    args: argparse.Namespace, folder: Path, options: dict[str, object], draw: Draw
) -> None:
    """All the steps from the archives to the formatted files."""
    release = RELEASES[args.dataset]
    archives: Sequence[Archive] = release.archives
    if args.dataset == "nuswide" and args.source != "release":  # the paper's arrays need none
        archives = [archive for archive in archives if is_there(folder / archive.name)]
        _check_source_is_told(args, folder)
    elif _are_of_others(folder) and not args.overwrite:
        raise UserError(
            f"{folder} holds formatted files that were not made here: train on them as they are, "
            "or give --overwrite to make them anew"
        )
    obtain(archives, folder, release.site, download=not args.no_download)
    draws: Draw | None = draw
    if args.dataset == "openimages":
        if not (args.no_download or args.no_pictures):
            fetch_pictures(folder, args.jobs, args.mirror, args.retry_missing)
        before = None if args.overwrite else read_record(folder)
        draws = Draw(**before) if before else None  # with --retry_missing, the labels drawn stay
    kept = _observed_of_others(folder) if draw == Draw() else {}
    formatted = read_release(args.dataset, folder, **options)
    images = IMAGE_FOLDERS.get(args.dataset, ".")
    if kept and not args.overwrite:
        draws, observed = None, kept
        write_formatted(folder, formatted, images, observed)
    else:
        observed = write(folder, formatted, images, draws)
    for line in warnings(args.dataset, formatted):
        print(f"warning: {printable(line)}", file=sys.stderr)
    print(printable(f"{args.dataset}: {len(formatted.classes)} classes, written to {folder}"))
    for line in report(formatted, observed, str(draws or "as the files say that lay there")):
        print(printable(f"  {line}"))


def _check_source_is_told(args: argparse.Namespace, folder: Path) -> None:
    """Raise UserError where it cannot be told any more whose arrays lie there."""
    if is_there(folder / MARKER) and not args.source:
        raise UserError(
            f"{folder} is half written, its making was stopped: give --source spml or release again"
        )


if __name__ == "__main__":
    sys.exit(cli.run(main))
