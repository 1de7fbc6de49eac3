"""What tools.explain finds out about a run, on disk: the pointing game, and some class maps.

Both are small and lie in the run's folder, pointing.json and maps.npz, so that tables and figures
can be made of them without the run's weights. Reading them imports no torch.

Letters in shapes: E example images, M maps of them, h x w places of a map.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cli import UserError
from files import is_there, read_file, read_json, write_atomically
from folder import MAPS, POINTING
from record import RunRecord, is_number
from tools.pointing import RULE, Tally, percent

SPLITS = ("test", "val", "train")
MOST_BYTES = 2**28  # of the arrays of a maps.npz: more is no record of ours


class Pointing(NamedTuple):
    """How the pointing game went."""

    split: str
    epoch: int  # of the weights
    num_images: int  # of the split
    classes: dict[str, tuple[int, int]]  # hits and tries of each class, in the order of columns
    inside: int | None = None  # hits that are not on the border of a box; None: not recorded

    @property
    def tally(self) -> Tally:
        """The same as arrays, with the percentages `total` and `mean`."""
        hits, tries = np.array([*self.classes.values()], int).reshape(-1, 2).T
        return Tally(hits, tries)

    @property
    def strict_total(self) -> float | None:
        """Hits in percent of all tries, were the border of a box no part of it."""
        return None if self.inside is None else percent(self.inside, int(self.tally.tries.sum()))


class Maps(NamedTuple):
    """Class maps of a few images, of the classes that these truly hold and have a box of."""

    split: str
    epoch: int  # of the weights
    rule: str  # by which the images were chosen
    names: tuple[str, ...]  # of the E images
    image: np.ndarray  # int [M], which of these
    column: np.ndarray  # int [M], of the class
    classes: tuple[str, ...]  # the names of these M classes
    maps: np.ndarray  # float16 [M, h, w]
    highest: np.ndarray  # int [M], the highest cell, counted row by row, before any rounding


def best_epoch(run_dir: Path) -> int:
    """The best epoch of a finished run. Raises UserError for any other folder."""
    if not is_there(run_dir):
        raise UserError(f"there is no folder {run_dir}")
    if not is_there(run_dir / "config.json"):
        raise UserError(
            f"{run_dir} is not the folder of a run (no config.json): give one, or several"
        )
    summary = RunRecord(run_dir).read_summary()
    if summary is None:
        raise UserError(f"{run_dir} holds no finished run: finish it first (--resume)")
    return summary["best_epoch"]


def check_same_data(run_dir: Path, now: Mapping[str, str], split: str) -> None:
    """Raise UserError where the images of a split, their true labels or the classes are others.

    Others than those of the run, that is; `now`: the digests of the data, `Data.fingerprint()`. A
    record of earlier times, which has none, passes.
    """
    before = RunRecord(run_dir).read_config()["environment"].get("data")
    kinds = ("classes", f"{split} images", f"{split} truth")
    if before is None:
        return
    known = before if isinstance(before, dict) else {}
    differ = [kind for kind in kinds if known.get(kind) != now[kind]]
    if differ:
        raise UserError(
            f"{', '.join(differ)} are not those that {run_dir} was trained with: restore them, or "
            "say by --data_root where they are"
        )


def write_pointing(run_dir: Path, found: Pointing) -> None:
    """Write pointing.json, whole or not at all."""
    tally = found.tally
    content = {
        "split": found.split,
        "epoch": found.epoch,
        "rule": RULE,
        "total": tally.total,
        "mean": tally.mean,
        "num_images": found.num_images,
        "inside": found.inside,
        "classes": found.classes,
    }
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(run_dir / POINTING, lambda file: file.write(text.encode()))


def read_pointing(run_dir: Path) -> Pointing | None:
    """How the pointing game of a run went, None where it was not played.

    Raises UserError for a damaged record, and for one of other weights than the run's best.
    """
    path = run_dir / POINTING
    if not is_there(path):
        return None
    content = read_json(path)
    try:
        found = _as_pointing(content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    _check_epoch(run_dir, path, found.epoch)
    return found


def _as_pointing(content: dict[str, Any]) -> Pointing:
    """What pointing.json says.

    Raises AttributeError, KeyError, TypeError or ValueError where it is not right.
    """
    split, epoch, num_images = (content[name] for name in ("split", "epoch", "num_images"))
    classes = {name: (hits, tries) for name, (hits, tries) in content["classes"].items()}
    counts = [count for pair in classes.values() for count in pair]
    are_whole = all(type(number) is int for number in (epoch, num_images, *counts))
    if not (are_whole and split in SPLITS and 0 <= num_images < 2**31):
        raise ValueError
    if not all(0 <= hits <= tries <= num_images for hits, tries in classes.values()):
        raise ValueError
    found = Pointing(split, epoch, num_images, classes, content.get("inside"))
    tally = found.tally
    if not (found.inside is None or _is_count(found.inside, int(tally.hits.sum()))):
        raise ValueError
    for value, known in ((content["total"], tally.total), (content["mean"], tally.mean)):
        if not (is_number(value) and math.isclose(value, known, abs_tol=1e-6)):
            raise ValueError
    return found


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def write_maps(run_dir: Path, found: Maps) -> None:
    """Write maps.npz, whole or not at all; values beyond float16 become its largest ones."""
    largest = float(np.finfo(np.float16).max)
    arrays = {
        **{name: np.array(value) for name, value in found._asdict().items()},
        "maps": np.clip(found.maps, -largest, largest).astype(np.float16),
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    write_atomically(run_dir / MAPS, lambda file: file.write(packed.getbuffer()))


def read_maps(run_dir: Path) -> Maps | None:
    """The class maps that are kept of a run, None where there are none.

    Raises UserError for a damaged record, and for one of other weights than the run's best.
    """
    path = run_dir / MAPS
    if not is_there(path):
        return None
    packed = io.BytesIO(read_file(path))
    try:
        found = _as_maps(_arrays(packed))
    except Exception:  # garbage makes zipfile and numpy fail in nearly every way
        raise _damaged(path) from None
    _check_epoch(run_dir, path, found.epoch)
    return found


def _arrays(packed: io.BytesIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(packed) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
            raise ValueError("it is too large")
    with np.load(packed, allow_pickle=False) as file:
        return {name: file[name] for name in Maps._fields}


def _as_maps(arrays: Mapping[str, np.ndarray]) -> Maps:
    """What maps.npz says. Raises ValueError where it is not right."""
    count, height, width = arrays["maps"].shape
    num_images = len(arrays["names"])
    _check(arrays, ("split", "rule"), "U", ())
    _check(arrays, ("epoch",), "iu", ())
    _check(arrays, ("names",), "U", (num_images,))
    _check(arrays, ("classes",), "U", (count,))
    _check(arrays, ("image", "column", "highest"), "iu", (count,))
    _check(arrays, ("maps",), "f", (count, height, width))
    for name, limit in (("image", num_images), ("column", 2**31), ("highest", height * width)):
        if not ((arrays[name] >= 0) & (arrays[name] < limit)).all():
            raise ValueError(f"{name} is out of its range")
    if not (count and np.isfinite(arrays["maps"]).all() and arrays["split"].item() in SPLITS):
        raise ValueError("it holds no maps of numbers, or of an unknown split")
    plain = {name: arrays[name].item() for name in ("split", "epoch", "rule")}
    texts = {name: tuple(arrays[name].tolist()) for name in ("names", "classes")}
    return Maps(**{**arrays, **plain, **texts})


def _check(
    arrays: Mapping[str, np.ndarray], names: Sequence[str], kinds: str, shape: tuple[int, ...]
) -> None:
    for name in names:
        if arrays[name].dtype.kind not in kinds or arrays[name].shape != shape:
            raise ValueError(f"{name} is not of shape {shape}")


def _check_epoch(run_dir: Path, path: Path, epoch: int) -> None:
    """Raise UserError for a record of other weights than those of the best epoch now."""
    best = best_epoch(run_dir)
    if epoch != best:
        raise UserError(
            f"{path} is of epoch {epoch}, the best is {best} now: run python -m tools.explain "
            f"{run_dir} again"
        )


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} is not what tools.explain writes: run python -m tools.explain {path.parent} again"
    )
