"""Pictures of one digit each: to `digits` what ImageNet is to photographs with many objects.

    python -m data.digit_singles

A scan lies anywhere on an empty canvas of the size of `digits`; its digit is its only positive
label. A network that has learned them all is a pretrained one for `digits` (scripts/table1.sh): it
knows single objects, and has seen no canvas with several.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cli
from cli import UserError
from data.digits import CELL, CLASSES, GRID, PARTS, SCAN, SEED, scans_of
from data.formatted import Formatted, Part, write_formatted

COUNTS = {"train": 6000, "val": 1500}  # pictures; several of each scan, in other places
_SIDE = GRID * CELL


def make_singles(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 [N, 24, 24], of the scans that canvases of `part` are made of, and digits [N].

    The same in every run.
    """
    scans, digits = scans_of(part)
    rng = np.random.RandomState(SEED + 10 * PARTS[part])
    chosen = np.arange(COUNTS[part]) % len(scans)
    pictures = np.zeros((len(chosen), _SIDE, _SIDE), np.uint8)
    corners = rng.randint(0, _SIDE - SCAN + 1, size=(len(chosen), 2))
    for picture, scan, (y, x) in zip(pictures, scans[chosen], corners, strict=True):
        picture[y : y + SCAN, x : x + SCAN] = scan
    return pictures, digits[chosen]


def write_singles(folder: Path) -> None:
    """Write the pictures and the formatted arrays of both parts. Raises UserError if that fails."""
    train, val = (_write_part(folder, part) for part in PARTS)
    formatted = Formatted(train, val, CLASSES, source="single digits of scikit-learn")
    write_formatted(folder, formatted, images=".", observed={})


def _write_part(folder: Path, part: str) -> Part:
    from PIL import Image

    pictures, digits = make_singles(part)
    names = [f"{part}/{place:04}.png" for place in range(len(pictures))]
    try:
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, picture in zip(names, pictures, strict=True):
            Image.fromarray(picture).convert("RGB").save(folder / name)
    except OSError as error:
        raise UserError(f"cannot write {folder / part}: {error.strerror or error}") from None
    return Part(np.array(names), np.eye(len(CLASSES), dtype=np.int8)[digits])


def main(argv: Sequence[str]) -> None:
    """Write pictures of one digit each, a set in the formatted layout to pretrain networks on."""
    parser = cli.Parser(prog="python -m data.digit_singles", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/digit_singles"), metavar="FOLDER",
                        help="(%(default)s)")  # fmt: skip
    folder = parser.parse_args(argv).out
    write_singles(folder)
    print(f"wrote {COUNTS['train']:,} + {COUNTS['val']:,} pictures in {folder}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
