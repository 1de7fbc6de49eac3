"""Get a data set ready to train on: fetch, unpack, format, draw the observed labels.

On the command line: `python -m data.prepare coco`, and `custom` for data of one's own.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import cli
from cli import UserError, printable
from data.archives import extract
from data.download import fetch
from data.draw import Draw, add_draw_flags, draw_from
from data.fetch_openimages import fetch_pictures
from data.formatted import (
    ABOUT,
    IMAGE_FOLDERS,
    KNOWN,
    Formatted,
    array_path,
    data_root_flag,
    write_formatted,
)
from data.labels import Labels, count
from data.observe import draw_parts, write_record
from data.releases import RELEASES, Archive
from files import is_there

TITLES = {"train": "train", "dev": "val", "val": "test"}  # what a part is to a run
_OWN_FLAGS = {  # of single sets, with the value that says nothing
    "difficult": ("pascal", "negative"),
    "source": ("nuswide", None),
    "jobs": ("openimages", 32),
    "mirror": ("openimages", ""),
    "no_pictures": ("openimages", False),
    "retry_missing": ("openimages", False),
}


def obtain(archives: Sequence[Archive], folder: Path, site: str, download: bool = True) -> None:
    """Have all that the archives hold unpacked in `folder`, fetched if need be.

    What lies there already, archived or unpacked, is not fetched. Raises UserError where it cannot
    be had; without `download`, after printing what to fetch by hand.
    """
    todo = [archive for archive in archives if not archive.is_unpacked(folder)]
    absent = [archive for archive in todo if not is_there(folder / archive.name)]
    missing = [archive for archive in absent if archive.remote]
    if missing and not download:
        for archive in missing:
            print(printable(_by_hand(archive, folder)))
        raise UserError(
            f"{missing[0].name} is missing, one of {len(missing)} files: fetch them (from "
            f"{site}), put them in {folder}, archived or unpacked, and run this again"
        )
    _check_space(missing, folder)
    for archive in missing:
        assert archive.remote
        fetch(archive.remote, folder / archive.name)
    for archive in todo:
        if archive in missing or archive not in absent:
            _unpack(archive, folder, site)


def _unpack(archive: Archive, folder: Path, site: str) -> None:
    path = folder / archive.name
    print(printable(f"unpacking {path}"), flush=True)
    extract(path, folder / archive.into)
    if not archive.is_unpacked(folder):
        raise UserError(
            f"{path} does not hold {archive.contents[0]}: it must be the official archive, from "
            f"{site}"
        )


def _by_hand(archive: Archive, folder: Path) -> str:
    remote = archive.remote
    assert remote
    sums = [f"{kind} {value}" for kind in ("md5", "sha256") if (value := getattr(remote, kind))]
    facts = [*([f"{remote.size:,} bytes"] if remote.size else []), *sums]
    known = f" ({', '.join(facts)})" if facts else ""
    return f"fetch {remote.url}{known} and put it at {folder / archive.name}"


def _check_space(missing: Sequence[Archive], folder: Path) -> None:
    """Raise UserError where the disk has no room for what is to be fetched and then unpacked."""
    sizes = [archive.remote.size or 0 for archive in missing if archive.remote]
    needed = sum(sizes) + sum(archive.unpacked for archive in missing)
    existing = next(place for place in (folder, *folder.absolute().parents) if is_there(place))
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{folder} needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: make room, or "
            "give another --data_root"
        )


def read_release(dataset: str, folder: Path, **options: object) -> Formatted:
    """What the release in `folder` holds. Raises UserError where a file is missing or malformed."""
    release = RELEASES[dataset]
    try:
        return release.read(folder, **options)
    except FileNotFoundError as error:
        if release.how:
            print(release.how)
        how = "get it as described" if release.how else f"get {release.source}"
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
    write_formatted(folder, formatted, images, observed)
    if draw:
        write_record(folder, draw, observed)
    return observed


def report(formatted: Formatted, observed: Mapping[str, Labels]) -> Iterator[str]:
    """What came out, a line a part."""
    for name, part in formatted.parts.items():
        positives = np.asarray((part.labels == 1).sum(axis=1))
        seen = observed.get(name, part.labels)
        yield (
            f"  {TITLES[name]}: {len(positives):,} images, {positives.mean():.2f} positives per "
            f"image, {(positives == 0).sum():,} images without any; annotated: "
            f"{count(seen, 1):,} positive and {count(seen, -1):,} negative labels"
        )


def warnings(dataset: str, folder: Path, formatted: Formatted) -> Iterator[str]:
    """Where the data differs from the official release, and pictures that are not there yet."""
    release = RELEASES[dataset]
    found = (len(formatted.train.images), len(formatted.val.images), len(formatted.classes))
    expected = (*(release.sizes or found[:2]), release.classes)
    kinds = ("train images", "val images", "classes")
    for kind, have, official in zip(kinds, found, expected, strict=True):
        if have != official:
            yield f"{dataset} has {have:,} {kind}, the official release {official:,}"
    for part in formatted.parts.values() if dataset != "openimages" else ():
        missing = _missing_pictures(folder / IMAGE_FOLDERS[dataset], part.images)
        if missing:
            yield f"{len(missing):,} of {len(part.images):,} pictures are missing: {missing[0]}"


def _missing_pictures(folder: Path, images: np.ndarray) -> list[Path]:
    """The images that are no files, found by listing each folder once."""
    paths = [folder / str(image) for image in images]
    there: dict[Path, set[str]] = {}
    for parent in {path.parent for path in paths}:
        there[parent] = {path.name for path in parent.iterdir()} if parent.is_dir() else set()
    return [path for path in paths if path.name not in there[path.parent]]


def _is_prepared(folder: Path) -> bool:
    """Whether the formatted files are whole: dataset.json is written last."""
    return is_there(folder / ABOUT) and is_there(array_path(folder, "train", "images"))


def _holds_arrays_of_others(folder: Path) -> bool:
    """Whether there are arrays, but no dataset.json of an earlier preparation."""
    return is_there(array_path(folder, "train", "images")) and not is_there(folder / ABOUT)


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m data.prepare", description=main.__doc__)
    names = cli.choice(*KNOWN, "custom", "digits")
    parser.add_argument(
        "dataset",
        type=names,
        metavar="{" + ",".join(KNOWN) + ",custom}",
        help="custom: your own (python -m data.prepare custom --help)",
    )
    parser.add_argument(
        "--no_download", action="store_true", help="print what is missing, and where to put it"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make formatted files that are there anew"
    )
    parser.add_argument(
        "--difficult",
        type=cli.choice("negative", "ignore"),
        metavar="{negative,ignore}",
        default="negative",
        help="pascal: what an object is that is marked difficult; ignore: left out of evaluation "
        "(%(default)s)",
    )
    parser.add_argument(
        "--source",
        type=cli.choice("spml", "release"),
        metavar="{spml,release}",
        help="nuswide: the paper's arrays, or the lists of the release (the former if there)",
    )
    _add_openimages_flags(parser)
    add_draw_flags(parser)
    return parser


def _add_openimages_flags(parser: cli.Parser) -> None:
    jobs = cli.number(int, 1, 512)
    parser.add_argument(
        "--jobs", type=jobs, default=32, help="openimages: downloads at a time (%(default)s)"
    )
    parser.add_argument(
        "--mirror",
        default="",
        metavar="URL",
        help="openimages: where to look for a picture first, such as https://host/{subset}/{id}.jpg",
    )
    for name, help in (
        ("no_pictures", "fetch no pictures; images without one are left out"),
        ("retry_missing", "ask again for pictures that were gone"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=f"openimages: {help}")


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
    if args.dataset == "digits":
        raise UserError("digits needs no files: train on it with `python main.py --dataset digits`")
    options, draw = _options(args), draw_from(args)
    folder = args.data_root / args.dataset
    where = data_root_flag(args.data_root)
    if _is_prepared(folder) and not (args.overwrite or args.retry_missing):
        print(printable(f"{folder} is prepared already (--overwrite makes it anew)"))
        if draw != Draw():
            raise UserError(
                f"draw other labels with python -m data.observe {args.dataset}{where}, or prepare "
                "anew with --overwrite"
            )
    else:
        _prepare(args, folder, options, draw)
    print(printable(f"next: python main.py --dataset {args.dataset} --mod_scheme LL-R{where}"))


def _prepare(
    args: argparse.Namespace, folder: Path, options: dict[str, object], draw: Draw
) -> None:
    """All the steps from the archives to the formatted files."""
    release = RELEASES[args.dataset]
    archives: Sequence[Archive] = release.archives
    if args.dataset == "nuswide" and args.source != "release":  # the paper's arrays need none
        archives = [archive for archive in archives if is_there(folder / archive.name)]
    elif args.dataset == "nuswide" and _holds_arrays_of_others(folder) and not args.overwrite:
        raise UserError(
            f"--source release would overwrite the formatted arrays in {folder}: move them away, "
            "or give --overwrite"
        )
    obtain(archives, folder, release.site, download=not args.no_download)
    if args.dataset == "openimages" and not (args.no_download or args.no_pictures):
        fetch_pictures(folder, args.jobs, args.mirror, args.retry_missing)
    formatted = read_release(args.dataset, folder, **options)
    draws = args.dataset != "openimages"
    observed = write(folder, formatted, IMAGE_FOLDERS[args.dataset], draw if draws else None)
    for line in warnings(args.dataset, folder, formatted):
        print(f"warning: {printable(line)}", file=sys.stderr)
    print(printable(f"{args.dataset}: {len(formatted.classes)} classes, written to {folder}"))
    if formatted.source:
        print(printable(f"  {formatted.source}"))
    if observed:
        print(printable(f"  annotated: {draw}"))
    for line in report(formatted, observed):
        print(printable(line))


if __name__ == "__main__":
    sys.exit(cli.run(main))
