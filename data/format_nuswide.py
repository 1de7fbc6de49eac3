"""NUS-WIDE to arrays: SPML's re-crawl, which the paper used, or the original release.

Shapes: N images of a part, K = 81 concepts, M images that both hold.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from cli import UserError
from data.arrays import load_array
from data.formatted import ABOUT, PARTS, Formatted, Part, array_path, make_part, open_text
from files import is_there, read_json

NUM_CONCEPTS = 81
SPML, RELEASE = "SPML arrays", "NUS-WIDE release"  # how `Formatted.source` begins
HOW = """\
NUS-WIDE is given out on request alone. In the folder of the set, put
1. the pictures, Flickr.zip or the folder Flickr that it holds: ask for them with the form at
   https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html
2. the labels, one of the two:
   - the paper's: formatted_{train,val}_{images,labels}.npy of the authors of SPML, from
     https://caltech.box.com/v/single-positive-multi-label (should that link be dead, see
     https://github.com/elijahcole/single-positive-multi-label);
   - the original release's, with more images, on which the paper's numbers do not hold: --source
     release fetches them, or finds ImageList.zip, Groundtruth.zip and ConceptsList.zip there.
Then run the same command again."""
_SUFFIXES = {"train": "Train", "val": "Test"}  # of the release's names
_SAME = 0.9  # of the positives of two columns, where they are of one concept


def read_nuswide(folder: Path, source: str = "") -> Formatted:
    """The images of NUS-WIDE in the order of their lists, also those without any label.

    `source`: "spml" for the formatted_*.npy of SPML's authors, "release" for the original release,
    whose test part becomes val, "" for the first of them that lies in `folder`. Arrays that an
    earlier preparation made from the release are never taken for SPML's. Such are those that hold
    the images of the release's lists, all and in order; where the lists are gone, those of which
    dataset.json says so. Raises FileNotFoundError or UserError, which names the bad file.
    """
    if (source or _what_is_there(folder)) == "spml":
        return _read_spml(folder)
    return _read_release(folder)


def _what_is_there(folder: Path) -> str:
    arrays = [array_path(folder, part, "images") for part in PARTS]
    if any(map(is_there, arrays)) and not _made_from_release(folder):
        return "spml"
    images = _list_path(folder, "Train")
    if not is_there(images):
        either = f"{arrays[0]} of SPML, or else {images}"
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), either)
    return "release"


def _made_from_release(folder: Path) -> bool:
    """Whether there are arrays in `folder`, and they are our own: see read_nuswide."""
    paths = {part: array_path(folder, part, "images") for part in PARTS}
    arrays = {part: load_array(path).tolist() for part, path in paths.items() if is_there(path)}
    try:
        listed = {part: _read_list(_list_path(folder, _SUFFIXES[part])) for part in arrays}
    except (FileNotFoundError, UserError):
        about = read_json(folder / ABOUT) if is_there(folder / ABOUT) else {}
        return str(about.get("source", "")).startswith(RELEASE)
    return bool(arrays) and arrays == listed


# the original release


def _read_release(folder: Path) -> Formatted:
    lists = {suffix: _list_path(folder, suffix) for suffix in _SUFFIXES.values()}
    images = {suffix: _read_list(path) for suffix, path in lists.items()}
    concepts = _read_concepts(_find(folder, "ConceptsList", "Concepts81.txt"))
    parts, notes = [], []
    for suffix, path in lists.items():
        labels, mended = _read_labels(folder, suffix, images[suffix], concepts)
        parts.append(make_part(images[suffix], labels, path))
        notes += mended
    train, val = parts
    return _formatted(RELEASE, train, val, concepts, notes, lists["Test"])


def _find(folder: Path, archive: str, name: str) -> Path:
    """Where the file or folder `name` of an archive lies, unpacked with its top folder or without.

    Where there is none, the place where it belongs.
    """
    tops = (folder, folder / "NUS-WIDE")
    places = [place for top in tops for place in (top / archive, top / archive / archive, top)]
    return next((p / name for p in places if is_there(p / name)), places[0] / name)


def _list_path(folder: Path, suffix: str) -> Path:
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


def _read_list(path: Path) -> list[str]:
    """The pictures that a list of the release names, relative to Flickr/."""
    return _pictures(_read_lines(path), f"{path}, line", start=1)


def _pictures(names: Iterable[str], place: str, start: int) -> list[str]:
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
    everything = _read_list(list_path)
    label_of = dict(
        zip(everything, _read_words(labels_path, len(everything), list_path.name), strict=True)
    )
    labels = np.array([label_of.get(image, "") for image in images], dtype=np.str_)
    agreed = np.delete(labels == words, wrong)
    believed = agreed.all() and len(agreed) > len(wrong)
    if not (believed and set(labels[wrong].tolist()) <= {"0", "1"}):
        raise refusal
    return labels


# the arrays of SPML


def _read_spml(folder: Path) -> Formatted:
    """SPML's arrays. Their authors do not say which concept a column is: see _column_names."""
    if _made_from_release(folder):
        raise UserError(
            f"the formatted_*.npy files in {folder} were made from the {RELEASE}: put SPML's in "
            f"their place, and remove {ABOUT}"
        )
    train, val = (_load_part(folder, part) for part in PARTS)
    unnamed = tuple(f"class {column}" for column in range(NUM_CONCEPTS))
    try:
        classes = _column_names((train, val), _read_release(folder))
        note = f"columns {'named by' if classes else 'without names: they differ from'} the release"
    except (FileNotFoundError, UserError):
        classes, note = None, "columns without names: no whole release to compare them with"
    return _formatted(
        SPML, train, val, classes or unnamed, [note], array_path(folder, "val", "images")
    )


def _load_part(folder: Path, part: str) -> Part:
    paths = [array_path(folder, part, kind) for kind in ("images", "labels")]
    for path in paths:
        if not is_there(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    images = _pictures(_load_names(paths[0]), f"{paths[0]}, row", start=0)
    labels = load_array(paths[1])
    if labels.dtype.kind not in "iufb" or labels.shape != (len(images), NUM_CONCEPTS):
        raise UserError(
            f"{paths[1]} holds {labels.dtype} of shape {labels.shape}, where the labels of "
            f"{len(images):,} images and {NUM_CONCEPTS} concepts belong"
        )
    strange = (labels != 0) & (labels != 1)
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise UserError(
            f"{paths[1]} holds {labels[row, column]} (row {row}, column {column}), not 0 or 1: "
            "put SPML's file there again"
        )
    return make_part(images, labels, paths[0])


def _load_names(path: Path) -> list[str]:
    names = load_array(path)
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise UserError(f"{path} holds {names.dtype} of shape {names.shape}, not names [N]")
    try:
        return names.astype(np.str_).tolist()
    except (ValueError, SystemError) as error:  # bytes beyond ASCII, numbers of no character
        raise UserError(f"{path} holds names that are no text or ASCII ({error})") from None


def _column_names(parts: Sequence[Part], release: Formatted) -> tuple[str, ...] | None:
    """The concept of every column of SPML's labels, or None where they do not tell.

    Each must have its positives in common with another column of the release, over the images that
    both hold: nine tenths of those that either has.
    """
    row_of = {
        str(name): row for row, name in enumerate(chain(release.train.images, release.val.images))
    }
    images = np.concatenate([part.images for part in parts])
    rows = np.array([row_of.get(str(name), -1) for name in images])
    found = rows >= 0
    table = np.concatenate([release.train.labels, release.val.labels])
    theirs = table[rows[found]].astype(np.float32)  # [M, K]
    mine = np.concatenate([part.labels for part in parts])[found].astype(np.float32)
    common = mine.T @ theirs
    either = mine.sum(axis=0)[:, None] + theirs.sum(axis=0) - common
    overlap = common / np.maximum(either, 1)
    best = overlap.argmax(axis=1)
    if overlap.max(axis=1).min() < _SAME or len(set(best)) < NUM_CONCEPTS:
        return None
    return tuple(release.classes[concept] for concept in best)


def _formatted(
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
