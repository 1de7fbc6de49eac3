"""The page on which a person accepts or rejects suggested labels, and the pictures beside it.

The page holds all of its text and needs no network; pictures lie in the folder `images`
beside it. What came from files is in a JSON element that the script shows as text alone.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from cli import UserError
from files import write_atomically
from tools.pages import filled, read

if TYPE_CHECKING:
    from datasets import Split
    from tools.suggestions import Evidence, Ranked

PAGE, PICTURES = "suggest_page", "images"  # folders: beside this file, beside the page
LARGEST = 640  # pixels of the longer side of a picture
_SHARP = 64  # pixels: a smaller picture is kept as it is, without loss
_OURS = re.compile(r"\d{5,}\.(png|jpg)")


def write(
    out: Path,
    about: Mapping[str, Any],
    evidence: Evidence,
    chosen: Ranked,
    rows: Sequence[Mapping[str, Any]],
    maps: np.ndarray | None,
) -> None:
    """Write index.html and its pictures; `rows` [S] as in suggestions.csv, `maps` [S, h, w].

    Raises UserError where they cannot be written.
    """
    from data.labels import to_dense
    from loaders import progress

    train = evidence.data.train
    places, image = np.unique(chosen.row, return_inverse=True)
    pictures = [
        _write_picture(out, train, row)
        for row in progress(places.tolist(), len(places), "pictures")
    ]
    human = to_dense(train.labels(evidence.config.train_set_variant)[places])
    content = {
        **about,
        "classes": list(evidence.data.classes),
        "images": [_image(*of) for of in zip(train.names[places], human, pictures, strict=True)],
        "maps": list(maps.shape[1:]) if maps is not None else None,
        "items": items(evidence, chosen, image, rows, maps),
    }
    text = page(content).encode()
    write_atomically(out / "index.html", lambda file: file.write(text))
    _remove_others(out, {name for name, *_ in pictures})


def items(
    evidence: Evidence,
    chosen: Ranked,
    image: np.ndarray,
    rows: Sequence[Mapping[str, Any]],
    maps: np.ndarray | None,
) -> list[dict[str, Any]]:
    """What the page is told of each suggestion; `image` [S]: which of the pictures it is of."""
    losses = evidence.history.loss[:, chosen.row, chosen.column].astype(float).round(2)
    selected = evidence.history.selected
    when = None if selected is None else selected[:, chosen.row, chosen.column]
    return [
        {
            "image": int(image[place]),
            "label": int(chosen.column[place]),
            "score": float(row["score"]),
            "final": float(row["final_score"]),
            "early": float(row["early_score"]),
            "loss": losses[:, place].tolist(),
            "selected": [] if when is None else np.flatnonzero(when[:, place]).tolist(),
            "map": "" if maps is None or np.isnan(maps[place]).any() else _packed(maps[place]),
        }
        for place, row in enumerate(rows)
    ]


def page(content: Mapping[str, Any]) -> str:
    """The page with this content, of which no sign is taken for a tag."""
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    html, style = (read(PAGE, name) for name in ("page.html", "style.css"))
    script = "\n".join(read(PAGE, name) for name in ("decisions.js", "drawing.js", "page.js"))
    return filled(html, script, style, "'self' file:", {"data": data})


def _image(name: str, given: np.ndarray, picture: tuple[str, int, int]) -> dict[str, Any]:
    """An image with its labels `given`, int8 [K]; `picture`: file, width and height."""
    return {
        "name": str(name),
        "picture": picture,
        "positive": np.flatnonzero(given == 1).tolist(),
        "negative": np.flatnonzero(given == -1).tolist(),
    }


def _packed(values: np.ndarray) -> str:
    """A map [h, w] in 0 to 255, its highest place 255, what speaks against the class 0."""
    positive = values.clip(min=0)
    scaled = 255 * positive / max(float(positive.max()), 1e-12)
    return base64.b64encode(scaled.round().astype(np.uint8).tobytes()).decode()


def _write_picture(out: Path, split: Split, row: int) -> tuple[str, int, int]:
    """Write the picture of an image of the split: its file's name, width and height.

    Of an image that cannot be read there is no file, and the name is "".
    """
    from PIL import Image

    from image_files import BadImage

    try:
        image = Image.fromarray(_pixels(split, row))
    except BadImage:
        return "", LARGEST, LARGEST
    image.thumbnail((LARGEST, LARGEST))
    is_small = max(image.size) <= _SHARP
    name = f"{PICTURES}/{row:05}.{'png' if is_small else 'jpg'}"
    kind = {"format": "PNG"} if is_small else {"format": "JPEG", "quality": 75}
    with written(out / name) as file:
        image.save(file, **kind)
    return name, *image.size


def _pixels(split: Split, row: int) -> np.ndarray:
    """An image of the split as it is before it is made a square, uint8 [H, W, 3].

    Decoded as for the network, which heeds no rotation: so class maps lie where they belong.
    """
    from image_files import ImageFiles, read_image

    images = split.images
    if isinstance(images, ImageFiles):
        pixels = read_image(images.folder / str(images.names[row]), None)
    else:
        pixels = images.__getitems__([row])[0][0]
    return pixels.permute(1, 2, 0).numpy()


def _remove_others(out: Path, used: Set[str]) -> None:
    """Remove the pictures of an earlier page that this one does not show."""
    for path in (out / PICTURES).glob("*"):
        if _OURS.fullmatch(path.name) and f"{PICTURES}/{path.name}" not in used:
            with contextlib.suppress(OSError):  # it does no harm
                path.unlink()


@contextlib.contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A picture's file to write, not flushed to disk: there are thousands, made again at will.

    Raises UserError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
