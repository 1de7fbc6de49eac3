"""Figures of finished runs, from their records: `python -m tools.figures KIND results/digits`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cli
import words
from cli import UserError
from tools import (
    figure_classes,
    figure_corrections,
    figure_epochs,
    figure_labels,
    figure_settings,
)
from tools.finished import Run, read_runs

# endings of pictures that are not written
OTHERS = (".jpg", ".jpeg", ".svg", ".eps", ".ps", ".gif", ".tif", ".tiff", ".webp", ".bmp")


class Kind(NamedTuple):
    """A figure that can be asked for."""

    draw: Callable[[Sequence[Run], Path, str | None], object]  # runs, path, data_root
    about: str


def _draw_maps(runs: Sequence[Run], path: Path, data_root: str | None) -> None:
    from tools.figure_maps import draw_maps

    draw_maps(runs, path, data_root)


def _draw_pointing(runs: Sequence[Run], path: Path, data_root: str | None) -> None:
    from tools.figure_maps import draw_pointing

    draw_pointing(runs, path)


KINDS = {
    "memorization": Kind(figure_epochs.draw_memorization, "mAP, losses, selections by epoch"),
    "single_labels": Kind(figure_labels.draw_single_labels, "loss of single labels under AN (*)"),
    "highest_loss": Kind(figure_labels.draw_highest_loss, "epoch of a label's highest loss (*)"),
    "selection": Kind(figure_epochs.draw_selection, "precision and recall of what is selected"),
    "selection_by_class": Kind(figure_classes.draw_selection_by_class, "the same by class (*)"),
    "delta_rel": Kind(figure_settings.draw_delta_rel, "mAP against delta_rel"),
    "train_share": Kind(figure_settings.draw_train_share, "mAP against --ss_frac_train"),
    "best_last": Kind(figure_epochs.draw_best_last, "mAP of the best epoch against the last"),
    "corrections": Kind(figure_corrections.draw_corrections, "images, labels corrected (*)"),
    "maps": Kind(_draw_maps, "class maps over images (after tools.explain)"),
    "pointing": Kind(_draw_pointing, "the pointing game (after tools.explain)"),
}


def _parser() -> cli.Parser:
    listed = "\n".join(f"  {name:<20}{kind.about}" for name, kind in KINDS.items())
    parser = cli.Parser(
        prog="python -m tools.figures", description=main.__doc__, epilog=f"kinds:\n{listed}\n"
        "(*) from runs that were trained with --audit labels; their data is read again.",
    )  # fmt: skip
    parser.add_argument("kind", type=cli.choice(*KINDS), metavar="KIND", help="see below")
    parser.add_argument("results", type=Path, nargs="+", metavar="RESULTS",
                        help="folders that hold the runs")  # fmt: skip
    parser.add_argument("--out", type=words.path, metavar="NAME",
                        help="write NAME.png and NAME.pdf (figures/KIND in the first of "
                        "RESULTS)")  # fmt: skip
    parser.add_argument("--data_root", type=words.path, metavar="FOLDER",
                        help="folder of the data sets, if it is no longer the run's")  # fmt: skip
    return parser


def main(argv: Sequence[str]) -> None:
    """Draw a figure of the finished runs below some folders, as PNG and as PDF."""
    args = _parser().parse_args(argv)
    path = _without_ending(args.out or f"{args.results[0]}/figures/{args.kind}")
    KINDS[args.kind].draw(read_runs(*args.results), path, args.data_root)
    print(f"wrote {cli.printable(str(path))}.png and .pdf")


def _without_ending(name: str) -> Path:
    """The path of the figure. Raises UserError for that of a folder, or of another format."""
    path = Path(name)
    ending = path.suffix.lower()
    if ending in OTHERS:
        raise UserError(f"--out {name}: figures are PNG and PDF: give a name without ending")
    if ending in (".png", ".pdf"):
        path = path.with_suffix("")
    if name.endswith("/") or not path.name or os.path.isdir(path):
        raise UserError(f"--out {name} is a folder: give the name of a file in it, without ending")
    return path


if __name__ == "__main__":
    sys.exit(cli.run(main))
