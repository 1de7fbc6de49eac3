"""A tiny OpenImages release in the official 2017_11 layout, for tests.

12 train, 6 validation and 8 test images are of use, 10 of 15 classes are trainable. Called twice,
a function writes the same bytes.
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

TRAINABLE = tuple(f"/m/t{column}" for column in range(10))
OTHERS = tuple(f"/m/x{number}" for number in range(10, 15))
DESCRIPTIONS = {  # /m/t7 has none; an untrainable class may have any name
    **dict(zip(TRAINABLE[:3], ("Car", "Cat", "Dog"), strict=True)),
    "/m/t3": 'Fiat 500 "topolino"',
    "/m/t4": "Animal, wild",
    "/m/t5": "Bat",
    "/m/t6": "Bat",
    "/m/t8": "Tree",
    "/m/t9": "Crêpe",
    **dict(zip(OTHERS, ("Tree", "Sky", "Sea", "Sand", "Sun"), strict=True)),
}
CLASSES = (
    *("Car", "Cat", "Dog", 'Fiat 500 "topolino"', "Animal, wild", "Bat (/m/t5)", "Bat (/m/t6)"),
    *("/m/t7", "Tree", "Crêpe"),
)
WITHOUT_PICTURE = "0000000000000c0d"
UNLABELLED = "0000000000000c10"  # in images.csv alone
HIGHEST = "fedcba9876543210"  # beyond what a signed number holds
# what annotators said, row by row: 3+ is yes to class 3, 3- no; from 10 on, none is trainable
ANSWERS = {
    "train": (
        ("0000000000000c02", "0+ 0+ 2-"),  # twice the same answer
        ("0000000000000c01", "0+"),
        (HIGHEST, "0- 2- 12+ 13-"),
        ("0000000000000c03", "0+ 1+ 1- 3+"),  # contradictory
        ("0000000000000c04", "0- 4+ 10+"),
        ("0000000000000c05", "1+ 11-"),
        ("0000000000000c06", "2+ 4-"),
        ("0000000000000c07", "5+ 8+"),
        ("0000000000000c08", "8- 8+ 8+ 9+"),  # contradictory, and one answer twice
        ("0000000000000c01", "1-"),  # not beside its other row
        ("0000000000000c09", "9- 0+"),
        ("0000000000000c0a", "6+"),
        ("0000000000000c0b", "8+ 9+"),
        (WITHOUT_PICTURE, "9+ 3-"),
        ("0000000000000c0e", "10+ 14-"),  # of no trainable class
        ("0000000000000c0f", "7+ 7-"),  # nothing but contradictory
    ),
    "validation": (
        ("00000000000001a1", "0+"),
        ("00000000000001a2", "1- 2+"),
        ("00000000000001a3", "3+ 10+"),
        ("00000000000001a4", "4-"),
        ("00000000000001a5", "7+"),
        ("00000000000001a6", "9+ 9- 8+"),
    ),
    "test": (
        ("00000000000001b1", "0+"),
        ("00000000000001b2", "1+"),
        ("00000000000001b3", "2+ 5-"),
        ("00000000000001b4", "3-"),
        ("00000000000001b5", "4+ 6+"),
        ("00000000000001b6", "7+"),
        ("00000000000001b7", "8- 9+"),
        ("00000000000001b8", "0- 0-"),
    ),
}
COLUMNS = (
    *("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL"),
    *("Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL"),
)


def make_openimages(root: Path, base_url: str | None = None) -> Path:
    """Write root/openimages with the release and the pictures; the folder root/openimages.

    With a `base_url` there are no pictures, but the addresses <base_url>/<subset>/<id>_z.jpg of
    the thumbnails and ..._o.jpg of the originals; the first of a subset has no thumbnail.
    """
    folder = root / "openimages"
    release = folder / "2017_11"
    release.mkdir(parents=True, exist_ok=True)
    (release / "classes-trainable.txt").write_text("".join(f"{mid}\n" for mid in TRAINABLE))
    _write_csv(release / "class-descriptions.csv", list(DESCRIPTIONS.items()))
    for subset, answers in ANSWERS.items():
        (release / subset).mkdir(exist_ok=True)
        write_answers(folder, subset, answers)
        ids = labelled_ids(subset)
        _write_images(release / subset / "images.csv", subset, ids, base_url)
        for image in ids if base_url is None else ():
            if image != WITHOUT_PICTURE:
                path = folder / subset / f"{image}.jpg"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(picture(image))
    return folder


def labelled_ids(subset: str) -> list[str]:
    """The ids of all images with a row in the annotations, in their order."""
    return sorted({image for image, _ in ANSWERS[subset]})


def write_answers(folder: Path, subset: str, answers: tuple[tuple[str, str], ...]) -> None:
    """Write 2017_11/<subset>/annotations-human.csv; that of the test subset says 1.0 for 1."""
    lines = ["ImageID,Source,LabelName,Confidence"]
    for image, said in answers:
        for word in said.split():
            mid = (*TRAINABLE, *OTHERS)[int(word[:-1])]
            confidence = f"{int(word[-1] == '+')}{'.0' * (subset == 'test')}"
            lines.append(f"{image},verification,{mid},{confidence}")
    path = folder / "2017_11" / subset / "annotations-human.csv"
    path.write_text("".join(f"{line}\n" for line in lines))


@functools.cache
def picture(image: str) -> bytes:
    """The JPEG of an image, 40x32 pixels."""
    rng = np.random.RandomState(int(image, 16) % 2**32)
    pixels = rng.randint(0, 256, (4, 5, 3)).astype(np.uint8)
    content = io.BytesIO()
    small = Image.fromarray(pixels).resize((40, 32), Image.Resampling.NEAREST)
    small.save(content, "JPEG", quality=90)
    return content.getvalue()


def _write_images(path: Path, subset: str, ids: list[str], base_url: str | None) -> None:
    """Write images.csv, with authors and titles as people type them."""
    site = "https://pictures.example" if base_url is None else base_url
    rows: list[tuple] = [COLUMNS]
    for image in [*ids, *([UNLABELLED] if subset == "train" else [])]:
        content = picture(image)
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        stem = f"{site}/{subset}/{image}"
        thumbnail = "" if image == ids[0] else f"{stem}_z.jpg"
        about = (f"{site}/by", 'Ann "A", Jr.', "Two\nlines, été")
        urls = (f"{stem}_o.jpg", f"{site}/photo", "https://creativecommons.org/licenses/by/2.0/")
        rows.append((image, subset, *urls, *about, len(content), checksum, thumbnail))
    _write_csv(path, rows)


def _write_csv(path: Path, rows: list[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
