"""Turn the official release of a data set into the formatted layout that training reads.

On the command line: `python -m data.prepare coco`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cli
from cli import UserError
from data.archives import extract
from data.format_coco import read_coco
from data.format_cub import read_cub
from data.format_pascal import read_pascal
from data.formatted import (
    IMAGE_FOLDERS,
    KNOWN,
    PARTS,
    Formatted,
    array_path,
    data_root_flag,
    write_array,
)
from data.observe import add_draw_flags, observe_labels
from files import is_there, write_atomically


@dataclass(frozen=True)
class Release:
    """An official release: how it is read, what is in it, and where it comes from."""

    read: Callable[[Path], Formatted]
    sizes: tuple[int, int]  # labelled images of train and val
    classes: int
    site: str
    archives: dict[str, tuple[str, ...]]  # by name, what is there once an archive is unpacked

    @property
    def source(self) -> str:
        """The archives and where they come from, for people."""
        *others, last = self.archives
        listed = f"{', '.join(others)} and {last}" if others else last
        return f"{listed} from {self.site}"


RELEASES = {
    "pascal": Release(
        read_pascal,
        sizes=(5717, 5823),
        classes=20,
        site="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        archives={
            "VOCtrainval_11-May-2012.tar": (
                "VOCdevkit/VOC2012/ImageSets/Main",
                "VOCdevkit/VOC2012/JPEGImages",
            )
        },
    ),
    "coco": Release(
        read_coco,
        sizes=(82081, 40137),
        classes=80,
        site="https://cocodataset.org/#download",
        archives={
            "annotations_trainval2014.zip": (
                "annotations/instances_train2014.json",
                "annotations/instances_val2014.json",
            ),
            "train2014.zip": ("train2014",),
            "val2014.zip": ("val2014",),
        },
    ),
    "cub": Release(
        read_cub,
        sizes=(5994, 5794),
        classes=312,
        site="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        archives={
            "CUB_200_2011.tgz": (
                "CUB_200_2011/attributes/image_attribute_labels.txt",
                "CUB_200_2011/images",
            )
        },
    ),
}


def prepare(dataset: str, folder: Path, num_pos: int, num_neg: int, seed: int) -> Formatted:
    """Read the release that lies in `folder`, and write its formatted files there.

    Raises UserError if a raw file is missing or malformed; earlier formatted files then stay.
    """
    release = RELEASES[dataset]
    formatted = _read(release, folder)
    observed = [
        observe_labels(part.labels, num_pos, num_neg, seed)
        for part in (formatted.train, formatted.val)
    ]
    _write(folder, formatted, observed)
    about = {
        "name": dataset,
        "classes": formatted.classes,
        "images": IMAGE_FOLDERS[dataset],
        "truth": "full",
    }
    text = json.dumps(about, indent=2) + "\n"
    write_atomically(folder / "dataset.json", lambda file: file.write(text.encode()))
    return formatted


def unpack(dataset: str, folder: Path) -> None:
    """Unpack the official archives that lie in `folder`, but for what is unpacked already.

    Raises UserError, naming the archive, where one is damaged or unsafe.
    """
    for name, contents in RELEASES[dataset].archives.items():
        archive = folder / name
        if is_there(archive) and not all(is_there(folder / content) for content in contents):
            print(f"unpacking {archive}", flush=True)
            extract(archive, folder)


def _read(release: Release, folder: Path) -> Formatted:
    try:
        return release.read(folder)
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: get {release.source}, put it in {folder}, "
            "archived or unpacked (data/README.md), and run this again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror}") from None


def _write(folder: Path, formatted: Formatted, observed: Sequence[np.ndarray]) -> None:
    parts = (formatted.train, formatted.val)
    for name, part, labels_obs in zip(PARTS, parts, observed, strict=True):
        write_array(array_path(folder, name, "images"), part.images)
        write_array(array_path(folder, name, "labels"), part.labels)
        write_array(array_path(folder, name, "labels_obs"), labels_obs)


def report(dataset: str, folder: Path, formatted: Formatted) -> Iterator[str]:
    """What came out, a line a part."""
    yield f"{dataset}: {len(formatted.classes)} classes, written to {folder}"
    parts = (("train", formatted.train), ("val (the test split)", formatted.val))
    for name, part in parts:
        positives = part.labels.sum(axis=1).mean()
        yield f"  {name}: {len(part.images):,} images, {positives:.2f} positives per image"


def warnings(dataset: str, folder: Path, formatted: Formatted) -> Iterator[str]:
    """Where the data differs from the official release, and pictures that are not there yet."""
    release = RELEASES[dataset]
    found = (len(formatted.train.images), len(formatted.val.images), len(formatted.classes))
    expected = (*release.sizes, release.classes)
    kinds = ("train images", "val images", "classes")
    for kind, have, official in zip(kinds, found, expected, strict=True):
        if have != official:
            yield f"{dataset} has {have:,} {kind}, the official release {official:,}"
    for part in (formatted.train, formatted.val):
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


def _training_command(dataset: str, data_root: Path) -> str:
    return f"python main.py --dataset {dataset} --mod_scheme LL-R{data_root_flag(data_root)}"


def _refuse_unprepared(dataset: str, data_root: Path) -> None:
    """Say what to do for the two sets that have no release to read."""
    if dataset == "digits":
        raise UserError("digits needs no files: train on it with `python main.py --dataset digits`")
    if dataset == "nuswide":
        raise UserError(
            "nuswide has no formatter: put formatted_{train,val}_{images,labels}.npy of the SPML "
            f"re-crawl (https://caltech.box.com/v/single-positive-multi-label) in "
            f"{data_root / dataset} and its pictures in {data_root / dataset / 'Flickr'}, then "
            f"run `python -m data.observe nuswide{data_root_flag(data_root)}`"
        )


def main(argv: Sequence[str]) -> None:
    """Turn the official release in <data_root>/<dataset> into formatted files beside it."""
    parser = cli.Parser(prog="python -m data.prepare", description=main.__doc__)
    names = cli.choice(*KNOWN, "digits")
    parser.add_argument("dataset", type=names, help=", ".join(RELEASES))
    add_draw_flags(parser)
    args = parser.parse_args(argv)
    _refuse_unprepared(args.dataset, args.data_root)
    folder = args.data_root / args.dataset
    unpack(args.dataset, folder)
    formatted = prepare(args.dataset, folder, args.num_pos, args.num_neg, args.seed)
    for line in warnings(args.dataset, folder, formatted):
        print(f"warning: {cli.printable(line)}", file=sys.stderr)
    for line in report(args.dataset, folder, formatted):
        print(cli.printable(line))
    print(cli.printable(f"next: {_training_command(args.dataset, args.data_root)}"))


if __name__ == "__main__":
    sys.exit(cli.run(main))
