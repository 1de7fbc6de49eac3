"""How a method looks in every figure: its colour, its line, its marker; and how figures are kept.

The colours are Okabe and Ito's, which colour-blind people can tell apart. Where two methods share
one, their lines and markers differ, so that a figure can be read in grey too.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILION, PURPLE, BLACK, GREY = "#D55E00", "#CC79A7", "#000000", "#7F7F7F"
INDIGO, OLIVE, WINE = "#332288", "#777722", "#882255"  # of kinds of labels, of no method


class Look(NamedTuple):
    """The look of a method, in matplotlib's terms."""

    color: str
    marker: str
    linestyle: str | tuple[float, tuple[float, ...]]


class LabelKind(NamedTuple):
    """A kind of training labels, by what they are in truth, and how its line looks."""

    name: str
    color: str
    linestyle: str


_LOOKS = {
    "AN": Look(VERMILION, "s", "-"),
    "LL-R": Look(BLUE, "o", "-"),
    "LL-Ct": Look(ORANGE, "^", "-"),
    "LL-Cp": Look(PURPLE, "D", "-"),
    "full labels": Look(GREEN, "*", "-"),
    "IU": Look(GREY, "x", "-"),
    "WAN": Look(SKY, "v", "-"),
    "LSAN": Look(BLACK, "P", "-"),
    "EPR": Look(GREEN, "<", "--"),
    "ROLE": Look(BLACK, ">", "--"),
    "EM": Look(SKY, "h", "--"),
    "EM+APL": Look(GREY, "p", "--"),
    "ASL": Look(VERMILION, "d", "--"),
    "CSL selective": Look(PURPLE, "X", "--"),
    "CSL ignore": Look(PURPLE, "1", "-."),
    "CSL negative": Look(PURPLE, "2", (0, (7, 4, 1, 4, 1, 4))),
}
_BESIDE = ("BoostLU + ", "LinearInit + ", "linear ")  # what is done beside a method: dotted
FORMATS = {"png": "Software", "pdf": "CreationDate"}  # with what would change at every writing
FONTS = ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei"]
KINDS = {
    "tp": LabelKind("true positives", INDIGO, "--"),
    "tn": LabelKind("true negatives", OLIVE, "-."),
    "fn": LabelKind("false negatives", WINE, "-"),
}


def look(method: str) -> Look:
    """How the method of this name (`finished.method_name`) looks, the same everywhere."""
    alone = bare(method)
    found = _LOOKS.get(alone, Look(GREY, ".", "-."))
    return found if alone == method else found._replace(linestyle=":")


def bare(method: str) -> str:
    """The name of the method without what is done beside it."""
    for beside in _BESIDE:
        method = method.replace(beside, "")
    return method


@contextlib.contextmanager
def drawing(
    path: Path, width: float, height: float, kinds: Sequence[str] = tuple(FORMATS)
) -> Iterator[Figure]:
    """A figure of so many inches, kept by `save` once it is drawn.

    Letters that its first font has not are taken from others, if there are such.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names

    there = set(get_font_names())
    fonts = [name for name in FONTS if name in there]
    with matplotlib.rc_context({"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # it is drawn as a box
        figure = Figure(figsize=(width, height))
        yield figure
        save(figure, path, kinds)


def save(figure: Figure, path: Path, kinds: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write the figure in each of these formats, beside each other; their paths.

    `path`: with the ending of one of them, or none.
    The same figure gives the same bytes. Raises UserError where they cannot be written.
    """
    stem = path.with_suffix("") if path.suffix in (".png", ".pdf") else path
    targets = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    for target in targets:
        _save(figure, target)
    return targets


def _save(figure: Figure, path: Path) -> None:
    picture, kind = io.BytesIO(), path.suffix[1:]
    facts: dict[str, Any] = {FORMATS[kind]: None}
    figure.savefig(picture, dpi=110, format=kind, metadata=facts)
    write_atomically(path, lambda file: file.write(picture.getbuffer()))
