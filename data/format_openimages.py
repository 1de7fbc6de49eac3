"""OpenImages V3 ("2017_11"), as released, to arrays: human-verified labels of 5,000 classes.

The release gives a few labels an image, positive or negative, and says nothing of the rest: the
truth is partial and the tables are sparse. Shapes: N images, K trainable classes.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import stopping
from cli import UserError
from data.formatted import Formatted, Part, open_text, read_rows
from data.labels import count, sparse_labels
from files import is_there

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SUBSETS = {"train": "train", "dev": "validation", "val": "test"}  # by part; `val` is our test split
RELEASE = "2017_11"
_HEADER = b"ImageID,Source,LabelName,Confidence"
_ANSWERS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}
_IMAGE_ID = re.compile(rb"[0-9a-f]{16}")
_BLOCK = 1 << 24  # bytes of a file that are looked at together
_NUM_GROUPS = 5


@dataclass(frozen=True)
class Verified:
    """What annotators said of the images [N] of a subset, by id, and how much of it is left out."""

    images: np.ndarray  # uint64 [N]: an id is 16 hexadecimal digits
    labels: csr_array  # int8 [N, K]
    other_classes: int  # annotations of classes that are not trainable
    contradictions: int  # images and classes with both answers, which are not annotated


def read_openimages(folder: Path, pictures_needed: bool = True) -> Formatted:
    """The images with a human-verified label, of train, validation (dev) and test (val), by id.

    `folder` holds 2017_11 and <subset>/<ImageID>.jpg; without `pictures_needed`, images count
    whose picture is not there. The columns are in the order of classes-trainable.txt. The groups
    G1 (rarest) to G5 are ours, inferred: the paper gives no list. They are fifths of the classes
    by their number of annotations in the released train set, whatever pictures could be had.
    `source` also says what was left out. Raises FileNotFoundError or UserError, which names the
    bad file.
    """
    classes = read_classes(folder)
    parts: dict[str, Part] = {}
    said: list[str] = []
    groups: dict[str, list[int]] = {}
    for name, subset in SUBSETS.items():
        verified = read_verified(folder, subset, list(classes))
        if name == "train":
            groups = rarity_groups(verified.labels)
        parts[name] = _make_part(verified, folder, subset, pictures_needed)
        said.append(f"{name}: {_describe(verified, parts[name])}")
    return Formatted(
        parts["train"],
        parts["val"],
        tuple(classes.values()),
        dev=parts["dev"],
        truth="partial",
        groups=groups,
        source=f"OpenImages V3 (2017_11), human-verified trainable labels; {'; '.join(said)}",
    )


def released(folder: Path, name: str) -> Path:
    """Where a file of the release lies: below 2017_11, or beside it where it is not there."""
    beside, inside = folder / name, folder / RELEASE / name
    return beside if is_there(beside) and not is_there(inside) else inside


def read_classes(folder: Path) -> dict[str, str]:
    """The names of the trainable classes by their ids, in the order of classes-trainable.txt.

    A class without a description is called by its id, which classes of the same name also get.
    """
    path = released(folder, "classes-trainable.txt")
    described = _read_descriptions(released(folder, "class-descriptions.csv"))
    names: dict[str, str] = {}
    for line, (mid, *_) in read_rows(path, columns=1):
        if not mid.startswith("/") or mid in names:
            raise UserError(f"{path}, line {line}: {mid[:40]!r} is no class id, or is there twice")
        names[mid] = described.get(mid) or mid
    if not names:
        raise UserError(f"{path} is empty: it must be the official file")
    uses = Counter(names.values())
    return {mid: name if uses[name] == 1 else f"{name} ({mid})" for mid, name in names.items()}


def read_verified(folder: Path, subset: str, mids: Sequence[str]) -> Verified:
    """The human-verified labels of a subset on the classes `mids`; images without one are left out.

    The same answer given twice counts once; two different ones to the same question, not at all.
    """
    path = released(folder, f"{subset}/annotations-human.csv")
    images, answers, other_classes = _read_annotations(path, mids)
    known = np.unique(images)
    keys = np.searchsorted(known, images)  # becomes (row * K + column) * 2 + answer
    del images  # of the official file, 240 MB as the following arrays
    keys *= 2 * len(mids)
    keys += answers
    keys.sort()
    keys = keys[np.diff(keys, prepend=-1) != 0]
    again = np.diff(keys >> 1, prepend=-1) == 0
    both = again.copy()
    both[:-1] |= again[1:]
    keys = keys[~both]
    values = (2 * (keys & 1) - 1).astype(np.int8)
    keys >>= 1
    left, rows = np.unique(keys // len(mids), return_inverse=True)
    keys %= len(mids)
    shape = (len(left), len(mids))
    labels = sparse_labels(rows.astype(np.int32), keys.astype(np.int32), values, shape)
    return Verified(known[left], labels, other_classes, int(again.sum()))


def image_number(image: bytes) -> int:
    """The number that an image id is, which is 16 hexadecimal digits, and so a safe file name.

    Raises ValueError for anything else.
    """
    if not _IMAGE_ID.fullmatch(image):
        raise ValueError(image)
    return int(image, 16)


def pictures(folder: Path) -> np.ndarray:
    """The ids of the images whose pictures lie in the folder, uint64, sorted; any other is ignored.

    Empty where there is no such folder.
    """
    found = array("Q")
    if is_there(folder):
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, _, ending = entry.name.partition(".")
                if ending == "jpg" and _IMAGE_ID.fullmatch(os.fsencode(stem)):
                    found.append(int(stem, 16))
    return np.sort(np.frombuffer(found, np.uint64))


def rarity_groups(labels: csr_array) -> dict[str, list[int]]:
    """The columns of each fifth of the classes by number of annotations, G1 the rarest, G5.

    Ties go by column. Where the classes are fewer than five, so are the groups.
    """
    annotations = np.bincount(labels.indices, minlength=labels.shape[1])
    order = np.argsort(annotations, kind="stable")
    fifths = np.array_split(order, min(_NUM_GROUPS, len(order)))
    return {f"G{number}": sorted(fifth.tolist()) for number, fifth in enumerate(fifths, start=1)}


def read_table(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """The number of the line it ends on, and the fields of every row of a csv file with quotes.

    Bytes that are no UTF-8 come as lone surrogates, for the caller to refuse where it matters.
    Raises UserError where a row has fewer than `columns` fields.
    """
    with open_text(path) as file:
        file.reconfigure(newline="", errors="surrogateescape")  # type: ignore[attr-defined]
        rows = csv.reader(file)
        try:
            for row in rows:
                if 0 < len(row) < columns:
                    raise UserError(
                        f"{path}, line {rows.line_num}: {','.join(row)[:60]!r} must have "
                        f"{columns} columns: unpack it again"
                    )
                if row:
                    yield rows.line_num, row
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; unpack it again") from None


def _read_descriptions(path: Path) -> Mapping[str, str]:
    names = {}
    for line, (mid, name, *_) in read_table(path, columns=2):
        if not _is_text(f"{mid}{name}".encode(errors="surrogateescape")):
            raise UserError(f"{path}, line {line}: {name[:40]!r} is no UTF-8: unpack it again")
        names[mid] = " ".join(name.split())
    return names


def _read_annotations(path: Path, mids: Sequence[str]) -> tuple[np.ndarray, np.ndarray, int]:
    """Image (uint64) and 2 * column + answer (int32) of each annotation; how many are of others."""
    codes = {mid.encode(): 2 * column for column, mid in enumerate(mids)}
    images, answers, others = array("Q"), array("i"), 0
    last, number = b"", 0
    for first, lines in _blocks(path):
        for line, text in enumerate(lines, first):
            if line == 1 or not text:
                continue
            try:
                image, _, mid, confidence = text.split(b",")
                answer = _ANSWERS[confidence]
                if image != last:  # the rows of an image follow each other
                    last, number = image, image_number(image)
            except (ValueError, KeyError):
                raise _bad_row(path, line, text) from None
            code = codes.get(mid)
            if code is None:
                others += 1
            else:
                images.append(number)
                answers.append(code + answer)
    return np.frombuffer(images, np.uint64), np.frombuffer(answers, np.int32), others


def _bad_row(path: Path, line: int, text: bytes) -> UserError:
    return UserError(
        f"{path}, line {line}: {text[:80].decode(errors='backslashreplace')!r} must be ImageID "
        "(16 hexadecimal digits), Source, LabelName, Confidence (0 or 1): unpack it again"
    )


def _blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The number of its first line and the lines of each block of an annotations file.

    Raises UserError where the header is missing, or a line is no text.
    """
    from tqdm import tqdm

    with (
        open_text(path) as text,
        tqdm(
            desc=f"read {path.parent.name}/{path.name}",
            total=path.stat().st_size,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not sys.stderr.isatty(),
        ) as bar,
    ):
        file, number = text.buffer, 1
        if file.readline().rstrip(b"\r\n") != _HEADER:
            raise UserError(f"{path}, line 1 must be {_HEADER.decode()}: unpack it again")
        file.seek(0)
        while block := file.read(_BLOCK) + file.readline():
            stopping.check()
            lines = block.splitlines()
            if not _is_text(block):
                wrong = next(i for i, line in enumerate(lines) if not _is_text(line))
                raise UserError(f"{path}, line {number + wrong} is no UTF-8 text: unpack it again")
            yield number, lines
            number += len(lines)
            bar.update(len(block))


def _is_text(content: bytes) -> bool:
    """Whether it is UTF-8 without a NUL."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _make_part(verified: Verified, folder: Path, subset: str, pictures_needed: bool) -> Part:
    there = np.ones(len(verified.images), dtype=bool)
    if pictures_needed:
        there = np.isin(verified.images, pictures(folder / subset))
    if not there.any():
        fault = f"{folder / subset} has no picture" if len(there) else "no image is left"
        raise UserError(
            f"{fault} of the {len(there):,} images that "
            f"{released(folder, f'{subset}/annotations-human.csv')} labels: fetch them first"
        )
    images = verified.images[there]
    names = (f"{subset}/{image:016x}.jpg".encode() for image in images.tolist())
    width = len(f"{subset}/{0:016x}.jpg")
    return Part(np.fromiter(names, f"S{width}", len(images)), verified.labels[there])


def _describe(verified: Verified, part: Part) -> str:
    """What a part holds and what was left out, for people."""
    return (
        f"{len(part.images):,} images, {count(part.labels, 1):,} positive and "
        f"{count(part.labels, -1):,} negative labels (left out: {verified.other_classes:,} labels "
        f"of other classes, {verified.contradictions:,} contradictions, "
        f"{len(verified.images) - len(part.images):,} images without picture)"
    )
