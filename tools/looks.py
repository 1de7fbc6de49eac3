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


class Look(NamedTuple):
    """The look of a method, in matplotlib's terms."""

    color: str
    marker: str
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
    "CSL": Look(PURPLE, "X", "--"),
}
_BESIDE = ("BoostLU + ", "LinearInit + ", "linear ")  # what is done beside a method: dotted
FORMATS = {"png": "Software", "pdf": "CreationDate"}  # with what would change at every writing
FONTS = ["DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei"]
KINDS = {  # of a training label, by what it is in truth: name, colour
    "tp": ("true positives", GREEN),
    "tn": ("true negatives", BLUE),
    "fn": ("false negatives", VERMILION),
}


def look(method: str) -> Look:
    """How the method of this name (`finished.method_name`) looks, the same everywhere."""
    bare = method
    for beside in _BESIDE:
        bare = bare.replace(beside, "")
    name = bare if bare in _LOOKS else bare.split(" ")[0]  # "CSL ignore" looks as CSL
    found = _LOOKS.get(name, Look(GREY, ".", "-."))
    return found if bare == method else found._replace(linestyle=":")


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
