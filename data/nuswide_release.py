"""The original release of NUS-WIDE: lists of its images, and of the labels of each concept.

Shapes: N images of a part, K = 81 concepts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cli import UserError
from data.formatted import Formatted, Part, make_part, open_text
from files import is_there

NUM_CONCEPTS = 81
RELEASE = "NUS-WIDE release"  # how `Formatted.source` begins
SUFFIXES = {"train": "Train", "val": "Test"}  # of the release's names


def read_nuswide_release(folder: Path) -> Formatted:
    """The images of the lists in `folder`, whose test part becomes val.

    Raises FileNotFoundError or UserError, which names the bad file.
    """
    lists = {suffix: list_path(folder, suffix) for suffix in SUFFIXES.values()}
    images = {suffix: read_list(path) for suffix, path in lists.items()}
    concepts = _read_concepts(_find(folder, "ConceptsList", "Concepts81.txt"))
    parts, notes = [], []
    for suffix, path in lists.items():
        labels, mended = _read_labels(folder, suffix, images[suffix], concepts)
        parts.append(make_part(images[suffix], labels, path))
        notes += mended
    train, val = parts
    return formatted_with_source(RELEASE, train, val, concepts, notes, lists["Test"])


def _find(folder: Path, archive: str, name: str) -> Path:
    """Where the file or folder `name` of an archive lies, unpacked with its top folder or without.

    Where there is none, the place where it belongs.
    """
    tops = (folder, folder / "NUS-WIDE")
    places = [place for top in tops for place in (top / archive, top / archive / archive, top)]
    return next((p / name for p in places if is_there(p / name)), places[0] / name)


def list_path(folder: Path, suffix: str) -> Path:
    """Where the list of the images of a part lies, or else belongs."""
    return _find(folder, "ImageList", f"{suffix}Imagelist.txt")


def _read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones at its end."""
    with open_text(path) as file:
        try:
            return [line.strip() for line in file.read().rstrip().split("\n")]
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file: {error.reason}") from None


def _read_concepts(path: Path) -> tuple[str, ...]:
    """The names of the concepts, which are a part of the names of files."""
    names = _read_lines(path)
    for line, name in enumerate(names, start=1):
        if not name or {"/", "\\", "\0"} & set(name) or name in names[: line - 1]:
            raise UserError(
                f"{path}, line {line}: {name[:60]!r} must be the name of a concept, given once"
            )
    if len(names) != NUM_CONCEPTS:
        raise UserError(f"{path} must list {NUM_CONCEPTS} concepts, it has {len(names)} lines")
    return tuple(names)


def read_list(path: Path) -> list[str]:
    """The pictures that a list of the release names, relative to Flickr/."""
    return picture_paths(_read_lines(path), f"{path}, line", start=1)


def picture_paths(names: Iterable[str], place: str, start: int) -> list[str]:
    """The pictures relative to Flickr/, with forward slashes. One given twice is refused.

    `place` and a number, counted from `start`, say where a name stands.
    """
    pictures: dict[str, None] = {}
    for number, name in enumerate(names, start):
        picture = _relative(name)
        if not picture:
            raise UserError(
                f"{place} {number}: {name[:60]!r} must be the path of a picture, such as "
                r"actor\0001_2124494179.jpg"
            )
        if picture in pictures:
            raise UserError(f"{place} {number}: the image {picture} is listed twice")
        pictures[picture] = None
    return list(pictures)


def _relative(name: str) -> str:
    r"""A path below Flickr/, with forward slashes; "" where it leads elsewhere.

    C:\ImageData\Flickr\, with which the release's list of URLs begins its paths, is dropped.
    """
    path = name.replace("\\", "/")
    top, flickr, below = path.rpartition("Flickr/")
    if flickr and (not top or top.endswith("/")):
        path = below
    steps = path.split("/")
    leads_out = {"", ".", ".."} & set(steps) or ":" in steps[0] or "\0" in path
    return "" if leads_out else path


def _read_labels(
    folder: Path, suffix: str, images: Sequence[str], concepts: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """The labels of `images`, int8 [N, K], and what had to be mended, for people."""
    labels = np.zeros((len(images), len(concepts)), dtype=np.int8)
    notes = []
    for column, concept in enumerate(concepts):
        path = _find(folder, "Groundtruth", "TrainTestLabels") / f"Labels_{concept}_{suffix}.txt"
        words = _read_words(path, len(images), f"{suffix}Imagelist.txt")
        wrong = np.flatnonzero((words != "0") & (words != "1"))
        if wrong.size:
            words = _mended(folder, path, concept, images, words, wrong)
            lines = ", ".join(map(str, wrong[:5] + 1))
            notes.append(f"{path.name}, line {lines}, taken from AllLabels")
        labels[:, column] = words == "1"
    return labels, notes


def _read_words(path: Path, count: int, images: str) -> np.ndarray:
    """The one word of every line, str [N]; there must be as many as images in the list."""
    lines = _read_lines(path)
    if len(lines) != count:
        raise UserError(
            f"{path} has {len(lines):,} lines, {images} {count:,}: both must be the official, "
            "whole files"
        )
    return np.array(lines, dtype=np.str_)


def _mended(
    folder: Path,
    path: Path,
    concept: str,
    images: Sequence[str],
    words: np.ndarray,
    wrong: np.ndarray,
) -> np.ndarray:
    """The labels of one concept [N] as AllLabels has them, where those at `wrong` are none.

    The official Labels_lake_Train.txt is known for one, -1130179 in line 78,372. AllLabels is
    believed where it says of all other images, which must be most, what `path` says. Raises
    UserError elsewhere.
    """
    refusal = UserError(
        f"{path}, line {wrong[0] + 1}: {str(words[wrong[0]])[:20]!r} must be 0 or 1 (unpack "
        f"ImageList/Imagelist.txt and Groundtruth/AllLabels/Labels_{concept}.txt of the same "
        "archives, which agree with the other lines and hold the right one)"
    )
    list_path = _find(folder, "ImageList", "Imagelist.txt")
    labels_path = _find(folder, "Groundtruth", "AllLabels") / f"Labels_{concept}.txt"
    if not (is_there(list_path) and is_there(labels_path)):
        raise refusal
    everything = read_list(list_path)
    label_of = dict(
        zip(everything, _read_words(labels_path, len(everything), list_path.name), strict=True)
    )
    labels = np.array([label_of.get(image, "") for image in images], dtype=np.str_)
    agreed = np.delete(labels == words, wrong)
    believed = agreed.all() and len(agreed) > len(wrong)
    if not (believed and set(labels[wrong].tolist()) <= {"0", "1"}):
        raise refusal
    return labels


def formatted_with_source(
    source: str,
    train: Part,
    val: Part,
    classes: tuple[str, ...],
    notes: Sequence[str],
    val_images: Path,
) -> Formatted:
    """Both parts, which must not overlap, and what they are, with the images without any label.

    `val_images`: the file that names those of val.
    """
    both = set(train.images.tolist()) & set(val.images.tolist())
    if both:
        raise UserError(
            f"{val_images} holds {min(both)}, which is in train: it must be in one part"
        )
    empty = [int((~part.labels.any(axis=1)).sum()) for part in (train, val)]
    sizes = [len(part.images) for part in (train, val)]
    said = (
        f"{source}, {100 * sum(empty) / sum(sizes):.0f} % of the images without any label "
        f"({empty[0]:,} of {sizes[0]:,} train, {empty[1]:,} of {sizes[1]:,} val)"
    )
    return Formatted(train, val, classes, source="; ".join([said, *notes]))
