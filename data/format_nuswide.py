"""NUS-WIDE to arrays: SPML's re-crawl, which the paper used, or the original release.

Shapes: N images of a part, K = 81 concepts, M images that both hold.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from cli import UserError
from data.arrays import load_array
from data.formatted import ABOUT, PARTS, Formatted, Part, array_path, make_part
from data.nuswide_release import (
    NUM_CONCEPTS,
    RELEASE,
    SUFFIXES,
    formatted_with_source,
    list_path,
    picture_paths,
    read_list,
    read_nuswide_release,
)
from files import is_there, read_json

SPML = "SPML arrays"  # how `Formatted.source` begins
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
    return read_nuswide_release(folder)


def _what_is_there(folder: Path) -> str:
    arrays = [array_path(folder, part, "images") for part in PARTS]
    if any(map(is_there, arrays)) and not _made_from_release(folder):
        return "spml"
    images = list_path(folder, "Train")
    if not is_there(images):
        either = f"{arrays[0]} of SPML, or else {images}"
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), either)
    return "release"


def _made_from_release(folder: Path) -> bool:
    """Whether there are arrays in `folder`, and they are our own: see read_nuswide."""
    paths = {part: array_path(folder, part, "images") for part in PARTS}
    arrays = {part: load_array(path).tolist() for part, path in paths.items() if is_there(path)}
    try:
        listed = {part: read_list(list_path(folder, SUFFIXES[part])) for part in arrays}
    except (FileNotFoundError, UserError):
        about = read_json(folder / ABOUT) if is_there(folder / ABOUT) else {}
        return str(about.get("source", "")).startswith(RELEASE)
    return bool(arrays) and arrays == listed


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
        classes = _column_names((train, val), read_nuswide_release(folder))
        note = f"columns {'named by' if classes else 'without names: they differ from'} the release"
    except (FileNotFoundError, UserError):
        classes, note = None, "columns without names: no whole release to compare them with"
    return formatted_with_source(
        SPML, train, val, classes or unnamed, [note], array_path(folder, "val", "images")
    )


def _load_part(folder: Path, part: str) -> Part:
    paths = [array_path(folder, part, kind) for kind in ("images", "labels")]
    for path in paths:
        if not is_there(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    images = picture_paths(_load_names(paths[0]), f"{paths[0]}, row", start=0)
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
